"""Real clusters (``manage.py qcluster``), each in a process group of its own, that can be killed and seen dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.crash.dying import ROOT, site_environment
from tests.crash.settings import Q_CLUSTER
from tests.postgres import end_with_parent

#: Longer than anything takes that works at all, on a busy machine.
PATIENCE = 30


def wait_until(condition: Callable[[], Any], *, what: str, seconds: float = PATIENCE, every: float = 0.02) -> Any:
    """The first true answer of `condition`. Raises AssertionError, saying what was waited for, when there is none.

    `every` are the seconds between two looks: more for what is dear to ask and takes its time.
    """
    give_up = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < give_up, f"waited {seconds} seconds for {what}"
        time.sleep(every)
    return answer


def is_dead(process: psutil.Process) -> bool:
    """Whether a process is gone, or a zombie that waits to be reaped: either way it does nothing any more."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children(process: psutil.Process | None) -> list[psutil.Process]:
    """The living children of a process, in the order in which they were started."""
    assert process is not None
    try:
        return sorted((child for child in process.children() if not is_dead(child)), key=lambda child: child.pid)
    except psutil.NoSuchProcess:
        return []


class Group:
    """A program of the site with all that it starts, in a process group of its own."""

    def __init__(self, log: Path, *arguments: str, **environment: str) -> None:
        """Start Python with these arguments; what it prints goes to the end of `log`."""
        with log.open("ab") as output:
            self._main = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=site_environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Should the tests be killed.
                preexec_fn=lambda: end_with_parent(signal.SIGTERM),
            )
        self.pid = self._main.pid

    def main(self) -> psutil.Process:
        """The process that was started."""
        return psutil.Process(self.pid)

    def members(self) -> list[psutil.Process]:
        """All living processes of the group."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getpgid(process.pid) == self.pid and not is_dead(process):
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def kill_group(self) -> int:
        """Kill all of it at once, and see every process of it dead; answers how many there were."""
        members = self.members()
        os.killpg(self.pid, signal.SIGKILL)
        assert self._main.wait(timeout=PATIENCE) == -signal.SIGKILL
        # Also of those who were started meanwhile.
        wait_until(lambda: not self.members(), what="the death of all members")
        return len(members)

    def end(self) -> None:
        """Make sure that nothing of it is left."""
        if self._main.poll() is None:
            self.kill_group()


class Cluster(Group):
    """One cluster: the main process, its sentinel, and the sentinel's workers, monitor and pusher."""

    def __init__(self, log: Path, **environment: str) -> None:
        super().__init__(log, "manage.py", "qcluster", **environment)
        self._sentinel: psutil.Process | None = None
        self._monitor: psutil.Process | None = None
        self._pusher: psutil.Process | None = None

    def workers(self) -> list[psutil.Process]:
        """The living workers, once the cluster is up."""
        if self._sentinel is None:
            (self._sentinel,) = wait_until(lambda: children(self.main()), what="a sentinel")
            size = Q_CLUSTER["workers"] + 2
            crew = wait_until(lambda: len(crew := children(self._sentinel)) == size and crew, what="a whole crew")
            # The sentinel starts its workers first, then these two.
            self._monitor, self._pusher = crew[-2:]
        helpers = (self._monitor, self._pusher)
        return [process for process in children(self._sentinel) if process not in helpers]

    def kill_worker(self, number: int) -> None:
        """Kill one of the workers, and see it dead."""
        workers = wait_until(self.workers, what="a worker")
        self._kill(workers[number % len(workers)])

    def kill_monitor(self) -> None:
        """Kill the monitor, who tells the broker what is done, and see it dead, and another come."""
        # A whole crew first: a worker that comes meanwhile would be taken for the monitor.
        wait_until(lambda: len(self.workers()) == Q_CLUSTER["workers"], what="all workers")
        assert self._sentinel is not None
        assert self._monitor is not None
        known = set(children(self._sentinel))
        self._kill(self._monitor)
        # Told from workers only by when it came: right after the death.
        others = wait_until(lambda: set(children(self._sentinel)) - known, what="another monitor")
        self._monitor = others.pop()

    def _kill(self, process: psutil.Process) -> None:
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: is_dead(process), what=f"the death of {process}")
