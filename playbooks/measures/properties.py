"""Properties of signals in SQL: by any name, kinds told apart, the same on every database."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import BooleanField, Func, TextField

#: The kinds of values that count: text, numbers, and true and false. Lists, mappings and null are none of them.
_SCALARS = "('string', 'number', 'boolean')"


class PropertyIs(Func):
    """Whether a signal's property of this name has this value: text, a whole number, or true or false.

    Kinds are told apart (`true` is not "true", nor 1) and any name is only a name, also one with quotes or digits
    alone, on every database. Django's own JSON lookups take some names for indexes, and on SQLite mix kinds. Name and
    value are parameters of the SQL.
    """

    def __init__(self, name: str, value: str | int | float | bool) -> None:
        super().__init__("properties", output_field=BooleanField())
        self.name = name
        self.value = value

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra_context: Any) -> tuple[str, tuple[Any, ...]]:
        """For PostgreSQL, where equality of `jsonb` says it all."""
        column, params = compiler.compile(self.source_expressions[0])
        return f"(JSONB_EXTRACT_PATH({column}, %s) = %s::jsonb)", (*params, self.name, json.dumps(self.value))

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> tuple[str, tuple[Any, ...]]:
        """For SQLite, whose JSON paths have no way to write some names: the pairs are gone through."""
        column, params = compiler.compile(self.source_expressions[0])
        found = f"SELECT 1 FROM JSON_EACH({column}) AS property WHERE property.key = %s AND property.type"  # noqa: S608 - the column is Django's
        if isinstance(self.value, bool):
            return f"EXISTS({found} = %s)", (*params, self.name, json.dumps(self.value))
        types = "= 'text'" if isinstance(self.value, str) else "IN ('integer', 'real')"
        return f"EXISTS({found} {types} AND property.atom = %s)", (*params, self.name, self.value)


class PropertyText(Func):
    """A signal's property of this name, where it is a text; else null. The name is a parameter of the SQL."""

    def __init__(self, name: str) -> None:
        super().__init__("properties", output_field=TextField())
        self.name = name

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra_context: Any) -> tuple[str, tuple[Any, ...]]:
        """For PostgreSQL."""
        column, params = compiler.compile(self.source_expressions[0])
        value = f"JSONB_EXTRACT_PATH({column}, %s)"
        text = f"JSONB_EXTRACT_PATH_TEXT({column}, %s)"
        names = (*params, self.name)
        return f"(CASE WHEN JSONB_TYPEOF({value}) = 'string' THEN {text} END)", (*names, *names)

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> tuple[str, tuple[Any, ...]]:
        """For SQLite; of a name that stands twice the last counts, as on PostgreSQL."""
        column, params = compiler.compile(self.source_expressions[0])
        found = f"SELECT CASE property.type WHEN 'text' THEN property.atom END FROM JSON_EACH({column}) AS property"  # noqa: S608 - the column is Django's
        return f"({found} WHERE property.key = %s ORDER BY property.id DESC LIMIT 1)", (*params, self.name)


class PropertyToken(Func):
    """What tells a signal's property of this name from others: alike exactly where kind and value are alike.

    Null where there is no such property, or it is null, a list or a mapping. For counting distinct values; what it
    reads differs between databases.
    """

    def __init__(self, name: str) -> None:
        super().__init__("properties", output_field=TextField())
        self.name = name

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra_context: Any) -> tuple[str, tuple[Any, ...]]:
        """For PostgreSQL; `TRIM_SCALE` because 1 and 1.0 are one number."""
        column, params = compiler.compile(self.source_expressions[0])
        value = f"JSONB_EXTRACT_PATH({column}, %s)"
        names = (*params, self.name)
        sql = (
            f"(CASE WHEN JSONB_TYPEOF({value}) = 'number' THEN TRIM_SCALE({value}::text::numeric)::text "
            f"WHEN JSONB_TYPEOF({value}) IN {_SCALARS} THEN {value}::text END)"
        )
        return sql, names * 4

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> tuple[str, tuple[Any, ...]]:
        """For SQLite."""
        column, params = compiler.compile(self.source_expressions[0])
        kept = (
            "CASE WHEN property.type = 'text' THEN 't' || property.atom "
            "WHEN property.type IN ('true', 'false') THEN 'b' || property.type "
            "WHEN property.type IN ('integer', 'real') THEN 'n' || CASE "
            # As text SQLite writes fifteen digits, and a number may have seventeen. `%%` is one per cent sign.
            "WHEN TYPEOF(property.atom) = 'real' AND property.atom <> CAST(property.atom AS INTEGER) "
            "THEN PRINTF('%%!.17g', property.atom) ELSE CAST(property.atom AS INTEGER) END END"
        )
        found = f"SELECT {kept} FROM JSON_EACH({column}) AS property"  # noqa: S608 - the column is Django's
        return f"({found} WHERE property.key = %s ORDER BY property.id DESC LIMIT 1)", (*params, self.name)
