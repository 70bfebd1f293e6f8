"""Clusters that stand still and say that they run: the doctor sees each way, says what to do, and that helps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.utils import timezone
from django_q.models import Schedule

from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.pokes import pokes_silenced
from tests.crash.clusters import Cluster, children, is_dead, wait_until
from tests.crash.dying import ROOT, site_environment
from tests.redis import require_binary, throwaway_redis

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not Path("/proc/self/wchan").exists(), reason="only Linux tells who waits with a lock"),
]

#: What the doctor says of everything that stands still.
RESTART = "Restart the cluster as a whole"


class Site:
    """A cluster, and a process that asks the doctor."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.on_redis = "REDIS_URL" in environment
        self._environment = {"DJANGO_SETTINGS_MODULE": "tests.operations.settings", **environment}
        self._log = folder / "cluster.log"
        self.cluster = Cluster(self._log, **self._environment)
        with (folder / "probe.log").open("w") as errors:
            self._probe = subprocess.Popen(
                [sys.executable, "-m", "tests.operations.probe"],
                cwd=ROOT,
                env=site_environment(**self._environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def ask(self) -> dict[str, Any]:
        """What the doctor and `/health/ready` say now."""
        assert self._probe.stdin is not None
        assert self._probe.stdout is not None
        self._probe.stdin.write("\n")
        self._probe.stdin.flush()
        answer: dict[str, Any] = json.loads(self._probe.stdout.readline())
        return answer

    def red(self, *names: str) -> dict[str, dict[str, str]]:
        """All red findings by name, once these are among them; the exit status and `/health/ready` tell the same."""
        answer = self.ask()
        found = {finding["name"]: finding for finding in answer["report"]["findings"] if finding["level"] == "red"}
        assert answer["exit"] == (1 if found else 0)
        if not set(names) <= found.keys():
            return {}
        assert answer["ready"] == [503, {"status": "red"}]
        return found

    def red_in_a_minute(self, *names: str) -> dict[str, dict[str, str]]:
        """The same, while time goes on."""
        self.let_a_minute_pass()
        return self.red(*names)

    def let_a_minute_pass(self) -> None:
        """The sweep is due again, as it is once a minute."""
        Schedule.objects.filter(name="csplaybooks:sweep").update(next_run=timezone.now())

    def is_green(self) -> bool:
        """Whether nothing is red, while time goes on."""
        self.let_a_minute_pass()
        answer = self.ask()
        return bool(answer["report"]["status"] != "red" and answer["ready"] == [200, {"status": "ok"}])

    def restart(self) -> None:
        """What the doctor says is to be done."""
        self.cluster.kill_group()
        self.cluster = Cluster(self._log, **self._environment)

    def end(self) -> None:
        """Leave nothing behind: orphans of a main process that was killed are of its group still."""
        self._probe.communicate(timeout=30)
        self.cluster.end()
        for process in self.cluster.members():
            process.kill()


@pytest.fixture(params=["database", "redis"])
def site(request: pytest.FixtureRequest, transactional_db: None, tmp_path: Path) -> Iterator[Site]:
    """A site that works, on either broker."""
    with pokes_silenced():
        set_up(now=timezone.now())
    if request.param == "database":
        yield from working(Site(tmp_path))
    else:
        with throwaway_redis(require_binary()) as server:
            yield from working(Site(tmp_path, REDIS_URL=server.url))


def working(site: Site) -> Iterator[Site]:
    try:
        # Before anybody can have died: who is the monitor is told by the order in which they came.
        site.cluster.workers()
        wait_until(site.is_green, what="a green site")
        yield site
    finally:
        site.end()


def waits_at_pipe(process: psutil.Process) -> bool:
    """Whether a process waits for what comes out of a pipe, with the lock of the queue to which the pipe belongs.

    The others of its kind wait for the lock.
    """
    return "pipe" in Path(f"/proc/{process.pid}/wchan").read_text()


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: is_dead(process), what=f"the death of {process}")


def test_a_worker_is_killed_with_the_lock_of_the_queue(site: Site) -> None:
    holders = wait_until(lambda: [w for w in site.cluster.workers() if waits_at_pipe(w)], what="an idle worker")
    kill(holders[0])
    wait_until(lambda: len(site.cluster.workers()) == 2, what="another worker in its place")

    # With Redis, django-q2 tells of each cluster how much it has fetched.
    names = ["sweep", "stalled_clusters"] if site.on_redis else ["sweep"]
    red = wait_until(lambda: site.red_in_a_minute(*names), what="red")
    assert "says that it runs and stands still" in red["sweep"]["seen"]
    assert red["sweep"]["mend"].startswith(RESTART)
    # It says so indeed: all of it is there.
    assert len(site.cluster.members()) == 6

    site.restart()
    wait_until(site.is_green, what="green again")


def test_the_monitor_is_killed(site: Site) -> None:
    monitor = site.cluster._monitor
    assert monitor is not None
    wait_until(lambda: waits_at_pipe(monitor), what="an idle monitor")
    site.cluster.kill_monitor()

    # The broker tells after `timeout` x 3: by then it is done, or somebody has died.
    names = ["clusters"] if site.on_redis else ["clusters", "unreported_tasks"]
    red = wait_until(lambda: site.red_in_a_minute(*names), what="red", seconds=60, every=0.5)
    assert "its monitor is dead" in red["clusters"]["seen"]
    assert {finding["mend"][: len(RESTART)] for finding in red.values()} == {RESTART}
    if not site.on_redis:
        assert "finished tasks repeat" in red["unreported_tasks"]["seen"]

    site.restart()
    wait_until(site.is_green, what="green again")


def test_the_main_process_and_the_sentinel_are_killed(site: Site) -> None:
    main = psutil.Process(site.cluster.pid)
    (sentinel,) = children(main)
    kill(main)
    # The sentinel fires schedules for as long as it lives.
    wait_until(site.is_green, what="a site that does not miss its main process")
    kill(sentinel)
    orphans = site.cluster.members()
    assert len(orphans) == 4
    site.let_a_minute_pass()

    red = wait_until(lambda: site.red("sweep", "schedules"), what="red")
    assert "its sentinel, which fires schedules, is dead" in red["schedules"]["seen"]
    assert red["schedules"]["mend"].startswith(RESTART)

    site.restart()
    assert all(map(is_dead, orphans))
    wait_until(site.is_green, what="green again")
