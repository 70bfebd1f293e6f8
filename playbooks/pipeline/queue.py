"""How a worker of the pipeline takes rows: the row is the queue."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, DateTimeField, F, Value, When

from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.models.work import WorkQuerySet
from csplaybooks.playbooks.pipeline.savepoints import together_or_each

logger = logging.getLogger("csplaybooks.pipeline")


def work_off(
    queue: WorkQuerySet,
    act: Callable[[Sequence[int]], None],
    *,
    now: datetime,
    order_by: Sequence[Any],
    limit: int = 200,
) -> int:
    """Take up to `limit` rows of `queue` and let `act` move them, all in one transaction; answers how many were taken.

    `act` gets ids and moves their rows out of the queue. The rows are claimed by a conditional UPDATE that passes by
    what another worker holds, so two workers share a queue. A worker that dies releases its rows with its
    transaction. When a batch fails it is tried row by row: a failing row gets its error, an attempt and a later try,
    and after its last attempt stands in the tray (`stuck_at`); the others go on.
    """
    with transaction.atomic():
        ids = claim(queue, now=now, order_by=order_by, limit=limit)
        if not ids:
            return 0
        model = queue.model

        def move(some: Sequence[int]) -> int:
            act(some)
            _forget_attempts(model, some)
            return len(some)

        together_or_each(
            ids,
            move,
            of=str(model._meta.verbose_name_plural),
            logger=logger,
            failed=lambda pk, error: _note_failure(model, pk, error, now),
        )
    return len(ids)


def claim(queue: WorkQuerySet, *, now: datetime, order_by: Sequence[Any], limit: int) -> list[int]:
    """Claim the first rows of a queue that nobody else holds, in the caller's transaction; answers their ids.

    They carry the same new `claim`, by which whoever took them knows them again.
    """
    waiting: WorkQuerySet = queue.workable_at(now)
    first: Any = waiting.order_by(*order_by).values_list("pk", flat=True)
    if connection.features.has_select_for_update_skip_locked:
        # A statement of its own: PostgreSQL may run a locking subquery again for each row of the UPDATE around it,
        # which would then claim more than the limit.
        # Without the lock on keys, where there is a choice: a worker that writes a row which points at one of these
        # is no reason to pass it by.
        no_key = connection.features.has_select_for_no_key_update
        first = list(first.select_for_update(skip_locked=True, no_key=no_key)[:limit])
        if not first:
            return []
    else:
        first = first[:limit]
    # On SQLite the UPDATE comes first in the transaction, so that it takes the write lock at once; its conditions are
    # checked again on the rows as they are when it gets to them.
    token = uuid.uuid4()
    if not waiting.filter(pk__in=first).update(claim=token):
        return []
    return list(queue.filter(claim=token).order_by(*order_by).values_list("pk", flat=True))


def _note_failure(model: Any, pk: int, error: Exception, now: datetime) -> None:
    """A row failed by itself: it keeps the error, and waits for its next try, or after the last stands in the tray."""
    logger.exception("%s %s failed", model._meta.verbose_name, pk)
    later = now + timedelta(seconds=csplaybooks_settings.RETRY_SECONDS)
    last_attempt = csplaybooks_settings.MAX_ATTEMPTS - 1
    model.objects.filter(pk=pk).update(
        attempts=F("attempts") + 1,
        last_error=f"{type(error).__name__}: {error}"[:500].replace("\0", ""),
        next_try_at=later,
        stuck_at=Case(
            When(attempts__gte=last_attempt, then=Value(now)), default=None, output_field=DateTimeField(null=True)
        ),
    )


def _forget_attempts(model: Any, ids: Sequence[int]) -> None:
    """The rows have come through: at the next step of the pipeline they have all their attempts again."""
    model.objects.filter(pk__in=ids, attempts__gt=0).update(attempts=0, last_error="", next_try_at=None)


def retry_stuck(model: Any, ids: Sequence[int], *, now: datetime) -> int:
    """Put rows of the tray back into their queue, with all their attempts before them; answers how many.

    They wait since `now`: they have not been late meanwhile.
    """
    stuck: WorkQuerySet = model.objects.stuck().filter(pk__in=ids)
    return stuck.update(stuck_at=None, next_try_at=now, attempts=0, last_error="")
