"""Measures over readings: always the latest reading that is not too old, compared as cross-multiplied integers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import BooleanField, Case, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.lookups import GreaterThan, GreaterThanOrEqual, LessThan, LessThanOrEqual

from csplaybooks.conf import company_time_zone
from csplaybooks.playbooks.measures.base import (
    Compiled,
    Measure,
    Moment,
    both_ways,
    day_of,
    from_milli,
    in_days,
    lookup,
    needed,
    number,
    percent,
    threshold,
)
from csplaybooks.signals.models import Reading
from csplaybooks.signals.models.events import EventQuerySet

METER: Mapping[str, Any] = {"type": "string", "minLength": 1}
METERS: Mapping[str, Any] = {"type": "array", "items": METER, "minItems": 1, "maxItems": 10}
#: Amounts in a meter's unit, from either side. The bounds are such that three decimals are exact.
AMOUNTS: Mapping[str, Any] = both_ways(minimum=-999_999_999_999, maximum=999_999_999_999)
#: Readings are kept in thousandths.
DECIMALS = 3


def latest_reading(meter: str, moment: Moment, account: OuterRef) -> QuerySet[Any]:
    """The latest reading of a meter that counts at a moment and is not older than the meter's maximum age.

    `account` is a reference to the account's id in the query around it. Of two readings at one instant the one
    stored later counts.
    """
    oldest = moment.as_of - timedelta(days=moment.known.max_age_days.get(meter, 0))
    return _readings(meter, moment, account).in_window(oldest, moment.as_of).order_by("-occurred_at", "-pk")


def _readings(meter: str, moment: Moment, account: OuterRef) -> EventQuerySet:
    """The readings of a meter that count at the mark, of all time and in no order."""
    readings: EventQuerySet = Reading.objects.effective_one_by_one_at(moment.known.mark).order_by()
    return readings.filter(account=account, meter_id=moment.known.meters.get(meter, -1))


def last_of_any_age(meter: str, moment: Moment, name: str) -> dict[str, Any]:
    """The last reading of a meter before the moment, however old: what tells an old reading from none.

    Expressions over accounts: its level as `{name}_used`, its moment as `{name}_at`, and the meter's maximum age in
    days as `{name}_max_age`.
    """
    last = _readings(meter, moment, OuterRef("pk")).filter(occurred_at__lte=moment.as_of)
    last = last.order_by("-occurred_at", "-pk")
    return {
        f"{name}_used": Subquery(last.values("used_milli")[:1]),
        f"{name}_at": Subquery(last.values("occurred_at")[:1]),
        f"{name}_max_age": Value(moment.known.max_age_days.get(meter, 0), output_field=IntegerField()),
    }


def no_reading(meter: str, found: Mapping[str, Any], name: str, when: str = "") -> str:
    """Why no reading of a meter counts, in words: of what `last_of_any_age` found, if it was asked.

    `when` says of which moment, as in " 30 days before"; nothing is the moment itself.
    """
    what = meter.replace("_", " ")
    last = found.get(f"{name}_at")
    if last is None:
        return f"no reading of {what}{when}"
    is_older = "was older than its" if when else "is older than its"
    return (
        f"the last reading of {what}{when} ({number(from_milli(found[f'{name}_used']))} on {day_of(last)}) "
        f"{is_older} maximum age of {in_days(found[f'{name}_max_age'])}"
    )


def latest_meets(meter: str, moment: Moment, condition: Q) -> Q:
    """Whether an account's latest reading of a meter meets a condition on `Reading` rows.

    A scalar subquery on purpose: of an EXISTS PostgreSQL makes a join, and then reads every reading there ever was
    that meets the condition; this way it takes one step into the index for each account asked about.
    """
    latest = latest_reading(meter, moment, OuterRef("pk")).annotate(met=_whether(condition)).values("met")[:1]
    return Q(Subquery(latest, output_field=BooleanField()))


def _whether(condition: Q) -> Case:
    """Whether a condition holds for a row: true or false, and never nothing."""
    return Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())


class _LatestReading(Measure):
    """What the measures on an account's latest readings share. A missing or too old reading fails the condition."""

    meter_settings = ("meters",)
    required = ("meters",)

    def condition(self, settings: Mapping[str, Any]) -> Q:
        """The comparison, over `Reading` rows."""
        raise NotImplementedError  # pragma: no cover - all subclasses have their own

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        met = self.condition(settings)
        holds = Q()
        for meter in settings["meters"]:
            meets = latest_meets(meter, moment, met)
            if grace := settings.get("grace_hours"):
                meets &= self._held_for(meter, moment, met, timedelta(hours=grace))
            holds |= meets
        found: dict[str, Any] = {}
        for index, meter in enumerate(settings["meters"]):
            latest = latest_reading(meter, moment, OuterRef("pk"))
            found[f"used{index}"] = Subquery(latest.values("used_milli")[:1])
            found[f"limit{index}"] = Subquery(latest.values("limit_milli")[:1])
        return Compiled(holds=holds, found=found)

    @staticmethod
    def _breaks(meter: str, moment: Moment, met: Q, grace: timedelta) -> Any:
        """The readings inside the grace span that say otherwise."""
        between = _readings(meter, moment, OuterRef("pk")).in_window(moment.as_of - grace, moment.as_of)
        return between.filter(~met | Q(limit_milli__isnull=True))

    @classmethod
    def _held_for(cls, meter: str, moment: Moment, met: Q, grace: timedelta) -> Q:
        # A short spike is forgiven: the condition held at the start of the grace span already, and nothing inside
        # the span says otherwise.
        fails = cls._breaks(meter, moment, met, grace)
        return latest_meets(meter, moment.shifted(grace), met) & ~Q(Exists(fails))

    def explain(self, settings: Mapping[str, Any], moment: Moment) -> Mapping[str, Any]:
        """See `Measure.explain`: beside it the last reading of any age, and what stood in the way of the grace span."""
        found = dict(self.compile(settings, moment).found)
        for index, meter in enumerate(settings["meters"]):
            found |= last_of_any_age(meter, moment, f"last{index}")
            if grace := settings.get("grace_hours"):
                found |= self._spike(meter, moment, self.condition(settings), timedelta(hours=grace), index)
        return found

    def _spike(self, meter: str, moment: Moment, met: Q, grace: timedelta, index: int) -> dict[str, Any]:
        """Whether the condition holds now, whether it did at the start of the grace span, and what broke it between."""
        start = moment.shifted(grace)
        breaks = self._breaks(meter, moment, met, grace).order_by("-occurred_at", "-pk")
        found: dict[str, Any] = {}
        for name, when in (("now", moment), ("start", start)):
            latest = latest_reading(meter, when, OuterRef("pk")).annotate(met=_whether(met))
            found[f"{name}{index}_met"] = Subquery(latest.values("met")[:1], output_field=BooleanField())
        for name, readings in (("start", latest_reading(meter, start, OuterRef("pk"))), ("break", breaks)):
            for column in ("used_milli", "limit_milli"):
                found[f"{name}{index}_{column.partition('_')[0]}"] = Subquery(readings.values(column)[:1])
        return {**found, f"break{index}_at": Subquery(breaks.values("occurred_at")[:1])}

    def said(self, used: int, limit: int | None) -> str:
        """A reading in words, in thousandths: "at 90 % (9 of 10)"."""
        raise NotImplementedError  # pragma: no cover - all subclasses have their own

    def found_in_words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """What was found of each meter, in words. Of an account that matches, meters without a reading are left out."""
        parts = []
        for index, meter in enumerate(settings["meters"]):
            used = found[f"used{index}"]
            if used is not None:
                said = self.said(used, found[f"limit{index}"])
                parts.append(f"{meter.replace('_', ' ')} {said}{self._but_not_for_long(settings, found, index)}")
            elif f"last{index}_at" in found:
                parts.append(no_reading(meter, found, f"last{index}"))
        return ", ".join(parts) or "no reading"

    def _but_not_for_long(self, settings: Mapping[str, Any], found: Mapping[str, Any], index: int) -> str:
        """Why the condition holds now, and has not for the grace span; nothing where it is not so."""
        if not found.get(f"now{index}_met"):
            return ""
        span = f", but not for {_hours(settings['grace_hours'])}: "
        if (broken_at := found[f"break{index}_at"]) is not None:
            when = f"{broken_at.astimezone(company_time_zone()):%Y-%m-%d %H:%M}"
            return f"{span}{self.said(found[f'break{index}_used'], found[f'break{index}_limit'])} on {when}"
        if (used := found[f"start{index}_used"]) is None:
            return f"{span}no reading counted before"
        if not found[f"start{index}_met"]:
            return f"{span}{self.said(used, found[f'start{index}_limit'])} before"
        return ""


