"""The doctor on the heartbeats of jobs, on clusters, and on the tasks that wait for them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import OperationalError
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from csplaybooks.playbooks import heartbeats, tasks
from csplaybooks.playbooks.doctor import Level, examine
from csplaybooks.playbooks.doctor import clusters as cluster_questions
from csplaybooks.playbooks.leases import beat
from csplaybooks.playbooks.models import Lease
from tests.operations.examining import HOUR, MINUTE, NOW, SECOND, Stat, begin, said, trouble, troubles, well

pytestmark = pytest.mark.django_db


def test_a_cluster_that_never_ran() -> None:
    well()
    Lease.objects.all().delete()
    found = troubles()
    assert [(name, level) for name, (level, _, _) in found.items()] == [("sweep", "red"), ("watcher", "red")]
    assert "Start `manage.py qcluster`" in found["sweep"][2]


@pytest.mark.parametrize("name", ["sweep", "watcher"])
def test_a_heartbeat_that_is_old(name: str) -> None:
    well()
    beat(f"csplaybooks:{name}", NOW - 180 * SECOND, expected=1, seen=1)
    assert troubles() == {}
    beat(f"csplaybooks:{name}", NOW - 181 * SECOND, expected=1, seen=1)
    level, seen, mend = troubles()[name]
    assert level == "red"
    assert "3 minutes ago" in seen
    assert "kill -9 -- -GROUP" in mend


def test_steps_of_the_sweep_that_fail() -> None:
    well()
    beat(heartbeats.SWEEP, NOW, expected=9, seen=7)
    found = examine(now=NOW)
    assert [finding.seen for finding in found.findings if finding.level == Level.RED] == [
        "2 of the 9 steps of the last sweep failed."
    ]


def test_clocks_that_could_not_be_dealt_with() -> None:
    well()
    beat(heartbeats.WATCHER, NOW, expected=4, seen=3)
    assert trouble("watcher") == ("red", "1 of the 4 clocks that were due could not be dealt with.")


def test_the_sweep_writes_its_heartbeat_even_when_a_step_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with time_machine.travel(NOW, tick=False):
        tasks.sweep()
        lease = Lease.objects.get(name=heartbeats.SWEEP)
        assert (lease.last_run_at, lease.seen) == (NOW, lease.expected)
        monkeypatch.setattr(tasks, "judge_held", lambda now: 1 / 0)
        with pytest.raises(ExceptionGroup):
            tasks.sweep()
    lease.refresh_from_db()
    assert lease.seen == lease.expected - 1 > 0


# Clusters


def test_a_monitor_that_reports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    well()
    # The test's connection has to last.
    monkeypatch.setattr("django_q.utils.close_old_django_connections", lambda: None)
    with time_machine.travel(NOW, tick=False):
        begin(3)
        assert troubles() == {}
        last = begin()[0]
        level, seen = trouble("clusters")
        assert level == "red"
        assert "has begun 4 tasks in a row and reported none: its monitor is dead" in seen
        heartbeats.task_reported(task=last)
        assert troubles() == {}
    assert last == {"func": "x"}


def test_a_cluster_that_is_gone_is_not_waited_for() -> None:
    well()
    with time_machine.travel(NOW - 361 * SECOND, tick=False):
        begin(4)
    assert troubles() == {}


def test_a_worker_notes_only_some_of_its_tasks() -> None:
    heartbeats._noted = None
    marked = []
    for _ in range(3):
        task: dict[str, Any] = {}
        heartbeats.task_begun(task=task)
        marked.append(heartbeats.MARK in task)
    assert marked == [True, False, False]
    assert Lease.objects.get(name=heartbeats.own_cluster_name()).expected == 1


def test_a_task_that_runs_in_the_caller_s_own_process_is_no_heartbeat() -> None:
    heartbeats._noted = None
    heartbeats.task_begun(task={"sync": True})
    assert not Lease.objects.exists()


def test_a_heartbeat_that_cannot_be_written_stops_no_task(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: str) -> None:
        raise OperationalError("locked")

    monkeypatch.setattr(heartbeats, "_note_begin", refuse)
    (task,) = begin()
    assert heartbeats.MARK not in task
    assert "could not write the heartbeat" in caplog.text


def test_rows_of_clusters_that_are_long_gone_are_forgotten() -> None:
    Lease.objects.create(name=heartbeats.cluster_name("old", 1), last_run_at=NOW - timedelta(days=2))
    Lease.objects.create(name=heartbeats.cluster_name("young", 1), last_run_at=NOW - HOUR)
    Lease.objects.create(name="csplaybooks:run", last_run_at=NOW - timedelta(days=2))
    with time_machine.travel(NOW, tick=False):
        begin()
    names = set(Lease.objects.values_list("name", flat=True))
    assert names == {heartbeats.own_cluster_name(), heartbeats.cluster_name("young", 1), "csplaybooks:run"}


def test_no_cluster_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    well()
    said(monkeypatch, folder=tmp_path)
    assert trouble("stalled_clusters") == ("red", "No cluster is running.")


def test_one_of_several_clusters_stands_still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    well()
    old = NOW - HOUR
    said(monkeypatch, Stat(fetched=2, born=old), Stat(fetched=0, born=old, sentinel=8), folder=tmp_path)
    level, seen = trouble("stalled_clusters")
    assert level == "red"
    assert seen.startswith("The cluster machine:7 has fetched 2 tasks and begun none for 60 minutes")
    # One that is at work, or has just been started.
    said(monkeypatch, Stat(fetched=2, born=NOW - MINUTE), folder=tmp_path)
    assert troubles() == {}
    Lease.objects.create(name=heartbeats.cluster_name("machine", 7), last_run_at=NOW - MINUTE)
    said(monkeypatch, Stat(fetched=2, born=old), folder=tmp_path)
    assert troubles() == {}


def test_what_clusters_say_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    well()
    said(monkeypatch, folder=tmp_path)

    def refuse(broker: Any) -> Any:
        raise ConnectionError("no")

    monkeypatch.setattr("django_q.status.Stat.get_all", refuse)
    assert trouble("stalled_clusters")[0] == "warn"


# The broker


def queued(at: datetime, *, taken: datetime | None = None) -> OrmQ:
    """A task that was queued at a moment, and perhaps taken at another."""
    with time_machine.travel(at, tick=False):
        async_task("csplaybooks.playbooks.tasks.work")
    row: OrmQ = OrmQ.objects.latest("pk")
    if taken is not None:
        OrmQ.objects.filter(pk=row.pk).update(lock=taken + timedelta(seconds=300))
    return row


def test_tasks_that_no_worker_takes() -> None:
    well()
    queued(NOW - 180 * SECOND)
    assert troubles() == {}
    queued(NOW - HOUR)
    level, seen = trouble("broker")
    assert (level, seen) == (
        "red",
        "the database answers; 2 tasks waiting, the oldest for 60 minutes: no worker takes tasks.",
    )


def test_a_task_whose_worker_was_killed_is_nothing_much() -> None:
    well()
    queued(NOW - 200 * SECOND, taken=NOW - 180 * SECOND)
    assert troubles() == {}
    queued(NOW - 200 * SECOND, taken=NOW - 181 * SECOND)
    assert trouble("unreported_tasks")[0] == "warn"


def test_tasks_that_are_taken_again_and_again() -> None:
    well()
    queued(NOW - 600 * SECOND, taken=NOW - 200 * SECOND)
    level, seen = trouble("unreported_tasks")
    assert level == "red"
    assert "1 of them taken again and again: the monitor of a cluster is dead" in seen


def test_many_tasks_that_were_never_reported_done() -> None:
    well()
    for _ in range(3):
        queued(NOW - 200 * SECOND, taken=NOW - 200 * SECOND)
    assert trouble("unreported_tasks")[0] == "red"


def test_tasks_of_another_queue_are_not_ours() -> None:
    well()
    queued(NOW - HOUR)
    OrmQ.objects.update(key="theirs")
    assert troubles() == {}


def test_a_package_that_cannot_be_read_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    well()
    row = queued(NOW - 600 * SECOND, taken=NOW - 200 * SECOND)
    OrmQ.objects.filter(pk=row.pk).update(payload=SignedPackage.dumps(["no task"]))
    assert trouble("unreported_tasks")[0] == "warn"


def test_a_broker_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    well()

    def refuse(now: datetime) -> Any:
        raise ConnectionError("Connection refused")

    monkeypatch.setattr(cluster_questions, "queue", refuse)
    level, seen = trouble("broker")
    assert (level, seen) == ("red", "The broker does not answer: ConnectionError: Connection refused")
