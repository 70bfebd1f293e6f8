"""Leases let one at a time through and one in each slot; pokes go out on commit only, and may be lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import django_q.tasks
import pytest
import time_machine
from django.db import transaction

from csplaybooks.accounts.acts.record import record_changes
from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory
from csplaybooks.playbooks import tasks
from csplaybooks.playbooks.acts.plays import open_play_by_hand
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.leases import beat, due, holding
from csplaybooks.playbooks.models import Clock, Lease, Play, Run
from csplaybooks.playbooks.pipeline import sweep as sweeping
from csplaybooks.playbooks.pokes import POKES, poke, pokes_silenced
from tests.at_once import at_once

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)

pytestmark = pytest.mark.django_db


# Slots


def test_a_slot_is_claimed_once_and_the_next_begins_when_it_was() -> None:
    assert due("job", HOUR, NOW)
    assert not due("job", HOUR, NOW)
    assert not due("job", HOUR, NOW + HOUR - MICROSECOND)
    assert due("job", HOUR, NOW + HOUR)
    assert Lease.objects.get(name="job").next_at == NOW + 2 * HOUR


def test_missed_slots_are_not_made_up_for_and_a_replayed_call_falls_through() -> None:
    due("job", HOUR, NOW)
    assert due("job", HOUR, NOW + 30 * HOUR)
    assert not due("job", HOUR, NOW + 2 * HOUR)
    assert not due("job", HOUR, NOW + 31 * HOUR - MICROSECOND)
    assert due("job", HOUR, NOW + 31 * HOUR)


def test_jobs_have_slots_of_their_own() -> None:
    assert due("job", HOUR, NOW)
    assert due("another", HOUR, NOW)


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_gets_the_slot() -> None:
    assert sorted(at_once(*[lambda: due("job", HOUR, NOW)] * 6)) == [False] * 5 + [True]
    assert Lease.objects.count() == 1


def test_a_heartbeat_is_one_row_for_each_job() -> None:
    beat("job", NOW, expected=3, seen=2)
    beat("job", NOW + HOUR, expected=0, seen=0)
    lease = Lease.objects.get()
    assert (lease.last_run_at, lease.expected, lease.seen, lease.next_at) == (NOW + HOUR, 0, 0, None)


# One at a time


@pytest.mark.django_db(transaction=True)
def test_holders_of_one_lease_follow_each_other() -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(5):
            with holding("job", NOW) as lease:
                assert lease is not None
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    at_once(*[work] * 4)
    assert most == [1] * 20


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_who_does_not_wait_is_told_that_somebody_holds_it() -> None:
    held, asked = Event(), Event()

    def hold() -> bool:
        with holding("job", NOW) as lease:
            held.set()
            assert asked.wait(60)
        return lease is not None

    def ask() -> list[bool]:
        assert held.wait(60)
        with holding("job", NOW, wait=False) as taken, holding("another", NOW, wait=False) as free:
            answer = [taken is not None, free is not None]
        asked.set()
        return answer

    assert at_once(hold, ask) == [True, [False, True]]
    with holding("job", NOW, wait=False) as lease:
        assert lease is not None


@pytest.mark.django_db(transaction=True)
def test_what_fails_under_a_lease_is_undone_and_gives_it_back() -> None:
    def fail() -> None:
        with holding("job", NOW + HOUR):
            PlayFactory()
            raise KeyError("power failure")

    with holding("job", NOW):
        pass
    with pytest.raises(KeyError):
        fail()
    assert not Play.objects.exists()
    with holding("job", NOW) as lease:
        assert lease is not None
        assert lease.last_run_at == NOW


# Pokes


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions that a cluster was asked to call."""
    calls: list[str] = []
    monkeypatch.setattr(django_q.tasks, "async_task", lambda function, **options: calls.append(function))
    return calls


@pytest.mark.django_db(transaction=True)
def test_a_poke_goes_out_on_commit_and_never_before(sent: list[str]) -> None:
    with transaction.atomic():
        poke("work")
        assert sent == []
    assert sent == ["csplaybooks.playbooks.tasks.work"]
    poke("sweep")
    assert sent[1:] == ["csplaybooks.playbooks.tasks.sweep"]


