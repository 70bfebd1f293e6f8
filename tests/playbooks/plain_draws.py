"""Small random worlds, and questions about them whose edges lie where something is.

Times come from one grid of whole days, with a microsecond and an hour to either side, and windows are whole days, so
that rows lie exactly at the edges of windows all the time. Thresholds are drawn around the true values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from csplaybooks.accounts.models import ChampionChange as StoredChampionChange
from csplaybooks.accounts.models import Lifecycle, Segment
from csplaybooks.playbooks.measures import get_measure
from tests.playbooks import plain
from tests.playbooks.plain_store import (
    DAY,
    HOUR,
    METERS,
    MOMENT,
    NOW,
    PLANS,
    PRODUCTS,
    RUNS,
    SIGNAL_TYPES,
    show,
    show_asked,
)
from tests.playbooks.plain_world import (
    Asked,
    ChampionChange,
    Feature,
    Finding,
    News,
    Period,
    Plan,
    Reading,
    Signal,
    Weighing,
    World,
)

Draw = Callable[[st.SearchStrategy[Any]], Any]

#: Ids are far from those of rows that factories make.
FIRST_ID = 1_000_001

_NEAR = (0 * DAY, 0 * DAY, MOMENT, -MOMENT, -HOUR)
TIMES = st.sampled_from([NOW - back * DAY + near for near in _NEAR for back in (1, 2, 3, 0, 4, 5, -1)])
STARTS = st.sampled_from([NOW - back * DAY + near for near in _NEAR[:-1] for back in (6, 5, 4, 3, 2, 1, 0)])
MOMENTS = st.sampled_from([NOW - back * DAY + near for near in _NEAR for back in (0, 1, 2, -1)])
WINDOWS = st.sampled_from([2, 3, 1, 4])
DAYS = st.sampled_from(
    [None, *(date(2026, 10, day) for day in (31, 30, 29, 28, 25)), *(date(2026, 11, day) for day in range(1, 5))]
)
ZONES = st.sampled_from([ZoneInfo(key) for key in ("Europe/Berlin", "UTC", "America/Los_Angeles")])

VALUES = [
    *("x", "1", "true", "", "1.5", "rue", "n1"),
    *(1, True, 1.0, 1.5, 0, False, 0.3, 0.1 + 0.2, 10**30, -(10**12)),
    *(None, [1], {"area": 1}),
]
NAMES = ("area", 'a"b')
FEATURES = ("reports", "exports", "sso", "audit")
AREAS = ("reporting", "", "security")
PROPERTIES = st.fixed_dictionaries(
    {"feature": st.sampled_from([*FEATURES, *FEATURES, "no_such_feature", 1, None])},
    optional={
        "area": st.sampled_from([*AREAS, *VALUES]),
        'a"b': st.sampled_from(VALUES),
    },
)
TAGS = ("vip", "VIP", 'a"b', "1", "")


def some(*values: Any) -> st.SearchStrategy[list[Any]]:
    """A list of some of these values, at least one."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)


def often(*values: Any, besides: Any) -> st.SearchStrategy[Any]:
    """One of these values, and once in a while the other."""
    return st.sampled_from([*values * 4, besides])


_TYPE = often(SIGNAL_TYPES[0], *SIGNAL_TYPES, besides="no_such_type")
_WINDOW = {"signal_type": _TYPE, "window_days": WINDOWS}
_METERS = st.lists(often(*METERS, besides="no_such_meter"), min_size=1, max_size=3, unique=True)
_LIMITS = st.fixed_dictionaries({"meters": _METERS}, optional={"grace_hours": st.sampled_from([24, 1, 25, 48])})
_HELD = {"held": st.booleans()}
_PROPERTY = often("feature", besides="area")

