"""Which guards there are, in the one order in which they are asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jsonschema

from csplaybooks.playbooks.guards.base import Guard
from csplaybooks.playbooks.guards.contact import BlackOut, Cooling, Crowded, Dismissed
from csplaybooks.playbooks.guards.standing import Gone, NotPaying, Onboarding, Tenure, Unhealthy

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
OURS = frozenset(_registry)

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


def switched_on(settings: Mapping[str, Any]) -> list[Guard]:
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
