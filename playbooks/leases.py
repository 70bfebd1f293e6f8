"""Leases: a row lock that says "one at a time", and a time that says "not again yet"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q

from csplaybooks.playbooks.models import Lease


@contextmanager
def holding(name: str, now: datetime, *, wait: bool = True) -> Iterator[Lease | None]:
    """Hold the lease `name` inside a transaction of its own; yields None when somebody else holds it.

    The lock is the database's row lock (SQLite: the write lock of the transaction), so it ends with the transaction,
    or with the process that held it. `wait` waits for whoever holds it instead.
    """
    Lease.objects.get_or_create(name=name)
    with transaction.atomic():
        if wait or not connection.features.has_select_for_update_skip_locked:
            # A write, not a SELECT: on SQLite the first statement must be the one that takes the lock.
            Lease.objects.filter(name=name).update(last_run_at=now)
            yield Lease.objects.get(name=name)
            return
        lease = Lease.objects.select_for_update(skip_locked=True).filter(name=name).first()
        if lease is not None:
            Lease.objects.filter(pk=lease.pk).update(last_run_at=now)
        yield lease


def due(name: str, every: timedelta, now: datetime) -> bool:
    """Claim the slot of a scheduled job: True once in each `every`, however late, doubled or replayed the calls are.

    The first call ever is due. Missed slots are not made up for.
    """
    Lease.objects.get_or_create(name=name)
    claimed = Lease.objects.filter(Q(next_at__isnull=True) | Q(next_at__lte=now), name=name).update(
        next_at=now + every, last_run_at=now
    )
    return claimed == 1


def beat(name: str, now: datetime, *, expected: int, seen: int) -> None:
    """Write a heartbeat: when the job `name` last looked, how many rows were due and how many it dealt with."""
    Lease.objects.update_or_create(name=name, defaults={"last_run_at": now, "expected": expected, "seen": seen})
