"""Invariants of what came in: batches, marks of runs, corrections, and what was pruned."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from csplaybooks.accounts.models import Change
from csplaybooks.playbooks.invariants.registry import Invariant, by_query
from csplaybooks.playbooks.models import Match, Run
from csplaybooks.signals.models import (
    IntakeBatch,
    IntakeDay,
    PrunedDay,
    Reading,
    ReadingDay,
    RefusedItem,
    Signal,
    SignalDay,
)


def _batches_that_do_not_add_up() -> QuerySet[Any]:
    return IntakeBatch.objects.exclude(received=F("stored") + F("duplicate") + F("conflict") + F("refused"))


def _batches_with_other_rows() -> QuerySet[Any]:
    """Batches whose count of stored items is not the number of rows that carry them, with those pruned since."""
    rows = []
    for model in (Signal, Reading):
        counted = model.objects.filter(batch=OuterRef("pk")).order_by().values("batch").annotate(n=Count("pk"))
        rows.append(Coalesce(counted.values("n"), 0))
    return IntakeBatch.objects.annotate(rows=rows[0] + rows[1] + F("pruned")).exclude(rows=F("stored"))


def _batches_with_other_refusals() -> QuerySet[Any]:
    counted = RefusedItem.objects.filter(batch=OuterRef("pk")).order_by().values("batch").annotate(n=Count("pk"))
    # Refused items are pruned in time; there are never more of them than were refused.
    return IntakeBatch.objects.annotate(rows=Coalesce(counted.values("n"), 0)).filter(rows__gt=F("refused"))


def _marked_by_no_run(model: Any) -> QuerySet[Any]:
    """Rows that say they were told to a run that never was.

    Old runs are pruned, the oldest without matches first: so none is missing behind the oldest of these.
    """
    matched = Match.objects.filter(Q(opened_run=OuterRef("pk")) | Q(closed_run=OuterRef("pk")))
    newest = Run.objects.newest()
    last = 0 if newest is None else newest.pk
    spent = Run.objects.filter(~Exists(matched)).order_by("pk").values_list("pk", flat=True).first()
    run = Run.objects.filter(pk=OuterRef("seen_by_run"))
    rows: QuerySet[Any] = model.objects.filter(
        Q(seen_by_run__gt=last) | (Q(seen_by_run__gt=spent or last) & ~Exists(run)), seen_by_run__isnull=False
    )
    return rows


def _corrections_of_others(model: Any, key: str) -> QuerySet[Any]:
    """Corrections of a row of another account, or of another kind."""
    other = ~Q(corrects__account=F("account")) | ~Q(**{f"corrects__{key}": F(key)})
    rows: QuerySet[Any] = model.objects.filter(other, corrects__isnull=False)
    return rows


def _pruned_rows_that_are_not_summed(limit: int, chunk: int) -> tuple[int, list[int], str]:
    """The newest day that was pruned, where days, sums by day and counts on batches tell of different numbers."""

    def total(model: Any, field: str) -> int:
        return model.objects.aggregate(total=Sum(field))["total"] or 0

    pruned = total(PrunedDay, "signals"), total(PrunedDay, "readings")
    summed = total(SignalDay, "rows"), total(ReadingDay, "rows")
    # A batch goes when all its rows have gone.
    counted = total(IntakeBatch, "pruned") + total(IntakeDay, "stored")
    if pruned == summed and sum(pruned) == counted:
        return 0, [], PrunedDay._meta.label
    newest = PrunedDay.objects.order_by("-day").values_list("pk", flat=True)[:1]
    return 1, list(newest), PrunedDay._meta.label


INVARIANTS = (
    by_query("batches_add_up", "What a batch received is the sum of its verdicts.", _batches_that_do_not_add_up),
    by_query(
        "batches_have_their_rows",
        "A batch has as many signals or readings as were stored and not pruned since.",
        _batches_with_other_rows,
    ),
    by_query("refusals_are_counted", "No batch has more refused items than it counted.", _batches_with_other_refusals),
    by_query(
        "batches_marked_by_runs",
        "A batch was told to no run yet, or to one that was.",
        lambda: _marked_by_no_run(IntakeBatch),
    ),
    by_query(
        "changes_marked_by_runs",
        "A change was told to no run yet, or to one that was.",
        lambda: _marked_by_no_run(Change),
    ),
    by_query(
        "signals_correct_their_own",
        "A signal corrects one of the same account and type.",
        lambda: _corrections_of_others(Signal, "type"),
    ),
    by_query(
        "readings_correct_their_own",
        "A reading corrects one of the same account and meter.",
        lambda: _corrections_of_others(Reading, "meter"),
    ),
    Invariant(
        "pruned_is_rolled_up",
        "What was pruned stands in the sums by day and on its batches.",
        _pruned_rows_that_are_not_summed,
    ),
)
