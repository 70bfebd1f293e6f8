"""The stock admin of the stand-alone site, under our `AdminSite`."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class SiteAdminConfig(AdminConfig):
    """`django.contrib.admin`, with tables in the order of their use. A host keeps its own."""

    default_site = "csplaybooks.admin_site.SiteAdmin"
