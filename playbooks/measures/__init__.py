"""The registry of measures. A host adds its own with `register`, before its first document is read."""

from __future__ import annotations

from csplaybooks.playbooks.measures.base import Compiled, Known, Measure, Moment
from csplaybooks.playbooks.measures.readings import AmountOverLimit, ShareOfLimit
from csplaybooks.playbooks.measures.relationships import ChampionChanged, OpenGap
from csplaybooks.playbooks.measures.signals import SignalCount

__all__ = [
    "AmountOverLimit",
    "ChampionChanged",
    "Compiled",
    "Known",
    "Measure",
    "Moment",
    "OpenGap",
    "ShareOfLimit",
    "SignalCount",
    "get_measure",
    "measures",
    "register",
]

_registry: dict[str, Measure] = {}


def register(measure: type[Measure]) -> type[Measure]:
    """Add a measure to the registry; usable as a class decorator. A key is taken once."""
    if measure.key in _registry:
        raise ValueError(f"a measure with the key {measure.key!r} is registered already")
    _registry[measure.key] = measure()
    return measure


def get_measure(key: str) -> Measure:
    """The measure with this key; KeyError where there is none."""
    return _registry[key]


def measures() -> dict[str, Measure]:
    """All measures by key, in the order they were registered."""
    return dict(_registry)


for _measure in (SignalCount, ShareOfLimit, AmountOverLimit, OpenGap, ChampionChanged):
    register(_measure)
