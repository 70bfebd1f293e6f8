"""Calendars to ask about business time, and short words for moments, spans and hours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from csplaybooks.playbooks.business_time import Block, BusinessCalendar

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)
ZERO = timedelta(0)


def block(text: str) -> Block:
    """``"09:00-17:00"`` or, past midnight, ``"22:00-30:00"``."""
    start, end = (int(clock[:2]) * 60 + int(clock[3:]) for clock in text.split("-"))
    return Block(start, end)


def blocks(*texts: str) -> tuple[Block, ...]:
    """The blocks of one date."""
    return tuple(block(text) for text in texts)


def calendar(
    zone: str,
    working_day: Sequence[str],
    *,
    weekend: Sequence[str] = (),
    closed: Sequence[date] = (),
    special: dict[date, Sequence[str]] | None = None,
) -> BusinessCalendar:
    """A calendar with the same blocks from Monday to Friday, and others, or none, on Saturday and Sunday."""
    return BusinessCalendar(
        zone=zone,
        week=(blocks(*working_day),) * 5 + (blocks(*weekend),) * 2,
        closed_dates=frozenset(closed),
        special_dates={day: blocks(*texts) for day, texts in (special or {}).items()},
    )


def every_day(zone: str, *texts: str) -> BusinessCalendar:
    """A calendar with the same blocks on all seven days."""
    return calendar(zone, texts, weekend=texts)


def at(zone: str, text: str, *, fold: int = 0) -> datetime:
    """What the clock on the wall of a zone shows, such as ``"2026-11-23 10:00"``, as an aware datetime."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


def hours(number: float) -> timedelta:
    """So many hours; `timedelta` in short."""
    return timedelta(hours=number)


BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
OFFICE = calendar(BERLIN, ["09:00-17:00"])
ROUND_THE_CLOCK = every_day(BERLIN, "00:00-24:00")
HOLIDAYS = calendar(
    BERLIN,
    ["09:00-17:00"],
    closed=[date(2026, 12, 25), date(2026, 12, 24)],
    special={
        date(2026, 12, 24): ["09:00-12:00"],
        date(2026, 12, 26): ["10:00-14:00"],
        date(2026, 12, 28): [],
    },
)
