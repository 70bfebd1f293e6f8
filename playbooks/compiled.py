"""The evaluator's queries, built once and asked again and again.

Building a trigger's query takes Django several times as long as it takes the database to answer it over a handful of
accounts. Its text depends on the trigger and on the catalogue, and here and there on the calendar day; moment, mark and
the ids of accounts are parameters. So the text is kept, with slots where those belong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import BigIntegerField, DateTimeField, Expression, QuerySet

from csplaybooks.accounts.ids import Ids, LateIds, given
from csplaybooks.playbooks.measures import Moment, get_measure

#: So many queries are kept in one process.
_MOST_KEPT = 500

#: Rows are read so many at a time.
_CHUNK = 2000


class LateMoment(Expression):
    """The moment of a question that is asked later, shifted by a fixed span. It can be shifted, and nothing else."""

    def __init__(self, offset: timedelta = timedelta()) -> None:
        super().__init__(output_field=DateTimeField())
        self.offset = offset

    # Narrower than every expression's: this one can be shifted by a span, and nothing else.
    def __add__(self, span: Any) -> LateMoment:  # type: ignore[override]
        return LateMoment(self.offset + span) if isinstance(span, timedelta) else NotImplemented

    # As above.
    def __sub__(self, span: Any) -> LateMoment:  # type: ignore[override]
        return LateMoment(self.offset - span) if isinstance(span, timedelta) else NotImplemented

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """A slot for the moment."""
        return "%s", (self,)


class LateMark(Expression):
    """The mark of a question that is asked later."""

    def __init__(self) -> None:
        super().__init__(output_field=BigIntegerField())

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """A slot for the mark."""
        return "%s", (self,)


@dataclass(frozen=True)
class _Kept:
    """A query with its text; `select` is what its rows are read by."""

    query: Any
    using: str
    names: list[str]
    select: Any
    col_count: int
    sql: str
    params: tuple[Any, ...]
    columns: Any


_kept: dict[Any, _Kept | None] = {}

#: Builds the query for a moment: the queryset of `.values()`, and how to read its rows.
Build = Callable[[Moment], tuple[QuerySet[Any, Any], Any]]


def ask(
    build: Build, definition: Mapping[str, Any], audience: Mapping[str, Any], moment: Moment, what: str = "matches"
) -> tuple[Iterator[dict[str, Any]], Any]:
    """The rows of the query that `build` makes for a moment, and how to read them; one query.

    `definition` and `audience` are all of a trigger that `build` reads, and `what` is one word for what it makes of
    them.
    """
    conditions = [condition for group in definition["any"] for condition in group["all"]]
    asked = tuple(get_measure(condition["measure"]) for condition in conditions)
    keeps = all(measure.moment_is_a_parameter for measure in asked)
    return answer(build, moment, (what, definition, audience), asked if keeps else None)


def answer(
    build: Build, moment: Moment, parts: Sequence[Any], asked: tuple[Any, ...] | None
) -> tuple[Iterator[dict[str, Any]], Any]:
    """The rows of a query that is kept where it can be, and how to read them; one query.

    `parts` are plain values, and `asked` measures or guards: all that `build` reads beside the moment. With None for
    `asked` the query is built anew. About no accounts at all nothing is asked.
    """
    ids = cast("tuple[int, ...] | None", moment.accounts)
    kept = _find(build, parts, asked, moment) if asked is not None and ids != () else None
    if kept is None:
        query, columns = build(moment if ids is None else replace(moment, accounts=Ids(ids)))
        rows = iter(()) if ids == () else query.iterator(chunk_size=_CHUNK)
        return cast("Iterator[dict[str, Any]]", rows), columns
    return _rows(kept, moment), kept.columns


def _find(build: Build, parts: Sequence[Any], asked: tuple[Any, ...], moment: Moment) -> _Kept | None:
    known = moment.known
    day = moment.today if any(getattr(one, "uses_today", False) for one in asked) else None
    key = (
        json.dumps([*parts, known.as_json()], sort_keys=True),
        asked,
        known.mark is None,
        moment.accounts is None,
        day,
        tuple((alias, connections[alias].vendor) for alias in connections),
    )
    try:
        return _kept[key]
    except KeyError:
        # Another thread may build it at the same time, or clear what is kept: either way the answer is right.
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        mark: Any = None if known.mark is None else LateMark()
        accounts = None if moment.accounts is None else LateIds()
        # Of the moment a query that is kept knows nothing but, where it asks for it, the day.
        late = Moment(cast("datetime", LateMoment()), replace(known, mark=mark), accounts, day=day)
        kept = _kept[key] = _build(build, late)
        return kept


def _build(build: Build, late: Moment) -> _Kept | None:
    try:
        query, columns = build(late)
        using = query.db
        compiler = query.query.get_compiler(using)
        sql, params = compiler.as_sql()
    except EmptyResultSet:
        # It can never find anything, and Django knows; it is asked to say so each time.
        return None
    names = list(query.query.selected or [*query.query.values_select, *query.query.annotation_select])
    return _Kept(query.query, using, names, compiler.select, compiler.col_count, sql, tuple(params), columns)


def _rows(kept: _Kept, moment: Moment) -> Iterator[dict[str, Any]]:
    connection = connections[kept.using]
    adapt = connection.ops.adapt_datetimefield_value
    accounts = given(cast("tuple[int, ...] | None", moment.accounts) or (), connection.vendor)

    def bound(param: Any) -> Any:
        if isinstance(param, LateMoment):
            return adapt(moment.as_of + param.offset)
        if isinstance(param, LateMark):
            return moment.known.mark
        return accounts if isinstance(param, LateIds) else param

    compiler = kept.query.get_compiler(kept.using)
    compiler.select, compiler.col_count = kept.select, kept.col_count
    with connection.cursor() as cursor:
        cursor.execute(kept.sql, tuple(bound(param) for param in kept.params))
        for row in compiler.results_iter(results=iter(lambda: cursor.fetchmany(_CHUNK), [])):
            yield dict(zip(kept.names, row, strict=True))
