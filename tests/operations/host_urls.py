"""The URLs of a host that puts the plugin below a prefix of its own."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("growth/", include("csplaybooks.urls"))]
