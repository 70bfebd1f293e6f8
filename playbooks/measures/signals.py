"""Measures over signals: how many, of how many kinds, how many more than before, and how long ago."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.measures.base import (
    Compiled,
    Measure,
    Moment,
    day_of,
    from_milli,
    in_days,
    lookup,
    needed,
    number,
    percent,
    threshold,
)
from csplaybooks.playbooks.measures.properties import PropertyIs, PropertyToken
from csplaybooks.signals.models import Signal

SIGNAL_TYPE: Mapping[str, Any] = {"type": "string", "minLength": 1}
WINDOW_DAYS: Mapping[str, Any] = {"type": "integer", "minimum": 1, "maximum": 730}
#: Narrows to signals whose properties have these values, of the same kind.
PROPERTIES: Mapping[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 5,
    # The bounds are those of numbers: up to them, whole numbers are exact in every database.
    "additionalProperties": {"type": ["string", "integer", "boolean"], "minimum": -(10**12), "maximum": 10**12},
}
#: Counts are whole, and "at least 0" would match an account without any: it says nothing.
COUNTED: Mapping[str, Any] = {
    "at_least": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    "above": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
}


def signals_of(settings: Mapping[str, Any], moment: Moment, *, of_one: bool = False) -> Any:
    """The signals that a condition names, of all time: told of by then, of its type and with its properties.

    `of_one` makes the same of them for a subquery on one account, such as what is found of it.
    """
    mark = moment.known.mark
    signals = Signal.objects.effective_one_by_one_at(mark) if of_one else Signal.objects.effective_at(mark)
    signals = signals.filter(type_id=moment.known.signal_types.get(settings["signal_type"], -1)).order_by()
    for name, value in settings.get("properties", {}).items():
        signals = signals.filter(PropertyIs(name, value))
    return signals


def asked(signals: QuerySet[Any], moment: Moment) -> QuerySet[Any]:
    """Only those of the accounts asked about, as far as conditions before have left any: cost grows with these."""
    if moment.accounts is not None:
        signals = signals.filter(account__in=moment.accounts)
    if moment.among is not None:
        signals = signals.filter(account__in=Account.objects.filter(moment.among).values("pk"))
    return signals


def window(settings: Mapping[str, Any]) -> timedelta:
    """The length of a condition's window."""
    return timedelta(days=settings["window_days"])


def in_plain(settings: Mapping[str, Any]) -> str:
    """The signals of a condition in words: "login", "user added (by: admin)"."""
    what = str(settings["signal_type"]).replace("_", " ")
    wanted = ", ".join(
        f"{name}: {str(value).lower() if isinstance(value, bool) else value}"
        for name, value in settings.get("properties", {}).items()
    )
    return f"{what} ({wanted})" if wanted else what


def how_many(signals: QuerySet[Any], what: Any = "pk", **filters: Any) -> Coalesce:
    """How many of some signals an account of the query around them has, zero for none."""
    own = signals.filter(account=OuterRef("pk")).values("account")
    return Coalesce(Subquery(own.annotate(how_many=Count(what, **filters)).values("how_many")), 0)


class SignalCount(Measure):
    """How many signals of a type came in a window `(as_of - window_days, as_of]`."""

    key = "signal_count"
    treats = "none in the window is 0"
    moment_is_a_parameter = True
    narrow = True
    settings_schema = {"signal_type": SIGNAL_TYPE, "window_days": WINDOW_DAYS, "properties": PROPERTIES}
    threshold_schema = dict(COUNTED)
    required = ("signal_type", "window_days")
    signal_type_settings = ("signal_type",)

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        signals = signals_of(settings, moment).in_window(moment.as_of - window(settings), moment.as_of)
        enough = (
            asked(signals, moment)
            .values("account")
            .annotate(count=Count("pk"))
            .filter(**{f"count__{lookup(settings)}": int(threshold(settings))})
            .values("account")
        )
        theirs = signals_of(settings, moment, of_one=True).in_window(moment.as_of - window(settings), moment.as_of)
        own = theirs.filter(account=OuterRef("pk")).values("account")
        return Compiled(
            holds=Q(pk__in=enough),
            found={
                "count": how_many(theirs),
                "last_at": Subquery(own.annotate(last=Max("occurred_at")).values("last")),
            },
        )

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        span = in_days(settings["window_days"])
        return f"{in_plain(settings)}: {found['count'] or 0} in {span}, needed {needed(settings)}"


