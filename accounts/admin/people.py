"""The vendor's own people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from csplaybooks.accounts.acts.members import ABSENCES, MEMBERS, add_absence, add_member, change_member, delete_members
from csplaybooks.accounts.admin.record import story_of
from csplaybooks.accounts.admin.table import TableAdmin
from csplaybooks.accounts.models import Absence, TeamMember
from csplaybooks.accounts.visibility import scope_of
from csplaybooks.admin_base import OPENED_VERSION, BaseInline, added_in, by, see_also, shown

#: What decides who sees what.
_SIGHT = (
    "user",
    "manager",
    "is_customer_success_manager",
    "is_account_executive",
    "is_manager",
    "is_digital_desk",
    "is_active",
)


#: The roles of a member in few words.
_ROLES = (
    ("is_customer_success_manager", "CSM"),
    ("is_account_executive", "AE"),
    ("is_manager", "manager"),
    ("is_digital_desk", "digital desk"),
)


class AbsenceInline(BaseInline):
    """When a member is away; more can be added."""

    model = Absence
    fk_name = "member"
    addable = True
    follows = ("member", "stand_in")
    fields = ("first_day", "last_day", "stand_in")


@admin.register(TeamMember)
class TeamMemberAdmin(TableAdmin):
    """Team members. What decides who sees what is changed only by those who see everything."""

    table = MEMBERS
    list_display = ("name", "roles", "manager", "cap", "is_active")
    list_filter = (
        "is_active",
        "is_customer_success_manager",
        "is_account_executive",
        "is_manager",
        "is_digital_desk",
        "manager",
    )
    follows = ("manager",)
    search_fields = ("name", "email")
    search_help_text = "A part of the name or of the e-mail address."
    autocomplete_fields = ("manager",)
    cap = shown("Cap", lambda member: member.open_play_cap, ordering="open_play_cap")
    roles = shown("Roles", lambda member: ", ".join(words for field, words in _ROLES if getattr(member, field)))
    # The host's users are none of ours to list.
    raw_id_fields = ("user",)
    fieldsets = (
        (None, {"fields": ("name", "email", "user", "is_active")}),
        (
            "Roles",
            {
                "fields": (
                    "is_customer_success_manager",
                    "is_account_executive",
                    "is_manager",
                    "is_digital_desk",
                    "manager",
                )
            },
        ),
        ("Work", {"fields": ("takes_pool_work", "open_play_cap", "zone")}),
    )
    inlines = (AbsenceInline,)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whether members may be added: only by those who see everything."""
        return super().has_add_permission(request) and scope_of(request.user).everything

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether members may be deleted: only by those who see everything."""
        return super().has_delete_permission(request, obj) and scope_of(request.user).everything

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What decides who sees what, for those who do not see everything."""
        readonly = super().get_readonly_fields(request, obj)
        return readonly if scope_of(request.user).everything else (*readonly, *_SIGHT)

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Add the member, whose user comes into the groups of their roles, with the days on which they are away."""
        member = add_member(values=self.values(form), now=now, actor=request.user)
        self._add_absences(request, member, formsets, now)
        return member

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Change the member, and add the days on which they are away."""
        member = change_member(
            member_id=form.instance.pk,
            values=self.values(form),
            expected_version=form.cleaned_data[OPENED_VERSION],
            now=now,
            actor=request.user,
        )
        self._add_absences(request, member, formsets, now)
        return member

    def delete_by_act(self, request: HttpRequest, rows: list[Any], now: datetime) -> None:
        """Delete members; their users go out of the groups of the team's roles."""
        delete_members(member_ids=[row.pk for row in rows], now=now, actor=request.user)

    def _add_absences(self, request: HttpRequest, member: TeamMember, formsets: list[Any], now: datetime) -> None:
        for row in added_in(formsets, Absence):
            days = {name: row[name] for name in ("first_day", "last_day", "stand_in")}
            add_absence(values={"member": member, **days}, now=now, actor=request.user)


@admin.register(Absence)
class AbsenceAdmin(TableAdmin):
    """Days on which members are away, and who stands in."""

    table = ABSENCES
    list_display = ("member", "first_day", "last_day", "stand_in")
    list_filter = ("member",)
    date_hierarchy = "first_day"
    ordering = ("-first_day", "-pk")
    follows = ("member", "stand_in")
    search_fields = ("member__name", "stand_in__name")
    search_help_text = "A part of the member's or the stand-in's name."
    autocomplete_fields = ("member", "stand_in")
    fields = ("member", "first_day", "last_day", "stand_in")


see_also(TeamMember, TeamMember, by("manager"), "Whom they lead")
see_also(TeamMember, Absence, by("member"))
story_of(TeamMember)
story_of(Absence)
