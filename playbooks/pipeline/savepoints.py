"""Many at once, but none at the mercy of another: together in one savepoint, or else one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from logging import Logger
from typing import TypeVar

from django.db import transaction

Item = TypeVar("Item")


def together_or_each(
    items: Sequence[Item],
    act: Callable[[Sequence[Item]], int],
    *,
    of: str,
    logger: Logger,
    failed: Callable[[Item, Exception], None],
    alone: Callable[[Item], int] | None = None,
) -> int:
    """Let `act` deal with all items, or with each by itself where that fails; answers the sum of what it answered.

    Each time it is a savepoint, or where the caller has no transaction one of its own: an item that fails leaves
    nothing, and stops none of the others. `failed` gets it with its error once that is rolled back; it is called while
    the error is handled, so that a log can tell all of it. `of` says in words, for the log, what the items are.
    `alone` deals with one item where that is another thing than `act` with one, such as to read it anew.
    """
    try:
        with transaction.atomic():
            return act(items)
    # Of whatever kind the error is, it may be that of a single item.
    except Exception:
        logger.exception("%d %s failed together; trying one by one", len(items), of)
    done = 0
    for item in items:
        try:
            with transaction.atomic():
                done += act([item]) if alone is None else alone(item)
        except Exception as error:  # noqa: BLE001 - whatever it is, `failed` tells of it and the others go on
            failed(item, error)
    return done
