"""Lists of texts in SQL, and in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Aggregate, JSONField

#: So many are named in words; the evidence has them all.
_MOST_NAMED = 5


class TextList(Aggregate):
    """The different texts of a group, as a JSON list in any order."""

    function = "JSONB_AGG"
    name = "TextList"
    allow_distinct = True

    def __init__(self, expression: Any) -> None:
        super().__init__(expression, distinct=True, output_field=JSONField())

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> Any:
        """For SQLite."""
        return self.as_sql(compiler, connection, function="JSON_GROUP_ARRAY", **extra_context)


def few_of(texts: Iterable[str]) -> str:
    """A few of some texts in words, sorted; how many more there are."""
    names = sorted(texts)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
