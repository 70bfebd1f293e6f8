"""Sums of time in the database, to the microsecond, on SQLite too, where a moment is a text.

There stock Django measures a span by calling Python for each row. Here it is whole numbers all the way: a moment is its
microseconds since 1970, and of a sum the whole seconds and the rest are added apart, so that no sum is too large.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import BigIntegerField, F, Func, QuerySet, Value
from django.db.models.functions import Coalesce, Greatest, Least

from csplaybooks.playbooks.reports.periods import Part

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000

#: Keeps the inner query apart, so that the two ends of a stretch are worked out once and not in each sum.
_APART = {"sqlite": "LIMIT -1 OFFSET 0", "postgresql": "OFFSET 0"}


def microseconds(moment: datetime) -> int:
    """A moment as microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


class Microseconds(Func):
    """A moment of a row as microseconds since 1970; null stays null."""

    arity = 1
    output_field = BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """A text such as `2026-11-16 10:00:00.000001`, in UTC; the fraction is left out where it is none."""
        sql, params = compiler.compile(self.source_expressions[0])
        whole, rest = f"strftime('%%s', substr({sql}, 1, 19))", f"substr({sql}, 21, 6)"
        return f"(CAST({whole} AS INTEGER) * {_SECOND} + CAST({rest} AS INTEGER))", [*params, *params]

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """The numeric seconds since 1970, which have six digits after the point."""
        sql, params = compiler.compile(self.source_expressions[0])
        return f"((EXTRACT(EPOCH FROM {sql}) * {_SECOND})::bigint)", params


def cut_to(begins: str, ends: str, since: datetime, until: datetime) -> dict[str, Any]:
    """Annotations `first` and `last`: the part of a stretch from column to column that lies in `[since, until)`.

    A stretch that has not ended lasts until then.
    """
    first, last = Value(microseconds(since)), Value(microseconds(until))
    return {
        "first": Greatest(Microseconds(F(begins)), first, output_field=BigIntegerField()),
        "last": Least(Coalesce(Microseconds(F(ends)), last), last, output_field=BigIntegerField()),
    }


def sums_of(
    stretches: QuerySet[Any], keys: Sequence[Any], parts: Sequence[Part] = (), *, limit: int | None = None
) -> Iterator[tuple[tuple[Any, ...], int, int, tuple[int, ...]]]:
    """Of stretches grouped by `keys`: the key, its microseconds, its plays, and its microseconds in each part.

    The most first. One query over `stretches`, whose rows have `first` and `last` (see `cut_to`) and `asked_play`, the
    id of their play; keys are expressions over them. At most `limit` groups are answered.
    """
    connection = connections[stretches.db]
    names = [f"key_{number}" for number in range(len(keys))]
    rows = stretches.order_by().annotate(**dict(zip(names, keys, strict=True)))
    try:
        inner, params = rows.values(*names, "asked_play", "first", "last").query.get_compiler(stretches.db).as_sql()
    except EmptyResultSet:
        return
    columns = [
        *names,
        f"SUM((last - first) / {_SECOND})",
        # Two signs, because the text is filled in with parameters.
        f"SUM((last - first) %% {_SECOND})",
        "COUNT(DISTINCT asked_play)",
        *(_in_part(connection.vendor, part) for part in parts),
    ]
    # Numbers and names of ours, around a query of Django's whose values are parameters.
    sql = f"SELECT {', '.join(columns)} FROM ({inner} {_APART[connection.vendor]}) stretch"  # noqa: S608
    if keys:
        most = f"{len(keys) + 1} DESC, {len(keys) + 2} DESC"
        sql += f" GROUP BY {', '.join(names)} ORDER BY {', '.join((most, *names))}"
    if limit is not None:
        sql += f" LIMIT {int(limit)}"
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        found = cursor.fetchall()
    for row in found:
        key, (whole, rest, plays, *each) = row[: len(keys)], row[len(keys) :]
        # A sum of nothing is null.
        yield tuple(key), int(whole or 0) * _SECOND + int(rest or 0), plays, tuple(int(part or 0) for part in each)


def _in_part(vendor: str, part: Part) -> str:
    """The sum of what lies in a part; most stretches lie outside, and are passed over by two comparisons.

    Its ends are numbers of ours, so they may stand in the text.
    """
    most, least = ("GREATEST", "LEAST") if vendor == "postgresql" else ("MAX", "MIN")
    begins, ends = microseconds(part.begins), microseconds(part.ends)
    spent = f"{least}(last, {ends}) - {most}(first, {begins})"
    return f"SUM(CASE WHEN first < {ends} AND last > {begins} THEN {spent} ELSE 0 END)"
