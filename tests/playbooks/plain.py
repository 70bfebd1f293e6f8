"""The evaluator once more: plain, slow, and read off the documentation, to hold the real one against.

Everything is a tuple of small frozen rows, and every question is answered by going through all of them, for one
account at a time. No row of the database and no query is used here, so nothing that is wrong there can be wrong here
in the same way. What a measure means is taken from its docstring and its line in `docs/playbooks.md`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

from tests.playbooks.plain_world import (
    Asked,
    Feature,
    Reading,
    Signal,
    World,
    counting,
    fact,
    held_for_true,
    holding_at,
    inside,
    latest,
)

#: Whether a number meets the condition's threshold.
Meets = Callable[[Fraction], bool]
Found = dict[str, Any]
MeasureFunction = Callable[[World, int, Mapping[str, Any], Asked, Meets], tuple[bool, Found]]

#: By the measure's key: whether the condition holds, and what was found.
MEASURES: dict[str, MeasureFunction] = {}

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "at_least": operator.ge,
    "above": operator.gt,
    "at_most": operator.le,
    "below": operator.lt,
}


def measure(key: str) -> Callable[[MeasureFunction], MeasureFunction]:
    """Name a measure's function by its key."""

    def named(function: MeasureFunction) -> MeasureFunction:
        MEASURES[key] = function
        return function

    return named


def answer(
    world: World, account: int, definition: Mapping[str, Any], audience: Mapping[str, Any], asked: Asked
) -> list[Found] | None:
    """What each condition of the first group that holds found, or None where the account does not meet the trigger."""
    if not in_audience(world, account, audience, asked):
        return None
    for group in definition["any"]:
        answers = [condition(world, account, settings, asked) for settings in group["all"]]
        if all(holds for holds, _ in answers):
            return [found for _, found in answers]
    return None


def condition(world: World, account: int, settings: Mapping[str, Any], asked: Asked) -> tuple[bool, Found]:
    """Whether one condition holds, and what it found."""
    thresholds = [(compare, settings[name]) for name, compare in COMPARE.items() if name in settings]

    def meets(value: Fraction) -> bool:
        ((compare, threshold),) = thresholds
        return compare(value, Fraction(str(threshold)))

    return MEASURES[settings["measure"]](world, account, settings, asked, meets)


def sizes(world: World, account: int, settings: Mapping[str, Any], asked: Asked) -> list[Fraction]:
    """The numbers that a condition without a threshold would compare with one: where its edges lie."""
    seen: list[Fraction] = []

    def meets(value: Fraction) -> bool:
        seen.append(value)
        return True

    MEASURES[settings["measure"]](world, account, settings, asked, meets)
    return seen


def in_audience(world: World, account: int, audience: Mapping[str, Any], asked: Asked) -> bool:
    """Whom a playbook is for, by the facts and the holdings of the moment. Nothing is everybody."""
    fact_of = {"segments": "segment", "lifecycles": "lifecycle", "regions": "region"}
    for name, wanted in audience.items():
        if name == "plans":
            if not any(holding["plan"] in wanted for holding in holding_at(world.holdings, account, asked)):
                return False
        elif name == "tags":
            if not set(wanted) & set(fact(world, account, "tags", asked) or ()):
                return False
        elif fact(world, account, fact_of[name], asked) not in wanted:
            return False
    return True


def kind_and_value(value: Any) -> tuple[str, Any] | None:
    """What tells one property's value from another: `true`, `"true"`, `1` and `"1"` are four; lists are none."""
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | float):
        return "number", Fraction(value)
    if isinstance(value, str):
        return "text", value
    return None


def named_signals(world: World, account: int, settings: Mapping[str, Any], asked: Asked) -> list[Signal]:
    """The signals that a condition names, of all time."""
    if settings["signal_type"] not in asked.signal_types:
        return []
    return [
        signal
        for signal in counting(world.signals, account, asked)
        if signal.type == settings["signal_type"]
        and all(
            kind_and_value(dict(signal.properties).get(name)) == kind_and_value(value)
            for name, value in settings.get("properties", {}).items()
        )
    ]


def days(settings: Mapping[str, Any]) -> timedelta:
    """The length of a condition's window."""
    return timedelta(days=settings["window_days"])


