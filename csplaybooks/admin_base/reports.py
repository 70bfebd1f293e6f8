"""Pages of a table that tell of many rows at once: reports. Its list links to them, and so does the page of its app."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse

from csplaybooks.admin_base.reader import read_by


class Reports:
    """Mix-in of a page: adds its `reports`, each a method of that name, and links to them.

    `reports` are names and headings. They are for whoever may look at the table, and at those that it `needs` besides.
    """

    reports: Mapping[str, str] = {}
    needs: Sequence[Any] = ()
    change_list_template: Any = "csplaybooks/admin/report_change_list.html"

    def get_urls(self) -> list[URLPattern]:
        """The addresses of the reports, before those of the table."""
        page: Any = self
        ours = [
            path(f"{name.replace('_', '-')}/", page.admin_site.admin_view(partial(self._report, name)), name=full)
            for name in self.reports
            for full in [self._address_name(name)]
        ]
        urls: list[URLPattern] = super().get_urls()  # type: ignore[misc]  # of the admin that it is mixed into
        return ours + urls

    def may_report(self, request: HttpRequest) -> bool:
        """Whether a person may read the reports."""
        page: Any = self
        others = (page.admin_site.get_model_admin(model) for model in self.needs)
        return all(each.has_view_or_change_permission(request) for each in (page, *others))

    def reports_for(self, request: HttpRequest) -> list[tuple[str, str]]:
        """Heading and address of each report that a person may read."""
        page: Any = self
        if not self.may_report(request):
            return []
        return [
            (heading, reverse(f"admin:{self._address_name(name)}", current_app=page.admin_site.name))
            for name, heading in self.reports.items()
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with links to the reports."""
        context = {**(extra_context or {}), "reports": self.reports_for(request)}
        response: HttpResponse = super().changelist_view(request, context)  # type: ignore[misc]  # as above
        return response

    def _address_name(self, name: str) -> str:
        page: Any = self
        return f"{page.opts.app_label}_{page.opts.model_name}_{name}"

    def _report(self, name: str, request: Any) -> HttpResponse:
        page: Any = self
        if not self.may_report(request):
            raise PermissionDenied
        request.current_app = page.admin_site.name
        return read_by(page.admin_site, request, partial(getattr(self, name), request))


def reports_among(pages: Iterable[Any], request: HttpRequest) -> list[tuple[str, str]]:
    """Heading and address of all reports of these pages that a person may read."""
    return [report for page in pages if isinstance(page, Reports) for report in page.reports_for(request)]
