"""Measures on the features of the catalogue: of the next tier, not held, and of areas never used.

A signal names a feature by its key, in a property. What features and plans there are is that of the run
(`Known.catalogue`); what an account holds is that of the moment asked about, whenever the signal came.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import (
    Aggregate,
    Case,
    CharField,
    Count,
    Exists,
    F,
    Func,
    IntegerField,
    JSONField,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Coalesce, JSONObject

from csplaybooks.accounts.models import Entitlement
from csplaybooks.playbooks.measures.base import Compiled, Measure, Moment, comparison, lookup, needed, number, threshold
from csplaybooks.playbooks.measures.properties import PropertyText
from csplaybooks.playbooks.measures.signals import (
    COUNTED,
    PROPERTIES,
    SIGNAL_TYPE,
    WINDOW_DAYS,
    asked,
    in_plain,
    signals_of,
    window,
)
from csplaybooks.playbooks.measures.sold import Catalogue
from csplaybooks.signals.models import Signal

#: The name of the property that holds a feature's key.
PROPERTY: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 200}

#: So many features are named in words; the evidence has them all.
_MOST_NAMED = 5


class TextList(Aggregate):
    """The different texts of a group, as a JSON list in any order."""

    function = "JSONB_AGG"
    name = "TextList"
    allow_distinct = True

    def __init__(self, expression: Any) -> None:
        super().__init__(expression, distinct=True, output_field=JSONField())

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> Any:
        """For SQLite."""
        return self.as_sql(compiler, connection, function="JSON_GROUP_ARRAY", **extra_context)


class AreaOf(Func):
    """The area of the feature with this key; null for one without. `areas` are a parameter of the SQL.

    The key is read once, however many areas there are: reading it is what takes the time.
    """

    def __init__(self, key: Any, areas: Mapping[str, str]) -> None:
        super().__init__(key, output_field=TextField())
        self.areas = areas

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra_context: Any) -> tuple[str, tuple[Any, ...]]:
        """For PostgreSQL, which finds a name in `jsonb` in few steps."""
        key, params = compiler.compile(self.source_expressions[0])
        return f"(%s::jsonb ->> {key})", (json.dumps(self.areas), *params)

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> tuple[str, tuple[Any, ...]]:
        """For SQLite."""
        key, params = compiler.compile(self.source_expressions[0])
        pairs = [text for pair in self.areas.items() for text in pair]
        return f"(CASE {key} {'WHEN %s THEN %s ' * len(self.areas)}END)", (*params, *pairs)


def _feature(settings: Mapping[str, Any]) -> PropertyText:
    """The key of the feature that a signal names; null where it names none, or not by a text."""
    return PropertyText(settings.get("property", "feature"))


def _holds(moment: Moment, **which: Any) -> Exists:
    """Whether the account of a signal holds such an entitlement at the moment."""
    held = Entitlement.objects.holding_at(moment.as_of, moment.known.mark)
    return Exists(held.filter(account=OuterRef("account"), **which))


def _named(features: list[str]) -> str:
    """A few features in words."""
    names = sorted(features)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


@dataclass(frozen=True)
class _Step:
    """A step up: the plan it leads to and what that one adds, from which plans it leads there, who is there already."""

    plan: str
    features: list[str]
    below: list[int]
    there: list[int]


def _steps(catalogue: Catalogue) -> Iterator[_Step]:
    """The steps between the tiers of all products that add a feature."""
    added: dict[int | None, list[str]] = {}
    for (_, least), keys in catalogue.opened_by().items():
        added.setdefault(least, []).extend(keys)
    for pk, plan in catalogue.plans.items():
        below = [other for other, lower in catalogue.plans.items() if lower.next_plan == pk]
        if below and pk in added:
            yield _Step(plan.key, added[pk], below, catalogue.at_least(pk))


class NextTierTouched(Measure):
    """How many per cent of the features that an account's next plan adds were touched in a window.

    A plan adds the features whose least plan it is: those of tiers further up do not count, nor those of tiers that are
    passed over. The next plan is that of a plan the account holds at the moment, unless it holds that one, or a higher
    one of the product, as well. With several products or plans it is enough that one next plan meets the condition; the
    one of which most was touched is told.
    """

    key = "next_tier_touched"
    treats = (
        "no next plan, one that adds no feature, and one that is held already fail; a feature counts once, "
        "and nothing touched is 0 %"
    )
    moment_is_a_parameter = True
    uses_catalogue = True
    settings_schema = {
        "window_days": WINDOW_DAYS,
        "signal_types": {"type": "array", "items": SIGNAL_TYPE, "minItems": 1, "maxItems": 10, "uniqueItems": True},
        "property": PROPERTY,
    }
    #: Whole per cents, so that the comparison stays in integers.
    threshold_schema = {
        "at_least": {"type": "integer", "minimum": 1, "maximum": 100},
        "above": {"type": "integer", "minimum": 0, "maximum": 99},
    }
    required = ("window_days",)
    signal_type_settings = ("signal_types",)
    _SIGNAL_TYPES = ("feature_gate_hit", "feature_used")

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        steps = list(_steps(moment.known.catalogue))
        if not steps:
            return Compiled(holds=Q(pk__in=[]), found={"next_tier": Value(None, output_field=JSONField())})
        touches = self._touches(settings, moment, steps)
        counts = {f"touched{n}": Count("feature", distinct=True, filter=step) for n, step in enumerate(map(_of, steps))}
        enough = reduce(or_, (Q(**{f"touched{n}__gte": _least(settings, step)}) for n, step in enumerate(steps)))
        best = (
            touches.filter(account=OuterRef("pk"))
            .annotate(
                plan=Case(*(When(_of(step), then=Value(step.plan)) for step in steps), output_field=CharField()),
                total=Case(
                    *(When(_of(step), then=Value(len(step.features))) for step in steps), output_field=IntegerField()
                ),
            )
            .values("plan", "total")
            .annotate(touched=Count("feature", distinct=True), features=TextList("feature"))
            .annotate(share=F("touched") * 1_000_000 / F("total"))
            .order_by("-share", "plan")
            .annotate(told=JSONObject(plan="plan", total="total", touched="touched", features="features"))
        )
        return Compiled(
            holds=Q(
                pk__in=asked(touches, moment).values("account").annotate(**counts).filter(enough).values("account")
            ),
            found={"next_tier": Subquery(best.values("told")[:1])},
        )

    def _touches(self, settings: Mapping[str, Any], moment: Moment, steps: list[_Step]) -> QuerySet[Any]:
        """The signals in the window that name a feature of a next plan of their account, with its key as `feature`."""
        types = settings.get("signal_types", self._SIGNAL_TYPES)
        signals: QuerySet[Any] = (
            Signal.objects.effective_at(moment.known.mark)
            .filter(type_id__in=[moment.known.signal_types.get(key, -1) for key in types])
            .in_window(moment.as_of - window(settings), moment.as_of)
            .annotate(feature=_feature(settings))
            .order_by()
        )
        ahead = (
            _of(step) & Q(_holds(moment, plan__in=step.below)) & ~Q(_holds(moment, plan__in=step.there))
            for step in steps
        )
        return signals.filter(reduce(or_, ahead))

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        least = f"in {settings['window_days']} days, needed {needed(settings)} %"
        told = found["next_tier"]
        if told is None:
            return f"no feature that a next plan adds was touched {least}"
        share = number(round(told["touched"] * 100 / told["total"], 1))
        return (
            f"{told['touched']} of {told['total']} features that {told['plan']} adds touched ({share} %: "
            f"{_named(told['features'])}) {least}"
        )


def _of(step: _Step) -> Q:
    """Whether a signal names a feature that a step adds."""
    return Q(feature__in=step.features)


def _least(settings: Mapping[str, Any], step: _Step) -> int:
    """How many features of a step are enough: touched / total >= percent / 100, cross-multiplied."""
    hundredfold = int(threshold(settings)) * len(step.features)
    return -(-hundredfold // 100) if comparison(settings) == "at_least" else hundredfold // 100 + 1


class UnheldFeatures(Measure):
    """How many signals of a type in a window name a feature that the account does not hold at the moment.

    A feature with a least plan is held with that plan or a higher one of its product; one without, with its product in
    whatever plan.
    """

    key = "unheld_features"
    treats = (
        "none in the window is 0; who holds nothing holds no feature; signals that name no feature of the catalogue "
        "do not count"
    )
    moment_is_a_parameter = True
    uses_catalogue = True
    settings_schema = {
        "signal_type": SIGNAL_TYPE,
        "window_days": WINDOW_DAYS,
        "property": PROPERTY,
        "properties": PROPERTIES,
    }
    threshold_schema = dict(COUNTED)
    required = ("signal_type", "window_days")
    signal_type_settings = ("signal_type",)

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        catalogue = moment.known.catalogue
        unheld = [
            Q(feature__in=keys)
            & ~Q(
                _holds(moment, product=product) if least is None else _holds(moment, plan__in=catalogue.at_least(least))
            )
            for (product, least), keys in catalogue.opened_by().items()
        ]
        if not unheld:
            return Compiled(holds=Q(pk__in=[]), found={"count": Value(0), "features": Value([], JSONField())})
        signals = (
            signals_of(settings, moment)
            .in_window(moment.as_of - window(settings), moment.as_of)
            .annotate(feature=_feature(settings))
            .filter(reduce(or_, unheld))
        )
        enough = (
            asked(signals, moment)
            .values("account")
            .annotate(count=Count("pk"))
            .filter(**{f"count__{lookup(settings)}": int(threshold(settings))})
            .values("account")
        )
        own = signals.filter(account=OuterRef("pk")).values("account")
        return Compiled(
            holds=Q(pk__in=enough),
            found={
                "count": Coalesce(Subquery(own.annotate(n=Count("pk")).values("n")), 0),
                "features": Subquery(own.annotate(named=TextList("feature")).values("named")),
            },
        )

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        features = f" ({_named(found['features'])})" if found["features"] else ""
        return (
            f"{in_plain(settings)}: {found['count']} about features not held{features} in {settings['window_days']} "
            f"days, needed {needed(settings)}"
        )


class NewArea(Measure):
    """An area of a product used for the first time: in the window, and not in the `quiet_days` (180) before it.

    The area of a signal is that of the feature it names. Where it names none of the catalogue, or one without an area,
    it may say the area itself, in its text property `area`.
    """

    key = "new_area"
    treats = (
        "an area last used before `quiet_days` is new again, and where nothing was used every area is new; "
        "signals without an area do not count"
    )
    moment_is_a_parameter = True
    uses_catalogue = True
    settings_schema = {
        "signal_type": SIGNAL_TYPE,
        "window_days": {"type": "integer", "minimum": 1, "maximum": 365},
        "quiet_days": {"type": "integer", "minimum": 1, "maximum": 720},
        "property": PROPERTY,
        "properties": PROPERTIES,
    }
    takes_threshold = False
    required = ("window_days",)
    signal_type_settings = ("signal_type",)
    _SIGNAL_TYPE = "feature_used"
    _QUIET_DAYS = 180

    def reach(self, settings: Mapping[str, Any], max_age_days: Mapping[str, int]) -> dict[str, timedelta]:
        """See `Measure.reach`: it looks at the window and at what was before it."""
        return {"quiet_days": timedelta(days=settings.get("window_days", 0) + self._quiet_days(settings))}

    def _quiet_days(self, settings: Mapping[str, Any]) -> int:
        return int(settings.get("quiet_days", self._QUIET_DAYS))

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        begin = moment.as_of - window(settings)
        area: Any = PropertyText("area")
        if areas := moment.known.catalogue.areas():
            area = Coalesce(AreaOf(_feature(settings), areas), area)
        used = (
            signals_of({"signal_type": self._SIGNAL_TYPE, **settings}, moment)
            .in_window(begin - timedelta(days=self._quiet_days(settings)), moment.as_of)
            .annotate(area=area)
            # Neither without an area nor with an empty one.
            .filter(area__gt="")
        )

        def new(signals: Any) -> Any:
            return signals.values("account", "area").annotate(first=Min("occurred_at")).filter(first__gt=begin)

        own = new(used.filter(account=OuterRef("pk"))).order_by("first", "area")
        return Compiled(
            holds=Q(pk__in=new(asked(used, moment)).values("account")),
            found={"area": Subquery(own.values("area")[:1]), "first_at": Subquery(own.values("first")[:1])},
        )

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        what = in_plain({"signal_type": self._SIGNAL_TYPE, **settings})
        days, quiet = settings["window_days"], self._quiet_days(settings)
        if found["area"] is None:
            return f"{what}: no area in {days} days that was not used in the {quiet} before"
        return f"{what}: {found['area']} first used on {found['first_at']:%Y-%m-%d}, not in the {quiet} days before"
