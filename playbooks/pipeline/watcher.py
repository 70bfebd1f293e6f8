"""The watcher of clocks: it warns, breaches and escalates what is due, each once, however late it comes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from csplaybooks.accounts.acts.record import timeline_entry, write_timeline
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.clockwork import (
    Due,
    calendar_values,
    outstanding,
    pauses_of,
    schedule,
    set_times,
    working_calendar,
    written_events,
)
from csplaybooks.playbooks.leases import beat
from csplaybooks.playbooks.models import Clock, ClockEvent, Interval

logger = logging.getLogger("csplaybooks.watcher")


def due_clocks(now: datetime) -> Any:
    """Ticking clocks on which something is due, or which must be recomputed."""
    return Clock.objects.ticking().filter(Q(next_event_at__lte=now) | Q(is_stale=True))


def watch_clocks(*, now: datetime, limit: int = 500) -> int:
    """Write the events that are due on up to `limit` clocks; answers on how many clocks it looked.

    Every clock is recomputed from its intervals first, so that no breach is written that a pause or a calendar edit
    has moved. Missed events are written once, late: all warnings that a later event has overtaken are written with
    it, and stand as one line on the timeline. A clock that fails (its calendar makes no sense) does not stop the
    others: it is looked at again after `RETRY_SECONDS`. Writes a heartbeat with how many clocks were due and how many
    were dealt with.
    """
    expected = due_clocks(now).count()
    seen = failed = 0
    if expected:
        with transaction.atomic():
            ids = due_clocks(now).order_by("next_event_at", "pk").values("pk")
            if connection.features.has_select_for_update_skip_locked:
                ids = ids.select_for_update(skip_locked=True)
            # The row lock makes two watchers share the work; the unique event makes a second one harmless.
            clocks = list(Clock.objects.filter(pk__in=list(ids[:limit].values_list("pk", flat=True))))
            seen = len(clocks)
            if seen < limit:
                # All that were free: what else was due is in the hands of another watcher, and is counted by it.
                expected = seen
            failed = _notice_all([clock for clock in clocks if clock.done_at is None], now)
    beat("csplaybooks:watcher", now, expected=expected, seen=seen - failed)
    return seen


def _notice_all(clocks: Sequence[Clock], now: datetime) -> int:
    """Deal with clocks together, or one by one where that fails; answers how many failed by themselves."""
    try:
        with transaction.atomic():
            _notice(clocks, now)
    except Exception:
        logger.exception("%d clocks failed; trying one by one", len(clocks))
        return sum(not _noticed_alone(clock.pk, now) for clock in clocks)
    return 0


def _noticed_alone(pk: int, now: datetime) -> bool:
    try:
        with transaction.atomic():
            _notice([Clock.objects.get(pk=pk)], now)
    except Exception:
        logger.exception("clock %s failed", pk)
        # It is recomputed whenever it is looked at, so no mark is needed for that.
        later = now + timedelta(seconds=csplaybooks_settings.RETRY_SECONDS)
        Clock.objects.ticking().filter(pk=pk).update(next_event_at=later, is_stale=False)
        return False
    return True


def _notice(clocks: Sequence[Clock], now: datetime) -> None:
    calendars = calendar_values(clock.calendar_id for clock in clocks if clock.calendar_id is not None)
    pauses = pauses_of(clock.play_id for clock in clocks)
    written = written_events(clock.pk for clock in clocks)
    holders: dict[int, int | None] = dict(
        Interval.objects.filter(play__in={clock.play_id for clock in clocks}, valid_to__isnull=True).values_list(
            "play", "holder"
        )
    )
    events: list[ClockEvent] = []
    told: list[tuple[Clock, Due]] = []
    for clock in clocks:
        calendar = working_calendar(clock, calendars)
        due = [
            event
            for event in outstanding(schedule(clock, calendar, pauses[clock.play_id]), written[clock.pk])
            if event.at <= now
        ]
        for event in due:
            written[clock.pk].add((event.kind, event.level))
            events.append(
                ClockEvent(
                    clock=clock,
                    kind=event.kind,
                    level=event.level,
                    due_at=event.at,
                    noticed_at=now,
                    holder_id=holders.get(clock.play_id),
                )
            )
            if event.kind == ClockEvent.Kind.BREACHED:
                clock.breached_at = event.at
                clock.noticed_at = now
        if due:
            told.append((clock, due[-1]))
        set_times(clock, calendar, pauses[clock.play_id], written[clock.pk], now)
    ClockEvent.objects.bulk_create(events)
    Clock.objects.ticking().bulk_update(
        clocks,
        ["due_at", "next_event_at", "state", "is_stale", "breached_at", "noticed_at", "excused_at"],
        batch_size=500,
    )
    _tell(told, now)


def _tell(told: Sequence[tuple[Clock, Due]], now: datetime) -> None:
    plays = {
        clock.play_id: clock.play
        for clock in Clock.objects.filter(pk__in=[clock.pk for clock, _ in told]).select_related(
            "play__account", "play__playbook"
        )
    }
    entries = []
    for clock, event in told:
        play = plays[clock.play_id]
        target = clock.get_target_display()
        if event.kind == ClockEvent.Kind.WARNED:
            text = f"{target}: {event.level} % of the promised time is used"
        elif event.kind == ClockEvent.Kind.BREACHED:
            text = f"{target}: the promise was missed"
        else:
            text = f"{target}: still open after the promise was missed; rung {event.level} of the ladder"
        entries.append(
            timeline_entry(
                account_id=play.account_id, at=event.at, now=now, kind=f"clock_{event.kind}", text=text, subject=play
            )
        )
    write_timeline(entries)
