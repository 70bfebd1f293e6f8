"""Heartbeats of clusters: rows that tell when each one last began a task, and whether it reports what it has done.

A cluster of django-q2 can stand still and still say that it runs: a worker that is killed while it waits holds the lock
of the queue for ever, and so does a monitor, whose successor then reports nothing. Neither shows in the database by
itself. So a worker notes now and then that it begins a task, on the lease row `csplaybooks:cluster:HOST:PID` of its
cluster, and marks the task; the monitor notes that the mark has come through. What it costs is one UPDATE each.
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
from django.db.models import F
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

#: When this process noted a task last: its id (a fork starts anew) and the monotonic clock.
_noted: tuple[int, float] | None = None


def connect() -> None:
    """Listen to the workers and the monitor of the cluster that this process becomes a part of, where there is one."""
    if not apps.is_installed("django_q"):
        return
    from django_q.signals import post_execute, pre_execute

    pre_execute.connect(task_begun, dispatch_uid="csplaybooks.task_begun")
    post_execute.connect(task_reported, dispatch_uid="csplaybooks.task_reported")


def cluster_name(host: str, sentinel: int) -> str:
    """The name of the lease row of a cluster, by its machine and the process id of its sentinel."""
    return f"{CLUSTER}{host[:60]}:{sentinel}"


def own_cluster_name() -> str:
    """The name of the lease row of the cluster to which this worker or monitor belongs."""
    # Not getppid(): an orphan belongs to the cluster that started it.
    parent = multiprocessing.parent_process()
    return cluster_name(socket.gethostname(), (parent.pid if parent else None) or os.getppid())


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
    from csplaybooks.playbooks.models import Lease

    now = timezone.now()
    row = Lease.objects.filter(name=name)
    if row.update(last_run_at=now, expected=F("expected") + 1):
        return
    Lease.objects.get_or_create(name=name)
    row.update(last_run_at=now, expected=F("expected") + 1)
    Lease.objects.filter(name__startswith=CLUSTER, last_run_at__lt=now - FORGOTTEN_AFTER).delete()
