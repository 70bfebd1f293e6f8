"""Whose hours calendars are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest

from csplaybooks.accounts.admin.record import story_of
from csplaybooks.accounts.admin.table import TableAdmin
from csplaybooks.accounts.models import TeamMember
from csplaybooks.admin_base import OPENED_VERSION, VersionedForm, by, link_to, see_also, shown
from csplaybooks.playbooks.acts.calendar_uses import (
    USES,
    change_calendar_use,
    delete_calendar_uses,
    is_region,
    make_calendar_use,
)
from csplaybooks.playbooks.models import Calendar, CalendarUse


class CalendarUseForm(VersionedForm):
    """A calendar, and whose it is."""

    class Meta:
        model = CalendarUse
        fields = ("calendar", "member", "team", "region")

    def _get_validation_exclusions(self) -> set[str]:
        """That there is one for this member, team or region the act refuses: it names the calendar that they have."""
        # The stubs leave out what Django's documentation does.
        return {*super()._get_validation_exclusions(), "member", "team", "region"}  # type: ignore[misc]


@admin.register(CalendarUse)
class CalendarUseAdmin(TableAdmin):
    """Whose hours a calendar is: a member's, a team's or those of a region's accounts. Promises follow an edit."""

    table = USES
    form = CalendarUseForm
    list_display = ("__str__", "calendar_link", "member_link", "team_link", "region")
    list_filter = ("calendar",)
    follows = ("calendar", "member", "team")
    search_fields = ("member__name", "team__name", "region", "calendar__name")
    search_help_text = "A part of the member's, the manager's, the region's or the calendar's name."
    autocomplete_fields = ("calendar", "member", "team")
    fields = ("calendar", "member", "team", "region")
    calendar_link = shown("Calendar", lambda use: link_to(use.calendar), ordering="calendar__name")
    member_link = shown("Member", lambda use: link_to(use.member), ordering="member__name")
    team_link = shown("Team of", lambda use: link_to(use.team), ordering="team__name")

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Say whose hours the calendar is."""
        use = make_calendar_use(values=self.values(form), now=now, actor=request.user)
        self._warn(request, use)
        return use

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Say whose hours it is instead."""
        use = change_calendar_use(
            use_id=form.instance.pk,
            values=self.values(form),
            expected_version=form.cleaned_data[OPENED_VERSION],
            now=now,
            actor=request.user,
        )
        self._warn(request, use)
        return use

    def _warn(self, request: HttpRequest, use: CalendarUse) -> None:
        """Say so where no account is of the region: it may be misspelt, or the accounts are still to come."""
        if use.region and not is_region(use.region):
            said = f"No account is of the region {use.region}: this counts for none until one is."
            self.message_user(request, said, messages.WARNING)

    def delete_by_act(self, request: HttpRequest, rows: list[Any], now: datetime) -> None:
        """Take calendars away; nearer or wider ones count instead."""
        delete_calendar_uses(use_ids=[row.pk for row in rows], now=now, actor=request.user)


see_also(Calendar, CalendarUse, by("calendar"), "Whose hours it is")
see_also(TeamMember, CalendarUse, by("member"), "Working hours")
see_also(TeamMember, CalendarUse, by("team"), "Working hours of their team")
story_of(CalendarUse)
