"""The host's own signals in the admin."""

from __future__ import annotations

from django.contrib import admin

from signals.models import Signal

admin.site.register(Signal)
