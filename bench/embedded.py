"""Two triggers on SQLite, on a smaller site: against SQL written by hand for it. In a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    import django

    django.setup()

from bench.report import Entry, side_by_side
from bench.seed import ITEMS_IN_A_BATCH, METERS, MOMENT, READINGS_OF_A_METER

ROOT = Path(__file__).resolve().parent.parent
SECTION = "Triggers on SQLite"

#: SQLite has no seed for its random numbers: these come of a number's product with a large prime, and are the same each
#: time. `{prime}` is another one for each use; the answer is even in [0, 1).
_EVEN = "((n * {prime} %% 4294967296) / 4294967296.0)"
_WHOSE, _WHICH = _EVEN.format(prime=2654435761), _EVEN.format(prime=3674653429)

STATEMENTS = (
    """
    INSERT INTO csplaybooks_accounts_account (name, created_at, updated_at, version)
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < %(accounts)s)
    SELECT 'Account ' || n, %(moment)s, %(moment)s, 1 FROM number
    """,
    """
    INSERT INTO csplaybooks_signals_intakebatch
        (kind, received, stored, duplicate, conflict, refused, seen_by_run, recorded_at)
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < %(batches)s)
    SELECT 'signals', %(batch)s, %(batch)s, 0, 0, 0, 1, %(moment)s FROM number
    """,
    f"""
    INSERT INTO csplaybooks_signals_signal
        (source_id, external_id, occurred_at, batch_id, body_hash, is_void, account_id, type_id, actor, value_milli,
         properties)
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < %(signals)s)
    SELECT %(source)s, 'event-' || n,
           strftime('%%Y-%%m-%%d %%H:%%M:%%f', %(moment)s, '-' || (31536000.0 * (%(signals)s - n) / %(signals)s)
               || ' seconds'),
           1 + (n - 1) / %(batch)s, zeroblob(32), 0,
           -- Some are far busier than others.
           1 + CAST({_WHOSE} * {_WHOSE} * %(accounts)s AS INTEGER),
           CASE WHEN {_WHICH} < 0.3 THEN %(gate_hit)s ELSE %(login)s END, 'user-' || n %% 50, 1000,
           '{{}}'
    FROM number
    """,
    """
    INSERT INTO csplaybooks_signals_reading
        (source_id, external_id, occurred_at, batch_id, body_hash, is_void, account_id, meter_id, used_milli,
         limit_milli)
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < %(per_meter)s)
    SELECT %(source)s, 'level-' || a.id || '-' || m.id || '-' || n,
           strftime('%%Y-%%m-%%d %%H:%%M:%%f', %(moment)s, '-' || (14 * (%(per_meter)s - n)) || ' days'),
           1 + a.id * m.id %% %(batches)s, zeroblob(32), 0, a.id, m.id,
           CASE WHEN (a.id + m.id) %% 20 = 2 THEN (780 + 20 * n) * 20 ELSE (250 + a.id * 37 %% 400 + n) * 20 END, 20000
    FROM csplaybooks_accounts_account a CROSS JOIN csplaybooks_signals_meter m CROSS JOIN number
    WHERE m.key IN ('seats', 'api_calls', 'storage', 'health', 'active_users')
    """,
    "ANALYZE",
)

_TOLD = """NOT {row}.is_void
    AND {row}.batch_id NOT IN (SELECT id FROM csplaybooks_signals_intakebatch
                               WHERE seen_by_run IS NULL OR seen_by_run > %(mark)s)
    AND NOT EXISTS (SELECT 1 FROM csplaybooks_signals_{table} c WHERE c.corrects_id = {row}.id
                    AND c.batch_id NOT IN (SELECT id FROM csplaybooks_signals_intakebatch
                                           WHERE seen_by_run IS NULL OR seen_by_run > %(mark)s))"""


def _latest(meter: str) -> str:
    """The id of the reading of a meter that counts: SQLite has no LATERAL."""
    return f"""(
        SELECT r.id FROM csplaybooks_signals_reading r
        WHERE r.account_id = a.id AND r.meter_id = %({meter})s AND r.occurred_at > %(oldest)s
          AND r.occurred_at <= %(moment)s AND {_TOLD.format(row="r", table="reading")}
        ORDER BY r.occurred_at DESC, r.id DESC LIMIT 1)"""


_ABOVE = "{row}.limit_milli > 0 AND {row}.used_milli * 100 > {row}.limit_milli * {percent}"

BY_HAND = {
    "gates_at_high_usage": f"""
        WITH a AS MATERIALIZED (
            SELECT s.account_id AS id, count(*) AS hits, max(s.occurred_at) AS last_at
            FROM csplaybooks_signals_signal s
            WHERE s.type_id = %(gate_hit)s AND s.occurred_at > %(week_ago)s AND s.occurred_at <= %(moment)s
              AND {_TOLD.format(row="s", table="signal")}
            GROUP BY s.account_id HAVING count(*) >= 3)
        SELECT a.id, a.hits, a.last_at, x.used_milli, x.limit_milli, y.used_milli, y.limit_milli, z.used_milli,
               z.limit_milli
        FROM a
        LEFT JOIN csplaybooks_signals_reading x ON x.id = {_latest("seats")}
        LEFT JOIN csplaybooks_signals_reading y ON y.id = {_latest("api_calls")}
        LEFT JOIN csplaybooks_signals_reading z ON z.id = {_latest("storage")}
        WHERE {" OR ".join(_ABOVE.format(row=row, percent=70) for row in "xyz")}
        ORDER BY a.id""",
    "seats_above_80": f"""
        SELECT a.id, x.used_milli, x.limit_milli
        FROM csplaybooks_accounts_account a JOIN csplaybooks_signals_reading x ON x.id = {_latest("seats")}
        WHERE {_ABOVE.format(row="x", percent=80)}
        ORDER BY a.id""",
}


def measure_embedded(accounts: int, signals: int) -> list[Entry]:
    """Seed a small site on SQLite, and ask."""
    folder = Path(tempfile.mkdtemp(prefix="csplaybooks-bench-"))
    try:
        environment = {
            **os.environ,
            "DATABASE_URL": f"sqlite:///{folder / 'bench.sqlite3'}",
            "DJANGO_SETTINGS_MODULE": "bench.settings",
        }
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--verbosity", "0"], check=True, cwd=ROOT, env=environment
        )
        answer = subprocess.run(
            [sys.executable, "-m", "bench.embedded", str(accounts), str(signals)],
            check=True,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
        )
    finally:
        shutil.rmtree(folder)
    section = f"{SECTION}: {accounts:,} accounts, {signals:,} signals"
    return [
        Entry(section, name, took, "s", "SQL written by hand", against, note=f"{found:,} match")
        for name, took, against, found in json.loads(answer.stdout.splitlines()[-1])
    ]


def _measure(accounts: int, signals: int) -> list[tuple[str, float, float, int]]:
    from bench.triggers import as_row
    from csplaybooks.playbooks.acts.setup import set_up
    from csplaybooks.playbooks.evaluator import evaluate, running_versions
    from csplaybooks.playbooks.measures import Known
    from csplaybooks.playbooks.models import Run
    from csplaybooks.playbooks.pokes import pokes_silenced
    from csplaybooks.signals.models import Source

    with pokes_silenced():
        set_up(now=MOMENT, schedules=False)
    mark = Run.objects.create(kind=Run.Kind.FULL, moment=MOMENT, finished_at=MOMENT).pk
    source = Source.objects.create(key="product", first_seen_at=MOMENT).pk
    known = Known.now(mark=mark)
    readings = accounts * len(METERS) * READINGS_OF_A_METER
    values: dict[str, Any] = {
        **known.meters,
        **{"accounts": accounts, "signals": signals, "source": source, "mark": mark},
        **{"batch": ITEMS_IN_A_BATCH, "batches": -(-signals // ITEMS_IN_A_BATCH) + readings // ITEMS_IN_A_BATCH + 1},
        **{"gate_hit": known.signal_types["feature_gate_hit"], "login": known.signal_types["login"]},
        **{"per_meter": READINGS_OF_A_METER, "moment": _text(MOMENT), "week_ago": _text(MOMENT - timedelta(days=7))},
        "oldest": _text(MOMENT - timedelta(days=known.max_age_days["seats"])),
    }
    for statement in STATEMENTS:
        _ask(statement, values)
    triggers = {trigger.definition["key"]: trigger for _, triggers in running_versions() for trigger in triggers}
    measured = []
    for key, statement in BY_HAND.items():
        trigger = triggers[key]
        took, against, hits = side_by_side(
            lambda trigger=trigger: evaluate(trigger, MOMENT, known),
            lambda statement=statement: _ask(statement, values),
        )
        ours = [_to_the_second(as_row(hit)) for hit in hits]
        theirs = [_to_the_second(row) for row in _ask(statement, values)]
        if ours != theirs:
            raise SystemExit(f"{key} on SQLite: the answers differ: {ours[:2]} against {theirs[:2]} by hand.")
        measured.append((trigger.definition["name"], took, against, len(hits)))
    return measured


def _to_the_second(row: tuple[Any, ...]) -> tuple[Any, ...]:
    # Moments are text here, in the one with a zone and in the other without, which is UTC.
    return tuple(cell[:19].replace(" ", "T") if isinstance(cell, str) else cell for cell in row)


def _text(moment: Any) -> str:
    """A moment as Django writes it on SQLite."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _ask(statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]), int(sys.argv[2]))))
