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
from csplaybooks.playbooks.measures.base import (
    Compiled,
    Measure,
    Moment,
    comparison,
    day_of,
    in_days,
    lookup,
    needed,
    percent,
    threshold,
)
from csplaybooks.playbooks.measures.lists import TextList, few_of
from csplaybooks.playbooks.measures.properties import PropertyText
from csplaybooks.playbooks.measures.signals import (
    COUNTED,
    PROPERTIES,
    SIGNAL_TYPE,
    WINDOW_DAYS,
    asked,
    how_many,
    in_plain,
    signals_of,
    window,
)
from csplaybooks.playbooks.measures.sold import Catalogue
from csplaybooks.signals.models import Signal, Strength

#: The name of the property that holds a feature's key.
PROPERTY: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 200}


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


def _holds(moment: Moment, account: str, **which: Any) -> Exists:
    """Whether the account of a row around it, by the name it has there, holds such an entitlement at the moment."""
    held = Entitlement.objects.holding_at(moment.as_of, moment.known.mark)
    return Exists(held.filter(account=OuterRef(account), **which))


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
    defaults = {"signal_types": ["feature_gate_hit", "feature_used"]}

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
        types = self.named(settings, "signal_types")
        signals: QuerySet[Any] = (
            Signal.objects.effective_at(moment.known.mark)
            .filter(type_id__in=[moment.known.signal_types.get(key, -1) for key in types])
            .in_window(moment.as_of - window(settings), moment.as_of)
            .annotate(feature=_feature(settings))
            .order_by()
        )
        ahead = (_of(step) & _is_ahead(step, moment, "account") for step in steps)
        return signals.filter(reduce(or_, ahead))

    def explain(self, settings: Mapping[str, Any], moment: Moment) -> Mapping[str, Any]:
        """See `Measure.explain`: beside it which plans are held, and whether the next is ahead and adds anything."""
        catalogue = moment.known.catalogue
        steps = list(_steps(catalogue))
        held = Entitlement.objects.holding_at(moment.as_of, moment.known.mark).order_by()
        own = held.filter(account=OuterRef("pk"), plan__isnull=False)
        followed = [pk for pk, plan in catalogue.plans.items() if plan.next_plan in catalogue.plans]
        ahead = [(_is_ahead(step, moment, "pk"), step) for step in sorted(steps, key=lambda step: step.plan)]
        nothing = Value(None, output_field=CharField())
        return {
            **self.compile(settings, moment).found,
            "plans": Subquery(own.values("account").annotate(names=TextList("plan__key")).values("names")),
            "has_next": Exists(own.filter(plan__in=followed)),
            "next_adds": Exists(own.filter(plan__in=[pk for step in steps for pk in step.below])),
            "ahead": Case(*(When(is_so, then=Value(step.plan)) for is_so, step in ahead), default=nothing),
            "ahead_adds": Case(
                *(When(is_so, then=Value(len(step.features))) for is_so, step in ahead),
                default=Value(0),
                output_field=IntegerField(),
            ),
        }

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        return f"{self._said(settings, found)}, needed {needed(settings)} %"

    def _said(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        span = in_days(settings["window_days"])
        if told := found["next_tier"]:
            share = percent(told["touched"], told["total"])
            return (
                f"{told['touched']} of {told['total']} features that {told['plan']} adds touched ({share}: "
                f"{few_of(told['features'])}) in {span}"
            )
        if "ahead" not in found:
            return f"no feature that a next plan adds was touched in {span}"
        if found["ahead"] is not None:
            return f"none of the {found['ahead_adds']} features that {found['ahead']} adds touched in {span}"
        if not found["plans"]:
            return "no plan held, so none is next"
        plans = few_of(found["plans"])
        if not found["has_next"]:
            return f"no plan comes after {plans}"
        if not found["next_adds"]:
            return f"the plan after {plans} adds no feature"
        return f"the plan after the lower one is held already ({plans})"


def _is_ahead(step: _Step, moment: Moment, account: str) -> Q:
    """Whether an account, referred to by this name, is below a step and not there yet."""
    below = _holds(moment, account, plan__in=step.below)
    return Q(below) & ~Q(_holds(moment, account, plan__in=step.there))


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
                _holds(moment, "account", product=product)
                if least is None
                else _holds(moment, "account", plan__in=catalogue.at_least(least))
            )
            for (product, least), keys in catalogue.opened_by().items()
        ]
        if not unheld:
            return Compiled(holds=Q(pk__in=[]), found={"count": Value(0), "features": Value([], JSONField())})
        signals = self._in_window(settings, moment).filter(reduce(or_, unheld))
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
                "count": how_many(signals),
                "features": Subquery(own.annotate(named=TextList("feature")).values("named")),
            },
        )

    def _in_window(self, settings: Mapping[str, Any], moment: Moment) -> Any:
        """The signals in the window, with the key of the feature that each names as `feature`."""
        # Of what a property holds PostgreSQL expects next to nothing, and takes the slowest of joins to corrections.
        signals = signals_of(settings, moment, of_one=True).in_window(moment.as_of - window(settings), moment.as_of)
        return signals.annotate(feature=_feature(settings))

    def explain(self, settings: Mapping[str, Any], moment: Moment) -> Mapping[str, Any]:
        """See `Measure.explain`: beside it how many there are in all, and how many of these name a feature."""
        signals = self._in_window(settings, moment)
        return {
            **self.compile(settings, moment).found,
            "all": how_many(signals),
            "naming": how_many(signals.filter(feature__in=list(moment.known.catalogue.features))),
        }

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        count = found["count"] or 0
        parts = [few_of(found["features"])] if found["features"] else []
        if "all" in found:
            if held := found["naming"] - count:
                parts.append(f"{held} about features held")
            if unknown := found["all"] - found["naming"]:
                parts.append(f"{unknown} that name no feature")
        of_these = f" ({'; '.join(parts)})" if parts else ""
        span = in_days(settings["window_days"])
        return f"{in_plain(settings)}: {count} about features not held{of_these} in {span}, needed {needed(settings)}"


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
    defaults = {"signal_type": "feature_used"}
    #: A new use case, whatever says so.
    strength = Strength.STRONG.value
    _QUIET_DAYS = 180

    def reach(self, settings: Mapping[str, Any], max_age_days: Mapping[str, int]) -> dict[str, timedelta]:
        """See `Measure.reach`: it looks at the window and at what was before it."""
        return {"quiet_days": timedelta(days=settings.get("window_days", 0) + self._quiet_days(settings))}

    def _quiet_days(self, settings: Mapping[str, Any]) -> int:
        return int(settings.get("quiet_days", self._QUIET_DAYS))

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        begin = moment.as_of - window(settings)
        used = self._used(settings, moment).in_window(begin - timedelta(days=self._quiet_days(settings)), moment.as_of)
        # Neither without an area nor with an empty one.
        used = used.filter(area__gt="")

        def new(signals: Any) -> Any:
            return signals.values("account", "area").annotate(first=Min("occurred_at")).filter(first__gt=begin)

        own = new(used.filter(account=OuterRef("pk"))).order_by("first", "area")
        return Compiled(
            holds=Q(pk__in=new(asked(used, moment)).values("account")),
            found={"area": Subquery(own.values("area")[:1]), "first_at": Subquery(own.values("first")[:1])},
        )

    def _used(self, settings: Mapping[str, Any], moment: Moment) -> Any:
        """The signals of all time, each with its `area`."""
        area: Any = PropertyText("area")
        if areas := moment.known.catalogue.areas():
            area = Coalesce(AreaOf(_feature(settings), areas), area)
        return signals_of({**self.defaults, **settings}, moment).annotate(area=area)

    def explain(self, settings: Mapping[str, Any], moment: Moment) -> Mapping[str, Any]:
        """See `Measure.explain`: beside it how many signals came in the window, and their areas, new or not."""
        signals = self._used(settings, moment).in_window(moment.as_of - window(settings), moment.as_of)
        own = signals.filter(account=OuterRef("pk"), area__gt="").values("account")
        return {
            **self.compile(settings, moment).found,
            "all": how_many(signals),
            "areas": Subquery(own.annotate(areas=TextList("area")).values("areas")),
        }

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        what = in_plain({**self.defaults, **settings})
        span, quiet = in_days(settings["window_days"]), self._quiet_days(settings)
        before = "the day before" if quiet == 1 else f"the {quiet} days before"
        if found["area"] is not None:
            return f"{what}: {found['area']} first used on {day_of(found['first_at'])}, not in {before}"
        wanted = f"needed an area that was not used in {before}"
        if "all" not in found:
            return f"{what}: no new area in {span}, {wanted}"
        if not found["all"]:
            return f"{what}: none in {span}, {wanted}"
        if not found["areas"]:
            return f"{what}: {found['all']} in {span}, none with an area, {wanted}"
        return f"{what}: {few_of(found['areas'])} in {span}, used before already, {wanted}"
