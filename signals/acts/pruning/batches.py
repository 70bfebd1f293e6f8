"""Intake batches that hold nothing any more."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import TruncDate

from csplaybooks.accounts.acts.record import require_aware
from csplaybooks.conf import company_time_zone
from csplaybooks.signals.acts.pruning.sums import add_up, delete_these, sql_of, these
from csplaybooks.signals.models import IntakeBatch, IntakeDay, RefusedItem

_COUNTS = ("received", "stored", "duplicate", "conflict", "refused")


def spent_batches(before: datetime) -> QuerySet[IntakeBatch]:
    """Batches that came in before a moment, that a run has claimed, and whose rows and refused items are all gone."""
    refused = RefusedItem.objects.filter(batch=OuterRef("pk"))
    spent: QuerySet[IntakeBatch] = IntakeBatch.objects.filter(
        ~Exists(refused), pruned=F("stored"), recorded_at__lt=before, seen_by_run__isnull=False
    ).order_by("recorded_at")
    return spent


def prune_batches(*, before: datetime, limit: int = 5000) -> int:
    """Roll up by day and delete at most `limit` spent batches that came in before a moment, the oldest first.

    Answers how many. One transaction, safe to be killed and to be called again; of two at once on the same batches
    the second raises Outrun and has done nothing.
    """
    require_aware(before=before)
    with transaction.atomic():
        ids = list(spent_batches(before).values_list("pk", flat=True)[:limit])
        if not ids:
            return 0
        rows = these(IntakeBatch, ids).annotate(day=TruncDate("recorded_at", tzinfo=company_time_zone()))
        values = {"day": "day", "kind": "kind", "batches": "COUNT(*)"} | {name: f"SUM({name})" for name in _COUNTS}
        add_up(IntakeDay, values, sql_of(rows.values("day", "kind", *_COUNTS)), keys=("day", "kind"))
        delete_these(IntakeBatch, ids)
    return len(ids)
