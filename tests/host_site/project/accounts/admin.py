"""The host's own accounts in the admin."""

from __future__ import annotations

from django.contrib import admin

from accounts.models import Account

admin.site.register(Account)
