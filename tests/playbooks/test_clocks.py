"""Clocks: when they start, what a contact, a pause and a close make of them, and that a broken promise is not lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.playbooks.acts.calendar_uses import make_calendar_use
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays
from csplaybooks.playbooks.acts.plays import assign_plays, close_plays, log_touch, pause_plays, resume_plays
from csplaybooks.playbooks.factories import (
    CalendarFactory,
    ClockFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
)
from csplaybooks.playbooks.models import Calendar, CalendarBlock, CalendarDay, Clock, ClockEvent, Notice, Play
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.queue import retry_stuck
from csplaybooks.playbooks.pipeline.sweep import watch_all
from tests.playbooks.plays import broken

# A Monday; the office is open from nine to five.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
CLOSING = datetime(2026, 11, 16, 17, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)

pytestmark = pytest.mark.django_db


def recipe(*targets: str, route: str = "csm") -> Any:
    """A published playbook that promises this."""
    draft = "key: k\nname: K\nmotion: add_on\ntriggers: [{key: t, any: [{all: [{measure: open_gap}]}]}]\n"
    draft += f"routes: [{{route: {route}}}]\ntargets:\n" + "".join(f"  - {target}\n" for target in targets)
    return PlaybookVersionFactory(playbook=PlaybookFactory(key="k", motion="add_on", draft=draft))


def owned(*targets: str, **more: Any) -> Play:
    """A play with its clocks running."""
    play: Play = PlayFactory(recipe=recipe(*targets), **{"opened_at": NOW, **more})
    assert start_clocks(now=NOW) == 1
    return play


def clock_of(play: Play, target: str = "first_touch") -> Clock:
    """The play's clock of a target, as it stands in the table."""
    return Clock.objects.get(play=play, target=target)


def breaches() -> list[tuple[int, datetime]]:
    """The breaches that stand written, by level, and when they were due."""
    return list(ClockEvent.objects.filter(kind="breached").order_by("level").values_list("level", "due_at"))


@pytest.fixture(autouse=True)
def office(db: None) -> Calendar:
    """The default calendar."""
    calendar: Calendar = CalendarFactory()
    return calendar


EIGHT_HOURS = "{target: first_touch, hours: 8}"
SEVEN_HOURS = "{target: first_touch, hours: 7}"
TWO_WALL_HOURS = "{target: first_touch, hours: 2, counting: wall}"
A_WEEK = "{target: closed, hours: 168, counting: wall}"

# Starting


def test_an_owned_play_gets_each_clock_that_its_playbook_promises(office: Calendar) -> None:
    play = owned(EIGHT_HOURS, A_WEEK)
    first, closed = clock_of(play), clock_of(play, "closed")
    assert (first.due_at, first.calendar, first.hours) == (NOW + DAY, office, "working")
    assert first.next_event_at == NOW + 4 * HOUR
    assert (first.warn_percents, first.escalation_waits) == ([50, 80], [0, 8 * 3600])
    assert (closed.due_at, closed.calendar, closed.hours) == (NOW + 7 * DAY, None, "wall")
    assert start_clocks(now=NOW) == 0
    assert broken() == []


def test_only_the_targets_of_its_route_count() -> None:
    play = owned("{target: first_touch, hours: 8, routes: [sales]}", A_WEEK)
    assert [clock.target for clock in play.clocks.all()] == ["closed"]
    none = PlayFactory(recipe=play.recipe, route="email", opened_at=NOW)
    assert start_clocks(now=NOW) == 1
    assert none.clocks.count() == 1


def test_a_promise_counts_from_when_somebody_owned_it_however_late_the_worker_comes() -> None:
    play = PlayFactory(recipe=recipe(TWO_WALL_HOURS), unowned=True, opened_at=NOW)
    assert start_clocks(now=NOW) == 0
    assign_plays(play_ids=[play.pk], owner_id=TeamMemberFactory().pk, now=NOW + HOUR)
    assign_plays(play_ids=[play.pk], owner_id=TeamMemberFactory().pk, now=NOW + 2 * HOUR)
    assert start_clocks(now=NOW + 5 * HOUR) == 1
    clock = clock_of(play)
    assert (clock.started_at, clock.due_at) == (NOW + HOUR, NOW + 3 * HOUR)
    assert broken() == []


