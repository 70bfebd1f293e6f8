"""Keeps clusters running that are killed, whole and in part, and restarts those that stand still."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from django.utils import timezone

from csplaybooks.playbooks.heartbeats import CLUSTER, WATCHER
from csplaybooks.playbooks.models import Lease
from tests.crash.clusters import Cluster, children, is_dead, wait_until

#: A cluster can stand still for good when a worker dies with the lock of its queue (django-q2). Who runs clusters
#: restarts them then: when no heartbeat of any is younger than this, in seconds.
HEARTBEAT = 10

#: When one of several has begun no task for so long, in seconds, while it is up: workers note a task every 15 seconds.
IDLE = 30

#: The longest that a sentinel takes to start, or to replace workers that died, in seconds.
REPLACED = 20


class Supervisor:
    """Keeps clusters running, and kills of them what it is told to."""

    def __init__(self, folder: Path, clusters: int = 2, **environment: str) -> None:
        self._environment = environment
        self.logs = [folder / f"cluster-{number}.log" for number in range(clusters)]
        self.clusters = [Cluster(log, **environment) for log in self.logs]
        self.killed = 0
        self.restarted = 0
        self._alive_at = timezone.now()
        self._started_at = [timezone.now()] * clusters

    def restart(self, number: int) -> None:
        """Kill one cluster whole and start another in its place."""
        self.clusters[number].kill_group()
        self.clusters[number] = Cluster(self.logs[number], **self._environment)
        self._started_at[number] = timezone.now()

    def kill(self, victim: str, lot: random.Random) -> None:
        """Kill a worker, a monitor or a group of one of the clusters."""
        number = lot.randrange(len(self.clusters))
        self.killed += 1
        try:
            # Only what is up and working is worth killing. A sentinel takes its time to replace workers that died.
            workers = wait_until(self.clusters[number].workers, what="a worker", seconds=REPLACED)
        except AssertionError:
            # It does not come: a worker died with the lock of its own timer, for which the sentinel waits (django-q2).
            self.restart(number)
            self.restarted += 1
            return
        if victim == "group":
            assert len(self.clusters[number].members()) > len(workers)
            self.restart(number)
        elif victim == "monitor":
            self.clusters[number].kill_monitor()
        else:
            self.clusters[number].kill_worker(lot.randrange(10))

    def restart_all(self, while_dead: Callable[[], object] = lambda: None) -> None:
        """Kill all clusters, do something while none is there, and start as many again."""
        self.end()
        while_dead()
        self.clusters = [Cluster(log, **self._environment) for log in self.logs]
        self._started_at = [timezone.now()] * len(self.clusters)
        self.look_from_now_on()

    def restart_what_stands_still(self) -> None:
        """Restart all clusters when they have had time to sweep since the last look, and have not."""
        now = timezone.now()
        beaten = Lease.objects.filter(name=WATCHER).values_list("last_run_at", flat=True).first()
        self._alive_at = max(self._alive_at, beaten or self._alive_at)
        if now - self._alive_at > timedelta(seconds=HEARTBEAT):
            self._alive_at = now
            for number in range(len(self.clusters)):
                self.restart(number)
                self.restarted += 1

    def restart_one_that_stands_still(self) -> None:
        """Restart the first cluster that has begun no task for long, although it is up: the others hide it."""
        now = timezone.now()
        beaten = dict(Lease.objects.filter(name__startswith=CLUSTER).values_list("name", "last_run_at"))
        for number, cluster in enumerate(self.clusters):
            if now - max(self._started_at[number], _last_task(cluster, beaten)) > timedelta(seconds=IDLE):
                self.restart(number)
                self.restarted += 1
                return

    def look_from_now_on(self) -> None:
        """Before this nobody has asked for a sweep."""
        self._alive_at = timezone.now()

    def printed(self) -> str:
        """All that the clusters have printed."""
        return "".join(log.read_text() for log in self.logs if log.exists())

    def end(self) -> None:
        """Kill all clusters; nothing of them is left."""
        for cluster in self.clusters:
            cluster.end()


def _last_task(cluster: Cluster, beaten: dict[str, datetime | None]) -> datetime:
    """When a cluster noted last that it began a task, by the lease rows of clusters; long ago where it never did."""
    never = timezone.now() - timedelta(days=1)
    process = cluster.main()
    if is_dead(process):
        return never
    pids = {str(child.pid) for child in children(process)}
    noted = [at for name, at in beaten.items() if at is not None and name.rsplit(":", 2)[1] in pids]
    return max(noted, default=never)
