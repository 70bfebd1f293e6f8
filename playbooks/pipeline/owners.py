"""Owners: every routed play gets the one person accountable for it, or waits in the manager's tray."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from csplaybooks.accounts.acts.record import timeline_entry, write_timeline
from csplaybooks.accounts.models import AccountTeam
from csplaybooks.playbooks.acts.handoffs import offer_each
from csplaybooks.playbooks.acts.notices import tell_assigned
from csplaybooks.playbooks.intervals import Move, move_plays
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Interval, Play, Stage, State
from csplaybooks.playbooks.people import Given, People, give, lock_team, passed_in_words, team_of
from csplaybooks.playbooks.pipeline.queue import work_off
from csplaybooks.playbooks.route_rules import Routing

logger = logging.getLogger("csplaybooks.pipeline")

#: The lease of all who give out work by loads. One for all pools: people are in several, and in none for the accounts
#: that are theirs, so that two leases would let two workers count the same place.
LEASE = "csplaybooks:owners"


def unowned() -> Any:
    """The queue of this worker: routed plays that are not in the tray."""
    return Play.objects.filter(stage=Stage.ROUTED, tray_at__isnull=True)


def assign_owners(*, now: datetime, limit: int = 200) -> int:
    """Give routed plays an owner, oldest first; answers how many plays were taken from the queue.

    One worker at a time, under a lease: loads are counted once for the batch, and caps must hold. The team is locked
    meanwhile, before any play is, so that nobody who leaves at this moment is given work.
    """
    if not unowned().workable_at(now).exists():
        return 0
    with holding(LEASE, now):
        lock_team()
        return work_off(unowned(), lambda ids: _assign(ids, now), now=now, order_by=("opened_at", "pk"), limit=limit)


def _assign(play_ids: Sequence[int], now: datetime) -> None:
    plays = list(Play.objects.filter(pk__in=play_ids).select_related("account", "playbook").order_by("opened_at", "pk"))
    team = team_of({play.account_id for play in plays})
    people = People.at(now)
    moves: list[Move] = []
    entries = []
    tray: list[int] = []
    given: dict[int, Given] = {}
    for play in plays:
        csm, executive = (team.get((play.account_id, role)) for role in (AccountTeam.Role.CSM, AccountTeam.Role.AE))
        chosen = give(Routing.of_play(play), csm, executive, people, told=True)
        given[play.pk] = chosen
        if chosen.owner_id is None:
            tray.append(play.pk)
            text = f"Waits for a manager to name an owner: {chosen.why}"
        else:
            owner_id = chosen.owner_id
            moves.append(Move(play.pk, Stage.OWNED, State.WORKING, owner_id, owner_id, Interval.HeldBy.MEMBER))
            text = f"{people.names[owner_id]} owns it: {chosen.why}"
        text += passed_in_words(chosen.passed, people)
        entries.append(
            timeline_entry(account_id=play.account_id, at=now, now=now, kind="play_assigned", text=text, subject=play)
        )
    move_plays(moves, now)
    Play.objects.filter(pk__in=tray).update(tray_at=now, updated_at=now)
    write_timeline(entries)
    owners = {move.play_id: move.owner_id for move in moves if move.owner_id is not None}
    tell_assigned(plays, owners, now=now, why={pk: chosen.why for pk, chosen in given.items()})
    offer_at_once({play.pk: play for play in plays}, given, people, now)


def offer_at_once(plays: Mapping[int, Play], given: Mapping[int, Given], people: People, now: datetime) -> None:
    """Offer plays that have just got their owner, where the routing says so; a constant number of queries.

    A play that cannot be offered stays with its owner, and its timeline says why: nobody has room, or the promise of an
    answer cannot be measured, because no calendar is the default.
    """
    receivers = {pk: chosen.receiver_id for pk, chosen in given.items() if chosen.receiver_id is not None}
    why = {pk: given[pk].receiver_why + passed_in_words(given[pk].passed_offer, people) for pk in receivers}
    kept = {
        pk: chosen.receiver_why + passed_in_words(chosen.passed_offer, people)
        for pk, chosen in given.items()
        if chosen.owner_id is not None and chosen.wanted_offer and chosen.receiver_id is None
    }
    try:
        answers = _offer(receivers, why, now)
    except ValidationError:
        # One that cannot be offered must not keep the others; nor must it keep its own owner.
        logger.warning("%d plays could not be offered together; trying one by one", len(receivers))
        answers = {}
        for pk, receiver_id in receivers.items():
            try:
                answers |= _offer({pk: receiver_id}, why, now)
            except ValidationError as problem:
                answers[pk] = " ".join(problem.messages)
    kept |= {pk: answer for pk, answer in answers.items() if answer is not None}
    write_timeline(
        timeline_entry(
            account_id=plays[pk].account_id,
            at=now,
            now=now,
            kind="play_not_offered",
            text=f"Not offered to an account executive: {reason}",
            subject=plays[pk],
        )
        for pk, reason in kept.items()
    )


def _offer(receivers: Mapping[int, int], why: Mapping[int, str], now: datetime) -> dict[int, str | None]:
    if not receivers:
        return {}
    with transaction.atomic():
        return offer_each(receivers=receivers, why=why, now=now)
