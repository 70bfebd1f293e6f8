"""What ownership and promises mean, told again in the plainest way: lists of stretches, and open quarters counted.

It shares nothing with the system but the words. All moments and spans are whole quarters of an hour, so that a due time
can be found by counting: one quarter after the other, open or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

QUARTER = timedelta(minutes=15)

#: No promise of the tests takes longer than this to run out.
LONGEST = timedelta(days=200)


@dataclass(frozen=True)
class PlainCalendar:
    """Open hours by weekday (0 is Monday), in minutes since local midnight, and closed dates; hours in `zone`."""

    zone: str
    week: tuple[tuple[tuple[int, int], ...], ...]
    closed: frozenset[date] = frozenset()

    def is_open(self, quarter: datetime) -> bool:
        """Whether the quarter that begins at this instant is open."""
        return _is_open(self, quarter)


@lru_cache(maxsize=500_000)
def _is_open(calendar: PlainCalendar, quarter: datetime) -> bool:
    wall = quarter.astimezone(ZoneInfo(calendar.zone))
    minute = wall.hour * 60 + wall.minute
    # A block belongs to the date on which it starts; what began yesterday may reach into today.
    for day, since in ((wall.date(), minute), (wall.date() - timedelta(days=1), minute + 1440)):
        if day not in calendar.closed and any(start <= since < end for start, end in calendar.week[day.weekday()]):
            return True
    return False


@dataclass
class Stretch:
    """From when to when (None: still) a play had one owner, holder, stage and state."""

    since: datetime
    until: datetime | None
    owner: int | None
    holder: int | None
    stage: str
    state: str

    @property
    def now(self) -> tuple[int | None, int | None, str, str]:
        """What it says."""
        return (self.owner, self.holder, self.stage, self.state)


@dataclass
class PlainClock:
    """A promise: so many quarters from `since` on, in the hours of a member (None: every hour counts)."""

    target: str
    since: datetime
    quarters: int
    works: bool = True
    breaches: list[datetime] = field(default_factory=list)
    by_hand: bool = False
    end: str = ""

    @property
    def breached(self) -> datetime | None:
        """The due time that was missed last."""
        return self.breaches[-1] if self.breaches else None

    def look(self, at: datetime | None, before: datetime) -> None:
        """Somebody sees what is due at `at`: it is missed if that was before, and lies behind the last one missed."""
        if at is not None and at < before and (self.breached is None or self.breached < at):
            self.breaches.append(at)

    def is_broken(self, at: datetime | None) -> bool:
        """Whether what was missed counts, where it is due at `at`: not while that is still to come."""
        return self.breached is not None and at is not None and at <= self.breached

    def finish(self, at: datetime | None, done: datetime, end: str) -> None:
        """It is over, late or not; due at `at`."""
        self.look(at, done)
        self.end = "missed" if at is not None and at < done else end

    def stands(self, at: datetime | None) -> str:
        """How it stands, where it is due at `at`."""
        return self.end or ("breached" if self.is_broken(at) else "paused" if at is None else "running")

    def is_excused(self, at: datetime | None) -> bool:
        """Whether what was missed is excused, by a person, or because it was not missed as it is due at `at`."""
        counts = self.end == "missed" if self.end else self.is_broken(at)
        return self.by_hand or (self.breached is not None and not counts)


@dataclass
class PlainPlay:
    """A play as a list of stretches, with its promises; the offer that waits is the clock `offer`.

    `promised` are the quarters that are promised of it, by target.
    """

    stretches: list[Stretch]
    promised: dict[str, int]
    clocks: list[PlainClock] = field(default_factory=list)
    offer: PlainClock | None = None
    wakes_at: datetime | None = None
    closed_at: datetime | None = None
    in_tray: bool = False

    @property
    def last(self) -> Stretch:
        """Where it stands."""
        return self.stretches[-1]

    def move(self, at: datetime, **changes: object) -> None:
        """End the stretch that lasts, and begin another that differs as told."""
        self.last.until = at
        self.stretches.append(replace(self.last, since=at, until=None, **changes))  # type: ignore[arg-type]

    def close(self, at: datetime) -> None:
        """The end."""
        self.last.until = at
        self.closed_at = at

    def pauses(self) -> list[tuple[datetime, datetime | None]]:
        """When it was paused."""
        return [(each.since, each.until) for each in self.stretches if each.state == "paused"]


def due(
    calendar: PlainCalendar | None,
    since: datetime,
    quarters: int,
    pauses: list[tuple[datetime, datetime | None]],
) -> datetime | None:
    """The end of the last of so many open quarters outside all pauses; None while a pause lasts."""
    at = since
    left = quarters
    while left:
        assert at - since < LONGEST, "a promise of the tests has run out by now"
        paused = next(((begin, end) for begin, end in pauses if begin <= at and (end is None or at < end)), None)
        if paused is not None:
            if paused[1] is None:
                return None
            at = paused[1]
            continue
        if calendar is None or calendar.is_open(at):
            left -= 1
        at += QUARTER
    return at


def quarter(moment: datetime) -> datetime:
    """The quarter in which a moment lies, in UTC."""
    moment = moment.astimezone(UTC)
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)
