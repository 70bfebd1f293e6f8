"""Triggers over all accounts and over some, against SQL written by hand that gives the same answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any

from django.db import connection

from bench.report import Entry, best_of
from bench.seed import MOMENT
from csplaybooks.playbooks.evaluator import Hit, TriggerVersion, evaluate
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Match, Run, Trigger
from csplaybooks.playbooks.rounds import run_next_part
from csplaybooks.playbooks.runs import run_triggers

#: What a person would write who knows the tables: effective at the moment, known at the mark, the values found.
GATES_BY_HAND = """
WITH untold AS MATERIALIZED (
    SELECT id FROM csplaybooks_signals_intakebatch WHERE seen_by_run IS NULL OR seen_by_run > %(mark)s
), knocked AS (
    SELECT s.account_id, count(*) AS hits, max(s.occurred_at) AS last_at
    FROM csplaybooks_signals_signal s
    WHERE s.type_id = %(type)s AND s.occurred_at > %(after)s AND s.occurred_at <= %(moment)s AND NOT s.is_void
      AND s.batch_id NOT IN (SELECT id FROM untold) {only}
      AND NOT EXISTS (SELECT 1 FROM csplaybooks_signals_signal c WHERE c.corrects_id = s.id
                      AND c.batch_id NOT IN (SELECT id FROM untold))
    GROUP BY s.account_id HAVING count(*) >= 3
)
SELECT k.account_id, k.hits, k.last_at,
       array_agg(l.used_milli ORDER BY m.place), array_agg(l.limit_milli ORDER BY m.place)
