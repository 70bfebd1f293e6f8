"""The one seam through which work is handed to django-q2.

A task is only a poke: it carries nothing, and the truth is in our rows. A lost poke is made good by the sweep, a
doubled one finds nothing left to do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

logger = logging.getLogger("csplaybooks.pokes")

#: What can be poked, by name: the functions in `csplaybooks.playbooks.tasks`.
POKES = frozenset({"run_changed", "run_full", "run_round", "work", "watch_clocks", "sweep", "deliver"})

_silenced = 0


@contextmanager
def pokes_silenced() -> Iterator[None]:
    """No pokes inside: for a replay, which calls the same functions itself, on its own clock."""
    global _silenced
    _silenced += 1
    try:
        yield
    finally:
        _silenced -= 1


def poke(name: str) -> None:
    """Ask the cluster to call the task `name` once the current transaction has committed.

    A broker that cannot be reached is logged and left to the sweep: the work itself is safe in its rows, and the
    request that brought it must not fail for it.
    """
    if name not in POKES:
        raise ValueError(f"unknown poke {name!r}")
    if _silenced:
        return
    transaction.on_commit(lambda: _enqueue(name), robust=True)


def _enqueue(name: str) -> None:
    from django_q.tasks import async_task

    try:
        async_task(f"csplaybooks.playbooks.tasks.{name}", task_name=f"csplaybooks:{name}")
    except Exception:
        logger.exception("could not poke %s; the sweep will pick it up", name)
