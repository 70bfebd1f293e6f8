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
from django.db.models import F, Q

from csplaybooks.accounts.models import Account
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.logs import evaluating
from csplaybooks.playbooks.episodes import RunReport, finish_run
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Round, Run
from csplaybooks.playbooks.pokes import poke

logger = logging.getLogger("csplaybooks.rounds")

#: The most accounts of one run that does not look at all: so much work has one transaction. (PostgreSQL or not: SQLite
#: has one writer, for whom the others wait.)
MOST_LISTED_ACCOUNTS = {True: 20_000, False: 2_000}

#: A poke that nobody has followed for so long is lost, with its worker or its broker.
STALLED_AFTER = timedelta(seconds=60)


def too_many_for_one_run() -> bool:
    """Whether there are more accounts than one run may look at."""
    most = csplaybooks_settings.FULL_RUN_ACCOUNTS
    return Account.objects.order_by("pk")[most : most + 1].exists()


def ask_for_round(now: datetime) -> Round:
    """The round that will look at all accounts from now on; under the lease of runs.

    One that waits for its first part serves; one that has begun does not, as the accounts behind it have news too.
    A new one begins with parts of twice the size with which the last one came through.
    """
    waiting: Round | None = Round.objects.unfinished().filter(after_account=0).first()
    if waiting is not None:
        return waiting
    last = Round.objects.order_by("-pk").first()
    size = _largest_part() if last is None else min(_largest_part(), last.part_size * 2)
    asked: Round = Round.objects.create(asked_at=now, moved_at=now, part_size=size)
    return asked


def run_next_part(*, now: datetime) -> RunReport | None:
    """Look at the next accounts of the oldest round.

    Answers None when there is no round to be worked on, or (on PostgreSQL) when another run is under way. Safe twice,
    at once and after `kill -9`: the round moves on in the transaction of its part. A part that cannot be finished in
    the time a task has is tried again with half the accounts, and so are those after it.
    """
    if not _begin_part(now):
        return None
    with holding("csplaybooks:run", now, wait=False) as lease:
        if lease is None:
            # Somebody was first, and this part has not been begun after all.
            Round.objects.unfinished().filter(attempts__gt=0).update(attempts=F("attempts") - 1)
            return None
        current = Round.objects.unfinished().first()
        if current is None:
            return None
        size = min(current.part_size, _largest_part())
        before = Run.objects.newest()
        # Whom no run has been told of yet the next one looks at that claims the news.
        known = Account.objects.known_at(before.pk if before else 0)
        after = known.order_by("pk").filter(pk__gt=current.after_account)
        accounts = list(after.values_list("pk", flat=True)[:size])
        current.attempts, current.moved_at = 0, now
        if len(accounts) < size:
            current.finished_at = now
        report = None
        if accounts:
            current.after_account = accounts[-1]
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
    logger.info("%s of round %s", report, current.pk)
    return report


def _begin_part(now: datetime) -> bool:
    """Note that the next part is begun, before the work and in a transaction of its own: who dies leaves this behind.

    Answers False where there is no round, or another run is under way.
    """
    if not Round.objects.unfinished().exists():
        return False
    with holding("csplaybooks:run", now, wait=False) as lease:
        current = Round.objects.unfinished().first()
        if current is None:
            return False
        current.poked_at = None
        if lease is not None:
            if current.attempts:
                # Whoever began it has not come to its end.
                current.part_size = max(1, current.part_size // 2)
            current.attempts += 1
        current.save(update_fields=["poked_at", "part_size", "attempts"] if lease else ["poked_at"])
    return lease is not None


def poke_round(*, now: datetime) -> bool:
    """Ask for the next part of the oldest round, unless that has been done; answers whether it was asked for.

    A poke that nobody has followed for `STALLED_AFTER` is lost: it is made again. So there is one at a time, and all
    who have held the lease of runs may call this.
    """
    lost = Q(poked_at__isnull=True) | Q(poked_at__lte=now - STALLED_AFTER)
    oldest = Round.objects.unfinished().values_list("pk", flat=True).first()
    asked: bool = oldest is not None and Round.objects.filter(lost, pk=oldest).update(poked_at=now) == 1
    if asked:
        poke("run_round")
    return asked


def _largest_part() -> int:
    return min(csplaybooks_settings.FULL_RUN_ACCOUNTS, MOST_LISTED_ACCOUNTS[connection.vendor == "postgresql"])