#: By the measure's key: its settings, but the threshold.
SETTINGS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "signal_count": st.fixed_dictionaries(_WINDOW),
    "distinct_count": st.fixed_dictionaries(_WINDOW, optional={"property": st.sampled_from(NAMES)}),
    "growth": st.fixed_dictionaries(
        _WINDOW, optional={"of": st.sampled_from(["value", "count"]), "least_before": st.sampled_from([1, 2, 3])}
    ),
    "days_since": st.fixed_dictionaries(
        {"signal_type": _TYPE},
        optional={"never": st.sampled_from(["holds", "fails"]), "window_days": st.sampled_from([4, 5, 6, 3, 2])},
    ),
    "share_of_limit": _LIMITS,
    "amount_over_limit": _LIMITS,
    "level": st.fixed_dictionaries({"meters": _METERS}),
    "level_change": st.fixed_dictionaries(
        {"meter": often(METERS[0], besides=METERS[1]), "window_days": WINDOWS}, optional={"percent": st.booleans()}
    ),
    "open_gap": st.fixed_dictionaries({}, optional={"products": some(*PRODUCTS)}),
    "finding": st.fixed_dictionaries(
        {"kinds": some("win", "gap", "risk")},
        optional={"statuses": some("open", "settled", "dropped"), "window_days": WINDOWS},
    ),
    "champion_change": st.fixed_dictionaries(
        {"kinds": some(*StoredChampionChange.Kind.values), "window_days": WINDOWS}
    ),
    "tenure": st.fixed_dictionaries({}, optional={"since": st.sampled_from(["activated_on", "customer_since"])}),
    "days_to_renewal": st.just({}),
    "time_to_first_value": st.just({}),
    "season": st.fixed_dictionaries({}, optional={"months": some(10, 11, 12, 1)}),
    "head_count": st.just({}),
    "segment": st.fixed_dictionaries({"segments": some(*Segment.values)}),
    "tagged": st.fixed_dictionaries({"tags": some(*TAGS[:-1], "other")}),
    "next_tier_touched": st.fixed_dictionaries(
        {"window_days": WINDOWS},
        optional={"signal_types": some(*SIGNAL_TYPES, "no_such_type"), "property": _PROPERTY},
    ),
    "unheld_features": st.fixed_dictionaries(_WINDOW, optional={"property": _PROPERTY}),
    "new_area": st.fixed_dictionaries(
        {"window_days": WINDOWS},
        optional={"quiet_days": st.sampled_from([2, 1, 3, 5]), "signal_type": _TYPE, "property": _PROPERTY},
    ),
    "readiness": st.fixed_dictionaries({"motion": often("tier_upsell", besides="cross_sell")}),
    "plan_held": st.fixed_dictionaries({"plans": some(*PLANS, "no_such_plan")}, optional=_HELD),
    "product_held": st.fixed_dictionaries({"products": some(*PRODUCTS, "no_such_product")}, optional=_HELD),
}

#: Those that look into windows have the most edges, and are asked for twice as often.
MEASURES = st.sampled_from([*SETTINGS, *(key for key in SETTINGS if get_measure(key).reach({}, {}))])

AUDIENCES = st.one_of(
    *[st.just({})] * 4,
    st.fixed_dictionaries(
        {},
        optional={
            "segments": some(*Segment.values),
            "lifecycles": some(Lifecycle.PAYING.value, Lifecycle.TRIAL.value),
            "regions": some("emea", "apac"),
            "plans": some(*PLANS),
            "tags": some(*TAGS[:-1]),
        },
    ),
)


@dataclass(frozen=True)
class Question:
    """One trigger, asked at some moments, of all accounts and `of` some."""

    definition: Mapping[str, Any]
    audience: Mapping[str, Any]
    asked: tuple[Asked, ...]
    of: tuple[int, ...]


