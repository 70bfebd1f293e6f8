"""Rounds: all accounts looked at in parts, each with its own run, while news goes on between them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine

from csplaybooks.accounts.acts.record import record_changes
from csplaybooks.playbooks import episodes, rounds, tasks
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.models import Match, Round, Run
from csplaybooks.playbooks.rounds import STALLED_AFTER, poke_round, run_next_part
from csplaybooks.playbooks.runs import matches_after, replay_run, run_to_the_end, run_triggers
from csplaybooks.signals.intake import take_in_signals
from tests.playbooks.inputs import DAY, NOW, account, assert_all_runs_replay, gate_hits, open_matches, seats

NAMES = ("acme", "bolt", "crux", "dune", "echo")

pytestmark = pytest.mark.django_db


@pytest.fixture
def parts_of_two(settings: Any) -> None:
    set_up(now=NOW - 30 * DAY, schedules=False)
    settings.CSPLAYBOOKS = {"FULL_RUN_ACCOUNTS": 2}


@pytest.fixture
def ready(parts_of_two: None) -> None:
    """Five accounts that will meet a trigger with the next gate hit of each, and have been looked at."""
    for name in NAMES:
        account(name)
        seats(name, 15, 20)
        gate_hits(name, 1, 2)
    # The catalogue and the accounts are news of all: the first run asks for a round.
    run_triggers(now=NOW)
    finish_rounds()


def finish_rounds(now: datetime = NOW) -> list[int]:
    """Work on all rounds until none is left; answers how many accounts each part had."""
    sizes = []
    while report := run_next_part(now=now):
        sizes.append(report.accounts)
    assert not Round.objects.unfinished().exists()
    return sizes


def test_more_accounts_than_one_run_may_look_at_are_looked_at_in_parts(ready):
    report = run_triggers(now=NOW + DAY, full=True)
    assert report is not None
    assert (report.accounts, report.matched) == (0, 0)
    run = Run.objects.get(pk=report.run_id)
    assert (run.kind, str(run.round), run.versions == {}) == ("changed", f"round {run.round_id}", False)
    assert finish_rounds(NOW + DAY) == [2, 2, 1]
    parts = list(Run.objects.filter(kind="part", round=run.round).order_by("pk"))
    assert [part.accounts for part in parts] == [2, 2, 1]
    assert all(part.moment == NOW + DAY for part in parts)
    assert parts[0].last_account < parts[1].first_account
    assert_all_runs_replay()


def test_as_many_accounts_as_one_run_may_look_at_need_no_round(ready, settings):
    settings.CSPLAYBOOKS = {"FULL_RUN_ACCOUNTS": 5}
    before = Round.objects.count()
    report = run_triggers(now=NOW + DAY, full=True)
    assert report is not None
    assert report.accounts == 5
    assert Round.objects.count() == before


def test_a_round_closes_episodes_and_opens_what_time_alone_brought(ready):
    for name in NAMES:
        gate_hits(name, 3)
    run_triggers(now=NOW)
    assert open_matches() == list(NAMES)
    run_triggers(now=NOW + 8 * DAY, full=True)
    assert open_matches() == list(NAMES)
    run_next_part(now=NOW + 8 * DAY)
    assert open_matches() == list(NAMES[2:])
    finish_rounds(NOW + 8 * DAY)
    assert open_matches() == []
    assert_all_runs_replay()


def test_news_goes_on_between_two_parts_and_every_run_replays(ready):
    run_triggers(now=NOW + DAY, full=True)
    run_next_part(now=NOW + DAY)
    # Of an account that the round has passed, and of one that it has not.
    gate_hits("acme", 3)
    gate_hits("echo", 3)
    report = run_triggers(now=NOW + DAY)
    assert report is not None
    assert report.opened == 2
    later = [run for run in Run.objects.order_by("pk") if run.pk >= report.run_id]
    finish_rounds(NOW + DAY)
    assert open_matches() == ["acme", "echo"]
    assert later[0].kind == "changed"
    assert_all_runs_replay()


def test_a_part_knows_only_what_runs_before_it_have_claimed(ready):
    run_triggers(now=NOW + DAY, full=True)
    gate_hits("acme", 3)
    finish_rounds(NOW + DAY)
    assert open_matches() == []
    run_triggers(now=NOW + DAY)
    assert open_matches() == ["acme"]
    assert_all_runs_replay()


def test_news_that_ripens_while_a_round_goes_on_is_not_missed(ready):
    soon = NOW + timedelta(minutes=5)
    ahead = {"source": "product", "external_id": "ahead", "account": "acme", "type": "feature_gate_hit"}
    take_in_signals(items=[{**ahead, "occurred_at": soon.isoformat()}], now=NOW)
    run_triggers(now=NOW)
    assert open_matches() == []
    run_triggers(now=NOW, full=True)
    run_next_part(now=NOW)
    # This part looks at other accounts, at a moment when the news has ripened.
    run_next_part(now=soon)
    report = run_triggers(now=soon)
    assert report is not None
    assert open_matches() == ["acme"]
    finish_rounds(soon)
    assert_all_runs_replay()


def test_a_waiting_round_serves_all_who_ask_and_one_that_has_begun_does_not(ready):
    before = Round.objects.count()
    run_triggers(now=NOW, full=True)
    run_triggers(now=NOW, full=True)
    assert Round.objects.count() == before + 1
    run_next_part(now=NOW)
    run_triggers(now=NOW, full=True)
    assert Round.objects.count() == before + 2
    assert finish_rounds() == [2, 1, 2, 2, 1]


def test_a_part_that_dies_is_tried_again_with_half_the_accounts_and_so_are_the_next(ready, settings, monkeypatch):
    settings.CSPLAYBOOKS = {"FULL_RUN_ACCOUNTS": 4}
    run_triggers(now=NOW, full=True)

    def die(*args: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(rounds, "finish_run", die)
        for _ in range(2):
            with pytest.raises(SystemExit):
                run_next_part(now=NOW)
    [waiting] = Round.objects.unfinished()
    assert (waiting.attempts, waiting.after_account, waiting.part_size) == (2, 0, 2)
    assert finish_rounds() == [1, 1, 1, 1, 1]
    # The next round tries twice the size that came through.
    run_triggers(now=NOW, full=True)
    assert finish_rounds() == [2, 2, 1]
    run_triggers(now=NOW, full=True)
    assert finish_rounds() == [4, 1]


def test_a_round_without_accounts_left_is_finished(ready):
    run_triggers(now=NOW, full=True)
    Round.objects.unfinished().update(after_account=10**9)
    assert run_next_part(now=NOW) is None
    assert not Round.objects.unfinished().exists()


def test_a_round_has_one_poke_at_a_time_and_a_lost_one_is_made_again(ready, monkeypatch):
    poked: list[str] = []
    monkeypatch.setattr(rounds, "poke", poked.append)
    assert not poke_round(now=NOW)
    run_triggers(now=NOW, full=True)
    assert [poke_round(now=NOW) for _ in range(3)] == [True, False, False]
    # Whoever follows it lets the next be made.
    run_next_part(now=NOW)
    assert [poke_round(now=NOW) for _ in range(3)] == [True, False, False]
    assert [poke_round(now=NOW + STALLED_AFTER) for _ in range(2)] == [True, False]
    assert poked == ["run_round"] * 3
    finish_rounds()
    assert not poke_round(now=NOW + DAY)


def test_who_has_news_is_looked_at_at_once_though_all_others_wait_for_the_round(ready):
    gate_hits("echo", 3)
    # A change of the catalogue is news of everybody.
    record_changes(kind="catalogue", account_ids=[None], now=NOW)
    report = run_triggers(now=NOW)
    assert report is not None
    assert (report.accounts, report.opened) == (1, 1)
    assert open_matches() == ["echo"]
    assert finish_rounds() == [2, 2, 1]
    assert_all_runs_replay()


def test_those_who_keep_no_clusters_run_to_the_end(ready):
    for name in NAMES:
        gate_hits(name, 3)
    run_to_the_end(now=NOW, full=True)
    assert open_matches() == list(NAMES)
    assert not Round.objects.unfinished().exists()


def test_a_playbook_that_cannot_be_evaluated_does_not_stop_the_round(ready, monkeypatch):
    def fail(trigger: Any, *args: Any) -> Any:
        raise ValueError("no such measure")

    run_triggers(now=NOW, full=True)
    monkeypatch.setattr(episodes, "evaluate", fail)
    assert finish_rounds() == [2, 2, 1]
    assert all(run.errors for run in Run.objects.filter(kind="part").order_by("-pk")[:3])


def test_the_task_works_on_one_part_and_asks_for_the_next(ready, django_capture_on_commit_callbacks, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr("csplaybooks.playbooks.pokes._enqueue", asked.append)
    with time_machine.travel(NOW, tick=False), django_capture_on_commit_callbacks(execute=True):
        # With three parts to go the first two ask for another.
        run_triggers(now=NOW, full=True)
        poke_round(now=NOW)
        answers = [tasks.run_round() for _ in range(4)]
    assert [answer.split()[0] for answer in answers] == ["run", "run", "run", "no"]
    assert asked.count("run_round") == 3
    assert Match.objects.count() == 0


def test_replay_of_a_part_limits_itself_to_its_accounts(ready):
    for name in NAMES:
        gate_hits(name, 3)
    run_triggers(now=NOW)
    run_triggers(now=NOW, full=True)
    finish_rounds()
    part = Run.objects.filter(kind="part").latest("pk")
    assert sum(map(len, replay_run(part).values())) == sum(map(len, matches_after(part).values())) == 1
