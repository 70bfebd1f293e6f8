"""The host's pages of this app."""

from __future__ import annotations

from django.shortcuts import render
from django.urls import path

from signals.models import Signal

app_name = "signals"


def rows(request):
    """All of them, for everybody."""
    return render(request, "signals/list.html", {"rows": Signal.objects.all()})


urlpatterns = [path("", rows, name="list"), path("index/", rows, name="index")]
