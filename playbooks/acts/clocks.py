"""Acts on promises: excuse breaches, and move open plays to the targets that their playbook promises now.

Each takes a set of ids and answers per id: None where it was done, or why not.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from csplaybooks.accounts.acts.record import acting_user, require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.ids import Ids
from csplaybooks.playbooks.acts.moving import Answers, lock_in_order, words
from csplaybooks.playbooks.acts.notices import tell_events
from csplaybooks.playbooks.clockwork import (
    TARGETED,
    Promise,
    call_off,
    lapses_after,
    promising_version,
    recompute,
    save_clocks,
    set_lapses,
    set_targets,
    write_unseen,
)
from csplaybooks.playbooks.models import Clock, Handoff, Play, PlaybookVersion
from csplaybooks.playbooks.pipeline.clocks import first_owned, start_promises
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.targets import offer_target, targets_for


def excuse_breaches(*, clock_ids: Iterable[int], reason: str, now: datetime, actor: Any = None) -> Answers:
    """Excuse broken promises, with the reason a person gives; answers per clock: None, or why it was not excused.

    The breach stays written, and the promise is not kept by it: what is done late is done late. Where the promise is
    still open, nobody is told any more, neither by the rest of its ladder nor where its due time is moved and missed
    again. What is excused already by a later due time may be excused by a person too, and then stays so whatever
    becomes of that. Raises ValidationError without a reason.
    """
    require_aware(now=now)
    reason = words("reason", reason, "Say why it is excused.")
    wanted = list(dict.fromkeys(clock_ids))
    with transaction.atomic():
        locked = Clock.objects.filter(pk__in=wanted).select_for_update(of=("self",)).order_by("pk")
        clocks = {clock.pk: clock for clock in locked.select_related("play__account", "play__playbook")}
        answers: Answers = {pk: _why_not_excused(clocks.get(pk)) for pk in wanted}
        excused = [clocks[pk] for pk, why in answers.items() if why is None]
        for clock in excused:
            clock.excused_at, clock.excused_by, clock.excuse_reason = now, acting_user(actor), reason
        save_clocks(excused, ["excused_at", "excused_by", "excuse_reason"])
        recompute([clock for clock in excused if clock.done_at is None], now)
        write_timeline(
            [
                timeline_entry(
                    account_id=clock.play.account_id,
                    at=now,
                    now=now,
                    kind="clock_excused",
                    text=f"{clock.get_target_display()}: the broken promise is excused: {reason}",
                    subject=clock.play,
                    actor=actor,
                )
                for clock in excused
            ]
        )
    return answers


def _why_not_excused(clock: Clock | None) -> str | None:
    if clock is None:
        return "there is no such clock"
    if clock.breached_at is None:
        return f"there is nothing to excuse: the promise is {clock.get_state_display().lower()}"
    if clock.excuse_reason:
        return f"it is excused already: {clock.excuse_reason}"
    return None


def follow_published_targets(*, play_ids: Iterable[int], now: datetime, actor: Any = None) -> Answers:
    """Move open plays to the targets of the version that their playbook has published; answers per play.

    Everything else of a play stays as its own version says. A promise that is still made runs by its new hours from
    its old start, one that is new counts from when somebody owned the play, and one that is not made any more is called
    off, or missed where it was broken by then. What was kept or broken stays so. A constant number of queries.
    """
    require_aware(now=now)
    wanted = list(dict.fromkeys(play_ids))
    with transaction.atomic():
        token = uuid.uuid4()
        lock_in_order(wanted)
        Play.objects.open().filter(pk__in=wanted).update(claim=token)
        claimed = Play.objects.filter(pk__in=wanted, claim=token).select_related("account", "playbook__published")
        plays = list(claimed.defer("playbook__draft", "playbook__published__source", "playbook__published__document"))
        moved = [play for play in plays if play.playbook.published_id not in (None, promising_version(play))]
        _name_promises(moved, now)
        _keep_promises([play for play in moved if play.clocks_started_at is not None], now)
        write_timeline(
            [
                timeline_entry(
                    account_id=play.account_id,
                    at=now,
                    now=now,
                    kind="play_promises",
                    text=f"{play.playbook.name}: promises are those of version {play.playbook.published.number} now",
                    subject=play,
                    actor=actor,
                )
                for play in moved
            ]
        )
        if moved:
            poke("watch_clocks")
        done, open_ = {play.pk for play in moved}, {play.pk for play in plays}
        there = set(Play.objects.filter(pk__in=wanted).values_list("pk", flat=True))
    refused = {
        pk: "its promises are those of the published version already"
        if pk in open_
        else "the play is closed"
        if pk in there
        else "there is no such play"
        for pk in wanted
    }
    return {pk: None if pk in done else refused[pk] for pk in wanted}


@dataclass(frozen=True)
class Moving:
    """What moving open plays to other targets comes to: how many plays and promises it changes.

    `missed` promises are broken by it at once, `excused` ones are not any more: they run on to a later due time.
    """

    plays: int
    promises: int
    missed: int
    excused: int


def preview_published_targets(*, play_ids: Iterable[int], now: datetime) -> Moving:
    """What `follow_published_targets` would come to: it is done, looked at and undone. Nobody else sees any of it.

    Two queries more than the act itself takes.
    """
    wanted = list(play_ids)
    with transaction.atomic():
        before = _standing(wanted, now)
        answers = follow_published_targets(play_ids=wanted, now=now)
        after = _standing(wanted, now)
        transaction.set_rollback(True)
    moved = {pk for pk, stands in after.items() if before.get(pk) != stands}
    broken_before = {pk for pk in moved & before.keys() if before[pk].is_broken}
    broken_after = {pk for pk in moved if after[pk].is_broken}
    return Moving(
        plays=sum(why is None for why in answers.values()),
        promises=len(moved),
        missed=len(broken_after - broken_before),
        excused=len(broken_before - broken_after),
    )


@dataclass(frozen=True)
class _Stands:
    """How a promise stands, and what is promised."""

    is_broken: bool
    is_over: bool
    promised: tuple[Any, ...]


def _standing(play_ids: Sequence[int], now: datetime) -> dict[int, _Stands]:
    """How the promises of plays stand, by clock; one query. One that is overdue is broken, seen or not."""
    rows = Clock.objects.filter(play__in=Ids(play_ids)).order_by()
    stands = {}
    for pk, state, due_at, *promised in rows.values_list("pk", "state", "due_at", *TARGETED):
        is_over = state in (Clock.State.MET, Clock.State.MISSED, Clock.State.CANCELLED)
        overdue = not is_over and due_at is not None and due_at <= now
        is_broken = overdue or state in (Clock.State.BREACHED, Clock.State.MISSED)
        stands[pk] = _Stands(is_broken, is_over, (due_at, *promised))
    return stands


def _name_promises(plays: Sequence[Play], now: datetime) -> None:
    """Write on plays whose targets count for them: those of what is published, or their own again."""
    ways: dict[int | None, list[int]] = defaultdict(list)
    for play in plays:
        published = play.playbook.published_id
        play.promises_id = None if published == play.recipe_id else published
        ways[play.promises_id].append(play.pk)
    for promises, play_ids in ways.items():
        Play.objects.filter(pk__in=play_ids).update(promises=promises, version=F("version") + 1, updated_at=now)


def _keep_promises(plays: Sequence[Play], now: datetime) -> None:
    """Have plays the clocks that are promised them: some go on by other hours, some end, some begin."""
    if not plays:
        return
    versions = PlaybookVersion.objects.filter(pk__in={promising_version(play) for play in plays})
    documents: Mapping[int, Any] = dict(versions.values_list("pk", "document"))
    clocks: dict[int, list[Clock]] = defaultdict(list)
    for clock in Clock.objects.filter(play__in=plays).select_for_update().order_by("pk"):
        clocks[clock.play_id].append(clock)
    going_on: list[tuple[Clock, Mapping[str, Any]]] = []
    ending: list[Clock] = []
    missing: list[tuple[Play, Mapping[str, Any], int]] = []
    for play in plays:
        document = documents[promising_version(play)]
        promised = {target["target"]: target for target in targets_for(document, play.route, play.segment)}
        on_offer = {Clock.Target.HANDOFF_ACCEPTED.value: offer_target(document, play.route, play.segment)}
        for clock in clocks[play.pk]:
            if clock.done_at is None:
                target = (promised | on_offer).get(clock.target)
                if target is None:
                    ending.append(clock)
                else:
                    going_on.append((clock, target))
        standing = {clock.target for clock in clocks[play.pk] if clock.state != Clock.State.CANCELLED}
        for name in promised.keys() - standing:
            # Where it was called off before, the next one has the next number.
            number = 1 + max((clock.number for clock in clocks[play.pk] if clock.target == name), default=0)
            missing.append((play, promised[name], number))
    recompute(ending, now)
    tell_events(write_unseen([call_off(clock, now) for clock in ending], plays), now=now, plays=plays)
    save_clocks(ending, ["state", "done_at", "next_event_at", "breached_at", "noticed_at", "excused_at"])
    _go_on(going_on, now)
    owned_from = first_owned([play.pk for play, _, _ in missing])
    start_promises([Promise(play, target, owned_from[play.pk], number) for play, target, number in missing], now)


def _go_on(promised: Sequence[tuple[Clock, Mapping[str, Any]]], now: datetime) -> None:
    """Have clocks that tick run by other targets, and offers lapse by them."""
    if not promised:
        return
    clocks = [clock for clock, _ in promised]
    set_targets(clocks, [target for _, target in promised])
    save_clocks(clocks, TARGETED)
    recompute(clocks, now)
    # Whoever edits their new calendar at this very moment does not see that they run in it.
    Clock.objects.filter(pk__in=[clock.pk for clock in clocks]).update(is_stale=True)
    waits = {clock.pk: lapses_after(target) for clock, target in promised}
    offers = list(
        Handoff.objects.filter(answer=Handoff.Answer.WAITING, clock__in=clocks).select_related("clock").order_by("pk")
    )
    for offer in offers:
        offer.lapse_seconds = round(waits[offer.clock_id] / timedelta(seconds=1))
    Handoff.objects.bulk_update(offers, ["lapse_seconds"], batch_size=500)
    set_lapses(offers)