FROM knocked k
CROSS JOIN unnest(%(meters)s::bigint[], %(oldest)s::timestamptz[]) WITH ORDINALITY AS m(id, oldest, place)
LEFT JOIN LATERAL (
    SELECT r.used_milli, r.limit_milli FROM csplaybooks_signals_reading r
    WHERE r.account_id = k.account_id AND r.meter_id = m.id AND r.occurred_at > m.oldest
      AND r.occurred_at <= %(moment)s AND NOT r.is_void AND r.batch_id NOT IN (SELECT id FROM untold)
      AND NOT EXISTS (SELECT 1 FROM csplaybooks_signals_reading c WHERE c.corrects_id = r.id
                      AND c.batch_id NOT IN (SELECT id FROM untold))
    ORDER BY r.occurred_at DESC, r.id DESC LIMIT 1
) l ON true
GROUP BY k.account_id, k.hits, k.last_at
HAVING bool_or(l.limit_milli > 0 AND l.used_milli * 100 > l.limit_milli * 70)
ORDER BY k.account_id
"""

SEATS_BY_HAND = """
WITH untold AS MATERIALIZED (
    SELECT id FROM csplaybooks_signals_intakebatch WHERE seen_by_run IS NULL OR seen_by_run > %(mark)s
)
SELECT a.id, l.used_milli, l.limit_milli
FROM csplaybooks_accounts_account a
CROSS JOIN LATERAL (
    SELECT r.used_milli, r.limit_milli FROM csplaybooks_signals_reading r
    WHERE r.account_id = a.id AND r.meter_id = %(type)s AND r.occurred_at > %(after)s
      AND r.occurred_at <= %(moment)s AND NOT r.is_void AND r.batch_id NOT IN (SELECT id FROM untold)
      AND NOT EXISTS (SELECT 1 FROM csplaybooks_signals_reading c WHERE c.corrects_id = r.id
                      AND c.batch_id NOT IN (SELECT id FROM untold))
    ORDER BY r.occurred_at DESC, r.id DESC LIMIT 1
) l
WHERE l.limit_milli > 0 AND l.used_milli * 100 > l.limit_milli * 80 {only}
ORDER BY a.id
"""


def _trigger(key: str) -> TriggerVersion:
    row = Trigger.objects.select_related("playbook__published").get(key=key)
    version = row.playbook.published
    return next(trigger for trigger in TriggerVersion.of(version, {row.key: row.pk}) if trigger.trigger_id == row.pk)


def _by_hand(statement: str, only: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement.format(only=only if values["accounts"] is not None else ""), values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def measure_triggers(accounts: int) -> list[Entry]:
    """One trigger on signals and one on readings, over all accounts and over 100 that changed."""
    known = Known.now(mark=Run.objects.latest("pk").pk)
    some = list(range(1, accounts, max(1, accounts // 100)))[:100]
    cases = (
        (
            *("gates_at_high_usage", "3 gate hits in 7 days, usage above 70 %", GATES_BY_HAND),
            *("AND s.account_id = ANY(%(accounts)s)", known.signal_types["feature_gate_hit"], timedelta(days=7)),
        ),
        (
            *("seats_above_80", "Seat use above 80 %", SEATS_BY_HAND),
            *("AND a.id = ANY(%(accounts)s)", known.meters["seats"], timedelta(days=known.max_age_days["seats"])),
        ),
    )
    entries = []
    for key, words, statement, only, kind, window in cases:
        trigger = _trigger(key)
        meters = ["seats", "api_calls", "storage"]
        for scope in (None, some):
            values = {
                "mark": known.mark,
                "type": kind,
                "after": MOMENT - window,
                "moment": MOMENT,
                "meters": [known.meters[meter] for meter in meters],
                "oldest": [MOMENT - timedelta(days=known.max_age_days[meter]) for meter in meters],
                "accounts": scope,
            }
            took, hits = best_of(5, lambda scope=scope, trigger=trigger: evaluate(trigger, MOMENT, known, scope))
            by_hand, rows = best_of(5, lambda v=values, s=statement, o=only: _by_hand(s, o, v))
            _assert_same([_as_row(hit) for hit in hits], [_flat(row) for row in rows])
            entries.append(
                Entry(
                    section="Triggers",
                    what=f"{words}: {'all accounts' if scope is None else f'{len(scope)} changed accounts'}",
                    note=f"{len(rows):,} match",
                    took=took,
                    unit="s",
                    against_what="SQL written by hand",
                    against=by_hand,
                )
            )
    return entries


def _as_row(hit: Hit) -> tuple[Any, ...]:
    """The account and what was found, in the order of the statements by hand."""
    row: list[Any] = [hit.account_id]
    for condition in hit.evidence:
        found = condition["found"]
        if condition["measure"] == "signal_count":
            row += [found["count"], datetime.fromisoformat(found["last_at"])]
            continue
        for column in ("used", "limit"):
            row += [found[f"{column}{place}"] for place in range(len(condition["settings"]["meters"]))]
    return tuple(row)


def _flat(row: Sequence[Any]) -> tuple[Any, ...]:
    """A row by hand with its arrays, one value for each meter, spread out."""
    return tuple(value for cell in row for value in (cell if isinstance(cell, list) else [cell]))


def _assert_same(ours: Sequence[tuple[Any, ...]], theirs: Sequence[tuple[Any, ...]]) -> None:
    """Accounts and found values must be equal."""
    if ours == theirs:
        return
    if len(ours) != len(theirs):
        raise SystemExit(f"The answers differ: {len(ours)} accounts against {len(theirs)} by hand.")
    first = next(both for both in zip(ours, theirs, strict=True) if both[0] != both[1])
    raise SystemExit(f"The answers differ, first in {first[0]} against {first[1]} by hand.")


def measure_round(accounts: int) -> list[Entry]:
    """All triggers of the starter library over all accounts: a round in parts, episodes and guards included."""
    began = perf_counter()
    run_triggers(now=MOMENT, full=True)
    parts = []
    while True:
        part_began = perf_counter()
        if run_next_part(now=MOMENT) is None:
            break
        parts.append(perf_counter() - part_began)
    first = perf_counter() - began
    opened = Match.objects.count()
    began = perf_counter()
    run_triggers(now=MOMENT + timedelta(minutes=60), full=True)
    while run_next_part(now=MOMENT + timedelta(minutes=60)):
        pass
    again = perf_counter() - began
    section = "All triggers of the starter library over all accounts"
    # Where one run is enough, there are no parts.
    longest = [Entry(section, "The longest of its parts", max(parts), "s", note=f"of {len(parts)}")] if parts else []
    return [
        Entry(section, "The first round", first, "s", note=f"opens {opened:,} episodes"),
        *longest,
        Entry(section, "The round an hour later", again, "s"),
    ]
