"""Refused items, which carry the day of their end."""

from __future__ import annotations

from datetime import datetime

from csplaybooks.accounts.acts.record import require_aware
from csplaybooks.signals.models import RefusedItem


def prune_refused_items(*, now: datetime, limit: int = 5000) -> int:
    """Delete refused items whose time has come, at most `limit`, those past it longest first; answers how many.

    One statement, so that it needs no transaction of its own. The counts of their batches stay.
    """
    require_aware(now=now)
    # In the order of the index of `expires_at`.
    past = RefusedItem.objects.filter(expires_at__lte=now).order_by("expires_at")
    deleted, _ = RefusedItem.objects.filter(pk__in=past.values("pk")[:limit]).delete()
    return int(deleted)
