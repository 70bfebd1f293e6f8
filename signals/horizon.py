"""The horizon: how far back signals and readings are kept, and so how far back anything may be asked or taken in.

It is set by `RETENTION_DAYS`, and by what was pruned already, whichever lies later: a retention that is made longer
brings nothing back. All days are whole ones of the company time zone.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from django.db.models import QuerySet

from csplaybooks.conf import company_time_zone, csplaybooks_settings
from csplaybooks.signals.models import PrunedDay

#: Rows are kept for this many days more than intake takes them: so a request that was under way when a day is pruned,
#: a run that waited at midnight, a day of 25 hours and a clock that is a little off all meet whole days.
MARGIN_DAYS = 1


def midnight(day: date) -> datetime:
    """The first instant of a day in the company time zone."""
    return datetime(day.year, day.month, day.day, tzinfo=company_time_zone())


def days_before(now: datetime, days: int) -> datetime | None:
    """The first instant of the day that lies `days` days before that of `now`; None where there is no such day."""
    try:
        return midnight(now.astimezone(company_time_zone()).date() - timedelta(days=days))
    except OverflowError:
        return None


def to_prune_before(now: datetime, *, at_least_days: int | None = 0) -> datetime | None:
    """What occurred before this is to be pruned; None for nothing.

    `at_least_days` are kept even where `RETENTION_DAYS` is less; None keeps all.
    """
    days = csplaybooks_settings.RETENTION_DAYS
    if not days or at_least_days is None:
        return None
    return days_before(now, max(days, at_least_days) + MARGIN_DAYS)


def newest_pruned() -> QuerySet[PrunedDay]:
    """The row that holds the horizon, as a queryset of one or none."""
    return PrunedDay.objects.order_by("-before")[:1]


def pruned_before() -> datetime | None:
    """The horizon: what occurred before this may be gone; None where nothing was pruned yet. One query."""
    before: datetime | None = newest_pruned().values_list("before", flat=True).first()
    return before


def intake_begins(now: datetime) -> datetime | None:
    """What occurred before this is not taken in: its duplicates may be gone. None: everything is. One query."""
    by_setting = days_before(now, days) if (days := csplaybooks_settings.RETENTION_DAYS) else None
    return max((moment for moment in (by_setting, pruned_before()) if moment is not None), default=None)
