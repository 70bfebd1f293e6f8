"""Runs: what they claim, the episodes they write, and what they make of trouble."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection, connections, transaction

from csplaybooks.accounts.acts.champions import add_champion, change_champion
from csplaybooks.accounts.acts.companies import NewAccount, create_accounts, set_facts
from csplaybooks.accounts.acts.reviews import NewFinding, log_qbr
from csplaybooks.accounts.factories import ProductFactory
from csplaybooks.accounts.models import Account, Change
from csplaybooks.playbooks import episodes
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft, set_playbook_active
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.measures import SignalCount
from csplaybooks.playbooks.models import Match, Playbook, Run, Trigger
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.runs import matches_after, replay_run, run_triggers
from csplaybooks.signals.factories import IntakeBatchFactory
from csplaybooks.signals.models import IntakeBatch, Signal
from tests.playbooks.inputs import DAY, NOW, account, assert_all_runs_replay, gate_hits, open_matches, seats


def test_nothing_new_makes_no_run(library):
    run_triggers(now=NOW)
    assert Run.objects.count() == 1
    assert run_triggers(now=NOW) is None
    assert run_triggers(now=NOW, full=True) is not None


def test_a_run_claims_everything_that_was_told_once(library):
    account("acme")
    gate_hits("acme", 1)
    report = run_triggers(now=NOW)
    assert report is not None
    assert not IntakeBatch.objects.unclaimed().exists()
    assert not Change.objects.unclaimed().exists()
    assert set(IntakeBatch.objects.values_list("seen_by_run", flat=True)) == {report.run_id}


def test_an_episode_opens_closes_and_opens_again(library):
    account("acme")
    seats("acme", 15, 20)
    gate_hits("acme", 1, 2, 3)
    run_triggers(now=NOW)
    assert open_matches() == ["acme"]
    run_triggers(now=NOW + DAY, full=True)
    assert Match.objects.count() == 1

    run_triggers(now=NOW + 7 * DAY, full=True)
    match = Match.objects.get()
    assert (match.state, match.closed_at) == (Match.State.ENDED, NOW + 7 * DAY)

    gate_hits("acme", 4, 5, 6, at=NOW + 8 * DAY)
    seats("acme", 15, 20, at=NOW + 8 * DAY)
    run_triggers(now=NOW + 8 * DAY)
    assert Match.objects.count() == 2
    assert open_matches() == ["acme"]
    assert_all_runs_replay()


def test_only_accounts_with_news_are_looked_at(library, django_assert_max_num_queries):
    for name in ("acme", "bolt", "core"):
        account(name)
    run_triggers(now=NOW)
    gate_hits("bolt", 1)
    report = run_triggers(now=NOW)
    assert report is not None
    assert report.accounts == 1
    set_facts(
        account_ids=[Account.objects.get(name="core").pk],
        facts={"segment": "small"},
        effective_at=NOW,
        now=NOW,
        actor=None,
    )
    second = run_triggers(now=NOW)
    assert second is not None
    assert second.accounts == 1
    assert_all_runs_replay()


def test_a_published_version_is_news_for_all_and_closes_what_it_no_longer_matches(library):
    for name in ("acme", "bolt"):
        account(name)
        seats(name, 15, 20)
        gate_hits(name, *range(1, 4 if name == "acme" else 6))
    run_triggers(now=NOW)
    assert open_matches() == ["acme", "bolt"]
    playbook = Playbook.objects.get(key="gate_knocker")
    save_draft(text=playbook.draft.replace("at_least: 3", "at_least: 5"), now=NOW)
    publish_playbook(playbook_id=playbook.pk, now=NOW)
    report = run_triggers(now=NOW)
    assert report is not None
    assert report.accounts == 2
    assert open_matches() == ["bolt"]
    assert_all_runs_replay()


def test_switching_a_playbook_off_ends_what_waits(library):
    account("acme")
    seats("acme", 15, 20)
    gate_hits("acme", 1, 2, 3)
    run_triggers(now=NOW)
    set_playbook_active(playbook_id=Playbook.objects.get(key="gate_knocker").pk, active=False, now=NOW)
    run_triggers(now=NOW)
    assert Match.objects.get().state == Match.State.ENDED
    assert_all_runs_replay()


def test_a_review_and_a_promotion_open_their_matches_as_telemetry_does(library):
    acme = account("acme")
    run_triggers(now=NOW)
    log_qbr(
        account_id=acme.pk,
        held_at=NOW,
        findings=[NewFinding(kind="gap", text="No trends", product_id=ProductFactory(key="analytics").pk)],
        now=NOW,
        actor=None,
    )
    run_triggers(now=NOW)
    assert open_matches("open_gap") == ["acme"]
    person = add_champion(account_id=acme.pk, name="Petra", title="Lead", now=NOW, actor=None)
    change_champion(champion_id=person.pk, title="Director", occurred_at=NOW, now=NOW, actor=None)
    run_triggers(now=NOW)
    assert open_matches("moved_up") == ["acme"]
    assert_all_runs_replay()


def test_the_moment_of_runs_never_goes_back(library):
    account("acme")
    run_triggers(now=NOW)
    gate_hits("acme", 1)
    run_triggers(now=NOW - timedelta(minutes=5))
    assert list(Run.objects.order_by("pk").values_list("moment", flat=True)) == [NOW, NOW]


def test_queries_of_a_run_do_not_grow_with_accounts(library, django_assert_max_num_queries):
    run_triggers(now=NOW)
    counted = []
    # No more than fit into one INSERT of SQLite.
    for size in (3, 30):
        for number in range(size):
            name = f"a{size}-{number}"
            account(name)
            seats(name, 15, 20)
            gate_hits(name, 1, 2, 3)
        with django_assert_max_num_queries(200) as captured:
            run_triggers(now=NOW)
        counted.append(len(captured))
    assert counted[0] == counted[1]


@pytest.mark.django_db(transaction=True)
def test_an_intake_held_open_across_a_run_is_the_next_ones_news():
    set_up(now=NOW - 30 * DAY, schedules=False)
    account("acme")
    seats("acme", 15, 20)
    gate_hits("acme", 1, 2)
    stored, may_commit = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def slow_sender() -> None:
        try:
            with transaction.atomic():
                gate_hits("acme", 3)
                stored.set()
                assert may_commit.wait(30)
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            errors.append(error)
        finally:
            stored.set()
            connections.close_all()

    def run_and_release(run: Callable[[], Any]) -> None:
        # On SQLite the run waits for the writer, so it is let go when the run has begun.
        if connection.vendor == "sqlite":
            timer = threading.Timer(0.2, may_commit.set)
            timer.start()
            run()
            timer.join()
        else:
            run()

    with pokes_silenced():
        sender = threading.Thread(target=slow_sender)
        sender.start()
        assert stored.wait(30)
        run_and_release(lambda: run_triggers(now=NOW))
        if connection.vendor != "sqlite":
            assert Signal.objects.count() == 2
            assert open_matches() == []
            # A late arrival overtakes the one that is still under way.
            gate_hits("acme", 4)
            run_triggers(now=NOW)
            assert open_matches() == ["acme"]
        may_commit.set()
        sender.join()
        assert errors == []
        run_triggers(now=NOW + timedelta(minutes=1))
    assert open_matches() == ["acme"]
    # PostgreSQL: without it, with the late one, with it. SQLite: the run waited for the writer and saw it all.
    assert Run.objects.count() == (1 if connection.vendor == "sqlite" else 3)
    assert_all_runs_replay()


@pytest.mark.parametrize(
    ("error", "is_the_databases"),
    [
        (OperationalError("deadlock detected"), True),
        (OperationalError("database is locked"), True),
        (InterfaceError("connection already closed"), True),
        (OperationalError("too many SQL variables"), False),
        (OperationalError("integer overflow"), False),
    ],
)
def test_trouble_of_the_database_leaves_the_inputs_unclaimed_and_a_bad_query_does_not(
    library, monkeypatch, error, is_the_databases
):
    account("acme")
    gate_hits("acme", 1)

    def fails(*args: Any) -> None:
        raise error

    monkeypatch.setattr(episodes, "_run_version", fails)
    if is_the_databases:
        with pytest.raises(type(error)):
            run_triggers(now=NOW)
        assert not Run.objects.exists()
        assert IntakeBatch.objects.unclaimed().count() == 1
    else:
        run_triggers(now=NOW)
        assert len(Run.objects.get().errors) == Playbook.objects.count()


def test_a_batch_of_which_nothing_was_stored_is_no_news(library):
    run_triggers(now=NOW)
    gate_hits("nobody", 1)
    assert run_triggers(now=NOW) is None


def test_a_machine_whose_clock_is_far_ahead_does_not_carry_all_runs_with_it(library):
    account("acme")
    IntakeBatchFactory(recorded_at=NOW + DAY)
    run_triggers(now=NOW)
    assert Run.objects.get().moment == NOW + timedelta(minutes=10)


def test_a_playbook_that_cannot_be_evaluated_does_not_stop_the_others(library, monkeypatch):
    account("acme")
    seats("acme", 19, 20)
    gate_hits("acme", 1, 2, 3)

    def broken(*args: Any) -> None:
        raise ZeroDivisionError("a measure of a host")

    monkeypatch.setattr(SignalCount, "words", broken)
    run_triggers(now=NOW)
    run = Run.objects.get()
    gates = Playbook.objects.get(key="gate_knocker").published
    assert gates is not None
    assert run.errors == {str(gates.pk): "ZeroDivisionError: a measure of a host"}
    assert gates.pk not in run.versions.values()
    assert open_matches() == []
    assert open_matches("seats_above_80") == ["acme"]
    assert_all_runs_replay()

    monkeypatch.undo()
    run_triggers(now=NOW, full=True)
    assert open_matches() == ["acme"]
    assert_all_runs_replay()


def test_an_account_made_later_is_in_no_run_before(library):
    text = """\
key: silent
name: Silent
motion: add_on
triggers:
  - key: silent
    any:
      - all:
          - {measure: days_since, signal_type: feature_gate_hit, at_least: 14, never: holds}
routes:
  - route: csm
targets:
  - {target: first_touch, hours: 8}
"""
    Playbook.objects.update(is_active=False)
    publish_playbook(playbook_id=save_draft(text=text, now=NOW).pk, now=NOW)
    [early] = create_accounts(items=[NewAccount(name="early")], now=NOW, actor=None)
    run_triggers(now=NOW, full=True)
    [late] = create_accounts(items=[NewAccount(name="late")], now=NOW + DAY, actor=None)
    trigger = Trigger.objects.get(key="silent").pk
    first = Run.objects.get()
    assert replay_run(first)[trigger] == matches_after(first)[trigger] == [early.pk]
    run_triggers(now=NOW + DAY)
    assert matches_after(Run.objects.order_by("-pk")[0])[trigger] == [late.pk]
    assert_all_runs_replay()


def test_versions_a_run_used_are_kept(library):
    run_triggers(now=NOW)
    run = Run.objects.latest("pk")
    assert set(run.versions) == {str(pk) for pk in Trigger.objects.values_list("pk", flat=True)}
