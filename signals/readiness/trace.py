"""The points behind the scores of one account: by kind of signal and step, with the signals themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, Window
from django.db.models.functions import RowNumber

from csplaybooks.signals.models import Signal
from csplaybooks.signals.readiness.scoring import kind_ids, looked_at, require_kept, within
from csplaybooks.signals.readiness.weights import FULL_SCORE, QUARTERS, SHARES, Weight, Weights


def in_points(quarters: int) -> Decimal:
    """Quarters of points as points."""
    return Decimal(quarters) / QUARTERS


@dataclass(frozen=True)
class Counted:
    """A signal that counts."""

    id: int
    source: str
    external_id: str
    occurred_at: datetime


@dataclass(frozen=True)
class Step:
    """One period of a kind of signal, `(after, until]`: how many were found, which of them count, and for how much.

    `share` is what each of them counts, in quarters.
    """

    after: datetime
    until: datetime
    share: int
    found: int
    signals: tuple[Counted, ...]
    quarters: int


@dataclass(frozen=True)
class TypeTrace:
    """The points of one kind of signal for a motion; three steps, the newest first."""

    key: str
    strength: str
    weight: Weight
    steps: tuple[Step, ...]

    @property
    def quarters(self) -> int:
        """The quarters of points of all steps."""
        return sum(step.quarters for step in self.steps)


@dataclass(frozen=True)
class MotionTrace:
    """The score of an account for a motion, and the points that it is the sum of, the greatest first.

    The sum may hold a part of a point, or be more than the highest score: the score is rounded down, and at most that.
    Kinds of signal of which nothing was found are left out.
    """

    motion: str
    kinds: tuple[TypeTrace, ...]

    @property
    def quarters(self) -> int:
        """The quarters of points of all kinds."""
        return sum(kind.quarters for kind in self.kinds)

    @property
    def score(self) -> int:
        """The score, 0 to 100."""
        return min(self.quarters // QUARTERS, FULL_SCORE)


@dataclass(frozen=True)
class _Found:
    """What one query finds of a kind of signal: how many in one, two and three periods, and the newest of them."""

    counts: tuple[int, ...]
    newest: list[Counted]


def trace(
    weights: Weights,
    account_id: int,
    *,
    as_of: datetime,
    mark: int | None = None,
    motions: Sequence[str] | None = None,
) -> list[MotionTrace]:
    """The scores of an account with the points behind them, for all motions that have weights unless told.

    As `scores` counts: at `as_of`, as far as run `mark` and those before it had been told (None: everything that is
    stored). Three queries, whatever the numbers. Raises Forgotten.
    """
    wanted = list(weights.motions if motions is None else motions)
    require_kept(weights, wanted, as_of)
    found = _found(weights, account_id, wanted, as_of, mark)
    answers = []
    for motion in wanted:
        kinds = [
            TypeTrace(key, weights.strengths[key], weight, _steps(weights, key, weight, found[key], as_of))
            for key, weight in weights.motions.get(motion, {}).items()
            if key in found
        ]
        answers.append(MotionTrace(motion, tuple(sorted(kinds, key=lambda kind: (-kind.quarters, kind.key)))))
    return answers


def _found(
    weights: Weights, account_id: int, motions: Sequence[str], as_of: datetime, mark: int | None
) -> dict[str, _Found]:
    """What is there of each kind that counts for the motions, by key; two queries."""
    ids = kind_ids()
    most: dict[str, int] = {}
    for motion in motions:
        for key, weight in weights.motions.get(motion, {}).items():
            most[key] = max(weight.at_most, most.get(key, 0))
    counts: dict[str, Any] = {
        f"n{periods}": Window(Count("pk", filter=within(weights, ids, most, as_of, periods)), partition_by="type")
        for periods in range(1, len(SHARES) + 1)
    }
    # Of two at one instant the one stored later comes first, as everywhere.
    newest = Window(RowNumber(), partition_by="type", order_by=[F("occurred_at").desc(), F("pk").desc()])
    signals = (
        Signal.objects.effective_at(mark)
        .filter(looked_at(weights, ids, most, as_of), account=account_id)
        .annotate(place=newest, **counts)
        .filter(place__lte=max(most.values(), default=0))
        .order_by("type", "place")
    )
    keys = {pk: key for key, pk in ids.items()}
    found: dict[str, _Found] = {}
    columns = ("type", "pk", "source__key", "external_id", "occurred_at", *counts)
    for kind, pk, source, external_id, occurred_at, *numbers in signals.values_list(*columns):
        of_kind = found.setdefault(keys[kind], _Found(tuple(numbers), []))
        of_kind.newest.append(Counted(pk, source, external_id, occurred_at))
    return found


def _steps(weights: Weights, key: str, weight: Weight, found: _Found, as_of: datetime) -> tuple[Step, ...]:
    """The three steps of one kind; of all that was found, the newest `at_most` count."""
    period = weights.period(key)
    steps = []
    before = 0
    for number, (share, until_here) in enumerate(zip(SHARES, found.counts, strict=True), start=1):
        signals = tuple(found.newest[min(before, weight.at_most) : min(until_here, weight.at_most)])
        steps.append(
            Step(
                after=as_of - number * period,
                until=as_of - (number - 1) * period,
                share=share,
                found=until_here - before,
                signals=signals,
                quarters=weight.points * share * len(signals),
            )
        )
        before = until_here
    return tuple(steps)
