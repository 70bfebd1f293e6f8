"""How an invariant is written down, and what is told of one that does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet


@dataclass(frozen=True)
class Violation:
    """How many rows break an invariant, and the ids of some of them; a count of 0 where it holds.

    `table` is the label of the model of these rows; `says` what must hold, in a sentence.
    """

    invariant: str
    count: int
    examples: list[int]
    table: str = ""
    says: str = ""


@dataclass(frozen=True)
class Invariant:
    """One thing that must hold: its name, what it says, and the rows that break it, asked with (limit, chunk).

    The names are stable words: the replay and the command tell them.
    """

    name: str
    says: str
    ask: Callable[[int, int], tuple[int, list[int], str]] = field(repr=False)

    def violation(self, *, limit: int, chunk: int) -> Violation:
        """Ask the whole database; at most `limit` rows are named. What looks at rows one by one takes `chunk` each."""
        count, examples, table = self.ask(limit, chunk)
        return Violation(self.name, count, examples, table, self.says)


def by_query(name: str, says: str, rows: Callable[[], QuerySet[Any]]) -> Invariant:
    """An invariant that is one query for the rows that break it."""

    def ask(limit: int, chunk: int) -> tuple[int, list[int], str]:
        broken = rows()
        count = broken.count()
        examples = list(broken.order_by("pk").values_list("pk", flat=True)[:limit]) if count else []
        return count, examples, broken.model._meta.label

    return Invariant(name, says, ask)
