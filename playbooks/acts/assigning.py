"""Acts that assign plays by the routing once more: for chosen plays, and for those of somebody who leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from csplaybooks.accounts.acts.record import require_aware
from csplaybooks.accounts.models import AccountTeam
from csplaybooks.playbooks.acts.moving import Answers, Seen
from csplaybooks.playbooks.acts.plays import assign_each
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Play, Stage
from csplaybooks.playbooks.moves import Rights, allowed_q, refusal
from csplaybooks.playbooks.people import (
    ACCEPTED,
    Given,
    People,
    accepted_by,
    give,
    keeps,
    lock_team,
    passed_in_words,
    team_of,
)
from csplaybooks.playbooks.pipeline.owners import LEASE, offer_at_once
from csplaybooks.playbooks.route_rules import Routing


@dataclass(frozen=True)
class Again:
    """What becomes of a play that is assigned by its routing once more.

    `owner_then_id` is who owns it then, `moves` whether anything changes, and `why` the reason of the choice. `stays`
    says why it stays where it is though it was asked for, empty where the act is done. `offer_to_id` is to whom it is
    offered at once.
    """

    play: Play
    owner_then_id: int | None
    why: str
    moves: bool
    stays: str = ""
    offer_to_id: int | None = None


@dataclass(frozen=True)
class Plan:
    """What `route_again` would do with plays, in the order in which they were given; `refused` may not be assigned."""

    plays: Mapping[int, Again]
    refused: Mapping[int, str]
    chosen: Mapping[int, Given]
    names: Mapping[int, str]
    people: People

    def owners(self) -> list[tuple[str, int, int]]:
        """By name, how many of the plays somebody owns now and would then; empty is nobody. Most then come first."""
        now, then = Counter[str](), Counter[str]()
        for each in self.plays.values():
            now[self.name(each.play.owner_id)] += 1
            then[self.name(each.owner_then_id)] += 1
        return sorted(((name, now[name], then[name]) for name in {*now, *then}), key=lambda row: (-row[2], row[0]))

    def name(self, member_id: int | None) -> str:
        """What a member is called; empty for nobody."""
        return "" if member_id is None else self.names[member_id]


def plan_again(*, play_ids: Iterable[int], now: datetime, actor: Any = None) -> Plan:
    """What `route_again` would do with plays at this moment; nothing is written. A constant number of queries."""
    require_aware(now=now)
    return _plan(list(dict.fromkeys(play_ids)), now, actor)


def route_again(*, play_ids: Iterable[int], now: datetime, actor: Any = None, seen: Seen = None) -> Answers:
    """Assign plays by their routing, as if they had just been opened: those of the tray, and owned ones.

    Their loads are taken off first, so that they spread over the pool; caps hold. A play whose owner is chosen again
    stays as it is, and comes out of the tray; a paused one stays paused. One that nobody has room for stays where it
    is, and its answer says so; so does one whose owner accepted it when it was offered (see `choose_again`). What was
    never owned is offered at once where its rule says so; what was owned has had its offer. A constant number of
    queries, and one more for each different owner.
    """
    require_aware(now=now)
    wanted = list(dict.fromkeys(play_ids))
    if not wanted:
        return {}
    with holding(LEASE, now):
        lock_team()
        plan = _plan(wanted, now, actor)
        owners = {pk: each.owner_then_id for pk, each in plan.plays.items() if each.moves and each.owner_then_id}
        why = {pk: plan.plays[pk].why for pk in owners}
        answers: Answers = {pk: each.stays or None for pk, each in plan.plays.items()}
        answers |= plan.refused
        answers |= assign_each(owners=owners, why=why, now=now, actor=actor, seen=seen)
        plays = {pk: plan.plays[pk].play for pk in owners}
        fresh = {pk: play for pk, play in plays.items() if play.stage == Stage.ROUTED and answers[pk] is None}
        offer_at_once(fresh, {pk: plan.chosen[pk] for pk in fresh}, plan.people, now)
    return {pk: answers[pk] for pk in wanted}


def _plan(wanted: Sequence[int], now: datetime, actor: Any) -> Plan:
    rights = Rights.of(actor, now)
    people = People.at(now)
    possible = Play.objects.filter(allowed_q("assign", rights), pk__in=wanted)
    rows = possible.select_related("account", "playbook", "owner").order_by("opened_at", "pk")
    plays = {play.pk: play for play in rows}
    chosen = choose_again(list(plays.values()), people)
    others = Play.objects.filter(pk__in=[pk for pk in wanted if pk not in plays]).with_step()
    left = {play.pk: play for play in others.select_related("owner", "holder")}
    return Plan(
        plays={pk: _again(plays[pk], chosen[pk], people) for pk in wanted if pk in plays},
        refused={pk: refusal("assign", left.get(pk), rights) for pk in wanted if pk not in plays},
        chosen=chosen,
        names=people.names,
        people=people,
    )


def _again(play: Play, given: Given, people: People) -> Again:
    """What becomes of one play for which a choice was made."""
    if given.owner_id is None:
        return Again(play, play.owner_id, given.why, moves=False, stays=f"it stays where it is: {given.why}")
    if given.why == ACCEPTED:
        said = f"it stays with {play.owner}, who {ACCEPTED}"
        return Again(play, play.owner_id, given.why, moves=False, stays=said)
    why = f"{given.why}{passed_in_words(given.passed, people)}"
    # Whoever is chosen again keeps it as it is, but in the tray it waits for somebody to own it.
    moves = play.owner_id != given.owner_id or play.tray_at is not None
    return Again(play, given.owner_id, why, moves=moves, offer_to_id=given.receiver_id)


def choose_again(plays: Sequence[Play], people: People) -> dict[int, Given]:
    """Who would own plays by their routing, by id, the first first; their loads are moved in `people`. Two queries.

    A play that nobody else has room for stays a load of whoever owns it. Whoever accepted a play when it was offered
    keeps it, unless they have left or have given it back: they are no choice of the routing's, but of two people.
    """
    team = team_of({play.account_id for play in plays})
    accepted = accepted_by(plays)
    kept = {play.pk for play in plays if keeps(play, accepted, people)}
    for play in plays:
        if play.pk not in kept and play.owner_id in people.load and Routing.of_play(play).route.counts_toward_load:
            people.load[play.owner_id] -= 1
    chosen: dict[int, Given] = {}
    for play in plays:
        if play.pk in kept:
            chosen[play.pk] = Given(play.owner_id, ACCEPTED)
            continue
        routing = Routing.of_play(play)
        csm, executive = (team.get((play.account_id, role)) for role in (AccountTeam.Role.CSM, AccountTeam.Role.AE))
        given = give(routing, csm, executive, people, offers=play.stage == Stage.ROUTED, told=True)
        if given.owner_id is None and play.owner_id in people.load and routing.route.counts_toward_load:
            people.load[play.owner_id] += 1
        chosen[play.pk] = given
    return chosen
