"""What is stored, as small frozen rows, and what of it counts at a moment as known at a mark: plain and slow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class News:
    """What announces a row: a batch or a change. `seen_by` is the run that took note of it; None: none has yet."""

    seen_by: int | None

    def known_at(self, mark: int | None) -> bool:
        """Whether run `mark` had been told; a mark of None knows all that is stored."""
        return mark is None or (self.seen_by is not None and self.seen_by <= mark)


@dataclass(frozen=True)
class Event:
    """What signals and readings share. Ids go up in the order of storing."""

    id: int
    account: int
    at: datetime
    told: News
    corrects: int | None = None
    void: bool = False


@dataclass(frozen=True)
class Signal(Event):
    """Something happened."""

    type: str = ""
    actor: str = ""
    value_milli: int = 1000
    properties: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Reading(Event):
    """So much there was."""

    meter: str = ""
    used_milli: int = 0
    limit_milli: int | None = None


@dataclass(frozen=True)
class Period:
    """Something that holds over `[since, until)`, told by `told` and taken back by `taken_back`."""

    id: int
    account: int
    since: datetime
    until: datetime | None
    told: News
    taken_back: News | None
    values: tuple[tuple[str, Any], ...]

    def __getitem__(self, name: str) -> Any:
        return dict(self.values)[name]


@dataclass(frozen=True)
class ChampionChange:
    """Something happened to a champion."""

    id: int
    account: int
    at: datetime
    told: News
    kind: str


@dataclass(frozen=True)
class Finding:
    """What a review brought up; `states` are periods with a `status`."""

    id: int
    account: int
    kind: str
    product: str | None
    states: tuple[Period, ...]


@dataclass(frozen=True)
class Plan:
    """A tier of a product, and the plan that follows it."""

    key: str
    product: str
    rank: int
    next_plan: str | None


@dataclass(frozen=True)
class Feature:
    """A feature of a product; without a least plan every plan opens it. An area of "" is none."""

    key: str
    product: str
    least_plan: str | None
    area: str


@dataclass(frozen=True)
class Weighing:
    """What a kind of signal weighs for a motion: points each, of the newest so many; its strength."""

    motion: str
    type: str
    points: int
    at_most: int
    strength: str


@dataclass(frozen=True)
class World:
    """All that is stored; `plans`, `features` and `weights` are what is sold and what weighs as the run used it."""

    accounts: tuple[int, ...]
    signals: tuple[Signal, ...] = ()
    readings: tuple[Reading, ...] = ()
    facts: tuple[Period, ...] = ()
    holdings: tuple[Period, ...] = ()
    champion_changes: tuple[ChampionChange, ...] = ()
    findings: tuple[Finding, ...] = ()
    plans: tuple[Plan, ...] = ()
    features: tuple[Feature, ...] = ()
    weights: tuple[Weighing, ...] = ()


@dataclass(frozen=True)
class Asked:
    """The moment, the mark, and the catalogue: the keys of the signal types, and each meter's maximum age in days.

    `zone` is that of the company, in which a moment has a day.
    """

    as_of: datetime
    mark: int | None
    signal_types: frozenset[str]
    max_age_days: Mapping[str, int]
    zone: ZoneInfo

    @property
    def today(self) -> date:
        """The calendar day of the moment."""
        return self.as_of.astimezone(self.zone).date()


AnyEvent = TypeVar("AnyEvent", bound=Event)


AnyEvent = TypeVar("AnyEvent", bound=Event)


def counting(events: Iterable[AnyEvent], account: int, asked: Asked) -> list[AnyEvent]:
    """The events of an account that count: told of, not void, and not replaced by a correction that was told of."""
    told = [event for event in events if event.account == account and event.told.known_at(asked.mark)]
    replaced = {event.corrects for event in told}
    return [event for event in told if not event.void and event.id not in replaced]


def inside(at: datetime, length: timedelta, until: datetime) -> bool:
    """Whether a moment lies in the window `(until - length, until]`."""
    return until - length < at <= until


def held_for_true(period: Period, asked: Asked) -> bool:
    """Whether a period was known, and not taken back yet as far as was known; whenever it holds."""
    return period.told.known_at(asked.mark) and not (
        period.taken_back is not None and period.taken_back.known_at(asked.mark)
    )


def holding_at(periods: Iterable[Period], account: int, asked: Asked) -> list[Period]:
    """The periods of an account that hold at the moment, as far as was known."""
    return [
        period
        for period in periods
        if period.account == account
        and held_for_true(period, asked)
        and period.since <= asked.as_of
        and (period.until is None or asked.as_of < period.until)
    ]


def fact(world: World, account: int, name: str, asked: Asked) -> Any:
    """What is known of an account at the moment; None where nothing is."""
    known = [facts[name] for facts in holding_at(world.facts, account, asked)]
    assert len(known) <= 1, "the facts of an account hold one after the other"
    return known[0] if known else None


def latest(world: World, account: int, meter: str, asked: Asked, as_of: datetime) -> Reading | None:
    """The latest reading of a meter that is not too old; of two at one instant the one stored later."""
    if meter not in asked.max_age_days:
        return None
    age = timedelta(days=asked.max_age_days[meter])
    readings = [
        reading
        for reading in counting(world.readings, account, asked)
        if reading.meter == meter and inside(reading.at, age, as_of)
    ]
    return max(readings, key=lambda reading: (reading.at, reading.id), default=None)
