"""Whoever had to wait for a row acts by a clock that was read before: what others have done meanwhile stays whole."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from csplaybooks.playbooks.acts.plays import close_plays, log_touch, pause_plays, start_plays
from csplaybooks.playbooks.acts.steps import finish_steps
from csplaybooks.playbooks.factories import CalendarFactory
from csplaybooks.playbooks.models import Clock
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.sweep import watch_all
from tests.at_once import at_once, begin, waiting_for_locks
from tests.crash.clusters import wait_until
from tests.playbooks.plays import DAY, HOUR, NOW, broken, owned
from tests.playbooks.stepping import playing, step

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


def test_a_promise_called_off_before_the_breach_that_the_watcher_has_written_is_called_off() -> None:
    CalendarFactory()
    play = owned()
    start_clocks(now=NOW)
    due = Clock.objects.get(play=play, target=Clock.Target.FIRST_TOUCH).due_at
    assert due is not None
    watch_all(now=due + SECOND)
    close_plays(play_ids=[play.pk], outcome="won", now=due - SECOND)
    clock = Clock.objects.get(play=play, target=Clock.Target.FIRST_TOUCH)
    assert (clock.state, clock.done_at) == (Clock.State.CANCELLED, due - SECOND)
    assert (clock.breached_at, clock.excused_at) == (due, due - SECOND)
    assert broken() == []


def test_a_breach_of_a_clock_that_is_started_late_is_noticed_when_it_was_due_or_later() -> None:
    CalendarFactory()
    play = owned()
    log_touch(play_ids=[play.pk], channel="call", now=NOW + 2 * DAY)
    # This worker read the clock before the contact was made, and came by after it.
    start_clocks(now=NOW + HOUR)
    clock = Clock.objects.get(play=play, target=Clock.Target.FIRST_TOUCH)
    assert (clock.state, clock.done_at, clock.noticed_at) == (Clock.State.MISSED, NOW + 2 * DAY, NOW + 2 * DAY)
    assert broken() == []


def test_no_step_is_over_before_it_began() -> None:
    CalendarFactory()
    play = playing([{"kind": "task", "text": f"Task {number}"} for number in range(3)])
    finish_steps(play_ids=[play.pk], now=NOW + HOUR)
    finish_steps(play_ids=[play.pk], now=NOW + HOUR - SECOND)
    assert step(play, 2).done_at == step(play, 3).began_at == NOW + HOUR
    close_plays(play_ids=[play.pk], outcome="won", now=NOW + HOUR - SECOND)
    assert step(play, 3).done_at == NOW + HOUR
    assert broken() == []


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_of_two_who_do_the_last_step_at_once_one_is_told() -> None:
    CalendarFactory()
    play = playing([{"kind": "task", "text": "The only one"}])

    with transaction.atomic():
        assert finish_steps(play_ids=[play.pk], now=NOW + HOUR) == {play.pk: None}
        second = begin(lambda: at_once(lambda: finish_steps(play_ids=[play.pk], now=NOW + HOUR)))
        wait_until(waiting_for_locks, what="the second one to meet the first")
    ((why,),) = [list(answers.values()) for answers in second.result(timeout=60)]
    assert "it has no step to do now" in why
    assert broken() == []


def test_a_pause_told_late_begins_no_earlier_than_the_last_contact() -> None:
    CalendarFactory()
    play = owned()
    start_clocks(now=NOW)
    start_plays(play_ids=[play.pk], now=NOW + SECOND)
    log_touch(play_ids=[play.pk], channel="call", now=NOW + 2 * DAY)
    # Read before the promise was broken, written after the contact that came too late.
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW + HOUR)
    assert broken() == []
