"""What is told of accounts, in few words, and what the runs that look at it find."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.models import Match, Run
from csplaybooks.playbooks.runs import matches_after, replay_run
from csplaybooks.signals.intake import take_in_readings, take_in_signals

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def account(name: str) -> Account:
    """An account that senders know by its name."""
    row: Account = AccountFactory(name=name, identity__external_id=name)
    return row


def gate_hits(name: str, *numbers: int, at: datetime = NOW, **more: Any) -> Any:
    """Take gate hits in, one for each number; their ids are made of name and number."""
    return take_in_signals(
        items=[
            {
                "source": "product",
                "external_id": f"{name}-{number}",
                "account": name,
                "type": "feature_gate_hit",
                "occurred_at": at.isoformat(),
                **more,
            }
            for number in numbers
        ],
        now=max(at, NOW),
    )


def seats(name: str, used: int, limit: int, *, at: datetime = NOW, meter: str = "seats") -> Any:
    """Take one reading in."""
    return take_in_readings(
        items=[
            {
                "source": "product",
                "external_id": f"{name}-{meter}-{at.isoformat()}-{used}",
                "account": name,
                "meter": meter,
                "used": used,
                "limit": limit,
                "occurred_at": at.isoformat(),
            }
        ],
        now=max(at, NOW),
    )


def assert_all_runs_replay() -> None:
    """Each run finds the same matches again, whatever was told since."""
    for run in Run.objects.order_by("pk"):
        assert replay_run(run) == matches_after(run), f"run {run.pk} ({run.kind})"


def open_matches(key: str = "gates_at_high_usage") -> list[str]:
    """The names of the accounts with an open episode of a trigger, sorted."""
    rows = Match.objects.episode_open().filter(trigger__key=key)
    return sorted(rows.values_list("account__name", flat=True))
