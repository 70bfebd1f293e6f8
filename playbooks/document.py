"""The playbook document: what a playbook is, read from YAML and checked against a JSON schema.

The YAML file, the draft in the admin and the published version are the same document. `read_document` checks it
and fills in what was left out, so that the code that works with a published version meets whole documents only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from csplaybooks.accounts.documents import KEY, MAX_CHARACTERS, MAX_ERRORS, DocumentError, check_schema, read_yaml
from csplaybooks.accounts.models import Lifecycle, Motion, Segment
from csplaybooks.playbooks.close_rates import EXPECTED_CLOSE_SCHEMA, expected_close
from csplaybooks.playbooks.guards import guards
from csplaybooks.playbooks.measures import measures
from csplaybooks.playbooks.measures.base import comparison, threshold
from csplaybooks.playbooks.measures.facts import TAGS
from csplaybooks.playbooks.measures.strengths import weak_groups
from csplaybooks.playbooks.prompt_texts import PROMPT_SCHEMA, fill_in_prompt, prompt_errors
from csplaybooks.playbooks.route_rules import ROUTES_SCHEMA, fill_in_routes, route_errors
from csplaybooks.playbooks.step_texts import STEPS_SCHEMA, features_named, fill_in_steps, step_errors
from csplaybooks.playbooks.targets import TARGETS_SCHEMA, calendars_named, fill_in_targets, target_errors
from csplaybooks.signals.models import Strength

__all__ = [
    "MAX_CHARACTERS",
    "MAX_ERRORS",
    "DocumentError",
    "NamesUsed",
    "document_schema",
    "names_used",
    "read_document",
]

#: For so many days a match waits for room where its playbook says nothing.
QUEUE_DAYS = 14

_PROSE = {"type": "string", "maxLength": 10_000}
_MINOR = {"type": "integer", "minimum": 0, "maximum": 10**12}


def document_schema() -> dict[str, Any]:
    """The JSON schema of a playbook document, with every registered measure and guard."""
    segments = {"type": "array", "items": {"enum": list(Segment.values)}, "minItems": 1, "uniqueItems": True}
    condition = {
        "type": "object",
        "required": ["measure"],
        "properties": {"measure": {"enum": list(measures())}},
        # Chosen by the measure's key, so that an error speaks of the measure that was meant.
        "allOf": [
            {
                "if": {"type": "object", "properties": {"measure": {"const": key}}, "required": ["measure"]},
                "then": measure.schema(),
            }
            for key, measure in measures().items()
        ],
    }
    amount_rules: dict[str, dict[str, Any]] = {
        "seats_over": {
            "meters": {
                "type": "array",
                "items": {"type": "string", "minLength": 1},
                "minItems": 1,
                "maxItems": 10,
                "uniqueItems": True,
            },
            "target_percent": {"type": "integer", "minimum": 1, "maximum": 100},
            "bands": {
                "type": "array",
                "maxItems": 20,
                "items": {
                    "type": "object",
                    "properties": {
                        "from_seats": {"type": "integer", "minimum": 1},
                        "discount_percent": {"type": "integer", "minimum": 0, "maximum": 100},
                    },
                    "required": ["from_seats", "discount_percent"],
                    "additionalProperties": False,
                },
            },
        },
        "next_plan": {},
        "list_price": {"product": {"type": "string", "minLength": 1}},
        "share_of_mrr": {"percent": {"type": "integer", "minimum": 1, "maximum": 1000}},
        "fixed": {"amount_minor": _MINOR},
        "unknown": {},
    }
    needs = {"seats_over": ["meters"], "share_of_mrr": ["percent"], "fixed": ["amount_minor"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "csplaybooks playbook",
        "type": "object",
        "additionalProperties": False,
        "required": ["key", "name", "motion", "triggers", "routes", "targets"],
        "properties": {
            "key": KEY,
            "name": {"type": "string", "minLength": 1, "maxLength": 200},
            "motion": {"enum": list(Motion.values)},
            "summary": _PROSE,
            "audience": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "segments": segments,
                    "lifecycles": {"type": "array", "items": {"enum": list(Lifecycle.values)}, "minItems": 1},
                    "regions": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                    "plans": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                    "tags": dict(TAGS),
                },
            },
            "triggers": {
                "type": "array",
                "minItems": 1,
                "maxItems": 20,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["key", "any"],
                    "properties": {
                        "key": KEY,
                        "name": {"type": "string", "minLength": 1, "maxLength": 200},
                        "strength": {"enum": list(Strength.values)},
                        "cooldown_days": {"type": "integer", "minimum": 0, "maximum": 3650},
                        "any": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 10,
                            "items": {
                                "type": "object",
                                "additionalProperties": False,
                                "required": ["all"],
                                "properties": {
                                    "all": {"type": "array", "minItems": 1, "maxItems": 10, "items": condition}
                                },
                            },
                        },
                    },
                },
            },
            "guards": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    guard.key: (
                        {"if": {"type": "string"}, "then": {"const": "off"}, "else": guard.schema()}
                        if guard.can_be_off
                        else guard.schema()
                    )
                    for guard in guards()
                },
            },
            "amount": {
                "type": "object",
                "required": ["rule"],
                "properties": {"rule": {"enum": list(amount_rules)}},
                "allOf": [
                    {
                        "if": {"type": "object", "properties": {"rule": {"const": rule}}, "required": ["rule"]},
                        "then": {
                            "properties": {"rule": {}, **settings},
                            "required": needs.get(rule, []),
                            "additionalProperties": False,
                        },
                    }
                    for rule, settings in amount_rules.items()
                ],
            },
            "routes": dict(ROUTES_SCHEMA),
            "expires_days": {"type": "integer", "minimum": 1, "maximum": 730},
            "queue_days": {"type": "integer", "minimum": 1, "maximum": 365},
            "expected_close": EXPECTED_CLOSE_SCHEMA,
            "targets": TARGETS_SCHEMA,
            "steps": dict(STEPS_SCHEMA),
            "prompt": PROMPT_SCHEMA,
            "talk_track": _PROSE,
        },
    }


def read_document(text: str) -> dict[str, Any]:
    """Read and check a playbook document; answer it with everything that was left out filled in.

    Raises `DocumentError`, which names each place by its path. Whether the signal types, meters and products that a
    document names exist is asked when it is published: see `names_used`.
    """
    document = read_yaml(text, of="a playbook")
    check_schema(document, document_schema())
    _fill(document)
    if errors := list(_rule_errors(document)):
        raise DocumentError(errors)
    return document


def _fill(document: dict[str, Any]) -> None:
    document.setdefault("summary", "")
    document.setdefault("audience", {})
    document.setdefault("amount", {"rule": "unknown"})
    document.setdefault("expires_days", 90)
    document.setdefault("queue_days", QUEUE_DAYS)
    document.setdefault("expected_close", expected_close(document["motion"]))
    document.setdefault("steps", [])
    document.setdefault("talk_track", "")
    for trigger in document["triggers"]:
        trigger.setdefault("name", trigger["key"].replace("_", " ").capitalize())
        trigger.setdefault("strength", Strength.STRONG.value)
        trigger.setdefault("cooldown_days", 30)
    given = document.setdefault("guards", {})
    document["guards"] = {
        guard.key: "off" if given.get(guard.key) == "off" else {**guard.defaults, **given.get(guard.key, {})}
        for guard in guards()
    }
    fill_in_routes(document["routes"])
    fill_in_targets(document["targets"])
    fill_in_steps(document["steps"])
    if "prompt" in document:
        fill_in_prompt(document["prompt"])


def _rule_errors(document: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name in ("triggers",):
        keys = [item["key"] for item in document[name]]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                yield f"{name}/{index}/key", f"the key {key} stands twice"
    for path, condition in _conditions(document):
        measure = measures()[condition["measure"]]
        decimals = measure.threshold_decimals
        # Not `multipleOf` in the schema: it divides floats, and 1.001 is no multiple of 0.001 then.
        if decimals is not None and threshold(condition) % Decimal(1).scaleb(-decimals):
            name = comparison(condition)
            yield f"{path}/{name}", f"{condition[name]} has more than {decimals} decimals"
        for name, problem in measure.problems(condition):
            yield f"{path}/{name}", problem
    yield from target_errors(document["targets"])
    if document["expected_close"]["from"] > document["expected_close"]["to"]:
        yield "expected_close", "`from` is above `to`: the range goes from the lower share to the higher, in percent"
    yield from route_errors(document["routes"])
    yield from prompt_errors(document)
    yield from step_errors(document)
    for index, span in enumerate(
        () if document["guards"]["black_out"] == "off" else document["guards"]["black_out"]["days"]
    ):
        path = f"guards/black_out/days/{index}"
        try:
            backwards = date.fromisoformat(span["from"]) > date.fromisoformat(span["to"])
        except ValueError:
            yield path, f"there is no such day: {span['from']} or {span['to']}"
        else:
            if backwards:
                yield path, "the last day lies before the first"
    # How strong signal types and meters are stands in the catalogue, which is asked when it is published.
    yield from weak_groups(document, measures(), signal_types={}, meters={})


@dataclass(frozen=True)
class NamesUsed:
    """The keys a document refers to, each with the first path that does."""

    signal_types: dict[str, str]
    meters: dict[str, str]
    products: dict[str, str]
    plans: dict[str, str]
    calendars: dict[str, str]
    features: dict[str, str]


def names_used(document: dict[str, Any]) -> NamesUsed:
    """What a document refers to in the catalogue, defaults of settings included, for checking that it is there."""
    plans = dict.fromkeys(document["audience"].get("plans", []), "audience/plans")
    features = features_named(document["steps"])
    names = NamesUsed({}, {}, {}, plans, calendars_named(document["targets"]), features)
    for path, condition in _conditions(document):
        # What is not registered any more, in a published version, names what nobody can tell.
        if (measure := measures().get(condition["measure"])) is not None:
            for setting in measure.signal_type_settings:
                for key in measure.named(condition, setting):
                    names.signal_types.setdefault(key, f"{path}/{setting}")
            for setting in measure.meter_settings:
                for key in measure.named(condition, setting):
                    names.meters.setdefault(key, f"{path}/{setting}")
        for key in condition.get("products", []):
            names.products.setdefault(key, f"{path}/products")
        for key in condition.get("plans", []):
            names.plans.setdefault(key, f"{path}/plans")
    amount = document["amount"]
    for key in amount.get("meters", []):
        names.meters.setdefault(key, "amount/meters")
    if "product" in amount:
        names.products.setdefault(amount["product"], "amount/product")
    return names


def _conditions(document: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    """All conditions of a document's triggers, each with its path."""
    for t, trigger in enumerate(document["triggers"]):
        for g, group in enumerate(trigger["any"]):
            for c, condition in enumerate(group["all"]):
                yield f"triggers/{t}/any/{g}/all/{c}", condition
