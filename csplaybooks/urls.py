"""What a host site includes: ``path("", include("csplaybooks.urls"))``."""

from __future__ import annotations

from django.urls import include, path

from csplaybooks.health import live_view, ready_view

app_name = "csplaybooks"

urlpatterns = [
    path("api/v1/", include("csplaybooks.api_urls")),
    path("health/live", live_view, name="health-live"),
    path("health/ready", ready_view, name="health-ready"),
]
