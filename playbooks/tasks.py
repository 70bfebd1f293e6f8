"""What django-q2 calls: thin, without arguments, safe twice. The only place where the wall clock is read for work."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.leases import due
from csplaybooks.playbooks.pipeline import sweep as sweeping
from csplaybooks.playbooks.runs import judge_held, run_triggers


def run_changed() -> str:
    """Evaluate what changed, then carry the matches through."""
    report = run_triggers(now=timezone.now())
    moved = sweeping.work(now=timezone.now())
    return f"run {report.run_id}, {moved} moved" if report else f"nothing changed, {moved} moved"


def run_full() -> str:
    """Evaluate all accounts, once in each slot of `FULL_RUN_MINUTES`."""
    now = timezone.now()
    if not due("csplaybooks:full_run", timedelta(minutes=csplaybooks_settings.FULL_RUN_MINUTES), now):
        return "not due"
    report = run_triggers(now=now, full=True)
    sweeping.work(now=timezone.now())
    return f"run {report.run_id}" if report else "nothing"


def work() -> str:
    """Carry what waits through to owned plays with running clocks."""
    return f"{sweeping.work(now=timezone.now())} moved"


def watch_clocks() -> str:
    """Warn, breach and escalate what is due."""
    return f"{sweeping.watch_all(now=timezone.now())} clocks"


def sweep() -> str:
    """Once a minute: what a lost poke or a dead worker left, what is due, and what has expired."""
    now = timezone.now()
    report = run_triggers(now=now)
    freed = judge_held(now=now)
    expired = sweeping.expire_plays(now=now)
    woken = sweeping.wake_plays(now=now)
    moved = sweeping.work(now=timezone.now())
    clocks = sweeping.watch_all(now=timezone.now())
    run = f"run {report.run_id}" if report else "no run"
    return f"{run}, {freed} freed, {expired} expired, {woken} woken, {moved} moved, {clocks} clocks"
