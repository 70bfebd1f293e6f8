"""Scores in SQL: one set-based query over the signals of all accounts, or of some, for any number of motions.

Signals are counted once by account and kind, in windows of one, two and three periods; the weights are joined to these
counts as a small table. Everything is whole quarters of points, so every database comes to the same. Names and SQL come
from our code alone; everything else is a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import BigIntegerField, Count, Expression, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from csplaybooks.conf import company_time_zone
from csplaybooks.signals.horizon import pruned_before
from csplaybooks.signals.intake.storing import connection_of
from csplaybooks.signals.models import Signal, SignalType
from csplaybooks.signals.readiness.weights import FULL_SCORE, PERIOD_DAYS, QUARTERS, SHARES, Weights

#: A line of the weights as it stands in a query: motion, id of the signal type, points, at most.
Line = tuple[str, int, int, int]


class Forgotten(ValueError):
    """A question about the past that cannot be answered any more: signals it asks about were pruned."""


def kind_ids() -> dict[str, int]:
    """The ids of all signal types by key. One query."""
    return dict(SignalType.objects.order_by().values_list("key", "pk"))


def lines_of(weights: Weights, motions: Iterable[str], ids: Mapping[str, int]) -> list[Line]:
    """What counts for some motions; kinds of signal that are not there (any more) do not."""
    return [
        (motion, ids[key], weight.points, weight.at_most)
        for motion in motions
        for key, weight in weights.motions.get(motion, {}).items()
        if key in ids
    ]


def require_kept(weights: Weights, motions: Iterable[str], as_of: datetime) -> None:
    """Raise Forgotten where scores at `as_of` would look at what may be pruned; one query."""
    kept_from = pruned_before()
    spans = [weights.period(key) * len(SHARES) for motion in motions for key in weights.motions.get(motion, ())]
    if kept_from is not None and spans and as_of - max(spans) < kept_from:
        zone = company_time_zone()
        raise Forgotten(
            f"Readiness at {as_of.astimezone(zone):%Y-%m-%d %H:%M} looks {max(spans).days} days back, and signals from "
            f"before {kept_from.astimezone(zone):%Y-%m-%d} are pruned."
        )


def within(weights: Weights, ids: Mapping[str, int], keys: Iterable[str], as_of: Any, periods: int) -> Q:
    """Signals of some kinds in their windows of so many periods: `(as_of - periods * period, as_of]`."""
    wanted = {key for key in keys if key in ids}
    window = Q()
    for strength in PERIOD_DAYS:
        if of_strength := sorted(ids[key] for key in wanted if weights.strengths[key] == strength):
            period = next(weights.period(key) for key in wanted if weights.strengths[key] == strength)
            window |= Q(type__in=of_strength, occurred_at__gt=as_of - periods * period)
    # No kind: nothing, and not everything.
    return window & Q(occurred_at__lte=as_of) if window else Q(pk__in=[])


def looked_at(weights: Weights, ids: Mapping[str, int], keys: Iterable[str], as_of: Any) -> Q:
    """Signals of some kinds that count for anything. What all of them share is said once more, for the indexes."""
    wanted = {key for key in keys if key in ids}
    if not wanted:
        return Q(pk__in=[])
    longest = max(weights.period(key) for key in wanted) * len(SHARES)
    shared = Q(type__in=sorted(ids[key] for key in wanted), occurred_at__gt=as_of - longest)
    return shared & within(weights, ids, wanted, as_of, len(SHARES))


def counted(
    weights: Weights, motions: Sequence[str], ids: Mapping[str, int], *, as_of: Any, mark: Any
) -> QuerySet[Any, Any]:
    """By `owner` (an account) and `kind`: how many signals count in one, two and three periods, as `n1`, `n2`, `n3`.

    `as_of` and `mark` may be expressions. Signals count as far as was known at `mark` (None: all that is stored).
    """
    keys = {key for motion in motions for key in weights.motions.get(motion, ())}
    signals = Signal.objects.effective_at(mark).filter(looked_at(weights, ids, keys, as_of))
    counts = {
        f"n{periods}": Count("pk", filter=within(weights, ids, keys, as_of, periods))
        for periods in range(1, len(SHARES) + 1)
    }
    named = signals.order_by().annotate(owner=F("account"), kind=F("type"))
    rows: QuerySet[Any, Any] = named.values("owner", "kind").annotate(**counts)
    return rows


class _Scored(Subquery):
    """A query over the counts of `counted`, joined to the weights as `line`. Subclasses say what is selected of it."""

    #: What is asked of `{source}`, with `{quarters}` and `{score}` for the sums, and `{least}` for the least quarters.
    asks: str

    def __init__(
        self, counts: QuerySet[Any, Any], lines: Sequence[Line], output_field: Any = None, *, least: int = 1
    ) -> None:
        super().__init__(counts, output_field=output_field or BigIntegerField())
        self.lines = tuple(lines)
        self.least = least

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        """The query in parentheses."""
        counts, params = super().as_sql(compiler, connection, template="(%(subquery)s)")
        # Each share is what is counted whole there and in the windows after it; so windows add up instead of steps.
        least = "MIN" if connection.vendor == "sqlite" else "LEAST"
        worth = " + ".join(
            f"{share - following} * {least}(counts.n{number}, line.column4)"
            for number, (share, following) in enumerate(zip(SHARES, (*SHARES[1:], 0), strict=True), start=1)
        )
        # Both databases call the columns of VALUES so. Sums of large numbers are decimals on PostgreSQL.
        quarters = f"CAST(SUM(line.column3 * ({worth})) AS BIGINT)"
        table = ", ".join(["(%s, %s, %s, %s)"] * len(self.lines))
        source = f"{counts} counts JOIN (VALUES {table}) line ON line.column2 = counts.kind"
        score = f"CASE WHEN {quarters} >= {FULL_SCORE * QUARTERS} THEN {FULL_SCORE} ELSE {quarters} / {QUARTERS} END"
        # A score is whole points, rounded down: it is at least so much where its quarters are.
        sql = self.asks.format(quarters=quarters, score=score, source=source, least=int(self.least) * QUARTERS)
        return f"({sql})", (*params, *(value for line in self.lines for value in line))


class _ScoreOfOne(_Scored):
    """The score of the one account, for the one motion, whose signals are counted."""

    asks = "SELECT {score} FROM {source}"


class _AccountsAt(_Scored):
    """The accounts whose score for the one motion is at least `least`."""

    asks = "SELECT counts.owner FROM {source} GROUP BY counts.owner HAVING {quarters} >= {least}"


class _AllScores(_Scored):
    """Account, motion and score, wherever it is at least `least`."""

    asks = (
        "SELECT counts.owner AS owner, line.column1 AS motion, {score} AS score FROM {source} "
        "GROUP BY counts.owner, line.column1 HAVING {quarters} >= {least}"
    )


def readiness_of(weights: Weights, motion: str, ids: Mapping[str, int], *, as_of: Any, mark: Any) -> Coalesce | Value:
    """The score of each row of `Account` for a motion, as an expression. Where nothing counts it is 0."""
    lines = lines_of(weights, [motion], ids)
    if not lines:
        return Value(0)
    own = counted(weights, [motion], ids, as_of=as_of, mark=mark).filter(account=OuterRef("pk"))
    return Coalesce(_ScoreOfOne(own, lines, IntegerField()), 0)


def accounts_at(
    weights: Weights,
    motion: str,
    ids: Mapping[str, int],
    *,
    as_of: Any,
    mark: Any,
    least: int,
    accounts: Sequence[int] | Expression | None = None,
) -> Q:
    """Accounts (of those asked about) whose score for a motion is `least` (from 1) or more, as a condition."""
    lines = lines_of(weights, [motion], ids)
    if not lines:
        return Q(pk__in=[])
    counts = counted(weights, [motion], ids, as_of=as_of, mark=mark)
    if accounts is not None:
        counts = counts.filter(account__in=accounts)
    return Q(pk__in=_AccountsAt(counts, lines, least=least))


def scoring(
    weights: Weights,
    motions: Sequence[str],
    *,
    as_of: datetime,
    mark: int | None = None,
    accounts: Sequence[int] | None = None,
    living: bool = False,
) -> tuple[str, Sequence[Any]] | None:
    """The SQL of all scores from 1 on, with the columns `owner`, `motion` and `score`, and its parameters.

    None where no kind of signal that counts is there. `living` leaves out accounts that are deleted or merged. One
    query for the ids of the kinds. Raises Forgotten.
    """
    require_kept(weights, motions, as_of)
    ids = kind_ids()
    lines = lines_of(weights, motions, ids)
    if not lines:
        return None
    counts = counted(weights, motions, ids, as_of=as_of, mark=mark)
    if accounts is not None:
        counts = counts.filter(account__in=accounts)
    if living:
        counts = counts.filter(account__deleted_at__isnull=True, account__merged_into__isnull=True)
    connection = connection_of(Signal)
    compiler = counts.query.get_compiler(connection=connection)
    return _AllScores(counts, lines).as_sql(compiler, connection)


def scores(
    weights: Weights,
    motions: Sequence[str] | None = None,
    *,
    as_of: datetime,
    mark: int | None = None,
    accounts: Sequence[int] | None = None,
) -> dict[tuple[int, str], int]:
    """Scores from 1 on, by account and motion; of all accounts and all motions unless told. Others are 0.

    What occurred in `(as_of - window, as_of]` counts, as far as run `mark` and those before it had been told (None:
    everything that is stored). Three queries, whatever the numbers. Raises Forgotten.
    """
    wanted = list(weights.motions if motions is None else motions)
    question = scoring(weights, wanted, as_of=as_of, mark=mark, accounts=accounts)
    if question is None:
        return {}
    return {(owner, motion): score for owner, motion, score in _rows(*question)}


def _rows(sql: str, params: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    with connection_of(Signal).cursor() as cursor:
        cursor.execute(f"SELECT owner, motion, score FROM {sql} scored", params)  # noqa: S608 - see the module
        yield from cursor.fetchall()
