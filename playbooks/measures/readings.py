"""Measures over readings: always the latest reading that is not too old, compared as cross-multiplied integers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import BooleanField, Case, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.lookups import GreaterThan, GreaterThanOrEqual, LessThan, LessThanOrEqual

from csplaybooks.playbooks.measures.base import (
    Compiled,
    Measure,
    Moment,
    both_ways,
    from_milli,
    lookup,
    needed,
    number,
    threshold,
)
from csplaybooks.signals.models import Reading

METER: Mapping[str, Any] = {"type": "string", "minLength": 1}
METERS: Mapping[str, Any] = {"type": "array", "items": METER, "minItems": 1, "maxItems": 10}
#: Amounts in a meter's unit, from either side. The bounds are such that three decimals are exact, and that no threshold
#: in thousandths is taken for one of the ids that `csplaybooks.playbooks.compiled` puts into kept queries.
AMOUNTS: Mapping[str, Any] = both_ways(minimum=-999_999_999_999, maximum=999_999_999_999)
#: Readings are kept in thousandths.
DECIMALS = 3


def latest_reading(meter: str, moment: Moment, account: OuterRef) -> QuerySet[Any]:
    """The latest reading of a meter that counts at a moment and is not older than the meter's maximum age.

    `account` is a reference to the account's id in the query around it. Of two readings at one instant the one
    stored later counts.
    """
    oldest = moment.as_of - timedelta(days=moment.known.max_age_days.get(meter, 0))
    return (
        Reading.objects.effective_at(moment.known.mark)
        .filter(account=account, meter_id=moment.known.meters.get(meter, -1))
        .in_window(oldest, moment.as_of)
        .order_by("-occurred_at", "-pk")
    )


def latest_meets(meter: str, moment: Moment, condition: Q) -> Q:
    """Whether an account's latest reading of a meter meets a condition on `Reading` rows.

    A scalar subquery on purpose: of an EXISTS PostgreSQL makes a join, and then reads every reading there ever was
    that meets the condition; this way it takes one step into the index for each account asked about.
    """
    met = Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())
    latest = latest_reading(meter, moment, OuterRef("pk")).annotate(met=met).values("met")[:1]
    return Q(Subquery(latest, output_field=BooleanField()))


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
    def _held_for(meter: str, moment: Moment, met: Q, grace: timedelta) -> Q:
        # A short spike is forgiven: the condition held at the start of the grace span already, and nothing inside
        # the span says otherwise.
        between = (
            Reading.objects.effective_at(moment.known.mark)
            .filter(account=OuterRef("pk"), meter_id=moment.known.meters.get(meter, -1))
            .in_window(moment.as_of - grace, moment.as_of)
        )
        fails = between.filter(~met | Q(limit_milli__isnull=True))
        return latest_meets(meter, moment.shifted(grace), met) & ~Q(Exists(fails))

    @staticmethod
    def readings(settings: Mapping[str, Any], found: Mapping[str, Any]) -> list[tuple[str, int, int | None]]:
        """What was found, as (meter, used, limit) in thousandths; meters without a reading left out."""
        return [
            (meter, found[f"used{index}"], found[f"limit{index}"])
            for index, meter in enumerate(settings["meters"])
            if found[f"used{index}"] is not None
        ]


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

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        parts = []
        for meter, used, limit in self.readings(settings, found):
            what = meter.replace("_", " ")
            if not limit:
                parts.append(f"{what} has no limit")
                continue
            share = number(round(from_milli(used) * 100 / from_milli(limit), 1))
            parts.append(f"{what} at {share} % ({number(from_milli(used))} of {number(from_milli(limit))})")
        return f"{', '.join(parts) or 'no reading'}, needed {needed(settings)} %"


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

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        parts = []
        for meter, used, limit in self.readings(settings, found):
            what = meter.replace("_", " ")
            if limit:
                over, allowed = number(from_milli(used - limit)), number(from_milli(limit))
                parts.append(f"{what} {over} over the limit of {allowed}")
            else:
                parts.append(f"{what} has no limit")
        return f"{', '.join(parts) or 'no reading'}, needed {needed(settings)}"


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

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        parts = [
            f"{meter.replace('_', ' ')} at {number(from_milli(used))}"
            for meter, used, _ in self.readings(settings, found)
        ]
        return f"{', '.join(parts) or 'no reading'}, needed {needed(settings)}"


_LOOKUPS = {"gte": GreaterThanOrEqual, "gt": GreaterThan, "lte": LessThanOrEqual, "lt": LessThan}


def compare(left: Any, how: str, right: Any) -> Q:
    """Two expressions compared by the name of a Django lookup: `gte`, `gt`, `lte` or `lt`."""
    return Q(_LOOKUPS[how](left, right))
