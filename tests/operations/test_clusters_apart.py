"""The doctor on several machines: clocks that differ, clusters of several sizes, containers that share a host name."""

from __future__ import annotations

import multiprocessing
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.test import override_settings
from django_q.models import Schedule

from csplaybooks.playbooks import heartbeats
from csplaybooks.playbooks.leases import beat
from csplaybooks.playbooks.models import Lease, Run
from tests.operations.examining import HOUR, MINUTE, NOW, SECOND, Stat, begin, said, trouble, troubles, well

pytestmark = pytest.mark.django_db

SET_CLOCKS = "Set the clocks of all machines by one time server."


# Clocks that differ


@pytest.mark.parametrize("name", ["sweep", "watcher"])
def test_a_heartbeat_that_is_dated_ahead_is_red_at_once(name: str) -> None:
    well()
    beat(f"csplaybooks:{name}", NOW + 2 * MINUTE, expected=1, seen=1)
    assert troubles() == {}
    beat(f"csplaybooks:{name}", NOW + 30 * HOUR, expected=1, seen=1)
    level, seen, mend = troubles()[name]
    assert level == "red"
    assert "dated 30 hours ahead: the clocks of the machines differ" in seen
    assert mend.startswith(SET_CLOCKS)
    # Not only when that time has come.
    well(NOW + 29 * HOUR)
    beat(f"csplaybooks:{name}", NOW + 30 * HOUR, expected=1, seen=1)
    assert trouble(name, NOW + 29 * HOUR)[0] == "red"
    # Once clocks are right, the next one says that all is well.
    beat(f"csplaybooks:{name}", NOW + 29 * HOUR, expected=1, seen=1)
    assert troubles(NOW + 29 * HOUR) == {}


@pytest.mark.parametrize(("name", "minutes"), [("sweep", 1), ("run_full", 10)])
def test_a_schedule_that_was_put_off_by_a_clock_that_ran_ahead(name: str, minutes: int) -> None:
    well()
    rows = Schedule.objects.filter(name=f"csplaybooks:{name}")
    rows.update(next_run=NOW + (minutes + 2) * MINUTE)
    assert troubles() == {}
    rows.update(next_run=NOW + 30 * HOUR)
    level, seen, mend = troubles()["schedules"]
    assert level == "red"
    assert f"csplaybooks:{name} fires every {minutes} minute" in seen
    assert "but next in 30 hours" in seen
    assert mend == f"{SET_CLOCKS} Then set its next run to now in the admin."


def test_a_full_run_that_is_dated_ahead_does_not_tell_that_all_were_looked_at() -> None:
    well()
    Run.objects.update(moment=NOW + 3 * HOUR)
    assert troubles() == {}
    Run.objects.update(moment=NOW + 3 * HOUR + SECOND)
    level, seen = trouble("full_run")
    assert level == "warn"
    assert "by a run that is dated 3 hours ahead" in seen


def test_a_cluster_that_dates_its_tasks_ahead_is_named_and_not_judged() -> None:
    well()
    row = Lease.objects.create(
        name=heartbeats.cluster_name("machine", 7, "a"), last_run_at=NOW + 2 * MINUTE, expected=4, seen=3
    )
    assert trouble("clusters")[0] == "red"
    Lease.objects.filter(pk=row.pk).update(last_run_at=NOW + HOUR)
    level, seen = trouble("clusters")
    assert level == "warn"
    assert seen.startswith("The cluster machine:7:a dated its last task 60 minutes ahead")
    # It is gone when one comes whose clock is right.
    with time_machine.travel(NOW, tick=False):
        begin()
    assert troubles() == {}


