"""The doctor's questions about the clusters: whether somebody works, and whether what was done is told.

The ways in which a cluster of django-q2 stands still while it says that it runs:

- a worker that waited for its next task was killed, with the lock of the cluster's queue: no worker of it ever takes a
  task again;
- the monitor was killed, with the lock of the results: its successor reports nothing, and finished tasks are done
  again and again (ORM broker) or pile up until workers stop (Redis);
- the sentinel was killed: its orphans work on, but no schedule fires and nobody replaces who dies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from csplaybooks.playbooks.doctor.findings import RESTART, SET_CLOCKS, Finding, Level, Look, in_words
from csplaybooks.playbooks.doctor.limits import heartbeat_limit
from csplaybooks.playbooks.doctor.queues import is_orm, open_broker, queue
from csplaybooks.playbooks.heartbeats import CLOCKS_APART, CLUSTER, SWEEP, WATCHER, cluster_name

START = "Start `manage.py qcluster`; the first sweep comes within two minutes."
FAILING = "The log of the cluster and the failed tasks in the admin tell why."


def sweep(look: Look) -> Iterator[Finding]:
    """Whether the sweep comes once a minute, and all of its steps succeed."""
    lease = look.leases.get(SWEEP)
    yield from _heartbeat(look, "sweep", "sweep", lease)
    if lease is not None and lease.seen < lease.expected:
        seen = f"{lease.expected - lease.seen} of the {lease.expected} steps of the last sweep failed."
        yield Finding("sweep", Level.RED, seen, FAILING)


def watcher(look: Look) -> Iterator[Finding]:
    """Whether clocks are watched, and all that were due could be dealt with."""
    lease = look.leases.get(WATCHER)
    yield from _heartbeat(look, "watcher", "look of the watcher at the clocks", lease)
    if lease is not None and lease.seen < lease.expected:
        seen = f"{lease.expected - lease.seen} of the {lease.expected} clocks that were due could not be dealt with."
        yield Finding("watcher", Level.RED, seen, f"They are tried again. {FAILING}")


def _heartbeat(look: Look, name: str, what: str, lease: Any) -> Iterator[Finding]:
    if lease is None or lease.last_run_at is None:
        yield Finding(name, Level.RED, f"There has never been a {what}: no cluster has worked yet.", START)
        return
    ahead = lease.last_run_at - look.now
    if ahead > CLOCKS_APART:
        # Red: nobody may be at work, and no heartbeat would tell until that time has come.
        seen = f"The last {what} is dated {in_words(ahead)} ahead: the clocks of the machines differ."
        yield Finding(name, Level.RED, seen, f"{SET_CLOCKS} The next {what} puts it right.")
        return
    age = look.age(lease.last_run_at)
    if age <= heartbeat_limit():
        yield Finding(name, Level.OK, f"The last {what} was {in_words(age)} ago.")
        return
    yield Finding(
        name,
        Level.RED,
        f"The last {what} was {in_words(age)} ago: no cluster runs, or one says that it runs and stands still (a "
        "worker was killed with the lock of the queue, or the sentinel, which fires the schedules, is dead).",
        RESTART,
    )


def reporting(look: Look) -> Iterator[Finding]:
    """Whether the monitor of each cluster that works tells what was done; no query of its own."""
    troubles = 0
    recent = 0
    for name, lease in look.leases.items():
        # One that has begun nothing for so long is gone, or seen by the other questions.
        if not name.startswith(CLUSTER) or lease.last_run_at is None:
            continue
        if look.age(lease.last_run_at) > 2 * heartbeat_limit():
            continue
        cluster = f"The cluster {name.removeprefix(CLUSTER)}"
        ahead = lease.last_run_at - look.now
        if ahead > CLOCKS_APART:
            # It may be gone long since. Where it sweeps, the sweep is red.
            troubles += 1
            seen = f"{cluster} dated its last task {in_words(ahead)} ahead: the clocks of the machines differ."
            yield Finding("clusters", Level.WARN, seen, f"{SET_CLOCKS} Then restart the cluster.")
            continue
        recent += 1
        if lease.expected > lease.seen:
            troubles += 1
            yield _monitor_dead(f"{cluster} has begun {lease.expected} tasks in a row ")
    if not troubles:
        yield Finding("clusters", Level.OK, f"{recent} began tasks lately, and reported them")


def _monitor_dead(seen: str) -> Finding:
    from django_q.conf import Conf

    outcome = (
        f"finished tasks are done again every {Conf.RETRY} seconds"
        if is_orm()
        else "failures are not told, and in time its workers stop"
    )
    return Finding(
        "clusters",
        Level.RED,
        f"{seen}and reported none: its monitor is dead, or hangs in place of one that was killed; {outcome}.",
        RESTART,
    )


def broker(look: Look) -> Iterator[Finding]:
    """Whether the broker answers, workers take what waits in it, and finished tasks are taken out of it."""
    if is_orm() and look.levels.get("database") == Level.RED:
        seen = "The broker is the database, which does not answer."
        yield Finding("broker", Level.RED, seen, "See to the database.")
        return
    if is_orm() and look.levels.get("migrations") == Level.RED:
        return
    try:
        tasks = queue(look.now)
    except Exception as error:  # noqa: BLE001 - each broker has its own
        said = (str(error).strip().splitlines() or [""])[0][:300]
        yield Finding(
            "broker",
            Level.RED,
            f"The broker does not answer: {type(error).__name__}: {said}",
            "Start it, or mend Q_CLUSTER (stand-alone: REDIS_URL). Nothing is lost: the sweep picks up what could not "
            "be poked.",
        )
        return
    waiting = f"{tasks.broker} answers; {tasks.size} task{'' if tasks.size == 1 else 's'} waiting"
    age = look.age(tasks.oldest) if tasks.oldest is not None else timedelta()
    if age > heartbeat_limit():
        seen = f"{waiting}, the oldest for {in_words(age)}: no worker takes tasks."
        yield Finding("broker", Level.RED, seen, RESTART)
    else:
        yield Finding("broker", Level.OK, waiting)
    if tasks.unreadable:
        yield Finding(
            "broker",
            Level.WARN,
            "The oldest task cannot be read: it was signed with another SECRET_KEY, or queued by other code.",
            "Give all processes the same SECRET_KEY. The cluster deletes such tasks; the sweep does their work.",
        )
    if tasks.overdue:
        yield _unreported(tasks.overdue, tasks.repeated)


def _unreported(overdue: int, repeated: int) -> Finding:
    from django_q.conf import Conf

    said = f"{overdue} task{' was' if overdue == 1 else 's were'} taken by a cluster long ago and never reported done"
    if not repeated and overdue < 3:
        # As happens once when a worker is killed at work.
        mend = f"Nothing, if a worker was just killed: it is done again within {Conf.RETRY} seconds."
        return Finding("unreported_tasks", Level.WARN, f"{said}.", mend)
    again = f", {repeated} of them taken again and again" if repeated else ""
    return Finding(
        "unreported_tasks",
        Level.RED,
        f"{said}{again}: the monitor of a cluster is dead, so finished tasks repeat every {Conf.RETRY} seconds; or a "
        "worker was killed with the lock of the queue; or a task kills its worker.",
        f"{RESTART} If it comes back at once, the log names the task that is begun last, again and again.",
    )


def stalled(look: Look) -> Iterator[Finding]:
    """What django-q2 itself says of each cluster, where that is kept in a place that all processes share."""
    from django_q.status import Stat

    with open_broker() as connected:
        if connected is None:
            yield Finding("stalled_clusters", Level.OK, "single clusters are not told apart without a shared cache")
            return
        try:
            stats = Stat.get_all(connected)
        except Exception as error:  # noqa: BLE001 - each broker has its own
            seen = f"What django-q2 says of its clusters cannot be read: {type(error).__name__}: {error}"
            yield Finding("stalled_clusters", Level.WARN, seen[:400], "See the finding about the broker.")
            return
    if not stats:
        yield Finding("stalled_clusters", Level.RED, "No cluster is running.", START)
    troubles = 0
    for name, count in Counter(cluster_name(stat.host, stat.sentinel) for stat in stats).items():
        if count > 1:
            troubles += 1
            seen = f"{count} clusters have the name {_short(name)}: one that stands still is hidden by the others."
            yield Finding("stalled_clusters", Level.WARN, seen, "Give each container a host name of its own.")
    for stat in stats:
        for finding in _of_stat(look, stat):
            troubles += 1
            yield finding
    if stats and not troubles:
        yield Finding("stalled_clusters", Level.OK, f"{len(stats)} running")


def _of_stat(look: Look, stat: Any) -> Iterator[Finding]:
    # It does not tell its start. Rows of sentinels that had this process id before are older than this one.
    name = cluster_name(stat.host, stat.sentinel)
    rows = [lease.last_run_at for key, lease in look.leases.items() if key.startswith(name)]
    begun: datetime = max([stat.tob, *(at for at in rows if at is not None and at - look.now <= CLOCKS_APART)])
    idle = look.age(begun)
    if stat.task_q_size > 0 and idle > heartbeat_limit():
        yield Finding(
            "stalled_clusters",
            Level.RED,
            f"The cluster {_short(name)} has fetched {stat.task_q_size} tasks and begun none for "
            f"{in_words(idle)}: a worker was killed with the lock of its queue, and no other gets in.",
            RESTART,
        )


def _short(name: str) -> str:
    """HOST:PID of the name of a lease row without a start."""
    return name.removeprefix(CLUSTER).rstrip(":")
