"""Ids in a query: one parameter, however many they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db.models import BigIntegerField, Expression


class Ids(Expression):
    """The ids that a question is about, such as those of accounts, for `account__in` and `pk__in`.

    Listed one by one, thousands of them would stand in the text of a query as often as they are asked for.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        super().__init__(output_field=BigIntegerField())
        self.ids = tuple(ids)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """For PostgreSQL, which reckons with as many rows as the array has."""
        return "(SELECT unnest(%s::bigint[]))", (self.slot("postgresql"),)

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """For SQLite."""
        return "(SELECT value FROM json_each(%s))", (self.slot("sqlite"),)

    def slot(self, vendor: str) -> Any:
        """What is handed on as the parameter."""
        return given(self.ids, vendor)


class LateIds(Ids):
    """The ids of a question that is asked later: their slot is bound to them then."""

    def __init__(self) -> None:
        super().__init__(())

    def slot(self, vendor: str) -> Any:
        """Itself, to be found among the parameters."""
        return self


def given(ids: Sequence[int], vendor: str) -> Any:
    """Ids as a database takes them in one parameter."""
    return json.dumps(list(ids)) if vendor == "sqlite" else list(ids)
