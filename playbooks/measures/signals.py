"""Measures over signals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import BooleanField, Count, Func, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from csplaybooks.playbooks.measures.base import Compiled, Measure, Moment, lookup, needed, threshold
from csplaybooks.signals.models import Signal


class PropertyIs(Func):
    """Whether a signal's property of this name has this value: text, a whole number, or true or false.

    Kinds are told apart (`true` is not "true", nor 1) and any name is only a name, also one with quotes or digits
    alone, on every database. Django's own JSON lookups take some names for indexes, and on SQLite mix kinds. Name and
    value are parameters of the SQL.
    """

    def __init__(self, name: str, value: str | int | float | bool) -> None:
        super().__init__("properties", output_field=BooleanField())
        self.name = name
        self.value = value

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra_context: Any) -> tuple[str, tuple[Any, ...]]:
        """For PostgreSQL, where equality of `jsonb` says it all."""
        column, params = compiler.compile(self.source_expressions[0])
        return f"(JSONB_EXTRACT_PATH({column}, %s) = %s::jsonb)", (*params, self.name, json.dumps(self.value))

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> tuple[str, tuple[Any, ...]]:
        """For SQLite, whose JSON paths have no way to write some names: the pairs are gone through."""
        column, params = compiler.compile(self.source_expressions[0])
        found = f"SELECT 1 FROM JSON_EACH({column}) AS property WHERE property.key = %s AND property.type"  # noqa: S608 - the column is Django's
        if isinstance(self.value, bool):
            return f"EXISTS({found} = %s)", (*params, self.name, json.dumps(self.value))
        types = "= 'text'" if isinstance(self.value, str) else "IN ('integer', 'real')"
        return f"EXISTS({found} {types} AND property.atom = %s)", (*params, self.name, self.value)


class SignalCount(Measure):
    """How many signals of a type came in a window `(as_of - window_days, as_of]`.

    `properties` narrows to signals whose properties have these values, of the same kind. None in the window is 0.
    """

    key = "signal_count"
    moment_is_a_parameter = True
    settings_schema = {
        "signal_type": {"type": "string", "minLength": 1},
        "window_days": {"type": "integer", "minimum": 1, "maximum": 730},
        "properties": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 5,
            # The bounds are those of numbers: up to them, whole numbers are exact in every database.
            "additionalProperties": {
                "type": ["string", "integer", "boolean"],
                "minimum": -(10**12),
                "maximum": 10**12,
            },
        },
    }
    # Counts are whole, and "at least 0" would match an account without any: it says nothing.
    threshold_schema = {
        "at_least": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
        "above": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
    }
    required = ("signal_type", "window_days")
    signal_type_settings = ("signal_type",)

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        signals = (
            Signal.objects.effective_at(moment.known.mark)
            .filter(type_id=moment.known.signal_types.get(settings["signal_type"], -1))
            .in_window(moment.as_of - timedelta(days=settings["window_days"]), moment.as_of)
            .order_by()
        )
        for name, value in settings.get("properties", {}).items():
            signals = signals.filter(PropertyIs(name, value))
        grouped = signals
        if moment.accounts is not None:
            grouped = grouped.filter(account__in=moment.accounts)
        enough = (
            grouped.values("account")
            .annotate(count=Count("pk"))
            .filter(**{f"count__{lookup(settings)}": int(threshold(settings))})
            .values("account")
        )
        own = signals.filter(account=OuterRef("pk")).values("account")
        return Compiled(
            holds=Q(pk__in=enough),
            found={
                "count": Coalesce(Subquery(own.annotate(n=Count("pk")).values("n")), 0),
                "last_at": Subquery(own.annotate(last=Max("occurred_at")).values("last")),
            },
        )

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        what = settings["signal_type"].replace("_", " ")
        days = settings["window_days"]
        return f"{what}: {found['count']} in {days} days, needed {needed(settings)}"
