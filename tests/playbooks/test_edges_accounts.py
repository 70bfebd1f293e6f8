"""Edges of accounts: churned, deleted and merged ones, and those that come back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from csplaybooks.accounts.acts.companies import set_facts
from csplaybooks.accounts.acts.record import record_changes
from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.factories import CalendarFactory
from csplaybooks.playbooks.models import Match, Play
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from tests.playbooks.edges import (
    DAY,
    HOUR,
    NOW,
    account,
    assert_all_runs_replay,
    knocks,
    matches,
    open_matches,
    publish,
    run,
    run_and_work,
)

pytestmark = pytest.mark.django_db

THREE = {"three": "{measure: signal_count, signal_type: feature_gate_hit, window_days: 7, at_least: 3}"}


@pytest.fixture(autouse=True)
def knocker() -> None:
    """A playbook that asks for three knocks, and somebody to own its plays."""
    load_starter_catalogue(now=NOW - 90 * DAY)
    publish("knocker", THREE)
    CalendarFactory()
    TeamMemberFactory()


def _is(row: Account, now: datetime, **facts: Any) -> None:
    set_facts(account_ids=[row.pk], facts=facts, effective_at=now, now=now, actor=None)


def _goes(row: Account, now: datetime, **gone: Any) -> None:
    """An account is deleted or merged: its row says so, and the runs are told."""
    Account.objects.filter(pk=row.pk).update(**gone, updated_at=now)
    record_changes(kind="account_gone", account_ids=[row.pk], now=now)


def _state(name: str) -> tuple[str, str]:
    (match,) = matches("three", name)
    return match.state, match.held_by


def test_who_has_churned_is_found_and_held_for_good() -> None:
    _is(account("acme"), NOW - DAY, lifecycle="churned")
    knocks("acme", 1, 2, 3)
    run_and_work(NOW)
    assert open_matches("three") == ["acme"]
    assert _state("acme") == ("held", "gone")
    assert matches("three")[0].held_until is None
    assert not Play.objects.exists()


def test_who_churns_while_a_match_waits_is_held_and_who_comes_back_is_let_through() -> None:
    acme = account("acme")
    knocks("acme", 1, 2, 3)
    run(NOW)
    assert _state("acme") == ("queued", "")
    _is(acme, NOW + HOUR, lifecycle="churned")
    run(NOW + HOUR, full=False)
    work(now=NOW + HOUR)
    assert _state("acme") == ("held", "gone")
    _is(acme, NOW + 2 * HOUR, lifecycle="paying")
    run(NOW + 2 * HOUR, full=False)
    work(now=NOW + 2 * HOUR)
    assert _state("acme") == ("fired", "")
    assert Play.objects.open().count() == 1
    assert_all_runs_replay()


def test_who_churns_while_a_play_is_open_keeps_it_and_gets_no_other() -> None:
    acme = account("acme")
    knocks("acme", 1, 2, 3)
    run_and_work(NOW)
    publish("again", {"any": "{measure: signal_count, signal_type: feature_gate_hit, window_days: 7, at_least: 1}"})
    _is(acme, NOW + HOUR, lifecycle="churned")
    run_and_work(NOW + HOUR)
    assert Play.objects.open().get().playbook.key == "knocker"
    assert [(match.state, match.held_by) for match in matches("any")] == [("held", "gone")]


def test_a_deleted_account_is_held_and_nothing_more_is_taken_in_for_it() -> None:
    acme = account("acme")
    knocks("acme", 1, 2, 3)
    run(NOW)
    _goes(acme, NOW + HOUR, deleted_at=NOW + HOUR)
    run(NOW + HOUR, full=False)
    work(now=NOW + HOUR)
    assert _state("acme") == ("held", "gone")
    assert not Play.objects.exists()
    answer = knocks("acme", 4, at=NOW + HOUR)
    assert [result.code for result in answer.results] == ["unknown_account"]
    # What it did is forgotten when its window is over, and not before.
    run(NOW + 8 * DAY)
    assert _state("acme")[0] == "ended"
    assert_all_runs_replay()


def test_what_is_told_of_a_merged_account_counts_for_the_one_it_was_merged_into() -> None:
    old, new = account("old"), account("new")
    knocks("old", 1, 2)
    knocks("new", 3, 4)
    run(NOW)
    assert not Match.objects.exists()
    _goes(old, NOW + HOUR, merged_into=new)
    knocks("old", 5, at=NOW + HOUR)
    after = run(NOW + HOUR, full=False)
    assert after.accounts == 2
    # Two of its own and one that was sent by the other's id; what the other had done before stays with it.
    assert open_matches("three") == ["new"]
    assert_all_runs_replay()


def test_an_account_merged_while_its_match_waits_is_held() -> None:
    old, new = account("old"), account("new")
    knocks("old", 1, 2, 3)
    run(NOW)
    _goes(old, NOW + HOUR, merged_into=new)
    run(NOW + HOUR, full=False)
    work(now=NOW + HOUR)
    assert _state("old") == ("held", "gone")
    assert "merged" in matches("three")[0].held_reason
    assert not Play.objects.exists()


@pytest.mark.parametrize("how", ["churned", "deleted"])
def test_who_goes_after_the_guards_were_asked_gets_no_play(how: str) -> None:
    acme = account("acme")
    knocks("acme", 1, 2, 3)
    run(NOW)
    assert _state("acme") == ("queued", "")
    if how == "deleted":
        _goes(acme, NOW + HOUR, deleted_at=NOW + HOUR)
    else:
        _is(acme, NOW + HOUR, lifecycle="churned")
    # A worker comes by before the next run does.
    work(now=NOW + HOUR)
    assert _state("acme") == ("held", "gone")
    assert not Play.objects.exists()
