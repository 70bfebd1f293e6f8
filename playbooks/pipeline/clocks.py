"""SLA clocks: every owned play gets the clocks its playbook promises for its route and segment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Min

from csplaybooks.playbooks.acts.notices import tell_events
from csplaybooks.playbooks.clockwork import (
    Promise,
    calendars_of,
    documents_of,
    finish,
    new_clocks,
    pauses_of,
    promising_version,
    set_times,
    working_calendar,
    write_unseen,
)
from csplaybooks.playbooks.models import Clock, Interval, Play, Stage, Touch
from csplaybooks.playbooks.pipeline.queue import work_off
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.targets import targets_for


def unclocked() -> Any:
    """The queue of this worker: plays with an owner and without clocks."""
    return Play.objects.filter(clocks_started_at__isnull=True, stage__in=[Stage.OWNED, Stage.RUNNING])


def start_clocks(*, now: datetime, limit: int = 200) -> int:
    """Start the clocks of owned plays; answers how many plays were taken from the queue."""
    return work_off(unclocked(), lambda ids: _start(ids, now), now=now, order_by=("opened_at", "pk"), limit=limit)


def _start(play_ids: Sequence[int], now: datetime) -> None:
    plays = list(Play.objects.filter(pk__in=play_ids).defer("evidence", "amount_working"))
    documents = documents_of(plays)
    owned_from = first_owned(play_ids)
    start_promises(
        [
            Promise(play, target, owned_from[play.pk])
            for play in plays
            for target in targets_for(documents[promising_version(play)], play.route, play.segment)
        ],
        now,
    )
    Play.objects.filter(pk__in=play_ids).update(clocks_started_at=now)


def first_owned(play_ids: Sequence[int]) -> dict[int, datetime]:
    """Since when somebody owned each play: from then on a promise counts, however late its clock is started."""
    rows = Interval.objects.filter(play__in=play_ids, owner__isnull=False).order_by().values("play")
    return dict(rows.annotate(first=Min("valid_from")).values_list("play", "first"))


def start_promises(promises: Sequence[Promise], now: datetime) -> list[Clock]:
    """Write the clocks of promises, whose plays the caller has claimed; a constant number of queries.

    They are to be looked at by the watcher first: whoever edits a calendar at this very moment does not see them.
    """
    clocks = new_clocks(promises)
    play_ids = {clock.play_id for clock in clocks}
    calendars, pauses = calendars_of(clocks), pauses_of(play_ids)
    # Somebody may have been quicker than this worker: a contact made meanwhile is the first one.
    touched: dict[int, datetime] = dict(
        Touch.objects.filter(play__in=play_ids, direction=Touch.Direction.OUT)
        .order_by()
        .values("play")
        .annotate(first=Min("at"))
        .values_list("play", "first")
    )
    breaches = []
    for clock in clocks:
        set_times(clock, working_calendar(clock, calendars), pauses[clock.play_id], (), now)
        if clock.target == Clock.Target.FIRST_TOUCH and clock.play_id in touched:
            breaches.append(finish(clock, touched[clock.play_id], now))
        clock.is_stale = clock.done_at is None
    Clock.objects.bulk_create(clocks)
    plays = [promise.play for promise in promises]
    tell_events(write_unseen(breaches, plays), now=now, plays=plays)
    if any(clock.is_stale for clock in clocks):
        poke("watch_clocks")
    return clocks
