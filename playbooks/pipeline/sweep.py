"""The sweep: once a minute, everything that is due, expired, or that a dead worker left."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Subquery

from csplaybooks.conf import company_time_zone
from csplaybooks.playbooks.acts.handoffs import lapse_offers
from csplaybooks.playbooks.acts.plays import close_plays, resume_plays
from csplaybooks.playbooks.clockwork import set_lapses
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Handoff, Interval, Lease, Outcome, Pause, Play, Stage, State
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.playbooks.pipeline.owners import assign_owners
from csplaybooks.playbooks.pipeline.watcher import watch_clocks
from csplaybooks.signals.acts.readiness import snapshot_scores
from csplaybooks.signals.horizon import midnight
from csplaybooks.signals.readiness import Forgotten

logger = logging.getLogger("csplaybooks.pipeline")

#: The lease of the day's readiness scores.
SCORES = "csplaybooks:scores"

#: At most this many rows in one transaction of the sweep.
BATCH = 500


def work(*, now: datetime) -> int:
    """Carry matches through to owned plays with running clocks, until nothing waits; answers how many rows moved.

    Each worker kicks the next in the same process. Rows that failed wait for their next try and do not count.
    """
    moved = 0
    for worker in (open_plays, assign_owners, start_clocks):
        while taken := worker(now=now):
            moved += taken
    return moved


def expire_plays(*, now: datetime) -> int:
    """Close the plays whose time has run out before anybody won or lost them; answers how many.

    A play that is paused until later waits for its wake-up date.
    A play that nobody ever owned (it stood in the tray) is withdrawn: it would stand in the way of its motion.
    """
    waiting = Pause.objects.filter(play=OuterRef("pk"), interval__valid_to__isnull=True, wakes_at__gt=now)
    due = Play.objects.open().filter(~Exists(waiting), expires_at__lte=now).order_by("expires_at", "pk")
    rows = list(due.values_list("pk", "stage")[:BATCH])
    unowned = [pk for pk, stage in rows if stage == Stage.ROUTED]
    owned = [pk for pk, stage in rows if stage != Stage.ROUTED]
    answers = close_plays(play_ids=owned, outcome=Outcome.EXPIRED, now=now) if owned else {}
    if unowned:
        reason = "Its time ran out before anybody owned it."
        answers |= close_plays(play_ids=unowned, outcome=Outcome.WITHDRAWN, reason=reason, now=now)
    return sum(answer is None for answer in answers.values())


def lapse_waiting_offers(*, now: datetime) -> int:
    """End the offers that nobody has answered in time; answers how many.

    Their time is computed anew first: the calendar may have been edited while the offer was made.
    """
    due = Handoff.objects.filter(answer=Handoff.Answer.WAITING, expires_at__lte=now).select_related("clock")
    offers = list(due.order_by("expires_at", "pk")[:BATCH])
    if offers:
        set_lapses(offers)
    ids = [offer.play_id for offer in offers if offer.expires_at is not None and offer.expires_at <= now]
    answers = lapse_offers(play_ids=ids, now=now) if ids else {}
    return sum(answer is None for answer in answers.values())


def wake_plays(*, now: datetime) -> int:
    """Resume the paused plays whose wake-up date has come."""
    latest = Interval.objects.filter(play=OuterRef("play"), valid_to__isnull=True).values("pk")[:1]
    due = Pause.objects.filter(wakes_at__lte=now, play__state=State.PAUSED, interval=Subquery(latest))
    ids = list(due.order_by("wakes_at").values_list("play", flat=True)[:BATCH])
    answers = resume_plays(play_ids=ids, now=now) if ids else {}
    return sum(answer is None for answer in answers.values())


def score_the_day(*, now: datetime) -> int:
    """Write the readiness scores of the day, once in each day of the company time zone; answers how many.

    The lease is moved on in the transaction that writes them: a worker that dies gives the day back. A day on which
    nobody swept has none, and is not made up for. Where signals that count have been pruned, there are none either.
    """
    if Lease.objects.filter(name=SCORES, next_at__gt=now).exists():
        # Asked before the lease, so that a sweep with nothing to do takes no lock.
        return 0
    with holding(SCORES, now, wait=False) as lease:
        if lease is None or (lease.next_at is not None and lease.next_at > now):
            return 0
        try:
            written = snapshot_scores(now=now)
        except Forgotten as error:
            logger.warning("no readiness scores of this day: %s", error)
            written = 0
        if written is None:
            # No weights yet: the day is scored once there are some.
            return 0
        tomorrow = now.astimezone(company_time_zone()).date() + timedelta(days=1)
        Lease.objects.filter(pk=lease.pk).update(next_at=midnight(tomorrow))
    return written


def watch_all(*, now: datetime, limit: int = BATCH) -> int:
    """Watch clocks until none is due; answers on how many it looked. The heartbeat is that of the last batch."""
    seen = noticed = watch_clocks(now=now, limit=limit)
    while noticed == limit:
        noticed = watch_clocks(now=now, limit=limit)
        seen += noticed
    return seen
