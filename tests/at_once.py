"""Work in threads of its own, as other processes would do it: on database connections of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection

#: How many seconds anybody waits for anybody.
PATIENCE = 60


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each work answers, all started at the same moment; the first that raises is raised here."""
    barrier = Barrier(len(works), timeout=PATIENCE)

    def start(work: Callable[[], Any]) -> Any:
        # What takes long has been done before all start.
        connection.ensure_connection()
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        begun = [pool.submit(_on_own_connection, lambda work=work: start(work)) for work in works]
        return [future.result(timeout=PATIENCE) for future in begun]


def elsewhere(work: Callable[[], Any]) -> Any:
    """What a work answers in another thread, waited for."""
    return begin(work).result(timeout=PATIENCE)


def begin(work: Callable[[], Any]) -> Future[Any]:
    """What a work will answer in another thread, not waited for."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(_on_own_connection, work)
    pool.shutdown(wait=False)
    return future


def waiting_for_locks() -> int:
    """How many sessions of a PostgreSQL wait for what another holds."""
    with connection.cursor() as cursor:
        # Inside a transaction the server would show what it showed first.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        count: int = cursor.fetchone()[0]
    return count


def _on_own_connection(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connection.close()
