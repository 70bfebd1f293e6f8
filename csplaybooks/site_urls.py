"""The URLs of the stand-alone site. A host site includes ``csplaybooks.urls`` instead."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

# Only here: the admin of a host keeps its own name.
admin.site.site_header = admin.site.site_title = "csplaybooks"

handler500 = "csplaybooks.site_errors.server_error"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("", include("csplaybooks.urls")),
]
