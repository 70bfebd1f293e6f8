"""The data of the benchmark: made by the database itself, the same each time.

``python -m bench.seed ACCOUNTS SIGNALS`` fills an empty, migrated database: accounts with facts, team, entitlements,
four meters read ten times, and a year of signals before `MOMENT`. All of it was told to run 1.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

#: The moment that triggers are asked about: noon on a Monday.
MOMENT = datetime(2026, 11, 16, 12, 0, tzinfo=UTC)
TEAM = 200
READINGS_OF_A_METER = 10
METERS = ("seats", "api_calls", "storage", "health")
ITEMS_IN_A_BATCH = 5000

#: Out of a hundred signals, how many are of each type; the first ones are the ones triggers ask for.
MIX = (("feature_gate_hit", 10), ("user_added", 2), ("invite_refused", 1), ("feature_used", 27), ("login", 60))


def seed(accounts: int, signals: int) -> None:
    """Fill the database."""
    from django.db import connection

    from csplaybooks.accounts.models import Plan, Product
    from csplaybooks.playbooks.acts.setup import set_up
    from csplaybooks.playbooks.models import Run
    from csplaybooks.playbooks.pokes import pokes_silenced
    from csplaybooks.signals.models import Meter, SignalType, Source

    with pokes_silenced():
        set_up(now=MOMENT, schedules=False)
    run = Run.objects.create(kind=Run.Kind.FULL, moment=MOMENT, finished_at=MOMENT)
    assert run.pk == 1
    source = Source.objects.create(key="product", first_seen_at=MOMENT).pk
    base = Product.objects.create(key="suite", name="Suite", is_base=True, updated_at=MOMENT).pk
    plans = [
        Plan.objects.create(
            product_id=base,
            key=name.lower(),
            name=name,
            rank=rank,
            price_minor=price,
            seat_price_minor=900,
            updated_at=MOMENT,
        ).pk
        for rank, (name, price) in enumerate((("Team", 9_900), ("Business", 49_900), ("Enterprise", 249_900)), 1)
    ]
    types = dict(SignalType.objects.values_list("key", "pk"))
    meters = dict(Meter.objects.values_list("key", "pk"))
    values: dict[str, Any] = {
        "moment": MOMENT,
        "accounts": accounts,
        "signals": signals,
        "source": source,
        "base": base,
        "plans": plans,
        "team": TEAM,
        "types": [types[key] for key, share in MIX for _ in range(share)],
        "meters": [meters[key] for key in METERS],
        "per_meter": READINGS_OF_A_METER,
        "batch": ITEMS_IN_A_BATCH,
        "signal_batches": -(-signals // ITEMS_IN_A_BATCH),
    }
    with connection.cursor() as cursor:
        # The same numbers each time: no parallel workers, whose share of the rows is not.
        cursor.execute("SET max_parallel_workers_per_gather = 0; SET synchronous_commit = off; SELECT setseed(0.5)")
        for table, statement in STATEMENTS:
            began = time.monotonic()
            with without_indexes(cursor, f"csplaybooks_{table}"):
                cursor.execute(statement, values)
                rows = cursor.rowcount
            print(f"  {table}: {rows:,} rows in {time.monotonic() - began:.0f} s", flush=True)
        # What setting up has told, run 1 knows too.
        cursor.execute("UPDATE csplaybooks_accounts_change SET seen_by_run = 1")
        cursor.execute("RESET max_parallel_workers_per_gather")
        cursor.execute("VACUUM ANALYZE")


@contextmanager
def without_indexes(cursor: Any, table: str) -> Iterator[None]:
    """Take foreign keys and indexes off a table and put them on again afterwards: rows are added to none in between."""
    cursor.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass"
        " AND contype IN ('f', 'u')",
        [table],
    )
    constraints = cursor.fetchall()
    cursor.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
        " WHERE indrelid = %s::regclass AND NOT indisprimary"
        " AND indexrelid NOT IN (SELECT conindid FROM pg_constraint WHERE contype = 'u')",
        [table],
    )
    indexes = cursor.fetchall()
    for name, _ in constraints:
        cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    yield
    for _, definition in indexes:
        cursor.execute(definition)
    for name, definition in constraints:
        cursor.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')


#: Table (without the prefix) and the statement that fills it, in the order of foreign keys.
#: Some accounts are far busier than others: the cube of an even number between 0 and 1 picks them.
STATEMENTS = (
    (
        "accounts_teammember",
        """
        INSERT INTO csplaybooks_accounts_teammember
            (name, email, is_customer_success_manager, is_account_executive, is_manager, is_digital_desk,
             takes_pool_work, open_play_cap, is_active, version, updated_at)
        SELECT 'Person ' || n, '', n %% 4 <> 0, n %% 4 = 0, false, false, true, 1000000, true, 1, %(moment)s
        FROM generate_series(1, %(team)s) n
        """,
    ),
    (
        "accounts_change",
        "INSERT INTO csplaybooks_accounts_change (kind, seen_by_run, recorded_at)"
        " VALUES ('seeded', 1, %(moment)s::timestamptz - interval '2 years')",
    ),
    (
        "accounts_account",
        "INSERT INTO csplaybooks_accounts_account (name, created_at, updated_at, version)"
        " SELECT 'Account ' || n, %(moment)s::timestamptz - interval '2 years', %(moment)s, 1"
        " FROM generate_series(1, %(accounts)s) n",
    ),
    (
        "accounts_accountidentity",
        "INSERT INTO csplaybooks_accounts_accountidentity (account_id, source, external_id)"
        " SELECT id, 'product', 'account-' || id FROM csplaybooks_accounts_account",
    ),
    (
        "accounts_accountfacts",
        """
        INSERT INTO csplaybooks_accounts_accountfacts
            (account_id, lifecycle, segment, region, tags, customer_since, activated_on, renewal_on, head_count,
             valid_from, change_id)
        SELECT id, CASE WHEN id %% 20 = 0 THEN 'churned' ELSE 'paying' END,
               (ARRAY['small', 'small', 'small', 'mid_market', 'enterprise'])[1 + id %% 5], 'emea', '[]',
               (%(moment)s::timestamptz - interval '2 years')::date,
               (%(moment)s::timestamptz - interval '22 months')::date,
               (%(moment)s::timestamptz + interval '1 day' * (id %% 365))::date, 20 + id %% 500,
               %(moment)s::timestamptz - interval '2 years', (SELECT min(id) FROM csplaybooks_accounts_change)
        FROM csplaybooks_accounts_account
        """,
    ),
    (
        "accounts_accountteam",
        """
        INSERT INTO csplaybooks_accounts_accountteam (account_id, role, member_id, valid_from, change_id)
        SELECT a.id, 'csm', m.id, %(moment)s::timestamptz - interval '2 years',
               (SELECT min(id) FROM csplaybooks_accounts_change)
        FROM csplaybooks_accounts_account a
        JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS places
              FROM csplaybooks_accounts_teammember WHERE is_customer_success_manager) m ON m.place = a.id %% m.places
        WHERE a.id %% 5 <> 0
        """,
    ),
    (
        "accounts_entitlement",
        """
        INSERT INTO csplaybooks_accounts_entitlement
            (account_id, subscription, product_id, plan_id, quantity, mrr_minor, term_months, valid_from, change_id)
        SELECT id, 'subscription-' || id, %(base)s, (%(plans)s::bigint[])[1 + id %% 3], 20, 20000 + id %% 1000, 12,
               %(moment)s::timestamptz - interval '2 years', (SELECT min(id) FROM csplaybooks_accounts_change)
        FROM csplaybooks_accounts_account WHERE id %% 20 <> 0
        """,
    ),
    (
        "signals_intakebatch",
        """
        INSERT INTO csplaybooks_signals_intakebatch
            (kind, received, stored, duplicate, conflict, refused, seen_by_run, recorded_at)
        SELECT CASE WHEN n <= %(signal_batches)s THEN 'signals' ELSE 'readings' END,
               %(batch)s, %(batch)s, 0, 0, 0, 1, %(moment)s
        FROM generate_series(1, %(signal_batches)s + (%(accounts)s * 4 * %(per_meter)s - 1) / %(batch)s + 1) n
        """,
    ),
    (
        "signals_signal",
        """
        INSERT INTO csplaybooks_signals_signal
            (source_id, external_id, occurred_at, batch_id, body_hash, is_void, account_id, type_id, actor, value_milli,
             properties)
        SELECT %(source)s, 'event-' || n,
               %(moment)s::timestamptz - interval '365 days' * ((%(signals)s - n + random()) / %(signals)s),
               1 + (n - 1) / %(batch)s, sha256(n::text::bytea), false,
               1 + floor(power(random(), 3) * %(accounts)s)::bigint,
               (%(types)s::bigint[])[1 + floor(random() * 100)::int], 'user-' || n %% 50, 1000, '{}'
        FROM generate_series(1, %(signals)s) n
        """,
    ),
    (
        "signals_reading",
        """
        INSERT INTO csplaybooks_signals_reading
            (source_id, external_id, occurred_at, batch_id, body_hash, is_void, account_id, meter_id, used_milli,
             limit_milli)
        SELECT %(source)s, 'level-' || a.id || '-' || m.place || '-' || n,
               %(moment)s::timestamptz - interval '6 days' * (%(per_meter)s - n) - interval '1 hour' * (a.id %% 24),
               %(signal_batches)s + 1
                   + ((a.id - 1) * 4 * %(per_meter)s + (m.place - 1) * %(per_meter)s + n - 1) / %(batch)s,
               sha256((a.id || '-' || m.place || '-' || n)::bytea), false, a.id, m.meter,
               -- One account in fifty stands above 80 %%, one in ten is in poor health.
               CASE WHEN m.place = 4 THEN CASE WHEN a.id %% 10 = 7 THEN 30000 ELSE 90000 END
                    WHEN (a.id + m.place) %% 50 = 0 THEN (800 + 20 * n) * 20
                    ELSE (250 + (a.id * 37) %% 500 + 5 * n) * 20 END,
               CASE WHEN m.place = 4 THEN NULL ELSE 20000 END
        FROM csplaybooks_accounts_account a
        CROSS JOIN unnest(%(meters)s::bigint[]) WITH ORDINALITY AS m(meter, place)
        CROSS JOIN generate_series(1, %(per_meter)s) n
        ORDER BY n, a.id, m.place
        """,
    ),
)


if __name__ == "__main__":
    import django

    django.setup()
    seed(int(sys.argv[1]), int(sys.argv[2]))
