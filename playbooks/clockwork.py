"""What the rows of clocks and calendars mean: calendars as values, due times, and the next thing to happen.

A clock's times always follow from its play's intervals; nothing here patches a due time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Any

from csplaybooks.playbooks.business_time import Block, BusinessCalendar, due_at, moment_at_share
from csplaybooks.playbooks.models import Calendar, Clock, ClockEvent, Handoff, Interval, Play, State
from csplaybooks.playbooks.targets import LAPSE_AFTER_HOURS

Pauses = list[tuple[datetime, datetime | None]]


def calendar_values(calendar_ids: Iterable[int]) -> dict[int, BusinessCalendar]:
    """The calendars with these ids as frozen values; three queries.

    Raises `business_time.CalendarError` for rows that make no calendar.
    """
    calendars = Calendar.objects.filter(pk__in=set(calendar_ids)).prefetch_related("blocks", "days")
    return {calendar.pk: calendar_value(calendar) for calendar in calendars}


def calendar_value(calendar: Calendar) -> BusinessCalendar:
    """One calendar's rows as a frozen value."""
    week: list[list[Block]] = [[] for _ in range(7)]
    for block in calendar.blocks.all():
        week[block.weekday].append(Block(block.start_minute, block.end_minute))
    closed: set[date] = set()
    special: dict[date, list[Block]] = defaultdict(list)
    for day in calendar.days.all():
        if day.start_minute is None:
            closed.add(day.day)
        else:
            special[day.day].append(Block(day.start_minute, day.end_minute))
    return BusinessCalendar(
        zone=calendar.zone,
        week=tuple(tuple(blocks) for blocks in week),
        closed_dates=frozenset(closed),
        special_dates={day: tuple(blocks) for day, blocks in special.items()},
    )


class NoDefaultCalendar(RuntimeError):
    """No calendar is marked as the default, so working hours mean nothing."""


#: What is promised of an offer where the playbook says nothing of it: accepted within a working day, and over after a
#: week of them.
OFFER: Mapping[str, Any] = MappingProxyType(
    {
        "target": Clock.Target.HANDOFF_ACCEPTED.value,
        "hours": 8,
        "counting": Clock.Hours.WORKING.value,
        "warn_percents": (50, 80),
        "escalate_after_hours": (0, 8),
        "lapse_after_hours": LAPSE_AFTER_HOURS,
    }
)


def targets_for(document: Mapping[str, Any], route: str) -> list[Mapping[str, Any]]:
    """The targets that a playbook promises for a route once a play is owned."""
    return [target for target in _targets(document, route) if target["target"] != Clock.Target.HANDOFF_ACCEPTED]


def offer_target(document: Mapping[str, Any], route: str) -> Mapping[str, Any]:
    """What is promised of an offer on a route: what the playbook says of it, or `OFFER`."""
    said = (target for target in _targets(document, route) if target["target"] == Clock.Target.HANDOFF_ACCEPTED)
    return next(said, OFFER)


def _targets(document: Mapping[str, Any], route: str) -> list[Mapping[str, Any]]:
    return [target for target in document["targets"] if route in target.get("routes", [route])]


def new_clock(
    play: Play, target: Mapping[str, Any], calendar: Calendar | None, started_at: datetime, number: int = 1
) -> Clock:
    """The clock of a target on a play, unsaved and without its times (see `set_times`).

    `calendar` is the default one. Raises NoDefaultCalendar where working hours count and there is none.
    """
    in_working_hours = target["counting"] == Clock.Hours.WORKING
    if in_working_hours and calendar is None:
        raise NoDefaultCalendar("no calendar is the default: run csplaybooks_setup, or mark one")
    return Clock(
        play=play,
        target=target["target"],
        number=number,
        promised_seconds=round(target["hours"] * 3600),
        hours=target["counting"],
        calendar=calendar if in_working_hours else None,
        warn_percents=list(target["warn_percents"]),
        escalation_waits=[round(hours * 3600) for hours in target["escalate_after_hours"]],
        started_at=started_at,
    )


