"""What a measure is: one small class that turns a condition into SQL and its finding into words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django.db.models import DateTimeField, Q, Value
from django.db.models.expressions import Combinable

from csplaybooks.accounts.ids import Ids
from csplaybooks.conf import company_time_zone
from csplaybooks.playbooks.measures.sold import Catalogue
from csplaybooks.signals.horizon import pruned_before
from csplaybooks.signals.models import Meter, SignalType, Strength
from csplaybooks.signals.readiness import Weights

#: The strength of a measure that says as much as the kinds of signal and meter which its settings name.
OF_ITS_KINDS = "of its kinds"


@dataclass(frozen=True)
class Known:
    """What the system had been told, and what it used that is not dated truth.

    `kept_from` is the horizon: signals and readings from before it may be gone (None: nothing was pruned).
    `mark` is the id of the run up to which inputs count (None: everything stored until now). `signal_types` and
    `meters` give ids by key, `max_age_days` the maximum age of a reading by meter key. `catalogue` is what is sold; it
    is empty where nobody asked for it, and in what runs kept before measures asked for it. `readiness` are the weights
    of readiness scores; None where nobody asked for them, or none were published.
    """

    mark: int | None
    signal_types: Mapping[str, int] = field(default_factory=dict)
    meters: Mapping[str, int] = field(default_factory=dict)
    max_age_days: Mapping[str, int] = field(default_factory=dict)
    kept_from: datetime | None = None
    catalogue: Catalogue = field(default_factory=Catalogue)
    readiness: Weights | None = None

    @classmethod
    def now(cls, mark: int | None = None, *, catalogue: bool = True, readiness: bool = True) -> Known:
        """What is there today: three queries, two for what is sold, and one for the weights of readiness.

        Without `catalogue` only for triggers none of whose measures `uses_catalogue`; so with `readiness`.
        """
        meters = list(Meter.objects.values_list("key", "pk", "max_age_days"))
        return cls(
            mark=mark,
            signal_types=dict(SignalType.objects.values_list("key", "pk")),
            meters={key: pk for key, pk, _ in meters},
            max_age_days={key: days for key, _, days in meters},
            kept_from=pruned_before(),
            catalogue=Catalogue.now() if catalogue else Catalogue(),
            readiness=Weights.in_force() if readiness else None,
        )

    def as_json(self) -> dict[str, Any]:
        """What a run keeps, so that it can be replayed after the catalogue has changed."""
        kept: dict[str, Any] = {
            "signal_types": dict(self.signal_types),
            "meters": dict(self.meters),
            "max_age_days": dict(self.max_age_days),
        }
        if self.catalogue != Catalogue():
            kept["catalogue"] = self.catalogue.as_json()
        if self.readiness is not None:
            # Its id says it all: published weights never change, and are never deleted.
            kept["readiness"] = self.readiness.id
        return kept

    @classmethod
    def from_json(cls, mark: int, inputs: Mapping[str, Any]) -> Known:
        """What a recorded run knew; what was pruned since cannot be asked for any more.

        One query, and one for the weights of readiness where they were kept.
        """
        # A run keeps more beside: what its budget stood on.
        kept = {name: value for name, value in inputs.items() if name in cls.__dataclass_fields__}
        catalogue = Catalogue.from_json(kept.pop("catalogue")) if "catalogue" in kept else Catalogue()
        readiness = Weights.by_id(kept.pop("readiness")) if "readiness" in kept else None
        return cls(mark=mark, **kept, kept_from=pruned_before(), catalogue=catalogue, readiness=readiness)


@dataclass(frozen=True)
class Moment:
    """What a measure compiles against: the moment asked about, what was known, and which accounts are asked about.

    `accounts` is None for all accounts, or stands for the ids of some: it can be filtered by, as in
    `account__in=moment.accounts`, and nothing else. A measure that groups over its own table must limit itself to
    them, so that cost grows with what changed and not with what is stored.
    """

    as_of: datetime
    known: Known
    accounts: tuple[int, ...] | Ids | None = None
    #: Who meets a condition before this one that is `narrow`, over `Account` rows: a measure that would read much may
    #: leave the others alone. None where there is none.
    among: Q | None = None
    #: The day that `today` answers in a query that is kept for it.
    day: date | None = None

    @property
    def today(self) -> date:
        """The calendar day of the moment, in the company time zone. For measures that say `uses_today`."""
        return self.day or self.as_of.astimezone(company_time_zone()).date()

    def as_value(self) -> Any:
        """The moment as an expression, to be found beside what it is held against."""
        # In a query that is kept it is one already.
        is_one = hasattr(self.as_of, "resolve_expression")
        return self.as_of if is_one else Value(self.as_of, output_field=DateTimeField())

    def shifted(self, by: timedelta) -> Moment:
        """The same question about an earlier moment, knowing what is known now."""
        return Moment(self.as_of - by, self.known, self.accounts)


@dataclass(frozen=True)
class Compiled:
    """A condition in SQL, over accounts: whether it holds, and the values it found.

    `found` are expressions computed only for the accounts that match; their names are the measure's own. What is asked
    of accounts that do not match is `Measure.explain`.
    """

    holds: Q | Combinable
    found: Mapping[str, Any]


#: How a condition compares: the Django lookup and the words of each setting that holds a threshold.
COMPARISONS: Mapping[str, tuple[str, str]] = {
    "at_least": ("gte", "at least"),
    "above": ("gt", "above"),
    "at_most": ("lte", "at most"),
    "below": ("lt", "below"),
}


def comparison(settings: Mapping[str, Any]) -> str:
    """The name of the setting that holds a condition's threshold, one of `COMPARISONS`."""
    return next(name for name in COMPARISONS if name in settings)


