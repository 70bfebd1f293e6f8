"""The admin site of the stand-alone site: what is used most stands first."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

#: Our apps and their tables in the order of their use; what is not named follows by its name.
ORDER: dict[str, tuple[str, ...]] = {
    "csplaybooks_playbooks": (
        *("Play", "Handoff", "MailDraft", "Touch", "Clock", "Notice", "Match", "Playbook"),
        *("Calendar", "CalendarUse", "HolidayImport", "NoticeSettings", "Suppression", "Delivery", "Run"),
    ),
    "csplaybooks_accounts": (
        *("Account", "Champion", "Qbr", "Finding", "Entitlement", "TimelineEntry", "Movement"),
        *("TeamMember", "Absence", "Product", "Plan", "Feature", "ApiToken"),
    ),
    "csplaybooks_signals": (
        *("Signal", "Reading", "SignalType", "Meter", "ReadinessWeights"),
        *("IntakeBatch", "RefusedItem"),
    ),
}


def _rank(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else len(names)


class SiteAdmin(admin.AdminSite):
    """The stock admin with its front page and menu in the order of use."""

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The apps and tables that the person may see, ours first."""
        apps: list[Any] = super().get_app_list(request, app_label)
        for app in apps:
            # Sorting keeps the order by name where neither is named.
            names = ORDER.get(app["app_label"], ())
            app["models"].sort(key=lambda table, names=names: _rank(names, table["object_name"]))
        return sorted(apps, key=lambda app: _rank(tuple(ORDER), app["app_label"]))
