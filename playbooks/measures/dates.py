"""Measures over calendar days, which are those of the company time zone: tenure, renewal, first value, season."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, ClassVar

from django.db.models import DateField, DurationField, ExpressionWrapper, F, IntegerField, Q, Value
from django.db.models.lookups import GreaterThanOrEqual

from csplaybooks.playbooks.measures.base import Compiled, Measure, Moment, both_ways, lookup, needed, threshold
from csplaybooks.playbooks.measures.facts import OfFacts
from csplaybooks.playbooks.measures.readings import compare
from csplaybooks.signals.models import Strength

#: Whole days, of which there are none below nothing.
DAYS: Mapping[str, Any] = {
    **both_ways(type="integer", minimum=0, maximum=36_500),
    "below": {"type": "integer", "minimum": 1, "maximum": 36_500},
}

#: "At least so many days ago" is "at the latest then".
_TURNED = {"gte": "lte", "gt": "lt", "lte": "gte", "lt": "gt"}


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


class _OfDates(OfFacts):
    """What the measures on days share: the day of the moment is found beside the facts, as `today`."""

    moment_is_a_parameter = True
    uses_today = True
    settings_schema: ClassVar[dict[str, Any]] = {}
    threshold_schema = dict(DAYS)

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        compiled = super().compile(settings, moment)
        today = Value(moment.today, output_field=DateField())
        return Compiled(holds=compiled.holds, found={**compiled.found, "today": today})


class Tenure(_OfDates):
    """For how many days the account has been a customer, or has been activated (`since: activated_on`).

    The first day is day 0.
    """

    key = "tenure"
    strength = None
    treats = "unknown, or a day that is still to come, fails; the first day is 0"
    settings_schema: ClassVar[dict[str, Any]] = {"since": {"enum": ["customer_since", "activated_on"]}}

    def shown(self, settings: Mapping[str, Any]) -> Sequence[str]:
        """See `OfFacts.shown`."""
        return (settings.get("since", "customer_since"),)

    def condition(self, settings: Mapping[str, Any], moment: Moment) -> Q:
        """See `OfFacts.condition`."""
        (since,) = self.shown(settings)
        today = moment.today
        then = today - timedelta(days=int(threshold(settings)))
        return Q(**{f"{since}__lte": today}) & Q(**{f"{since}__{_TURNED[lookup(settings)]}": then})

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        (name,) = self.shown(settings)
        since: date | None = found[name]
        what = "customer" if name == "customer_since" else "activated"
        if since is None:
            said = f"{what} since nobody knows when"
        elif since > found["today"]:
            said = f"{what} only from {since} on"
        else:
            said = f"{what} for {_days((found['today'] - since).days)} (since {since})"
        return f"{said}, needed {needed(settings)}"


class DaysToRenewal(_OfDates):
    """In how many days the account renews; on the day itself 0."""

    key = "days_to_renewal"
    strength = Strength.WEAK.value
    treats = "unknown, or a day that is past, fails; the day itself is 0"

    def shown(self, settings: Mapping[str, Any]) -> Sequence[str]:
        """See `OfFacts.shown`."""
        return ("renewal_on",)

    def condition(self, settings: Mapping[str, Any], moment: Moment) -> Q:
        """See `OfFacts.condition`."""
        today = moment.today
        then = today + timedelta(days=int(threshold(settings)))
        return Q(renewal_on__gte=today) & Q(**{f"renewal_on__{lookup(settings)}": then})

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        renewal: date | None = found["renewal_on"]
        if renewal is None:
            said = "renewal date unknown"
        elif renewal < found["today"]:
            said = f"renewal was on {renewal}"
        else:
            said = f"renewal in {_days((renewal - found['today']).days)} (on {renewal})"
        return f"{said}, needed {needed(settings)}"


class TimeToFirstValue(_OfDates):
    """How many days it took the account from becoming a customer to being activated, once it is."""

    key = "time_to_first_value"
    strength = Strength.MODERATE.value
    treats = "unknown, not activated yet, or activated before it was a customer, fails; the same day is 0"

    def shown(self, settings: Mapping[str, Any]) -> Sequence[str]:
        """See `OfFacts.shown`."""
        return ("customer_since", "activated_on")

    def condition(self, settings: Mapping[str, Any], moment: Moment) -> Q:
        """See `OfFacts.condition`."""
        took = ExpressionWrapper(F("activated_on") - F("customer_since"), output_field=DurationField())
        days = Value(timedelta(days=int(threshold(settings))), output_field=DurationField())
        return (
            Q(activated_on__lte=moment.today)
            & Q(GreaterThanOrEqual(F("activated_on"), F("customer_since")))
            & compare(took, lookup(settings), days)
        )

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        since, activated = found["customer_since"], found["activated_on"]
        if activated is None or activated > found["today"]:
            said = "not activated yet"
        elif since is None:
            said = f"activated on {activated}, and customer since nobody knows when"
        elif activated < since:
            said = f"activated on {activated}, before it was a customer"
        else:
            said = f"first value after {_days((activated - since).days)} (on {activated})"
        return f"{said}, needed {needed(settings)}"


class Season(Measure):
    """The month of the moment is one of `months`; without these, of October to March, when budgets are made."""

    key = "season"
    strength = Strength.WEAK.value
    treats = "the same for every account, whatever is known of it"
    moment_is_a_parameter = True
    uses_today = True
    settings_schema: ClassVar[dict[str, Any]] = {
        "months": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 12},
            "minItems": 1,
            "uniqueItems": True,
        }
    }
    takes_threshold = False
    _BUDGETS = (10, 11, 12, 1, 2, 3)

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        month = moment.today.month
        nobody = Q(pk__in=())
        return Compiled(
            holds=~nobody if month in settings.get("months", self._BUDGETS) else nobody,
            found={"month": Value(month, output_field=IntegerField())},
        )

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        wanted = ", ".join(calendar.month_name[month] for month in settings.get("months", self._BUDGETS))
        return f"it is {calendar.month_name[found['month']]}, needed {wanted}"