def pauses_of(play_ids: Iterable[int]) -> dict[int, Pauses]:
    """The paused stretches of plays, by play id; one query. A lasting pause ends at None."""
    paused: dict[int, Pauses] = defaultdict(list)
    rows = Interval.objects.filter(play__in=set(play_ids), state=State.PAUSED).order_by("play_id", "seq")
    for play_id, valid_from, valid_to in rows.values_list("play", "valid_from", "valid_to"):
        paused[play_id].append((valid_from, valid_to))
    return paused


@dataclass(frozen=True)
class Due:
    """One event of a clock: what, at which level, and when it is due."""

    kind: ClockEvent.Kind
    level: int
    at: datetime


def promise(clock: Clock) -> timedelta:
    """How long was promised."""
    return timedelta(seconds=clock.promised_seconds)


def working_calendar(clock: Clock, calendars: Mapping[int, BusinessCalendar]) -> BusinessCalendar | None:
    """The calendar that counts for a clock; None where every hour counts."""
    if clock.hours == Clock.Hours.WALL or clock.calendar_id is None:
        return None
    return calendars[clock.calendar_id]


def schedule(clock: Clock, calendar: BusinessCalendar | None, pauses: Pauses) -> list[Due]:
    """Everything that will happen on a clock if nobody acts, in order; short while a pause lasts.

    Warnings at their shares of the promise, the breach when it is due, and the rungs of the ladder after it, in
    hours of the same kind.
    """
    events: list[Due] = []
    for percent in sorted(clock.warn_percents):
        at = moment_at_share(calendar, clock.started_at, promise(clock), percent, pauses)
        if at is not None:
            events.append(Due(ClockEvent.Kind.WARNED, percent, at))
    due = due_at(calendar, clock.started_at, promise(clock), pauses)
    if due is not None:
        events.append(Due(ClockEvent.Kind.BREACHED, 0, due))
        for rung, wait in enumerate(clock.escalation_waits, start=1):
            at = due_at(calendar, clock.started_at, promise(clock) + timedelta(seconds=wait), pauses)
            if at is not None:
                events.append(Due(ClockEvent.Kind.ESCALATED, rung, max(at, due)))
    return events


def outstanding(events: Sequence[Due], written: Iterable[tuple[str, int]]) -> list[Due]:
    """The events that have not been written yet, in order."""
    done = set(written)
    return sorted((event for event in events if (event.kind, event.level) not in done), key=lambda event: event.at)


def set_times(
    clock: Clock,
    calendar: BusinessCalendar | None,
    pauses: Pauses,
    written: Iterable[tuple[str, int]],
    now: datetime,
) -> None:
    """Compute the clock's `due_at`, `next_event_at` and state anew, on the object only; it must still tick.

    A written breach stays; where the due time has moved behind it, it is excused.
    """
    events = schedule(clock, calendar, pauses)
    breach = next((event.at for event in events if event.kind == ClockEvent.Kind.BREACHED), None)
    waiting = outstanding(events, written)
    clock.due_at = breach
    clock.next_event_at = waiting[0].at if waiting else None
    if clock.breached_at is not None:
        clock.state = Clock.State.BREACHED
        if clock.excused_at is None and (breach is None or breach > clock.breached_at):
            clock.excused_at = now
    else:
        lasting = any(end is None for _, end in pauses)
        clock.state = Clock.State.PAUSED if lasting and breach is None else Clock.State.RUNNING
    clock.is_stale = False


def written_events(clock_ids: Iterable[int]) -> dict[int, set[tuple[str, int]]]:
    """The events that stand written on clocks, by clock id; one query."""
    written: dict[int, set[tuple[str, int]]] = defaultdict(set)
    rows = ClockEvent.objects.filter(clock__in=set(clock_ids)).values_list("clock", "kind", "level")
    for clock_id, kind, level in rows:
        written[clock_id].add((kind, level))
    return written


