"""Heartbeats of clusters: rows that tell when each one last began a task, and whether it reports what it has done.

A cluster of django-q2 can stand still and still say that it runs: a worker that is killed while it waits holds the lock
of the queue for ever, and so does a monitor, whose successor then reports nothing. Neither shows in the database by
itself. So a worker notes now and then that it begins a task, on the lease row `csplaybooks:cluster:HOST:PID:START` of
its cluster, and marks the task; the monitor notes that the mark has come through. What it costs is one UPDATE each.

On such a row `expected` counts the marked tasks begun since one was last reported, and `seen` says how many there may
be: as on the rows of jobs, something is wrong where `seen` is less than `expected`. PID is that of the sentinel; START
tells apart clusters whose containers share a host name, where every sentinel may have the same id.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import time
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.db.models import F, Q
from django.utils import timezone

from csplaybooks.conf import csplaybooks_settings

logger = logging.getLogger("csplaybooks.heartbeats")

#: Lease rows of jobs, written by `leases.beat`.
SWEEP = "csplaybooks:sweep"
WATCHER = "csplaybooks:watcher"
#: How the names of the lease rows of clusters begin.
CLUSTER = "csplaybooks:cluster:"

#: What a marked task carries through its cluster, beside what django-q2 put there.
MARK = "csplaybooks_mark"

#: A worker notes a task at most this often in the time after which a heartbeat is old.
BEATS = 12

#: The row of a cluster that has not begun a task for so long is deleted when another cluster comes.
FORGOTTEN_AFTER = timedelta(days=1)

#: By how much the clock of another machine may run ahead before what it has dated tells nothing.
CLOCKS_APART = timedelta(minutes=2)

#: When this process noted a task last: its id (a fork starts anew) and the monotonic clock.
_noted: tuple[int, float] | None = None


def connect() -> None:
    """Listen to the workers and the monitor of the cluster that this process becomes a part of, where there is one."""
    if not apps.is_installed("django_q"):
        return
    from django_q.signals import post_execute, pre_execute

    pre_execute.connect(task_begun, dispatch_uid="csplaybooks.task_begun")
    post_execute.connect(task_reported, dispatch_uid="csplaybooks.task_reported")


def cluster_name(host: str, sentinel: int, start: str = "") -> str:
    """The name of the lease row of a cluster, by its machine, the process id of its sentinel, and the start of that.

    Of `start`, a random word made when the sentinel started, the last 8 characters tell enough. Without it: how the
    names of all starts begin.
    """
    return f"{CLUSTER}{host[:60]}:{sentinel}:{start[-8:]}"


def own_cluster_name() -> str:
    """The name of the lease row of the cluster to which this worker or monitor belongs."""
    # Not getppid(): an orphan belongs to the cluster that started it.
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None:
        return cluster_name(socket.gethostname(), os.getppid())
    # django-q2 gives each process that it starts a random name, and what that starts in turn knows it.
    return cluster_name(socket.gethostname(), parent.pid, parent.name)


def task_begun(task: dict[str, Any], **kwargs: Any) -> None:
    """In a worker, before each task: note it and mark it, unless this worker has noted one a moment ago."""
    global _noted
    tick = time.monotonic()
    seconds = csplaybooks_settings.HEARTBEAT_SECONDS / BEATS
    if task.get("sync") or (_noted is not None and _noted[0] == os.getpid() and tick - _noted[1] < seconds):
        return
    _noted = (os.getpid(), tick)
    try:
        _note_begin(own_cluster_name())
        task[MARK] = True
    except Exception:
        # The task itself is worth more than its note; a heartbeat that gets old is seen.
        logger.exception("could not write the heartbeat of the cluster")


def task_reported(task: dict[str, Any], **kwargs: Any) -> None:
    """In the monitor, after each task: a marked one has come through, so nothing is left unreported."""
    if not task.pop(MARK, False):
        return
    from django_q.utils import close_old_django_connections

    from csplaybooks.playbooks.models import Lease

    try:
        # django-q2 does so only where it writes itself.
        close_old_django_connections()
        Lease.objects.filter(name=own_cluster_name()).update(expected=0)
    except Exception:
        logger.exception("could not write that the monitor of the cluster reports")


def _note_begin(name: str) -> None:
    from django_q.conf import Conf

    from csplaybooks.playbooks.models import Lease

    now = timezone.now()
    # Each worker may be at one marked task, and one may have died at its own. Only the cluster knows how many it has.
    values = {"last_run_at": now, "expected": F("expected") + 1, "seen": Conf.WORKERS + 1}
    row = Lease.objects.filter(name=name)
    if row.update(**values):
        return
    Lease.objects.get_or_create(name=name)
    row.update(**values)
    # Those dated ahead too: where their clusters run still, they come again.
    gone = Q(last_run_at__lt=now - FORGOTTEN_AFTER) | Q(last_run_at__gt=now + CLOCKS_APART)
    Lease.objects.filter(gone, name__startswith=CLUSTER).delete()
