"""Checks of django-q2's setting `Q_CLUSTER`, and of each of its `ALT_CLUSTERS`.

The settings are read here and not from django-q2, which freezes them when it is imported. What each rule is for was
seen in experiments with dying workers; the recommended setting (`RECOMMENDED`) breaks none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from multiprocessing import cpu_count
from typing import Any, NamedTuple

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, register

from csplaybooks.checks.database import our_database
from csplaybooks.checks.table import message

RECOMMENDED = (
    'Q_CLUSTER = {"name": "mysite", "orm": "default", "workers": 2, "queue_limit": 2, "timeout": 60, "retry": 300, '
    '"max_attempts": 3, "ack_failures": True, "catch_up": False, "save_limit": -1}'
)

#: The brokers of django-q2 in the order in which it looks for them; the first that is set is taken.
BROKERS = ("broker_class", "iron_mq", "sqs", "orm", "mongo", "redis", "django_redis")

#: What the rules below calculate with, and the type of each.
_NUMBERS: Mapping[str, type | tuple[type, ...]] = {
    "workers": int,
    "queue_limit": int,
    "timeout": (int, float),
    "retry": (int, float),
    "max_attempts": int,
    "save_limit": int,
}

#: Settings that are on or off.
_SWITCHES = ("ack_failures", "catch_up", "sync", "scheduler")

#: Every key that django-q2 reads.
KNOWN_KEYS = frozenset((*BROKERS, *_NUMBERS, *_SWITCHES)) | {
    *("ALT_CLUSTERS", "bulk", "cache", "cached", "cluster_name", "compress", "cpu_affinity", "daemonize_workers"),
    *("error_reporter", "guard_cycle", "label", "log_level", "max_rss", "mongo_db", "name", "poll", "recycle"),
    *("save_limit_per", "testing", "time_zone"),
}

# What django-q2 takes where nothing is set.
_DEFAULT_RETRY = 60
_DEFAULT_SAVE_LIMIT = 250


class _Finding(NamedTuple):
    """One message, and the keys of the cluster's settings that it comes from."""

    keys: frozenset[str]
    message: CheckMessage


def _finding(*keys: str, number: str, text: str, mend: str) -> _Finding:
    return _Finding(frozenset(keys), message(number, text, mend=mend))


