"""Open time on a line of instants: always open, or the hours of a calendar, laid out chunk by chunk.

The open stretches of 128 days at a time are laid out as instants with running totals, and kept in a bounded cache that
equal calendars share. Of the calendar itself this module knows what :class:`Calendar` says, and no more.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from csplaybooks.playbooks.business_time.instants import (
    EPOCH,
    HORIZON_IN_MICROSECONDS,
    SECOND_IN_MICROSECONDS,
    HorizonExceeded,
    as_datetime,
    merged,
)

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_DAY_IN_SECONDS = 86_400

_CHUNK_DAYS = 128
_CHUNK_SECONDS = _CHUNK_DAYS * _DAY_IN_SECONDS
_CHUNK = _CHUNK_SECONDS * SECOND_IN_MICROSECONDS
"""Chunk ``n`` is the instants ``[n * _CHUNK, (n + 1) * _CHUNK)``: 128 days of UTC, counted from 1970."""


class Hours(Protocol):
    """Open time on a line of instants: what the questions of this package are put to."""

    def is_open(self, position: int) -> bool:
        """Whether ``position`` is open; the instant of closing is not."""

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
        if amount > HORIZON_IN_MICROSECONDS:
            raise _horizon_exceeded("always open", position)
        return position + amount


WALL_CLOCK: Hours = _WallClockHours()


class DaysBlock(Protocol):
    """A stretch of open time, in minutes since the local midnight of its date; the end is exclusive."""

    @property
    def start_minute(self) -> int: ...

    @property
    def end_minute(self) -> int: ...


class Calendar(Hashable, Protocol):
    """What hours are laid out from: the name of a zone, and the blocks that start on a local date, sorted."""

    @property
    def zone(self) -> str: ...

    def blocks_on(self, day: date) -> Iterable[DaysBlock]: ...


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


class CalendarHours:
    """The hours of one calendar, laid out chunk by chunk as they are asked for."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        # 32 chunks are eleven years, one search to the horizon: at two blocks a day some 200 kB a calendar.
        self._chunk = lru_cache(maxsize=32)(self._lay_out)

    def is_open(self, position: int) -> bool:
        chunk = self._chunk(position // _CHUNK)
        index = bisect_right(chunk.begins, position) - 1
        return index >= 0 and position < chunk.ends[index]

    def opening(self, position: int) -> int:
        limit = position + HORIZON_IN_MICROSECONDS
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
        limit = position + HORIZON_IN_MICROSECONDS
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
        for begin, end in merged(spans):
            total += (end - begin) * SECOND_IN_MICROSECONDS
            begins.append(begin * SECOND_IN_MICROSECONDS)
            ends.append(end * SECOND_IN_MICROSECONDS)
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
        return merged(spans)


@lru_cache(maxsize=128)
def shared_hours(calendar: Calendar) -> CalendarHours:
    """One layout for equal calendars, however often their rows are read anew."""
    return CalendarHours(calendar)


@lru_cache(maxsize=1024)
def _offsets(zone: str, number: int) -> tuple[tuple[int, int, int], ...]:
    """The chunk cut where the zone's offset changes: ``(begin, end, offset)`` in seconds, tiling the chunk.

    Shared by all calendars of a zone. A zone tells its offset at an instant but not its changes, so it is
    asked at every midnight of UTC, and a change is searched between two days that differ. No two changes of
    any zone have come within the same day (the closest lie four days apart, in 1939).
    """
    zone_info = ZoneInfo(zone)
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


_FIRST_SECOND = (datetime(1, 1, 3, tzinfo=UTC) - EPOCH) // timedelta(seconds=1)
_LAST_SECOND = (datetime(9999, 12, 29, tzinfo=UTC) - EPOCH) // timedelta(seconds=1)


def _offset_at(zone_info: ZoneInfo, second: int) -> int:
    # Near either end of the range of datetimes local time cannot be told; a nearby offset serves.
    second = min(max(second, _FIRST_SECOND), _LAST_SECOND)
    moment = (EPOCH + timedelta(seconds=second)).astimezone(zone_info)
    # The wall clock less the instant, both as naive times, is the offset.
    return (moment.replace(tzinfo=UTC, fold=0) - EPOCH) // timedelta(seconds=1) - second


def _horizon_exceeded(what: str, position: int) -> HorizonExceeded:
    try:
        start = as_datetime(position).isoformat()
    except HorizonExceeded:
        start = "the last date there is"
    return HorizonExceeded(f"calendar ({what}): not enough open time in the ten years from {start}")
