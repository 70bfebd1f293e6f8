"""The steps of a playbook document: what is to be done one after the other, and what mails say.

What a step says is frozen on the play when it opens. Versions published before a key was there lack it: what is left
out means the same there as in a document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from csplaybooks.accounts.models import Champion
from csplaybooks.playbooks.mail_texts import MOST_IN_SUBJECT, text_errors
from csplaybooks.playbooks.models import Clock, PlayStep, Route

#: How long a wait and a trial last where the playbook says nothing, in days.
LASTS_DAYS: Mapping[str, int] = MappingProxyType({PlayStep.Kind.WAIT.value: 7, PlayStep.Kind.TRIAL.value: 14})

#: Whom a mail goes to where the playbook says nothing: the first of these roles in which somebody is there.
MAIL_ROLES = (
    *(Champion.Role.ECONOMIC_BUYER, Champion.Role.CHAMPION, Champion.Role.EXECUTIVE_SPONSOR),
    *(Champion.Role.ADMIN, Champion.Role.USER),
)

_HOURS = {"type": "number", "exclusiveMinimum": 0, "maximum": 20_000}
_ROLE = {"enum": list(Champion.Role.values)}

#: The part of the document's JSON schema.
STEPS_SCHEMA: Mapping[str, Any] = MappingProxyType(
    {
        "type": "array",
        "maxItems": 30,
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["kind", "text"],
            "properties": {
                "kind": {"enum": list(PlayStep.Kind.values)},
                "text": {"type": "string", "minLength": 1, "maxLength": 10_000},
                "routes": {"type": "array", "items": {"enum": list(Route.values)}, "minItems": 1, "uniqueItems": True},
                "after_hours": _HOURS,
                "counting": {"enum": list(Clock.Hours.values)},
                "hours": _HOURS,
                "days": {"type": "integer", "minimum": 1, "maximum": 730},
                "feature": {"type": "string", "minLength": 1, "maxLength": 100},
                "mail": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["subject", "body"],
                    "properties": {
                        "subject": {"type": "string", "minLength": 1, "maxLength": MOST_IN_SUBJECT},
                        "body": {"type": "string", "minLength": 1, "maxLength": 10_000},
                        "to": {"type": "array", "items": _ROLE, "minItems": 1, "uniqueItems": True},
                        "automatic": {"type": "boolean"},
                    },
                },
            },
        },
    }
)


def fill_in_steps(steps: Iterable[dict[str, Any]]) -> None:
    """Write what steps leave out into them: which hours count, how long they last, whom a mail goes to."""
    for step in steps:
        if step["kind"] in LASTS_DAYS and "hours" not in step:
            step.setdefault("days", LASTS_DAYS[step["kind"]])
        if "hours" in step or "after_hours" in step:
            step.setdefault("counting", Clock.Hours.WORKING.value)
        if step["kind"] == PlayStep.Kind.PROMPT:
            step.setdefault("routes", [Route.SELF_SERVE.value])
        if "mail" in step:
            step["mail"].setdefault("to", list(MAIL_ROLES))
            step["mail"].setdefault("automatic", False)


#: What is said only of steps of some kinds: the key, the kinds, and what to say instead.
_BELONGS = (
    ("hours", tuple(LASTS_DAYS), "only a wait or a trial lasts: say `after_hours` for when it is due"),
    ("days", tuple(LASTS_DAYS), "only a wait or a trial lasts: say `after_hours` for when it is due"),
    ("mail", (PlayStep.Kind.MAIL,), "only a step of the kind mail has one"),
    ("feature", (PlayStep.Kind.TRIAL,), "only a trial is of a feature"),
)


def step_errors(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What the schema cannot say of a document's steps: the path of each at fault, and what is wrong with it."""
    ways = {rule["route"] for rule in document["routes"]}
    for index, step in enumerate(document["steps"]):
        path = f"steps/{index}"
        for key, kinds, instead in _BELONGS:
            if key in step and step["kind"] not in kinds:
                yield f"{path}/{key}", instead
        if step["kind"] in LASTS_DAYS:
            if "after_hours" in step:
                yield f"{path}/after_hours", "a wait or a trial lasts: say `days` or `hours`"
            if "hours" in step and "days" in step:
                yield f"{path}/hours", "it lasts either `days` or `hours`"
        if "counting" in step and not {"hours", "after_hours"} & step.keys():
            yield f"{path}/counting", "there are no hours here that could be counted; a day has 24 hours"
        if step["kind"] == PlayStep.Kind.PROMPT:
            if set(step["routes"]) != {Route.SELF_SERVE.value}:
                yield f"{path}/routes", "the product prompts on the route self_serve only"
            elif "prompt" not in document and Route.SELF_SERVE in ways:
                yield path, "there is no `prompt` to be shown: say what it says (title, gain, action, link)"
        if "mail" in step:
            for name, fault in text_errors(step["mail"]["subject"], step["mail"]["body"]):
                yield f"{path}/mail/{name}", fault


def features_named(steps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The keys of the features that trials are of, each with the first path that names it."""
    named: dict[str, str] = {}
    for index, step in enumerate(steps):
        if "feature" in step:
            named.setdefault(step["feature"], f"steps/{index}/feature")
    return named


def steps_for(document: Mapping[str, Any], route: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The steps that a play on a route has, numbered from 1 without gap."""
    chosen = (step for step in document["steps"] if route in step.get("routes", _everywhere(step)))
    return enumerate(chosen, start=1)


def _everywhere(step: Mapping[str, Any]) -> Sequence[str]:
    return [Route.SELF_SERVE.value] if step["kind"] == PlayStep.Kind.PROMPT else list(Route.values)


def frozen(step: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept on a play of what a step says, beside its kind and its text."""
    return {key: value for key, value in step.items() if key not in ("kind", "text", "routes")}


def lasts(kind: str, settings: Mapping[str, Any]) -> tuple[timedelta | None, bool]:
    """How long after it begins a step is due or over (None: it is due at no time), and whether working hours count."""
    working = settings.get("counting", Clock.Hours.WORKING) == Clock.Hours.WORKING
    if kind not in LASTS_DAYS:
        hours = settings.get("after_hours")
        return (None if hours is None else timedelta(hours=hours)), working
    if "hours" in settings:
        return timedelta(hours=settings["hours"]), working
    return timedelta(days=settings.get("days", LASTS_DAYS[kind])), False
