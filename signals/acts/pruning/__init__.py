"""What is forgotten in time: rolled up by day where it counts, and deleted, in batches of one short transaction."""

from __future__ import annotations

from csplaybooks.signals.acts.pruning.batches import prune_batches
from csplaybooks.signals.acts.pruning.events import PrunedEvents, prune_events
from csplaybooks.signals.acts.pruning.refused import prune_refused_items
from csplaybooks.signals.acts.pruning.waiting import Waiting, waiting

__all__ = ["PrunedEvents", "Waiting", "prune_batches", "prune_events", "prune_refused_items", "waiting"]