def test_what_a_cluster_began_in_the_future_does_not_hide_that_it_stands_still(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    well()
    Lease.objects.create(name=heartbeats.cluster_name("machine", 7, "a"), last_run_at=NOW + HOUR)
    said(monkeypatch, Stat(fetched=2, born=NOW - HOUR), folder=tmp_path)
    assert {name: level for name, (level, _, _) in troubles().items()} == {
        "clusters": "warn",
        "stalled_clusters": "red",
    }


# Clusters of several sizes


def test_each_cluster_tells_how_many_workers_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    well()
    monkeypatch.setattr("django_q.conf.Conf.WORKERS", 8)
    with time_machine.travel(NOW, tick=False):
        begin(9)
        # Whoever asks may have another Q_CLUSTER.
        monkeypatch.setattr("django_q.conf.Conf.WORKERS", 1)
        assert troubles() == {}
        monkeypatch.setattr("django_q.conf.Conf.WORKERS", 8)
        begin()
    monkeypatch.setattr("django_q.conf.Conf.WORKERS", 50)
    level, seen = trouble("clusters")
    assert level == "red"
    assert "has begun 10 tasks in a row" in seen


# Containers that share a host name


def names_within(results: Any) -> None:
    """What a sentinel does: start two processes, each of which tells the name of its cluster."""
    for _ in range(2):
        child = multiprocessing.get_context("fork").Process(
            target=lambda: results.put((multiprocessing.current_process().name, heartbeats.own_cluster_name()))
        )
        child.start()
        child.join()


def test_each_start_of_a_cluster_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = SimpleNamespace(pid=7, name="Process-0123456789abcdef0123456789abcdef")
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 200)
    first = heartbeats.own_cluster_name()
    assert first == f"csplaybooks:cluster:{'h' * 60}:7:89abcdef"
    parent.name = "Process-fedcba9876543210fedcba9876543210"
    assert heartbeats.own_cluster_name() != first
    # The biggest process id there is.
    parent.pid = 4_194_304
    room = Lease._meta.get_field("name").max_length
    assert room is not None
    assert len(heartbeats.own_cluster_name()) <= room


def test_workers_and_monitor_of_one_sentinel_have_one_name() -> None:
    context = multiprocessing.get_context("fork")
    told = []
    for name in ("Process-11111111", "Process-22222222"):
        results = context.SimpleQueue()
        sentinel = context.Process(target=names_within, args=(results,), name=name)
        sentinel.start()
        assert sentinel.pid is not None
        told.append((sentinel.pid, {results.get()[1] for _ in range(2)}))
        sentinel.join()
    host = socket.gethostname()
    assert told == [
        (told[0][0], {heartbeats.cluster_name(host, told[0][0], "11111111")}),
        (told[1][0], {heartbeats.cluster_name(host, told[1][0], "22222222")}),
    ]


def test_a_cluster_does_not_excuse_another_of_its_host_name_and_process_id() -> None:
    well()
    Lease.objects.create(name=heartbeats.cluster_name("web", 7, "a"), last_run_at=NOW, expected=0, seen=3)
    Lease.objects.create(name=heartbeats.cluster_name("web", 7, "b"), last_run_at=NOW, expected=4, seen=3)
    level, seen = trouble("clusters")
    assert level == "red"
    assert seen.startswith("The cluster web:7:b has begun 4 tasks in a row")


def test_clusters_that_django_q2_cannot_tell_apart_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    well()
    said(monkeypatch, Stat(fetched=0, born=NOW), Stat(fetched=0, born=NOW), folder=tmp_path)
    level, seen = trouble("stalled_clusters")
    assert level == "warn"
    assert seen.startswith("2 clusters have the name machine:7")


def test_a_row_of_another_process_id_is_none_of_the_cluster_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    well()
    Lease.objects.create(name=heartbeats.cluster_name("machine", 71, "a"), last_run_at=NOW)
    said(monkeypatch, Stat(fetched=2, born=NOW - HOUR), folder=tmp_path)
    assert trouble("stalled_clusters")[0] == "red"


# Full runs that are wanted more often than their schedule fires


def test_no_full_run_is_waited_for_that_its_schedule_cannot_bring() -> None:
    well()
    with override_settings(CSPLAYBOOKS={"FULL_RUN_MINUTES": 2}):
        Run.objects.update(moment=NOW - 30 * MINUTE)
        assert "full_run" not in troubles()
        Run.objects.update(moment=NOW - 30 * MINUTE - SECOND)
        assert troubles()["full_run"][0] == "red"