def test_a_contact_made_before_the_clocks_were_started_counts() -> None:
    in_time = PlayFactory(recipe=recipe(TWO_WALL_HOURS, A_WEEK), opened_at=NOW)
    late = PlayFactory(recipe=in_time.recipe, opened_at=NOW)
    answered = PlayFactory(recipe=in_time.recipe, opened_at=NOW)
    log_touch(play_ids=[in_time.pk], channel="call", now=NOW + HOUR)
    log_touch(play_ids=[in_time.pk, late.pk], channel="call", now=NOW + 3 * HOUR)
    log_touch(play_ids=[answered.pk], channel="call", direction="in", now=NOW + HOUR)
    assert start_clocks(now=NOW + 4 * HOUR) == 3
    clock = clock_of(in_time)
    assert (clock.state, clock.done_at) == ("met", NOW + HOUR)
    clock = clock_of(late)
    assert (clock.state, clock.done_at, clock.breached_at) == ("missed", NOW + 3 * HOUR, NOW + 2 * HOUR)
    assert ClockEvent.objects.get().clock == clock
    assert clock_of(answered).state == "running"
    assert set(Clock.objects.filter(target="closed").values_list("state", flat=True)) == {"running"}
    assert broken() == []


def test_a_play_that_is_paused_when_its_clocks_start_has_them_paused() -> None:
    play = PlayFactory(recipe=recipe(TWO_WALL_HOURS), opened_at=NOW)
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW + HOUR)
    start_clocks(now=NOW + 2 * HOUR)
    clock = clock_of(play)
    assert (clock.state, clock.due_at) == ("paused", None)
    # The first warning was due at the very instant of the pause.
    assert clock.next_event_at == NOW + HOUR
    assert broken() == []


def test_without_a_default_calendar_plays_with_working_hours_wait_and_the_others_go_on(office: Calendar) -> None:
    Calendar.objects.update(is_default=False)
    working = PlayFactory(recipe=recipe(EIGHT_HOURS), opened_at=NOW)
    draft = "key: w\nname: W\nmotion: add_on\ntriggers: [{key: t, any: [{all: [{measure: open_gap}]}]}]\n"
    draft += f"routes: [{{route: csm}}]\ntargets:\n  - {TWO_WALL_HOURS}\n"
    wall = PlayFactory(
        recipe=PlaybookVersionFactory(playbook=PlaybookFactory(key="w", motion="add_on", draft=draft)), opened_at=NOW
    )
    assert start_clocks(now=NOW) == 2
    assert wall.clocks.count() == 1
    working.refresh_from_db()
    assert working.last_error == "NoDefaultCalendar: no calendar is the default: run csplaybooks_setup, or mark one"
    assert (working.attempts, working.next_try_at, working.stuck_at) == (1, NOW + MINUTE, None)
    for attempt in range(1, 5):
        assert start_clocks(now=NOW + attempt * MINUTE) == 1
    working.refresh_from_db()
    assert (working.attempts, working.stuck_at) == (5, NOW + 4 * MINUTE)
    assert start_clocks(now=NOW + DAY) == 0
    Calendar.objects.update(is_default=True)
    assert retry_stuck(Play, [working.pk], now=NOW) == 1
    assert start_clocks(now=NOW + DAY) == 1
    assert clock_of(working).started_at == NOW
    assert broken() == []


@pytest.mark.parametrize("number", [1, 25])
def test_starting_takes_the_same_number_of_queries_whatever_the_number(
    number: int, django_assert_max_num_queries: Any
) -> None:
    version, owner = recipe(EIGHT_HOURS, A_WEEK), TeamMemberFactory()
    for _ in range(number):
        PlayFactory(recipe=version, owner=owner, opened_at=NOW)
    with django_assert_max_num_queries(22):
        assert start_clocks(now=NOW) == number
    assert Clock.objects.count() == 2 * number


# A contact


@pytest.mark.parametrize(
    ("after", "state"),
    [
        (timedelta(0), "met"),
        (2 * HOUR - MICROSECOND, "met"),
        (2 * HOUR, "met"),
        (2 * HOUR + MICROSECOND, "missed"),
    ],
)
def test_a_first_contact_up_to_the_due_time_meets_the_promise(after: timedelta, state: str) -> None:
    play = owned(TWO_WALL_HOURS)
    log_touch(play_ids=[play.pk], channel="call", now=NOW + after)
    clock = clock_of(play)
    assert (clock.state, clock.done_at, clock.next_event_at) == (state, NOW + after, None)
    assert clock.breached_at == (NOW + 2 * HOUR if state == "missed" else None)
    assert broken() == []


def test_a_promise_that_runs_out_at_closing_is_missed_in_the_evening() -> None:
    play = owned(SEVEN_HOURS)
    assert clock_of(play).due_at == CLOSING
    # No working time has passed since, but it was due before they went home.
    log_touch(play_ids=[play.pk], channel="call", now=CLOSING + 2 * HOUR)
    clock = clock_of(play)
    assert (clock.state, clock.breached_at, clock.noticed_at) == ("missed", CLOSING, CLOSING + 2 * HOUR)
    assert broken() == []


def test_a_breach_that_a_contact_finds_before_the_watcher_is_written_with_who_held_it() -> None:
    play = owned(TWO_WALL_HOURS)
    log_touch(play_ids=[play.pk], channel="call", now=NOW + 5 * HOUR)
    event = ClockEvent.objects.get()
    assert (event.kind, event.level, event.holder) == ("breached", 0, play.owner)
    assert (event.due_at, event.noticed_at) == (NOW + 2 * HOUR, NOW + 5 * HOUR)
    assert watch_all(now=NOW + DAY) == 0


def test_a_contact_from_the_customer_or_a_second_one_changes_no_clock() -> None:
    play = owned(TWO_WALL_HOURS)
    log_touch(play_ids=[play.pk], channel="call", direction="in", now=NOW + HOUR)
    assert clock_of(play).state == "running"
    log_touch(play_ids=[play.pk], channel="call", now=NOW + HOUR)
    log_touch(play_ids=[play.pk], channel="call", now=NOW + 9 * HOUR)
    assert (clock_of(play).state, clock_of(play).done_at) == ("met", NOW + HOUR)


def test_a_contact_logged_late_meets_the_promise_if_it_was_made_in_time() -> None:
    play = owned(TWO_WALL_HOURS)
    log_touch(play_ids=[play.pk], channel="call", at=NOW + HOUR, now=NOW + 9 * HOUR)
    assert (clock_of(play).state, clock_of(play).breached_at) == ("met", None)
    assert broken() == []


def test_a_breach_that_was_written_before_the_contact_was_logged_stays_and_is_excused() -> None:
    play = owned(TWO_WALL_HOURS)
    watch_all(now=NOW + 3 * HOUR)
    log_touch(play_ids=[play.pk], channel="call", at=NOW + HOUR, now=NOW + 9 * HOUR)
    clock = clock_of(play)
    assert (clock.state, clock.breached_at, clock.done_at) == ("met", NOW + 2 * HOUR, NOW + HOUR)
    assert clock.excused_at == NOW + 9 * HOUR
    assert broken() == []


# A pause


def test_a_pause_moves_the_due_time_by_the_working_time_it_took() -> None:
    play = owned(EIGHT_HOURS)
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW + HOUR)
    clock = clock_of(play)
    assert (clock.state, clock.due_at, clock.next_event_at) == ("paused", None, None)
    # Over night: from eleven to five, and from nine to ten, seven working hours.
    resume_plays(play_ids=[play.pk], now=NOW + DAY)
    clock = clock_of(play)
    assert (clock.state, clock.due_at) == ("running", NOW + DAY + 7 * HOUR)
    assert clock.due_at == datetime(2026, 11, 17, 17, 0, tzinfo=UTC)
    assert broken() == []


def test_a_pause_outside_working_hours_moves_nothing_but_is_recomputed() -> None:
    play = owned(EIGHT_HOURS)
    pause_plays(play_ids=[play.pk], reason="Holidays", now=CLOSING)
    resume_plays(play_ids=[play.pk], now=CLOSING + 10 * HOUR)
    assert clock_of(play).due_at == NOW + DAY
    assert broken() == []


def test_a_pause_after_the_due_time_undoes_no_breach() -> None:
    play = owned(TWO_WALL_HOURS)
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW + 3 * HOUR)
    clock = clock_of(play)
    assert (clock.state, clock.due_at) == ("running", NOW + 2 * HOUR)
    watch_all(now=NOW + 4 * HOUR)
    clock = clock_of(play)
    assert (clock.state, clock.breached_at, clock.excused_at) == ("breached", NOW + 2 * HOUR, None)
    assert broken() == []


def test_several_pauses_and_one_of_no_length_add_up() -> None:
    play = owned("{target: first_touch, hours: 10, counting: wall}")
    for start, end in ((1, 2), (2, 2), (4, 7)):
        pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW + start * HOUR)
        resume_plays(play_ids=[play.pk], now=NOW + end * HOUR)
    assert clock_of(play).due_at == NOW + 14 * HOUR
    assert broken() == []


# The close


def test_closing_meets_the_clock_of_the_close_and_calls_the_others_off() -> None:
    play = owned(EIGHT_HOURS, A_WEEK)
    close_plays(play_ids=[play.pk], outcome="won", now=NOW + HOUR)
    closed, first = clock_of(play, "closed"), clock_of(play)
    assert (closed.state, closed.done_at) == ("met", NOW + HOUR)
    assert (first.state, first.done_at, first.next_event_at) == ("cancelled", NOW + HOUR, None)
    assert ClockEvent.objects.count() == 0
    assert broken() == []


def test_closing_too_late_misses_it() -> None:
    play = owned(A_WEEK)
    close_plays(play_ids=[play.pk], outcome="won", now=NOW + 7 * DAY + MICROSECOND)
    clock = clock_of(play, "closed")
    assert (clock.state, clock.breached_at) == ("missed", NOW + 7 * DAY)
    assert broken() == []


def test_a_promise_that_was_broken_by_the_close_is_missed_and_not_called_off() -> None:
    play = owned(TWO_WALL_HOURS, A_WEEK)
    # Nobody made contact, and the watcher was not there.
    close_plays(play_ids=[play.pk], outcome="lost", now=NOW + 5 * HOUR)
    clock = clock_of(play)
    assert (clock.state, clock.breached_at, clock.noticed_at) == ("missed", NOW + 2 * HOUR, NOW + 5 * HOUR)
    assert [(event.clock, event.kind) for event in ClockEvent.objects.all()] == [(clock, "breached")]
    assert broken() == []


def test_a_breach_that_stands_written_outlives_the_close() -> None:
    play = owned(TWO_WALL_HOURS)
    watch_all(now=NOW + 3 * HOUR)
    close_plays(play_ids=[play.pk], outcome="won", now=NOW + 4 * HOUR)
    clock = clock_of(play)
    assert (clock.state, clock.breached_at, clock.done_at) == ("missed", NOW + 2 * HOUR, NOW + 4 * HOUR)
    assert ClockEvent.objects.filter(kind="breached").count() == 1
    assert broken() == []


def test_closing_while_paused_is_in_time() -> None:
    play = owned("{target: closed, hours: 2, counting: wall}")
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW + HOUR)
    close_plays(play_ids=[play.pk], outcome="won", now=NOW + 9 * DAY)
    assert clock_of(play, "closed").state == "met"
    assert broken() == []


# Stale clocks


