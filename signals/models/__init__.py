"""The tables of the room `signals`."""

from __future__ import annotations

from csplaybooks.signals.models.events import Reading, Signal
from csplaybooks.signals.models.intake import IntakeBatch, RefusedItem
from csplaybooks.signals.models.kinds import Meter, SignalType, Source, Strength

__all__ = ["IntakeBatch", "Meter", "Reading", "RefusedItem", "Signal", "SignalType", "Source", "Strength"]