def _hours(count: int) -> str:
    return "an hour" if count == 1 else f"{count} hours"


def _for_how_long(settings: Mapping[str, Any]) -> str:
    """The grace span of a condition, as what is needed: " for 24 hours"."""
    return f" for {_hours(settings['grace_hours'])}" if "grace_hours" in settings else ""


_OF_A_LIMIT = {"meters": METERS, "grace_hours": {"type": "integer", "minimum": 1, "maximum": 720}}
_TREATS_LIMITS = "a missing reading, one older than the meter's maximum age, and a limit of zero or nothing fail"


class ShareOfLimit(_LatestReading):
    """The latest reading of any of the meters, as a whole per cent of its limit; zero or nothing is no limit."""

    key = "share_of_limit"
    treats = _TREATS_LIMITS
    moment_is_a_parameter = True
    settings_schema = _OF_A_LIMIT
    # Whole per cents, so that the comparison stays in integers.
    threshold_schema = {
        "at_least": {"type": "integer", "minimum": 1, "maximum": 1000},
        "above": {"type": "integer", "minimum": 0, "maximum": 1000},
    }

    def condition(self, settings: Mapping[str, Any]) -> Q:
        """`used / limit >= percent / 100`, cross-multiplied."""
        limit = F("limit_milli") * int(threshold(settings))
        return Q(limit_milli__gt=0) & compare(F("used_milli") * 100, lookup(settings), limit)

    def said(self, used: int, limit: int | None) -> str:
        """See `_LatestReading.said`."""
        if limit is None or limit <= 0:
            return "without a limit"
        return f"at {percent(used, limit)} ({number(from_milli(used))} of {number(from_milli(limit))})"

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        return f"{self.found_in_words(settings, found)}, needed {needed(settings)} %{_for_how_long(settings)}"


