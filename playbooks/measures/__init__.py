"""The registry of measures. A host adds its own with `register`, from an app's `ready()`."""

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
    """Add a measure to the registry; usable as a class decorator. Call it in every process of the site.

    Raises ValueError for a key that is taken.
    """
    if measure.key in _registry:
        raise ValueError(f"a measure with the key {measure.key!r} is registered already")
    _registry[measure.key] = measure()
    return measure


def get_measure(key: str) -> Measure:
    """The measure with this key. Raises KeyError where none is registered, which stands in the run's errors."""
    try:
        return _registry[key]
    except KeyError:
        raise KeyError(f"no measure {key} is registered: register it in every process of the site") from None


def measures() -> dict[str, Measure]:
    """All measures by key, in the order they were registered."""
    return dict(_registry)


for _measure in (SignalCount, ShareOfLimit, AmountOverLimit, OpenGap, ChampionChanged):
    register(_measure)
