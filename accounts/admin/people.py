"""The vendor's own people."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from csplaybooks.accounts.models import Absence, TeamMember
from csplaybooks.accounts.visibility import scope_of
from csplaybooks.admin_base import BaseAdmin, BaseInline, VersionedAdmin

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


class AbsenceInline(BaseInline):
    """When a member is away; more can be added."""

    model = Absence
    fk_name = "member"
    addable = True
    follows = ("member", "stand_in")
    fields = ("first_day", "last_day", "stand_in")


@admin.register(TeamMember)
class TeamMemberAdmin(VersionedAdmin):
    """Team members. What decides who sees what is changed only by those who see everything."""

    list_display = (
        "name",
        "email",
        "is_customer_success_manager",
        "is_account_executive",
        "is_manager",
        "is_digital_desk",
        "open_play_cap",
        "manager",
        "is_active",
    )
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
        ("Work", {"fields": ("takes_pool_work", "open_play_cap")}),
    )
    inlines = (AbsenceInline,)
    deletable = True

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


@admin.register(Absence)
class AbsenceAdmin(BaseAdmin):
    """Days on which members are away, and who stands in."""

    list_display = ("member", "first_day", "last_day", "stand_in")
    list_filter = ("member",)
    follows = ("member", "stand_in")
    fields = ("member", "first_day", "last_day", "stand_in")
    deletable = True
