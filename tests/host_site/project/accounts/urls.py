"""The host's pages of this app."""

from __future__ import annotations

from django.shortcuts import render
from django.urls import path

from accounts.models import Account

app_name = "accounts"


def rows(request):
    """All of them, for everybody."""
    return render(request, "accounts/list.html", {"rows": Account.objects.all()})


urlpatterns = [path("", rows, name="list"), path("index/", rows, name="index")]
