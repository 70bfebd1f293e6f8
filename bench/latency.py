"""From a signal accepted over HTTP to a play with its owner and running clocks, seen in the database."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import django
from django.utils import timezone

if __name__ == "__main__":
    django.setup()

from django_q.models import OrmQ

from bench.intake import post
from bench.processes import ROOT, cluster, free_port, gunicorn, redis
from bench.report import Entry
from csplaybooks.accounts.acts.companies import NewAccount, create_accounts
from csplaybooks.accounts.acts.tokens import make_token
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.models import Match, Play
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.rounds import run_next_part
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.models import IntakeBatch

SECTION = "A signal accepted over HTTP to a play owned, its clocks running"
PLAYS = 40
#: Knocks that do not make a play yet; the next one does.
KNOCKS_BEFORE = 2
PATIENCE = 30


def measure_latency(url: str) -> list[Entry]:
    """On SQLite with the database as broker, and on PostgreSQL with Redis and two clusters.

    Each in a process of its own: this one's settings are those of the seeded database already.
    """
    entries = []
    with tempfile.TemporaryDirectory() as folder:
        embedded = f"sqlite:///{Path(folder) / 'bench.sqlite3'}"
        entries += _in_a_process(embedded, "embedded: SQLite, one cluster", redis_url="", clusters=1)
    with redis() as redis_url:
        entries += _in_a_process(url, "PostgreSQL and Redis, two clusters", redis_url=redis_url, clusters=2)
    return entries


def _in_a_process(url: str, what: str, *, redis_url: str, clusters: int) -> list[Entry]:
    environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "bench.settings"}
    environment.pop("REDIS_URL", None)
    if redis_url:
        environment["REDIS_URL"] = redis_url
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--verbosity", "0"], check=True, cwd=ROOT, env=environment
    )
    answer = subprocess.run(
        [sys.executable, "-m", "bench.latency", str(clusters)],
        check=True,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
    )
    took: list[float] = json.loads(answer.stdout.splitlines()[-1])
    slow = quantiles(took, n=20)[-1]
    return [
        Entry(SECTION, what, median(took), "s", note=f"95 of 100 within {slow:.2f} s, the slowest {max(took):.2f} s")
    ]


def _measure(clusters: int) -> list[float]:
    """Seconds of each of `PLAYS` plays, one after the other."""
    url = os.environ["DATABASE_URL"]
    more = {"REDIS_URL": os.environ["REDIS_URL"]} if "REDIS_URL" in os.environ else {}
    now = timezone.now()
    names = [f"quick-{number}" for number in range(PLAYS)]
    with pokes_silenced():
        set_up(now=now, schedules=False)
        _customers(names, now - timedelta(days=400))
        # The news so far, and pokes that another broker was given, are nobody's latency.
        OrmQ.objects.all().delete()
        run_triggers(now=now)
        while run_next_part(now=now):
            pass
    scopes = ["signals:write", "readings:write"]
    token = make_token(name="latency", scopes=scopes, now=now, actor=None)[1]
    port = free_port()
    took = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(gunicorn(url, port, **more))
        for _ in range(clusters):
            stack.enter_context(cluster(url, **more))
        _send(port, token, "readings", [reading for name in names for reading in _readings(name)])
        _send(port, token, "signals", [_knock(name, number) for name in names for number in range(KNOCKS_BEFORE)])
        _wait_until_known()
        for name in names:
            _send(port, token, "signals", [_knock(name, KNOCKS_BEFORE)])
            accepted = time.perf_counter()
            owned = Play.objects.filter(account__name=name, owner__isnull=False, clocks__isnull=False)
            while not owned.exists():
                if time.perf_counter() - accepted > PATIENCE:
                    raise SystemExit(f"No play of {name} after {PATIENCE} seconds.")
                time.sleep(0.005)  # between two looks; finer than what is measured
            took.append(time.perf_counter() - accepted)
    return took


def _customers(names: list[str], since: datetime) -> None:
    TeamMember.objects.create(
        name="Quick hands",
        is_customer_success_manager=True,
        takes_pool_work=True,
        open_play_cap=10**6,
        updated_at=since,
    )
    facts = {
        "lifecycle": "paying",
        "segment": "mid_market",
        "activated_on": (since + timedelta(days=9)).date().isoformat(),
        "customer_since": since.date().isoformat(),
    }
    create_accounts(
        items=[NewAccount(name=name, identities=[("product", name)], facts=facts, valid_from=since) for name in names],
        now=since,
        actor=None,
    )


def _send(port: int, token: str, what: str, items: list[dict[str, Any]]) -> None:
    answer = json.loads(post(port, f"/api/v1/{what}/", token, json.dumps(items).encode()))
    if answer["stored"] != len(items):
        raise SystemExit(f"Not all {what} were stored: {answer}")


def _readings(name: str) -> list[dict[str, Any]]:
    whose = {"source": "product", "account": name, "occurred_at": _now()}
    return [
        {**whose, "external_id": f"quick-seats-{name}", "meter": "seats", "used": 15, "limit": 20},
        {**whose, "external_id": f"quick-health-{name}", "meter": "health", "used": 90},
    ]


def _knock(name: str, number: int) -> dict[str, Any]:
    return {
        **{"source": "product", "external_id": f"quick-{name}-{number}", "account": name},
        **{"type": "feature_gate_hit", "occurred_at": _now()},
    }


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _wait_until_known() -> None:
    give_up = time.monotonic() + PATIENCE
    while (
        IntakeBatch.objects.unclaimed().exists()
        or OrmQ.objects.exists()
        or Match.objects.filter(state=Match.State.QUEUED).exists()
        or Play.objects.filter(clocks_started_at__isnull=True, outcome="").exists()
    ):
        if time.monotonic() > give_up:
            raise SystemExit(f"The clusters took nothing for {PATIENCE} seconds.")
        time.sleep(0.05)  # between two looks


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]))))
