"""How the parts of a playbook document are called, and how their values are written, in a line for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csplaybooks.playbooks.measures import measures
from csplaybooks.playbooks.measures.base import COMPARISONS, number

#: A setting that is not there.
MISSING: Any = object()

#: A text of more characters is not shown in a line: that it was reworded is said.
SHORT = 60

#: The order in which settings are told, wherever they stand; others come after them, by name.
_ORDER = {
    name: place
    for place, name in enumerate(
        (
            *("key", "name", "motion", "summary", "audience", "triggers", "guards", "amount", "expected_close"),
            *("routes", "expires_days", "queue_days", "targets", "steps", "prompt", "talk_track"),
            *("strength", "cooldown_days", "any", "all", "measure", "rule", "route", "when", "kind", "text"),
            *("target", "hours", "counting", "from", "to", "window_days"),
        )
    )
}

#: What a condition looks at: settings that hold keys and names, beside those that its measure names.
SUBJECTS = (
    *("signal_type", "signal_types", "meter", "meters", "products", "plans", "segments", "tags", "kinds"),
    *("property", "since", "months"),
)

#: In what the thresholds of a measure count, where the bare number does not tell.
_UNITS = {
    "signal_count": "times",
    "growth": "%",
    "days_since": "days",
    "share_of_limit": "%",
    "tenure": "days",
    "days_to_renewal": "days",
    "time_to_first_value": "days",
    "head_count": "people",
    "next_tier_touched": "%",
}

#: Units of one, where it is called otherwise than several.
_OF_ONE = {"days": "day", "hours": "hour", "times": "time", "people": "person", "minor units": "minor unit"}

#: Settings of the document itself that are called otherwise than by their name.
_CALLED = {"expires_days": "plays expire after", "queue_days": "matches wait in the queue for"}

#: Words that are shown in quotes, because they mean something else without.
_RESERVED = {"none", "null", "true", "false", "any", "not"}
_PLAIN = re.compile(r"[^\W\d_][\w.:@/-]*|\d{4}-\d\d-\d\d")
_ENDS = (("_days", "days"), ("_hours", "hours"), ("_percent", "%"), ("_percents", "%"), ("_minor", "minor units"))


def ordered(names: Iterable[str]) -> list[str]:
    """Names of settings in the order in which they are told, whatever the order they came in."""
    return sorted(names, key=lambda name: (_ORDER.get(name, len(_ORDER)), name))


def printable(text: str) -> str:
    """A text in one line, cut to a length; what cannot be printed is written by its number."""
    short = text if len(text) <= SHORT else f"{text[:SHORT]}…"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in short)


def plain(name: str) -> str:
    """A name as people write it: `signal_count` is `signal count`."""
    return printable(str(name)).replace("_", " ")


def quoted(text: str) -> str:
    """A text in quotes."""
    return f"“{printable(text)}”"


def setting(name: str) -> tuple[str, str]:
    """How a setting is called, and the unit of its values, with a space before: `window_days` is window, in days."""
    for ending, unit in _ENDS:
        if name.endswith(ending) and name != ending:
            return plain(name.removesuffix(ending)), f" {unit}"
    return plain(name), ""


def with_unit(told: str, unit: str) -> str:
    """A value as it is told, and its unit, as of `setting` or `unit_of`, in the singular after a 1."""
    name = unit.strip()
    return f"{told} {_OF_ONE.get(name, name) if told == '1' else name}" if name else told


def is_long(value: Any) -> bool:
    """Whether a value is a text that does not fit into a line."""
    return isinstance(value, str) and (len(value) > SHORT or not value.isprintable())


def shown(value: Any, missing: str = "not set") -> str:
    """A value as it is told. Keys are written as they stand in the document, other texts in quotes."""
    if value is MISSING:
        return missing
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, str):
        bare = _PLAIN.fullmatch(value) and value not in _RESERVED and not is_long(value)
        return value if bare else quoted(value)
    if isinstance(value, Mapping):
        return f"({settings(value)})" if value else "none"
    return ", ".join(shown(inner) for inner in value) or "none"


def settings(item: Mapping[str, Any], besides: Iterable[str] = ()) -> str:
    """Settings in a row: `days 30, window 7 days`; those in `besides` are left out."""
    said = []
    for name in ordered(set(item) - set(besides)):
        label, unit = setting(name)
        said.append(f"{label} {with_unit(shown(item[name]), unit)}")
    return ", ".join(said)


def comparison_of(item: Any) -> str | None:
    """The name of the setting that is a condition's threshold, where there is one and it is a number."""
    names = [name for name in COMPARISONS if name in item]
    if len(names) != 1 or isinstance(item[names[0]], bool) or not isinstance(item[names[0]], int | float):
        return None
    return names[0]


