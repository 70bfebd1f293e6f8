"""How PostgreSQL finds what is to be pruned: by indexes, whatever the history holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from csplaybooks.playbooks.factories import RunFactory
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.acts.pruning import prune_batches, prune_events
from csplaybooks.signals.factories import IntakeBatchFactory, SourceFactory
from csplaybooks.signals.horizon import to_prune_before
from csplaybooks.signals.models import Meter, SignalType

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
ROWS = 100_000

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]


@pytest.fixture(scope="module")
def much(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A year of signals and readings in many batches, made once for all tests of this file, and undone after them."""
    with django_db_blocker.unblock(), transaction.atomic():
        _make_much()
        # Now, or the end of each test would look up again what every row points at.
        connection.check_constraints()
        yield
        transaction.set_rollback(True)


@pytest.fixture(autouse=True)
def much_is_kept(much: None, settings: Any) -> None:
    """350 days of it."""
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 350}


def _make_much() -> None:
    load_starter_catalogue(now=NOW)
    source, run = SourceFactory().pk, RunFactory().pk
    kinds = [min(model.objects.values_list("pk", flat=True)) for model in (SignalType, Meter)]
    first = IntakeBatchFactory(seen_by_run=run).pk
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into csplaybooks_accounts_account (name, created_at, updated_at, version)"
            " select 'a' || n, %s, %s, 1 from generate_series(1, 1000) n",
            [NOW, NOW],
        )
        cursor.execute("select min(id) from csplaybooks_accounts_account")
        account = cursor.fetchone()[0]
        cursor.execute(
            "insert into csplaybooks_signals_intakebatch"
            " (kind, recorded_at, received, stored, duplicate, conflict, refused, seen_by_run)"
            " select 'signals', %s::timestamptz - random() * interval '365 days', 20, 20, 0, 0, 0, %s"
            " from generate_series(1, %s) n",
            [NOW, run, ROWS // 20],
        )
        for table, key, kind, columns, values in (
            ("signal", "type_id", kinds[0], "actor, value_milli, properties", "'', 1000, '{}'::jsonb"),
            ("reading", "meter_id", kinds[1], "used_milli, limit_milli", "1000, 2000"),
        ):
            cursor.execute(
                f"insert into csplaybooks_signals_{table} (source_id, external_id, occurred_at, batch_id,"  # noqa: S608 - our own words
                f" body_hash, is_void, account_id, {key}, {columns})"
                " select %s, 'e' || n, %s::timestamptz - random() * interval '365 days', %s + n %% %s, '', false,"
                f" %s + n %% 1000, %s + n %% 5, {values} from generate_series(1, %s) n",
                [source, NOW, first, ROWS // 20, account, kind, ROWS],
            )
        for table in ("signal", "reading", "intakebatch"):
            cursor.execute(f"analyze csplaybooks_signals_{table}")


def plans_of(task: Any) -> str:
    """The plans of all statements that a task has sent, in PostgreSQL's words."""
    with CaptureQueriesContext(connection) as captured:
        task()
    plans = []
    with connection.cursor() as cursor:
        for query in captured.captured_queries:
            if query["sql"].split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
                cursor.execute(f"explain {query['sql']}")
                plans.append("\n".join(row[0] for row in cursor.fetchall()))
    return "\n\n".join(plans)


def test_a_batch_of_events_reads_no_more_than_it_takes():
    plans = plans_of(lambda: prune_events(now=NOW, limit=500))
    for index in ("csp_signal_type_time", "csp_reading_meter_time"):
        assert index in plans, plans
    for noun in ("signal", "reading"):
        assert f"Seq Scan on csplaybooks_signals_{noun} " not in plans, plans


def test_what_was_corrected_is_found_in_the_nearly_empty_index():
    with connection.cursor() as cursor:
        cursor.execute("delete from csplaybooks_signals_signal where occurred_at < %s", [NOW - timedelta(days=345)])
        cursor.execute("delete from csplaybooks_signals_reading where occurred_at < %s", [NOW - timedelta(days=345)])
    plans = plans_of(lambda: prune_events(now=NOW))
    for noun in ("signal", "reading"):
        assert f"csp_{noun}_corrected_once" in plans, plans
        assert f"Seq Scan on csplaybooks_signals_{noun} " not in plans, plans


def test_spent_batches_are_found_in_their_index():
    before = to_prune_before(NOW)
    assert before is not None
    plans = plans_of(lambda: prune_batches(before=before))
    assert "csp_batch_spent" in plans
    assert "Seq Scan on csplaybooks_signals_intakebatch" not in plans