def test_a_stale_clock_is_recomputed_before_a_breach_is_written(office: Calendar) -> None:
    play = owned(EIGHT_HOURS)
    # A public holiday was imported.
    CalendarDay.objects.create(calendar=office, day=NOW.date() + DAY)
    Clock.objects.update(is_stale=True)
    assert watch_all(now=NOW + DAY + HOUR) == 1
    clock = clock_of(play)
    assert (clock.state, clock.due_at, clock.is_stale) == ("running", NOW + 2 * DAY, False)
    assert not ClockEvent.objects.filter(kind="breached").exists()
    assert broken() == []


def test_an_act_recomputes_what_it_touches(office: Calendar) -> None:
    play = owned(SEVEN_HOURS)
    CalendarBlock.objects.filter(calendar=office).update(end_minute=18 * 60)
    Clock.objects.update(is_stale=True)
    log_touch(play_ids=[play.pk], channel="call", now=CLOSING + MICROSECOND)
    assert clock_of(play).state == "missed"
    assert broken() == []


def test_a_written_breach_stays_and_is_excused_where_a_calendar_edit_moves_it(office: Calendar) -> None:
    play = owned(EIGHT_HOURS)
    watch_all(now=NOW + DAY + HOUR)
    assert clock_of(play).state == "breached"
    CalendarDay.objects.create(calendar=office, day=NOW.date() + DAY)
    Clock.objects.update(is_stale=True)
    assert broken() == []
    watch_all(now=NOW + DAY + 2 * HOUR)
    clock = clock_of(play)
    assert (clock.state, clock.breached_at, clock.due_at) == ("running", NOW + DAY, NOW + 2 * DAY)
    assert clock.excused_at == NOW + DAY + 2 * HOUR
    watch_all(now=NOW + 2 * DAY - MICROSECOND)
    assert clock_of(play).excused_at == clock.excused_at
    assert breaches() == [(0, NOW + DAY)]
    assert broken() == []


def test_an_excuse_that_a_later_due_time_brought_ends_when_that_passes(office: Calendar) -> None:
    play = owned(EIGHT_HOURS)
    watch_all(now=NOW + DAY)
    CalendarDay.objects.create(calendar=office, day=NOW.date() + DAY)
    Clock.objects.update(is_stale=True)
    watch_all(now=NOW + DAY + HOUR)
    watch_all(now=NOW + 2 * DAY)
    clock = clock_of(play)
    assert (clock.state, clock.breached_at, clock.excused_at) == ("breached", NOW + 2 * DAY, None)
    assert breaches() == [(0, NOW + DAY), (1, NOW + 2 * DAY)]
    # The day before it would have been due is worked after all: what was missed last stands.
    CalendarDay.objects.all().delete()
    Clock.objects.update(is_stale=True)
    watch_all(now=NOW + 3 * DAY)
    clock = clock_of(play)
    assert (clock.state, clock.due_at, clock.breached_at) == ("breached", NOW + DAY, NOW + 2 * DAY)
    assert broken() == []
    # And what was due at a moment once is not missed there again.
    CalendarDay.objects.create(calendar=office, day=NOW.date() + DAY)
    Clock.objects.update(is_stale=True)
    watch_all(now=NOW + 4 * DAY)
    assert breaches() == [(0, NOW + DAY), (1, NOW + 2 * DAY)]
    assert broken() == []


def test_an_excuse_is_withdrawn_where_the_play_comes_back_to_who_missed_it() -> None:
    carla, clara = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Clara", zone="America/New_York")
    play = owned(SEVEN_HOURS, owner=carla)
    watch_all(now=CLOSING)
    assign_plays(play_ids=[play.pk], owner_id=clara.pk, now=CLOSING + MINUTE)
    clock = clock_of(play)
    assert (clock.state, clock.due_at, clock.excused_at) == ("running", CLOSING + 4 * HOUR, CLOSING + MINUTE)
    # Half of the promise is used after lunch in New York: she is warned.
    assert clock.next_event_at == CLOSING + 30 * MINUTE
    assign_plays(play_ids=[play.pk], owner_id=carla.pk, now=CLOSING + 2 * MINUTE)
    clock = clock_of(play)
    assert (clock.state, clock.due_at, clock.excused_at) == ("breached", CLOSING, None)
    # The ladder goes on from there.
    assert clock.next_event_at == datetime(2026, 11, 17, 17, 0, tzinfo=UTC)
    assert broken() == []
    log_touch(play_ids=[play.pk], channel="call", now=NOW + 29 * DAY)
    assert (clock_of(play).state, clock_of(play).excused_at) == ("missed", None)
    assert breaches() == [(0, CLOSING)]
    assert broken() == []


