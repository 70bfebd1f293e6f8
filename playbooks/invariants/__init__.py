"""What must hold over the whole database, beyond what one row's constraints can say.

Each invariant is one query for the rows that break it, or a walk over rows in chunks; none may find any. The replay,
the end-to-end test, the crash tests and the command `csplaybooks_check` all ask these.
"""

from __future__ import annotations

from collections.abc import Iterator

from csplaybooks.playbooks.invariants import accounts, clocks, inputs, matches, plays, steps
from csplaybooks.playbooks.invariants.registry import Invariant, Violation

__all__ = ["INVARIANTS", "Invariant", "Violation", "inspect", "violations"]

#: All of them, in the order in which they are asked.
INVARIANTS: tuple[Invariant, ...] = (
    *inputs.INVARIANTS,
    *accounts.INVARIANTS,
    *matches.INVARIANTS,
    *plays.INVARIANTS,
    *clocks.INVARIANTS,
    *steps.INVARIANTS,
)


def inspect(*, limit: int = 10, chunk: int = 2000) -> Iterator[Violation]:
    """Ask one invariant after the other over the whole database; names at most `limit` rows of each."""
    for invariant in INVARIANTS:
        yield invariant.violation(limit=limit, chunk=chunk)


def violations(*, chunk: int = 2000) -> list[Violation]:
    """Ask every invariant over the whole database: one entry for each, in a fixed order, with count 0 if it holds."""
    return list(inspect(chunk=chunk))
