"""The rhythm of a year: when people work, when they use the product, and when they have money to spend."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from random import Random

from csplaybooks.conf import company_time_zone

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
YEAR = timedelta(days=365)

#: The working day of the default calendar, in hours of the company time zone.
OPENS, CLOSES = 9, 17

#: Month and day of the days on which nobody works, and what they are called.
HOLIDAYS = {(1, 1): "New Year's Day", (12, 25): "Christmas Day", (12, 26): "Second day of Christmas"}

#: How much the product is used on each day of a week, Monday first.
_WEEKDAYS = (1.05, 1.15, 1.15, 1.1, 0.85, 0.12, 0.1)


def holidays(first: date, last: date) -> Iterator[tuple[date, str]]:
    """The days of `HOLIDAYS` from the first to the last year, in their order."""
    for year in range(first.year, last.year + 1):
        for (month, day), name in sorted(HOLIDAYS.items()):
            yield date(year, month, day), name


def is_working_day(day: date) -> bool:
    """Monday to Friday, and no holiday."""
    return day.weekday() < 5 and (day.month, day.day) not in HOLIDAYS


def working_day(day: date) -> date:
    """The day itself, or the next one on which people work."""
    while not is_working_day(day):
        day += DAY
    return day


def at_work(random: Random, day: date, *, opens: float = OPENS, closes: float = CLOSES) -> datetime:
    """A moment on `day`, or on the next day on which people work, between two hours of the company's clock."""
    minute = random.randrange(int(opens * 60) + 1, int(closes * 60))
    moment = datetime.combine(working_day(day), time(minute // 60, minute % 60), tzinfo=company_time_zone())
    return moment.astimezone(UTC)


def season(day: date) -> float:
    """How much people work in this part of the year: 1 is the usual."""
    if (day.month, day.day) >= (12, 20) or (day.month, day.day) <= (1, 3):
        return 0.4
    if (7, 10) <= (day.month, day.day) <= (8, 24):
        return 0.72
    return {11: 1.1, 9: 1.05, 10: 1.05}.get(day.month, 1.0)


def use(day: date) -> float:
    """How much the product is used on a day: the week's rhythm and the season's; 1 is the usual."""
    return _WEEKDAYS[day.weekday()] * season(day)


def trade_peak(day: date) -> float:
    """The same for shops and whom they need: much more before the end of the year."""
    return {10: 1.1, 11: 1.3, 12: 1.35, 1: 0.85, 2: 0.85}.get(day.month, 1.0)


def appetite(day: date) -> float:
    """How ready customers are to buy: more from October to March, when budgets are made and spent; 1 on average."""
    if day.month in (10, 11, 12, 1, 2, 3):
        return 1.25
    return 0.5 if day.month in (7, 8) else 0.85


def appetite_between(first: date, last: date) -> float:
    """The appetite of the days from `first` to `last`, in years of the average; looks at weeks."""
    weeks = max((last - first).days // 7, 0)
    return sum(appetite(first + week * WEEK) for week in range(weeks)) / 52
