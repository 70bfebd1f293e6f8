"""The data of the benchmark: made by the database itself, the same each time.

``python -m bench.seed ACCOUNTS SIGNALS`` fills an empty, migrated database: a catalogue, accounts with facts, team,
entitlements, champions and findings, five meters read eight times, and a year of signals before `MOMENT`. Every trigger
of the starter library finds some of the accounts, and misses most. Nearly all of it was told to run 1, a little, late
news and corrections among it, to run 2.
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
READINGS_OF_A_METER = 8
METERS = ("seats", "api_calls", "storage", "health", "active_users")
ITEMS_IN_A_BATCH = 5000

#: Out of a thousand signals, how many are of each type.
MIX = (
    *(("feature_gate_hit", 100), ("user_added", 40), ("invite_refused", 10), ("feature_used", 270)),
    *(("support_ticket", 20), ("funding_announced", 1), ("hiring_announced", 1), ("prompt_dismissed", 2)),
    *(("report_run", 56), ("login", 500)),
)

#: Plans of the base product, from the lowest, with their monthly price.
PLANS = (("Team", 9_900), ("Business", 49_900), ("Enterprise", 249_900))

#: Key of a feature, its least plan (None: of the product Analytics, which has none), its area.
FEATURES = (
    *((key, "team", "boards") for key in ("boards", "lists", "search", "comments")),
    *((key, "team", "files") for key in ("files", "previews", "versions", "links")),
    *((key, "business", "reporting") for key in ("reports", "exports", "dashboards", "forecasts")),
    *((key, "business", "automation") for key in ("rules", "templates", "webhooks", "bulk-edit")),
    *((key, "enterprise", "governance") for key in ("single-sign-on", "audit-log", "roles", "sandboxes", "residency")),
    *((key, None, "analytics") for key in ("funnels", "cohorts", "insights", "predictions")),
)


def seed(accounts: int, signals: int) -> None:
    """Fill the database."""
    from django.db import connection

    from bench.seed_accounts import ACCOUNTS
    from bench.seed_events import EVENTS, LATE
    from csplaybooks.playbooks.acts.setup import set_up
    from csplaybooks.playbooks.models import Run
    from csplaybooks.playbooks.pokes import pokes_silenced
    from csplaybooks.signals.models import Meter, SignalType, Source

    with pokes_silenced():
        set_up(now=MOMENT, schedules=False)
    for number in (1, 2):
        run = Run.objects.create(kind=Run.Kind.FULL, moment=MOMENT, finished_at=MOMENT)
        assert run.pk == number
    source = Source.objects.create(key="product", first_seen_at=MOMENT).pk
    types = dict(SignalType.objects.values_list("key", "pk"))
    meters = dict(Meter.objects.values_list("key", "pk"))
    values: dict[str, Any] = {
        **catalogue(),
        **{f"type_{key}": pk for key, pk in types.items()},
        "moment": MOMENT,
        "accounts": accounts,
        "signals": signals,
        "source": source,
        "team": TEAM,
        "types": [types[key] for key, share in MIX for _ in range(share)],
        "meters": [meters[key] for key in METERS],
        "meters_read": len(METERS),
        "per_meter": READINGS_OF_A_METER,
        "batch": ITEMS_IN_A_BATCH,
        "signal_batches": -(-signals // ITEMS_IN_A_BATCH),
    }
    with connection.cursor() as cursor:
        # The same numbers each time: no parallel workers, whose share of the rows is not.
        cursor.execute("SET max_parallel_workers_per_gather = 0; SET synchronous_commit = off; SELECT setseed(0.5)")
        for table, statement in (*ACCOUNTS, *EVENTS):
            began = time.monotonic()
            with without_indexes(cursor, f"csplaybooks_{table}"):
                cursor.execute(statement, values)
                rows = cursor.rowcount
            print(f"  {table}: {rows:,} rows in {time.monotonic() - began:.0f} s", flush=True)
        for statement in LATE:
            cursor.execute(statement, values)
        # What setting up has told, run 1 knows too.
        cursor.execute("UPDATE csplaybooks_accounts_change SET seen_by_run = 1 WHERE seen_by_run IS NULL")
        cursor.execute("RESET max_parallel_workers_per_gather")
        cursor.execute("VACUUM ANALYZE")


def catalogue() -> dict[str, Any]:
    """Make what is sold; answers ids and keys as the statements want them."""
    from csplaybooks.accounts.models import Feature, Plan, Product

    base = Product.objects.create(key="suite", name="Suite", is_base=True, updated_at=MOMENT)
    beside = Product.objects.create(key="analytics", name="Analytics", list_price_minor=19_900, updated_at=MOMENT)
    plans: dict[str | None, Plan] = {}
    above: Plan | None = None
    for rank, (name, price) in reversed(list(enumerate(PLANS, 1))):
        above = plans[name.lower()] = Plan.objects.create(
            product=base,
            key=name.lower(),
            name=name,
            rank=rank,
            price_minor=price,
            seat_price_minor=900,
            next_plan=above,
            updated_at=MOMENT,
        )
    Feature.objects.bulk_create(
        Feature(
            product=base if plan else beside,
            key=key,
            name=key.replace("-", " ").capitalize(),
            least_plan=plans.get(plan),
            area=area,
            updated_at=MOMENT,
        )
        for key, plan, area in FEATURES
    )
    opened = {plan: [key for key, least, _ in FEATURES if least == plan] for _, plan, _ in FEATURES}
    return {
        "base": base.pk,
        "analytics": beside.pk,
        "plans": [plans[name.lower()].pk for name, _ in PLANS],
        **{f"{plan or 'analytics'}_features": keys for plan, keys in opened.items()},
        "features": [key for key, _, _ in FEATURES],
    }


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


if __name__ == "__main__":
    import django

    django.setup()
    seed(int(sys.argv[1]), int(sys.argv[2]))
