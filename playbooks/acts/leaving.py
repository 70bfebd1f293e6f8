"""The act by which somebody leaves the team: all that waits for them goes to others, and then they are gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Case, CharField, Count, Q, Value, When

from csplaybooks.accounts.acts.leaving import Team, leave_the_team, parts_of
from csplaybooks.accounts.acts.record import require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.acts.assigning import choose_again
from csplaybooks.playbooks.acts.handoffs import take_back_plays
from csplaybooks.playbooks.acts.moving import Answers
from csplaybooks.playbooks.acts.plays import assign_each
from csplaybooks.playbooks.calendar_choice import lock_calendars
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Play, State
from csplaybooks.playbooks.people import HEAVY, People, lock_team, passed_in_words, require_roles
from csplaybooks.playbooks.pipeline.owners import LEASE


@dataclass(frozen=True)
class Waiting:
    """The open plays that wait for a member, in numbers.

    `offers_to` are on offer to them, `offers_by` are theirs and on offer to others. `owned` are all that they own,
    those on offer among them, of which `paused` are paused. `held` are plays of others that they hold without being
    offered them: those of the tray.
    """

    offers_to: int = 0
    offers_by: int = 0
    owned: int = 0
    paused: int = 0
    held: int = 0


@dataclass(frozen=True)
class Left:
    """What became of the work of somebody who left, in numbers.

    `waiting` is what waited for them. `given` is how many of the plays they owned went to whom, by name, and `tray` how
    many of these wait in the tray of a manager, who owns them meanwhile. `team` is what became of their accounts,
    reports and absences.
    """

    member: TeamMember
    waiting: Waiting
    given: Mapping[str, int]
    tray: int
    team: Team

    def lines(self) -> list[str]:
        """All of it in words, a line for each thing; without those of which there is nothing."""
        owned = given_in_words(self.given, self.tray)
        return [*offers_in_words(self.waiting), *owned, *held_in_words(self.waiting), *team_in_words(self.team)]


def waiting_for(member: TeamMember) -> Waiting:
    """The open plays that wait for a member; one query."""
    offered = Q(state=State.OFFERED)
    kind = Case(
        When(offered & Q(holder=member), then=Value("offers_to")),
        When(offered & Q(owner=member), then=Value("offers_by")),
        When(Q(owner=member, state=State.PAUSED), then=Value("paused")),
        When(owner=member, then=Value("working")),
        default=Value("held"),
        output_field=CharField(),
    )
    theirs = Play.objects.open().filter(Play.worked_by_q(frozenset({member.pk}))).order_by()
    count: dict[str, int] = dict(theirs.annotate(kind=kind).values_list("kind").annotate(number=Count("pk")))
    owned = sum(count.get(name, 0) for name in ("offers_by", "paused", "working"))
    return Waiting(
        count.get("offers_to", 0), count.get("offers_by", 0), owned, count.get("paused", 0), count.get("held", 0)
    )


def leaving_in_words(member: TeamMember, now: datetime) -> list[str]:
    """What would happen if a member left, in words, a line for each thing; a constant number of queries.

    Of their plays it tells to whom they would go by their routing at this moment, worked out as the act does it.
    """
    waiting = waiting_for(member)
    owned = _owned_in_words(member, waiting, now) if waiting.owned else []
    lines = [*offers_in_words(waiting), *owned, *held_in_words(waiting), *team_in_words(parts_of(member, now))]
    return lines or ["Nothing waits for them."]


def given_in_words(given: Mapping[str, int], tray: int) -> list[str]:
    """To whom how many plays of somebody who leaves go, and how many of these stand in the tray."""
    lines = [f"{_plays(number)} to {name}" for name, number in sorted(given.items())]
    return [*lines, f"of these {_plays(tray)} in the tray: nobody has room"] if tray else lines


def _owned_in_words(member: TeamMember, waiting: Waiting, now: datetime) -> list[str]:
    paused = f", {waiting.paused} stay paused" if waiting.paused else ""
    go = f"{_plays(waiting.owned)} of theirs {'goes' if waiting.owned == 1 else 'go'} to others{paused}"
    people = People.at(now)
    # What they have on offer is taken back first, and is no load of those to whom it was offered.
    offered = Play.objects.open().filter(owner=member, state=State.OFFERED, route__in=HEAVY).order_by()
    for holder_id in offered.values_list("holder", flat=True):
        if holder_id in people.load:
            people.load[holder_id] -= 1
    try:
        handed = _handed(_plays_of(member), member, None, people)
    except ValidationError as problem:
        return [f"{go}. {' '.join(problem.messages)}"]
    given = ", ".join(given_in_words(handed.given(people), len(handed.tray)))
    return [f"{go}; unless you name somebody, by their routing: {given}"]


def offers_in_words(waiting: Waiting) -> list[str]:
    """What becomes of the offers of somebody who leaves."""
    lines = []
    if waiting.offers_to:
        lines.append(f"{_plays(waiting.offers_to)} on offer to them: back to the owner")
    if waiting.offers_by:
        lines.append(f"{_plays(waiting.offers_by)} that they offered to others: taken back")
    return lines


def held_in_words(waiting: Waiting) -> list[str]:
    """What becomes of plays of others that somebody holds who leaves."""
    return [f"{_plays(waiting.held)} that they hold for others: back to the owner"] if waiting.held else []


def team_in_words(team: Team) -> list[str]:
    """What becomes of the rest that hangs on somebody who leaves."""
    said = (
        (team.accounts_over, "accounts go over"),
        (team.accounts_open, "places at accounts are open"),
        (team.reports, "reports go to their manager"),
        (team.stand_ins, "absences have nobody who stands in"),
    )
    return [f"{number:,} {words}" for number, words in said if number]


def leave_team(*, member_id: int, now: datetime, actor: Any = None, to_id: int | None = None) -> Left:
    """Let a member leave the team, with all that waits for them, in one transaction; answers what became of what.

    Offers to them end and go back, offers by them are taken back. The plays that they own go to `to_id`, or else each
    by its routing, as if nobody were the account's CSM or AE in their place; where nobody has room the nearest manager
    above owns it, and it stands in the tray. Paused plays stay paused. Plays of others that they hold go back to the
    owner. Then they leave the team itself: see `csplaybooks.accounts.acts.leaving.leave_the_team`.

    Raises ValidationError, by field: for a member who has left, for `to` where they have left, are the same person or
    have no role by which they may own one of the plays, and where nobody could take a play at all.
    """
    require_aware(now=now)
    with holding(LEASE, now):
        lock_team()
        # Their hours end with them: before plays and clocks are locked, as everywhere.
        lock_calendars()
        people = People.at(now)
        if member_id not in people.members:
            raise ValidationError({"member": "This team member has left, or never was."})
        member = people.members[member_id]
        if to_id is not None and (to_id not in people.members or to_id == member_id):
            raise ValidationError({"to": "Name another member, who works here."})
        waiting = waiting_for(member)
        reason = f"{member} has left the team"
        offered = Play.objects.open().filter(Play.worked_by_q(frozenset({member_id})), state=State.OFFERED)
        ids = list(offered.order_by("pk").values_list("pk", flat=True))
        _whole(take_back_plays(play_ids=ids, reason=reason, now=now, actor=actor))
        given, tray = _hand_over(member, to_id, now, actor)
        held = dict(Play.objects.open().filter(holder=member_id).exclude(owner=member_id).values_list("pk", "owner"))
        _whole(assign_each(owners=held, why=dict.fromkeys(held, reason), now=now, actor=actor))
        team = leave_the_team(member_id=member_id, to_id=to_id, now=now, actor=actor)
        left = Left(member, waiting, given, tray, team)
        said = "; ".join(left.lines())
        write_timeline(
            [
                timeline_entry(
                    account_id=None,
                    at=now,
                    now=now,
                    kind="teammember_left",
                    text=f"{member} has left the team" + (f": {said}" if said else ""),
                    subject=member,
                    actor=actor,
                )
            ]
        )
    return left


@dataclass(frozen=True)
class _Handed:
    """Whose the plays of somebody who leaves are then, and why, by play id; which of them stand in the tray."""

    owners: Mapping[int, int]
    why: Mapping[int, str]
    tray: Sequence[int] = ()

    def given(self, people: People) -> dict[str, int]:
        """How many went to whom, by name."""
        return dict(Counter(people.names[owner_id] for owner_id in self.owners.values()))


def _plays_of(member: TeamMember) -> list[Play]:
    rows = Play.objects.open().filter(owner=member).select_related("account", "playbook")
    return list(rows.order_by("opened_at", "pk"))


def _hand_over(member: TeamMember, to_id: int | None, now: datetime, actor: Any) -> tuple[dict[str, int], int]:
    """Give the plays of somebody who leaves to others: how many went to whom, by name, and how many to the tray."""
    # Taken back offers have changed the loads.
    people = People.at(now)
    handed = _handed(_plays_of(member), member, to_id, people)
    if not handed.owners:
        return {}, 0
    _whole(assign_each(owners=handed.owners, why=handed.why, now=now, actor=actor))
    Play.objects.filter(pk__in=handed.tray).update(tray_at=now)
    return handed.given(people), len(handed.tray)


def _handed(plays: Sequence[Play], member: TeamMember, to_id: int | None, people: People) -> _Handed:
    """Whose plays of somebody who leaves will be. Raises ValidationError where one of them could be nobody's."""
    if not plays:
        return _Handed({}, {})
    if to_id is not None:
        require_roles({play.pk: people.members[to_id] for play in plays}, named="to")
        owners = dict.fromkeys((play.pk for play in plays), to_id)
        return _Handed(owners, dict.fromkeys(owners, f"{member} has left the team"))
    owners, why, tray = {}, {}, []
    people = people.without(member.pk)
    manager_id = people.manager_above(member.pk)
    for pk, chosen in choose_again(plays, people).items():
        owner_id = chosen.owner_id
        if owner_id is None:
            owner_id = _manager(member, manager_id, len(plays))
            tray.append(pk)
        owners[pk] = owner_id
        then = f", so it waits in the tray: {chosen.why}" if chosen.owner_id is None else f": {chosen.why}"
        why[pk] = f"{member} has left the team{then}{passed_in_words(chosen.passed, people)}"
    return _Handed(owners, why, tray)


def _manager(member: TeamMember, manager_id: int | None, plays: int) -> int:
    """Who owns what nobody has room for. Raises ValidationError where nobody stands above the one who leaves."""
    if manager_id is None:
        raise ValidationError(
            {
                "to": f"Nobody has room for all of the {_plays(plays)} of {member}, and no manager stands above them: "
                "name who takes them."
            }
        )
    return manager_id


def _whole(answers: Answers) -> None:
    """All of it or nothing. Raises ValidationError with the first reason why a play could not be moved."""
    for pk, answer in answers.items():
        if answer is not None:
            raise ValidationError(f"Play {pk}: {answer}")


def _plays(number: int) -> str:
    return "1 play" if number == 1 else f"{number:,} plays"
