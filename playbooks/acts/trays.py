"""The act on the trays: work that was given up after its last attempt is put back into its queue."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction

from csplaybooks.accounts.acts.record import require_aware, timeline_entry, write_timeline
from csplaybooks.playbooks.models import Match, Play
from csplaybooks.playbooks.pipeline.queue import retry_stuck
from csplaybooks.playbooks.pokes import poke

#: What the labels of rows read.
_LABELS: dict[type[Match] | type[Play], tuple[str, ...]] = {
    Match: ("trigger__playbook", "account"),
    Play: ("playbook", "account"),
}


@transaction.atomic
def put_back(*, model: type[Match] | type[Play], ids: Iterable[int], now: datetime, actor: Any) -> int:
    """Put stuck matches or plays back into their queue, with all their attempts before them; answers how many.

    What is not stuck is passed over.
    """
    require_aware(now=now)
    # Locked, so that of two people who put a row back at once one writes its line.
    stuck = model.objects.stuck().filter(pk__in=list(ids)).select_related(*_LABELS[model])
    rows: list[Any] = list(stuck.select_for_update(no_key=True, of=("self",)).order_by("pk"))
    done = retry_stuck(model, [row.pk for row in rows], now=now)
    if not done:
        return 0
    write_timeline(
        timeline_entry(
            account_id=row.account_id,
            at=now,
            now=now,
            kind=f"{model._meta.model_name}_retried",
            text=f"Put back into the queue: {row}. It had failed with: {row.last_error or 'no error told'}",
            subject=row,
            actor=actor,
        )
        for row in rows
    )
    poke("work")
    return done
