"""Edges of time: a window's two ends, what is told late or twice, and what is dated ahead; through intake and runs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from csplaybooks.accounts.acts.champions import add_champion, change_champion
from csplaybooks.accounts.acts.companies import set_facts
from csplaybooks.accounts.acts.holdings import NewEntitlement, end_entitlements, set_entitlements
from csplaybooks.accounts.acts.reviews import NewFinding, log_qbr
from csplaybooks.accounts.factories import ProductFactory
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.intake import take_in_signals
from csplaybooks.signals.models import Signal
from tests.playbooks.edges import (
    DAY,
    HOUR,
    MOMENT,
    NOW,
    account,
    as_of,
    assert_all_runs_replay,
    found_by,
    knocks,
    levels,
    matches,
    open_matches,
    publish,
    run,
)

pytestmark = pytest.mark.django_db

WEEK = 7 * DAY
THREE = {"three": "{measure: signal_count, signal_type: feature_gate_hit, window_days: 7, at_least: 3}"}
ONE = {"one": "{measure: signal_count, signal_type: feature_gate_hit, window_days: 7, at_least: 1}"}
FULL = {"full": "{measure: share_of_limit, meters: [seats], at_least: 80}"}
#: How old a reading of seats may be in the starter catalogue.
OLDEST = timedelta(days=35)


@pytest.fixture(autouse=True)
def starter_catalogue() -> None:
    """The kinds of signal and meter that these playbooks speak of, and one account."""
    load_starter_catalogue(now=NOW - 90 * DAY)
    account("acme")


# Exactly at the window's edge


def test_the_end_of_a_window_is_inside_it_and_what_comes_after_is_not() -> None:
    publish("knocker", ONE)
    knocks("acme", 1, at=NOW, told=NOW - MOMENT)
    run(NOW - MOMENT)
    assert open_matches("one") == []
    run(NOW)
    assert open_matches("one") == ["acme"]
    assert_all_runs_replay()


def test_the_beginning_of_a_window_is_outside_it_and_what_comes_after_is_inside() -> None:
    publish("knocker", ONE)
    knocks("acme", 1, at=NOW)
    run(NOW + WEEK - MOMENT)
    assert open_matches("one") == ["acme"]
    closing = run(NOW + WEEK)
    assert open_matches("one") == []
    assert [(match.closed_run_id, match.closed_at) for match in matches("one")] == [(closing.pk, NOW + WEEK)]
    assert_all_runs_replay()


def test_a_span_of_exactly_the_window_never_holds_both_ends() -> None:
    """Three knocks, the first a window before the last: at no moment do three of them count."""
    publish("knocker", THREE)
    for number, at in enumerate((NOW - WEEK, NOW - DAY, NOW)):
        knocks("acme", number, at=at, told=NOW)
    for at in (NOW - MOMENT, NOW, NOW + MOMENT):
        assert as_of(at, "three") == []
    knocks("acme", 3, at=NOW - WEEK + MOMENT, told=NOW)
    assert [as_of(at, "three") for at in (NOW - MOMENT, NOW, NOW + MOMENT)] == [["acme"], ["acme"], []]


def test_a_reading_counts_from_its_moment_until_it_is_exactly_too_old() -> None:
    publish("seats", FULL)
    levels("acme", 9, 10, at=NOW)
    run(NOW + OLDEST - MOMENT)
    assert open_matches("full") == ["acme"]
    run(NOW + OLDEST)
    assert open_matches("full") == []
    assert [as_of(at, "full") for at in (NOW - MOMENT, NOW)] == [[], ["acme"]]
    assert_all_runs_replay()


def test_a_change_of_a_champion_counts_from_its_moment_until_a_window_later() -> None:
    publish("people", {"moved": "{measure: champion_change, kinds: [promoted], window_days: 30}"})
    acme = account("other")
    person = add_champion(account_id=acme.pk, name="Petra", title="Lead", now=NOW - 90 * DAY, actor=None)
    change_champion(champion_id=person.pk, title="Director", occurred_at=NOW, now=NOW + HOUR, actor=None)
    assert [as_of(at, "moved") for at in (NOW - MOMENT, NOW)] == [[], ["other"]]
    run(NOW + 30 * DAY - MOMENT)
    assert open_matches("moved") == ["other"]
    run(NOW + 30 * DAY)
    assert open_matches("moved") == []
    assert_all_runs_replay()


# Duplicates


def test_the_same_source_and_id_count_once_in_one_batch_and_over_batches() -> None:
    publish("knocker", THREE)
    first = knocks("acme", 1, 1, 2)
    assert (first.stored, first.duplicate) == (2, 1)
    run(NOW)
    again = knocks("acme", 1, 2)
    assert (again.stored, again.duplicate) == (0, 2)
    # Nothing was stored, so there is nothing to look at.
    assert run_triggers(now=NOW) is None
    run(NOW)
    assert open_matches("three") == []
    knocks("acme", 3)
    run(NOW, full=False)
    assert open_matches("three") == ["acme"]
    assert matches("three")[0].evidence[0]["found"]["count"] == 3
    assert_all_runs_replay()


def test_the_same_id_with_another_body_counts_as_what_was_stored_first() -> None:
    publish("knocker", ONE)
    knocks("acme", 1, at=NOW - 30 * DAY)
    conflict = knocks("acme", 1, at=NOW)
    assert (conflict.stored, conflict.conflict) == (0, 1)
    run(NOW)
    assert open_matches("one") == []


def test_the_same_id_of_another_source_is_another_signal() -> None:
    publish("knocker", {"two": "{measure: signal_count, signal_type: feature_gate_hit, window_days: 7, at_least: 2}"})
    knocks("acme", 1)
    item = {"external_id": "acme-1", "account": "acme", "type": "feature_gate_hit", "occurred_at": NOW.isoformat()}
    assert take_in_signals(items=[{"source": "warehouse", **item}], now=NOW).stored == 1
    run(NOW)
    assert open_matches("two") == ["acme"]


def test_a_duplicate_of_a_reading_is_no_second_reading() -> None:
    publish("seats", {"rise": "{measure: level_change, meter: seats, window_days: 7, at_least: 1}"})
    levels("acme", 9, 10, at=NOW - 8 * DAY)
    assert levels("acme", 9, 10, at=NOW - 8 * DAY, told=NOW).duplicate == 1
    run(NOW)
    assert open_matches("rise") == []


# Late arrivals


def test_what_is_told_late_counts_from_the_run_that_was_told_and_not_before() -> None:
    publish("knocker", THREE)
    account("bolt")
    knocks("acme", 1, 2)
    knocks("bolt", 1, 2)
    before = run(NOW)
    told = NOW + HOUR
    # Of the run that is told of them, one lies just inside the window, the other at its edge: just outside.
    knocks("acme", 3, at=told - WEEK + MOMENT, told=told)
    knocks("bolt", 3, at=told - WEEK, told=told)
    after = run(told, full=False)
    assert after.accounts == 2
    assert open_matches("three") == ["acme"]
    # As known at each run, and as known today: at the first run's moment both had knocked three times.
    assert (found_by(before, "three"), found_by(after, "three")) == ([], ["acme"])
    assert as_of(NOW, "three", before.pk) == []
    assert as_of(NOW, "three", after.pk) == as_of(NOW, "three") == ["acme", "bolt"]
    # The episode is as old as its news, not as what it is made of.
    assert matches("three")[0].opened_at == told
    assert_all_runs_replay()


def test_a_late_signal_that_never_was_inside_a_run_opens_nothing_and_is_known_all_the_same() -> None:
    publish("knocker", ONE)
    run(NOW)
    knocks("acme", 1, at=NOW - 10 * DAY, told=NOW)
    run(NOW, full=False)
    assert matches("one") == []
    assert as_of(NOW - 9 * DAY, "one") == ["acme"]


def test_a_late_reading_counts_only_where_no_later_one_was_told_before() -> None:
    publish("seats", FULL)
    account("bolt")
    levels("acme", 1, 10, at=NOW)
    run(NOW)
    for name in ("acme", "bolt"):
        levels(name, 9, 10, at=NOW - HOUR, told=NOW + HOUR)
    after = run(NOW + HOUR, full=False)
    assert open_matches("full") == ["bolt"]
    assert as_of(NOW - HOUR, "full", after.pk) == ["acme", "bolt"]
    assert_all_runs_replay()


def test_a_late_fact_is_known_from_the_run_that_was_told_for_the_time_it_is_about() -> None:
    acme = account("core")
    knock = "{measure: signal_count, signal_type: feature_gate_hit, window_days: 7, at_least: 1}"
    publish("tier", {"small": f"{{measure: segment, segments: [small]}}\n          - {knock}"})
    knocks("core", 1, at=NOW - 2 * DAY)
    before = run(NOW)
    set_facts(account_ids=[acme.pk], facts={"segment": "small"}, effective_at=NOW - DAY, now=NOW + HOUR, actor=None)
    after = run(NOW + HOUR, full=False)
    assert open_matches("small") == ["core"]
    assert as_of(NOW, "small", before.pk) == []
    assert as_of(NOW, "small", after.pk) == ["core"]
    assert as_of(NOW - DAY - MOMENT, "small", after.pk) == []
    assert_all_runs_replay()


# Dates in the future


def test_what_is_dated_ahead_counts_when_its_time_comes_and_makes_its_own_run() -> None:
    publish("knocker", ONE)
    publish("seats", FULL)
    ahead = NOW + timedelta(minutes=5)
    knocks("acme", 1, at=ahead, told=NOW)
    levels("acme", 9, 10, at=ahead, told=NOW)
    run(NOW)
    assert run_triggers(now=ahead - MOMENT) is None
    run(ahead - MOMENT)
    assert (open_matches("one"), open_matches("full")) == ([], [])
    ripe = run(ahead, full=False)
    assert ripe.accounts == 1
    assert (open_matches("one"), open_matches("full")) == (["acme"], ["acme"])
    assert_all_runs_replay()


def test_what_is_dated_too_far_ahead_is_refused_and_not_kept_for_later() -> None:
    publish("knocker", ONE)
    answer = knocks("acme", 1, at=NOW + DAY, told=NOW)
    assert [(result.status, result.code) for result in answer.results] == [("refused", "in_the_future")]
    assert not Signal.objects.exists()
    run(NOW + DAY)
    assert open_matches("one") == []


def test_what_is_held_until_a_day_ahead_fills_a_gap_until_then() -> None:
    core, analytics = account("core"), ProductFactory(key="analytics")
    publish("gaps", {"gap": "{measure: open_gap}"}, motion="add_on")
    line = NewEntitlement(account_id=core.pk, subscription="a", product_id=analytics.pk, valid_from=NOW - 9 * DAY)
    set_entitlements(items=[line], now=NOW - 9 * DAY, actor=None)
    gap = NewFinding(kind="gap", text="No trends", product_id=analytics.pk)
    log_qbr(account_id=core.pk, held_at=NOW, findings=[gap], now=NOW, actor=None)
    end_entitlements(lines=[(core.pk, "a")], effective_at=NOW + 3 * DAY, now=NOW, actor=None)
    run(NOW)
    assert run_triggers(now=NOW + 3 * DAY - MOMENT) is None
    assert open_matches("gap") == []
    run(NOW + 3 * DAY, full=False)
    assert open_matches("gap") == ["core"]
    assert_all_runs_replay()
