"""Signals and readings: rolled up by day and deleted, the oldest day first, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Case, Exists, F, IntegerField, Min, OuterRef, QuerySet, Subquery, Value, When, Window
from django.db.models.functions import Greatest, RowNumber, TruncDate

from csplaybooks.accounts import hooks
from csplaybooks.accounts.acts.record import require_aware
from csplaybooks.conf import company_time_zone
from csplaybooks.signals.acts.pruning.sums import add_up, count_on, delete_these, sql_of, these
from csplaybooks.signals.horizon import midnight, to_prune_before
from csplaybooks.signals.intake.items import READINGS, SIGNALS, ItemKind
from csplaybooks.signals.intake.storing import connection_of
from csplaybooks.signals.models import IntakeBatch, PrunedDay, ReadingDay, SignalDay

#: At most this many rows go in one transaction: some tenths of a second.
BATCH = 5000

#: Both kinds of event that are pruned.
KINDS = (SIGNALS, READINGS)


@dataclass(frozen=True)
class PrunedEvents:
    """What one batch came to: the day it belongs to (of corrected rows, the last), and how many rows went."""

    day: date
    signals: int = 0
    readings: int = 0


def prune_events(
    *, now: datetime, at_least_days: int | None = 0, until: datetime | None = None, limit: int = BATCH
) -> PrunedEvents | None:
    """Roll up and delete one batch of what lies before the horizon; None when nothing is left to do.

    What occurred more than `RETENTION_DAYS` days ago goes, but never what is younger than `at_least_days` days (None:
    nothing goes), nor what lies at or after `until`. Rows that no run of the evaluator has been told of stay until one
    has. An item and its corrections go together, when the last of them lies before the horizon.

    One transaction of at most `limit` rows (of `limit` corrected items, with all their corrections): sums, counts of
    the intake batches, horizon and deletion hold together, so it may die at any point and be called again. Of two at
    once on the same rows, the second raises Outrun and has done nothing. The number of queries does not depend on the
    number of rows.
    """
    require_aware(now=now, until=until)
    before = to_prune_before(now, at_least_days=at_least_days)
    if before is None:
        return None
    if until is not None:
        before = min(before, until)
    with transaction.atomic():
        oldest = [(moment, kind) for kind in KINDS if (moment := _oldest(kind, before)) is not None]
        if oldest:
            moment, kind = min(oldest, key=lambda found: found[0])
            next_day = midnight(moment.astimezone(company_time_zone()).date() + timedelta(days=1))
            rows = _standing_alone(kind, min(next_day, before)).filter(**_of_any_kind(kind))[:limit]
            return _prune(kind, dict(rows.values_list("pk", "occurred_at")), now)
        # Nothing is left that stands alone. What was corrected is nearly nothing, and comes last.
        for kind in KINDS:
            rows = these(kind.model, _corrected(kind, before, limit))
            if ids := dict(rows.values_list("pk", "occurred_at")):
                return _prune(kind, ids, now)
    return None


def _standing_alone(kind: ItemKind, before: datetime) -> QuerySet[Any]:
    """Rows before a moment that a run was told of, that correct nothing and that nothing corrects."""
    corrections = kind.model.objects.filter(corrects=OuterRef("pk"), corrects__isnull=False)
    alone = kind.model.objects.filter(~Exists(corrections), corrects__isnull=True, occurred_at__lt=before)
    # By exclusion: nearly no batch is unclaimed, whatever the history holds.
    rows: QuerySet[Any] = alone.exclude(batch__in=IntakeBatch.objects.unclaimed().values("pk"))
    return rows.order_by()


def _of_any_kind(kind: ItemKind) -> dict[str, list[int]]:
    """A condition that every row meets: with it, the index that begins with type or meter leads to the moment."""
    return {f"{kind.key_field}__in": list(kind.catalogue.objects.order_by().values_list("pk", flat=True))}


def _oldest(kind: ItemKind, before: datetime) -> datetime | None:
    """When the oldest row happened that may go alone; a step into an index for each type or meter, in one query."""
    first = _standing_alone(kind, before).filter(**{kind.key_field: OuterRef("pk")}).order_by("occurred_at")
    of_each = kind.catalogue.objects.order_by().annotate(first=Subquery(first.values("occurred_at")[:1]))
    oldest: datetime | None = of_each.aggregate(oldest=Min("first"))["oldest"]
    return oldest


#: From some rows up to what each of them corrects, and so on to what was sent first.
_CHAIN = """
    WITH RECURSIVE chain (id, corrects_id, occurred_at, batch_id) AS (
        SELECT id, corrects_id, occurred_at, batch_id FROM {rows} WHERE {start}
        UNION ALL
        SELECT one.id, one.corrects_id, one.occurred_at, one.batch_id
        FROM {rows} one JOIN chain ON one.id = chain.corrects_id
    )