@measure("signal_count")
def signal_count(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """None in the window is 0."""
    signals = named_signals(world, account, settings, asked)
    moments = [signal.at for signal in signals if inside(signal.at, days(settings), asked.as_of)]
    return meets(Fraction(len(moments))), {"count": len(moments), "last_at": max(moments, default=None)}


@measure("distinct_count")
def distinct_count(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """Signals without an actor or without the property do not count."""
    different = set()
    for signal in named_signals(world, account, settings, asked):
        if not inside(signal.at, days(settings), asked.as_of):
            continue
        if "property" in settings:
            different.add(kind_and_value(dict(signal.properties).get(settings["property"])))
        else:
            different.add(("actor", signal.actor) if signal.actor else None)
    different.discard(None)
    return meets(Fraction(len(different))), {"count": len(different)}


@measure("growth")
def growth(world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets) -> tuple[bool, Found]:
    """Nothing in the window before, or less than `least_before`, is no growth and fails."""
    by_value = settings.get("of") == "value"
    signals = named_signals(world, account, settings, asked)

    def size(until: datetime) -> int:
        return sum(
            signal.value_milli if by_value else 1 for signal in signals if inside(signal.at, days(settings), until)
        )

    present, before = size(asked.as_of), size(asked.as_of - days(settings))
    enough = before >= settings.get("least_before", 1) * (1000 if by_value else 1)
    grown = enough and meets(Fraction(present - before, before) * 100)
    return grown, {"present": present, "before": before}


@measure("days_since")
def days_since(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """None in `window_days` (365) fails, or holds where `never: holds` says so."""
    length = timedelta(days=settings.get("window_days", 365))
    signals = named_signals(world, account, settings, asked)
    last = max((signal.at for signal in signals if inside(signal.at, length, asked.as_of)), default=None)
    if last is None:
        return settings.get("never", "fails") == "holds", {"last_at": None}
    return meets(in_days(asked.as_of - last)), {"last_at": last}


def in_days(span: timedelta) -> Fraction:
    """A span in days, exactly."""
    return Fraction(span // timedelta(microseconds=1), timedelta(days=1) // timedelta(microseconds=1))


def on_latest(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, met: Callable[[Reading], bool]
) -> tuple[bool, Found]:
    """Any of the meters, with grace: met at its start already, and by every reading inside it."""
    found: Found = {}
    holding = []
    for index, meter in enumerate(settings["meters"]):
        reading = latest(world, account, meter, asked, asked.as_of)
        found[f"used{index}"] = reading.used_milli if reading else None
        found[f"limit{index}"] = reading.limit_milli if reading else None
        holds = reading is not None and met(reading)
        if "grace_hours" in settings:
            grace = timedelta(hours=settings["grace_hours"])
            at_start = latest(world, account, meter, asked, asked.as_of - grace)
            holds = holds and at_start is not None and met(at_start)
            for other in counting(world.readings, account, asked):
                if other.meter == meter and inside(other.at, grace, asked.as_of):
                    holds = holds and met(other)
        holding.append(holds)
    return any(holding), found


@measure("share_of_limit")
def share_of_limit(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """Per cent; a limit of zero or nothing fails."""

    def met(reading: Reading) -> bool:
        return bool(reading.limit_milli) and meets(Fraction(reading.used_milli * 100, reading.limit_milli or 0))

    return on_latest(world, account, settings, asked, met)


@measure("amount_over_limit")
def amount_over_limit(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """In the meter's unit; a limit of zero or nothing fails."""

    def met(reading: Reading) -> bool:
        return bool(reading.limit_milli) and meets(Fraction(reading.used_milli - (reading.limit_milli or 0), 1000))

    return on_latest(world, account, settings, asked, met)


@measure("level")
def level(world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets) -> tuple[bool, Found]:
    """In the meter's unit, whatever the limit; zero is a level."""
    return on_latest(world, account, settings, asked, lambda reading: meets(Fraction(reading.used_milli, 1000)))


@measure("level_change")
def level_change(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """A missing reading, and one too old at either end, fail; so does a per cent of an earlier zero or less."""
    earlier = latest(world, account, settings["meter"], asked, asked.as_of - days(settings))
    present = latest(world, account, settings["meter"], asked, asked.as_of)
    found = {"earlier": earlier and earlier.used_milli, "present": present and present.used_milli}
    if earlier is None or present is None:
        return False, found
    change = present.used_milli - earlier.used_milli
    if not settings.get("percent", False):
        return meets(Fraction(change, 1000)), found
    return earlier.used_milli > 0 and meets(Fraction(change * 100, earlier.used_milli)), found


@measure("open_gap")
def open_gap(world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets) -> tuple[bool, Found]:
    """An open finding of kind gap that names a product the account does not hold."""
    held = {holding["product"] for holding in holding_at(world.holdings, account, asked)}
    gaps = [
        finding
        for finding in world.findings
        if finding.account == account
        and finding.kind == "gap"
        and finding.product is not None
        and finding.product not in held
        and finding.product in settings.get("products", [finding.product])
        and any(state["status"] == "open" for state in holding_at(finding.states, account, asked))
    ]
    first = min(gaps, key=lambda gap: gap.id, default=None)
    return bool(gaps), {"finding": first and first.id, "product": first and first.product}


@measure("finding")
def finding(world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets) -> tuple[bool, Found]:
    """A finding of one of some kinds, open or settled; of several the one told last."""
    found: list[tuple[int, str, datetime]] = []
    for each in world.findings:
        status = [state["status"] for state in holding_at(each.states, account, asked)]
        if each.kind not in settings["kinds"] or not set(status) & set(settings.get("statuses", ["open", "settled"])):
            continue
        raised = min(state.since for state in each.states if held_for_true(state, asked))
        if "window_days" not in settings or inside(raised, days(settings), asked.as_of):
            found.append((each.id, each.kind, raised))
    pk, kind, raised_at = max(found, default=(None, None, None))
    return bool(found), {"finding": pk, "kind": kind, "raised_at": raised_at}


@measure("champion_change")
def champion_change(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """A champion's change of one of some kinds in a window; of several the last."""
    changes = [
        change
        for change in world.champion_changes
        if change.account == account
        and change.kind in settings["kinds"]
        and change.told.known_at(asked.mark)
        and inside(change.at, days(settings), asked.as_of)
    ]
    last = max(changes, key=lambda change: (change.at, change.id), default=None)
    return bool(changes), {"at": last and last.at, "kind": last and last.kind}


@measure("tenure")
def tenure(world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets) -> tuple[bool, Found]:
    """Unknown, or a day that is still to come, fails; the first day is 0."""
    name = settings.get("since", "customer_since")
    since = fact(world, account, name, asked)
    holds = since is not None and since <= asked.today and meets(Fraction((asked.today - since).days))
    return holds, {name: since, "today": asked.today}


@measure("days_to_renewal")
def days_to_renewal(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """Unknown, or a day that is past, fails; the day itself is 0."""
    renewal = fact(world, account, "renewal_on", asked)
    holds = renewal is not None and renewal >= asked.today and meets(Fraction((renewal - asked.today).days))
    return holds, {"renewal_on": renewal, "today": asked.today}


@measure("time_to_first_value")
def time_to_first_value(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """Unknown, not activated yet, or activated before it was a customer, fails; the same day is 0."""
    since = fact(world, account, "customer_since", asked)
    activated = fact(world, account, "activated_on", asked)
    found = {"customer_since": since, "activated_on": activated, "today": asked.today}
    if since is None or activated is None or activated > asked.today or activated < since:
        return False, found
    return meets(Fraction((activated - since).days)), found


@measure("season")
def season(world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets) -> tuple[bool, Found]:
    """The same for every account."""
    return asked.today.month in settings.get("months", [10, 11, 12, 1, 2, 3]), {"month": asked.today.month}


@measure("head_count")
def head_count(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """Unknown fails; zero is a number."""
    people = fact(world, account, "head_count", asked)
    return people is not None and meets(Fraction(people)), {"head_count": people}


@measure("segment")
def segment(world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets) -> tuple[bool, Found]:
    """Unknown fails."""
    found = fact(world, account, "segment", asked)
    return found in settings["segments"], {"segment": found}


@measure("tagged")
def tagged(world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets) -> tuple[bool, Found]:
    """At least one of the tags, as they are written."""
    tags = fact(world, account, "tags", asked)
    return bool(set(settings["tags"]) & set(tags or ())), {"tags": tags and list(tags)}


@measure("plan_held")
def plan_held(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """One of the plans, or with `held: false` none of them."""
    return is_held(world, account, "plan", settings, asked)


@measure("product_held")
def product_held(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """One of the products, or with `held: false` none of them."""
    return is_held(world, account, "product", settings, asked)


def is_held(world: World, account: int, thing: str, settings: Mapping[str, Any], asked: Asked) -> tuple[bool, Found]:
    """Nothing held fails, and with `held: false` holds. Found is the first by key of those named that are held."""
    held = {holding[thing] for holding in holding_at(world.holdings, account, asked)} & set(settings[f"{thing}s"])
    return bool(held) == settings.get("held", True), {"holds": min(held, default=None)}


def holds_plan(world: World, account: int, least: str, asked: Asked) -> bool:
    """Whether the account holds a plan or a higher one of its product, by the catalogue of the run."""
    (plan,) = [plan for plan in world.plans if plan.key == least]
    enough = {other.key for other in world.plans if other.product == plan.product and other.rank >= plan.rank}
    return any(holding["plan"] in enough for holding in holding_at(world.holdings, account, asked))


def named_feature(world: World, settings: Mapping[str, Any], signal: Signal) -> Feature | None:
    """The feature that a signal names by its key, as text, in the property of the condition."""
    key = dict(signal.properties).get(settings.get("property", "feature"))
    return next((feature for feature in world.features if feature.key == key), None)


@measure("next_tier_touched")
def next_tier_touched(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """No next plan, one that adds no feature, and one that is held already fail; a feature counts once."""
    touched = set()
    for signal_type in settings.get("signal_types", ["feature_gate_hit", "feature_used"]):
        for signal in named_signals(world, account, {"signal_type": signal_type}, asked):
            if inside(signal.at, days(settings), asked.as_of):
                touched.add(named_feature(world, settings, signal))
    held = {holding["plan"] for holding in holding_at(world.holdings, account, asked)}
    shares = {}
    for plan in {plan.next_plan for plan in world.plans if plan.key in held and plan.next_plan is not None}:
        added = {feature for feature in world.features if feature.least_plan == plan}
        if added and not holds_plan(world, account, plan, asked):
            shares[plan] = (Fraction(len(added & touched) * 100, len(added)), added)
    # Of those of which most was touched the first by key is told.
    best = min(shares, key=lambda plan: (-shares[plan][0], plan), default=None)
    found = None
    if best is not None and shares[best][0]:
        keys = sorted(feature.key for feature in shares[best][1] & touched if feature is not None)
        found = {"plan": best, "total": len(shares[best][1]), "touched": len(keys), "features": keys}
    return any(meets(share) for share, _ in shares.values()), {"next_tier": found}


@measure("unheld_features")
def unheld_features(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """Signals that name no feature of the catalogue do not count; who holds nothing holds no feature."""
    products = {holding["product"] for holding in holding_at(world.holdings, account, asked)}
    features = []
    for signal in named_signals(world, account, settings, asked):
        feature = named_feature(world, settings, signal)
        if feature is None or not inside(signal.at, days(settings), asked.as_of):
            continue
        if feature.least_plan is None:
            held = feature.product in products
        else:
            held = holds_plan(world, account, feature.least_plan, asked)
        if not held:
            features.append(feature.key)
    return meets(Fraction(len(features))), {"count": len(features), "features": sorted(set(features))}


@measure("new_area")
def new_area(world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets) -> tuple[bool, Found]:
    """An area last used before `quiet_days` is new again; signals without an area do not count."""
    used: dict[str, list[datetime]] = {}
    for signal in named_signals(world, account, {"signal_type": "feature_used", **settings}, asked):
        feature = named_feature(world, settings, signal)
        own = dict(signal.properties).get("area")
        if area := (feature.area if feature else "") or (own if isinstance(own, str) else ""):
            used.setdefault(area, []).append(signal.at)
    quiet = timedelta(days=settings.get("quiet_days", 180))
    new = []
    for area, moments in used.items():
        present = [at for at in moments if inside(at, days(settings), asked.as_of)]
        if present and not any(inside(at, quiet, asked.as_of - days(settings)) for at in moments):
            new.append((min(present), area))
    # Of several the one used first is told, and of these the first by name.
    first = min(new, default=None)
    return bool(new), {"area": first and first[1], "first_at": first and first[0]}


#: How many days a period is, by strength; a signal counts a whole, a half and a quarter in its first three.
PERIODS = {"strong": 14, "moderate": 30, "weak": 60}


@measure("readiness")
def readiness(
    world: World, account: int, settings: Mapping[str, Any], asked: Asked, meets: Meets
) -> tuple[bool, Found]:
    """No signal that weighs anything is 0; a part of a point is none."""
    points = Fraction(0)
    for weighing in world.weights:
        if weighing.motion != settings["motion"]:
            continue
        ages = [
            asked.as_of - signal.at
            for signal in named_signals(world, account, {"signal_type": weighing.type}, asked)
            if signal.at <= asked.as_of
        ]
        halvings = [age // timedelta(days=PERIODS[weighing.strength]) for age in sorted(ages)]
        counting_ones = [times for times in halvings if times < 3][: weighing.at_most]
        points += sum(Fraction(weighing.points, 2**times) for times in counting_ones)
    score = min(100, int(points))
    return bool(world.weights) and meets(Fraction(score)), {"score": score, "weights": 1 if world.weights else None}


def differences(expected: Sequence[Found], evidence: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the evidence of a hit says something else than was found here; only what is found here is compared."""
    if len(expected) != len(evidence):
        return [f"{len(evidence)} conditions, and not {len(expected)}"]
    return [
        f"{item['measure']}: {name} is {item['found'].get(name)!r}, and not {value!r}"
        for found, item in zip(expected, evidence, strict=True)
        for name, value in found.items()
        if not same(value, item["found"].get(name))
    ]


def same(expected: Any, given: Any) -> bool:
    """Whether a value of the evidence is the one found here; moments and days are written there as text."""
    if isinstance(expected, datetime):
        return isinstance(given, str) and datetime.fromisoformat(given) == expected
    if isinstance(expected, date):
        return bool(given == expected.isoformat())
    if isinstance(expected, dict):
        return isinstance(given, dict) and all(same(value, given.get(name)) for name, value in expected.items())
    if isinstance(expected, list):
        # The order of features and of tags says nothing.
        return isinstance(given, list) and sorted(expected) == sorted(given)
    return bool(expected == given)
