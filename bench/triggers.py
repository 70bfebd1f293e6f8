"""Each trigger of the starter library over all accounts, against SQL written by hand that gives the same answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import chain
from time import perf_counter
from typing import Any

from django.db import connection

from bench.by_hand import BY_HAND
from bench.by_hand.pieces import ByHand
from bench.by_hand.verdicts import verdict_counts
from bench.report import Entry, side_by_side
from bench.seed import MOMENT
from csplaybooks.conf import company_time_zone
from csplaybooks.playbooks.evaluator import Hit, TriggerVersion, evaluate, running_versions
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Run
from csplaybooks.playbooks.verdicts import Asked, count_verdicts

RIVAL = "SQL written by hand"
#: What PostgreSQL calls the type `jsonb`.
JSONB = 3802
#: So many accounts are asked about one by one; all of them would take hours.
ASKED_ALONE = 100


def library() -> list[TriggerVersion]:
    """All triggers of the starter library, as they run. Each has its statement by hand, or the benchmark ends here."""
    triggers = [trigger for _, triggers in running_versions() for trigger in triggers]
    missing = {trigger.definition["key"] for trigger in triggers} ^ BY_HAND.keys()
    if missing:
        raise SystemExit(f"Triggers without a statement by hand, or the other way round: {', '.join(sorted(missing))}.")
    return triggers


def measure_triggers(accounts: int) -> list[Entry]:
    """All triggers with matches only, then with verdict counts; then some accounts, and one after the other."""
    newest = Run.objects.latest("pk").pk
    known = Known.now(mark=newest)
    asked = Asked(MOMENT, known, newest=newest)
    triggers = library()
    # What run 1 knew is not what the newest one knows: late news and corrections. It is compared, and not measured.
    for trigger in triggers:
        assert_same_answers(trigger, Asked(MOMENT, Known.now(mark=1), newest=1))
    matches, verdicts = [], []
    for trigger in triggers:
        print(f"  {trigger.definition['key']}", flush=True)
        by_hand, values = BY_HAND[trigger.definition["key"]], values_of(trigger, asked)
        took, against, found = side_by_side(
            lambda trigger=trigger: evaluate(trigger, MOMENT, known),
            lambda by_hand=by_hand, values=values: rows_by_hand(by_hand, values),
        )
        name, note = trigger.definition["name"], f"{len(found):,} match"
        matches.append(Entry("Triggers over all accounts: who matches", name, took, "s", RIVAL, against, note=note))
        statement = verdict_counts(by_hand)
        took, against, _ = side_by_side(
            lambda trigger=trigger: count_verdicts(trigger, asked, None),
            lambda statement=statement, values=values: _rows(statement, values),
        )
        verdicts.append(
            Entry("Triggers over all accounts: who matches, and the verdicts counted", name, took, "s", RIVAL, against)
        )
        assert_same_answers(trigger, asked)
    for entries in (matches, verdicts):
        against = sum(entry.against or 0 for entry in entries)
        entries.append(Entry(entries[0].section, "**all of them**", sum(e.took for e in entries), "s", RIVAL, against))
    return [*matches, *verdicts, *_one_after_the_other(accounts, triggers, known, matches[-1].took)]


def _one_after_the_other(
    accounts: int, triggers: Sequence[TriggerVersion], known: Known, all_at_once: float
) -> Iterator[Entry]:
    """What it would take to ask of each account alone, as a loop over accounts does."""
    sample = range(1, accounts + 1, max(1, accounts // ASKED_ALONE))

    def ask() -> float:
        began = perf_counter()
        for account in sample:
            for trigger in triggers:
                evaluate(trigger, MOMENT, known, [account])
        return perf_counter() - began

    ask()
    yield Entry(
        section="All triggers of the starter library, account by account",
        what="a loop over all accounts",
        note=f"reckoned from a loop over {len(sample)}",
        took=ask() * accounts / len(sample),
        unit="s",
        against_what="the same triggers over all accounts at once",
        against=all_at_once,
    )


def values_of(trigger: TriggerVersion, asked: Asked) -> dict[str, Any]:
    """What the statements by hand name: ids, ages, the day, and what the playbook says of its guards."""
    today = asked.moment.astimezone(company_time_zone()).date()
    guards = trigger.guards
    return {
        **{f"type_{key}": pk for key, pk in asked.known.signal_types.items()},
        **{f"meter_{key}": pk for key, pk in asked.known.meters.items()},
        **{f"age_{key}": f"{days} days" for key, days in asked.known.max_age_days.items()},
        "moment": asked.moment,
        "mark": asked.known.mark,
        "newest": asked.newest,
        "today": today,
        "month": today.month,
        "trigger": trigger.trigger_id,
        "motion": trigger.motion,
        "cooldown_days": trigger.definition["cooldown_days"],
        "allowed": guards["not_paying"]["allow"],
        "onboarding_days": guards["onboarding"]["days"],
        "judges_health": guards["unhealthy"] != "off",
    }


def assert_same_answers(trigger: TriggerVersion, asked: Asked) -> None:
    """End the benchmark where accounts, found values or counts differ from those by hand."""
    key = trigger.definition["key"]
    by_hand, values = BY_HAND[key], values_of(trigger, asked)
    ours = [as_row(hit) for hit in evaluate(trigger, asked.moment, asked.known)]
    # Of several groups the first that holds is told.
    first = {row[0]: row for row in reversed(rows_by_hand(by_hand, values))}
    theirs = [tuple(_plain(value) for value in first[account]) for account in sorted(first)]
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            raise SystemExit(f"{key}: the answers differ, first in {one} against {other} by hand.")
    if len(ours) != len(theirs):
        raise SystemExit(f"{key}: the answers differ: {len(ours)} accounts against {len(theirs)} by hand.")
    counts = {count.key: count.accounts for count in count_verdicts(trigger, asked, None) if count.accounts}
    counts_by_hand = {verdict: number for verdict, number in _rows(verdict_counts(by_hand), values) if number}
    if counts != counts_by_hand:
        raise SystemExit(f"{key}: the verdicts differ: {counts} against {counts_by_hand} by hand.")


def rows_by_hand(by_hand: ByHand, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Who matches by hand, group after group: account, and what was found."""
    return list(chain.from_iterable(_rows(statement, values) for statement in by_hand.matches()))


def _rows(statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        # Django leaves JSON to its fields, which have no part in this.
        is_json = [column.type_code == JSONB for column in cursor.description]
        if not any(is_json):
            return rows
        return [
            tuple(json.loads(cell) if parse else cell for cell, parse in zip(row, is_json, strict=True)) for row in rows
        ]


def as_row(hit: Hit) -> tuple[Any, ...]:
    """The account and what was found, in the order of the statements by hand."""
    return (hit.account_id, *(_plain(value) for each in hit.evidence for value in each["found"].values()))


def _plain(value: Any) -> Any:
    """A value such that equal ones are equal: days and moments as text, lists in order."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return sorted(value) if isinstance(value, list) else value
