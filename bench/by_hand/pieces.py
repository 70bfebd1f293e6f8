"""What the statements written by hand share: what was told by the mark, what counts, what held at the moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: What the run at the mark had not been told of. Nearly empty on a live run.
UNTOLD = """untold AS MATERIALIZED (
    SELECT id FROM csplaybooks_signals_intakebatch WHERE seen_by_run IS NULL OR seen_by_run > %(mark)s
), unheard AS MATERIALIZED (
    SELECT id FROM csplaybooks_accounts_change WHERE seen_by_run IS NULL OR seen_by_run > %(mark)s
)"""


@dataclass(frozen=True)
class ByHand:
    """One trigger in SQL written by hand: named steps, one of them for each condition.

    `groups` names the step of each condition: who meets it and all those before it, as `account_id` and the values
    that they found, in the order of the evidence. `audience` names the step of whom it is for; empty is everybody.
    """

    steps: Mapping[str, str]
    groups: tuple[tuple[str, ...], ...]
    audience: str = ""

    def query(self, answer: str) -> str:
        """A whole statement: the steps, then what is asked of them."""
        steps = [f"{name} AS ({text})" for name, text in self.steps.items()]
        return f"WITH {', '.join([UNTOLD, *steps])}\n{answer}"

    def matches(self) -> list[str]:
        """A statement for each group: who meets it, by account, with what was found."""
        return [self.query(f"SELECT * FROM {group[-1]} ORDER BY account_id") for group in self.groups]


def told(row: str) -> str:
    """Whether a signal counts: told of, not void, not corrected by something told of. For many signals at once."""
    return (
        f"NOT {row}.is_void AND {row}.batch_id NOT IN (SELECT id FROM untold) AND NOT EXISTS ("
        f"SELECT 1 FROM csplaybooks_signals_signal c WHERE c.corrects_id = {row}.id"
        " AND c.batch_id NOT IN (SELECT id FROM untold))"
    )


def told_of_one(row: str, table: str) -> str:
    """The same of the few signals or readings of one account: each correction is looked up by itself."""
    return (
        f"NOT {row}.is_void AND {row}.batch_id NOT IN (SELECT id FROM untold) AND ("
        f"SELECT c.id FROM csplaybooks_signals_{table} c WHERE c.corrects_id = {row}.id"
        " AND c.batch_id NOT IN (SELECT id FROM untold)) IS NULL"
    )


def signals(signal_type: str, days: int, columns: str = "s.account_id") -> str:
    """The signals of a type, in the last so many days, that count."""
    return f"""
        SELECT {columns} FROM csplaybooks_signals_signal s
        WHERE s.type_id = %(type_{signal_type})s AND s.occurred_at > %(moment)s::timestamptz - interval '{days} days'
          AND s.occurred_at <= %(moment)s AND {told("s")}"""


def latest(meter: str, account: str, ago: str = "0 days") -> str:
    """The reading of a meter that counted some time ago: a subquery, to be joined LATERAL."""
    then = f"%(moment)s::timestamptz - interval '{ago}'"
    return f"""(
        SELECT r.used_milli, r.limit_milli FROM csplaybooks_signals_reading r
        WHERE r.account_id = {account} AND r.meter_id = %(meter_{meter})s
          AND r.occurred_at > {then} - %(age_{meter})s::interval AND r.occurred_at <= {then}
          AND {told_of_one("r", "reading")}
        ORDER BY r.occurred_at DESC, r.id DESC LIMIT 1)"""


def holding(row: str) -> str:
    """Whether a row of dated truth held at the moment, as was known."""
    return (
        f"{row}.valid_from <= %(moment)s AND ({row}.valid_to IS NULL OR {row}.valid_to > %(moment)s)"
        f" AND {row}.change_id NOT IN (SELECT id FROM unheard)"
        f" AND ({row}.superseded_by_id IS NULL OR {row}.superseded_by_id IN (SELECT id FROM unheard))"
    )


def audience(condition: str) -> str:
    """The accounts whose facts meet a condition."""
    return f"SELECT f.account_id FROM csplaybooks_accounts_accountfacts f WHERE {condition} AND {holding('f')}"
