"""Edges of bursts: 10,000 signals in one second."""

from __future__ import annotations

from typing import Any

import pytest

from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.intake import take_in_signals
from csplaybooks.signals.models import Signal
from tests.playbooks.edges import (
    DAY,
    MOMENT,
    NOW,
    account,
    assert_all_runs_replay,
    matches,
    open_matches,
    publish,
    run,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def site() -> None:
    """The kinds of signal and meter, and an account."""
    load_starter_catalogue(now=NOW - 90 * DAY)
    account("acme")


def _burst(number: int, names: int) -> dict[str, Any]:
    return {
        "source": "product",
        "external_id": f"burst-{number}",
        "account": f"crowd-{number % names}",
        "type": "feature_gate_hit",
        "actor": f"user-{number % (3 * names)}",
        # All within one second, and each tenth of them at one instant.
        "occurred_at": (NOW - MOMENT * (number % 10) * 99_000).isoformat(),
    }


def test_ten_thousand_signals_in_one_second_are_all_counted_in_few_queries(django_assert_max_num_queries: Any) -> None:
    names, signals = 50, 10_000
    for number in range(names):
        account(f"crowd-{number}")
    each = signals // names
    condition = "measure: signal_count, signal_type: feature_gate_hit, window_days: 7"
    people = "measure: distinct_count, signal_type: feature_gate_hit, window_days: 7"
    publish(
        "burst",
        {
            "all": f"{{{condition}, at_least: {each}}}",
            "more": f"{{{condition}, above: {each}}}",
            "people": f"{{{people}, at_least: 3}}",
            "crowd": f"{{{people}, above: 3}}",
        },
    )
    run(NOW)
    items = [_burst(number, names) for number in range(signals)]
    # Each item twice, in another order: they are still ten thousand.
    with django_assert_max_num_queries(500):
        stored = [
            take_in_signals(items=items[start : start + 1000], now=NOW).stored for start in range(0, signals, 1000)
        ]
        repeated = take_in_signals(items=items[::-7], now=NOW)
        one = run(NOW, full=False)
    assert (sum(stored), repeated.stored, Signal.objects.count()) == (signals, 0, signals)
    assert one.accounts == names
    everybody = sorted(f"crowd-{number}" for number in range(names))
    assert open_matches("all") == open_matches("people") == everybody
    assert open_matches("more") == open_matches("crowd") == []
    assert_all_runs_replay()


def test_ten_thousand_signals_at_one_instant_at_one_account_are_one_match() -> None:
    publish("burst", {"all": "{measure: signal_count, signal_type: feature_gate_hit, window_days: 1, at_least: 10000}"})
    items = [{**_burst(number, 1), "account": "acme", "occurred_at": NOW.isoformat()} for number in range(10_000)]
    for start in range(0, 9_999, 1111):
        take_in_signals(items=items[start : start + 1111], now=NOW)
    run(NOW)
    assert open_matches("all") == []
    take_in_signals(items=items[9_999:], now=NOW)
    run(NOW, full=False)
    assert open_matches("all") == ["acme"]
    assert matches("all")[0].evidence[0]["found"]["count"] == 10_000
    run(NOW + DAY - MOMENT)
    assert open_matches("all") == ["acme"]
    run(NOW + DAY)
    assert open_matches("all") == []
    assert_all_runs_replay()