def lookup(settings: Mapping[str, Any]) -> str:
    """The Django lookup of a condition's comparison: `gte`, `gt`, `lte` or `lt`."""
    return COMPARISONS[comparison(settings)][0]


def threshold(settings: Mapping[str, Any]) -> Decimal:
    """The number a condition compares with."""
    return Decimal(str(settings[comparison(settings)]))


def needed(settings: Mapping[str, Any]) -> str:
    """The comparison in words: "at least 3", "above 80"."""
    return f"{COMPARISONS[comparison(settings)][1]} {number(threshold(settings))}"


def both_ways(**bounds: Any) -> dict[str, Any]:
    """The schema of a threshold that may be asked for from either side, each a number within the same bounds."""
    return {name: {"type": "number", **bounds} for name in COMPARISONS}


def number(value: Decimal | float) -> str:
    """A number as people write it: no exponent, no trailing zeros."""
    text = f"{Decimal(str(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def from_milli(value: int) -> Decimal:
    """An integer of thousandths as the number it stands for."""
    return Decimal(value) / 1000


def percent(part: int, whole: int) -> str:
    """A share in per cent, in words: to one decimal, and "just under" or "just over" what it would be rounded to.

    Thresholds are whole per cents: a share that misses one by a hair must not read as if it met it.
    """
    share = round(Decimal(part) * 100 / whole, 1) + 0  # of which zero has no sign
    # Of a fraction the nearest whole is told, of which it lies a hair to one side.
    off = part * 100 - share * whole
    if share % 1 or not off:
        return f"{number(share)} %"
    return f"just {'over' if (off > 0) == (whole > 0) else 'under'} {number(share)} %"


def in_days(count: int) -> str:
    """A span of days in words, as in "in 7 days" and "in a day"."""
    return "a day" if count == 1 else f"{count} days"


def day_of(moment: datetime) -> str:
    """The calendar day of a moment in the company time zone, as `2026-11-16`."""
    return f"{moment.astimezone(company_time_zone()):%Y-%m-%d}"


def listed(names: Iterable[str], joined_by: str = "or") -> str:
    """Names as people list them: "a", "a or b", "a, b or c"."""
    *most, last = names
    return f"{', '.join(most)} {joined_by} {last}" if most else last


