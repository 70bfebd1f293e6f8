"""Every function of the pipeline, killed before each write and around each commit, finishes its work exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks.models import Clock, ClockEvent, Lease, Round, Run
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.playbooks.pipeline.owners import assign_owners
from csplaybooks.playbooks.pipeline.watcher import watch_clocks
from csplaybooks.playbooks.runs import matches_after, replay_run, run_triggers
from csplaybooks.signals.intake import take_in_readings, take_in_signals
from csplaybooks.signals.models import Signal
from tests.crash.company import assert_all_once, attempts, make_company, readings, signals
from tests.crash.dying import die_everywhere

pytestmark = pytest.mark.django_db(transaction=True)

# A Monday, in working hours.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

#: The pipeline in its order, by the path under which a program finds it.
PIPELINE: dict[str, Callable[..., Any]] = {
    "csplaybooks.playbooks.runs.run_triggers": run_triggers,
    "csplaybooks.playbooks.pipeline.opening.open_plays": open_plays,
    "csplaybooks.playbooks.pipeline.owners.assign_owners": assign_owners,
    "csplaybooks.playbooks.pipeline.clocks.start_clocks": start_clocks,
}


@pytest.fixture
def names() -> list[str]:
    """A small company whose readings have been taken in."""
    names = make_company(6, NOW, managers=2)
    take_in_readings(items=readings(names, NOW - timedelta(hours=1)), now=NOW)
    return names


def test_intake_killed_at_every_write_stores_the_batch_once(names):
    items = signals(names, NOW)
    deaths = die_everywhere("csplaybooks.signals.intake.take_in_signals", items=items, now=NOW)
    assert deaths > 3
    assert Signal.objects.count() == len(items)
    assert take_in_signals(items=items, now=NOW).duplicate == len(items)
    for worker in PIPELINE.values():
        worker(now=NOW)
    assert_all_once(names)


@pytest.mark.parametrize("path", PIPELINE)
def test_killed_at_every_write_and_called_again_works_once(names, path):
    take_in_signals(items=signals(names, NOW), now=NOW)
    for name, worker in PIPELINE.items():
        if name == path:
            assert die_everywhere(path, now=NOW) > 3
            break
        worker(now=NOW)
    rest = list(PIPELINE)[list(PIPELINE).index(path) + 1 :]
    for name in rest:
        PIPELINE[name](now=NOW)
    assert_all_once(names)
    assert attempts() == 0
    for run in Run.objects.all():
        assert replay_run(run) == matches_after(run)


def test_watcher_killed_at_every_write_writes_each_event_once(names):
    take_in_signals(items=signals(names, NOW), now=NOW)
    for worker in PIPELINE.values():
        worker(now=NOW)
    # All promises of working hours are broken by then, those of weeks are not.
    later = NOW + timedelta(days=5)
    assert die_everywhere("csplaybooks.playbooks.pipeline.watcher.watch_clocks", now=later) > 3

    assert watch_clocks(now=later) == 0
    broken = Clock.objects.filter(target=Clock.Target.FIRST_TOUCH)
    assert {(clock.state, clock.noticed_at) for clock in broken} == {(Clock.State.BREACHED, later)}
    breaches = ClockEvent.objects.filter(kind=ClockEvent.Kind.BREACHED)
    assert sorted(breaches.values_list("clock", flat=True)) == sorted(broken.values_list("pk", flat=True))
    # Warnings, breach and rungs of one clock, seen at one time, are two lines for people.
    lines = Counter(TimelineEntry.objects.filter(kind__startswith="clock_").values_list("kind", flat=True))
    assert lines == {"clock_breached": broken.count(), "clock_escalated": broken.count()}
    assert_all_once(names)
    heartbeat = Lease.objects.get(name="csplaybooks:watcher")
    assert (heartbeat.last_run_at, heartbeat.expected) == (later, 0)


def test_work_killed_at_every_write_carries_all_through(names):
    take_in_signals(items=signals(names, NOW), now=NOW)
    run_triggers(now=NOW)
    assert die_everywhere("csplaybooks.playbooks.pipeline.sweep.work", now=NOW) > 15
    assert_all_once(names)
    assert attempts() == 0


def test_full_run_killed_at_every_write_still_takes_place_in_its_slot(names):
    take_in_signals(items=signals(names, NOW), now=NOW)
    assert die_everywhere("csplaybooks.playbooks.tasks.run_full") > 3
    assert Run.objects.filter(kind=Run.Kind.FULL, finished_at__isnull=False).count() == 1


def test_round_killed_at_every_write_passes_every_account_once(names, settings):
    take_in_signals(items=signals(names, NOW), now=NOW)
    settings.CSPLAYBOOKS = {"FULL_RUN_ACCOUNTS": 1}
    run_triggers(now=NOW, full=True)
    Round.objects.update(part_size=len(names))
    # In a process of its own the setting is the usual one, and all accounts are one part; each death halves it.
    assert die_everywhere("csplaybooks.playbooks.runs.run_to_the_end", now=NOW) > 5
    parts = Run.objects.filter(kind=Run.Kind.PART, round=Round.objects.earliest("pk"))
    assert sum(part.accounts for part in parts) == len(names)
    assert not Round.objects.unfinished().exists()
    for run in Run.objects.order_by("pk"):
        assert replay_run(run) == matches_after(run)