@dataclass(frozen=True, repr=False)
class Case:
    """A world and questions about it."""

    world: World
    questions: tuple[Question, ...]

    def __repr__(self) -> str:
        lines = [*show(self.world)]
        for question in self.questions:
            lines.append(f"trigger {question.definition['any']} for {question.audience or 'everybody'}")
            lines += [f"  {show_asked(asked)}, of all and of {list(question.of)}" for asked in question.asked]
        return "\n".join(["Case(", *lines, ")"])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Hypothesis would go through the fields of a data class, which nobody can read."""
        printer.text(repr(self))


@dataclass
class _Ids:
    """Ids in the order of storing, one row of numbers for each table."""

    next_of: dict[str, int] = field(default_factory=dict)

    def __call__(self, table: str) -> int:
        self.next_of[table] = self.next_of.get(table, FIRST_ID - 1) + 1
        return self.next_of[table]


def _later(one: int | None, other: int | None) -> int | None:
    """The later of two runs; None comes after all."""
    return None if one is None or other is None else max(one, other)


_NEWS = often(*RUNS[:2], besides=None) | st.sampled_from(RUNS)
_WHOSE = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 4])
_EVENT = {
    "account": _WHOSE,
    "at": TIMES,
    "seen_by": _NEWS,
    # Which earlier event it corrects, where it corrects one.
    "corrects": st.one_of(*[st.none()] * 6, st.integers(0, 29)),
    "void": st.booleans(),
}
_SIGNAL = st.fixed_dictionaries(
    {
        **_EVENT,
        "type": often(SIGNAL_TYPES[0], besides=SIGNAL_TYPES[1]),
        "actor": st.sampled_from(["ann", "bob", "Ann", ""]),
        "value_milli": st.sampled_from([1000, 2000, 500, 1, 0, -1000]),
        "properties": PROPERTIES.map(lambda found: tuple(found.items())),
    }
)
_READING = st.fixed_dictionaries(
    {
        **_EVENT,
        "meter": often(METERS[0], besides=METERS[1]),
        "used_milli": st.sampled_from([8000, 8001, 10_000, 10_001, 0, 1, -1000, 16_000]),
        "limit_milli": st.sampled_from([10_000, 8000, 10_000, 1, 0, None]),
    }
)


def _events(make: Any, kind: str, drawn: list[dict[str, Any]], accounts: int) -> tuple[Any, ...]:
    """Events, some of which correct an earlier one of the same account and kind that none has corrected yet."""
    rows: list[Any] = []
    corrected: set[int] = set()
    for number, each in enumerate(drawn):
        values = dict(each)
        values["account"] = FIRST_ID + values["account"] % accounts
        seen_by, which, void = values.pop("seen_by"), values.pop("corrects"), values.pop("void")
        if which is not None and rows and (other := rows[which % len(rows)]).id not in corrected:
            corrected.add(other.id)
            values |= {"corrects": other.id, "void": void, "account": other.account, kind: getattr(other, kind)}
            # Nobody is told of a correction before what it corrects.
            seen_by = _later(seen_by, other.told.seen_by)
        rows.append(make(id=FIRST_ID + number, told=News(seen_by), **values))
    return tuple(rows)


def _story(
    acts: list[tuple[int | None, datetime, dict[str, Any] | None]], account: int, ids: _Ids, table: str
) -> tuple[Period, ...]:
    """The periods that news about one subject leaves, told in the order of runs; values of None end what holds."""
    rows: list[Period] = []

    def add(since: datetime, until: datetime | None, news: News, values: Any) -> None:
        rows.append(Period(ids(table), account, since, until, news, None, values))

    for seen_by, at, drawn in sorted(acts, key=lambda act: (act[0] is None, act[0] or 0)):
        news, values = News(seen_by), None if drawn is None else tuple(drawn.items())
        standing = [row for row in rows if row.taken_back is None]
        held = [row for row in standing if row.since <= at and (row.until is None or at < row.until)]
        if not held:
            if values is not None:
                add(at, min((row.since for row in standing if row.since > at), default=None), news, values)
            continue
        (row,) = held
        if row.values == values:
            continue
        rows[rows.index(row)] = Period(row.id, account, row.since, row.until, row.told, news, row.values)
        if row.since < at:
            add(row.since, at, news, row.values)
        if values is not None:
            add(at, row.until, news, values)
    return tuple(rows)


def _acts(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.tuples(_NEWS, STARTS, values), min_size=1, max_size=3)


def many(each: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[list[Any]]:
    """A list that is long as often as short, which lists by themselves are not."""
    return st.integers(0, most).flatmap(lambda least: st.lists(each, min_size=least, max_size=most))


_FACTS = st.fixed_dictionaries(
    {
        "lifecycle": st.sampled_from([Lifecycle.PAYING.value, Lifecycle.TRIAL.value]),
        "segment": st.sampled_from([*Segment.values, ""]),
        "region": st.sampled_from(["emea", "apac", ""]),
        "tags": many(st.sampled_from(TAGS), 2).map(lambda tags: list(dict.fromkeys(tags))),
        "customer_since": DAYS,
        "activated_on": DAYS,
        "renewal_on": DAYS,
        "head_count": st.sampled_from([None, 0, 1, 50, 51]),
    }
)
_THINGS: list[dict[str, Any]] = [{"product": "platform", "plan": PLANS[0]}] * 4
_THINGS += [{"product": "platform", "plan": plan} for plan in PLANS]
_THINGS += [{"product": product, "plan": None} for product in PRODUCTS]
_STATUSES = st.sampled_from(["open", "open", "settled", "dropped"]).map(lambda status: {"status": status})


@st.composite
def catalogues(draw: Draw) -> tuple[tuple[Plan, ...], tuple[Feature, ...]]:
    """Some of the plans, each with a next one further up or none, and some features."""
    keys = draw(
        st.lists(st.sampled_from(PLANS), min_size=2, unique=True).map(lambda some: sorted(some, key=PLANS.index))
    )
    plans = [
        Plan(key, "platform", 10 * rank, draw(st.sampled_from([*keys[rank + 1 :], *keys[rank + 1 :], None])))
        for rank, key in enumerate(keys)
    ]
    features = []
    for key in draw(st.lists(st.sampled_from(FEATURES), min_size=2, unique=True)):
        least = draw(st.sampled_from([*reversed(keys), None]))
        product = "platform" if least else draw(st.sampled_from(PRODUCTS))
        features.append(Feature(key, product, least, draw(st.sampled_from(AREAS))))
    return tuple(plans), tuple(features)


@st.composite
def worlds(draw: Draw) -> World:
    """A few accounts and all that was told of them."""
    count = draw(st.sampled_from([2, 3, 2, 4, 5]))
    accounts = tuple(range(FIRST_ID, FIRST_ID + count))
    ids = _Ids()
    facts: list[Period] = []
    holdings: list[Period] = []
    findings: list[Finding] = []
    for account in accounts:
        facts += _story(draw(_acts(_FACTS)), account, ids, "facts")
        for line in range(draw(st.sampled_from([1, 2, 0]))):
            things = often(*_THINGS, besides=None)
            acts = [
                (run, at, thing and {"subscription": f"line {line}", **thing}) for run, at, thing in draw(_acts(things))
            ]
            holdings += _story(acts, account, ids, "holdings")
        for _ in range(draw(st.sampled_from([1, 2, 0]))):
            kind = draw(st.sampled_from(["gap", "gap", "risk", "win"]))
            product = draw(st.sampled_from([*PRODUCTS, None])) if kind == "gap" else None
            states = _story(draw(_acts(_STATUSES)), account, ids, "states")
            findings.append(Finding(ids("findings"), account, kind, product, states))
    moves = draw(many(st.tuples(_WHOSE, TIMES, _NEWS, st.sampled_from(StoredChampionChange.Kind.values)), 6))
    plans, features = draw(catalogues())
    return World(
        accounts=accounts,
        plans=plans,
        features=features,
        weights=draw(weighings()),
        signals=_events(Signal, "type", draw(many(_SIGNAL, 30)), count),
        readings=_events(Reading, "meter", draw(many(_READING, 20)), count),
        facts=tuple(facts),
        holdings=tuple(holdings),
        findings=tuple(findings),
        champion_changes=tuple(
            ChampionChange(ids("changes"), FIRST_ID + number % count, at, News(run), kind)
            for number, at, run, kind in moves
        ),
    )


@st.composite
def weighings(draw: Draw) -> tuple[Weighing, ...]:
    """What weighs for two motions; once in a while nothing does."""
    strengths = {key: draw(st.sampled_from(["strong", "moderate", "weak"])) for key in SIGNAL_TYPES}
    pairs = [(motion, key) for motion in ("tier_upsell", "cross_sell") for key in SIGNAL_TYPES]
    return tuple(
        Weighing(
            motion, key, draw(st.sampled_from([10, 3, 1, 60])), draw(st.sampled_from([3, 1, 2, 100])), strengths[key]
        )
        for motion, key in draw(st.lists(st.sampled_from(pairs), max_size=3, unique=True))
    )


def _can_be_asked_for(value: Any) -> bool:
    return isinstance(value, str | bool) or (isinstance(value, int) and abs(value) <= 10**12)


@st.composite
def conditions(draw: Draw, world: World, asked: Asked) -> dict[str, Any]:
    """One condition of any measure: its properties are those of a signal, its threshold is around what is true of one
    account, for instance."""
    settings = {"measure": draw(MEASURES)}
    settings |= draw(SETTINGS[settings["measure"]])
    measure = get_measure(settings["measure"])
    if "properties" in measure.settings_schema and world.signals and draw(often(False, besides=True)):
        some_signal = draw(st.sampled_from(world.signals))
        if like := {name: value for name, value in some_signal.properties if _can_be_asked_for(value)}:
            settings["properties"] = like
    if not measure.takes_threshold:
        return settings
    name = draw(st.sampled_from(list(measure.threshold_schema)))
    schema = measure.threshold_schema[name]
    whole = schema["type"] == "integer" or settings.get("percent", False)
    step = 1 if whole else Fraction(1, 1000)
    least, most = schema["minimum"], schema["maximum"]
    if settings.get("percent"):
        least, most = -1000, 1000
    if settings["measure"] == "days_since":
        most = settings.get("window_days", 365) - 1
    sizes = [size for account in world.accounts for size in plain.sizes(world, account, settings, asked)]
    true = [size for size in sizes if size and least - step <= size <= most + step]
    size = draw(st.sampled_from(true)) if true else Fraction(1)
    near = (math.floor(size / step) + draw(st.sampled_from([0, 0, 1, -1]))) * step
    near = min(max(near, least), most)
    settings[name] = int(near) if near == int(near) else float(near)
    return settings


@st.composite
def cases(draw: Draw) -> Case:
    """A world, and several triggers, each asked at several moments and marks."""
    world = draw(worlds())
    zone = draw(ZONES)
    types = frozenset(draw(often(SIGNAL_TYPES, besides=SIGNAL_TYPES[:1])))
    ages = {METERS[0]: draw(st.sampled_from([4, 5, 3, 2, 1]))}
    if draw(often(True, besides=False)):
        ages[METERS[1]] = draw(st.sampled_from([4, 9, 2]))
    when = st.tuples(MOMENTS, st.sampled_from([None, 3, 2, 2, 1]))
    questions = []
    for _ in range(draw(st.sampled_from([1, 2, 3, 4, 5, 6]))):
        # One alone is the simplest that fails, and more cost little.
        count = draw(st.sampled_from([1, 3, 4, 5, 6]))
        moments = [
            Asked(at, mark, types, ages, zone)
            for at, mark in draw(st.lists(when, min_size=count, max_size=count, unique=True))
        ]
        definition = {
            "key": "t",
            "any": [
                {"all": [draw(conditions(world, moments[0])) for _ in range(draw(often(1, besides=2)))]}
                for _ in range(draw(often(1, besides=2)))
            ],
        }
        of = draw(st.lists(st.sampled_from(world.accounts), min_size=1, unique=True))
        questions.append(Question(definition, draw(AUDIENCES), tuple(moments), tuple(of)))
    return Case(world, tuple(questions))
