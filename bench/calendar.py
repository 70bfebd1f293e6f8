"""Business time: microseconds a call for a month's span, against going from day to day."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from bench.report import Entry, best_of, side_by_side
from csplaybooks.playbooks.business_time import Block, BusinessCalendar, Pause, due_at, elapsed
from csplaybooks.playbooks.holiday_source import holidays_of

SECTION = "Business time: a month's span"
CALLS = 1_000
ZONE = "Europe/Berlin"
#: Four weeks of 38.5 hours.
PROMISE = timedelta(hours=154)
SPAN = timedelta(days=30)
RIVAL = "from day to day"

Span = tuple[datetime, datetime]
Case = tuple[datetime, list[Pause]]


def office(hour: int = 9) -> BusinessCalendar:
    """A split day, a short Friday, and the holidays of Bavaria in three years."""
    morning, afternoon = Block(hour * 60, 12 * 60 + 30), Block(13 * 60 + 15, 17 * 60 + 45)
    closed = {day for year in (2026, 2027, 2028) for day in holidays_of("DE", "BY", year)}
    week = ((morning, afternoon),) * 4 + ((morning, Block(13 * 60, 15 * 60 + 30)), (), ())
    return BusinessCalendar(ZONE, week, frozenset(closed), {date(2026, 12, 24): (morning,)})


def measure_calendar() -> list[Entry]:
    """Each function with and without pauses; both give the same answers, or this ends."""
    hours = office()
    entries = []
    for pauses in (0, 4):
        cases = _cases(pauses)
        note = f"{pauses} pauses" if pauses else ""

        def due(cases: Sequence[Case] = cases) -> list[Any]:
            return [due_at(hours, start, PROMISE, paused) for start, paused in cases]

        def due_by_day(cases: Sequence[Case] = cases) -> list[Any]:
            return [_due_by_day(hours, start, PROMISE, paused) for start, paused in cases]

        def passed(cases: Sequence[Case] = cases) -> list[Any]:
            return [elapsed(hours, start, start + SPAN, paused) for start, paused in cases]

        def passed_by_day(cases: Sequence[Case] = cases) -> list[Any]:
            return [_elapsed_by_day(hours, start, start + SPAN, paused) for start, paused in cases]

        entries += [
            _entry("When 154 working hours run out", note, due, due_by_day),
            _entry("How much of 30 days was working time", note, passed, passed_by_day),
        ]
    return [*entries, _first_call()]


def _cases(pauses: int) -> list[Case]:
    """Moments of a year, each with pauses of up to two days in the month after it."""
    chance = Random(5)  # noqa: S311 - the same cases in every run
    begin = datetime(2026, 11, 16, tzinfo=UTC)
    cases = []
    for _ in range(CALLS):
        start = begin + timedelta(seconds=chance.randrange(365 * 86_400))
        paused: list[Pause] = []
        for _ in range(pauses):
            pause_from = start + timedelta(seconds=chance.randrange(25 * 86_400))
            paused.append((pause_from, pause_from + timedelta(seconds=chance.randrange(2 * 86_400))))
        cases.append((start, paused))
    return cases


def _entry(what: str, note: str, ours: Callable[[], list[Any]], rival: Callable[[], list[Any]]) -> Entry:
    if ours() != rival():
        raise SystemExit(f"{what}: the answers differ.")
    took, against, _ = side_by_side(ours, rival)
    micro = 1_000_000 / CALLS
    return Entry(SECTION, what, took * micro, "µs", RIVAL, against * micro, note=note)


def _first_call() -> Entry:
    """The first question about a calendar, which lays it out."""
    start = datetime(2026, 11, 16, tzinfo=UTC)
    # Each is another calendar, so that none is laid out yet.
    calendars = iter([office(hour) for hour in range(6, 12)])
    took, _ = best_of(5, lambda: due_at(next(calendars), start, PROMISE))
    return Entry(SECTION, "The first question about a calendar, which lays it out", took * 1_000_000, "µs")


# From day to day


def _stretches(hours: BusinessCalendar, start: datetime, pauses: Sequence[Pause]) -> Iterator[Span]:
    """The open stretches from a moment on, without the pauses, day after day."""
    zone = ZoneInfo(hours.zone)
    day = (start.astimezone(zone) - timedelta(days=1)).date()
    ordered = sorted((begin, end) for begin, end in pauses if end is not None)
    while True:
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
        for block in hours.blocks_on(day):
            opens = (midnight + timedelta(minutes=block.start_minute)).astimezone(UTC)
            closes = (midnight + timedelta(minutes=block.end_minute)).astimezone(UTC)
            opens = max(opens, start)
            for begin, end in ordered:
                if begin < closes and end > opens:
                    if opens < begin:
                        yield opens, begin
                    opens = min(max(opens, end), closes)
            if opens < closes:
                yield opens, closes
        day += timedelta(days=1)


def _due_by_day(hours: BusinessCalendar, start: datetime, duration: timedelta, pauses: Sequence[Pause]) -> Any:
    for opens, closes in _stretches(hours, start, pauses):
        if closes - opens >= duration:
            return opens + duration
        duration -= closes - opens
    return None


def _elapsed_by_day(hours: BusinessCalendar, start: datetime, end: datetime, pauses: Sequence[Pause]) -> timedelta:
    total = timedelta()
    for opens, closes in _stretches(hours, start, pauses):
        if opens >= end:
            return total
        total += min(closes, end) - opens
    return total
