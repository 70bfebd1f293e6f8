"""The watcher of clocks: it warns, breaches and escalates what is due, each once, however late it comes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from csplaybooks.accounts.acts.record import timeline_entry, write_timeline
from csplaybooks.accounts.ids import Ids
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.acts.notices import tell_events
from csplaybooks.playbooks.calendar_choice import calendars_at_rest
from csplaybooks.playbooks.clockwork import (
    COMPUTED,
    Due,
    look_up,
    outstanding,
    save_clocks,
    set_lapses,
)
from csplaybooks.playbooks.heartbeats import WATCHER
from csplaybooks.playbooks.ladder import Ladder
from csplaybooks.playbooks.leases import beat
from csplaybooks.playbooks.models import Clock, ClockEvent, Interval, Play
from csplaybooks.playbooks.pipeline.savepoints import together_or_each

logger = logging.getLogger("csplaybooks.watcher")

#: What a line of the timeline calls a play is made of these.
_NAMED = ("account", "account__name", "playbook", "playbook__name")

#: On so many clocks one transaction looks. More would be quicker by little, and would hold its locks for longer.
BATCH = 1000


def due_clocks(now: datetime) -> Any:
    """Ticking clocks on which something is due, or which must be recomputed."""
    return Clock.objects.ticking().filter(Q(next_event_at__lte=now) | Q(is_stale=True))


def watch_clocks(*, now: datetime, limit: int = BATCH) -> int:
    """Write the events that are due on up to `limit` clocks; answers on how many clocks it looked.

    Every clock is recomputed from its intervals, owner and calendar first, so that no breach is written that a pause or
    a calendar edit has moved. Missed events are written once, late: all warnings that a later event has overtaken are
    written with it. On the timeline a breach has a line of its own, of warnings and rungs only the last. A clock that
    fails (its calendar makes no sense) does not stop the others: it is looked at again after `RETRY_SECONDS`. Writes a
    heartbeat with how many clocks were due, up to the limit, and how many were dealt with.
    """
    expected = min(due_clocks(now).count(), limit)
    seen = failed = 0
    if expected:
        with transaction.atomic():
            ids = due_clocks(now).order_by("next_event_at", "pk").values_list("pk", flat=True)
            if connection.features.has_select_for_update_skip_locked:
                no_key = connection.features.has_select_for_no_key_update
                ids = ids.select_for_update(skip_locked=True, no_key=no_key)
            # The row lock makes two watchers share the work; the unique event makes a second one harmless. Read anew
            # once it is held: the first statement may have seen them as they were before.
            clocks = _settled(list(Clock.objects.filter(pk__in=Ids(list(ids[:limit]))).order_by("pk")))
            seen = len(clocks)
            # What else was due is in the hands of others, who count it themselves. Where they never come to an end the
            # doctor sees it, by how long it has been due.
            expected = seen
            failed = _notice_all([clock for clock in clocks if clock.done_at is None], now)
    beat(WATCHER, now, expected=expected, seen=seen - failed)
    return seen


def _settled(clocks: Sequence[Clock]) -> list[Clock]:
    """Without those that are to be recomputed while their calendar is being edited: they wait for the end of that.

    Whoever edits a calendar marks the clocks that run in it, but sees none that are being started at that moment. These
    are stale from the start, and must stay so until the edit can be read.
    """
    stale = {clock.calendar_id for clock in clocks if clock.is_stale and clock.calendar_id is not None}
    if not stale or not connection.features.has_select_for_update_skip_locked:
        return list(clocks)
    # These clocks are locked: an edit that begins from now on marks them when they are done with here.
    free = calendars_at_rest(stale)
    return [clock for clock in clocks if not clock.is_stale or clock.calendar_id is None or clock.calendar_id in free]


def _notice_all(clocks: Sequence[Clock], now: datetime) -> int:
    """Deal with clocks together, or one by one where that fails; answers how many failed by themselves."""

    def put_off(clock: Clock, error: Exception) -> None:
        logger.exception("clock %s failed", clock.pk)
        # It is recomputed whenever it is looked at, so no mark is needed for that.
        later = now + timedelta(seconds=csplaybooks_settings.RETRY_SECONDS)
        Clock.objects.ticking().filter(pk=clock.pk).update(next_event_at=later, is_stale=False)

    return len(clocks) - together_or_each(
        clocks,
        lambda some: _notice(some, now),
        of="clocks",
        logger=logger,
        failed=put_off,
        # Read anew: what was done to it with the others is rolled back.
        alone=lambda clock: _notice([Clock.objects.get(pk=clock.pk)], now),
    )


def _notice(clocks: Sequence[Clock], now: datetime) -> int:
    facts = look_up(clocks)
    people = _people_of({clock.play_id for clock in clocks})
    ladder = Ladder.of_the_team()
    events: list[ClockEvent] = []
    told: list[tuple[Clock, Due]] = []
    for clock in clocks:
        written = facts.written[clock.pk]
        coming = facts.schedule(clock)
        due = [event for event in outstanding(coming, written) if event.at <= now]
        owner_id, holder_id = people.get(clock.play_id, (None, None))
        for event in due:
            written.add((event.kind, event.level))
            events.append(
                ClockEvent(
                    clock=clock,
                    kind=event.kind,
                    level=event.level,
                    due_at=event.at,
                    noticed_at=now,
                    holder_id=holder_id,
                    # What a person has excused nobody is told of any more.
                    told_id=None
                    if clock.excuse_reason
                    else ladder.told(event.kind, event.step, holder_id=holder_id, owner_id=owner_id),
                )
            )
            if event.kind == ClockEvent.Kind.BREACHED:
                clock.breached_at = event.at
                clock.noticed_at = now
        # What happened last says what came before; a breach is a fact of its own.
        told += [(clock, event) for event in due if event is due[-1] or event.kind == ClockEvent.Kind.BREACHED]
        facts.apply(clock, coming, now)
    ClockEvent.objects.bulk_create(events)
    save_clocks(clocks, [*COMPUTED, "breached_at", "noticed_at"])
    set_lapses(facts.offers_moved())
    _write_lines(told, now)
    tell_events([event for event in events if not event.clock.excuse_reason], now=now)
    return len(clocks)


def _people_of(play_ids: set[int]) -> dict[int, tuple[int | None, int | None]]:
    """Owner and holder of plays, by the play's id, as their open intervals say; one query."""
    rows = Interval.objects.filter(play__in=Ids(sorted(play_ids)), valid_to__isnull=True).order_by()
    return {play: (owner, holder) for play, owner, holder in rows.values_list("play", "owner", "holder")}


def _write_lines(told: Sequence[tuple[Clock, Due]], now: datetime) -> None:
    """A line of the timeline for each event that is told of; four queries."""
    if not told:
        return
    named = Play.objects.filter(pk__in=Ids(sorted({clock.play_id for clock, _ in told})))
    plays = named.select_related("account", "playbook").only(*_NAMED).in_bulk()
    entries = []
    for clock, event in told:
        play = plays[clock.play_id]
        target = clock.get_target_display()
        if event.kind == ClockEvent.Kind.WARNED:
            text = f"{target}: {event.step} % of the promised time is used"
        elif event.kind == ClockEvent.Kind.BREACHED:
            text = f"{target}: the promise was missed"
        else:
            text = f"{target}: still open after the promise was missed; rung {event.step} of the ladder"
        entries.append(
            timeline_entry(
                account_id=play.account_id, at=event.at, now=now, kind=f"clock_{event.kind}", text=text, subject=play
            )
        )
    write_timeline(entries)
