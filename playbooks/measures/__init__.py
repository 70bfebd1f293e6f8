"""The registry of measures. A host adds its own with `register`, from an app's `ready()`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from django.db.models import Q

from csplaybooks.playbooks.measures.base import Compiled, Known, Measure, Moment
from csplaybooks.playbooks.measures.catalogue import NewArea, NextTierTouched, UnheldFeatures
from csplaybooks.playbooks.measures.dates import DaysToRenewal, Season, Tenure, TimeToFirstValue
from csplaybooks.playbooks.measures.facts import HeadCount, InSegment, Tagged
from csplaybooks.playbooks.measures.holdings import PlanHeld, ProductHeld
from csplaybooks.playbooks.measures.levels import LevelChange
from csplaybooks.playbooks.measures.readiness import Readiness
from csplaybooks.playbooks.measures.readings import AmountOverLimit, Level, ShareOfLimit
from csplaybooks.playbooks.measures.relationships import ChampionChanged, FindingKnown, OpenGap
from csplaybooks.playbooks.measures.signals import DaysSince, DistinctCount, SignalCount, SignalGrowth

__all__ = [
    "AmountOverLimit",
    "ChampionChanged",
    "Compiled",
    "DaysSince",
    "DaysToRenewal",
    "DistinctCount",
    "FindingKnown",
    "HeadCount",
    "InSegment",
    "Known",
    "Level",
    "LevelChange",
    "Measure",
    "Moment",
    "NewArea",
    "NextTierTouched",
    "OpenGap",
    "PlanHeld",
    "ProductHeld",
    "Readiness",
    "Season",
    "ShareOfLimit",
    "SignalCount",
    "SignalGrowth",
    "Tagged",
    "Tenure",
    "TimeToFirstValue",
    "UnheldFeatures",
    "compile_group",
    "get_measure",
    "measures",
    "register",
    "uses_catalogue",
    "uses_readiness",
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


def compile_group(group: Mapping[str, Any], moment: Moment) -> Iterator[tuple[Mapping[str, Any], Compiled]]:
    """The conditions of a group in their order, each with its settings.

    Each after the first narrow one knows of that one, and may ask of nobody else: all of a group must hold. Of no more
    than one, or the text of the query would double with each.
    """
    among: Q | None = None
    for settings in group["all"]:
        measure = get_measure(settings["measure"])
        compiled = measure.compile(settings, replace(moment, among=among))
        yield settings, compiled
        if among is None and measure.narrow:
            among = Q(compiled.holds)


def measures() -> dict[str, Measure]:
    """All measures by key, in the order they were registered."""
    return dict(_registry)


def uses_catalogue(definition: Mapping[str, Any]) -> bool:
    """Whether a trigger asks about plans and features, which a run then has to keep.

    A measure that is not registered asks for nothing: its trigger cannot be evaluated anyway.
    """
    return any(measure.uses_catalogue for measure in _asked(definition))


def uses_readiness(definition: Mapping[str, Any]) -> bool:
    """Whether a trigger asks for readiness scores, whose weights a run then has to keep. As above."""
    return any(measure.uses_readiness for measure in _asked(definition))


def _asked(definition: Mapping[str, Any]) -> list[Measure]:
    keys = {condition["measure"] for group in definition["any"] for condition in group["all"]}
    return [measure for key, measure in _registry.items() if key in keys]


for _measure in (
    *(SignalCount, DistinctCount, SignalGrowth, DaysSince),
    *(ShareOfLimit, AmountOverLimit, Level, LevelChange),
    *(OpenGap, FindingKnown, ChampionChanged),
    *(Tenure, DaysToRenewal, TimeToFirstValue, Season),
    *(HeadCount, InSegment, Tagged, PlanHeld, ProductHeld),
    *(NextTierTouched, UnheldFeatures, NewArea),
    Readiness,
):
    register(_measure)