class DistinctCount(Measure):
    """How many different people sent signals of a type in a window, or how many values a property of theirs had.

    Without `property` the actors are counted. Signals without an actor, and those whose property is not there, null,
    a list or a mapping, count for nothing. Values are told apart by kind: `1` and `"1"` are two.
    """

    key = "distinct_count"
    treats = "none in the window is 0; signals without an actor or without the property do not count"
    moment_is_a_parameter = True
    settings_schema = {
        "signal_type": SIGNAL_TYPE,
        "window_days": WINDOW_DAYS,
        "property": {"type": "string", "minLength": 1, "maxLength": 200},
        "properties": PROPERTIES,
    }
    threshold_schema = dict(COUNTED)
    required = ("signal_type", "window_days")
    signal_type_settings = ("signal_type",)

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        signals, what = self._named(settings, moment)
        enough = (
            asked(signals, moment)
            .values("account")
            .annotate(count=Count(what, distinct=True))
            .filter(**{f"count__{lookup(settings)}": int(threshold(settings))})
            .values("account")
        )
        return Compiled(holds=Q(pk__in=enough), found={"count": how_many(signals, what, distinct=True)})

    def _named(self, settings: Mapping[str, Any], moment: Moment) -> tuple[Any, Any]:
        """The signals in the window, and what of them is counted."""
        signals = signals_of(settings, moment).in_window(moment.as_of - window(settings), moment.as_of)
        if "property" in settings:
            return signals, PropertyToken(settings["property"])
        return signals.exclude(actor=""), F("actor")

    def explain(self, settings: Mapping[str, Any], moment: Moment) -> Mapping[str, Any]:
        """See `Measure.explain`: beside it, how many signals count for nothing, because they name none."""
        signals = signals_of(settings, moment).in_window(moment.as_of - window(settings), moment.as_of)
        if "property" in settings:
            nameless = signals.annotate(token=PropertyToken(settings["property"])).filter(token__isnull=True)
        else:
            nameless = signals.filter(actor="")
        return {**self.compile(settings, moment).found, "nameless": how_many(nameless)}

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        what = f"values of {settings['property']}" if "property" in settings else "people"
        said = f"{in_plain(settings)}: {found['count'] or 0} different {what} in {in_days(settings['window_days'])}"
        if nameless := found.get("nameless"):
            # Where nobody asks why, nobody needs to know of them.
            said += f" ({nameless} without {settings.get('property', 'an actor')} left out)"
        return f"{said}, needed {needed(settings)}"


class SignalGrowth(Measure):
    """By how many per cent signals of a type grew from the window before to the window `(as_of - window_days, as_of]`.

    Counted are the signals, or the sum of their values (`of: value`). `least_before` is how much there must have been
    in the window before: growth from next to nothing says nothing.
    """

    key = "growth"
    treats = "nothing in the window before, or less than `least_before`, is no growth and fails"
    moment_is_a_parameter = True
    settings_schema = {
        "signal_type": SIGNAL_TYPE,
        "window_days": {"type": "integer", "minimum": 1, "maximum": 365},
        "properties": PROPERTIES,
        "of": {"enum": ["count", "value"]},
        "least_before": {"type": "integer", "minimum": 1, "maximum": 1_000_000_000},
    }
    #: Whole per cents, so that the comparison stays in integers.
    threshold_schema = {
        "at_least": {"type": "integer", "minimum": 1, "maximum": 100_000},
        "above": {"type": "integer", "minimum": 0, "maximum": 100_000},
    }
    required = ("signal_type", "window_days")
    signal_type_settings = ("signal_type",)

    def reach(self, settings: Mapping[str, Any], max_age_days: Mapping[str, int]) -> dict[str, timedelta]:
        """See `Measure.reach`: it looks at two windows."""
        return {"window_days": timedelta(days=2 * settings.get("window_days", 0))}

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        middle = moment.as_of - window(settings)
        begin = middle - window(settings)
        signals = signals_of(settings, moment).in_window(begin, moment.as_of)
        by_value = settings.get("of") == "value"
        sizes = {
            name: Sum("value_milli", filter=when, default=0) if by_value else Count("pk", filter=when)
            for name, when in (("present", Q(occurred_at__gt=middle)), ("before", Q(occurred_at__lte=middle)))
        }
        least = settings.get("least_before", 1) * (1000 if by_value else 1)
        # present / before - 1 >= percent / 100, cross-multiplied.
        grown = {f"hundredfold__{lookup(settings)}": F("before") * (100 + int(threshold(settings)))}
        enough = (
            asked(signals, moment)
            .values("account")
            .annotate(**sizes)
            .filter(before__gte=least)
            .annotate(hundredfold=F("present") * 100)
            .filter(**grown)
            .values("account")
        )
        theirs = signals_of(settings, moment, of_one=True).in_window(begin, moment.as_of)
        own = theirs.filter(account=OuterRef("pk")).values("account").annotate(**sizes)
        return Compiled(
            holds=Q(pk__in=enough),
            found={name: Coalesce(Subquery(own.values(name)), 0) for name in sizes},
        )

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        present, before = found["present"] or 0, found["before"] or 0
        by_value = settings.get("of") == "value"
        least = settings.get("least_before", 1)
        if before <= 0:
            change = "no growth"
        elif before < least * (1000 if by_value else 1):
            change = f"less than {least} before is no growth"
        else:
            change = f"{percent(abs(present - before), before)} {'more' if present >= before else 'less'}"
        if by_value:
            present, before = number(from_milli(present)), before and number(from_milli(before))
        from_on = f" (from {settings['least_before']} on)" if "least_before" in settings else ""
        return (
            f"{in_plain(settings)}: {present} in {in_days(settings['window_days'])} after {before or 'nothing'} in "
            f"{'the one' if settings['window_days'] == 1 else 'those'} before, {change}, needed {needed(settings)} %"
            f"{from_on}"
        )


