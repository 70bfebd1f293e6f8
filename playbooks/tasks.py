"""What django-q2 calls: thin, without arguments, safe twice. The only place where the wall clock is read for work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.acts.pruning import prune_a_little
from csplaybooks.playbooks.heartbeats import SWEEP
from csplaybooks.playbooks.leases import beat, due
from csplaybooks.playbooks.pipeline import sweep as sweeping
from csplaybooks.playbooks.pipeline.digests import write_digests
from csplaybooks.playbooks.pipeline.mails import write_mails
from csplaybooks.playbooks.pipeline.sender import is_anything_to_send, send_deliveries
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.rounds import poke_round, run_next_part
from csplaybooks.playbooks.runs import admit_waiting, judge_held, run_triggers

logger = logging.getLogger("csplaybooks.tasks")

#: The most runs over what changed that one task makes.
MOST_RUNS = 10


def _catch_up() -> str:
    """Runs over what changed until nothing is new; names them, or answers an empty text.

    A worker that finds another at a run goes on with other work instead of waiting for it. So whoever has held the
    lease of runs looks once more when it is free: what came in meanwhile has had its poke already. A round that waits
    for its next part is told so as well.
    """
    runs = []
    while (report := run_triggers(now=timezone.now(), wait=False)) is not None:
        runs.append(f"run {report.run_id}")
        if len(runs) == MOST_RUNS:
            # News without end: another task goes on, before this one has used up its time.
            poke("run_changed")
            break
    poke_round(now=timezone.now())
    return ", ".join(runs)


def run_changed() -> str:
    """Evaluate what changed, then carry the matches through."""
    runs = _catch_up()
    moved = sweeping.work(now=timezone.now())
    return f"{runs or 'nothing changed'}, {moved} moved"


def run_full() -> str:
    """Evaluate all accounts, once in each slot of `FULL_RUN_MINUTES`."""
    now = timezone.now()
    # The slot is claimed in the transaction of the run: a worker that dies gives it back.
    with transaction.atomic():
        if not due("csplaybooks:full_run", timedelta(minutes=csplaybooks_settings.FULL_RUN_MINUTES), now):
            return "not due"
        report = run_triggers(now=now, full=True)
    _catch_up()
    sweeping.work(now=timezone.now())
    return f"run {report.run_id}" if report else "nothing"


def run_round() -> str:
    """Evaluate the next part of a round over all accounts, then carry the matches through."""
    report = run_next_part(now=timezone.now())
    _catch_up()
    sweeping.work(now=timezone.now())
    return f"run {report.run_id}" if report else "no round"


def work() -> str:
    """Carry what waits through to owned plays with running clocks."""
    return f"{sweeping.work(now=timezone.now())} moved"


def watch_clocks() -> str:
    """Warn, breach and escalate what is due."""
    return f"{sweeping.watch_all(now=timezone.now())} clocks"


def deliver() -> str:
    """Write the mails of notices, and send what is queued."""
    write_mails(now=timezone.now())
    sent = send_deliveries(now=timezone.now(), clock=timezone.now)
    if sent and is_anything_to_send(timezone.now()):
        # More than one task can send: another goes on.
        poke("deliver")
    return f"{sent} sent"


def sweep() -> str:
    """Once a minute: what a lost poke or a dead worker left, what is due, and what has expired.

    A step that fails does not keep the others from their work; the task fails at the end, naming all that did.
    """
    now = timezone.now()
    steps: dict[str, Callable[[], object]] = {
        "freed": lambda: judge_held(now=now),
        "admitted": lambda: admit_waiting(now=now),
        # After what holds the lease of runs.
        "run": _catch_up,
        "expired": lambda: sweeping.expire_plays(now=now),
        "lapsed": lambda: sweeping.lapse_waiting_offers(now=now),
        "woken": lambda: sweeping.wake_plays(now=now),
        "clocks": lambda: sweeping.watch_all(now=timezone.now()),
        "stepped": lambda: sweeping.step_plays(now=timezone.now()),
        "told": lambda: write_digests(now=timezone.now()),
        "delivered": lambda: sweeping.have_mail_sent(now=timezone.now()),
        "scored": lambda: sweeping.score_the_day(now=now),
        "pruned": lambda: prune_a_little(now=now),
        # Last: with much to do it may take all the time that a task has.
        "moved": lambda: sweeping.work(now=timezone.now()),
    }
    answers: list[str] = []
    errors: list[Exception] = []
    for number, (name, step) in enumerate(steps.items()):
        if number == len(steps) - 1:
            # The last one may be cut off. Also after one that failed: that somebody sweeps is one thing, how it went
            # another.
            beat(SWEEP, now, expected=number, seen=len(answers))
        try:
            answers.append(f"{name}: {step()}")
        except Exception as error:
            logger.exception("the step %r of the sweep failed", name)
            errors.append(error)
    beat(SWEEP, now, expected=len(steps), seen=len(answers))
    if errors:
        raise ExceptionGroup("steps of the sweep failed", errors)
    return ", ".join(answers)
