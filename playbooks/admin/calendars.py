"""Working calendars, with their hours and days on one form."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone

from csplaybooks.admin_base import BaseInline, ReadOnlyAdmin, VersionedAdmin, shown
from csplaybooks.playbooks.acts.calendars import calendar_changed
from csplaybooks.playbooks.models import Calendar, CalendarBlock, CalendarDay

WEEKDAYS = tuple(enumerate(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")))


def time_of_day(minute: int | None) -> str | None:
    """A minute of the day as `09:00`; past midnight the hours run on, as in `30:00`."""
    return None if minute is None else f"{minute // 60:02}:{minute % 60:02}"


class TimeOfDayField(forms.Field):
    """A time of day, typed as `17:00` and kept as minutes since midnight; `30:00` is six in the morning after."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=forms.TextInput(attrs={"size": 6, "placeholder": "hh:mm"}), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Minutes as a time; what was typed as it was typed."""
        return time_of_day(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> int | None:
        """What was typed as minutes. Raises ValidationError for what is no time."""
        if value in self.empty_values:
            return None
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\s*(\d{1,2}):([0-5]\d)\s*", str(value), re.ASCII)
        if match is None or int(match[1]) > 48:
            raise ValidationError("Enter a time, such as 09:00; past midnight, go on counting: 30:00.")
        return int(match[1]) * 60 + int(match[2])


class BlockForm(forms.ModelForm):
    """A block of open hours in every week."""

    weekday = forms.TypedChoiceField(choices=WEEKDAYS, coerce=int)
    start_minute = TimeOfDayField(label="Opens")
    end_minute = TimeOfDayField(label="Closes")

    class Meta:
        model = CalendarBlock
        fields = ("weekday", "start_minute", "end_minute")


class DayForm(forms.ModelForm):
    """A day with other hours than its weekday's."""

    start_minute = TimeOfDayField(label="Opens", required=False)
    end_minute = TimeOfDayField(label="Closes", required=False)

    class Meta:
        model = CalendarDay
        fields = ("day", "start_minute", "end_minute", "name")


class BlockInline(BaseInline):
    """The open hours of every week."""

    model = CalendarBlock
    editable = True
    form = BlockForm
    fields = ("weekday", "start_minute", "end_minute")
    verbose_name = "block"
    verbose_name_plural = "open hours of a week"


class DayInline(BaseInline):
    """Closed days and days with other hours; those of earlier years stand in their own list."""

    model = CalendarDay
    editable = True
    form = DayForm
    fields = ("day", "start_minute", "end_minute", "name", "source")
    readonly_fields = ("source",)
    verbose_name = "day"
    verbose_name_plural = "other days (closed where no hours are given)"

    def get_queryset(self, request: HttpRequest) -> Any:
        """From last year on: a form takes a limited number of fields."""
        return super().get_queryset(request).filter(day__gte=date(timezone.now().year - 1, 1, 1))


@admin.register(Calendar)
class CalendarAdmin(VersionedAdmin):
    """Working calendars. Promises that run in their hours follow an edit."""

    list_display = ("name", "key", "zone", "is_default")
    search_fields = ("name", "key")
    fields = ("key", "name", "zone", "is_default")
    fixed_fields = ("key",)
    inlines = (BlockInline, DayInline)
    deletable = True

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save hours and days, then check the whole and have the clocks follow."""
        super().save_related(request, form, formsets, change)
        calendar_changed(calendar_id=form.instance.pk, now=timezone.now())


class HoursAdmin(ReadOnlyAdmin):
    """Hours of calendars; they are edited on the calendar's page."""

    follows = ("calendar",)
    opens = shown("Opens", lambda row: time_of_day(row.start_minute), ordering="start_minute")
    closes = shown("Closes", lambda row: time_of_day(row.end_minute), ordering="end_minute")


@admin.register(CalendarBlock)
class CalendarBlockAdmin(HoursAdmin):
    """The open hours of every week."""

    list_display = ("calendar", "day", "opens", "closes")
    list_filter = ("calendar",)
    fields = ("calendar", "day", "opens", "closes")
    day = shown("Weekday", lambda row: WEEKDAYS[row.weekday][1], ordering="weekday")


@admin.register(CalendarDay)
class CalendarDayAdmin(HoursAdmin):
    """Closed days and days with other hours."""

    list_display = ("calendar", "day", "opens", "closes", "name")
    list_filter = ("calendar",)
    search_fields = ("name",)
    fields = ("calendar", "day", "opens", "closes", "name", "source")