"""


def _corrected(kind: ItemKind, before: datetime, limit: int) -> list[int]:
    """The ids of at most `limit` items with all their corrections, where all of them may go; one query.

    A last correction is found in the partial index of corrections, which is nearly empty, the others by their ids.
    """
    connection = connection_of(kind.model)
    rows = connection.ops.quote_name(kind.model._meta.db_table)
    batches = connection.ops.quote_name(IntakeBatch._meta.db_table)
    moment = connection.ops.adapt_datetimefield_value(before)
    last = (
        f"SELECT last.id FROM {rows} last"  # noqa: S608 - the names are our tables'
        " WHERE last.corrects_id IS NOT NULL AND last.occurred_at < %s"
        f" AND NOT EXISTS (SELECT 1 FROM {rows} later"
        " WHERE later.corrects_id = last.id AND later.corrects_id IS NOT NULL)"
        f" AND NOT EXISTS ({_CHAIN.format(rows=rows, start='id = last.id')}"
        " SELECT 1 FROM chain WHERE chain.occurred_at >= %s OR EXISTS ("
        f"SELECT 1 FROM {batches} batch WHERE batch.id = chain.batch_id AND batch.seen_by_run IS NULL))"
        f" LIMIT {int(limit)}"
    )
    with connection.cursor() as cursor:
        statement = f"{_CHAIN.format(rows=rows, start=f'id IN ({last})')} SELECT id FROM chain"  # noqa: S608 - as above
        cursor.execute(statement, [moment, moment])
        return [row[0] for row in cursor.fetchall()]


def _prune(kind: ItemKind, moments: dict[int, datetime], now: datetime) -> PrunedEvents | None:
    """Prune the rows whose ids and moments are given: horizon, sums, counts on their batches, deletion."""
    if not moments:
        return None
    ids = list(moments)
    pruned = PrunedEvents(
        max(moments.values()).astimezone(company_time_zone()).date(), **{kind.batch_kind.value: len(ids)}
    )
    _move_horizon(pruned, now)
    _roll_up(kind, ids)
    count_on(IntakeBatch, "pruned", these(kind.model, ids), "batch")
    hooks.events_go.send(sender=kind.model, ids=ids)
    delete_these(kind.model, ids)
    return pruned


def _move_horizon(pruned: PrunedEvents, now: datetime) -> None:
    """Write down that the day is being pruned, up to its end."""
    before = midnight(pruned.day + timedelta(days=1))
    first = PrunedDay(day=pruned.day, before=before, signals=0, readings=0, pruned_at=now)
    PrunedDay.objects.bulk_create([first], ignore_conflicts=True)
    PrunedDay.objects.filter(day=pruned.day).update(
        # After a change of TIME_ZONE the day may end later than it did when it was first pruned.
        before=Greatest("before", Value(before)),
        signals=F("signals") + pruned.signals,
        readings=F("readings") + pruned.readings,
        pruned_at=now,
    )


def _roll_up(kind: ItemKind, ids: list[int]) -> None:
    """Add rows to the sums of the days on which they occurred."""
    key = f"{kind.key_field}_id"
    corrections = kind.model.objects.filter(corrects=OuterRef("pk"), corrects__isnull=False)
    # All that was told of an item goes at once, so what counts is what is neither void nor corrected.
    in_force = When(~Exists(corrections), is_void=False, then=Value(1))
    rows = these(kind.model, ids).annotate(
        day=TruncDate("occurred_at", tzinfo=company_time_zone()),
        counts=Case(in_force, default=Value(0), output_field=IntegerField()),
    )
    keys = ("account", kind.key_field, "day")
    values = {"account": "account_id", kind.key_field: key, "day": "day", "rows": "COUNT(*)", "count": "SUM(counts)"}
    if kind is SIGNALS:
        add_up(SignalDay, values, sql_of(rows.values("account_id", key, "day", "counts")), keys=keys)
        return
    # Of two readings at one instant the one stored later counts, as it does for the evaluator.
    place = Window(
        RowNumber(), partition_by=[F("account_id"), F(key), F("day")], order_by=["-counts", "-occurred_at", "-id"]
    )
    columns = ("account_id", key, "day", "counts", "place", "id", "occurred_at", "used_milli", "limit_milli")
    sql = sql_of(rows.annotate(place=place).values(*columns))
    add_up(ReadingDay, values | _LEVELS, sql, keys=keys, otherwise=_MERGED)


_LAST = {
    "last_at": "occurred_at",
    "last_row": "id",
    "last_used_milli": "used_milli",
    "last_limit_milli": "limit_milli",
}

#: What is kept of the levels of a day, over the rows of `_roll_up`.
_LEVELS = {
    **{name: f"MAX(CASE WHEN place = 1 AND counts = 1 THEN {column} END)" for name, column in _LAST.items()},
    "greatest_used_milli": "MAX(CASE WHEN counts = 1 THEN used_milli END)",
    "least_used_milli": "MIN(CASE WHEN counts = 1 THEN used_milli END)",
    "greatest_limit_milli": "MAX(CASE WHEN counts = 1 THEN limit_milli END)",
    "least_limit_milli": "MIN(CASE WHEN counts = 1 THEN limit_milli END)",
}

#: How the levels of two batches of one day become one; a comparison with nothing does not hold.
_NEWER = (
    "({was}.last_at IS NULL OR {comes}.last_at > {was}.last_at"
    " OR ({comes}.last_at = {was}.last_at AND {comes}.last_row > {was}.last_row))"
)
_MERGED = {
    **dict.fromkeys(_LAST, f"CASE WHEN {_NEWER} THEN {{new}} ELSE {{old}} END"),
    **{
        f"{which}_{what}_milli": f"CASE WHEN {{old}} IS NULL OR {{new}} {sign} {{old}} THEN {{new}} ELSE {{old}} END"
        for which, sign in (("greatest", ">"), ("least", "<"))
        for what in ("used", "limit")
    },
}