class AmountOverLimit(_LatestReading):
    """How far the latest reading of any of the meters lies above its limit, in the meter's own unit."""

    key = "amount_over_limit"
    treats = _TREATS_LIMITS
    moment_is_a_parameter = True
    settings_schema = _OF_A_LIMIT
    threshold_schema = {
        "at_least": {"type": "number", "minimum": -1_000_000_000, "maximum": 1_000_000_000},
        "above": {"type": "number", "minimum": -1_000_000_000, "maximum": 1_000_000_000},
    }
    threshold_decimals = DECIMALS

    def condition(self, settings: Mapping[str, Any]) -> Q:
        """`used - limit >= threshold`, in thousandths."""
        over = int(threshold(settings) * 1000)
        return Q(limit_milli__gt=0) & compare(F("used_milli"), lookup(settings), F("limit_milli") + over)

    def said(self, used: int, limit: int | None) -> str:
        """See `_LatestReading.said`."""
        if limit is None or limit <= 0:
            return "without a limit"
        side = "over" if used >= limit else "under"
        return f"{number(from_milli(abs(used - limit)))} {side} the limit of {number(from_milli(limit))}"

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        said = self.found_in_words(settings, found)
        # Which side is needed says itself, but where another one was found.
        over = " over" if " under the limit" in said else ""
        return f"{said}, needed {needed(settings)}{over}{_for_how_long(settings)}"


class Level(_LatestReading):
    """The latest reading of any of the meters, in the meter's own unit, whatever its limit. Zero is a level."""

    key = "level"
    treats = "a missing reading and one older than the meter's maximum age fail; zero is a level"
    moment_is_a_parameter = True
    settings_schema: ClassVar[dict[str, Any]] = {"meters": METERS}
    threshold_schema = dict(AMOUNTS)
    threshold_decimals = DECIMALS

    def condition(self, settings: Mapping[str, Any]) -> Q:
        """The level against the threshold, in thousandths."""
        return Q(**{f"used_milli__{lookup(settings)}": int(threshold(settings) * 1000)})

    def said(self, used: int, limit: int | None) -> str:
        """See `_LatestReading.said`."""
        return f"at {number(from_milli(used))}"

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        return f"{self.found_in_words(settings, found)}, needed {needed(settings)}"


_LOOKUPS = {"gte": GreaterThanOrEqual, "gt": GreaterThan, "lte": LessThanOrEqual, "lt": LessThan}


def compare(left: Any, how: str, right: Any) -> Q:
    """Two expressions compared by the name of a Django lookup: `gte`, `gt`, `lte` or `lt`."""
    return Q(_LOOKUPS[how](left, right))
