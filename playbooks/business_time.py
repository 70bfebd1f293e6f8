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

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

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

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

MINUTES_PER_DAY = 24 * 60

Pause = tuple[datetime, datetime | None]
"""From and to, aware; ``None`` as end while the pause lasts."""

HORIZON = timedelta(days=3660)
"""How far after its start (or after its last pause) an opening or a due time is looked for: ten years."""

LONGEST_SPAN = timedelta(days=36600)
"""The longest span :func:`elapsed` measures: a hundred years, beyond which an argument is a mistake."""


class CalendarError(ValueError):
    """A calendar that cannot be: ``item`` names the part at fault, ``problem`` says what is wrong with it."""

    def __init__(self, item: str, problem: str) -> None:
        super().__init__(f"{item}: {problem}")
        self.item = item
        self.problem = problem

    def __reduce__(self) -> tuple[type[CalendarError], tuple[str, str]]:
        # An exception is rebuilt from ``args`` otherwise, and those hold the one joined sentence.
        return type(self), (self.item, self.problem)


class HorizonExceeded(OverflowError):
    """The calendar has too little open time within the horizon, or the instants asked about are absurd."""


# --- The calendar -------------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Block:
    """A stretch of working time on one date, in minutes since that date's local midnight.

    ``start_minute`` is 0 to 1439; ``end_minute`` is exclusive and may lie past midnight (above 1440), at most
    24 hours after the start. 22:00-06:00 is ``Block(1320, 1800)``, a whole day ``Block(0, 1440)``.
    Raises :class:`CalendarError` for anything else.
    """

    start_minute: int
    end_minute: int

    def __post_init__(self) -> None:
        for value in (self.start_minute, self.end_minute):
            if not isinstance(value, int) or isinstance(value, bool):
                raise CalendarError("block", f"a minute must be a whole number, not {value!r}")
        if not 0 <= self.start_minute < MINUTES_PER_DAY:
            raise CalendarError(f"block {self}", "must start between 00:00 and 23:59")
        if self.end_minute <= self.start_minute:
            raise CalendarError(f"block {self}", "must end after its start (past midnight: add 24 hours)")
        if self.end_minute - self.start_minute > MINUTES_PER_DAY:
            raise CalendarError(f"block {self}", "must not be longer than 24 hours")

    def __str__(self) -> str:
        """``09:00-17:00``; an end past midnight is shown in hours above 24, as in ``22:00-30:00``."""
        start_hour, start_minute = divmod(self.start_minute, 60)
        end_hour, end_minute = divmod(self.end_minute, 60)
        return f"{start_hour:02}:{start_minute:02}-{end_hour:02}:{end_minute:02}"