class DaysSince(Measure):
    """How many days ago the last signal of a type came; of those in the last `window_days` (365).

    "At least 14" means that it lies fourteen whole days back or more. What never came in these days is no answer, and
    fails, unless `never` says that it holds.
    """

    key = "days_since"
    treats = "none in `window_days` fails, or holds where `never: holds` says so"
    moment_is_a_parameter = True
    settings_schema = {
        "signal_type": SIGNAL_TYPE,
        "window_days": WINDOW_DAYS,
        "properties": PROPERTIES,
        "never": {"enum": ["fails", "holds"]},
    }
    threshold_schema: ClassVar[dict[str, Any]] = {
        "at_least": {"type": "integer", "minimum": 1, "maximum": 729},
        "above": {"type": "integer", "minimum": 0, "maximum": 729},
        "at_most": {"type": "integer", "minimum": 1, "maximum": 729},
        "below": {"type": "integer", "minimum": 1, "maximum": 729},
    }
    required = ("signal_type",)
    signal_type_settings = ("signal_type",)
    _LONGEST = 365

    def reach(self, settings: Mapping[str, Any], max_age_days: Mapping[str, int]) -> dict[str, timedelta]:
        """See `Measure.reach`."""
        return {"window_days": timedelta(days=settings.get("window_days", self._LONGEST))}

    def problems(self, settings: Mapping[str, Any]) -> Any:
        """See `Measure.problems`."""
        longest = settings.get("window_days", self._LONGEST)
        if threshold(settings) >= longest:
            yield "window_days", f"{number(threshold(settings))} days cannot be told within a window of {longest}"

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        longest = timedelta(days=settings.get("window_days", self._LONGEST))
        signals = signals_of(settings, moment).in_window(moment.as_of - longest, moment.as_of)
        # "At least so many days ago" is "at the latest then".
        turned = {"gte": "lte", "gt": "lt", "lte": "gte", "lt": "gt"}[lookup(settings)]
        then = moment.as_of - timedelta(days=int(threshold(settings)))
        last = asked(signals, moment).values("account").annotate(last=Max("occurred_at"))
        holds = Q(pk__in=last.filter(**{f"last__{turned}": then}).values("account"))
        if settings.get("never") == "holds":
            holds |= ~Q(Exists(signals.filter(account=OuterRef("pk"))))
        theirs = signals_of(settings, moment, of_one=True).in_window(moment.as_of - longest, moment.as_of)
        own = theirs.filter(account=OuterRef("pk")).values("account")
        return Compiled(holds=holds, found={"last_at": Subquery(own.annotate(last=Max("occurred_at")).values("last"))})

    def explain(self, settings: Mapping[str, Any], moment: Moment) -> Mapping[str, Any]:
        """See `Measure.explain`: beside it the moment, to tell how long ago that is."""
        return {**self.compile(settings, moment).found, "as_of": moment.as_value()}

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        last: datetime | None = found["last_at"]
        wanted = f"{needed(settings)} days ago"
        if settings.get("never") == "holds":
            wanted += " or none"
        if last is None:
            said = f"none in {in_days(settings.get('window_days', self._LONGEST))}"
        elif found.get("as_of") is None:
            said = f"last on {day_of(last)}"
        else:
            said = f"last {_ago(found['as_of'] - last)} (on {day_of(last)})"
        return f"{in_plain(settings)}: {said}, needed {wanted}"


def _ago(span: timedelta) -> str:
    """How long ago, in words, so that it stands on the right side of a threshold of whole days."""
    days, rest = divmod(span, timedelta(days=1))
    if not days and rest:
        return "less than a day ago"
    return f"{'more than ' if rest else ''}{'1 day' if days == 1 else f'{days} days'} ago"
