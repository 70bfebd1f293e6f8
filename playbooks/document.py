"""The playbook document: what a playbook is, read from YAML and checked against a JSON schema.

The YAML file, the draft in the admin and the published version are the same document. `read_document` checks it
and fills in what was left out, so that the code that works with a published version meets whole documents only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import jsonschema
import yaml

from csplaybooks.accounts.models import Lifecycle, Motion, Segment
from csplaybooks.playbooks.guards import guards
from csplaybooks.playbooks.measures import measures
from csplaybooks.playbooks.measures.base import comparison, threshold
from csplaybooks.playbooks.measures.facts import TAGS
from csplaybooks.playbooks.models import Route
from csplaybooks.playbooks.targets import TARGETS_SCHEMA, fill_in_targets, target_errors
from csplaybooks.signals.models import Strength

#: A document longer than this is refused before it is parsed.
MAX_CHARACTERS = 200_000

#: More errors than this are not listed.
MAX_ERRORS = 50

# "Nothing follows" is spelled out, because `$` lets a line break follow.
_KEY = {"type": "string", "pattern": r"^[a-z][a-z0-9_]{0,79}(?![\s\S])"}
_PROSE = {"type": "string", "maxLength": 10_000}
_TEXT = {**_PROSE, "minLength": 1}
_MINOR = {"type": "integer", "minimum": 0, "maximum": 10**12}


class DocumentError(ValueError):
    """A document that cannot be used; `errors` are (path, message) pairs, the path as in `triggers/0/any/1`."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{path}: {message}" if path else message for path, message in errors))


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases (a few bytes of which can stand for gigabytes) and without doubled keys.

    Plain words mean what they mean in YAML 1.2, not 1.1: `off` and `no` are text, and so are dates.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias where it is used."""
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs leave it out
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice in one mapping."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is not text", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    # Longer numbers are text: nothing counts so far, and reading them takes long.
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,17})", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


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
            "key": _KEY,
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
                        "key": _KEY,
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
            "routes": {
                "type": "array",
                "minItems": 1,
                "maxItems": 20,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["route"],
                    "properties": {
                        "route": {"enum": list(Route.values)},
                        "when": {
                            "type": "object",
                            "additionalProperties": False,
                            "minProperties": 1,
                            "properties": {
                                "segments": segments,
                                "amount_at_least_minor": _MINOR,
                                "amount_below_minor": _MINOR,
                            },
                        },
                    },
                },
            },
            "expires_days": {"type": "integer", "minimum": 1, "maximum": 730},
            "targets": TARGETS_SCHEMA,
            "steps": {
                "type": "array",
                "maxItems": 30,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["kind", "text"],
                    "properties": {
                        "kind": {"enum": ["task", "mail", "prompt", "wait", "trial"]},
                        "text": _TEXT,
                    },
                },
            },
            "talk_track": _PROSE,
        },
    }


def read_document(text: str) -> dict[str, Any]:
    """Read and check a playbook document; answer it with everything that was left out filled in.

    Raises `DocumentError`, which names each place by its path. Whether the signal types, meters and products that a
    document names exist is asked when it is published: see `names_used`.
    """
    if len(text) > MAX_CHARACTERS:
        raise DocumentError([("", f"the document is longer than {MAX_CHARACTERS:,} characters")])
    if "\0" in text:
        raise DocumentError([("", "the document holds a NUL character")])
    try:
        document = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise DocumentError([(where, f"this is not the YAML of a playbook: {error.problem}")]) from error
    except yaml.reader.ReaderError as error:
        message = f"the character {error.character:#04x} at position {error.position} has no place in a document"
        raise DocumentError([("", message)]) from error
    except RecursionError as error:
        raise DocumentError([("", "the document is nested too deeply")]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError([("", "this is not YAML")]) from error
    if not isinstance(document, dict):
        raise DocumentError([("", "a playbook document is a mapping of names to values")])
    if errors := list(_unusable(document))[:MAX_ERRORS] or _schema_errors(document):
        raise DocumentError(errors)
    _fill(document)
    if errors := list(_rule_errors(document)):
        raise DocumentError(errors)
    return document


def _unusable(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    # YAML knows .nan and .inf, and can write characters by number that no database keeps.
    if isinstance(value, float) and not math.isfinite(value):
        yield path, "is not a number"
    elif isinstance(value, str) and ("\0" in value or any("\ud800" <= character <= "\udfff" for character in value)):
        yield path, "holds a character that is none (NUL, or half of a pair)"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _unusable(key, path)
            yield from _unusable(inner, f"{path}/{key}".lstrip("/"))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unusable(inner, f"{path}/{index}".lstrip("/"))


def _schema_errors(document: dict[str, Any]) -> list[tuple[str, str]]:
    validator = jsonschema.Draft202012Validator(document_schema())
    found: dict[tuple[str, str], None] = {}
    for error in validator.iter_errors(document):
        found["/".join(str(part) for part in error.absolute_path), _in_words(error)] = None
        if len(found) == MAX_ERRORS:
            break
    return sorted(found)


_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping of names to values",
    "string": "text",
}


def _in_words(error: jsonschema.ValidationError) -> str:
    """What is wrong, for somebody who has never seen a JSON schema."""
    value: Any = error.instance
    wanted: Any = error.validator_value
    schema: Any = error.schema
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}…"
    match error.validator:
        case "required":
            return f"{', '.join(name for name in wanted if name not in value)} is missing"
        case "additionalProperties":
            known = schema["properties"]
            unknown = ", ".join(str(name)[:60] for name in value if name not in known)
            return f"{unknown} is unknown here; known are {', '.join(known)}" if known else f"{unknown} is unknown here"
        case "type" if value == "off":
            return "this cannot be turned off"
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            return f"{shown} is not {' or '.join(_KINDS[kind] for kind in kinds)}"
        case "const":
            return f"{shown} is not possible here, only {wanted}"
        case "enum":
            return f"{shown} is not one of {', '.join(str(choice) for choice in wanted)}"
        case "oneOf" if all(list(choice) == ["required"] for choice in wanted):
            return f"exactly one of {', '.join(choice['required'][0] for choice in wanted)} is needed"
        case "pattern" if wanted == _KEY["pattern"]:
            return f"{shown} is no key: small letters, digits and underscores, a letter first, at most 80"
        case "pattern" if wanted.startswith(r"^\d{4}-"):
            return f"{shown} is no date such as 2026-12-24"
        case "minimum":
            return f"{shown} is less than {wanted}, the least that is possible"
        case "maximum":
            return f"{shown} is more than {wanted}, the most that is possible"
        case "minLength" | "minItems" | "minProperties":
            return "is empty"
        case "maxLength":
            return f"is longer than {wanted} characters"
        case "maxItems" | "maxProperties":
            return f"has {len(value)} entries, and at most {wanted} are possible"
        case "uniqueItems":
            return "the same entry stands twice"
        case _:
            return error.message[:300]


def _fill(document: dict[str, Any]) -> None:
    document.setdefault("summary", "")
    document.setdefault("audience", {})
    document.setdefault("amount", {"rule": "unknown"})
    document.setdefault("expires_days", 90)
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
    fill_in_targets(document["targets"])


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
    for index, rule in enumerate(document["routes"]):
        last = index == len(document["routes"]) - 1
        if last and "when" in rule:
            yield f"routes/{index}", "the last route is for all that is left, and takes no `when`"
        if not last and "when" not in rule:
            yield f"routes/{index}", "a route without `when` takes everything: those after it are never reached"
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
    if all(trigger["strength"] == Strength.WEAK for trigger in document["triggers"]):
        # Weak news (a renewal date, funding) supports a play and never opens one.
        yield "triggers", "a playbook whose triggers are all weak is refused: at least one must be moderate or strong"


@dataclass(frozen=True)
class NamesUsed:
    """The keys a document refers to, each with the first path that does."""

    signal_types: dict[str, str]
    meters: dict[str, str]
    products: dict[str, str]
    plans: dict[str, str]


def names_used(document: dict[str, Any]) -> NamesUsed:
    """What a document refers to in the catalogue, for checking that it is there."""
    names = NamesUsed({}, {}, {}, dict.fromkeys(document["audience"].get("plans", []), "audience/plans"))
    for path, condition in _conditions(document):
        measure = measures()[condition["measure"]]
        for setting in measure.signal_type_settings:
            for key in _listed(condition.get(setting)):
                names.signal_types.setdefault(key, f"{path}/{setting}")
        for setting in measure.meter_settings:
            for key in _listed(condition.get(setting)):
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


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
