"""Acts that assign plays by the routing once more: for chosen plays, and for those of somebody who leaves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from csplaybooks.accounts.acts.record import require_aware
from csplaybooks.accounts.models import AccountTeam
from csplaybooks.playbooks.acts.moving import Answers
from csplaybooks.playbooks.acts.plays import assign_each
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Play, Stage
from csplaybooks.playbooks.moves import Rights, allowed_q, refusal
from csplaybooks.playbooks.people import Given, People, give, lock_team, passed_in_words, team_of
from csplaybooks.playbooks.pipeline.owners import LEASE, offer_at_once
from csplaybooks.playbooks.route_rules import Routing


def route_again(*, play_ids: Iterable[int], now: datetime, actor: Any = None) -> Answers:
    """Assign plays by their routing, as if they had just been opened: those of the tray, and owned ones.

    Their loads are taken off first, so that they spread over the pool; caps hold. A play whose owner is chosen again
    stays as it is, and comes out of the tray; a paused one stays paused. One that nobody has room for stays where it
    is, and its answer says so. What was never owned is offered at once where its rule says so; what was owned has had
    its offer. A constant number of queries, and one more for each different owner.
    """
    require_aware(now=now)
    wanted = list(dict.fromkeys(play_ids))
    if not wanted:
        return {}
    with holding(LEASE, now):
        lock_team()
        rights = Rights.of(actor, now)
        people = People.at(now)
        possible = Play.objects.filter(allowed_q("assign", rights), pk__in=wanted)
        plays = {play.pk: play for play in possible.select_related("account", "playbook").order_by("opened_at", "pk")}
        chosen = choose_again(list(plays.values()), people)
        owners = {
            pk: given.owner_id
            for pk, given in chosen.items()
            if given.owner_id is not None and not _stays(plays[pk], given)
        }
        why = {pk: f"{chosen[pk].why}{passed_in_words(chosen[pk].passed, people)}" for pk in owners}
        answers: Answers = dict.fromkeys(plays)
        answers |= {pk: f"it stays where it is: {given.why}" for pk, given in chosen.items() if given.owner_id is None}
        answers |= assign_each(owners=owners, why=why, now=now, actor=actor)
        fresh = {pk: plays[pk] for pk in owners if plays[pk].stage == Stage.ROUTED and answers[pk] is None}
        offer_at_once(fresh, {pk: chosen[pk] for pk in fresh}, people, now)
        others = Play.objects.filter(pk__in=[pk for pk in wanted if pk not in plays]).select_related("owner", "holder")
        refused = {play.pk: play for play in others}
    return {pk: answers[pk] if pk in plays else refusal("assign", refused.get(pk), rights) for pk in wanted}


def choose_again(plays: Sequence[Play], people: People) -> dict[int, Given]:
    """Who would own plays by their routing, by id, the first first; their loads are moved in `people`. One query.

    A play that nobody else has room for stays a load of whoever owns it.
    """
    team = team_of({play.account_id for play in plays})
    for play in plays:
        if play.owner_id in people.load and Routing.of_play(play).route.counts_toward_load:
            people.load[play.owner_id] -= 1
    chosen: dict[int, Given] = {}
    for play in plays:
        routing = Routing.of_play(play)
        csm, executive = (team.get((play.account_id, role)) for role in (AccountTeam.Role.CSM, AccountTeam.Role.AE))
        given = give(routing, csm, executive, people, offers=play.stage == Stage.ROUTED, told=True)
        if given.owner_id is None and play.owner_id in people.load and routing.route.counts_toward_load:
            people.load[play.owner_id] += 1
        chosen[play.pk] = given
    return chosen


def _stays(play: Play, given: Given) -> bool:
    """Whether a play is with whoever is chosen for it already, and does not stand in the tray."""
    return play.owner_id == given.owner_id and play.tray_at is None
