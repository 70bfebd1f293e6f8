"""Close rates: of the plays of a playbook, how many are won; what makes an expected value of an expected amount.

A playbook with enough plays of its own goes by them. Until then it goes by the middle of the range that the field's own
playbooks give for its motion, or that its document says (`expected_close`, in percent).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q

from csplaybooks.accounts.models import Motion
from csplaybooks.playbooks.models import Outcome, Play, Stage

#: So many closed plays are enough to go by, of those closed in so many days.
ENOUGH = 30
LOOKS_BACK = timedelta(days=365)

#: How a play has to have ended to count: who withdrew one learned nothing about the customer.
COUNTED = (Outcome.WON, Outcome.LOST, Outcome.DECLINED, Outcome.EXPIRED)

#: What the field's playbooks expect to close, from and to, in percent.
EXPECTED: Mapping[str, tuple[int, int]] = {
    Motion.SEAT_EXPANSION: (40, 60),
    Motion.TIER_UPSELL: (30, 45),
    Motion.USAGE_GROWTH: (30, 45),
    Motion.CROSS_SELL: (20, 35),
}

#: And of all else: what is sold by the calendar, or by a person's word.
EXPECTED_ELSE = (15, 20)

_PERCENT = {"type": "integer", "minimum": 0, "maximum": 100}

#: The setting in a playbook's document.
EXPECTED_CLOSE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["from", "to"],
    "properties": {"from": _PERCENT, "to": _PERCENT},
}


def expected_close(motion: str) -> dict[str, int]:
    """The field's range for a motion, as a document says it."""
    low, high = EXPECTED.get(motion, EXPECTED_ELSE)
    return {"from": low, "to": high}


@dataclass(frozen=True)
class CloseRate:
    """How many plays of a playbook were won, of how many that closed; and what is expected of it, in percent."""

    won: int
    closed: int
    low: int
    high: int

    @property
    def is_own(self) -> bool:
        """Whether it goes by the playbook's own plays."""
        return self.closed >= ENOUGH

    def of(self, amount_minor: int | None) -> int | None:
        """What an amount is worth at this rate, rounded down; unknown stays unknown."""
        if amount_minor is None:
            return None
        if self.is_own:
            return amount_minor * self.won // self.closed
        return amount_minor * (self.low + self.high) // 200

    def as_json(self) -> dict[str, int]:
        """What a run keeps of it."""
        return {"won": self.won, "closed": self.closed, "from": self.low, "to": self.high}

    def __str__(self) -> str:
        if self.is_own:
            return f"{self.won * 100 / self.closed:.0f} %: {self.won} won of its own {self.closed} closed plays"
        middle = f"{(self.low + self.high) / 2:g} %: the middle of the field's {self.low} to {self.high} %"
        return f"{middle}, until {ENOUGH} of its own plays have closed ({self.closed} so far)"


@dataclass
class CloseRates:
    """The close rates of all playbooks at a moment, asked for when the first is needed; one query.

    `used` are those that were asked for, by playbook id.
    """

    moment: datetime
    used: dict[int, CloseRate] = field(default_factory=dict)
    _closed: dict[int, tuple[int, int]] | None = None

    def of(self, playbook_id: int, document: Mapping[str, Any]) -> CloseRate:
        """The rate of a playbook, whose document is given."""
        if playbook_id not in self.used:
            if self._closed is None:
                self._closed = closed_plays(self.moment)
            expected = document.get("expected_close") or expected_close(document["motion"])
            won, closed = self._closed.get(playbook_id, (0, 0))
            self.used[playbook_id] = CloseRate(won, closed, expected["from"], expected["to"])
        return self.used[playbook_id]

    def as_json(self) -> dict[str, dict[str, int]]:
        """Those that were used, for a run to keep."""
        return {str(playbook_id): rate.as_json() for playbook_id, rate in sorted(self.used.items())}


def closed_plays(moment: datetime) -> dict[int, tuple[int, int]]:
    """By playbook: how many plays were won, and how many closed, in the year up to a moment. One query."""
    closed = Play.objects.filter(
        stage=Stage.CLOSED, closed_at__gt=moment - LOOKS_BACK, closed_at__lte=moment, outcome__in=COUNTED
    )
    counted = (
        closed.order_by().values("playbook").annotate(won=Count("pk", filter=Q(outcome=Outcome.WON)), n=Count("pk"))
    )
    return {playbook_id: (won, n) for playbook_id, won, n in counted.values_list("playbook", "won", "n")}
