"""Hours that change in the very moment in which something begins in them, ends, or is looked at: nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Q

from csplaybooks.accounts.acts.leaving import leave_the_team
from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.playbooks.acts import calendar_uses, calendars, leaving
from csplaybooks.playbooks.acts.calendar_uses import make_calendar_use
from csplaybooks.playbooks.acts.calendars import DayHours, WeekHours, change_calendar, make_calendar
from csplaybooks.playbooks.acts.claiming import release_plays
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays
from csplaybooks.playbooks.acts.leaving import leave_team
from csplaybooks.playbooks.acts.plays import pause_plays, start_plays
from csplaybooks.playbooks.clockwork import mark_stale, set_lapses
from csplaybooks.playbooks.factories import CalendarFactory, ClockFactory, HandoffFactory, PlayFactory
from csplaybooks.playbooks.models import Calendar, Clock, Handoff, PlayStep
from csplaybooks.playbooks.pipeline import hearing, stepping
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.stepping import work_steps
from csplaybooks.playbooks.pipeline.sweep import step_plays, watch_all, work
from csplaybooks.playbooks.pipeline.watcher import watch_clocks
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.playbooks.stepwork import hours_changed
from tests.at_once import PATIENCE, begin, elsewhere, waiting_for_locks
from tests.playbooks.plays import DAY, HOUR, NOW, broken, done
from tests.playbooks.stepping import playing, step, with_steps

pytestmark = pytest.mark.django_db

AGREE = {"kind": "task", "text": "Agree on a number.", "after_hours": 8}
LATE_HOURS = [WeekHours(weekday, 9 * 60, 20 * 60) for weekday in range(5)]

on_postgresql = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def at_the_same_time(act: Callable[[], Any]) -> Future[Any]:
    """Begin an act elsewhere, and answer it when it is done, or waits for us."""
    future, end = begin(act), time.monotonic() + PATIENCE
    while not future.done() and not waiting_for_locks():
        assert time.monotonic() < end
    return future


@pytest.fixture
def office(db: None) -> Calendar:
    """The default calendar."""
    calendar: Calendar = CalendarFactory()
    return calendar


@pytest.fixture
def late(office: Calendar) -> Calendar:
    """Another calendar, open in the evening."""
    calendar: Calendar = CalendarFactory(
        key="late", name="Late", is_default=False, blocks=[(weekday, 12 * 60, 24 * 60) for weekday in range(5)]
    )
    return calendar


class TestOnPostgresql:
    """What only happens where two write at once."""

    pytestmark = on_postgresql

    def test_a_clock_that_starts_while_its_owner_gets_other_hours_ends_in_these(
        self, late: Calendar, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        play = PlayFactory(opened_at=NOW)
        seen = []
        mark = calendar_uses._mark

        def overtaken(*args: Any) -> int:
            answer = mark(*args)
            # All clocks concerned are marked, and the use is not committed yet.
            seen.append(elsewhere(lambda: start_clocks(now=NOW)))
            seen.append(elsewhere(lambda: watch_clocks(now=NOW)))
            return answer

        monkeypatch.setattr(calendar_uses, "_mark", overtaken)
        make_calendar_use(values={"calendar": late, "member": play.owner}, now=NOW, actor=None)
        assert seen == [1, 0]
        watch_all(now=NOW)
        assert set(play.clocks.values_list("calendar", flat=True)) == {late.pk}
        assert broken() == []

    def test_a_step_that_begins_while_its_calendar_is_edited_is_due_in_the_new_hours(
        self, office: Calendar, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        play = with_steps([AGREE])
        changed = calendars.calendar_changed

        def overtaken(**values: Any) -> int:
            answer = changed(**values)
            elsewhere(lambda: step_plays(now=NOW))
            assert elsewhere(lambda: step(play).is_stale)
            return answer

        monkeypatch.setattr(calendars, "calendar_changed", overtaken)
        change_calendar(calendar_id=office.pk, values={}, week=LATE_HOURS, now=NOW, actor=None)
        step_plays(now=NOW)
        assert (step(play).due_at, step(play).is_stale) == (NOW + 8 * HOUR, False)

    @pytest.mark.parametrize("what", ["worker", "act"])
    def test_a_mark_that_is_set_while_somebody_looks_at_a_step_stays(
        self, office: Calendar, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        from csplaybooks.playbooks import stepwork

        play = playing([AGREE])
        PlayStep.objects.update(is_stale=True)
        begun: list[Future[Any]] = []
        mark = transaction.atomic(hours_changed)
        room: Any = stepping if what == "worker" else stepwork
        real = room.set_due

        def overtaken(*args: Any) -> None:
            real(*args)
            # It was read in which hours the step is due: now they change.
            if not begun:
                begun.append(at_the_same_time(lambda: mark(Q())))

        monkeypatch.setattr(room, "set_due", overtaken)
        if what == "worker":
            assert work_steps(now=NOW) == 1
        else:
            assert done(start_plays(play_ids=[play.pk], now=NOW))
        assert begun[0].result(timeout=PATIENCE) == 1
        assert step(play).is_stale

    def test_an_offer_is_accepted_while_its_calendar_is_edited(
        self, office: Calendar, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        carla, eve = TeamMemberFactory(), TeamMemberFactory(ae=True)
        play = PlayFactory(owner=carla, opened_at=NOW)
        work(now=NOW)
        offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW)
        watch_all(now=NOW)
        begun = []

        def overtaken(offers: Any) -> None:
            # The clocks are marked, and their offers come next.
            begun.append(at_the_same_time(lambda: accept_plays(play_ids=[play.pk], now=NOW + HOUR)))
            set_lapses(offers)

        monkeypatch.setattr(calendars, "set_lapses", overtaken)
        change_calendar(calendar_id=office.pk, values={}, week=LATE_HOURS, now=NOW, actor=None)
        assert done(begun[0].result(timeout=PATIENCE))
        watch_all(now=NOW + HOUR)
        assert Handoff.objects.get().answer == Handoff.Answer.ACCEPTED
        assert broken() == []

    def test_a_play_with_a_step_moves_while_its_calendar_is_edited(
        self, office: Calendar, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        play = playing([AGREE])
        work(now=NOW)
        watch_all(now=NOW)
        begun = []
        real = mark_stale

        def overtaken(clocks: Any) -> int:
            answer = real(clocks)
            begun.append(at_the_same_time(lambda: pause_plays(play_ids=[play.pk], reason="Later", now=NOW + HOUR)))
            return answer

        monkeypatch.setattr(calendars, "mark_stale", overtaken)
        change_calendar(calendar_id=office.pk, values={}, week=LATE_HOURS, now=NOW, actor=None)
        assert done(begun[0].result(timeout=PATIENCE))

    def test_no_play_is_given_back_to_a_manager_who_leaves_at_this_moment(
        self, office: Calendar, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vera = TeamMemberFactory(name="Vera", leads=True)
        mona = TeamMemberFactory(name="Mona", leads=True, manager=vera)
        play = PlayFactory(owner=TeamMemberFactory(name="Carla", manager=mona), opened_at=NOW)
        begun = []
        leave = leave_the_team

        def overtaken(**values: Any) -> Any:
            answer = leave(**values)
            give_back = lambda: release_plays(play_ids=[play.pk], reason="Ill", now=NOW)  # noqa: E731
            begun.append(at_the_same_time(give_back))
            return answer

        monkeypatch.setattr(leaving, "leave_the_team", overtaken)
        leave_team(member_id=mona.pk, now=NOW)
        assert done(begun[0].result(timeout=PATIENCE))
        play.refresh_from_db()
        assert play.holder == vera


def test_what_is_due_at_no_time_for_want_of_a_calendar_is_due_once_there_is_one(office: Calendar) -> None:
    Calendar.objects.all().delete()
    play = playing([{"kind": "wait", "text": "Wait.", "hours": 8}, AGREE])
    assert step(play).due_at is None
    week = [WeekHours(weekday, 9 * 60, 17 * 60) for weekday in range(5)]
    make_calendar(values={"key": "new", "name": "New", "is_default": True}, week=week, now=NOW, actor=None)
    step_plays(now=NOW + HOUR)
    assert step(play).due_at == NOW + DAY
    step_plays(now=NOW + DAY)
    assert step(play, 2).state == PlayStep.State.CURRENT


def test_offers_lapse_where_no_calendar_is_the_default_any_more(office: Calendar) -> None:
    play = PlayFactory(opened_at=NOW)
    offer_plays(play_ids=[play.pk], to_id=TeamMemberFactory(ae=True).pk, now=NOW)
    before = Handoff.objects.get().expires_at
    Calendar.objects.update(is_default=False)
    set_lapses(Handoff.objects.select_related("clock"))
    assert Handoff.objects.get().expires_at == before
    change_calendar(
        calendar_id=office.pk, values={}, days=[DayHours(NOW.date() + DAY, None, None, "Feast")], now=NOW, actor=None
    )
    assert before is not None
    assert Handoff.objects.get().expires_at == before + DAY


def test_the_hours_of_whoever_is_asked_concern_no_steps_that_have_the_number_of_a_clock(late: Calendar) -> None:
    other = playing([AGREE])
    step_plays(now=NOW)
    offer = HandoffFactory(
        clock=ClockFactory(pk=step(other).pk, play=PlayFactory(), target=Clock.Target.HANDOFF_ACCEPTED, number=1)
    )
    make_calendar_use(values={"calendar": late, "member": offer.offered_to}, now=NOW, actor=None)
    assert Clock.objects.get().is_stale
    assert not step(other).is_stale


def test_what_was_heard_of_one_run_stays_heard_when_the_next_one_fails(
    office: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    from csplaybooks.accounts.factories import AccountFactory
    from csplaybooks.playbooks.models import Lease
    from csplaybooks.signals.acts.catalogue import load_starter_catalogue
    from csplaybooks.signals.intake import take_in_signals

    load_starter_catalogue(now=NOW)
    account = AccountFactory(name="acme", identity__external_id="acme")
    play = PlayFactory(opened_at=NOW, account=account)
    runs = []
    for number in range(3):
        at = NOW + number * timedelta(minutes=1)
        call = {"source": "crm", "external_id": f"{number}", "account": "acme", "type": "call_logged"}
        take_in_signals(items=[{**call, "occurred_at": at.isoformat(), "properties": {}}], now=at)
        report = run_triggers(now=at)
        assert report is not None
        runs.append(report.run_id)
    heard: list[Any] = []
    real = hearing._hear

    def failing(batches: Any, now: Any) -> int:
        heard.append(batches)
        if len(heard) == 3:
            raise RuntimeError("ended")
        return real(batches, now)

    monkeypatch.setattr(hearing, "_hear", failing)
    with pytest.raises(RuntimeError):
        hearing.hear_signals(now=NOW + HOUR)
    assert play.touches.count() == 2
    assert Lease.objects.get(name=hearing.LEASE).mark == runs[1]
    monkeypatch.undo()
    assert hearing.hear_signals(now=NOW + HOUR) == 1
    assert play.touches.count() == 3
