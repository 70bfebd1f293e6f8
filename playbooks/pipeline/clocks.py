"""SLA clocks: every owned play gets the clocks its playbook promises for its route."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Min

from csplaybooks.playbooks.clockwork import (
    calendar_values,
    finish,
    new_clock,
    pauses_of,
    set_times,
    targets_for,
    working_calendar,
)
from csplaybooks.playbooks.models import Calendar, Clock, ClockEvent, Interval, Play, Stage, Touch
from csplaybooks.playbooks.pipeline.queue import work_off


def unclocked() -> Any:
    """The queue of this worker: plays with an owner and without clocks."""
    return Play.objects.filter(clocks_started_at__isnull=True, stage__in=[Stage.OWNED, Stage.RUNNING])


def start_clocks(*, now: datetime, limit: int = 200) -> int:
    """Start the clocks of owned plays; answers how many plays were taken from the queue."""
    return work_off(unclocked(), lambda ids: _start(ids, now), now=now, order_by=("opened_at", "pk"), limit=limit)


def _start(play_ids: Sequence[int], now: datetime) -> None:
    plays = Play.objects.filter(pk__in=play_ids).select_related("recipe")
    # A promise counts from the moment somebody owned the play, however late this worker came.
    owned_from: dict[int, datetime] = dict(
        Interval.objects.filter(play__in=play_ids, owner__isnull=False)
        .order_by()
        .values("play")
        .annotate(first=Min("valid_from"))
        .values_list("play", "first")
    )
    calendar = Calendar.objects.filter(is_default=True).first()
    clocks = [
        new_clock(play, target, calendar, owned_from[play.pk])
        for play in plays
        for target in targets_for(play.recipe.document, play.route)
    ]
    calendars = calendar_values(clock.calendar_id for clock in clocks if clock.calendar_id is not None)
    pauses = pauses_of(play_ids)
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
    Clock.objects.bulk_create(clocks)
    ClockEvent.objects.bulk_create([event for event in breaches if event is not None])
    Play.objects.filter(pk__in=play_ids).update(clocks_started_at=now)
