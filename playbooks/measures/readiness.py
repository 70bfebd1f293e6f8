"""The measure over readiness scores: how ready an account is for a motion, by all signals that weigh something."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import IntegerField, Q, Value

from csplaybooks.accounts.models import Motion
from csplaybooks.playbooks.measures.base import Compiled, Measure, Moment, lookup, needed, threshold
from csplaybooks.signals.readiness import FULL_SCORE, LONGEST_WINDOW, accounts_at, readiness_of


class Readiness(Measure):
    """The readiness score of an account for a motion, 0 to 100, by the weights in force when the run was made."""

    key = "readiness"
    treats = "no signal that weighs anything is 0, and so is a motion without weights; signals too old weigh nothing"
    moment_is_a_parameter = True
    uses_readiness = True
    settings_schema: ClassVar[dict[str, Any]] = {"motion": {"enum": list(Motion.values)}}
    required = ("motion",)
    #: A score is whole, and "at least 0" would match every account: it says nothing.
    threshold_schema: ClassVar[dict[str, Any]] = {
        "at_least": {"type": "integer", "minimum": 1, "maximum": FULL_SCORE},
        "above": {"type": "integer", "minimum": 0, "maximum": FULL_SCORE - 1},
    }

    def reach(self, settings: Mapping[str, Any], max_age_days: Mapping[str, int]) -> dict[str, timedelta]:
        """See `Measure.reach`: the longest window there is, since weights and strengths may change."""
        return {"motion": LONGEST_WINDOW}

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        weights = moment.known.readiness
        if weights is None:
            nothing = Value(None, output_field=IntegerField())
            return Compiled(holds=Q(pk__in=[]), found={"score": Value(0), "weights": nothing})
        asked: dict[str, Any] = {"as_of": moment.as_of, "mark": moment.known.mark}
        motion, ids = settings["motion"], moment.known.signal_types
        # Whole points: "above 59" is "at least 60".
        least = int(threshold(settings)) + (lookup(settings) == "gt")
        return Compiled(
            holds=accounts_at(weights, motion, ids, least=least, accounts=moment.accounts, **asked),
            found={"score": readiness_of(weights, motion, ids, **asked), "weights": Value(weights.number)},
        )

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        motion = Motion(settings["motion"]).label.lower()
        return f"readiness for {motion}: {found['score']} of {FULL_SCORE}, needed {needed(settings)}"
