"""Two real clusters open 500 plays and more while their workers, and whole clusters, are killed with kill -9."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_q.models import Failure, OrmQ

from csplaybooks.playbooks import tasks
from csplaybooks.playbooks.models import Lease, Play, Run
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.runs import matches_after, replay_run
from csplaybooks.signals.intake import take_in_readings, take_in_signals
from csplaybooks.signals.models import IntakeBatch
from tests.crash.clusters import Cluster, wait_until
from tests.crash.company import MOTIONS, assert_all_once, attempts, make_company, readings, signals, waiting

pytestmark = pytest.mark.django_db(transaction=True)

ACCOUNTS = 300
#: Accounts whose signals come in one batch.
BATCH = 6
#: What is killed meanwhile, in an order drawn by lot.
KILLS = ["worker"] * 8 + ["group"] * 5 + ["monitor"] * 2
#: A cluster can stand still for good when a worker dies with the lock of its queue (django-q2). Who runs clusters
#: restarts them then: when the heartbeat is older than this, in seconds.
HEARTBEAT = 10


class Supervisor:
    """Keeps two clusters running, and kills of them what it is told to."""

    def __init__(self, folder: Path) -> None:
        self._logs = [folder / "first.log", folder / "second.log"]
        self.clusters = [Cluster(log) for log in self._logs]
        self.killed = 0
        self._alive_at = timezone.now()

    def restart(self, number: int) -> None:
        """Kill one cluster whole and start another in its place."""
        self.clusters[number].kill_group()
        self.clusters[number] = Cluster(self._logs[number])

    def kill(self, victim: str, lot: random.Random) -> None:
        """Kill a worker, a monitor or a group of one of the clusters."""
        number = lot.randrange(2)
        # Only what is up and working is worth killing. A sentinel takes its time to replace workers that died.
        workers = wait_until(self.clusters[number].workers, what="a worker")
        if victim == "group":
            assert len(self.clusters[number].members()) > len(workers)
            self.restart(number)
        elif victim == "monitor":
            self.clusters[number].kill_monitor()
        else:
            self.clusters[number].kill_worker(lot.randrange(10))
        self.killed += 1

    def restart_what_stands_still(self) -> None:
        """Restart both clusters when they have had time to sweep since the last look, and have not."""
        now = timezone.now()
        beaten = Lease.objects.filter(name="csplaybooks:watcher").values_list("last_run_at", flat=True).first()
        self._alive_at = max(self._alive_at, beaten or self._alive_at)
        if now - self._alive_at > timedelta(seconds=HEARTBEAT):
            self._alive_at = now
            for number in range(2):
                self.restart(number)

    def look_from_now_on(self) -> None:
        """Before this nobody has asked for a sweep."""
        self._alive_at = timezone.now()

    def printed(self) -> str:
        """All that the clusters have printed."""
        return "".join(log.read_text() for log in self._logs if log.exists())


@pytest.fixture
def supervisor(transactional_db: None, tmp_path: Path) -> Iterator[Supervisor]:
    """Two clusters on the database of this test; nothing of them is left afterwards."""
    supervisor = Supervisor(tmp_path)
    try:
        yield supervisor
    finally:
        for cluster in supervisor.clusters:
            cluster.end()


def test_nothing_is_lost_doubled_or_stuck_when_clusters_are_killed(supervisor: Supervisor) -> None:
    lot = random.Random(7)
    now = timezone.now()
    names = make_company(ACCOUNTS, now)
    batches = [names[start : start + BATCH] for start in range(0, ACCOUNTS, BATCH)]
    # Between the first batch and the last, at least one batch apart.
    victims = dict(
        zip(sorted(lot.sample(range(1, len(batches)), len(KILLS))), lot.sample(KILLS, len(KILLS)), strict=True)
    )
    for cluster in supervisor.clusters:
        assert len(cluster.workers()) == 2

    opened_at_kills = []
    for number, batch in enumerate(batches):
        sent = timezone.now()
        assert take_in_readings(items=readings(batch, sent), now=sent).refused == 0
        assert take_in_signals(items=signals(batch, sent), now=sent).refused == 0
        if number in victims:
            # At any point of the work on what was just sent.
            time.sleep(lot.uniform(0, 0.6))
            opened_at_kills.append(Play.objects.count())
            supervisor.kill(victims[number], lot)

    supervisor.look_from_now_on()

    def all_is_done() -> bool:
        # What the schedule does once a minute: the sweep finds what dead workers left, and lost pokes do not matter.
        if not OrmQ.objects.filter(lock__lte=timezone.now()).exists():
            poke("sweep")
        supervisor.restart_what_stands_still()
        return waiting() == {}

    wait_until(all_is_done, what="all plays to be open", seconds=120)
    for cluster in supervisor.clusters:
        cluster.end()
    tasks.sweep()

    assert supervisor.killed == len(KILLS)
    assert opened_at_kills[0] < opened_at_kills[-1] < Play.objects.count() == ACCOUNTS * len(MOTIONS) >= 500
    assert_all_once(names)
    assert IntakeBatch.objects.count() == 2 * len(batches)
    # Nothing but death stood in the way: no error was met by any row or task.
    assert attempts() == 0
    assert list(Failure.objects.values_list("func", "result")) == []
    assert "Error" not in supervisor.printed()
    for run in Run.objects.all():
        assert replay_run(run) == matches_after(run)
