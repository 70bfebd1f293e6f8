"""Runs and news that is dated ahead: it is looked at when its time comes, whatever else is told."""

from __future__ import annotations

from datetime import timedelta

from csplaybooks.accounts.acts.companies import set_facts
from csplaybooks.accounts.acts.record import record_changes
from csplaybooks.playbooks.models import Match
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.intake import take_in_signals
from tests.playbooks.inputs import DAY, NOW, account, assert_all_runs_replay, gate_hits, open_matches, seats


def test_news_dated_ahead_makes_a_run_when_it_ripens_and_none_between(library):
    """However long it is until the last of it: many moments in one batch, and two in one act."""
    row = account("acme")
    items = [
        {
            **{"source": "product", "external_id": f"ahead-{seconds}", "account": "acme", "type": "feature_gate_hit"},
            "occurred_at": (NOW + timedelta(seconds=seconds)).isoformat(),
        }
        for seconds in (10, 300, 590)
    ]
    take_in_signals(items=items, now=NOW)
    ahead = [NOW + timedelta(seconds=20), NOW + 365 * DAY]
    record_changes(kind="facts", account_ids=[row.pk], now=NOW, effective={row.pk: ahead})
    assert run_triggers(now=NOW) is not None
    made = [
        second
        for second in range(1, 700)
        for _ in range(2)
        if run_triggers(now=NOW + timedelta(seconds=second)) is not None
    ]
    assert made == [10, 20, 300, 590]
    assert run_triggers(now=NOW + 364 * DAY) is None
    assert run_triggers(now=NOW + 365 * DAY) is not None
    assert run_triggers(now=NOW + 366 * DAY) is None
    assert_all_runs_replay()


def test_an_item_dated_ahead_is_looked_at_when_its_time_comes_without_other_news(library):
    account("acme")
    seats("acme", 15, 20)
    soon = NOW + timedelta(minutes=5)
    take_in_signals(
        items=[
            {
                "source": "product",
                "external_id": f"ahead-{number}",
                "account": "acme",
                "type": "feature_gate_hit",
                "occurred_at": soon.isoformat(),
            }
            for number in range(3)
        ],
        now=NOW,
    )
    run_triggers(now=NOW)
    assert open_matches() == []
    assert run_triggers(now=soon - timedelta(seconds=1)) is None
    report = run_triggers(now=soon)
    assert report is not None
    assert report.accounts == 1
    assert open_matches() == ["acme"]
    assert run_triggers(now=soon + timedelta(seconds=1)) is None
    assert_all_runs_replay()


def test_items_of_one_batch_are_looked_at_as_their_times_come(library):
    account("acme")
    seats("acme", 15, 20)
    moments = [NOW + timedelta(minutes=minutes) for minutes in (1, 1, 1, 9)]
    take_in_signals(
        items=[
            {
                "source": "product",
                "external_id": f"ahead-{number}",
                "account": "acme",
                "type": "feature_gate_hit",
                "occurred_at": at.isoformat(),
            }
            for number, at in enumerate(moments)
        ],
        now=NOW,
    )
    run_triggers(now=NOW)
    assert open_matches() == []
    run_triggers(now=NOW + timedelta(minutes=2))
    assert open_matches() == ["acme"]
    assert_all_runs_replay()


def test_facts_dated_ahead_are_looked_at_when_they_take_effect(library):
    acme = account("acme")
    seats("acme", 15, 20)
    seats("acme", 90, 100, meter="health")
    gate_hits("acme", 1, 2, 3)
    leaves = NOW + timedelta(minutes=5)
    set_facts(account_ids=[acme.pk], facts={"lifecycle": "churned"}, effective_at=leaves, now=NOW, actor=None)
    run_triggers(now=NOW)
    assert Match.objects.get().state == Match.State.QUEUED
    assert run_triggers(now=leaves - timedelta(seconds=1)) is None
    report = run_triggers(now=leaves)
    assert report is not None
    assert report.accounts == 1
    assert Match.objects.get().held_by == "gone"
    assert run_triggers(now=leaves + timedelta(seconds=1)) is None
    assert_all_runs_replay()
