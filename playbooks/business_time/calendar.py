"""The value of a calendar: its zone, the blocks of its week, its closed and its special dates, all checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType

from csplaybooks.accounts.zones import is_zone
from csplaybooks.playbooks.business_time.hours import CalendarHours, shared_hours

MINUTES_PER_DAY = 24 * 60

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class CalendarError(ValueError):
    """A calendar that cannot be: ``item`` names the part at fault, ``problem`` says what is wrong with it."""

    def __init__(self, item: str, problem: str) -> None:
        super().__init__(f"{item}: {problem}")
        self.item = item
        self.problem = problem

    def __reduce__(self) -> tuple[type[CalendarError], tuple[str, str]]:
        # An exception is rebuilt from ``args`` otherwise, and those hold the one joined sentence.
        return type(self), (self.item, self.problem)


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
        _check_zone(self.zone)
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
    def hours(self) -> CalendarHours:
        """The laid-out hours, shared by equal calendars; looked up once, as hashing holidays has a cost."""
        return shared_hours(self)


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


def _check_zone(name: str) -> None:
    """:class:`CalendarError` for a name the zone database does not have."""
    if not is_zone(name):
        raise CalendarError("zone", f"unknown time zone {name!r}")
