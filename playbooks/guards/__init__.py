"""Guards: rules that hold a match back, or cap its route.

Asked in one fixed order; each answers pass, hold (with a reason, and until when if that is known) or ceiling (the
highest route allowed). The first hold wins; of ceilings the lowest. All facts that the guards of a playbook need
for all matches in question are fetched in one query; the judging itself asks the database nothing. A host adds its own
with `register`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema
from django.db.models import QuerySet

from csplaybooks.playbooks.guards.base import ACCOUNT, Ceiling, Guard, Hold, Question
from csplaybooks.playbooks.guards.contact import DISMISSED_TYPE, BlackOut, Cooling, Crowded, Dismissed
from csplaybooks.playbooks.guards.standing import HEALTH_METER, Gone, NotPaying, Onboarding, Tenure, Unhealthy

__all__ = [
    "ACCOUNT",
    "DISMISSED_TYPE",
    "HEALTH_METER",
    "Admitted",
    "BlackOut",
    "Ceiling",
    "Cooling",
    "Crowded",
    "Dismissed",
    "Gone",
    "Guard",
    "Hold",
    "Judgement",
    "NotPaying",
    "Onboarding",
    "Question",
    "Tenure",
    "Unhealthy",
    "guards",
    "judge_matches",
    "register",
]

#: By key, in the one order in which guards are asked: ours, then a host's as they were registered.
_registry: dict[str, Guard] = {
    guard.key: guard
    for guard in (
        Gone(),
        NotPaying(),
        Onboarding(),
        Unhealthy(),
        Tenure(),
        Dismissed(),
        Cooling(),
        Crowded(),
        BlackOut(),
    )
}

#: Those whose facts share their names.
_OURS = frozenset(_registry)

#: As long as the column that names the guard of a held match.
_KEY = re.compile(r"[a-z][a-z0-9_]{0,49}")


def register(guard: type[Guard]) -> type[Guard]:
    """Add a guard, to be asked after those that are there; usable as a class decorator.

    Call it from an app's `ready()`, in every process of the site. It is on, with its defaults, in every version that is
    published from then on; versions that were frozen before do not know it. Raises ValueError for a key that is taken
    or none, and for defaults that its own schema refuses.
    """
    if not _KEY.fullmatch(guard.key):
        raise ValueError(
            f"{guard.key!r} is no key of a guard: small letters, digits and underscores, a letter first, at most 50"
        )
    if guard.key in _registry:
        raise ValueError(f"a guard with the key {guard.key!r} is registered already")
    try:
        jsonschema.validate(guard.defaults, guard.schema(), cls=jsonschema.Draft202012Validator)
    except jsonschema.ValidationError as error:
        raise ValueError(f"the defaults of the guard {guard.key!r} do not fit its schema: {error.message}") from error
    _registry[guard.key] = guard()
    return guard


def guards() -> tuple[Guard, ...]:
    """All guards, in the order they are asked."""
    return tuple(_registry.values())


def _switched_on(settings: Mapping[str, Any]) -> list[Guard]:
    """The guards that a version has on, in the order they are asked.

    Raises LookupError where one of them is not registered: nothing may get past a guard because its app is missing.
    """
    wanted = {key for key, given in settings.items() if given != "off"}
    if missing := sorted(wanted - _registry.keys()):
        raise LookupError(
            f"no guard {' or '.join(missing)} is registered: register it in every process of the site, or publish a "
            "version without it"
        )
    return [guard for guard in guards() if guard.key in wanted]


@dataclass(frozen=True)
class Judgement:
    """The guards' common answer for one match: what holds it (None: nothing), and the lowest ceiling."""

    hold: Hold | None
    ceiling: Ceiling | None


#: The motions let through at each account in one run, beside those of its open plays.
Admitted = dict[int, set[str]]


def judge_matches(
    matches: QuerySet[Any],
    question: Question,
    settings: Mapping[str, Any],
    cooldown_days: Mapping[int, int],
    admitted: Admitted,
) -> Iterable[tuple[Any, Judgement]]:
    """Judge matches of one playbook version, in one query: (match, judgement) pairs, oldest first.

    `settings` is the document's `guards`, `cooldown_days` the cooldown by trigger id. What is let through is added to
    `admitted`.
    """
    active = _switched_on(settings)
    # Under names of their own, because a fact may carry that of a column, or of another guard's.
    columns: dict[str, Any] = {}
    shared: dict[str, str] = {}
    own: dict[str, dict[str, str]] = {}
    for index, guard in enumerate(active):
        ours = guard.key in _OURS
        names = shared if ours else own.setdefault(guard.key, {})
        for name, expression in guard.facts(question, settings[guard.key]).items():
            names[name] = f"guard_{name}" if ours else f"guard{index}_{name}"
            columns[names[name]] = expression
    for match in matches.annotate(**columns).order_by("pk"):
        row: dict[str, Any] = {name: getattr(match, column) for name, column in shared.items()}
        row["cooldown_days"] = cooldown_days.get(match.trigger_id, 0)
        row["admitted"] = admitted.get(match.account_id, set())
        hold: Hold | None = None
        ceiling: Ceiling | None = None
        for guard in active:
            theirs = {name: getattr(match, column) for name, column in own.get(guard.key, {}).items()}
            answer = guard.judge(question, settings[guard.key], {**row, **theirs})
            if isinstance(answer, Hold):
                hold = answer
                break
            if answer is not None and (ceiling is None or answer.route.weight < ceiling.route.weight):
                ceiling = answer
        if hold is None and not row.get("same_motion"):
            admitted.setdefault(match.account_id, set()).add(question.motion)
        yield match, Judgement(hold, ceiling)
