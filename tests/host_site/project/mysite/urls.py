"""The host's URLs, before the plugin. Its namespaces and names are those that the plugin's have inside theirs."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.static import serve

from mysite.views import HostView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/", include("accounts.urls")),
    path("signals/", include("signals.urls")),
    path("api/v1/", include(([path("signals/", HostView.as_view(), name="signals")], "api"))),
    # As a web server in front would.
    path("assets/<path:path>", serve, {"document_root": settings.STATIC_ROOT}),
]