class Measure:
    """A kind of condition. Subclasses are registered by key and have no state.

    `settings_schema` holds the JSON schema properties of the condition beside `measure`; `required` those that must
    be there. `takes_threshold` says that exactly one of the settings of `threshold_schema` is needed.
    """

    key: ClassVar[str]
    #: How it treats nothing, what is too old, and zero: one line for the documentation and the editor.
    treats: ClassVar[str] = ""
    settings_schema: ClassVar[dict[str, Any]]
    required: ClassVar[tuple[str, ...]] = ()
    takes_threshold: ClassVar[bool] = True
    #: What is taken for settings that were left out, where they name signal types or meters.
    defaults: ClassVar[Mapping[str, Any]] = {}
    #: How much it says of readiness to grow, one of `Strength`; None for what says nothing by itself: a segment.
    #: By default it is that of the signal types and meters its settings name, and moderate where these name none.
    strength: ClassVar[str | None] = OF_ITS_KINDS
    #: How thresholds are written, of `COMPARISONS`. "at least" is >=, "above" is >, "at most" is <=, "below" is <.
    threshold_schema: ClassVar[dict[str, Any]] = {"at_least": {"type": "number"}, "above": {"type": "number"}}
    #: The most decimals a threshold may have; more are refused and not rounded. None: the schema says enough.
    threshold_decimals: ClassVar[int | None] = None
    #: Whether `compile` only shifts the moment by spans and hands it and the mark on as parameters of the SQL. Then the
    #: query is built once and asked for every moment (`csplaybooks.playbooks.compiled`). Leave it False for a measure
    #: that looks at the moment itself.
    moment_is_a_parameter: ClassVar[bool] = False
    #: Whether `compile` looks at `moment.today` beside: then the query is built once for each day.
    uses_today: ClassVar[bool] = False
    #: Whether `compile` looks at `moment.known.catalogue`. Runs load and keep it only for measures that say so.
    uses_catalogue: ClassVar[bool] = False
    #: Whether `compile` looks at `moment.known.readiness`. As above.
    uses_readiness: ClassVar[bool] = False
    #: Whether few accounts meet it, as a rule, and are found at little cost: what is asked behind it may be asked of
    #: these alone (`Moment.among`).
    narrow: ClassVar[bool] = False
    #: Names of settings that hold keys of signal types or meters, for checking a document against the catalogue.
    signal_type_settings: ClassVar[tuple[str, ...]] = ()
    meter_settings: ClassVar[tuple[str, ...]] = ()
    #: Names of values it finds that are words or names out of a table which not everybody may look at, by the label of
    #: its model. For the others such a value is "" (None where nothing was found), and `words` must do with that.
    quotes: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The JSON schema of a condition of this measure."""
        properties: dict[str, Any] = {"measure": {"const": cls.key}, **cls.settings_schema}
        schema: dict[str, Any] = {
            "type": "object",
            "properties": properties,
            "required": ["measure", *cls.required],
            "additionalProperties": False,
        }
        if cls.takes_threshold:
            properties.update(cls.threshold_schema)
            schema["oneOf"] = [{"required": [name]} for name in cls.threshold_schema]
        return schema

    def reach(self, settings: Mapping[str, Any], max_age_days: Mapping[str, int]) -> dict[str, timedelta]:
        """How far back from the moment a condition looks at signals and readings, by the setting that says so.

        What lies further back may be pruned. By default it is the window of a measure that names signal types, and of
        one that names meters the greatest maximum age of these (`max_age_days`, by key) with the grace before it.
        A measure that looks further back, at the window before its window for one, says so here.
        """
        spans: dict[str, timedelta] = {}
        if self.signal_type_settings:
            spans["window_days"] = timedelta(days=settings.get("window_days", 0))
        for name in self.meter_settings:
            ages = [max_age_days.get(meter, 0) for meter in self.named(settings, name)]
            spans[name] = timedelta(days=max(ages, default=0), hours=settings.get("grace_hours", 0))
        return spans

    def named(self, settings: Mapping[str, Any], name: str) -> list[str]:
        """The keys in a setting that names signal types or meters, one or several; its default where it is left out."""
        keys = settings.get(name, self.defaults.get(name))
        if keys is None:
            return []
        return [keys] if isinstance(keys, str) else list(keys)

    def strength_of(
        self, settings: Mapping[str, Any], signal_types: Mapping[str, str], meters: Mapping[str, str]
    ) -> str | None:
        """How much a condition says: one of `Strength`, or None for nothing by itself.

        `signal_types` and `meters` give strengths by key. Of several kinds the weakest counts: a condition holds by any
        of them. Raises KeyError for a kind that is in neither.
        """
        if self.strength != OF_ITS_KINDS:
            return self.strength
        strengths = [
            known[key]
            for names, known in ((self.signal_type_settings, signal_types), (self.meter_settings, meters))
            for name in names
            for key in self.named(settings, name)
        ]
        order = list(Strength.values)
        return max(strengths, key=order.index, default=Strength.MODERATE.value)

    def problems(self, settings: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """What the schema cannot say of a condition: the setting at fault, and what is wrong with it."""
        return ()

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """The condition over `Account` rows. Names and keys enter as parameters only."""
        raise NotImplementedError  # pragma: no cover - every registered measure has its own

    def explain(self, settings: Mapping[str, Any], moment: Moment) -> Mapping[str, Any]:
        """Expressions over `Account` rows for `words`, of accounts that meet the condition and of those that do not.

        They hold all of what `compile` finds, by the same names, and beside it what tells why an account fails. It is
        asked of few accounts, when somebody wants to know, and about a moment that is there: it may cost more.
        """
        return self.compile(settings, moment).found

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """What was found, and what was needed, in one line.

        `found` are the values of `Compiled.found` for an account that matches, or those of `explain` for any account:
        each of them may be None or zero then.
        """
        raise NotImplementedError  # pragma: no cover - every registered measure has its own
