"""Adding rows to sums, and deleting them: one statement each on either database, whatever their number.

Names and SQL come from our code alone; everything else is a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import models
from django.db.models import Count, F, QuerySet

from csplaybooks.accounts.ids import Ids
from csplaybooks.signals.intake.storing import connection_of


class Outrun(Exception):
    """Rows that were to be pruned are gone already: somebody else prunes at the same time.

    The transaction must be rolled back: nothing is counted twice then.
    """


def these(model: type[models.Model], ids: Sequence[int]) -> QuerySet[Any]:
    """The rows with these ids; however many they are, they are one parameter of the statement."""
    rows: QuerySet[Any] = model._default_manager.filter(pk__in=Ids(ids))
    return rows.order_by()


def delete_these(model: type[models.Model], ids: Sequence[int]) -> None:
    """Delete the rows with these ids, past Django's collector, which would read each of them for what hangs on it.

    What points at the rows must be among them or gone. Raises Outrun where one of them was not there any more.
    """
    if these(model, ids)._raw_delete(connection_of(model).alias) != len(ids):
        raise Outrun


def sql_of(rows: QuerySet[Any, Any]) -> tuple[str, Sequence[Any]]:
    """The SQL of a queryset of values, and its parameters, for the connection its model is written on."""
    sql, params = rows.query.get_compiler(connection=connection_of(rows.model)).as_sql()
    return sql, list(params)


def add_up(
    sums: type[models.Model],
    values: Mapping[str, str],
    rows: tuple[str, Sequence[Any]],
    *,
    keys: Sequence[str],
    otherwise: Mapping[str, str] | None = None,
) -> None:
    """Add rows to the table `sums`, to one row of it for each different `keys`, which are unique there.

    `rows` is a query with its parameters. `values` gives by field the SQL of its value over the columns of `rows`:
    of the keys a column, of the others an aggregate. Where the row is there already, numbers are added; `otherwise`
    gives the SQL for those that are not, in which `{old}` and `{new}` stand for the two values, and `{was}` and
    `{comes}` for the two rows.
    """
    connection = connection_of(sums)
    quote = connection.ops.quote_name
    table = quote(sums._meta.db_table)
    columns: dict[str, str] = {}
    for name in values:
        field: Any = sums._meta.get_field(name)
        columns[name] = quote(field.column)
    merged = [
        f"{column} = "
        + (otherwise or {})
        .get(name, "{old} + {new}")
        .format(old=f"{table}.{column}", new=f"EXCLUDED.{column}", was=table, comes="EXCLUDED")
        for name, column in columns.items()
        if name not in keys
    ]
    grouped = ", ".join(values[key] for key in keys)
    sql, params = rows
    # In the order of the keys, so that two who add to the same sums wait for each other, and never both. "WHERE TRUE"
    # lets SQLite tell the ON of the conflict from that of a join.
    statement = (
        f"INSERT INTO {table} ({', '.join(columns.values())})"  # noqa: S608 - see the module
        f" SELECT {', '.join(values.values())} FROM ({sql}) one WHERE TRUE GROUP BY {grouped} ORDER BY {grouped}"
        f" ON CONFLICT ({', '.join(columns[key] for key in keys)}) DO UPDATE SET {', '.join(merged)}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, params)


def count_on(model: type[models.Model], field: str, rows: QuerySet[Any], relation: str) -> None:
    """Add to `field` of each row of `model` how many of `rows` point at it by `relation`."""
    connection = connection_of(model)
    quote = connection.ops.quote_name
    table, column = quote(model._meta.db_table), quote(field)
    counted = rows.annotate(target=F(f"{relation}_id")).values("target").annotate(n=Count("pk"))
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            # Not all versions know UPDATE ... FROM, and a subquery for each row would go through all of `rows`.
            cursor.executemany(
                f"UPDATE {table} SET {column} = {column} + %s WHERE id = %s",  # noqa: S608 - see the module
                counted.values_list("n", "target"),
            )
            return
        sql, params = sql_of(counted)
        cursor.execute(
            f"UPDATE {table} AS touched SET {column} = touched.{column} + counted.n"  # noqa: S608 - see the module
            f" FROM ({sql}) counted WHERE counted.target = touched.id",
            params,
        )
