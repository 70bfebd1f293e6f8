"""Instants as whole microseconds since 1970 in UTC, and spans of them: what the arithmetic counts in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND_IN_MICROSECONDS = 1_000_000

FOREVER = 1 << 62
"""The end of a pause that lasts; later than any datetime can be."""

HORIZON = timedelta(days=3660)
"""How far after its start (or after its last pause) an opening or a due time is looked for: ten years."""

HORIZON_IN_MICROSECONDS = HORIZON // MICROSECOND

Pause = tuple[datetime, datetime | None]
"""From and to, aware; ``None`` as end while the pause lasts."""


class HorizonExceeded(OverflowError):
    """The calendar has too little open time within the horizon, or the instants asked about are absurd."""


def as_instant(moment: datetime, name: str) -> int:
    """An aware datetime as an instant; ``ValueError``, naming it ``name``, for a naive one."""
    if moment.utcoffset() is None:
        raise ValueError(f"{name} must have a time zone, but is {moment.isoformat()}")
    return (moment - EPOCH) // MICROSECOND


def as_datetime(instant: int) -> datetime:
    """An instant as a datetime in UTC; :class:`HorizonExceeded` beyond the last date there is."""
    try:
        return EPOCH + timedelta(microseconds=instant)
    except OverflowError as error:
        raise HorizonExceeded("the answer lies beyond the last date there is") from error


def as_microseconds(duration: timedelta, name: str) -> int:
    """A duration in microseconds; ``ValueError``, naming it ``name``, for a negative one."""
    amount = duration // MICROSECOND
    if amount < 0:
        raise ValueError(f"{name} must not be negative, but is {duration}")
    return amount


def union_of(pauses: Iterable[Pause]) -> list[tuple[int, int]]:
    """The pauses as sorted, disjoint spans of positive length, the lasting ones up to :data:`FOREVER`.

    Raises ``ValueError`` for a naive datetime or a pause that ends before it begins.
    """
    spans: list[tuple[int, int]] = []
    for pause_from, pause_to in pauses:
        begin = as_instant(pause_from, "start of a pause")
        end = FOREVER if pause_to is None else as_instant(pause_to, "end of a pause")
        if end < begin:
            raise ValueError(f"a pause from {pause_from.isoformat()} must not end before that, at {pause_to}")
        if end > begin:
            spans.append((begin, end))
    return merged(sorted(spans))


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans sorted by their begin, with those that overlap or touch joined."""
    joined: list[tuple[int, int]] = []
    for begin, end in spans:
        if joined and begin <= joined[-1][1]:
            if end > joined[-1][1]:
                joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined
