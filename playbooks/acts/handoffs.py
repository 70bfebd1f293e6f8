"""Acts on offers: a play is offered to somebody, who accepts or refuses; or it is taken back, or lapses.

Until it is accepted the owner stays accountable, and whoever it was offered to holds it: from then on it is their
time. Each act takes a set of play ids and answers per id, as those of `csplaybooks.playbooks.acts.plays` do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, Value
from django.db.models.functions import Greatest

from csplaybooks.accounts.acts.record import require_aware
from csplaybooks.accounts.models import Champion, Finding, FindingState, TeamMember
from csplaybooks.playbooks.acts.moving import (
    Answers,
    act_on_plays,
    call_off_clocks,
    finish_clocks,
    fresh_clocks,
    words,
)
from csplaybooks.playbooks.business_time import CalendarError, HorizonExceeded, due_at
from csplaybooks.playbooks.clockwork import (
    NoDefaultCalendar,
    calendar_values,
    new_clock,
    offer_target,
    set_times,
    working_calendar,
)
from csplaybooks.playbooks.intervals import Move
from csplaybooks.playbooks.models import Calendar, Clock, Handoff, Interval, Play, PlaybookVersion, Stage, State

#: At most this many people and findings of an account are told to whom a play is offered.
MOST_TOLD = 10

#: Whom to talk to first.
_IN_ORDER = (
    *(Champion.Role.ECONOMIC_BUYER, Champion.Role.CHAMPION, Champion.Role.EXECUTIVE_SPONSOR),
    *(Champion.Role.ADMIN, Champion.Role.USER),
)


@transaction.atomic
def offer_plays(*, play_ids: Iterable[int], to_id: int, now: datetime, note: str = "", actor: Any = None) -> Answers:
    """Offer plays to an account executive; their promise to accept begins to run. For who owns or holds them, or above.

    What they need to know goes with it: what was found, what it is worth, whom to talk to, what is open at the account
    and the `note`. A play of their own is not offered to anybody. Raises ValidationError when the member has left or is
    no account executive, and where the promise cannot be measured: no calendar is the default, or it never opens.
    """
    require_aware(now=now)
    note = words("note", note, most=10_000)
    # Locked, so that nobody who leaves at this moment is given work.
    receiver = TeamMember.objects.active().select_for_update(no_key=True).filter(pk=to_id).first()
    if receiver is None:
        raise ValidationError({"to": "This team member has left, or never was."})
    if not receiver.is_account_executive:
        raise ValidationError({"to": f"{receiver} is no account executive: plays are offered to those who sell."})

    def move(play: Play) -> Move:
        return Move(play.pk, Stage(play.stage), State.OFFERED, play.owner_id, receiver.pk, Interval.HeldBy.MEMBER)

    def after(plays: Sequence[Play]) -> None:
        _write_offers(plays, receiver, note, now)

    wanted = list(dict.fromkeys(play_ids))
    answers = act_on_plays(
        "offer",
        wanted,
        move,
        lambda play: f"Offered to {receiver.name}",
        now,
        actor,
        after=after,
        only=~Q(owner=receiver),
    )
    refused = [pk for pk, why in answers.items() if why is not None]
    own = Play.objects.open().filter(pk__in=refused, owner=receiver).values_list("pk", flat=True) if refused else ()
    return answers | dict.fromkeys(own, f"{receiver} owns it already: offer it to somebody else")


def accept_plays(*, play_ids: Iterable[int], now: datetime, actor: Any = None) -> Answers:
    """Accept plays on offer: whoever they were offered to owns them from now on. For them, or somebody above them."""

    def move(play: Play) -> Move:
        return Move(play.pk, Stage(play.stage), State.WORKING, play.holder_id, play.holder_id, Interval.HeldBy.MEMBER)

    def after(plays: Sequence[Play]) -> None:
        _answer(plays, Handoff.Answer.ACCEPTED, now)
        finish_clocks(plays, Clock.Target.HANDOFF_ACCEPTED, now, now)
        # What else was promised is kept or broken by the new owner now.
        fresh_clocks(plays, now)

    return act_on_plays("accept", play_ids, move, lambda play: "Offer accepted", now, actor, after=after)


def refuse_plays(*, play_ids: Iterable[int], reason: str, now: datetime, actor: Any = None) -> Answers:
    """Refuse plays on offer: they go back to their owner. For whoever they were offered to, or somebody above them.

    Raises ValidationError without a reason.
    """
    reason = words("reason", reason, "Say why you do not take it.")
    return _hand_back("refuse", play_ids, Handoff.Answer.REFUSED, f"Offer refused: {reason}", now, actor, reason=reason)


def take_back_plays(*, play_ids: Iterable[int], now: datetime, reason: str = "", actor: Any = None) -> Answers:
    """Take an offer back before it is answered. For the owner, or somebody above them."""
    reason = words("reason", reason)
    text = "Offer taken back" + (f": {reason}" if reason else "")
    return _hand_back("take_back", play_ids, Handoff.Answer.TAKEN_BACK, text, now, actor, reason=reason)


def lapse_offers(*, play_ids: Iterable[int], now: datetime) -> Answers:
    """End the offers of plays whose time is over: a manager holds the play, and finds it in the tray.

    The nearest manager above whoever did not answer, or else above the owner, who stays accountable until it is
    assigned anew; where nobody stands above either, it is the owner's again. An offer that has time left stays.
    """
    above = _Ladder.of_the_team()

    def holder_of(play: Play) -> int | None:
        return above.manager(play.holder_id) or above.manager(play.owner_id)

    def move(play: Play) -> Move:
        holder_id = holder_of(play) or play.owner_id
        return Move(play.pk, Stage(play.stage), State.WORKING, play.owner_id, holder_id, Interval.HeldBy.MEMBER)

    def after(plays: Sequence[Play]) -> None:
        _answer(plays, Handoff.Answer.EXPIRED, now)
        call_off_clocks(plays, now, target=Clock.Target.HANDOFF_ACCEPTED)
        waiting = [play.pk for play in plays if holder_of(play) is not None]
        Play.objects.filter(pk__in=waiting).update(tray_at=now)

    def text(play: Play) -> str:
        then = "waits for a manager" if holder_of(play) is not None else f"it is back with {play.owner}"
        return f"Nobody answered the offer: {then}"

    waiting = Handoff.objects.filter(play=OuterRef("pk"), answer=Handoff.Answer.WAITING, expires_at__lte=now)
    return act_on_plays("lapse", play_ids, move, text, now, None, after=after, only=Q(Exists(waiting)))


def _hand_back(
    verb: str, play_ids: Iterable[int], answer: Handoff.Answer, text: str, now: datetime, actor: Any, *, reason: str
) -> Answers:
    def move(play: Play) -> Move:
        return Move(play.pk, Stage(play.stage), State.WORKING, play.owner_id, play.owner_id, Interval.HeldBy.MEMBER)

    def after(plays: Sequence[Play]) -> None:
        _answer(plays, answer, now, reason=reason)
        call_off_clocks(plays, now, target=Clock.Target.HANDOFF_ACCEPTED)

    return act_on_plays(verb, play_ids, move, lambda play: text, now, actor, after=after)


def _answer(plays: Sequence[Play], answer: Handoff.Answer, now: datetime, *, reason: str = "") -> None:
    waiting = Handoff.objects.filter(play__in=plays, answer=Handoff.Answer.WAITING)
    # Clocks of machines differ: an answer comes no earlier than its offer.
    waiting.update(answer=answer, answered_at=Greatest(F("offered_at"), Value(now)), reason=reason)


def _write_offers(plays: Sequence[Play], receiver: TeamMember, note: str, now: datetime) -> None:
    """The offers of plays just moved, and the clock of each; a constant number of queries."""
    moments = dict(Interval.objects.filter(play__in=plays, valid_to__isnull=True).values_list("play_id", "valid_from"))
    before = Counter(Handoff.objects.filter(play__in=plays).order_by().values_list("play", flat=True))
    documents = dict(
        PlaybookVersion.objects.filter(pk__in={play.recipe_id for play in plays}).values_list("pk", "document")
    )
    told = _context(plays)
    calendar = Calendar.objects.filter(is_default=True).first()
    values = calendar_values([calendar.pk] if calendar is not None else ())
    offers, clocks = [], []
    for play in plays:
        target = offer_target(documents[play.recipe_id], play.route)
        try:
            clock = new_clock(play, target, calendar, moments[play.pk], before[play.pk] + 1)
            hours = working_calendar(clock, values)
            set_times(clock, hours, [], (), now)
            lapses_after = timedelta(hours=target["lapse_after_hours"])
            expires_at = due_at(hours, clock.started_at, lapses_after)
        except (NoDefaultCalendar, CalendarError, HorizonExceeded) as problem:
            raise ValidationError(f"{play}: an answer cannot be promised in working hours: {problem}.") from problem
        # An edit of the calendar that is under way has not seen this clock: the watcher looks at it once it is there.
        clock.is_stale = True
        clocks.append(clock)
        offers.append(
            Handoff(
                play=play,
                offered_by=play.owner,
                offered_to=receiver,
                offered_at=clock.started_at,
                clock=clock,
                lapse_seconds=round(lapses_after.total_seconds()),
                expires_at=expires_at,
                context={**told[play.pk], "note": note} if note else told[play.pk],
            )
        )
    Clock.objects.bulk_create(clocks)
    Handoff.objects.bulk_create(offers)


def _context(plays: Sequence[Play]) -> dict[int, dict[str, Any]]:
    """What goes with an offer, by play id, in the words of this moment; two queries."""
    accounts = {play.account_id for play in plays}
    people: dict[int, list[str]] = defaultdict(list)
    there = Champion.objects.filter(account__in=accounts, left_on__isnull=True).order_by("account", "pk")
    for champion in sorted(there, key=lambda person: _IN_ORDER.index(person.role)):
        title = f", {champion.title}" if champion.title else ""
        people[champion.account_id].append(f"{champion.name}{title} ({champion.get_role_display()})")
    findings: dict[int, list[str]] = defaultdict(list)
    standing = FindingState.objects.current().filter(status=FindingState.Status.OPEN)
    open_findings = Finding.objects.filter(account__in=accounts, pk__in=standing.values("finding"))
    for finding in open_findings.order_by("account", "-pk"):
        findings[finding.account_id].append(f"{finding.get_kind_display()}: {finding.text}")
    return {
        play.pk: {
            "account": play.account.name,
            "playbook": play.playbook.name,
            "found": [item["words"] for item in play.evidence if item.get("words")],
            "worth_minor": play.expected_amount_minor,
            "worked_out": play.amount_working.get("words", ""),
            "people": people[play.account_id][:MOST_TOLD],
            "findings": findings[play.account_id][:MOST_TOLD],
        }
        for play in plays
    }


@dataclass(frozen=True)
class _Ladder:
    """Who leads whom: for each member who leads them, and who of all is there and a manager."""

    leader: Mapping[int, int | None]
    managers: frozenset[int]

    @classmethod
    def of_the_team(cls) -> _Ladder:
        """As the team stands; one query: these are people, not customers."""
        rows = list(TeamMember.objects.values_list("pk", "manager_id", "is_active", "is_manager"))
        return cls(
            {pk: leader for pk, leader, _, _ in rows},
            frozenset(pk for pk, _, is_active, is_manager in rows if is_active and is_manager),
        )

    def manager(self, member_id: int | None) -> int | None:
        """The nearest manager above a member who is there; None: nobody is."""
        seen: set[int] = set()
        while member_id is not None and member_id not in seen:
            seen.add(member_id)
            member_id = self.leader.get(member_id)
            if member_id in self.managers:
                return member_id
        return None
