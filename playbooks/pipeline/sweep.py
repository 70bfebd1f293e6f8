"""The sweep: once a minute, everything that is due, expired, or that a dead worker left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef

from csplaybooks.conf import company_time_zone, csplaybooks_settings
from csplaybooks.playbooks.acts.handoffs import lapse_offers
from csplaybooks.playbooks.acts.moving import Answers, lock_clocks
from csplaybooks.playbooks.acts.plays import close_plays, wake_paused_plays
from csplaybooks.playbooks.clockwork import set_lapses
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Handoff, Lease, Outcome, Pause, Play, Stage, State
from csplaybooks.playbooks.models.plays import PlayQuerySet
from csplaybooks.playbooks.people import lock_team
from csplaybooks.playbooks.pipeline import watcher
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.hearing import hear_signals
from csplaybooks.playbooks.pipeline.mails import stop_team_mails, unwritten, write_mails
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.playbooks.pipeline.owners import assign_owners
from csplaybooks.playbooks.pipeline.queue import work_off
from csplaybooks.playbooks.pipeline.sender import is_anything_to_send
from csplaybooks.playbooks.pipeline.stepping import work_steps
from csplaybooks.playbooks.pipeline.watcher import watch_clocks
from csplaybooks.playbooks.pokes import poke
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
    for worker in (open_plays, assign_owners, start_clocks, hear_signals, work_steps):
        while taken := worker(now=now):
            moved += taken
    if moved and unwritten(now).exists():
        # Whoever was told when a play became theirs is written to once its clocks say what is due.
        poke("deliver")
    return moved


def step_plays(*, now: datetime) -> int:
    """Hear what signals tell of plays, and carry their steps on, until nothing waits; answers how many were moved."""
    moved = hear_signals(now=now)
    while taken := work_steps(now=now):
        moved += taken
    return moved


def expire_plays(*, now: datetime) -> int:
    """Close the plays whose time has run out before anybody won or lost them; answers how many.

    A play that is paused until later waits for its wake-up date.
    A play that nobody ever owned (it stood in the tray) is withdrawn: it would stand in the way of its motion.
    """

    def expire(ids: Sequence[int]) -> Answers:
        unowned = list(Play.objects.filter(pk__in=ids, stage=Stage.ROUTED).values_list("pk", flat=True))
        owned = [pk for pk in ids if pk not in set(unowned)]
        answers = close_plays(play_ids=owned, outcome=Outcome.EXPIRED, now=now) if owned else {}
        if unowned:
            reason = "Its time ran out before anybody owned it."
            answers |= close_plays(play_ids=unowned, outcome=Outcome.WITHDRAWN, reason=reason, now=now)
        return answers

    waiting = Pause.objects.filter(play=OuterRef("pk"), interval__valid_to__isnull=True, wakes_at__gt=now)
    due = Play.objects.open().filter(~Exists(waiting), expires_at__lte=now)
    return _count(due, expire, now, order_by=("expires_at", "pk"))


def lapse_waiting_offers(*, now: datetime) -> int:
    """End the offers that nobody has answered in time; answers how many.

    Their time is computed anew first: the calendar may have been edited while the offer was made.
    """
    waiting = Handoff.objects.filter(answer=Handoff.Answer.WAITING, expires_at__lte=now)

    def lapse(ids: Sequence[int]) -> Answers:
        # Before their offers, as in all acts.
        lock_clocks(Play.objects.filter(pk__in=ids))
        set_lapses(waiting.filter(play__in=ids).select_related("clock"))
        due = list(waiting.filter(play__in=ids).values_list("play", flat=True))
        return lapse_offers(play_ids=due, now=now) if due else {}

    lapsing = Play.objects.open().filter(pk__in=waiting.values("play"))
    if not lapsing.exists():
        return 0
    with transaction.atomic():
        # Before any play, as everywhere: no manager who leaves at this moment holds one of them from then on.
        lock_team()
        return _count(lapsing, lapse, now)


def wake_plays(*, now: datetime) -> int:
    """Resume the paused plays whose wake-up date has come, from `now` on; answers how many."""
    due = Pause.objects.filter(wakes_at__lte=now, interval__valid_to__isnull=True).values("play")

    def wake(ids: Sequence[int]) -> Answers:
        return wake_paused_plays(play_ids=ids, now=now)

    return _count(Play.objects.open().filter(state=State.PAUSED, pk__in=due), wake, now)


def _count(
    due: PlayQuerySet,
    act: Callable[[Sequence[int]], Answers],
    now: datetime,
    *,
    order_by: Sequence[str] = ("pk",),
) -> int:
    """Do an act on the plays whose time has come; answers on how many. One that fails does not stop the others."""
    done = 0

    def counted(ids: Sequence[int]) -> None:
        nonlocal done
        done += sum(answer is None for answer in act(ids).values())

    work_off(due, counted, now=now, order_by=order_by, limit=BATCH)
    return done


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


def watch_all(*, now: datetime, limit: int = watcher.BATCH) -> int:
    """Watch clocks until none is due; answers on how many it looked. The heartbeat is that of the last batch."""
    seen = noticed = watch_clocks(now=now, limit=limit)
    while noticed == limit:
        noticed = watch_clocks(now=now, limit=limit)
        seen += noticed
    return seen


def have_mail_sent(*, now: datetime) -> int:
    """Write the mails of notices, and have the sender look where anything waits to be sent; answers how many notices.

    Sending itself is for a task of its own: a mail server may take all the time that a task has.
    """
    if not csplaybooks_settings.NOTICES_BY_MAIL:
        stop_team_mails(now=now)
    written = write_mails(now=now)
    if is_anything_to_send(now):
        poke("deliver")
    return written
