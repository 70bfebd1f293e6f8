"""The targets of a playbook document: what is promised, of what, and in which hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from csplaybooks.playbooks.models import Clock, Route

#: An offer that nobody answers lapses after this many hours, of the target's own kind.
LAPSE_AFTER_HOURS = 40

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
            "routes": {"type": "array", "items": {"enum": list(Route.values)}, "minItems": 1},
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
    promised = [(target["target"], set(target.get("routes", Route.values))) for target in targets]
    for index, (target, routes) in enumerate(promised):
        if any(target == other and routes & others for other, others in promised[:index]):
            yield f"targets/{index}", f"the target {target} stands twice for one route"
        lapses = targets[index].get("lapse_after_hours")
        if lapses is None:
            continue
        if target != Clock.Target.HANDOFF_ACCEPTED:
            yield f"targets/{index}/lapse_after_hours", "only an offer lapses: this belongs to handoff_accepted"
        elif lapses < targets[index]["hours"]:
            yield f"targets/{index}/lapse_after_hours", "an offer cannot lapse before it was to be accepted"