@register
def check_tasks(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Look at how the background tasks are set up. No broker is asked."""
    cluster = getattr(settings, "Q_CLUSTER", None)
    if not isinstance(cluster, Mapping) or not cluster:
        what = "is missing" if cluster is None else "is empty" if cluster == {} else "must be a dict"
        return [
            message(
                "E008",
                f"The setting Q_CLUSTER {what}; without it django-q2 looks for a Redis on this machine.",
                mend=f"Recommended: {RECOMMENDED}.",
            )
        ]
    messages = [finding.message for finding in _findings("Q_CLUSTER", cluster)]
    alternatives = cluster.get("ALT_CLUSTERS") or {}
    if not isinstance(alternatives, Mapping) or not all(isinstance(own, Mapping) for own in alternatives.values()):
        return [
            *messages,
            message(
                "E011",
                "Q_CLUSTER['ALT_CLUSTERS'] must be a dict of dicts.",
                mend='Write it as {"long": {"timeout": 600, "retry": 1900}}, with the name of each cluster as the key.',
            ),
        ]
    for name, own in alternatives.items():
        found = _findings(f"Q_CLUSTER['ALT_CLUSTERS'][{name!r}]", {**cluster, **own})
        # What is inherited was told above.
        messages += [finding.message for finding in found if finding.keys & own.keys()]
    return messages


def _findings(path: str, cluster: Mapping[str, Any]) -> Iterator[_Finding]:
    """All that is wrong with one cluster, whose settings are at `path`."""
    yield from _broker_findings(path, cluster)
    yield from _unknown_findings(path, cluster)
    wrong = [
        _finding(
            key,
            number="E011",
            text=f"{path}[{key!r}] must be a number, not {type(value).__name__} ({value!r}).",
            mend="Write it without quotes." if isinstance(value, str) else "Write a whole number.",
        )
        for key, wanted in _NUMBERS.items()
        if (value := cluster.get(key)) is not None and (isinstance(value, bool) or not isinstance(value, wanted))
    ]
    wrong += [
        _finding(
            key,
            number="E011",
            text=f"{path}[{key!r}] must be True or False, not {type(value).__name__} ({value!r}).",
            mend="Write it without quotes." if isinstance(value, str) else f'Write "{key}": {bool(value)}.',
        )
        for key in _SWITCHES
        if (value := cluster.get(key)) is not None and not isinstance(value, bool)
    ]
    if not wrong:
        wrong += _unusable_findings(path, cluster)
    yield from wrong
    if not wrong:
        # The rules calculate with them.
        yield from _time_findings(path, cluster)
        yield from _failure_findings(path, cluster)


def _broker_findings(path: str, cluster: Mapping[str, Any]) -> Iterator[_Finding]:
    broker = next((key for key in BROKERS if cluster.get(key)), None)
    if broker == "orm":
        alias = cluster["orm"]
        if not isinstance(alias, str):
            yield _finding(
                "orm",
                number="E011",
                text=f"{path}['orm'] must be the name of a database, not {type(alias).__name__} ({alias!r}).",
                mend=f"Name one of them: {', '.join(map(repr, settings.DATABASES))}.",
            )
        elif alias not in settings.DATABASES:
            yield _finding(
                "orm",
                number="E010",
                text=f"{path}['orm'] is {alias!r}, which is not in DATABASES.",
                mend=f"Name one of them: {', '.join(map(repr, settings.DATABASES))}.",
            )
        elif alias != (ours := our_database()):
            yield _finding(
                "orm",
                number="I001",
                text=f"{path}['orm'] is {alias!r}, but our tables are in {ours!r}: a task can get lost "
                "between the two. The sweep picks up within a minute what it would have done.",
                mend=f'Set "orm": "{ours}" to queue both in one transaction, or silence this.',
            )
    elif broker is None and "redis" not in cluster:
        yield _finding(
            *BROKERS,
            number="E009",
            text=f"{path} names no broker; django-q2 looks for a Redis on this machine.",
            mend='Add "orm": "default" to it (tasks are queued in the database), or "redis": "redis://...".',
        )
    elif broker in ("redis", "django_redis", None) and find_spec("redis") is None:
        yield _finding(
            *BROKERS,
            number="E010",
            text=f"{path} makes Redis the broker, but the Python package redis is not installed.",
            mend='Run: pip install "csplaybooks[redis]".',
        )


def _unknown_findings(path: str, cluster: Mapping[str, Any]) -> Iterator[_Finding]:
    for key in cluster:
        if key not in KNOWN_KEYS:
            near = get_close_matches(str(key), KNOWN_KEYS, n=1)
            yield _finding(
                key,
                number="W015",
                text=f"{path} has a key {key!r} that django-q2 does not know, and so does nothing.",
                mend=f"Did you mean {near[0]!r}?" if near else "Take it out.",
            )


def _unusable_findings(path: str, cluster: Mapping[str, Any]) -> Iterator[_Finding]:
    workers = cluster.get("workers")
    if workers is not None and workers < 1:
        yield _finding(
            "workers",
            number="E014",
            text=f"{path}['workers'] is {workers}, but must be at least 1.",
            mend='Set "workers": 2 and "queue_limit": 2. To stop the work, stop the qcluster.',
        )
    if "name" in cluster and not (isinstance(cluster["name"], str) and cluster["name"].strip()):
        yield _finding(
            "name",
            number="E014",
            text=f"{path}['name'] is {cluster['name']!r}, but must be a name: tasks and queues are told apart by it.",
            mend='Set "name": "mysite".',
        )


def _time_findings(path: str, cluster: Mapping[str, Any]) -> Iterator[_Finding]:
    # By default as many as the machine has processors.
    workers = cluster.get("workers") or cpu_count()
    queue_limit = cluster.get("queue_limit", workers**2)
    # Zero means no limit at all.
    if not queue_limit or not 0 < queue_limit <= workers:
        told = repr(queue_limit) if "queue_limit" in cluster else f"not set, which makes it {queue_limit}"
        yield _finding(
            *("workers", "queue_limit"),
            number="W009",
            text=f"{path}['queue_limit'] is {told}, more than the {workers} workers: a cluster fetches tasks that wait "
            "there while another is idle, and the clock of 'retry' runs.",
            mend=f'Set "workers": {workers} and "queue_limit": {workers}.',
        )
        # As if that were mended: one fault, not two.
        queue_limit = workers
    timeout = cluster.get("timeout")
    if timeout is None or timeout <= 0:
        yield _finding(
            "timeout",
            number="W007",
            text=f"{path} sets no 'timeout': a task that hangs holds its worker for ever.",
            mend='Set "timeout": 60 and "retry": 300.',
        )
        return
    retry = cluster.get("retry", _DEFAULT_RETRY) or 0
    least = timeout * (queue_limit / workers + 2)
    if retry <= least:
        yield _finding(
            *("timeout", "retry", "workers", "queue_limit"),
            number="W008",
            text=f"{path}['retry'] is {retry}, and must be above {least:g}: timeout x (queue_limit / workers + 2) = "
            f"{timeout} x ({queue_limit} / {workers} + 2). A fetched task waits with that clock running, and is run "
            "a second time when it is out.",
            mend=f'Set "retry": {int(least * 1.5) + 1}, or a shorter "timeout".',
        )


def _failure_findings(path: str, cluster: Mapping[str, Any]) -> Iterator[_Finding]:
    if (cluster.get("max_attempts") or 0) <= 0:
        yield _finding(
            "max_attempts",
            number="W010",
            text=f"{path} sets no 'max_attempts': a task that fails is tried for ever.",
            mend='Set "max_attempts": 3.',
        )
    if cluster.get("sync"):
        yield _finding(
            "sync",
            number="W016",
            text=f"{path}['sync'] is on: whoever asks for a task does it, in the middle of a request, and a qcluster "
            "has nothing to do.",
            mend='Set "sync": False, but in tests.',
        )
    if cluster.get("catch_up", True):
        yield _finding(
            "catch_up",
            number="W011",
            text=f"{path}['catch_up'] is on, as it is where it is not set: after a pause every missed minute of our "
            "schedules is run, one each half minute.",
            mend='Set "catch_up": False. Our schedules need no missed slot.',
        )
    if cluster.get("save_limit", _DEFAULT_SAVE_LIMIT) == 0:
        yield _finding(
            "save_limit",
            number="W012",
            text=f"{path}['save_limit'] is 0, which keeps every successful task in the database for ever.",
            mend='Set "save_limit": -1, which keeps none; failures are always kept.',
        )
    if not cluster.get("ack_failures", False):
        yield _finding(
            "ack_failures",
            number="W013",
            text=f"{path}['ack_failures'] is off, as it is where it is not set: a task that failed stays in the queue "
            "and comes back after 'retry', beside what the sweep does anyway.",
            mend='Set "ack_failures": True.',
        )
