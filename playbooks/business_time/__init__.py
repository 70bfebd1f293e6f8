"""Working-hours arithmetic on instants: a frozen calendar, and when a promise made in its hours runs out.

This module is pure: no Django, no database, no wall clock. Calendar rows are turned into a
:class:`BusinessCalendar` by their model; the clocks of plays, the due dates of steps and the results pages
ask the functions below.

The meaning of a calendar is one sentence, and every function agrees with it: **an instant is open when the
clock on the wall of the calendar's zone then shows a time inside a block, where a block belongs to the date
on which it starts.** What follows from it:

- Blocks are half-open: open at 09:00:00, no longer open at 17:00:00. Touching or overlapping blocks (a night
  shift that reaches into the next morning's hours) are one stretch and count once.
- A closed date, or a date with hours of its own, replaces the blocks that *start* on that date. The tail of a
  night shift that began the evening before is still worked.
- Clock changes. A local time that does not exist (spring) is never open: a block starting or ending inside
  the gap starts or ends at the change. A local time that occurs twice (autumn) is open both times: a block
  02:30-03:00 is then two half hours an hour apart, and 00:00-24:00 has 25 hours. ``fold`` of an aware
  datetime passed in is honoured, as everywhere in Python.
- ``calendar=None`` means hours on the wall clock: always open.

Rules of due times, over the open time that is left when pauses are taken out:

- a positive duration is due at the first instant at which that much time has passed: one that runs out
  exactly at closing (or exactly where a pause begins) is due then, not at the next opening;
- a duration of zero is due at the start if that is open, else at the next opening;
- a start exactly at closing counts from the next opening.

How it is quick: the open stretches of 128 days at a time are laid out once per calendar, as instants with
running totals, and kept in a bounded cache. A call is then a few binary searches; nothing steps through
minutes or days.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from csplaybooks.playbooks.business_time.calendar import Block, BusinessCalendar, CalendarError
from csplaybooks.playbooks.business_time.hours import WALL_CLOCK, Hours
from csplaybooks.playbooks.business_time.instants import (
    FOREVER,
    HORIZON_IN_MICROSECONDS,
    MICROSECOND,
    HorizonExceeded,
    Pause,
    as_datetime,
    as_instant,
    as_microseconds,
    union_of,
)

__all__ = [
    "Block",
    "BusinessCalendar",
    "CalendarError",
    "HorizonExceeded",
    "Pause",
    "due_at",
    "elapsed",
    "is_open",
    "moment_at_share",
    "next_opening",
]

LONGEST_SPAN = timedelta(days=36600)
"""The longest span :func:`elapsed` measures: a hundred years, beyond which an argument is a mistake."""

_LONGEST_SPAN = LONGEST_SPAN // MICROSECOND


def due_at(
    calendar: BusinessCalendar | None, start: datetime, duration: timedelta, pauses: Iterable[Pause] = ()
) -> datetime | None:
    """The instant, in UTC, at which ``duration`` of open time has run since ``start``.

    ``pauses`` may be unsorted and may overlap; their union is taken out. ``None`` is the answer while a pause
    without an end stops the clock before it runs out. See the module's text for the rules at the edges.

    Raises ``ValueError`` for a naive datetime, a negative duration or a pause that ends before it begins, and
    :class:`HorizonExceeded` if the duration does not run out within ten years (``instants.HORIZON``) of the start
    or of the last pause before it would.
    """
    remaining = as_microseconds(duration, "duration")
    position = as_instant(start, "start")
    hours = _hours_of(calendar)
    for pause_from, pause_to in union_of(pauses):
        # A pause that begins beyond the horizon changes nothing, and need not be walked to.
        if pause_from - position > HORIZON_IN_MICROSECONDS:
            break
        if pause_to <= position:
            continue
        if pause_from > position:
            if remaining:
                available = hours.measure(position, pause_from)
                if available >= remaining:
                    break
                remaining -= available
            elif hours.opening(position) < pause_from:
                break
        if pause_to == FOREVER:
            return None
        position = pause_to
    return as_datetime(hours.reach(position, remaining) if remaining else hours.opening(position))


def elapsed(
    calendar: BusinessCalendar | None, start: datetime, end: datetime, pauses: Iterable[Pause] = ()
) -> timedelta:
    """The open time in ``[start, end)`` outside the union of ``pauses``; one without end lasts to ``end``.

    Raises ``ValueError`` for a naive datetime, an ``end`` before ``start`` or a pause that ends before it
    begins, and :class:`HorizonExceeded` for a span above :data:`LONGEST_SPAN`.
    """
    position = as_instant(start, "start")
    until = as_instant(end, "end")
    if until < position:
        raise ValueError(f"end {end.isoformat()} is before start {start.isoformat()}")
    if until - position > _LONGEST_SPAN:
        raise HorizonExceeded(f"from {start.isoformat()} to {end.isoformat()} is more than a hundred years")
    hours = _hours_of(calendar)
    total = hours.measure(position, until)
    for pause_from, pause_to in union_of(pauses):
        paused_from, paused_to = max(pause_from, position), min(pause_to, until)
        if paused_from < paused_to:
            total -= hours.measure(paused_from, paused_to)
    return timedelta(microseconds=total)


def moment_at_share(
    calendar: BusinessCalendar | None,
    start: datetime,
    duration: timedelta,
    percent: int,
    pauses: Iterable[Pause] = (),
) -> datetime | None:
    """The instant at which ``percent`` per cent of ``duration`` has run: when a clock warns at 50 or at 80.

    As :func:`due_at` of that share (in whole microseconds, rounded down), so 100 gives the due time itself.
    ``percent`` may be above 100; ``ValueError`` if it is negative.
    """
    if percent < 0:
        raise ValueError(f"percent must not be negative, but is {percent}")
    return due_at(calendar, start, duration * percent // 100, pauses)


def is_open(calendar: BusinessCalendar | None, instant: datetime) -> bool:
    """Whether ``instant`` (aware, else ``ValueError``) lies in open time; the instant of closing does not."""
    position = as_instant(instant, "instant")
    return _hours_of(calendar).is_open(position)


def next_opening(calendar: BusinessCalendar | None, instant: datetime) -> datetime:
    """``instant`` in UTC if it is open, else the first open instant after it.

    Raises ``ValueError`` for a naive datetime, :class:`HorizonExceeded` if there is none within the horizon.
    """
    position = as_instant(instant, "instant")
    return as_datetime(_hours_of(calendar).opening(position))


def _hours_of(calendar: BusinessCalendar | None) -> Hours:
    return WALL_CLOCK if calendar is None else calendar.hours
