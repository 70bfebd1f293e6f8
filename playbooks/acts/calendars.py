"""Acts on working calendars. Promises that run in their hours follow an edit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction
from django.db.models import F, Q

from csplaybooks.accounts.acts.record import require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.acts.rows import Table, change_row, delete_rows, make_row
from csplaybooks.playbooks.business_time import CalendarError, HorizonExceeded, next_opening
from csplaybooks.playbooks.calendar_choice import calendar_value
from csplaybooks.playbooks.clockwork import mark_stale, set_lapses
from csplaybooks.playbooks.models import Calendar, CalendarBlock, CalendarDay, Clock, Handoff
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.stepwork import hours_changed

CALENDARS = Table(model=Calendar, fields=("key", "name", "zone", "is_default"))


@dataclass(frozen=True, order=True)
class WeekHours:
    """A block of open time in every week: 0 is Monday, minutes since midnight, past 1440 into the next day."""

    weekday: int
    start_minute: int
    end_minute: int


@dataclass(frozen=True)
class DayHours:
    """A day with other hours than its weekday's; closed where both minutes are None. Two blocks are two of it."""

    day: date
    start_minute: int | None = None
    end_minute: int | None = None
    name: str = ""


@transaction.atomic
def make_calendar(
    *,
    values: Mapping[str, Any],
    week: Iterable[WeekHours],
    now: datetime,
    actor: Any,
    days: Iterable[DayHours] = (),
) -> Calendar:
    """Make a calendar with its hours; answers it. The new default takes the place of the one before.

    Raises ValidationError for values that do not fit or hours that make no calendar; see `calendar_changed`.
    """
    if values.get("is_default"):
        _make_room(None, now, actor)
    calendar = make_row(table=CALENDARS, values=values, now=now, actor=actor)
    _set_week(calendar, week)
    _set_days(calendar, days, since=None)
    calendar_changed(calendar_id=calendar.pk, now=now)
    return calendar


@transaction.atomic
def change_calendar(
    *,
    calendar_id: int,
    values: Mapping[str, Any],
    now: datetime,
    actor: Any,
    week: Iterable[WeekHours] | None = None,
    days: Iterable[DayHours] | None = None,
    days_since: date | None = None,
    expected_version: int | None = None,
) -> Calendar:
    """Change a calendar, its weekly hours and its other days; answers it as it stands. Its ticking clocks follow.

    `week` and `days` are told whole, and take the place of what was there; None leaves them as they are. With
    `days_since` the days before it stay as they are, and so do imported holidays, which only an import writes. The new
    default takes the place of the one before; the default itself can only be replaced.

    Raises Calendar.DoesNotExist; Conflict when the calendar's version is not `expected_version` (None: whatever it
    is); ValidationError for values that do not fit or hours that make no calendar.
    """
    require_aware(now=now)
    before = Calendar.objects.select_for_update(no_key=True).get(pk=calendar_id)
    if before.is_default and not values.get("is_default", True):
        raise ValidationError({"is_default": "One calendar is the default: make another the default instead."})
    if values.get("is_default") and not before.is_default:
        _make_room(calendar_id, now, actor)
    calendar = change_row(
        table=CALENDARS, row_id=calendar_id, values=values, now=now, actor=actor, expected_version=expected_version
    )
    parts = []
    if week is not None and _set_week(calendar, week):
        parts.append("hours of the week")
    if days is not None and _set_days(calendar, days, since=days_since):
        parts.append("other days")
    if parts:
        if calendar.version == before.version:
            calendar.version, calendar.updated_at = before.version + 1, now
            Calendar.objects.filter(pk=calendar_id).update(version=calendar.version, updated_at=now)
        write_timeline([_line(calendar, f"Calendar {calendar}: {' and '.join(parts)} changed", now, actor)])
    if parts or calendar.zone != before.zone:
        calendar_changed(calendar_id=calendar_id, now=now)
    return calendar


@transaction.atomic
def delete_calendars(*, calendar_ids: Iterable[int], now: datetime, actor: Any) -> int:
    """Delete calendars; answers how many. Raises ValidationError for the default, and for one that promises run in."""
    ids = list(calendar_ids)
    if default := Calendar.objects.filter(pk__in=ids, is_default=True).first():
        raise ValidationError(f"{default} is the default calendar: make another the default first.")
    return delete_rows(table=CALENDARS, row_ids=ids, now=now, actor=actor)


