"""Working calendars, with their hours and days on one form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from csplaybooks.accounts.admin.record import story_of
from csplaybooks.admin_base import (
    OPENED_VERSION,
    ActAdmin,
    BaseInline,
    ReadOnlyAdmin,
    VersionedForm,
    by,
    filled_filter,
    link_to,
    see_also,
    shown,
)
from csplaybooks.playbooks.acts.calendars import (
    CALENDARS,
    DayHours,
    WeekHours,
    change_calendar,
    delete_calendars,
    make_calendar,
)
from csplaybooks.playbooks.models import Calendar, CalendarBlock, CalendarDay, HolidayImport

#: The minutes of a day.
_DAY = 24 * 60

WEEKDAYS = tuple(enumerate(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")))


def shown_since() -> date:
    """The first day whose hours stand on a calendar's form: from last year on, as a form takes only so many fields."""
    return date(timezone.localdate().year - 1, 1, 1)


def time_of_day(minute: int | None) -> str | None:
    """A minute of the day as `09:00`; past midnight the hours run on, as in `30:00`."""
    return None if minute is None else f"{minute // 60:02}:{minute % 60:02}"


class TimeOfDayField(forms.Field):
    """A time of day, typed as `17:00` and kept as minutes since midnight.

    With `past_midnight` the hours may run on to the end of the next day: `30:00` is six in the morning after.
    """

    def __init__(self, *, past_midnight: bool = False, **kwargs: Any) -> None:
        super().__init__(widget=forms.TextInput(attrs={"size": 6, "placeholder": "hh:mm"}), **kwargs)
        self.past_midnight = past_midnight

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
        minute = None if match is None else int(match[1]) * 60 + int(match[2])
        if self.past_midnight and (minute is None or minute > 2 * _DAY):
            raise ValidationError("Enter a time, such as 17:00; past midnight, go on counting: 30:00, at most 48:00.")
        if not self.past_midnight and (minute is None or minute >= _DAY):
            raise ValidationError("Enter a time of the day, from 00:00 to 23:59, such as 09:00.")
        return minute


#: Of the hour at which a block ends.
_CLOSES = "Past midnight, go on counting: 30:00 is six in the morning after."


class BlockForm(forms.ModelForm):
    """A block of open hours in every week."""

    weekday = forms.TypedChoiceField(choices=WEEKDAYS, coerce=int)
    start_minute = TimeOfDayField(label="Opens")
    end_minute = TimeOfDayField(label="Closes", help_text=_CLOSES, past_midnight=True)

    class Meta:
        model = CalendarBlock
        fields = ("weekday", "start_minute", "end_minute")


class DayForm(forms.ModelForm):
    """A day with other hours than its weekday's."""

    start_minute = TimeOfDayField(label="Opens", required=False)
    end_minute = TimeOfDayField(label="Closes", required=False, help_text=_CLOSES, past_midnight=True)

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
    """Closed days and days with other hours; those of earlier years, and imported ones, stand in their own list."""

    model = CalendarDay
    editable = True
    form = DayForm
    fields = ("day", "start_minute", "end_minute", "name")
    verbose_name = "day"
    verbose_name_plural = "other days (closed where no hours are given)"

    def get_queryset(self, request: HttpRequest) -> Any:
        """What people entered, from last year on."""
        return super().get_queryset(request).filter(day__gte=shown_since(), imported=None)


class ImportInline(BaseInline):
    """What was imported of public holidays; their days stand on its own page."""

    model = HolidayImport
    fields = ("holidays", "source", "source_version", "imported_at")
    readonly_fields = ("holidays",)
    verbose_name = "import"
    verbose_name_plural = "imported holidays"
    holidays = shown("Holidays", link_to)


#: What an edit does to promises that were made before it.
_FOLLOWED = (
    "The hours count for days that are over too: open promises are measured by them from their start. So an edit may "
    "break one at once, or move a due time behind a breach, which then is excused until the new due time."
)


class CalendarForm(VersionedForm):
    """A calendar; its hours stand below."""

    class Meta:
        model = Calendar
        fields = ("key", "name", "zone", "is_default")
        help_texts = {"is_default": "Promises run in its hours. It takes the place of the default before it."}

    def _get_validation_exclusions(self) -> set[str]:
        """The act makes room for a new default, so that there is another one now is no fault."""
        # The stubs leave out what Django's documentation does.
        return {*super()._get_validation_exclusions(), "is_default"}  # type: ignore[misc]


