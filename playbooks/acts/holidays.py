"""Acts on public holidays: import them into rows of a calendar, and forget an import."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from csplaybooks.accounts.acts.record import require_aware, timeline_entry, write_timeline
from csplaybooks.playbooks.acts.calendars import calendar_changed
from csplaybooks.playbooks.holiday_source import SOURCE, holidays_of, known_place, source_version
from csplaybooks.playbooks.models import Calendar, CalendarDay, HolidayImport


@dataclass(frozen=True)
class Imported:
    """What an import brought: one row for each year, how many days these have, and what became of the calendar.

    `kept` are dates among them for which a person entered hours, or that they closed: what they entered counts.
    `differs` says whether the calendar has other days than before.
    """

    imports: Sequence[HolidayImport]
    days: int
    kept: Sequence[date]
    differs: bool

    def __str__(self) -> str:
        """In a sentence: `holidays of DE-BY 2026 imported from holidays 0.109: 13 days`."""
        first = self.imports[0]
        place = f"{first.country}-{first.subdivision}" if first.subdivision else first.country
        years = ", ".join(str(row.year) for row in self.imports)
        said = f"holidays of {place} {years} imported from {first.source} {first.source_version}: {self.days} days"
        if self.kept:
            ones = "one" if len(self.kept) == 1 else f"{len(self.kept)}"
            said += f", on {ones} of which what was entered by hand counts"
        return said if self.differs else f"{said}, as before"


@transaction.atomic
def import_holidays(
    *, calendar_id: int, country: str, subdivision: str = "", years: Iterable[int], now: datetime, actor: Any
) -> Imported:
    """Close a calendar on the public holidays of a country, or of a part of it, in these years.

    `country` is an ISO 3166-1 code of two letters, `subdivision` the code of a part of it (`BY` of `DE`), or empty.
    The days are written as rows, with where they come from; from then on only these count, whatever a later release of
    the source says. Importing the same again takes the place of the days that came from it, and of no others. What a
    person entered for such a date stays, and counts. Where the days differ, the ticking clocks of the calendar follow.

    Raises Calendar.DoesNotExist; ValidationError for a `country`, a `subdivision` or `years` of which nothing is known,
    and for a calendar that would never open again.
    """
    require_aware(now=now)
    wanted = sorted(set(years))
    if not wanted:
        raise ValidationError({"years": "Name at least one year."})
    calendar = Calendar.objects.select_for_update(no_key=True).get(pk=calendar_id)
    country, subdivision = known_place(country, subdivision)
    days_of = {year: holidays_of(country, subdivision, year) for year in wanted}
    there = {
        row.year: row for row in calendar.imports.filter(country=country, subdivision=subdivision, year__in=wanted)
    }
    source = {"source": SOURCE, "source_version": source_version(), "imported_at": now}
    new = [
        HolidayImport(calendar=calendar, country=country, subdivision=subdivision, year=year, **source)
        for year in wanted
        if year not in there
    ]
    HolidayImport.objects.bulk_create(new)
    HolidayImport.objects.filter(pk__in=[row.pk for row in there.values()]).update(**source)
    for row in there.values():
        vars(row).update(source)
    imports = sorted([*there.values(), *new], key=lambda row: row.year)
    differs = _set_days(calendar, imports, days_of)
    dates = [day for days in days_of.values() for day in days]
    entered = set(calendar.days.filter(imported=None, day__in=dates).values_list("day", flat=True))
    answer = Imported(imports=imports, days=len(dates), kept=sorted(entered), differs=differs)
    _changed(calendar, str(answer), differs, now, actor)
    return answer


@transaction.atomic
def import_holidays_anew(*, import_ids: Iterable[int], now: datetime, actor: Any) -> list[Imported]:
    """Import again what was imported once; answers as `import_holidays` does, for each calendar and place."""
    by_place: dict[tuple[int, str, str], list[int]] = {}
    rows = HolidayImport.objects.filter(pk__in=list(import_ids)).order_by("calendar", "country", "subdivision", "year")
    for calendar, country, subdivision, year in rows.values_list("calendar", "country", "subdivision", "year"):
        by_place.setdefault((calendar, country, subdivision), []).append(year)
    return [
        import_holidays(
            calendar_id=calendar, country=country, subdivision=subdivision, years=years, now=now, actor=actor
        )
        for (calendar, country, subdivision), years in by_place.items()
    ]


@transaction.atomic
def forget_holidays(*, import_ids: Iterable[int], now: datetime, actor: Any) -> int:
    """Forget imports with their days, on which the calendars open again; answers how many. The clocks follow."""
    require_aware(now=now)
    wanted = list(import_ids)
    # The calendars first, as in an import, and in one order.
    calendars = Calendar.objects.filter(imports__in=wanted).order_by("pk").values_list("pk", flat=True).distinct()
    ids = list(calendars)
    list(Calendar.objects.filter(pk__in=ids).select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    rows = HolidayImport.objects.filter(pk__in=wanted).select_related("calendar").order_by("pk")
    by_calendar: dict[int, list[HolidayImport]] = {}
    for row in rows:
        by_calendar.setdefault(row.calendar_id, []).append(row)
    for gone in by_calendar.values():
        calendar = gone[0].calendar
        had_days = CalendarDay.objects.filter(imported__in=gone).exists()
        HolidayImport.objects.filter(pk__in=[row.pk for row in gone]).delete()
        said = f"holidays of {', '.join(str(row) for row in gone)} forgotten"
        _changed(calendar, said, had_days, now, actor)
    return sum(map(len, by_calendar.values()))


def _set_days(calendar: Calendar, imports: Sequence[HolidayImport], days_of: dict[int, dict[date, str]]) -> bool:
    """Have these days in these imports and no others; answers whether a date is closed that was not, or no longer."""
    rows = CalendarDay.objects.filter(imported__in=imports)
    before = set(rows.values_list("imported", "day"))
    rows.delete()
    CalendarDay.objects.bulk_create(
        CalendarDay(
            calendar=calendar, imported=row, day=day, name=name, source=f"{row.source} {row.source_version}, {row}"
        )
        for row in imports
        for day, name in days_of[row.year].items()
    )
    return before != {(row.pk, day) for row in imports for day in days_of[row.year]}


def _changed(calendar: Calendar, said: str, differs: bool, now: datetime, actor: Any) -> None:
    """Tell it, and have the promises follow where the calendar has other days than before."""
    line = timeline_entry(
        account_id=None,
        at=now,
        now=now,
        kind="holidays_imported",
        text=f"Calendar {calendar}: {said}",
        subject=calendar,
        actor=actor,
    )
    write_timeline([line])
    if differs:
        Calendar.objects.filter(pk=calendar.pk).update(version=F("version") + 1, updated_at=now)
        calendar_changed(calendar_id=calendar.pk, now=now)
