"""The period of a report, and its weeks and months: in the company time zone, right across clock changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db.models import TextChoices

from csplaybooks.conf import company_time_zone
from csplaybooks.signals.horizon import midnight

#: A period has at most so many weeks or months where a report tells them apart: a year of weeks, with those cut by its
#: ends.
MOST_PARTS = 54

#: No period begins before: nothing was recorded then.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class ReportError(ValueError):
    """A question that has no answer; the parameter at fault, and what to ask in its place."""

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(problem)
        self.parameter = parameter


class Every(TextChoices):
    """Which parts of a period are told apart."""

    WEEK = "week", "Week"
    MONTH = "month", "Month"


@dataclass(frozen=True)
class Part:
    """A week or a month, or what of it lies in the period: `[begins, ends)`.

    `key` is `2026-W47` for a week (ISO 8601, from Monday's midnight to the next) and `2026-11` for a month.
    """

    key: str
    begins: datetime
    ends: datetime


def checked_period(since: datetime, until: datetime, now: datetime) -> tuple[datetime, datetime]:
    """The period `[since, until)` as far as it lies behind us, in UTC.

    Raises ReportError where it ends before it begins, lies ahead, or begins before 2000.
    """
    for name, moment in (("since", since), ("until", until), ("now", now)):
        if moment.tzinfo is None:
            raise ReportError(name, f"{name} needs a time zone")
    if since < EARLIEST:
        raise ReportError("since", "Ask from 2000-01-01 on.")
    if until <= since:
        raise ReportError("until", "The period ends before it begins.")
    if since > now:
        raise ReportError("since", "This lies ahead: nobody has had that time yet.")
    return since.astimezone(UTC), min(until, now).astimezone(UTC)


def parts_of(since: datetime, until: datetime, every: Every) -> tuple[Part, ...]:
    """The weeks or months of `[since, until)`, without gap, the first and the last cut to it.

    Raises ReportError for more than `MOST_PARTS`.
    """
    parts: list[Part] = []
    for key, begins, ends in _walk(since, every):
        if begins >= until:
            break
        if len(parts) == MOST_PARTS:
            raise ReportError("since", f"These are more than {MOST_PARTS} {every.value}s: ask for a shorter period.")
        # Two parts of a zone that left out a day may meet in one instant: the one between has no time.
        if (first := max(begins, since)) < (last := min(ends, until)):
            parts.append(Part(key, first, last))
    return tuple(parts)


def _walk(since: datetime, every: Every) -> Iterator[tuple[str, datetime, datetime]]:
    """Key, first instant and end of each week or month, from that of `since` on."""
    day = since.astimezone(company_time_zone()).date()
    day = day.replace(day=1) if every == Every.MONTH else day - timedelta(days=day.weekday())
    while True:
        after = _after(day, every)
        yield _key(day, every), midnight(day).astimezone(UTC), midnight(after).astimezone(UTC)
        day = after


def _after(day: date, every: Every) -> date:
    if every == Every.WEEK:
        return day + timedelta(days=7)
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _key(day: date, every: Every) -> str:
    if every == Every.MONTH:
        return f"{day:%Y-%m}"
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"
