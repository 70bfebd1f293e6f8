"""Public holidays that were imported into calendars: import them, import them anew, forget them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from csplaybooks.admin_base import ActAdmin, ActForm, BaseInline, by, link_to, see_also, shown
from csplaybooks.playbooks.acts.holidays import forget_holidays, import_holidays, import_holidays_anew
from csplaybooks.playbooks.holiday_source import known_place, years_in
from csplaybooks.playbooks.models import Calendar, CalendarDay, HolidayImport


class HolidayForm(ActForm):
    """What to import: of which country, or of which part of it, in which years."""

    # Room for a name: what there is of that name is said.
    country = forms.CharField(max_length=100, help_text="ISO 3166-1 code of two letters, such as DE or US.")
    years = forms.CharField(max_length=100, help_text="Such as 2026, or 2026-2028, or 2026, 2028.")

    class Meta:
        model = HolidayImport
        fields = ("calendar", "country", "subdivision")
        help_texts = {
            "subdivision": "Code of a part of the country that has holidays of its own, such as BY; mostly ISO 3166-2.",
        }

    def clean_country(self) -> str:
        """The code of the country."""
        try:
            return known_place(self.cleaned_data["country"], "")[0]
        except ValidationError as refusal:
            raise ValidationError(refusal.messages) from refusal

    def clean_years(self) -> list[int]:
        """The years that were typed."""
        try:
            return years_in(self.cleaned_data["years"])
        except ValidationError as refusal:
            raise ValidationError(refusal.messages) from refusal


class ImportedDayInline(BaseInline):
    """The days that an import closes."""

    model = CalendarDay
    fk_name = "imported"
    fields = ("day", "name", "source")
    verbose_name = "holiday"
    verbose_name_plural = "holidays"


@admin.register(HolidayImport)
class HolidayImportAdmin(ActAdmin):
    """Imports of public holidays. A calendar goes by what was imported last, whatever the source says since."""

    form = HolidayForm
    deletable = True
    list_display = ("__str__", "calendar_link", "source", "source_version", "imported_at")
    list_filter = ("calendar", "country", "year")
    follows = ("calendar",)
    search_fields = ("country", "subdivision", "calendar__name")
    search_help_text = "A part of the code of a country or of a region, or of the calendar's name."
    autocomplete_fields = ("calendar",)
    ordering = ("-year", "calendar", "country", "subdivision")
    actions = ("import_anew",)
    calendar_link = shown("Calendar", lambda row: link_to(row.calendar), ordering="calendar__name")

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """What to import, or what was."""
        asked = ["calendar", "country", "subdivision"]
        said = ["years"] if obj is None else ["year", "source", "source_version", "imported_at"]
        return [(None, {"fields": [*asked, *said]})]

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        """The days, once there are some."""
        return [] if obj is None else [ImportedDayInline]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: it is imported anew."""
        return False

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Import the holidays, a row for each year; answers the first, which knows what is to be said of all."""
        told = form.cleaned_data
        answer = import_holidays(
            calendar_id=told["calendar"].pk,
            country=told["country"],
            subdivision=told["subdivision"],
            years=told["years"],
            now=now,
            actor=request.user,
        )
        first = answer.imports[0]
        vars(first)["told"] = f"{told['calendar']}: {answer}."
        return first

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Say of all years at once how many days there are, and where a person's own hours count; on to the list."""
        if IS_POPUP_VAR in request.POST:
            return super().response_add(request, obj, post_url_continue)
        self.message_user(request, obj.told, messages.SUCCESS)
        if "_addanother" in request.POST:
            return HttpResponseRedirect(request.get_full_path())
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
        return HttpResponseRedirect(reverse(name, current_app=self.admin_site.name))

    def delete_by_act(self, request: HttpRequest, rows: list[Any], now: datetime) -> None:
        """Forget imports with their days."""
        forget_holidays(import_ids=[row.pk for row in rows], now=now, actor=request.user)

    @admin.action(description="Import the selected holidays anew", permissions=["add"])
    def import_anew(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Take what the source says today."""
        ids = list(queryset.values_list("pk", flat=True))
        for answer in import_holidays_anew(import_ids=ids, now=timezone.now(), actor=request.user):
            self.message_user(request, f"{answer.imports[0].calendar}: {answer}.")


see_also(Calendar, HolidayImport, by("calendar"), "Imported holidays")
see_also(HolidayImport, CalendarDay, by("imported"), "Days")
