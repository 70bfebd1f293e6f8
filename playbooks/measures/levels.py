"""How far a meter's level moved over a span of days."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import F, OuterRef, Q, Subquery

from csplaybooks.playbooks.measures.base import (
    Compiled,
    Measure,
    Moment,
    comparison,
    from_milli,
    in_days,
    lookup,
    needed,
    number,
    percent,
    threshold,
)
from csplaybooks.playbooks.measures.readings import (
    AMOUNTS,
    DECIMALS,
    METER,
    compare,
    last_of_any_age,
    latest_meets,
    latest_reading,
    no_reading,
)

#: Comparisons multiply thousandths by per cents, and must stay inside 64 bits.
_MOST_PERCENT = 1000


class LevelChange(Measure):
    """By how much a meter changed: from the reading that counted at `as_of - window_days` to the one that counts now.

    In the meter's own unit, or with `percent` in whole per cents of the earlier reading. "Fell by 10 or more" is "at
    most -10". A reading counts until it is older than the meter's maximum age, so that one reading may count at both
    ends: then nothing changed.
    """

    key = "level_change"
    treats = "a missing reading, and one too old at either end, fail; so does a per cent of an earlier zero or less"
    moment_is_a_parameter = True
    settings_schema: ClassVar[dict[str, Any]] = {
        "meter": METER,
        "window_days": {"type": "integer", "minimum": 1, "maximum": 730},
        "percent": {"type": "boolean"},
    }
    required = ("meter", "window_days")
    threshold_schema = dict(AMOUNTS)
    threshold_decimals = DECIMALS
    meter_settings = ("meter",)

    def reach(self, settings: Mapping[str, Any], max_age_days: Mapping[str, int]) -> dict[str, timedelta]:
        """See `Measure.reach`: the earlier reading may be as old as the meter allows, at the window's start already."""
        age = max_age_days.get(settings.get("meter", ""), 0)
        return {"window_days": timedelta(days=settings.get("window_days", 0) + age)}

    def problems(self, settings: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """See `Measure.problems`: per cents are whole, and have bounds of their own."""
        if not settings.get("percent"):
            return
        percent = threshold(settings)
        if percent % 1:
            yield comparison(settings), f"{number(percent)} is not a whole number of per cent"
        elif abs(percent) > _MOST_PERCENT:
            most = f"-{_MOST_PERCENT} and {_MOST_PERCENT}"
            yield comparison(settings), f"{number(percent)} is not between {most} per cent"

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        meter = settings["meter"]
        before = moment.shifted(timedelta(days=settings["window_days"]))
        # Asked of the row of the earlier reading, so that each of the two is looked up once.
        present = Subquery(latest_reading(meter, moment, OuterRef("account")).values("used_milli")[:1])
        change = present - F("used_milli")
        if settings.get("percent"):
            # (present - earlier) / earlier >= percent / 100, cross-multiplied.
            share = F("used_milli") * int(threshold(settings))
            met = Q(used_milli__gt=0) & compare(change * 100, lookup(settings), share)
        else:
            met = compare(change, lookup(settings), int(threshold(settings) * 1000))
        return Compiled(
            holds=latest_meets(meter, before, met),
            found={
                name: Subquery(latest_reading(meter, when, OuterRef("pk")).values("used_milli")[:1])
                for name, when in (("earlier", before), ("present", moment))
            },
        )

    def explain(self, settings: Mapping[str, Any], moment: Moment) -> Mapping[str, Any]:
        """See `Measure.explain`: beside it the last reading of any age, at either end."""
        before = moment.shifted(timedelta(days=settings["window_days"]))
        return {
            **self.compile(settings, moment).found,
            **last_of_any_age(settings["meter"], moment, "last"),
            **last_of_any_age(settings["meter"], before, "last_before"),
        }

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        unit = " %" if settings.get("percent") else ""
        return f"{self._said(settings, found)}, needed {needed(settings)}{unit}"

    def _said(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """What became of the level in the window, in words; levels in thousandths."""
        meter, span = settings["meter"], in_days(settings["window_days"])
        earlier, present = found["earlier"], found["present"]
        if present is None:
            return no_reading(meter, found, "last")
        if earlier is None:
            return no_reading(meter, found, "last_before", f" {span} before")
        what = meter.replace("_", " ")
        levels = f"(from {number(from_milli(earlier))} to {number(from_milli(present))})"
        moved = f"{'did not change' if present == earlier else 'changed'} in {span} {levels}"
        if settings.get("percent") and earlier <= 0:
            return f"{what} {moved}, which is no per cent of anything"
        if present == earlier:
            return f"{what} {moved}"
        change = abs(present - earlier)
        by = percent(change, earlier) if settings.get("percent") else number(from_milli(change))
        return f"{what} {'rose' if present > earlier else 'fell'} by {by} in {span} {levels}"
