"""The URLs of the stand-alone site. A host site includes ``csplaybooks.urls`` instead."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("", include("csplaybooks.urls")),
]
