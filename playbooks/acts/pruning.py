"""Forgetting what has had its time: all of it in batches, each one short transaction, one prune at a time.

Signals, readings and intake batches are rolled up by day (`csplaybooks.signals.acts.pruning`); runs, and django-q2's
records of our tasks, are only deleted. What says who did what, and what came of it, is never touched: matches, plays,
intervals, clocks, touches, movements, changes, period rows, the timeline. See docs/retention.md.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from csplaybooks.accounts.acts.record import require_aware
from csplaybooks.conf import company_time_zone, csplaybooks_settings
from csplaybooks.playbooks.leases import due, holding
from csplaybooks.playbooks.models import Delivery, Match, MatchStep, Round, Run
from csplaybooks.playbooks.reach import days_needed
from csplaybooks.signals.acts.pruning import PrunedEvents, prune_batches, prune_events, prune_refused_items
from csplaybooks.signals.acts.pruning.events import BATCH
from csplaybooks.signals.acts.pruning.sums import delete_these
from csplaybooks.signals.acts.readiness import prune_scores
from csplaybooks.signals.horizon import to_prune_before
from csplaybooks.signals.models import ScoreSnapshot

#: The lease of pruning: one transaction at a time, by whomever.
LEASE = "csplaybooks:prune"

#: The sweep looks for runs and records of tasks so often: to find old ones it reads over those that stay.
SLOW_STEPS_EVERY = timedelta(hours=1)

#: How long django-q2's records of our tasks are kept: of successes, where a site keeps them at all, and of failures.
TASKS_KEPT = timedelta(days=30)

#: How long the words of mails are kept that went, or will not go; that they did is told for good.
MAILS_KEPT = timedelta(days=90)

#: Runs are kept for this much longer than what they looked at: the first one that can be replayed needs the one before
#: it, to tell which news dated ahead came due in between.
RUNS_KEPT_LONGER = timedelta(days=1)


def prune_a_little(*, now: datetime) -> int:
    """What the sweep does once a minute; answers how many rows went. What somebody else prunes it leaves to them.

    At most 5,000 refused items, 5,000 signals or readings, 5,000 intake batches and 5,000 readiness scores; once an
    hour at most 5,000 runs, 5,000 records of tasks and the words of 5,000 mails besides. So a site that takes in more
    than seven million items a day calls `csplaybooks_prune` as well.
    """
    pruned = prune_refused_items(now=now)
    events = prune_next_events(now=now, wait=False)
    if events is not None:
        pruned += events.signals + events.readings
    pruned += prune_next_batches(now=now, wait=False)
    pruned += prune_next_scores(now=now, wait=False)
    if due(f"{LEASE}_runs", SLOW_STEPS_EVERY, now):
        pruned += prune_next_runs(now=now, wait=False) + prune_next_tasks(now=now, wait=False)
        pruned += prune_next_mails(now=now, wait=False)
    return pruned


def prune_before(now: datetime) -> datetime | None:
    """What occurred before this is to be pruned; None for nothing. Two queries.

    That is what lies more than `RETENTION_DAYS` days back and what no running version looks at any more: where the
    setting is made too short for what runs, nothing that is looked at is deleted. Where a running version names a
    measure or guard that is not registered, nobody knows what it looks at, and nothing is.
    """
    return to_prune_before(now, at_least_days=days_needed())


def prune_next_events(
    *, now: datetime, until: datetime | None = None, limit: int = BATCH, wait: bool = True
) -> PrunedEvents | None:
    """Roll up and delete the next batch of signals or readings; None when nothing is left, or somebody else is at it.

    `wait` waits for somebody else instead. See `csplaybooks.signals.acts.pruning.prune_events`.
    """
    require_aware(now=now, until=until)
    with holding(LEASE, now, wait=wait) as lease:
        if lease is None:
            return None
        return prune_events(now=now, at_least_days=days_needed(), until=until, limit=limit)


def prune_next_batches(*, now: datetime, until: datetime | None = None, limit: int = BATCH, wait: bool = True) -> int:
    """Roll up and delete the next intake batches that hold nothing any more; answers how many. As above."""
    require_aware(now=now, until=until)
    before = prune_before(now)
    if before is None:
        return 0
    with holding(LEASE, now, wait=wait) as lease:
        return 0 if lease is None else prune_batches(before=min(before, until or before), limit=limit)


def scores_before(now: datetime, until: datetime | None = None) -> date | None:
    """Readiness scores of days before this are to be deleted; None for none.

    Nothing looks at them but people, so only `RETENTION_DAYS` keeps them.
    """
    moments = [moment for moment in (to_prune_before(now), until) if moment is not None]
    if not csplaybooks_settings.RETENTION_DAYS or not moments:
        return None
    return min(moments).astimezone(company_time_zone()).date()


def prune_next_scores(*, now: datetime, until: datetime | None = None, limit: int = BATCH, wait: bool = True) -> int:
    """Delete the next readiness scores of days past their time; answers how many. As above."""
    require_aware(now=now, until=until)
    before = scores_before(now, until)
    # Asked before the lease: nearly always there is nothing.
    if before is None or not ScoreSnapshot.objects.filter(day__lt=before).exists():
        return 0
    with holding(LEASE, now, wait=wait) as lease:
        return 0 if lease is None else prune_scores(before=before, limit=limit)


def spent_runs(before: datetime) -> QuerySet[Run]:
    """Runs before a moment after which nothing new was said of a match, oldest first; never the newest run."""
    matches = Match.objects.filter(
        Q(opened_run=OuterRef("pk")) | Q(closed_run=OuterRef("pk")) | Q(admitted_run=OuterRef("pk"))
    )
    steps = MatchStep.objects.filter(run=OuterRef("pk"))
    newest = Run.objects.newest()
    rows: QuerySet[Run] = Run.objects.filter(
        ~Exists(matches), ~Exists(steps), moment__lt=before - RUNS_KEPT_LONGER, pk__lt=newest.pk if newest else 0
    )
    return rows.order_by("pk")


def prune_next_runs(*, now: datetime, until: datetime | None = None, limit: int = BATCH, wait: bool = True) -> int:
    """Delete the next runs that cannot be replayed any more and left no match, and rounds without runs; how many runs.

    As above. What batches and changes were told to a run says its id, which needs no row.
    """
    require_aware(now=now, until=until)
    before = prune_before(now)
    if before is None:
        return 0
    before = min(before, until or before)
    with holding(LEASE, now, wait=wait) as lease:
        if lease is None:
            return 0
        ids = list(spent_runs(before).values_list("pk", flat=True)[:limit])
        delete_these(Run, ids)
        rounds = Round.objects.filter(~Exists(Run.objects.filter(round=OuterRef("pk"))), finished_at__lt=before)
        delete_these(Round, list(rounds.order_by("pk").values_list("pk", flat=True)[:limit]))
    return len(ids)


def spent_mails(now: datetime) -> QuerySet[Delivery]:
    """Mails to the team that went, or will not go, long ago, and still have their words.

    What went to customers stays: its draft tells what they read.
    """
    over = [Delivery.State.SENT, Delivery.State.CANCELLED, Delivery.State.SUPPRESSED]
    rows: QuerySet[Delivery] = Delivery.objects.filter(state__in=over, queued_at__lt=now - MAILS_KEPT).exclude(body="")
    return rows.exclude(kind=Delivery.Kind.DRAFT).order_by("pk")


def prune_next_mails(*, now: datetime, limit: int = BATCH, wait: bool = True) -> int:
    """Empty the words of the next mails that have had their time; answers how many. As above."""
    require_aware(now=now)
    # Asked before the lease: nearly always there is nothing.
    if not spent_mails(now).exists():
        return 0
    with holding(LEASE, now, wait=wait) as lease:
        if lease is None:
            return 0
        ids = list(spent_mails(now).values_list("pk", flat=True)[:limit])
        done: int = Delivery.objects.filter(pk__in=ids).update(body="")
    return done


def spent_tasks(now: datetime) -> QuerySet[Any]:
    """django-q2's records of our tasks that have had their time; those of the host's tasks are the host's."""
    from django_q.models import Task

    rows: QuerySet[Any] = Task.objects.filter(func__startswith="csplaybooks.", stopped__lt=now - TASKS_KEPT)
    return rows.order_by()


def prune_next_tasks(*, now: datetime, limit: int = BATCH, wait: bool = True) -> int:
    """Delete the next of django-q2's records of our tasks that have had their time; answers how many. As above."""
    require_aware(now=now)
    if not apps.is_installed("django_q"):
        return 0
    with holding(LEASE, now, wait=wait) as lease:
        if lease is None:
            return 0
        rows = spent_tasks(now)
        with transaction.atomic():
            return int(rows.model.objects.filter(pk__in=list(rows.values_list("pk", flat=True)[:limit])).delete()[0])
