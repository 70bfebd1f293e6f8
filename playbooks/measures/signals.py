"""Measures over signals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Count, Max, OuterRef, Q, Subquery
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Coalesce

from csplaybooks.playbooks.measures.base import Compiled, Measure, Moment, lookup, needed, threshold
from csplaybooks.signals.models import Signal


class SignalCount(Measure):
    """How many signals of a type came in a window `(as_of - window_days, as_of]`.

    `properties` narrows to signals whose properties have these values. None in the window is 0.
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
            "additionalProperties": {"type": ["string", "integer", "boolean"]},
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
        for index, (name, value) in enumerate(settings.get("properties", {}).items()):
            # The name is a parameter of the JSON path, never part of the SQL text or of a Django lookup.
            signals = signals.alias(**{f"property{index}": KeyTransform(name, "properties")})
            signals = signals.filter(**{f"property{index}": value})
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