@dataclass(frozen=True)
class BusinessCalendar:
    """Weekly hours in a zone, with closed dates and dates that have hours of their own.

    - ``zone``: an IANA name, such as ``"Europe/Berlin"``;
    - ``week``: seven sequences of :class:`Block`, Monday first;
    - ``closed_dates``: local dates on which nothing starts;
    - ``special_dates``: local date to its blocks, which replace those of the week and overrule a closed date;
      an empty sequence is one more way to say closed.

    Values are normalised (blocks sorted, containers frozen), so equal calendars compare and hash equal,
    pickle, and share one cache. Raises :class:`CalendarError`, a ``ValueError``, naming the item: an unknown
    zone, a week without seven days, overlapping blocks of one date, something that is no block or date, or a
    calendar in which no block is left at all. (A night shift that overlaps the *next* date's hours is no
    error.)
    """

    zone: str
    week: tuple[tuple[Block, ...], ...]
    closed_dates: frozenset[date] = frozenset()
    special_dates: Mapping[date, tuple[Block, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _zone_info(self.zone)
        week = tuple(self.week)
        if len(week) != 7:
            raise CalendarError("week", f"must have seven days, Monday first, not {len(week)}")
        week = tuple(_checked_blocks(name, blocks) for name, blocks in zip(_WEEKDAYS, week, strict=True))
        closed = frozenset(_checked_date("closed date", day) for day in self.closed_dates)
        special = {
            day: _checked_blocks(f"special date {_checked_date('special date', day)}", blocks)
            for day, blocks in sorted(dict(self.special_dates).items(), key=lambda item: str(item[0]))
        }
        if not any(week) and not any(special.values()):
            raise CalendarError("week", "a calendar without open time is refused")
        # The only way to set a field of a frozen dataclass; nothing else ever does.
        object.__setattr__(self, "week", week)
        object.__setattr__(self, "closed_dates", closed)
        object.__setattr__(self, "special_dates", MappingProxyType(special))

    def __hash__(self) -> int:
        return hash((self.zone, self.week, self.closed_dates, tuple(self.special_dates.items())))

    def __reduce__(self) -> tuple[object, ...]:
        # A mapping proxy does not pickle, and the laid-out hours need not travel.
        return type(self), (self.zone, self.week, self.closed_dates, dict(self.special_dates))

    def blocks_on(self, day: date) -> tuple[Block, ...]:
        """The blocks that start on the local date ``day``, sorted; empty where it is closed."""
        special = self.special_dates.get(day)
        if special is not None:
            return special
        if day in self.closed_dates:
            return ()
        return self.week[day.weekday()]

    @cached_property
    def _hours(self) -> _Hours:
        """The laid-out hours, shared by equal calendars; looked up once, as hashing holidays has a cost."""
        return _shared_hours(self)


def _checked_blocks(item: str, blocks: Iterable[Block]) -> tuple[Block, ...]:
    """The blocks of one date, sorted; :class:`CalendarError` naming ``item`` if two of them overlap."""
    blocks = tuple(blocks)
    for block in blocks:
        if not isinstance(block, Block):
            raise CalendarError(item, f"{block!r} is not a block")
    blocks = tuple(sorted(blocks))
    for earlier, later in pairwise(blocks):
        if later.start_minute < earlier.end_minute:
            raise CalendarError(item, f"the blocks {earlier} and {later} overlap")
    return blocks


def _checked_date(item: str, day: object) -> date:
    # A datetime is a date to isinstance, but never equals one: it would silently close nothing.
    if not isinstance(day, date) or isinstance(day, datetime):
        raise CalendarError(item, f"{day!r} is not a date")
    return day


def _zone_info(name: str) -> ZoneInfo:
    """The zone; :class:`CalendarError` for a name the zone database does not have."""
    # These are files of a zone database too: the machine's own zone, and clocks that count leap seconds.
    if not isinstance(name, str) or name.startswith(("localtime", "posixrules", "posix/", "right/")):
        raise CalendarError("zone", f"unknown time zone {name!r}")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise CalendarError("zone", f"unknown time zone {name!r}") from error


# --- The questions ------------------------------------------------------------------------------------------


def due_at(
    calendar: BusinessCalendar | None, start: datetime, duration: timedelta, pauses: Iterable[Pause] = ()
) -> datetime | None:
    """The instant, in UTC, at which ``duration`` of open time has run since ``start``.

    ``pauses`` may be unsorted and may overlap; their union is taken out. ``None`` is the answer while a pause
    without an end stops the clock before it runs out. See the module's text for the rules at the edges.

    Raises ``ValueError`` for a naive datetime, a negative duration or a pause that ends before it begins, and
    :class:`HorizonExceeded` if the duration does not run out within :data:`HORIZON` of the start or of the
    last pause before it would.
    """
    remaining = _microseconds(duration, "duration")
    position = _instant(start, "start")
    hours = _hours_of(calendar)
    for pause_from, pause_to in _union(pauses):
        # A pause that begins beyond the horizon changes nothing, and need not be walked to.
        if pause_from - position > _HORIZON:
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
        if pause_to == _FOREVER:
            return None
        position = pause_to
    return _datetime(hours.reach(position, remaining) if remaining else hours.opening(position))


def elapsed(
    calendar: BusinessCalendar | None, start: datetime, end: datetime, pauses: Iterable[Pause] = ()
) -> timedelta:
    """The open time in ``[start, end)`` outside the union of ``pauses``; one without end lasts to ``end``.

    Raises ``ValueError`` for a naive datetime, an ``end`` before ``start`` or a pause that ends before it
    begins, and :class:`HorizonExceeded` for a span above :data:`LONGEST_SPAN`.
    """
    position = _instant(start, "start")
    until = _instant(end, "end")
    if until < position:
        raise ValueError(f"end {end.isoformat()} is before start {start.isoformat()}")
    if until - position > _LONGEST_SPAN:
        raise HorizonExceeded(f"from {start.isoformat()} to {end.isoformat()} is more than a hundred years")
    hours = _hours_of(calendar)
    total = hours.measure(position, until)
    for pause_from, pause_to in _union(pauses):
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
    position = _instant(instant, "instant")
    return _hours_of(calendar).is_open(position)


def next_opening(calendar: BusinessCalendar | None, instant: datetime) -> datetime:
    """``instant`` in UTC if it is open, else the first open instant after it.

    Raises ``ValueError`` for a naive datetime, :class:`HorizonExceeded` if there is none within the horizon.
    """
    position = _instant(instant, "instant")
    return _datetime(_hours_of(calendar).opening(position))


# --- Instants as whole microseconds since 1970 in UTC -------------------------------------------------------

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_SECOND_IN_MICROSECONDS = 1_000_000
_DAY_IN_SECONDS = 86_400
_HORIZON = HORIZON // _MICROSECOND
_LONGEST_SPAN = LONGEST_SPAN // _MICROSECOND
_FOREVER = 1 << 62
"""The end of a pause that lasts; later than any datetime can be."""


def _instant(moment: datetime, name: str) -> int:
    if moment.utcoffset() is None:
        raise ValueError(f"{name} must have a time zone, but is {moment.isoformat()}")
    return (moment - _EPOCH) // _MICROSECOND


def _datetime(instant: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=instant)
    except OverflowError as error:
        raise HorizonExceeded("the answer lies beyond the last date there is") from error


def _microseconds(duration: timedelta, name: str) -> int:
    amount = duration // _MICROSECOND
    if amount < 0:
        raise ValueError(f"{name} must not be negative, but is {duration}")
    return amount


def _union(pauses: Iterable[Pause]) -> list[tuple[int, int]]:
    """The pauses as sorted, disjoint spans of positive length."""
    spans: list[tuple[int, int]] = []
    for pause_from, pause_to in pauses:
        begin = _instant(pause_from, "start of a pause")
        end = _FOREVER if pause_to is None else _instant(pause_to, "end of a pause")
        if end < begin:
            raise ValueError(f"a pause from {pause_from.isoformat()} must not end before that, at {pause_to}")
        if end > begin:
            spans.append((begin, end))
    return _merged(sorted(spans))


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans sorted by their begin, with those that overlap or touch joined."""
    merged: list[tuple[int, int]] = []
    for begin, end in spans:
        if merged and begin <= merged[-1][1]:
            if end > merged[-1][1]:
                merged[-1] = (merged[-1][0], end)
        else:
            merged.append((begin, end))
    return merged


# --- Hours laid out as instants -----------------------------------------------------------------------------

_CHUNK_DAYS = 128
_CHUNK_SECONDS = _CHUNK_DAYS * _DAY_IN_SECONDS
_CHUNK = _CHUNK_SECONDS * _SECOND_IN_MICROSECONDS
"""Chunk ``n`` is the instants ``[n * _CHUNK, (n + 1) * _CHUNK)``: 128 days of UTC, counted from 1970."""


class _Hours(Protocol):
    """Open time on a line of instants: what the questions above are put to."""

    def is_open(self, position: int) -> bool: ...

    def opening(self, position: int) -> int:
        """``position`` if open, else the next opening."""

    def measure(self, begin: int, end: int) -> int:
        """The open microseconds in ``[begin, end)``."""

    def reach(self, position: int, amount: int) -> int:
        """The first instant at which ``amount`` (positive) of open time has run since ``position``."""


class _WallClockHours:
    """Always open: the hours of ``calendar=None``."""

    def is_open(self, position: int) -> bool:
        return True

    def opening(self, position: int) -> int:
        return position

    def measure(self, begin: int, end: int) -> int:
        return end - begin

    def reach(self, position: int, amount: int) -> int:
        if amount > _HORIZON:
            raise _horizon_exceeded("always open", position)
        return position + amount


class _Chunk(NamedTuple):
    """The open stretches within one chunk, ascending and apart, in microseconds since 1970.

    ``through[i]`` is the open time from the chunk's begin to the end of stretch ``i``.
    """

    begins: array[int]
    ends: array[int]
    through: array[int]
    total: int

    def open_before(self, position: int) -> int:
        """The open time from the chunk's begin to ``position``, which lies in the chunk."""
        index = bisect_right(self.begins, position) - 1
        if index < 0:
            return 0
        return self.through[index] - max(0, self.ends[index] - position)


class _CalendarHours:
    """The hours of one calendar, laid out chunk by chunk as they are asked for."""

    def __init__(self, calendar: BusinessCalendar) -> None:
        self._calendar = calendar
        # 32 chunks are eleven years, one search to the horizon: at two blocks a day some 200 kB a calendar.
        self._chunk = lru_cache(maxsize=32)(self._lay_out)

    def is_open(self, position: int) -> bool:
        chunk = self._chunk(position // _CHUNK)
        index = bisect_right(chunk.begins, position) - 1
        return index >= 0 and position < chunk.ends[index]

    def opening(self, position: int) -> int:
        limit = position + _HORIZON
        number = position // _CHUNK
        while number * _CHUNK <= limit:
            chunk = self._chunk(number)
            index = bisect_right(chunk.ends, position)
            if index < len(chunk.ends):
                opening = max(position, chunk.begins[index])
                if opening <= limit:
                    return opening
                break
            number += 1
        raise _horizon_exceeded(self._calendar.zone, position)

    def measure(self, begin: int, end: int) -> int:
        first, last = begin // _CHUNK, end // _CHUNK
        whole = 0
        for number in range(first, last):
            whole += self._chunk(number).total
        return whole - self._chunk(first).open_before(begin) + self._chunk(last).open_before(end)

    def reach(self, position: int, amount: int) -> int:
        limit = position + _HORIZON
        number = position // _CHUNK
        chunk = self._chunk(number)
        needed = amount + chunk.open_before(position)
        while needed > chunk.total:
            needed -= chunk.total
            number += 1
            if number * _CHUNK > limit:
                raise _horizon_exceeded(self._calendar.zone, position)
            chunk = self._chunk(number)
        # The first stretch by whose end enough has run: what runs out exactly at closing is due at closing.
        index = bisect_left(chunk.through, needed)
        reached = chunk.ends[index] - (chunk.through[index] - needed)
        if reached > limit:
            raise _horizon_exceeded(self._calendar.zone, position)
        return reached

    def _lay_out(self, number: int) -> _Chunk:
        """Lay out one chunk: the stretches on the wall clock, moved to UTC by each offset in its time."""
        changes = _offsets(self._calendar.zone, number)
        wall_begin = min(begin + offset for begin, _, offset in changes)
        wall_end = max(end + offset for _, end, offset in changes)
        walls = self._wall_stretches(wall_begin, wall_end)
        wall_ends = [end for _, end in walls]
        spans: list[tuple[int, int]] = []
        for begin, end, offset in changes:
            for wall in range(bisect_right(wall_ends, begin + offset), len(walls)):
                open_from, open_to = walls[wall]
                if open_from >= end + offset:
                    break
                spans.append((max(open_from - offset, begin), min(open_to - offset, end)))
        begins, ends, through = array("q"), array("q"), array("q")
        total = 0
        for begin, end in _merged(spans):
            total += (end - begin) * _SECOND_IN_MICROSECONDS
            begins.append(begin * _SECOND_IN_MICROSECONDS)
            ends.append(end * _SECOND_IN_MICROSECONDS)
            through.append(total)
        return _Chunk(begins, ends, through, total)

    def _wall_stretches(self, wall_begin: int, wall_end: int) -> list[tuple[int, int]]:
        """Open stretches on the wall clock that may touch the range, in seconds since 1970-01-01 00:00 local.

        One date more at the front: its blocks may reach past midnight into the range.
        """
        spans: list[tuple[int, int]] = []
        for day in range(wall_begin // _DAY_IN_SECONDS - 1, wall_end // _DAY_IN_SECONDS + 1):
            ordinal = day + _EPOCH_ORDINAL
            if not 1 <= ordinal <= date.max.toordinal():
                continue
            midnight = day * _DAY_IN_SECONDS
            for block in self._calendar.blocks_on(date.fromordinal(ordinal)):
                spans.append((midnight + block.start_minute * 60, midnight + block.end_minute * 60))
        return _merged(spans)


_WALL_CLOCK = _WallClockHours()


@lru_cache(maxsize=128)
def _shared_hours(calendar: BusinessCalendar) -> _CalendarHours:
    """One layout for equal calendars, however often their rows are read anew."""
    return _CalendarHours(calendar)


def _hours_of(calendar: BusinessCalendar | None) -> _Hours:
    return _WALL_CLOCK if calendar is None else calendar._hours


@lru_cache(maxsize=1024)
def _offsets(zone: str, number: int) -> tuple[tuple[int, int, int], ...]:
    """The chunk cut where the zone's offset changes: ``(begin, end, offset)`` in seconds, tiling the chunk.

    Shared by all calendars of a zone. A zone tells its offset at an instant but not its changes, so it is
    asked at every midnight of UTC, and a change is searched between two days that differ. No two changes of
    any zone have come within the same day (the closest lie four days apart, in 1939).
    """
    zone_info = _zone_info(zone)
    begin = number * _CHUNK_SECONDS
    pieces: list[tuple[int, int, int]] = []
    offset = _offset_at(zone_info, begin)
    for day_begin in range(begin, begin + _CHUNK_SECONDS, _DAY_IN_SECONDS):
        day_end = day_begin + _DAY_IN_SECONDS
        offset_then = _offset_at(zone_info, day_end)
        if offset_then != offset:
            before, after = day_begin, day_end
            while after - before > 1:
                middle = (before + after) // 2
                if _offset_at(zone_info, middle) == offset:
                    before = middle
                else:
                    after = middle
            if after > begin:
                pieces.append((begin, after, offset))
            begin, offset = after, offset_then
    chunk_end = (number + 1) * _CHUNK_SECONDS
    if begin < chunk_end:
        pieces.append((begin, chunk_end, offset))
    return tuple(pieces)


_FIRST_SECOND = (datetime(1, 1, 3, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_LAST_SECOND = (datetime(9999, 12, 29, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)


def _offset_at(zone_info: ZoneInfo, second: int) -> int:
    # Near either end of the range of datetimes local time cannot be told; a nearby offset serves.
    second = min(max(second, _FIRST_SECOND), _LAST_SECOND)
    moment = (_EPOCH + timedelta(seconds=second)).astimezone(zone_info)
    # The wall clock less the instant, both as naive times, is the offset.
    return (moment.replace(tzinfo=UTC, fold=0) - _EPOCH) // timedelta(seconds=1) - second


def _horizon_exceeded(what: str, position: int) -> HorizonExceeded:
    try:
        start = _datetime(position).isoformat()
    except HorizonExceeded:
        start = "the last date there is"
    return HorizonExceeded(f"calendar ({what}): not enough open time in the ten years from {start}")
