"""The site's URLs, and the plain view."""

from __future__ import annotations

from django.urls import include, path

from bench.plain import PlainSignals

urlpatterns = [
    path("", include("csplaybooks.site_urls")),
    path("plain/signals/", PlainSignals.as_view()),
    path("plain/signals/bulk/", PlainSignals.as_view(in_bulk=True)),
]
