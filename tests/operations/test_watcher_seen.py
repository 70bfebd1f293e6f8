"""A watcher that is late or blind is red, for people and for machines: it never comes, it fails, or it passes by."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from csplaybooks.playbooks import heartbeats, tasks
from csplaybooks.playbooks.factories import CalendarFactory, ClockFactory
from csplaybooks.playbooks.leases import beat
from csplaybooks.playbooks.models import Clock, Lease
from csplaybooks.playbooks.pipeline.watcher import watch_clocks
from tests.operations.examining import HOUR, MINUTE, NOW, SECOND, trouble, troubles, well

pytestmark = pytest.mark.django_db


def health(now: Any = NOW) -> tuple[int, str]:
    """What machines are answered."""
    with time_machine.travel(now, tick=False):
        answer = Client().get("/health/ready")
    return answer.status_code, answer.json()["status"]


def a_clock(**values: Any) -> Clock:
    """A clock that ticks, of a play that needs nothing else."""
    calendar = CalendarFactory()
    made: Clock = ClockFactory(
        calendar=calendar, is_stale=False, play__clocks_started_at=NOW, play__opened_at=NOW - HOUR, **values
    )
    return made


def test_a_watcher_that_never_ran_is_red() -> None:
    well()
    Lease.objects.filter(name=heartbeats.WATCHER).delete()
    assert trouble("watcher")[0] == "red"
    assert health() == (503, "red")


def test_a_watcher_that_runs_no_more_is_red(settings: Any) -> None:
    well()
    limit = 180 * SECOND
    settings.CSPLAYBOOKS = {**getattr(settings, "CSPLAYBOOKS", {}), "HEARTBEAT_SECONDS": 180}
    beat(heartbeats.WATCHER, NOW - limit, expected=0, seen=0)
    assert (troubles(), health()) == ({}, (200, "ok"))
    beat(heartbeats.WATCHER, NOW - limit - SECOND, expected=0, seen=0)
    assert trouble("watcher")[0] == "red"
    assert health() == (503, "red")


def test_a_watcher_that_could_not_deal_with_what_was_due_is_red() -> None:
    empty = CalendarFactory(key="empty", is_default=False, blocks=[])
    clock = a_clock(next_event_at=NOW, due_at=NOW + HOUR)
    Clock.objects.filter(pk=clock.pk).update(calendar=empty, follows_owner=False)
    well()
    assert watch_clocks(now=NOW) == 1
    beaten = Lease.objects.get(name=heartbeats.WATCHER)
    assert (beaten.expected, beaten.seen) == (1, 0)
    assert trouble("watcher") == ("red", "1 of the 1 clocks that were due could not be dealt with.")
    assert health() == (503, "red")
    # It is looked at again, and all is well once the calendar is.
    Clock.objects.filter(pk=clock.pk).update(calendar=CalendarFactory())
    assert watch_clocks(now=NOW + MINUTE) == 1
    assert (troubles(), health()) == ({}, (200, "ok"))


def test_a_watcher_that_passes_by_what_is_due_is_red_though_its_heart_beats(settings: Any) -> None:
    a_clock(next_event_at=NOW - 601 * SECOND, due_at=NOW + HOUR)
    well()
    assert trouble("clocks") == (
        "red",
        "The oldest clock on which something is due has waited 10 minutes for the watcher.",
    )
    assert health() == (503, "red")
    settings.CSPLAYBOOKS = {**getattr(settings, "CSPLAYBOOKS", {}), "WAITING_SECONDS": 900}
    assert (troubles(), health()) == ({}, (200, "ok"))


def test_a_breach_that_is_put_off_each_time_is_seen_though_no_clock_is_late() -> None:
    clock = a_clock(due_at=NOW - 601 * SECOND, next_event_at=NOW + MINUTE)
    well()
    assert trouble("clocks") == ("red", "1 broken promise is not written down: each look at the clock fails.")
    assert health() == (503, "red")
    # What is ten minutes late is still being tried.
    Clock.objects.filter(pk=clock.pk).update(due_at=NOW - 600 * SECOND)
    assert (troubles(), health()) == ({}, (200, "ok"))


def test_clocks_that_wait_to_be_recomputed_are_not_late() -> None:
    a_clock(next_event_at=NOW + HOUR, due_at=NOW + HOUR)
    Clock.objects.update(is_stale=True)
    well()
    assert troubles() == {}


def test_the_task_writes_the_heartbeat() -> None:
    well()
    Lease.objects.filter(name=heartbeats.WATCHER).delete()
    with time_machine.travel(NOW + timedelta(seconds=30), tick=False):
        tasks.watch_clocks()
    assert Lease.objects.get(name=heartbeats.WATCHER).last_run_at == NOW + timedelta(seconds=30)
    assert troubles() == {}