def hours_in(formsets: list[Any], model: Any) -> list[dict[str, Any]]:
    """The rows of hours that are to stand when the form is sent."""
    return [
        form.cleaned_data
        for formset in formsets
        if formset.model is model
        for form in formset.forms
        if form.cleaned_data and not form.cleaned_data.get("DELETE") and (form.instance.pk or form.has_changed())
    ]


@admin.register(Calendar)
class CalendarAdmin(ActAdmin):
    """Working calendars. Promises that run in their hours follow an edit."""

    form = CalendarForm
    list_display = ("name", "key", "zone", "is_default")
    search_fields = ("name", "key")
    search_help_text = "A part of the name or of the key."
    fieldsets = ((None, {"fields": ("key", "name", "zone", "is_default"), "description": _FOLLOWED}),)
    fixed_fields = ("key",)
    inlines = (BlockInline, DayInline, ImportInline)
    change_form_template = "csplaybooks/admin/calendar_change_form.html"
    deletable = True

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """The page, with a way to import public holidays."""
        calendar = context.get("original")
        holidays = self.admin_site.get_model_admin(HolidayImport)
        if calendar is not None and holidays.has_add_permission(request):
            name = f"admin:{HolidayImport._meta.app_label}_{HolidayImport._meta.model_name}_add"
            context["import_holidays"] = (
                f"{reverse(name, current_app=self.admin_site.name)}?{urlencode({'calendar': calendar.pk})}"
            )
        return super().render_change_form(request, context, *args, **kwargs)

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Make the calendar with its hours."""
        return make_calendar(**_told(form, formsets), now=now, actor=request.user)

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Change the calendar and its hours; its clocks follow."""
        return change_calendar(
            calendar_id=form.instance.pk,
            **_told(form, formsets),
            days_since=shown_since(),
            expected_version=form.cleaned_data[OPENED_VERSION],
            now=now,
            actor=request.user,
        )

    def delete_by_act(self, request: HttpRequest, rows: list[Any], now: datetime) -> None:
        """Delete calendars in which no promise runs."""
        delete_calendars(calendar_ids=[row.pk for row in rows], now=now, actor=request.user)


def _told(form: Any, formsets: list[Any]) -> dict[str, Any]:
    """What the form says of a calendar: its values, its week, its other days."""
    return {
        "values": {name: form.cleaned_data[name] for name in CALENDARS.fields if name in form.cleaned_data},
        "week": [
            WeekHours(row["weekday"], row["start_minute"], row["end_minute"])
            for row in hours_in(formsets, CalendarBlock)
        ],
        "days": [
            DayHours(row["day"], row["start_minute"], row["end_minute"], row["name"])
            for row in hours_in(formsets, CalendarDay)
        ],
    }


class HoursAdmin(ReadOnlyAdmin):
    """Hours of calendars; they are edited on the calendar's page."""

    follows: Sequence[str] = ("calendar",)
    calendar_link = shown("Calendar", lambda row: link_to(row.calendar), ordering="calendar__name")
    opens = shown("Opens", lambda row: time_of_day(row.start_minute), ordering="start_minute")
    closes = shown("Closes", lambda row: time_of_day(row.end_minute), ordering="end_minute")


@admin.register(CalendarBlock)
class CalendarBlockAdmin(HoursAdmin):
    """The open hours of every week."""

    list_display = ("day", "opens", "closes", "calendar_link")
    list_filter = ("calendar",)
    fields = ("calendar", "day", "opens", "closes")
    day = shown("Weekday", lambda row: WEEKDAYS[row.weekday][1], ordering="weekday")


@admin.register(CalendarDay)
class CalendarDayAdmin(HoursAdmin):
    """Closed days and days with other hours."""

    list_display = ("day", "opens", "closes", "name", "calendar_link")
    list_filter = ("calendar", ("imported", filled_filter("source", filled="imported", empty="entered")))
    date_hierarchy = "day"
    ordering = ("-day", "calendar", "start_minute")
    search_fields = ("name",)
    search_help_text = "A part of the day's name."
    follows = ("calendar", "imported")
    fields = ("calendar", "day", "opens", "closes", "name", "source", "import_link")
    import_link = shown("Import", lambda row: link_to(row.imported))


see_also(Calendar, CalendarDay, by("calendar"), "All other days")
story_of(Calendar)
