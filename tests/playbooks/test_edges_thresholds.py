"""Edges of numbers: exactly at a threshold, and limits of zero, of nothing, and lowered below use."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import pytest

from csplaybooks.playbooks.models import Match
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.intake import take_in_readings
from tests.playbooks.edges import (
    DAY,
    HOUR,
    NOW,
    account,
    assert_all_runs_replay,
    knocks,
    levels,
    matches,
    open_matches,
    publish,
    run,
)

pytestmark = pytest.mark.django_db

AT_80 = "{measure: share_of_limit, meters: [seats], at_least: 80}"
ABOVE_80 = "{measure: share_of_limit, meters: [seats], above: 80}"
AT_100 = "{measure: share_of_limit, meters: [seats], at_least: 100}"
OVER_5 = "{measure: amount_over_limit, meters: [seats], at_least: 5}"
ABOVE_5 = "{measure: amount_over_limit, meters: [seats], above: 5}"


@pytest.fixture(autouse=True)
def starter_catalogue() -> None:
    """The kinds of signal and meter that these playbooks speak of."""
    load_starter_catalogue(now=NOW - 90 * DAY)


# Exactly at the threshold


def test_counts_exactly_at_the_threshold_of_at_least_and_of_above() -> None:
    for name in ("one", "two", "three", "four"):
        account(name)
    for name, count in (("one", 1), ("two", 2), ("three", 3), ("four", 4)):
        knocks(name, *range(count))
    condition = "measure: signal_count, signal_type: feature_gate_hit, window_days: 7"
    publish("knocker", {"at_least": f"{{{condition}, at_least: 3}}", "above": f"{{{condition}, above: 3}}"})
    run(NOW)
    assert open_matches("at_least") == ["four", "three"]
    assert open_matches("above") == ["four"]


def _thousandths(value: Fraction) -> float:
    assert value * 1000 == int(value * 1000)
    return float(value)


def _around(limit: Fraction, percent: int) -> Iterable[Fraction]:
    """The reading nearest to a share of a limit, in thousandths, and those beside it; the whole numbers too."""
    exactly = limit * percent / 100
    nearest = Fraction(round(exactly * 1000), 1000)
    yield from (nearest - Fraction(1, 1000), nearest, nearest + Fraction(1, 1000))
    yield from (Fraction(exactly.__floor__()), Fraction(exactly.__ceil__()))


@pytest.mark.parametrize("percent", [80, 70, 33, 100])
def test_shares_of_odd_limits_are_exact_on_both_sides_of_the_threshold(percent: int) -> None:
    """Of 7 seats 80 % are 5.6: what a float or a decimal of the database makes of it is not asked."""
    limits = [Fraction(n) for n in (1, 3, 7, 11, 13, 19, 33, 35, 99, 101, 333, 997, 1_000_003)]
    limits += [Fraction(1, 1000), Fraction(333_333, 1000), Fraction(9 * 10**9 + 7)]
    readings = {f"{limit}/{used}": (used, limit) for limit in limits for used in _around(limit, percent) if used >= 0}
    items = []
    for name, (used, limit) in readings.items():
        account(name)
        items.append(
            {
                **{"source": "product", "external_id": name, "account": name, "meter": "seats"},
                **{"used": _thousandths(used), "limit": _thousandths(limit), "occurred_at": NOW.isoformat()},
            }
        )
    assert take_in_readings(items=items, now=NOW).stored == len(items)
    share = "measure: share_of_limit, meters: [seats]"
    publish("seats", {"from": f"{{{share}, at_least: {percent}}}", "over": f"{{{share}, above: {percent}}}"})
    run(NOW)
    shares = {name: used / limit * 100 for name, (used, limit) in readings.items()}
    at_least = sorted(name for name, share_found in shares.items() if share_found >= percent)
    above = sorted(name for name, share_found in shares.items() if share_found > percent)
    assert open_matches("from") == at_least
    assert open_matches("over") == above
    # Some lie exactly there, and only these are told apart.
    assert len(at_least) > len(above) > 0
    assert len(at_least) < len(readings)


def test_amounts_over_a_limit_exactly_at_the_threshold() -> None:
    for name, used in (("below", 24.999), ("at", 25), ("over", 25.001)):
        account(name)
        levels(name, used, 20)
    publish("licence", {"at_least": OVER_5, "above": ABOVE_5})
    run(NOW)
    assert open_matches("at_least") == ["at", "over"]
    assert open_matches("above") == ["over"]


# Limits


@pytest.mark.parametrize("limit", [0, None])
def test_a_limit_of_zero_and_none_at_all_are_never_near_and_never_over(limit: int | None) -> None:
    publish("seats", {"at_80": AT_80, "above_80": ABOVE_80, "over": OVER_5})
    for name, used in (("much", 10**9), ("nothing", 0), ("less", -1)):
        account(name)
        levels(name, used, limit)
    run(NOW)
    assert not Match.objects.exists()


@pytest.mark.parametrize("limit", [0, None])
def test_a_limit_that_is_taken_away_ends_the_episode(limit: int | None) -> None:
    publish("seats", {"at_80": AT_80})
    account("acme")
    levels("acme", 19, 20)
    run(NOW)
    levels("acme", 19, limit, at=NOW + HOUR)
    run(NOW + HOUR, full=False)
    assert [(match.state, match.closed_at) for match in matches("at_80")] == [("ended", NOW + HOUR)]
    levels("acme", 19, 20, at=NOW + 2 * HOUR)
    run(NOW + 2 * HOUR, full=False)
    assert open_matches("at_80") == ["acme"]
    assert_all_runs_replay()


def test_a_limit_lowered_below_use_is_over_it_though_nobody_uses_more() -> None:
    publish("seats", {"at_80": AT_80, "at_100": AT_100, "over": OVER_5})
    account("acme")
    levels("acme", 15, 20)
    run(NOW)
    assert not Match.objects.exists()
    levels("acme", 15, 10, at=NOW + HOUR)
    run(NOW + HOUR, full=False)
    for key in ("at_80", "at_100", "over"):
        assert open_matches(key) == ["acme"]
    found = matches("at_100")[0].evidence[0]["found"]
    assert (found["used0"], found["limit0"]) == (15_000, 10_000)
    assert_all_runs_replay()


def test_a_limit_below_zero_is_refused() -> None:
    account("acme")
    assert [result.code for result in levels("acme", 1, -1).results] == ["negative"]