def test_an_offer_that_is_not_answered_by_its_later_due_time_either_is_missed_there_and_told() -> None:
    play, eve = owned(A_WEEK), TeamMemberFactory(ae=True)
    offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW)
    watch_all(now=NOW + DAY)
    nights = CalendarFactory(
        key="nights", is_default=False, blocks=[(weekday, 20 * 60, 24 * 60) for weekday in range(5)]
    )
    make_calendar_use(values={"calendar": nights, "member": eve}, now=NOW + DAY, actor=None)
    due = NOW + DAY + 14 * HOUR
    # In two nights; until then no manager is told that it was missed.
    watch_all(now=due - MINUTE)
    clock = clock_of(play, "handoff_accepted")
    assert (clock.state, clock.due_at, clock.breached_at) == ("running", due, NOW + DAY)
    assert clock.excused_at == due - MINUTE
    before = ClockEvent.objects.filter(kind="escalated").count(), Notice.objects.filter(kind="breached").count()
    watch_all(now=due)
    clock = clock_of(play, "handoff_accepted")
    assert (clock.state, clock.breached_at, clock.excused_at) == ("breached", due, None)
    assert breaches() == [(0, NOW + DAY), (1, due)]
    event = ClockEvent.objects.get(kind="breached", level=1)
    assert (event.holder, event.told) == (eve, eve)
    assert ClockEvent.objects.filter(kind="escalated").count() == before[0] + 1
    assert Notice.objects.filter(event=event).count() == 2
    accept_plays(play_ids=[play.pk], now=due + MINUTE)
    assert clock_of(play, "handoff_accepted").state == "missed"
    assert broken() == []


def test_a_breach_is_not_excused_where_it_was_due_even_earlier(office: Calendar) -> None:
    play = owned(SEVEN_HOURS)
    watch_all(now=CLOSING)
    CalendarBlock.objects.filter(calendar=office).update(start_minute=8 * 60, end_minute=18 * 60)
    Clock.objects.filter(play=play).update(started_at=NOW, is_stale=True)
    watch_all(now=CLOSING + HOUR)
    assert (clock_of(play).state, clock_of(play).excused_at) == ("breached", None)
    assert broken() == []


def test_what_was_kept_or_broken_stays_so_when_the_calendar_is_edited_later(office: Calendar) -> None:
    kept, broken_one, called_off = (PlayFactory(recipe=recipe(SEVEN_HOURS), opened_at=NOW) for _ in range(3))
    start_clocks(now=NOW)
    log_touch(play_ids=[kept.pk], channel="call", now=CLOSING)
    close_plays(play_ids=[called_off.pk], outcome="won", now=CLOSING)
    log_touch(play_ids=[broken_one.pk], channel="call", now=CLOSING + HOUR)
    CalendarBlock.objects.filter(calendar=office).update(start_minute=8 * 60, end_minute=20 * 60)
    CalendarDay.objects.create(calendar=office, day=NOW.date(), start_minute=10 * 60, end_minute=11 * 60)
    Calendar.objects.update(updated_at=NOW + DAY)
    assert [clock_of(play).state for play in (kept, broken_one, called_off)] == ["met", "missed", "cancelled"]
    assert broken() == []


def test_factories_make_clocks_that_are_recomputed_at_the_first_look() -> None:
    clock = ClockFactory(play__opened_at=NOW)
    watch_all(now=NOW)
    clock.refresh_from_db()
    assert clock.due_at == NOW + DAY
    assert broken() == []
