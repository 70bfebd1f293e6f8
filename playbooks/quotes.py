"""What measures quote of what people wrote down about customers, and what is told to whom may not read that.

A measure says in `Measure.quotes` which of what it finds are words or names out of another table. Whoever may not look
at that table is told the rest: that there is such a thing, of which kind and status, and when. Whatever shows the words
of a measure to somebody gets them here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from django.apps import apps
from django.contrib.auth import get_permission_codename

from csplaybooks.accounts.models import ApiToken
from csplaybooks.api.permissions import ScopedToken
from csplaybooks.playbooks.measures import get_measure, measures

#: How evidence keeps a moment, and a day.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def may_read(viewer: Any, label: str) -> bool:
    """Whether a user or an API token may look at the table of a model, by its label; None may look at everything.

    A token may where one of its scopes is of that very table.
    """
    if viewer is None:
        return True
    options = apps.get_model(label)._meta
    permission = f"{options.app_label}.{get_permission_codename('view', options)}"
    if isinstance(viewer, ScopedToken):
        return any(viewer.has_scope(scope) for scope, needed in ApiToken.PERMISSIONS.items() if permission in needed)
    return bool(viewer.has_perm(permission))


def words_for(viewer: Any, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """A condition and what was found in words, without what the viewer (None: sees everything) may not read.

    `found` are values as `Measure.words` takes them. Raises KeyError for a measure that is not registered.
    """
    measure = get_measure(settings["measure"])
    return measure.words(settings, _without(found, _withheld(viewer, measure.quotes)))


def readable(viewer: Any, evidence: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The evidence of a match or a play, as far as the viewer (None: sees everything) may read it.

    What they may not read is "" in `found`, and is not in `words`. Of a measure that is not registered any more nobody
    knows what it quoted: who may not read all that the others quote is told its key. So it is where an earlier release
    found less than the words need.
    """
    return [_readable(viewer, item) for item in evidence]


def words_of(viewer: Any, evidence: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The words of `readable`, a line for each condition."""
    return tuple(item["words"] for item in readable(viewer, evidence) if item.get("words"))


def _readable(viewer: Any, item: Mapping[str, Any]) -> dict[str, Any]:
    known = measures().get(item.get("measure", ""))
    found: Mapping[str, Any] = item.get("found", {})
    if known is None:
        everything = (label for measure in measures().values() for label in measure.quotes)
        if all(may_read(viewer, label) for label in everything):
            return dict(item)
        return {**item, "words": _plain(item), "found": dict.fromkeys(found, "")}
    withheld = _withheld(viewer, known.quotes)
    if not withheld:
        return dict(item)
    kept = _without(found, withheld)
    try:
        words = known.words(item["settings"], {name: _as_found(value) for name, value in kept.items()})
    except (KeyError, TypeError, ValueError):
        # What an earlier release kept is never a reason for a page to fail, nor for it to show too much.
        words = _plain(item)
    return {**item, "words": words, "found": kept}


def _withheld(viewer: Any, quotes: Mapping[str, Iterable[str]]) -> frozenset[str]:
    return frozenset(name for label, names in quotes.items() if not may_read(viewer, label) for name in names)


def _without(found: Mapping[str, Any], withheld: frozenset[str]) -> dict[str, Any]:
    # None says that nothing was found: that is told.
    return {name: "" if name in withheld and value is not None else value for name, value in found.items()}


def _plain(item: Mapping[str, Any]) -> str:
    return str(item.get("measure", "")).replace("_", " ")


def _as_found(value: Any) -> Any:
    """A value of evidence as its measure has found it: there moments and days are texts."""
    if isinstance(value, str):
        try:
            if _MOMENT.fullmatch(value):
                return datetime.fromisoformat(value)
            if _DAY.fullmatch(value):
                return date.fromisoformat(value)
        except ValueError:
            return value
    return value
