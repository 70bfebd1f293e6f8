"""How PostgreSQL answers a trigger: by the indexes that were made for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from django.db import connection, transaction

from csplaybooks.accounts.factories import START
from csplaybooks.accounts.ids import Ids
from csplaybooks.playbooks.evaluator import TriggerVersion, compile_query, evaluate
from csplaybooks.playbooks.measures import Known, Moment
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.factories import IntakeBatchFactory, SourceFactory

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
ACCOUNTS = 2_000
SIGNALS = 200_000
READINGS = 40_000

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]


@pytest.fixture(scope="module")
def much(django_db_setup: None, django_db_blocker: Any) -> Iterator[Known]:
    """A year of signals and readings, made once for all tests of this file, and undone after them."""
    with django_db_blocker.unblock(), transaction.atomic():
        known = _make_much()
        # Now, or the end of each test would look up again what every row points at.
        connection.check_constraints()
        yield known
        transaction.set_rollback(True)


def _make_much() -> Known:
    """Made by the database itself; nothing is open that a run was not told."""
    load_starter_catalogue(now=NOW)
    source = SourceFactory().pk
    batch = IntakeBatchFactory(seen_by_run=1).pk
    known = Known.now(mark=1)
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into csplaybooks_accounts_account (name, created_at, updated_at, version)"
            " select 'a' || n, %s, %s, 1 from generate_series(1, %s) n",
            [START, START, ACCOUNTS],
        )
        cursor.execute("select min(id) from csplaybooks_accounts_account")
        first = cursor.fetchone()[0]
        cursor.execute(
            "insert into csplaybooks_signals_signal (source_id, external_id, occurred_at, batch_id, body_hash, is_void,"
            " account_id, type_id, actor, value_milli, properties)"
            " select %s, 's' || n, %s::timestamptz - random() * interval '365 days', %s, '', false,"
            " %s + (random() * %s)::int, %s + n %% 10, '', 1000, '{}' from generate_series(1, %s) n",
            [source, NOW, batch, first, ACCOUNTS - 1, min(known.signal_types.values()), SIGNALS],
        )
        cursor.execute(
            "insert into csplaybooks_signals_reading (source_id, external_id, occurred_at, batch_id, body_hash,"
            " is_void, account_id, meter_id, used_milli, limit_milli)"
            " select %s, 'r' || n, %s::timestamptz - random() * interval '365 days', %s, '', false,"
            " %s + (random() * %s)::int, %s + n %% 5, 1000 * (random() * 20)::int, 20000 from generate_series(1, %s) n",
            [source, NOW, batch, first, ACCOUNTS - 1, min(known.meters.values()), READINGS],
        )
        for table in ("accounts_account", "signals_signal", "signals_reading", "signals_intakebatch"):
            cursor.execute(f"analyze csplaybooks_{table}")
    return known


def plan_of(trigger: TriggerVersion, moment: Moment) -> str:
    """The plan of the one query, in PostgreSQL's words."""
    if moment.accounts is not None:
        moment = replace(moment, accounts=Ids(cast("tuple[int, ...]", moment.accounts)))
    query, _ = compile_query(trigger, moment)
    plan: str = query.explain()
    return plan


def trigger(*conditions: dict[str, Any]) -> TriggerVersion:
    return TriggerVersion(0, 0, {"key": "t", "any": [{"all": list(conditions)}]}, {})


GATES = {"measure": "signal_count", "signal_type": "feature_gate_hit", "window_days": 7, "at_least": 3}
SEATS = {"measure": "share_of_limit", "meters": ["seats"], "above": 80}


def test_a_count_over_all_accounts_reads_the_window_of_its_type(much):
    plan = plan_of(trigger(GATES), Moment(NOW, much))
    assert "csp_signal_type_time" in plan
    assert "Seq Scan on csplaybooks_signals_signal" not in plan


def test_a_count_over_some_accounts_reads_their_own_signals(much):
    some = tuple(known for known in range(1, 4))
    plan = plan_of(trigger(GATES), Moment(NOW, much, some))
    assert "csp_signal_account_type" in plan
    assert "Seq Scan on csplaybooks_signals_signal" not in plan


@pytest.mark.parametrize("accounts", [None, (1, 2, 3)])
def test_the_latest_reading_is_one_step_into_its_index(much, accounts):
    plan = plan_of(trigger(SEATS), Moment(NOW, much, accounts))
    assert "csp_reading_latest" in plan
    assert "Seq Scan on csplaybooks_signals_reading" not in plan


def test_corrections_are_looked_up_in_their_nearly_empty_index(much):
    for condition, index in ((GATES, "csp_signal_corrected_once"), (SEATS, "csp_reading_corrected_once")):
        assert index in plan_of(trigger(condition), Moment(NOW, much))


def test_the_answer_is_that_of_sql_written_by_hand(much):
    with connection.cursor() as cursor:
        cursor.execute(
            "select account_id from csplaybooks_signals_signal where type_id = %s"
            " and occurred_at > %s and occurred_at <= %s group by 1 having count(*) >= 3 order by 1",
            [much.signal_types["feature_gate_hit"], NOW - timedelta(days=60), NOW],
        )
        by_hand = [row[0] for row in cursor.fetchall()]
    # About every fifth account: a window of 60 days, so that chance never leaves nobody.
    assert by_hand
    assert [hit.account_id for hit in evaluate(trigger({**GATES, "window_days": 60}), NOW, much)] == by_hand