@pytest.mark.django_db(transaction=True)
def test_a_poke_is_undone_with_its_transaction(sent: list[str]) -> None:
    with transaction.atomic():
        poke("work")
        transaction.set_rollback(True)
    assert sent == []


def test_what_can_be_poked_are_the_tasks() -> None:
    for name in POKES:
        assert callable(getattr(tasks, name))
    with pytest.raises(ValueError, match=r"unknown poke 'os\.system'"):
        poke("os.system")


@pytest.mark.django_db(transaction=True)
def test_silence_lasts_as_long_as_its_outermost_block_even_if_that_fails(sent: list[str]) -> None:
    def fail() -> None:
        with pokes_silenced():
            with pokes_silenced():
                poke("work")
            poke("work")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert sent == []
    poke("work")
    assert len(sent) == 1


@pytest.mark.django_db(transaction=True)
def test_a_broken_broker_fails_nobody_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("the broker is down")

    monkeypatch.setattr(django_q.tasks, "async_task", refuse)
    account, playbook = AccountFactory(), PlaybookVersionFactory().playbook
    open_play_by_hand(account_id=account.pk, playbook_id=playbook.pk, reason="They asked.", now=NOW)
    assert Play.objects.count() == 1
    assert "could not poke work; the sweep will pick it up" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_real_broker_is_given_one_task_without_arguments() -> None:
    from django_q.models import OrmQ

    with transaction.atomic():
        poke("run_changed")
        assert OrmQ.objects.count() == 0
    (task,) = [row.task() if callable(row.task) else row.task for row in OrmQ.objects.all()]
    assert (task["func"], task["args"]) == ("csplaybooks.playbooks.tasks.run_changed", ())


@pytest.mark.django_db(transaction=True)
def test_inputs_poke_the_evaluator_and_plays_poke_the_pipeline(sent: list[str]) -> None:
    account, playbook = AccountFactory(), PlaybookVersionFactory().playbook
    with transaction.atomic():
        record_changes(kind="test", account_ids=[account.pk], now=NOW)
    assert sent == ["csplaybooks.playbooks.tasks.run_changed"]
    open_play_by_hand(account_id=account.pk, playbook_id=playbook.pk, reason="They asked.", now=NOW)
    assert sent[1:] == ["csplaybooks.playbooks.tasks.work"]


# Tasks


def test_the_sweep_alone_carries_a_play_all_the_way() -> None:
    CalendarFactory()
    account = AccountFactory(csm=TeamMemberFactory())
    playbook = PlaybookVersionFactory().playbook
    with pokes_silenced():
        open_play_by_hand(account_id=account.pk, playbook_id=playbook.pk, reason="They asked.", now=NOW)
    with time_machine.travel(NOW, tick=False):
        assert "moved: 2" in tasks.sweep()
    with time_machine.travel(NOW + timedelta(days=30), tick=False):
        assert "clocks: 1" in tasks.sweep()
    assert Clock.objects.get().state == "breached"


def test_a_step_of_the_sweep_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    CalendarFactory()
    PlayFactory(opened_at=NOW)

    def fail(**kwargs: Any) -> None:
        raise KeyError("a playbook that cannot be")

    monkeypatch.setattr(tasks, "run_triggers", fail)
    with time_machine.travel(NOW, tick=False), pytest.raises(ExceptionGroup) as caught:
        tasks.sweep()
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert Clock.objects.count() == 1
    assert Lease.objects.filter(name="csplaybooks:watcher").exists()


def test_the_full_run_runs_once_in_its_slot_and_again_in_the_next(settings: Any) -> None:
    settings.CSPLAYBOOKS = {"FULL_RUN_MINUTES": 30}
    set_up(now=NOW, schedules=False)
    with time_machine.travel(NOW, tick=False) as clock:
        assert tasks.run_full().startswith("run ")
        assert tasks.run_full() == "not due"
        clock.shift(timedelta(minutes=29))
        assert tasks.run_full() == "not due"
        clock.shift(timedelta(minutes=1))
        assert tasks.run_full().startswith("run ")
    assert set(Run.objects.values_list("kind", flat=True)) == {"full"}


def test_tasks_with_nothing_to_do_say_so() -> None:
    assert tasks.run_changed() == "nothing changed, 0 moved"
    assert tasks.work() == "0 moved"
    assert tasks.watch_clocks() == "0 clocks"
    assert sweeping.work(now=NOW) == 0
