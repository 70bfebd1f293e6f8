"""Rounds: all accounts looked at in parts, each a run of its own, where they are too many for one transaction.

A run that has to look at all accounts of a big company would hold its lease, and its worker, for minutes. So it claims
what it was told and asks for a round. Each part of the round is a run under the same lease over the next accounts by
id; runs over what changed pass between two parts. A part claims nothing: it knows what the runs before it had claimed,
so it replays like any other run.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import F

from csplaybooks.accounts.models import Account
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.logs import evaluating
from csplaybooks.playbooks.episodes import RunReport, finish_run
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Round, Run
from csplaybooks.playbooks.pokes import poke

logger = logging.getLogger("csplaybooks.rounds")

#: The most accounts a query may list by id; above that an `IN` list is no longer the cheaper way. (PostgreSQL or not:
#: SQLite takes fewer parameters in a statement, and the ids stand in it several times.)
MOST_LISTED_ACCOUNTS = {True: 20_000, False: 2_000}

#: A round that has not moved for so long has lost its poke, or its worker has died.
STALLED_AFTER = timedelta(seconds=60)


def too_many_for_one_run() -> bool:
    """Whether there are more accounts than one run may look at."""
    most = csplaybooks_settings.FULL_RUN_ACCOUNTS
    return Account.objects.order_by("pk")[most : most + 1].exists()


def ask_for_round(now: datetime) -> Round:
    """The round that will look at all accounts from now on; under the lease of runs.

    One that waits for its first part serves; one that has begun does not, as the accounts behind it have news too.
    """
    waiting: Round | None = Round.objects.unfinished().filter(after_account=0).first()
    poke("run_round")
    return waiting or Round.objects.create(asked_at=now, moved_at=now)


def run_next_part(*, now: datetime) -> RunReport | None:
    """Look at the next accounts of the oldest round; answers None when there is no round to be worked on.

    Safe twice, at once and after `kill -9`: parts wait for each other, and the round moves on in the transaction of its
    part. A part that cannot be finished in the time a task has is tried again with half the accounts, and so on.
    """
    waiting = Round.objects.unfinished().first()
    if waiting is None:
        return None
    # Before the work, in a transaction of its own: a worker that is killed for taking too long leaves this behind.
    Round.objects.filter(pk=waiting.pk).update(attempts=F("attempts") + 1)
    with holding("csplaybooks:run", now):
        current = Round.objects.unfinished().first()
        if current is None:
            return None
        size = _part_size(current.attempts)
        after = Account.objects.order_by("pk").filter(pk__gt=current.after_account)
        accounts = list(after.values_list("pk", flat=True)[:size])
        current.attempts, current.moved_at = 0, now
        if len(accounts) < size:
            current.finished_at = now
        report = None
        if accounts:
            current.after_account = accounts[-1]
            before = Run.objects.newest()
            run = Run.objects.create(
                kind=Run.Kind.PART,
                round=current,
                first_account=accounts[0],
                last_account=accounts[-1],
                moment=max(now, before.moment) if before else now,
            )
            with evaluating(run.pk):
                report = finish_run(run, accounts, now)
        current.save(update_fields=["attempts", "moved_at", "finished_at", "after_account"])
        if Round.objects.unfinished().exists():
            poke("run_round")
    logger.info("%s of round %s", report, current.pk)
    return report


def revive_round(*, now: datetime) -> bool:
    """Poke the round that stands still, if there is one; answers whether there is."""
    stalled: bool = Round.objects.unfinished().filter(moved_at__lte=now - STALLED_AFTER).exists()
    if stalled:
        poke("run_round")
    return stalled


def _part_size(attempts: int) -> int:
    most = min(csplaybooks_settings.FULL_RUN_ACCOUNTS, MOST_LISTED_ACCOUNTS[connection.vendor == "postgresql"])
    return max(1, most >> min(max(attempts - 1, 0), 32))
