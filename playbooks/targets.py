"""The targets of a playbook document: what is promised, of which plays, and in which hours.

Versions that were published before a key came to be lack it: what reads a target falls back to what the key leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from csplaybooks.accounts.models import Segment
from csplaybooks.playbooks.models import Clock, Route

#: An offer that nobody answers lapses after this many hours, of the target's own kind.
LAPSE_AFTER_HOURS = 40

#: What is promised of an offer where the playbook says nothing of it: accepted within a working day, and over after a
#: week of them.
OFFER: Mapping[str, Any] = MappingProxyType(
    {
        "target": Clock.Target.HANDOFF_ACCEPTED.value,
        "hours": 8,
        "counting": Clock.Hours.WORKING.value,
        "warn_percents": (50, 80),
        "escalate_after_hours": (0, 8),
        "lapse_after_hours": LAPSE_AFTER_HOURS,
    }
)

#: What a play's segment may be; empty where nothing was known of the account when it opened.
_SEGMENTS = frozenset({"", *Segment.values})

#: The part of the document's JSON schema.
TARGETS_SCHEMA: Mapping[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": 10,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["target", "hours"],
        "properties": {
            "target": {"enum": list(Clock.Target.values)},
            "hours": {"type": "number", "minimum": 0, "maximum": 20_000},
            "counting": {"enum": list(Clock.Hours.values)},
            "calendar": {"type": "string", "minLength": 1, "maxLength": 100},
            "routes": {"type": "array", "items": {"enum": list(Route.values)}, "minItems": 1},
            "segments": {"type": "array", "items": {"enum": list(Segment.values)}, "minItems": 1, "uniqueItems": True},
            "warn_percents": {
                "type": "array",
                "maxItems": 5,
                "uniqueItems": True,
                "items": {"type": "integer", "minimum": 1, "maximum": 99},
            },
            "escalate_after_hours": {
                "type": "array",
                "maxItems": 5,
                "items": {"type": "number", "minimum": 0, "maximum": 1000},
            },
            "lapse_after_hours": {"type": "number", "exclusiveMinimum": 0, "maximum": 20_000},
        },
    },
}


def fill_in_targets(targets: Iterable[dict[str, Any]]) -> None:
    """Write what targets leave out into them: their hours, warnings and ladder, and when an offer lapses."""
    for target in targets:
        target.setdefault("counting", Clock.Hours.WORKING.value)
        target.setdefault("warn_percents", [50, 80])
        target.setdefault("escalate_after_hours", [0, 8])
        if target["target"] == Clock.Target.HANDOFF_ACCEPTED:
            target.setdefault("lapse_after_hours", max(LAPSE_AFTER_HOURS, target["hours"]))


def target_errors(targets: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """What the schema cannot say: the path of each target at fault, and what is wrong with it."""
    if all(target["target"] == Clock.Target.HANDOFF_ACCEPTED for target in targets):
        yield "targets", "promise a first touch or a close too: most plays are never offered"
    for index, target in enumerate(targets):
        name = target["target"]
        if any(name == earlier["target"] and _overlap(earlier, target) for earlier in targets[:index]):
            yield f"targets/{index}", f"the target {name} stands twice for one route and segment"
        if "calendar" in target and target["counting"] == Clock.Hours.WALL:
            yield f"targets/{index}/calendar", "where every hour counts (wall) no calendar does: leave one of them out"
        lapses = target.get("lapse_after_hours")
        if lapses is None:
            continue
        if name != Clock.Target.HANDOFF_ACCEPTED:
            yield f"targets/{index}/lapse_after_hours", "only an offer lapses: this belongs to handoff_accepted"
        elif lapses < target["hours"]:
            yield f"targets/{index}/lapse_after_hours", "an offer cannot lapse before it was to be accepted"


def _routes(target: Mapping[str, Any]) -> set[str]:
    return set(target.get("routes", Route.values))


def _segments(target: Mapping[str, Any]) -> set[str]:
    return set(target.get("segments", _SEGMENTS))


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether there are plays for which both would promise."""
    return bool(_routes(one) & _routes(other) and _segments(one) & _segments(other))


def calendars_named(targets: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The keys of the calendars that targets name, each with the first path that does."""
    named: dict[str, str] = {}
    for index, target in enumerate(targets):
        if "calendar" in target:
            named.setdefault(target["calendar"], f"targets/{index}/calendar")
    return named


def targets_for(document: Mapping[str, Any], route: str, segment: str) -> list[Mapping[str, Any]]:
    """The targets that a playbook promises once a play of a route and segment is owned."""
    return [t for t in _fitting(document, route, segment) if t["target"] != Clock.Target.HANDOFF_ACCEPTED]


def offer_target(document: Mapping[str, Any], route: str, segment: str) -> Mapping[str, Any]:
    """What is promised of an offer of a play of a route and segment: what the playbook says of it, or `OFFER`."""
    said = (t for t in _fitting(document, route, segment) if t["target"] == Clock.Target.HANDOFF_ACCEPTED)
    return next(said, OFFER)


def _fitting(document: Mapping[str, Any], route: str, segment: str) -> list[Mapping[str, Any]]:
    return [target for target in document["targets"] if route in _routes(target) and segment in _segments(target)]