def threshold(item: Mapping[str, Any], name: str, *, unit: bool = False) -> str:
    """A condition's threshold, which stands in the setting `name`: `at least 3`, with its unit `at least 3 times`."""
    told = number(item[name])
    return f"{COMPARISONS[name][1]} {with_unit(told, unit_of(item)) if unit else told}"


def unit_of(item: Mapping[str, Any]) -> str:
    """The unit of a condition's threshold, with a space before."""
    if item.get("measure") == "level_change" and item.get("percent"):
        return " %"
    unit = _UNITS.get(item.get("measure", ""), "")
    return f" {unit}" if unit else ""


def condition(item: Mapping[str, Any]) -> str:
    """What a condition asks of what: `signal count (feature_gate_hit)`."""
    key = str(item.get("measure", "condition"))
    measure = measures().get(key)
    names = [*(measure.signal_type_settings if measure else ()), *(measure.meter_settings if measure else ())]
    subjects = [shown(item[name]) for name in dict.fromkeys([*names, *SUBJECTS]) if name in item]
    return f"{plain(key)} ({', '.join(subjects)})" if subjects else plain(key)


def _condition_whole(item: Mapping[str, Any]) -> str:
    named = {"measure", *SUBJECTS}
    measure = measures().get(str(item.get("measure")))
    if measure:
        named |= {*measure.signal_type_settings, *measure.meter_settings}
    said = [condition(item)]
    if name := comparison_of(item):
        named.add(name)
        said.append(threshold(item, name, unit=True))
    if rest := settings(item, named):
        said.append(rest)
    return ", ".join(said)


def _group_whole(item: Mapping[str, Any]) -> str:
    return " and ".join(_condition_whole(each) for each in item.get("all") or [])


def _trigger_whole(item: Mapping[str, Any]) -> str:
    asked = "; or ".join(_group_whole(group) for group in item.get("any") or [])
    rest = settings(item, ("key", "name", "any", "strength"))
    return f"{quoted(item.get('key', ''))}, {shown(item.get('strength', MISSING))}, {rest}: when {asked}"


def accounts_of(item: Mapping[str, Any]) -> str:
    """For which accounts a route is: `segments small`."""
    return settings(item["when"]) if item.get("when") else "the rest"


def amount(item: Mapping[str, Any]) -> str:
    """An amount rule with its settings."""
    rest = settings(item, ("rule",))
    rule = plain(item.get("rule", ""))
    return f"{rule} ({rest})" if rest else rule


@dataclass(frozen=True)
class Entry:
    """How the entries of one list are called; this one tells of a list that nobody knows."""

    noun: str

    def label(self, item: Any, place: int, among: Sequence[Any]) -> str:
        """How an entry is called in a line about it; `place` counts from 1, in `among`. "" where it needs no name."""
        return f"{self.noun} {place}"

    def whole(self, item: Any) -> str:
        """All that an entry says, for a line that it was added or removed."""
        return settings(item)


class _Trigger(Entry):
    def label(self, item: Any, place: int, among: Sequence[Any]) -> str:
        return f"trigger {quoted(item.get('key', ''))}"

    def whole(self, item: Any) -> str:
        return _trigger_whole(item)


class _Group(Entry):
    def label(self, item: Any, place: int, among: Sequence[Any]) -> str:
        return f"group {place}" if len(among) > 1 else ""

    def whole(self, item: Any) -> str:
        return _group_whole(item)


class _Condition(Entry):
    def label(self, item: Any, place: int, among: Sequence[Any]) -> str:
        called = condition(item)
        alike = sum(condition(other) == called for other in among)
        return called if alike < 2 else f"condition {place}, {called}"

    def whole(self, item: Any) -> str:
        return _condition_whole(item)


class _Route(Entry):
    def label(self, item: Any, place: int, among: Sequence[Any]) -> str:
        return f"route for {accounts_of(item)}"

    def whole(self, item: Any) -> str:
        return f"{shown(item.get('route', MISSING))} for {accounts_of(item)}"


class _Target(Entry):
    def label(self, item: Any, place: int, among: Sequence[Any]) -> str:
        only = f" of {shown(item['routes'])}" if item.get("routes") else ""
        return f"target {plain(item.get('target', ''))}{only}"

    def whole(self, item: Any) -> str:
        return f"{plain(item.get('target', ''))}, {settings(item, ('target',))}"


class _Step(Entry):
    def label(self, item: Any, place: int, among: Sequence[Any]) -> str:
        return f"step {place} ({shown(item.get('kind', MISSING))})"

    def whole(self, item: Any) -> str:
        return f"{shown(item.get('kind', MISSING))} {quoted(item.get('text', ''))}"


TRIGGER, GROUP, CONDITION = _Trigger("trigger"), _Group("group"), _Condition("condition")
ROUTE, TARGET, STEP = _Route("route"), _Target("target"), _Step("step")


def top_label(name: str) -> str:
    """How a setting of the document itself is called at the start of a line."""
    return _CALLED.get(name) or f"{setting(name)[0]}:"
