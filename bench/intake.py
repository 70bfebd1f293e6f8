"""Intake over HTTP against raw COPY of the same rows, and against a plain view of REST framework."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from django.db import connection
from django.utils import timezone

from bench.processes import free_port, gunicorn
from bench.report import Entry
from csplaybooks.accounts.acts.tokens import make_token
from csplaybooks.signals.models import IntakeBatch, Signal, SignalType, Source

ITEMS = 5000
SECTION = "Intake of signals, 5,000 in a batch"


def post(port: int, path: str, token: str, body: bytes) -> bytes:
    """Send a body to the server and answer what comes back; anything but a 2xx ends the benchmark."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    client.request("POST", path, body, {"Authorization": f"Token {token}", "Content-Type": "application/json"})
    response = client.getresponse()
    answer = response.read()
    client.close()
    if response.status >= 300:
        raise SystemExit(f"POST {path} answered {response.status}: {answer[:500]!r}")
    return answer


def measure_intake(url: str) -> list[Entry]:
    """Items a second of each way in, into the table with all the signals there are."""
    token = make_token(name="bench", scopes=["signals:write"], now=timezone.now(), actor=None)[1]
    kind = SignalType.objects.get(key="login").pk
    source = Source.objects.get(key="product").pk
    port = free_port()
    with gunicorn(url, port):
        ours = _rate(lambda lot: post(port, "/api/v1/signals/", token, _ours(lot)), batches=8)
        again = _rate(lambda lot: post(port, "/api/v1/signals/", token, _ours(0)), batches=4)
        in_bulk = _rate(
            lambda lot: post(port, "/plain/signals/bulk/", token, _plain(f"bulk{lot}", source, kind, ITEMS)), batches=3
        )
        # One query and more for every item: a tenth of the batch says enough.
        plain = _rate(
            lambda lot: post(port, "/plain/signals/", token, _plain(f"plain{lot}", source, kind, ITEMS // 10)),
            batches=2,
            items=ITEMS // 10,
        )
    copied = _rate(lambda lot: _copy(f"copy{lot}", source, kind), batches=8)
    stored = Signal.objects.filter(external_id__startswith="bench-").count()
    if stored != ITEMS * (9 + 4 + 9) + ITEMS // 10 * 3:
        raise SystemExit(f"{stored} rows were stored: not what was sent.")

    def entry(what: str, took: float, against_what: str, against: float) -> Entry:
        return Entry(SECTION, what, took, "items/s", against_what, against, more_is_better=True)

    way = "over HTTP, with verdicts, duplicates, corrections and marks"
    return [
        entry(way, ours, "COPY into the same table, no HTTP and no checks", copied),
        entry(way, ours, "plain serializer, `bulk_create`, unique check left to the database", in_bulk),
        entry(way, ours, "plain serializer as it comes, with its validators", plain),
        entry("the same batch again: 5,000 duplicates", again, "the batch when it was new", ours),
    ]


def _rate(send: Callable[[int], object], *, batches: int, items: int = ITEMS) -> float:
    """Items a second, by the median batch; the first one is not counted."""
    send(0)
    taken = []
    for lot in range(1, batches + 1):
        began = perf_counter()
        send(lot)
        taken.append(perf_counter() - began)
    return items / median(taken)


def _ours(lot: int) -> bytes:
    items: list[dict[str, Any]] = [
        {
            "source": "product",
            "external_id": f"bench-ours-{lot}-{number}",
            # Of accounts with even ids none was deleted or merged away.
            "account": f"account-{2 + number * 17 % 2000 * 2}",
            "type": "login",
            "occurred_at": f"2026-11-15T10:{number // 60 % 60:02}:{number % 60:02}Z",
            "actor": f"user-{number % 50}",
            "properties": {"place": "web"},
        }
        for number in range(ITEMS)
    ]
    return json.dumps(items).encode()


def _plain(lot: str, source: int, kind: int, count: int) -> bytes:
    items: list[dict[str, Any]] = [
        {
            "source": source,
            "external_id": f"bench-{lot}-{number}",
            "account": 2 + number * 17 % 2000 * 2,
            "type": kind,
            "occurred_at": f"2026-11-15T10:{number // 60 % 60:02}:{number % 60:02}Z",
            "actor": f"user-{number % 50}",
            "properties": {"place": "web"},
        }
        for number in range(count)
    ]
    return json.dumps(items).encode()


def _copy(lot: str, source: int, kind: int) -> None:
    """The rows by COPY, with their batch, in one transaction: nothing is looked up and nothing is checked."""
    now = timezone.now()
    batch = IntakeBatch.objects.create(
        kind="signals", received=ITEMS, stored=ITEMS, duplicate=0, conflict=0, refused=0, recorded_at=now, seen_by_run=1
    ).pk
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY csplaybooks_signals_signal (source_id, external_id, occurred_at, batch_id, body_hash, is_void,"
            " account_id, type_id, actor, value_milli, properties) FROM STDIN"
        ) as copy,
    ):
        for number in range(ITEMS):
            digest = hashlib.sha256(f"{lot}{number}".encode()).hexdigest()
            occurred_at = f"2026-11-15 10:{number // 60 % 60:02}:{number % 60:02}+00"
            copy.write_row(
                (
                    *(source, f"bench-{lot}-{number}", occurred_at, batch, f"\\x{digest}", False),
                    *(2 + number * 17 % 2000 * 2, kind, f"user-{number % 50}", 1000, '{"place": "web"}'),
                )
            )
