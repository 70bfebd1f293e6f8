"""Workers of the pipeline at once, on the same rows: they share the work, and each thing is done once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from csplaybooks.accounts.models import Account
from csplaybooks.playbooks import tasks
from csplaybooks.playbooks.acts.plays import open_play_by_hand
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import ClockEvent, Match, Play, Playbook, Run
from csplaybooks.playbooks.pipeline import opening
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.playbooks.pipeline.owners import assign_owners
from csplaybooks.playbooks.pipeline.queue import work_off
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.pipeline.watcher import watch_clocks
from csplaybooks.playbooks.runs import matches_after, replay_run, run_triggers
from csplaybooks.signals.intake import take_in_readings, take_in_signals
from csplaybooks.signals.models import IntakeBatch, Signal
from tests.at_once import at_once, begin, waiting_for_locks
from tests.crash.clusters import wait_until
from tests.crash.company import assert_all_once, attempts, make_company, readings, signals

pytestmark = pytest.mark.django_db(transaction=True)

# A Monday, in working hours.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

#: How many work at once.
CREW = 4


@pytest.fixture
def names() -> list[str]:
    """A company whose readings have been taken in."""
    names = make_company(24, NOW, managers=4)
    take_in_readings(items=readings(names, NOW - timedelta(hours=1)), now=NOW)
    return names


def until_nothing_is_left(worker: Callable[..., int], **arguments: Any) -> Callable[[], int]:
    """A task that calls a worker, in small batches, until it finds nothing; answers how many rows it took."""

    def task() -> int:
        taken = 0
        while moved := worker(limit=7, **arguments):
            taken += moved
        return taken

    return task


def test_the_same_batch_sent_at_once_is_stored_once(names):
    items = signals(names, NOW)
    answers = at_once(*[lambda: take_in_signals(items=items, now=NOW)] * CREW)
    assert sorted(answer.stored for answer in answers) == [0] * (CREW - 1) + [len(items)]
    assert sum(answer.duplicate for answer in answers) == (CREW - 1) * len(items)
    assert Signal.objects.count() == len(items)


def test_each_function_of_the_pipeline_at_once_with_itself(names):
    take_in_signals(items=signals(names, NOW), now=NOW)
    reports = at_once(*[lambda: run_triggers(now=NOW)] * CREW)
    assert [report.opened for report in reports if report is not None] == [len(names) * 3]

    for worker, rows in ((open_plays, 3), (assign_owners, 2), (start_clocks, 2)):
        taken = at_once(*[until_nothing_is_left(worker, now=NOW)] * CREW)
        assert sum(taken) == len(names) * rows
    assert_all_once(names)
    assert attempts() == 0

    later = NOW + timedelta(days=5)
    at_once(*[until_nothing_is_left(watch_clocks, now=later)] * CREW)
    events = ClockEvent.objects.filter(kind=ClockEvent.Kind.BREACHED)
    assert events.count() == len(names) * 2
    assert watch_clocks(now=later) == 0
    assert_all_once(names)


def test_all_functions_of_the_pipeline_at_once(names):
    def take_in(part: list[str]) -> Callable[[], Any]:
        def task() -> None:
            for start in range(0, len(part), 2):
                take_in_signals(items=signals(part[start : start + 2], NOW), now=NOW)
                run_triggers(now=NOW)
                work(now=NOW)

        return task

    at_once(*[take_in(names[number::CREW]) for number in range(CREW)])
    # What one passed by because another held it is left to the sweep.
    work(now=NOW)
    assert_all_once(names)
    assert attempts() == 0
    for run in Run.objects.all():
        assert replay_run(run) == matches_after(run)


def test_a_run_that_waited_looks_at_what_came_in_meanwhile(names):
    """It read the clock before it waited for the run before it; what it then claims happened after that."""
    later = NOW + timedelta(seconds=1)
    take_in_signals(items=signals(names, later), now=later)
    report = run_triggers(now=NOW)
    assert report is not None
    assert report.opened == len(names) * 3
    run = Run.objects.get(pk=report.run_id)
    assert run.moment == later
    assert replay_run(run) == matches_after(run)


@pytest.mark.postgresql
def test_two_batches_of_one_run_are_opened_side_by_side(names):
    """What one worker holds is passed by, the rest of the same run is not; the best come first."""
    take_in_signals(items=signals(names, NOW), now=NOW)
    run_triggers(now=NOW)
    with transaction.atomic():
        assert open_plays(now=NOW, limit=10) == 10
        assert at_once(lambda: open_plays(now=NOW, limit=10)) == [10]
    taken = Match.objects.exclude(state=Match.State.QUEUED).values_list("pk", flat=True)
    assert set(taken) == set(Match.objects.by_value().values_list("pk", flat=True)[:20])


def test_a_batch_takes_no_more_rows_than_its_limit(names):
    take_in_signals(items=signals(names, NOW), now=NOW)
    run_triggers(now=NOW)
    for limit in (1, 2, 10, 20):
        before = Match.objects.filter(state=Match.State.QUEUED).count()
        assert open_plays(now=NOW, limit=limit) == limit
        assert Match.objects.filter(state=Match.State.QUEUED).count() == before - limit


@pytest.mark.postgresql
def test_two_batches_that_open_the_same_plays_do_not_wait_for_each_other_in_a_ring(names, caplog):
    """Both have the accounts of the other in opposite order, and a third party keeps both waiting in between.

    In a ring the server would cut one batch off, which would then be tried row by row, with an error in the log.
    """
    run = run_triggers(now=NOW)
    assert run is not None
    Match.objects.all().delete()
    first, between, last = Account.objects.order_by("pk")[:3]
    queue = Match.objects.filter(state=Match.State.QUEUED)
    batches = []
    for key, order in (("seats_nearly_full", (first, between, last)), ("growing_team", (last, between, first))):
        playbook = Playbook.objects.select_related("published").get(key=key)
        batches.append(
            [
                Match.objects.create(
                    trigger=playbook.triggers.get(),
                    version=playbook.published,
                    account=account,
                    opened_run_id=run.run_id,
                    opened_at=NOW,
                    state=Match.State.QUEUED,
                    admitted_run_id=run.run_id,
                ).pk
                for account in order
            ]
        )

    def open_batch(ids: list[int]) -> Callable[[], int]:
        return lambda: work_off(
            queue.filter(pk__in=ids), lambda pks: opening._open(pks, NOW), now=NOW, order_by=("pk",)
        )

    with transaction.atomic():
        open_play_by_hand(
            account_id=between.pk,
            playbook_id=Playbook.objects.get(key="growing_team").pk,
            reason="They called.",
            now=NOW,
        )
        crew = begin(lambda: at_once(*map(open_batch, batches)))
        wait_until(lambda: waiting_for_locks() == len(batches), what="both batches to meet the play opened by hand")
    assert crew.result(timeout=60) == [3, 3]

    assert "trying row by row" not in caplog.text
    assert not queue.exists()
    assert Play.objects.count() == 3
    assert attempts() == 0


@pytest.mark.postgresql
def test_a_task_goes_on_while_another_runs_and_whoever_runs_looks_again(names):
    """Nothing is lost although the poke of what came in meanwhile found the lease taken."""
    take_in_signals(items=signals(names[:1], NOW), now=NOW)
    with holding("csplaybooks:run", NOW):
        assert at_once(tasks.run_changed) == ["nothing changed, 0 moved"]
    assert IntakeBatch.objects.unclaimed().exists()

    def judge_late(*, now: datetime) -> int:
        # While this step holds the lease, more comes in, and its own poke is turned away.
        with holding("csplaybooks:run", now):
            at_once(lambda: take_in_signals(items=signals(names[1:2], NOW), now=NOW))
            assert at_once(tasks.run_changed) == ["nothing changed, 0 moved"]
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "judge_held", judge_late)
        tasks.sweep()
    assert not IntakeBatch.objects.unclaimed().exists()


def test_many_threads_that_carry_news_through_as_tasks_leave_none(names):
    def take_in(part: list[str]) -> Callable[[], Any]:
        def task() -> None:
            for name in part:
                take_in_signals(items=signals([name], NOW), now=NOW)
                tasks.run_changed()

        return task

    at_once(*[take_in(names[number::CREW]) for number in range(CREW)])
    assert not IntakeBatch.objects.unclaimed().exists()
