"""The tables of the room `signals`."""

from __future__ import annotations

from csplaybooks.signals.models.events import Reading, Signal
from csplaybooks.signals.models.intake import IntakeBatch, RefusedItem
from csplaybooks.signals.models.kinds import Meter, SignalType, Source, Strength
from csplaybooks.signals.models.readiness import ReadinessWeights, ScoreSnapshot
from csplaybooks.signals.models.retention import IntakeDay, PrunedDay, ReadingDay, SignalDay

__all__ = [
    "IntakeBatch",
    "IntakeDay",
    "Meter",
    "PrunedDay",
    "ReadinessWeights",
    "Reading",
    "ReadingDay",
    "RefusedItem",
    "ScoreSnapshot",
    "Signal",
    "SignalDay",
    "SignalType",
    "Source",
    "Strength",
]
