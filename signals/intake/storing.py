"""Writing many rows at once: one statement on either database, whatever their number.

Django's `bulk_create` cuts 5,000 rows into dozens of statements on SQLite, where its `ignore_conflicts`
passes over broken checks and missing values as well, and on PostgreSQL it spells every value of a table with
a binary column as a parameter of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper


def connection_of(model: type[models.Model]) -> BaseDatabaseWrapper:
    """The connection on which rows of `model` are written."""
    return connections[router.db_for_write(model)]


def reserve_ids(model: type[models.Model], count: int) -> list[int]:
    """Ascending ids for `count` new rows, so that rows can name each other before they are written.

    On SQLite the transaction must have written before: it then holds the only write lock there is.
    """
    connection = connection_of(model)
    table, column = model._meta.db_table, model._meta.pk.column
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
            row = cursor.fetchone()
            first = (row[0] if row else 0) + 1
            return list(range(first, first + count))
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
            [connection.ops.quote_name(table), column, count],
        )
        return sorted(row[0] for row in cursor.fetchall())


def insert_rows(model: type[models.Model], fields: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert `rows`, whose values stand in the order of `fields`; JSON is given as text.

    Rows that meet a unique constraint are passed over, and only those: every other broken constraint raises
    IntegrityError. Count what landed to know.
    """
    if not rows:
        return
    connection = connection_of(model)
    quote = connection.ops.quote_name
    columns: list[Any] = [model._meta.get_field(name) for name in fields]
    table = quote(model._meta.db_table)
    names = ", ".join(quote(column.column) for column in columns)
    moments = {number for number, column in enumerate(columns) if isinstance(column, models.DateTimeField)}
    adapt = connection.ops.adapt_datetimefield_value
    adapted = [[adapt(value) if number in moments else value for number, value in enumerate(row)] for row in rows]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            holes = ", ".join(["%s"] * len(columns))
            statement = f"INSERT INTO {table} ({names}) VALUES ({holes}) ON CONFLICT DO NOTHING"  # noqa: S608 - quoted
            cursor.executemany(statement, adapted)
            return
        # Without the length in `varchar(200)`: a cast would cut what the column refuses.
        arrays = ", ".join(f"%s::{str(column.db_type(connection)).split('(')[0]}[]" for column in columns)
        statement = f"INSERT INTO {table} ({names}) SELECT * FROM UNNEST({arrays}) ON CONFLICT DO NOTHING"  # noqa: S608 - quoted
        cursor.execute(statement, [list(values) for values in zip(*adapted, strict=True)])
