"""What a host site includes: ``path("", include("csplaybooks.urls"))``."""

from __future__ import annotations

from django.urls import include, path

app_name = "csplaybooks"

urlpatterns = [
    path("api/v1/", include("csplaybooks.api_urls")),
]
