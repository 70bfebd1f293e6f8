"""What a measure is: one small class that turns a condition into SQL and its finding into words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django.db.models import Q
from django.db.models.expressions import Combinable

from csplaybooks.playbooks.measures.sold import Catalogue
from csplaybooks.signals.horizon import pruned_before
from csplaybooks.signals.models import Meter, SignalType


@dataclass(frozen=True)
class Known:
    """What the system had been told, and what it used that is not dated truth.

    `kept_from` is the horizon: signals and readings from before it may be gone (None: nothing was pruned).
    `mark` is the id of the run up to which inputs count (None: everything stored until now). `signal_types` and
    `meters` give ids by key, `max_age_days` the maximum age of a reading by meter key. `catalogue` is what is sold; it
    is empty where nobody asked for it, and in what runs kept before measures asked for it.
    """

    mark: int | None
    signal_types: Mapping[str, int] = field(default_factory=dict)
    meters: Mapping[str, int] = field(default_factory=dict)
    max_age_days: Mapping[str, int] = field(default_factory=dict)
    kept_from: datetime | None = None
    catalogue: Catalogue = field(default_factory=Catalogue)

    @classmethod
    def now(cls, mark: int | None = None, *, catalogue: bool = True) -> Known:
        """What is there today: three queries, and two for what is sold.

        Without `catalogue` only for triggers none of whose measures `uses_catalogue`.
        """
        meters = list(Meter.objects.values_list("key", "pk", "max_age_days"))
        return cls(
            mark=mark,
            signal_types=dict(SignalType.objects.values_list("key", "pk")),
            meters={key: pk for key, pk, _ in meters},
            max_age_days={key: days for key, _, days in meters},
            kept_from=pruned_before(),
            catalogue=Catalogue.now() if catalogue else Catalogue(),
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
        return kept

    @classmethod
    def from_json(cls, mark: int, inputs: Mapping[str, Any]) -> Known:
        """What a recorded run knew; what was pruned since cannot be asked for any more (one query)."""
        kept = dict(inputs)
        catalogue = Catalogue.from_json(kept.pop("catalogue")) if "catalogue" in kept else Catalogue()
        return cls(mark=mark, **kept, kept_from=pruned_before(), catalogue=catalogue)


@dataclass(frozen=True)
class Moment:
    """What a measure compiles against: the moment asked about, what was known, and which accounts are asked about.

    `accounts` is None for all accounts, or the ids of some. A measure that groups over its own table must limit
    itself to them, so that cost grows with what changed and not with what is stored.
    """

    as_of: datetime
    known: Known
    accounts: tuple[int, ...] | None = None

    def shifted(self, by: timedelta) -> Moment:
        """The same question about an earlier moment, knowing what is known now."""
        return Moment(self.as_of - by, self.known, self.accounts)


@dataclass(frozen=True)
class Compiled:
    """A condition in SQL, over accounts: whether it holds, and the values it found.

    `found` are expressions computed only for the accounts that match; their names are the measure's own.
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
    #: How thresholds are written, of `COMPARISONS`. "at least" is >=, "above" is >, "at most" is <=, "below" is <.
    threshold_schema: ClassVar[dict[str, Any]] = {"at_least": {"type": "number"}, "above": {"type": "number"}}
    #: The most decimals a threshold may have; more are refused and not rounded. None: the schema says enough.
    threshold_decimals: ClassVar[int | None] = None
    #: Whether `compile` only shifts the moment by spans and hands it and the mark on as parameters of the SQL. Then the
    #: query is built once and asked for every moment (`csplaybooks.playbooks.compiled`). Leave it False for a measure
    #: that looks at the moment itself, its calendar day for one.
    moment_is_a_parameter: ClassVar[bool] = False
    #: Whether `compile` looks at `moment.known.catalogue`. Runs load and keep it only for measures that say so.
    uses_catalogue: ClassVar[bool] = False
    #: Names of settings that hold keys of signal types or meters, for checking a document against the catalogue.
    signal_type_settings: ClassVar[tuple[str, ...]] = ()
    meter_settings: ClassVar[tuple[str, ...]] = ()

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
            named = settings.get(name) or []
            ages = [max_age_days.get(meter, 0) for meter in ([named] if isinstance(named, str) else named)]
            spans[name] = timedelta(days=max(ages, default=0), hours=settings.get("grace_hours", 0))
        return spans

    def problems(self, settings: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """What the schema cannot say of a condition: the setting at fault, and what is wrong with it."""
        return ()

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """The condition over `Account` rows. Names and keys enter as parameters only."""
        raise NotImplementedError  # pragma: no cover - every registered measure has its own

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """What was found, and what was needed, in one line."""
        raise NotImplementedError  # pragma: no cover - every registered measure has its own