def calendar_changed(*, calendar_id: int, now: datetime) -> int:
    """Check a calendar whose rows were just written, and have its ticking clocks recomputed; answers how many.

    Call it in the transaction that wrote the rows, so that a calendar that cannot be is rolled back with them.
    Raises Calendar.DoesNotExist, and ValidationError for rows that make no calendar (the field `zone` where the zone
    is at fault) or a calendar that never opens again after `now`: no promise made in its hours could run out.
    """
    with transaction.atomic():
        calendar = Calendar.objects.prefetch_related("blocks", "days").get(pk=calendar_id)
        try:
            next_opening(calendar_value(calendar), now)
        except CalendarError as error:
            at_fault = "zone" if error.item == "zone" else NON_FIELD_ERRORS
            said = error.problem if error.item in ("zone", "week") else str(error)
            raise ValidationError({at_fault: f"{said[0].upper()}{said[1:]}."}) from error
        except HorizonExceeded as error:
            raise ValidationError("This calendar never opens again.") from error
        # Steps do not say whose hours count: any of them may be due anew. They come before clocks, and these before
        # offers, as in the acts on plays.
        hours_changed(Q())
        stale = mark_stale(Clock.objects.filter(calendar=calendar))
        waiting = Handoff.objects.filter(answer=Handoff.Answer.WAITING, clock__calendar=calendar)
        set_lapses(waiting.select_related("clock"))
        if stale:
            poke("watch_clocks")
    return stale


def _make_room(calendar_id: int | None, now: datetime, actor: Any) -> None:
    """Take the mark of the default from whoever has it; promises for which no other calendar counts follow the mark."""
    for other in Calendar.objects.filter(is_default=True).exclude(pk=calendar_id):
        Calendar.objects.filter(pk=other.pk).update(is_default=False, version=F("version") + 1, updated_at=now)
        write_timeline([_line(other, f"Calendar {other} is the default no longer", now, actor)])
        hours_changed(Q())
        if mark_stale(Clock.objects.filter(calendar=other, follows_owner=True)):
            poke("watch_clocks")


def _set_week(calendar: Calendar, week: Iterable[WeekHours]) -> bool:
    """Have these blocks and no others; answers whether anything differed."""
    wanted = list(week)
    there = {WeekHours(row.weekday, row.start_minute, row.end_minute): row for row in calendar.blocks.all()}
    fresh = [
        CalendarBlock(
            calendar=calendar, weekday=hours.weekday, start_minute=hours.start_minute, end_minute=hours.end_minute
        )
        for hours in sorted(set(wanted) - set(there))
    ]
    _refuse_doubles([(hours.weekday, hours.start_minute) for hours in wanted], "Two blocks of a weekday start at once.")
    gone = [row.pk for hours, row in there.items() if hours not in set(wanted)]
    calendar.blocks.filter(pk__in=gone).delete()
    return _add(CalendarBlock, fresh) or bool(gone)


def _set_days(calendar: Calendar, days: Iterable[DayHours], *, since: date | None) -> bool:
    """Have these days and no others but imported ones and those before `since`; answers whether anything differed."""
    wanted = list(days)
    rows = calendar.days.filter(imported=None)
    if since is not None:
        rows = rows.filter(day__gte=since)
    there = {DayHours(row.day, row.start_minute, row.end_minute, row.name): row for row in rows}
    fresh = [
        CalendarDay(
            calendar=calendar,
            day=hours.day,
            start_minute=hours.start_minute,
            end_minute=hours.end_minute,
            name=hours.name,
        )
        for hours in dict.fromkeys(wanted)
        if hours not in there
    ]
    _refuse_doubles([(hours.day, hours.start_minute) for hours in wanted], "A day has the same hours twice.")
    gone = [row.pk for hours, row in there.items() if hours not in set(wanted)]
    calendar.days.filter(pk__in=gone).delete()
    return _add(CalendarDay, fresh) or bool(gone)


def _refuse_doubles(keys: Sequence[Any], said: str) -> None:
    if len(keys) != len(set(keys)):
        raise ValidationError(said)


def _add(model: Any, rows: Sequence[Any]) -> bool:
    """Write rows of hours, each checked by its columns and constraints."""
    for row in rows:
        row.clean_fields()
        # The doubles among them are refused already; what is left are the rules of one row.
        row.validate_constraints()
    model.objects.bulk_create(rows)
    return bool(rows)


def _line(calendar: Calendar, text: str, now: datetime, actor: Any) -> Any:
    return timeline_entry(
        account_id=None, at=now, now=now, kind="calendar_changed", text=text, subject=calendar, actor=actor
    )