def finish(clock: Clock, at: datetime, now: datetime) -> ClockEvent | None:
    """The promise was kept at `at`: met, or missed where a breach stands written or was due before that.

    On the object only, whose times must be fresh. Answers the event, unsaved and without a holder, of a breach that
    the watcher had not come by to see, so that it is never lost. A written breach stays; where the promise turns out
    to have been kept before it was due, and was only told of late, it is excused and the promise is met.
    """
    # A contact made before somebody owned the play keeps the promise the moment it begins.
    at = max(at, clock.started_at)
    unseen = breach_unseen(clock, at, now)
    if clock.breached_at is not None and at < clock.breached_at and clock.excused_at is None:
        clock.excused_at = now
    _end(clock, Clock.State.MET, at)
    return unseen


def call_off(clock: Clock, now: datetime) -> ClockEvent | None:
    """The promise is not waited for any more: cancelled, or missed where it was broken by then. See `finish`."""
    # Clocks of machines differ: nothing ends before it began.
    at = max(now, clock.started_at)
    unseen = breach_unseen(clock, at, now)
    _end(clock, Clock.State.CANCELLED, at)
    return unseen


def breach_unseen(clock: Clock, at: datetime, now: datetime) -> ClockEvent | None:
    """Write a breach that was due before `at` on the clock, where none stands, and answer its event."""
    if clock.breached_at is not None or clock.due_at is None or clock.due_at >= at:
        return None
    clock.breached_at, clock.noticed_at = clock.due_at, now
    return ClockEvent(clock=clock, kind=ClockEvent.Kind.BREACHED, level=0, due_at=clock.due_at, noticed_at=now)


def _is_late(clock: Clock, at: datetime) -> bool:
    return clock.due_at is not None and clock.due_at < at


def _end(clock: Clock, unless_breached: Clock.State, at: datetime) -> None:
    kept = clock.breached_at is None or (clock.excused_at is not None and not _is_late(clock, at))
    clock.state = unless_breached if kept else Clock.State.MISSED
    clock.done_at = at
    clock.next_event_at = None


def lapse_times(offers: Iterable[Handoff]) -> dict[int, datetime | None]:
    """When offers lapse that nobody answers, by their id: in the hours of their clocks, as calendars stand now."""
    offers = list(offers)
    clocks = {offer.pk: offer.clock for offer in offers if offer.clock is not None}
    calendars = calendar_values(clock.calendar_id for clock in clocks.values() if clock.calendar_id is not None)
    return {
        offer.pk: due_at(working_calendar(clock, calendars), clock.started_at, timedelta(seconds=offer.lapse_seconds))
        for offer in offers
        if (clock := clocks.get(offer.pk)) is not None
    }


def set_lapses(offers: Iterable[Handoff]) -> None:
    """Compute anew when offers that wait lapse, and save it; a constant number of queries."""
    offers = list(offers)
    times = lapse_times(offers)
    for offer in offers:
        offer.expires_at = times.get(offer.pk, offer.expires_at)
    Handoff.objects.filter(answer=Handoff.Answer.WAITING).bulk_update(offers, ["expires_at"], batch_size=500)


def recompute(clocks: Sequence[Clock], now: datetime) -> None:
    """Compute the times of ticking clocks anew from intervals and calendars and save them; constant queries."""
    calendars = calendar_values(clock.calendar_id for clock in clocks if clock.calendar_id is not None)
    pauses = pauses_of(clock.play_id for clock in clocks)
    written = written_events(clock.pk for clock in clocks)
    for clock in clocks:
        set_times(clock, working_calendar(clock, calendars), pauses[clock.play_id], written[clock.pk], now)
    Clock.objects.ticking().bulk_update(
        clocks, ["due_at", "next_event_at", "state", "is_stale", "excused_at"], batch_size=500
    )
