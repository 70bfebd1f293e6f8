"""An installation that is well, what the doctor finds wrong with it, and what clusters say of themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache.backends.filebased import FileBasedCache
from django_q.models import Schedule

from csplaybooks.accounts.factories import ChangeFactory
from csplaybooks.playbooks import heartbeats
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.doctor import Level, examine
from csplaybooks.playbooks.factories import RunFactory
from csplaybooks.playbooks.leases import beat
from csplaybooks.playbooks.pokes import pokes_silenced

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def well(now: datetime = NOW) -> None:
    """An installation in which nothing is wrong at a moment."""
    with pokes_silenced():
        set_up(now=now)
    Schedule.objects.update(next_run=now + MINUTE)
    # What set-up told.
    run = RunFactory(kind="full", moment=now)
    ChangeFactory._meta.model.objects.update(seen_by_run=run.pk)
    beat(heartbeats.SWEEP, now, expected=9, seen=9)
    beat(heartbeats.WATCHER, now, expected=0, seen=0)


def troubles(now: datetime = NOW) -> dict[str, tuple[str, str, str]]:
    """What is not ok: level, what was seen, what to do; by name."""
    found = [finding for finding in examine(now=now).findings if finding.level != Level.OK]
    assert all(finding.mend for finding in found)
    return {finding.name: (finding.level.value, finding.seen, finding.mend) for finding in found}


def trouble(name: str, now: datetime = NOW) -> tuple[str, str]:
    """The one thing that is not ok: its level and what was seen."""
    found = troubles(now)
    assert list(found) == [name]
    return found[name][:2]


def begin(times: int = 1) -> list[dict[str, Any]]:
    """What a worker does at the beginning of tasks, each after a pause."""
    begun: list[dict[str, Any]] = []
    for _ in range(times):
        heartbeats._noted = None
        begun.append({"func": "x"})
        heartbeats.task_begun(task=begun[-1])
    return begun


class Stat:
    """What django-q2 says of a cluster."""

    def __init__(self, *, fetched: int, born: datetime, sentinel: int = 7) -> None:
        self.host, self.sentinel, self.task_q_size, self.tob = "machine", sentinel, fetched, born


def said(monkeypatch: pytest.MonkeyPatch, *stats: Stat, folder: Path) -> None:
    """Let a shared cache hold what clusters say of themselves."""
    import django_q.brokers
    import django_q.status

    cache = FileBasedCache(str(folder), {})
    monkeypatch.setattr(django_q.brokers.Broker, "get_cache", staticmethod(lambda: cache))
    monkeypatch.setattr(django_q.status.Stat, "get_all", lambda broker: list(stats))
