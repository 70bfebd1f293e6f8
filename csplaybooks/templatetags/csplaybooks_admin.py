"""What the templates of the admin ask for."""

from __future__ import annotations

from typing import Any

from django import template
from django.contrib import admin
from django.urls import reverse
from django.utils.text import capfirst

from csplaybooks.admin_base import pages_of, reports_among
from csplaybooks.conf import csplaybooks_settings

register = template.Library()


@register.simple_tag(takes_context=True)
def csplaybooks_more_tables(context: template.Context, app_label: str) -> list[tuple[str, str]]:
    """Name and address of the lists of an app that the front page leaves out and that the person may look at."""
    request: Any = context["request"]
    site = _site_of(request)
    return sorted(
        (
            capfirst(str(page.opts.verbose_name_plural)),
            reverse(f"admin:{app_label}_{page.opts.model_name}_changelist", current_app=site.name),
        )
        for page in pages_of(site, app_label)
        if not page.is_listed(request) and page.has_view_permission(request)
    )


@register.simple_tag(takes_context=True)
def csplaybooks_reports(context: template.Context, app_label: str) -> list[tuple[str, str]]:
    """Heading and address of the reports of an app that the person may read."""
    request: Any = context["request"]
    return reports_among(pages_of(_site_of(request), app_label), request)


@register.simple_tag
def csplaybooks_company_zone() -> str:
    """The company's time zone, an IANA name."""
    return csplaybooks_settings.TIME_ZONE


def _site_of(request: Any) -> admin.AdminSite:
    """The admin site in which the page is."""
    name = request.resolver_match.namespace
    return next((each for each in admin.sites.all_sites if each.name == name), admin.site)
