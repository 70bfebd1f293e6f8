"""What the doctor reads of the broker of django-q2: how much waits there, and since when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.db.models import Count, Min, Q

#: How long Redis may take to answer, in seconds.
REDIS_SECONDS = 2
#: At most so many overdue tasks are read.
MOST_READ = 50


@dataclass(frozen=True)
class Tasks:
    """What stands in the queue.

    `oldest` is since when the first task could have been taken. Overdue tasks were taken so long ago that they are done
    or dead, and were never reported; repeated ones among them had been taken before: only the ORM broker tells.
    """

    broker: str
    size: int
    oldest: datetime | None = None
    unreadable: bool = False
    overdue: int = 0
    repeated: int = 0


def is_orm() -> bool:
    """Whether the database is the broker."""
    from django_q.conf import Conf

    return bool(Conf.ORM) and not Conf.BROKER_CLASS and not Conf.IRON_MQ and not isinstance(Conf.SQS, dict)


def queue(now: datetime) -> Tasks:
    """What stands in the queue. Raises whatever the broker raises when it does not answer."""
    if is_orm():
        return _orm_tasks(now)
    with open_broker() as broker:
        broker.ping()
        size = int(broker.queue_size())
        if not _is_redis(broker):
            return Tasks(type(broker).__name__, size)
        first = broker.connection.lindex(broker.list_key, 0)
        oldest = None if first is None else _queued_at(first)
        return Tasks("Redis", size, oldest, unreadable=first is not None and oldest is None)


def _orm_tasks(now: datetime) -> Tasks:
    from django_q.brokers import get_broker
    from django_q.conf import Conf
    from django_q.models import OrmQ

    rows = OrmQ.objects.using(Conf.ORM).filter(key=get_broker().list_key)
    # A task may be taken from its `lock` on: that is when it was queued, or `retry` seconds after it was last taken.
    free = Q(lock__lte=now)
    counted = rows.aggregate(size=Count("pk", filter=free), oldest=Min("lock", filter=free))
    retry = timedelta(seconds=Conf.RETRY)
    overdue = list(rows.filter(lock__gt=now, lock__lt=now + retry - _longest(retry)).order_by("lock")[:MOST_READ])
    repeated = 0
    for row in overdue:
        queued_at = _queued_at(row.payload)
        taken_at = row.lock - retry
        repeated += queued_at is not None and taken_at - queued_at >= retry - timedelta(seconds=1)
    return Tasks("the database", counted["size"], counted["oldest"], overdue=len(overdue), repeated=repeated)


def _longest(retry: timedelta) -> timedelta:
    """How long after it was taken a task is done, or was ended: it may wait behind those that were taken before it."""
    from django_q.conf import Conf

    most = retry * 0.9
    if not Conf.TIMEOUT:
        return most
    ahead: float = Conf.QUEUE_LIMIT / Conf.WORKERS + 2
    return min(timedelta(seconds=Conf.TIMEOUT) * ahead, most)


def _queued_at(package: Any) -> datetime | None:
    """When a task was queued; None where its package cannot be read here."""
    from django_q.signing import SignedPackage

    try:
        queued_at = SignedPackage.loads(package)["started"]
    except Exception:  # noqa: BLE001 - unpickling may raise anything; the caller tells that it could not be read
        return None
    return queued_at if isinstance(queued_at, datetime) else None


def _is_redis(broker: Any) -> bool:
    from django_q.conf import Conf

    others = (Conf.BROKER_CLASS, Conf.IRON_MQ, Conf.ORM, Conf.MONGO)
    return not any(others) and not isinstance(Conf.SQS, dict)


@contextmanager
def open_broker() -> Iterator[Any]:
    """The broker for a moment, with its own bounds on time where it is Redis.

    None where it is the database and what clusters say of themselves stays in their own memory.
    """
    from django_q.brokers import get_broker
    from django_q.conf import Conf

    broker = get_broker()
    if is_orm():
        yield None if broker.cache is None or isinstance(broker.cache, LocMemCache | DummyCache) else broker
        return
    ours = _is_redis(broker) and not Conf.DJANGO_REDIS
    if ours:
        _bound(broker)
    try:
        yield broker
    finally:
        if ours:
            broker.connection.close()


def _bound(broker: Any) -> None:
    """Let a Redis connection that only this look uses give up soon, and try once."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    broker.connection.connection_pool.connection_kwargs.update(
        socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS, retry=Retry(NoBackoff(), 0)
    )
