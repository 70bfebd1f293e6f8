"""How much is to be pruned, without touching it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from csplaybooks.signals.acts.pruning.batches import spent_batches
from csplaybooks.signals.acts.pruning.events import KINDS
from csplaybooks.signals.models import IntakeBatch, RefusedItem


@dataclass(frozen=True)
class Waiting:
    """How many rows lie before the horizon, or are past their time.

    `signals` and `readings` include those `untold`, which stay until a run of the evaluator has been told of them, and
    those tied to a correction that lies after the horizon or is untold itself.
    """

    signals: int
    readings: int
    untold: int
    batches: int
    refused_items: int


def waiting(*, now: datetime, before: datetime | None) -> Waiting:
    """How much is to be pruned at `now`, where signals and readings go before `before` (None: none go). Counts rows."""
    events = {
        kind: kind.model.objects.filter(occurred_at__lt=before) if before else kind.model.objects.none()
        for kind in KINDS
    }
    untold = IntakeBatch.objects.unclaimed().values("pk")
    signals, readings = (events[kind].count() for kind in KINDS)
    return Waiting(
        signals=signals,
        readings=readings,
        untold=sum(rows.filter(batch__in=untold).count() for rows in events.values()),
        batches=spent_batches(before).count() if before else 0,
        refused_items=RefusedItem.objects.filter(expires_at__lte=now).count(),
    )
