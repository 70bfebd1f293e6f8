"""Acts on promises: broken ones are excused, and open plays are moved to the targets that are published now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks.acts.clocks import (
    Moving,
    excuse_breaches,
    follow_published_targets,
    preview_published_targets,
)
from csplaybooks.playbooks.acts.handoffs import offer_plays
from csplaybooks.playbooks.acts.plays import close_plays, log_touch, pause_plays, resume_plays
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookFactory, PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.models import Calendar, Clock, ClockEvent, Handoff, Notice, Play, PlaybookVersion
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.sweep import watch_all
from tests.playbooks.plays import broken, done, story

# A Monday; the office is open from nine to five in UTC.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
DUE = NOW + DAY
RUNG_2 = NOW + 2 * DAY
DRAFT = "key: k\nname: K\nmotion: add_on\ntriggers: [{key: t, any: [{all: [{measure: open_gap}]}]}]\n"
EIGHT_HOURS = "{target: first_touch, hours: 8}"
A_WEEK = "{target: closed, hours: 168, counting: wall}"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def office(db: None) -> Calendar:
    """The default calendar."""
    calendar: Calendar = CalendarFactory()
    return calendar


def text_of(*targets: str) -> str:
    """A draft that promises this."""
    return DRAFT + "routes: [{route: csm}]\ntargets:\n" + "".join(f"  - {target}\n" for target in targets)


def published(number: int, *targets: str) -> PlaybookVersion:
    """A version of the playbook that promises this, and runs."""
    playbook = PlaybookFactory(key="k", motion="add_on", draft="")
    playbook.draft = text_of(*targets)
    version: PlaybookVersion = PlaybookVersionFactory(playbook=playbook, number=number)
    return version


def running(*targets: str, **more: Any) -> Play:
    """A play with its clocks, looked at by the watcher."""
    play: Play = PlayFactory(recipe=published(1, *(targets or (EIGHT_HOURS,))), opened_at=NOW, **more)
    start_clocks(now=NOW)
    watch_all(now=NOW)
    return play


def clock_of(play: Play, target: str = "first_touch", number: int = 1) -> Clock:
    """A clock of a play as it stands in the table."""
    return Clock.objects.get(play=play, target=target, number=number)


def follow(play: Play, now: datetime = NOW) -> str | None:
    """Move a play to the targets published now, and have the watcher look; answers why not."""
    answers = follow_published_targets(play_ids=[play.pk], now=now)
    watch_all(now=now)
    return answers[play.pk]


def breaches_of(play: Play) -> list[datetime]:
    """The due times of a play's first touch that were missed, in their order."""
    rows = ClockEvent.objects.filter(clock__play=play, clock__target="first_touch", kind="breached").order_by("level")
    return [event.due_at for event in rows]


def rungs_of(play: Play) -> list[tuple[int, datetime]]:
    """The levels of the rungs that were climbed for a play, and when they were due."""
    rows = ClockEvent.objects.filter(clock__play=play, kind="escalated").order_by("level")
    return [(event.level, event.due_at) for event in rows]


# Excuses


def test_a_broken_promise_is_excused_and_stays_broken() -> None:
    play, manager = running(), UserFactory(username="mara")
    watch_all(now=DUE)
    clock = clock_of(play)
    answers = excuse_breaches(clock_ids=[clock.pk], reason=" They were ill. ", now=DUE + HOUR, actor=manager)
    assert answers == {clock.pk: None}
    clock.refresh_from_db()
    assert (clock.state, clock.breached_at, clock.due_at) == ("breached", DUE, DUE)
    assert (clock.excused_at, clock.excused_by, clock.excuse_reason) == (DUE + HOUR, manager, "They were ill.")
    assert story(play)[-1] == "First touch: the broken promise is excused: They were ill."
    # The rest of the ladder is not climbed.
    assert clock.next_event_at is None
    assert watch_all(now=RUNG_2) == 0
    assert not ClockEvent.objects.filter(kind="escalated", level=2).exists()
    # Done late is done late.
    log_touch(play_ids=[play.pk], channel="call", now=RUNG_2)
    assert clock_of(play).state == "missed"
    assert broken() == []


def test_what_was_done_late_may_be_excused() -> None:
    play = running()
    log_touch(play_ids=[play.pk], channel="call", now=DUE + HOUR)
    clock = clock_of(play)
    assert done(excuse_breaches(clock_ids=[clock.pk], reason="Fire drill", now=DUE + 2 * HOUR))
    clock.refresh_from_db()
    assert (clock.state, clock.excused_at, clock.excused_by) == ("missed", DUE + 2 * HOUR, None)
    assert broken() == []


def test_an_excused_promise_that_is_called_off_stays_broken() -> None:
    play = running()
    watch_all(now=DUE)
    excuse_breaches(clock_ids=[clock_of(play).pk], reason="Fire drill", now=DUE)
    close_plays(play_ids=[play.pk], outcome="lost", now=DUE + HOUR)
    assert clock_of(play).state == "missed"
    assert broken() == []


def test_only_what_was_broken_is_excused_and_once() -> None:
    first, second, third = running(), PlayFactory(recipe=PlaybookVersion.objects.get(), opened_at=NOW), running()
    start_clocks(now=NOW)
    kept, late, moved = clock_of(first), clock_of(second), clock_of(third)
    log_touch(play_ids=[first.pk], channel="call", now=NOW)
    watch_all(now=DUE)
    pause_plays(play_ids=[third.pk], reason="Holidays", now=DUE - HOUR)
    assert done(excuse_breaches(clock_ids=[late.pk], reason="Fire drill", now=DUE))
    answers = excuse_breaches(clock_ids=[kept.pk, late.pk, moved.pk, 0], reason="Again", now=DUE)
    assert answers == {
        kept.pk: "there is nothing to excuse: the promise is met",
        late.pk: "it is excused already: Fire drill",
        moved.pk: None,
        0: "there is no such clock",
    }
    late.refresh_from_db()
    moved.refresh_from_db()
    # What only a later due time excuses a person may excuse as well.
    assert (late.excuse_reason, moved.excuse_reason) == ("Fire drill", "Again")
    assert broken() == []


@pytest.mark.parametrize(("reason", "said"), [("  ", "Say why it is excused."), ("x" * 501, "At most 500")])
def test_an_excuse_needs_a_reason(reason: str, said: str) -> None:
    play = running()
    watch_all(now=DUE)
    with pytest.raises(ValidationError, match=said):
        excuse_breaches(clock_ids=[clock_of(play).pk], reason=reason, now=DUE)


def test_an_excused_breach_stays_so_through_a_pause() -> None:
    play = running()
    watch_all(now=DUE)
    excuse_breaches(clock_ids=[clock_of(play).pk], reason="Fire drill", now=DUE)
    pause_plays(play_ids=[play.pk], reason="Holidays", now=DUE + HOUR)
    resume_plays(play_ids=[play.pk], now=DUE + 2 * HOUR)
    clock = clock_of(play)
    assert (clock.excused_at, clock.excuse_reason, clock.next_event_at) == (DUE, "Fire drill", None)
    assert broken() == []


# Other targets


def test_a_play_keeps_the_promises_of_its_version_until_it_is_moved() -> None:
    play = running()
    second = published(2, "{target: first_touch, hours: 4, warn_percents: [25], escalate_after_hours: []}")
    watch_all(now=NOW)
    assert clock_of(play).due_at == DUE
    assert follow(play) is None
    clock = clock_of(play)
    assert (clock.due_at, clock.next_event_at) == (NOW + 4 * HOUR, NOW + HOUR)
    assert (clock.promised_seconds, clock.warn_percents, clock.escalation_waits) == (4 * 3600, [25], [])
    play.refresh_from_db()
    assert (play.promises, play.recipe.number) == (second, 1)
    assert story(play)[-1] == "K: promises are those of version 2 now"
    assert broken() == []


def test_a_promise_that_is_not_made_any_more_is_called_off_and_one_that_is_new_is_started() -> None:
    play = running()
    published(2, A_WEEK)
    assert follow(play, NOW + HOUR) is None
    assert (clock_of(play).state, clock_of(play).done_at) == ("cancelled", NOW + HOUR)
    week = clock_of(play, "closed")
    # From when somebody owned it.
    assert (week.state, week.started_at, week.due_at) == ("running", NOW, NOW + 7 * DAY)
    assert broken() == []
    # There and back again: the one that was called off stays so.
    published(3, EIGHT_HOURS)
    assert follow(play, NOW + 2 * HOUR) is None
    assert clock_of(play).state == "cancelled"
    assert (clock_of(play, number=2).state, clock_of(play, number=2).due_at) == ("running", DUE)
    assert clock_of(play, "closed").state == "cancelled"
    assert broken() == []


def test_a_play_may_come_back_to_its_own_version() -> None:
    play = running()
    first = play.recipe
    published(2, A_WEEK)
    follow(play)
    play.playbook.published = first
    play.playbook.save(update_fields=["published"])
    assert follow(play) is None
    play.refresh_from_db()
    assert play.promises is None
    assert clock_of(play, number=2).due_at == DUE
    assert broken() == []


def test_a_shorter_promise_may_be_broken_at_once_and_a_longer_one_excuses() -> None:
    play = running()
    published(2, "{target: first_touch, hours: 1}")
    follow(play, NOW + 2 * HOUR)
    clock = clock_of(play)
    assert (clock.state, clock.breached_at, clock.noticed_at) == ("breached", NOW + HOUR, NOW + 2 * HOUR)
    published(3, "{target: first_touch, hours: 16}")
    follow(play, NOW + 3 * HOUR)
    clock = clock_of(play)
    assert (clock.state, clock.due_at, clock.excused_at) == ("running", NOW + 2 * DAY, NOW + 3 * HOUR)
    assert broken() == []


def test_a_long_promise_in_between_launders_no_breach() -> None:
    play = running("{target: first_touch, hours: 2, counting: wall}")
    watch_all(now=NOW + 2 * HOUR)
    published(2, "{target: first_touch, hours: 4000, counting: wall}")
    follow(play, NOW + 3 * HOUR)
    assert (clock_of(play).state, clock_of(play).excused_at) == ("running", NOW + 3 * HOUR)
    # The ladder waits for the new due time.
    watch_all(now=NOW + 2 * DAY)
    assert rungs_of(play) == [(1, NOW + 2 * HOUR)]
    published(3, "{target: first_touch, hours: 2, counting: wall}")
    follow(play, NOW + 2 * DAY)
    clock = clock_of(play)
    assert (clock.state, clock.breached_at, clock.excused_at) == ("breached", NOW + 2 * HOUR, None)
    # It goes on from the breach that was written.
    assert rungs_of(play) == [(1, NOW + 2 * HOUR), (2, NOW + 10 * HOUR)]
    assert breaches_of(play) == [NOW + 2 * HOUR]
    log_touch(play_ids=[play.pk], channel="call", now=NOW + 9 * DAY)
    assert (clock_of(play).state, clock_of(play).excused_at) == ("missed", None)
    assert broken() == []


def test_a_moved_promise_that_is_missed_again_is_broken_anew_and_climbs_its_ladder_again() -> None:
    play = running("{target: first_touch, hours: 2, counting: wall, warn_percents: [80]}")
    watch_all(now=NOW + 2 * HOUR)
    published(
        2, "{target: first_touch, hours: 20, counting: wall, warn_percents: [5, 80], escalate_after_hours: [0, 8]}"
    )
    follow(play, NOW + 3 * HOUR)
    # Its start is over by now, and nobody is warned of it.
    assert clock_of(play).next_event_at == NOW + 16 * HOUR
    for hour in (16, 20, 28):
        watch_all(now=NOW + hour * HOUR)
    clock = clock_of(play)
    assert (clock.state, clock.breached_at, clock.noticed_at) == ("breached", NOW + 20 * HOUR, NOW + 20 * HOUR)
    assert (clock.excused_at, clock.next_event_at) == (None, None)
    events = list(ClockEvent.objects.filter(clock=clock).order_by("due_at", "pk"))
    assert [str(event) for event in events] == [
        "Warned 80",
        "Breached",
        "Escalated 1",
        "Warned 80, due time 2",
        "Breached, due time 2",
        "Escalated 1, due time 2",
        "Escalated 2, due time 2",
    ]
    assert [event.told for event in events[3:5]] == [play.owner, play.owner]
    assert story(play)[-3:] == [
        "First touch: the promise was missed",
        "First touch: still open after the promise was missed; rung 1 of the ladder",
        "First touch: still open after the promise was missed; rung 2 of the ladder",
    ]
    assert broken() == []


def test_a_moved_promise_that_is_kept_is_met_and_one_kept_too_late_missed_though_nobody_looked() -> None:
    kept, late = running(), running()
    watch_all(now=DUE)
    published(2, "{target: first_touch, hours: 16}")
    follow_published_targets(play_ids=[kept.pk, late.pk], now=DUE + HOUR)
    log_touch(play_ids=[kept.pk], channel="call", now=NOW + 2 * DAY)
    log_touch(play_ids=[late.pk], channel="call", now=NOW + 2 * DAY + HOUR)
    clock = clock_of(kept)
    assert (clock.state, clock.breached_at, clock.excused_at) == ("met", DUE, DUE + HOUR)
    clock = clock_of(late)
    assert (clock.state, clock.breached_at, clock.excused_at) == ("missed", NOW + 2 * DAY, None)
    assert (breaches_of(kept), breaches_of(late)) == ([DUE], [DUE, NOW + 2 * DAY])
    assert broken() == []


def test_a_promise_may_be_missed_as_often_as_it_is_moved() -> None:
    play = running()
    for number in (2, 3):
        watch_all(now=NOW + (number - 1) * DAY)
        published(number, f"{{target: first_touch, hours: {8 * number}}}")
        follow(play, NOW + (number - 1) * DAY + HOUR)
    close_plays(play_ids=[play.pk], outcome="lost", now=NOW + 9 * DAY)
    clock = clock_of(play)
    assert (clock.state, clock.breached_at) == ("missed", NOW + 3 * DAY)
    assert breaches_of(play) == [DUE, NOW + 2 * DAY, NOW + 3 * DAY]
    told = ClockEvent.objects.get(clock=clock, kind="breached", level=2)
    assert (told.noticed_at, told.holder) == (NOW + 9 * DAY, play.owner)
    assert Notice.objects.filter(event=told).count() == 1
    assert broken() == []


def test_what_a_person_has_excused_stays_so_when_it_is_missed_again_and_nobody_is_told() -> None:
    play = running()
    watch_all(now=DUE)
    excuse_breaches(clock_ids=[clock_of(play).pk], reason="Fire drill", now=DUE)
    published(2, "{target: first_touch, hours: 16}")
    follow(play, DUE + HOUR)
    told = Notice.objects.count()
    watch_all(now=NOW + 9 * DAY)
    clock = clock_of(play)
    assert (clock.state, clock.breached_at, clock.excuse_reason) == ("breached", NOW + 2 * DAY, "Fire drill")
    assert (clock.excused_at, clock.next_event_at) == (DUE, None)
    assert breaches_of(play) == [DUE, NOW + 2 * DAY]
    assert ClockEvent.objects.get(clock=clock, kind="breached", level=1).told is None
    assert [rung for rung, _ in rungs_of(play)] == [1]
    assert Notice.objects.count() == told
    log_touch(play_ids=[play.pk], channel="call", now=NOW + 9 * DAY)
    assert (clock_of(play).state, clock_of(play).excuse_reason) == ("missed", "Fire drill")
    assert broken() == []


# What it would come to


def test_it_is_told_before_what_moving_plays_comes_to_and_nothing_is_done() -> None:
    late, again, fine, kept = (running(EIGHT_HOURS, A_WEEK) for _ in range(4))
    log_touch(play_ids=[kept.pk], channel="call", now=NOW)
    log_touch(play_ids=[fine.pk], channel="call", now=NOW)
    plays = [late.pk, again.pk, fine.pk, kept.pk]
    watch_all(now=DUE)
    published(2, "{target: first_touch, hours: 16}", "{target: closed, hours: 20, counting: wall}")
    pause_plays(play_ids=[fine.pk], reason="Holidays", now=NOW + HOUR)
    before = list(Clock.objects.order_by("pk").values()), TimelineEntry.objects.count(), Notice.objects.count()
    seen = preview_published_targets(play_ids=plays, now=DUE)
    assert before == (
        list(Clock.objects.order_by("pk").values()),
        TimelineEntry.objects.count(),
        Notice.objects.count(),
    )
    # Two first touches run on, three closes are overdue, that of the paused play is not due.
    assert seen == Moving(plays=4, promises=6, missed=3, excused=2)
    follow_published_targets(play_ids=plays, now=DUE)
    watch_all(now=DUE)
    assert Clock.objects.filter(state="breached").count() == 3
    assert preview_published_targets(play_ids=plays, now=DUE) == Moving(0, 0, 0, 0)
    assert broken() == []


def test_what_moving_comes_to_takes_the_same_number_of_queries_for_few_plays_or_many() -> None:
    counts = []
    for number in (2, 12):
        plays = [running(EIGHT_HOURS, A_WEEK) for _ in range(number)]
        published(2, "{target: first_touch, hours: 4}")
        with CaptureQueriesContext(connection) as queries:
            preview_published_targets(play_ids=[play.pk for play in plays], now=NOW + 2 * DAY)
        counts.append(len(queries))
        Play.objects.all().delete()
    assert counts[0] == counts[1]


def test_a_promise_that_was_broken_unseen_is_not_lost_when_it_is_called_off() -> None:
    play = running()
    published(2, A_WEEK)
    assert follow_published_targets(play_ids=[play.pk], now=DUE + HOUR) == {play.pk: None}
    clock = clock_of(play)
    assert (clock.state, clock.breached_at) == ("missed", DUE)
    event = ClockEvent.objects.get(clock=clock, kind="breached")
    assert (event.holder, event.told) == (play.owner, play.owner)
    watch_all(now=DUE + HOUR)
    assert broken() == []


def test_what_was_kept_stays_kept() -> None:
    play = running(EIGHT_HOURS, A_WEEK)
    log_touch(play_ids=[play.pk], channel="call", now=NOW + 2 * HOUR)
    published(2, "{target: first_touch, hours: 1}", A_WEEK)
    assert follow(play, NOW + 3 * HOUR) is None
    assert (clock_of(play).state, clock_of(play).due_at) == ("met", DUE)
    assert broken() == []


def test_hours_of_another_kind_and_another_calendar(office: Calendar) -> None:
    play = running(A_WEEK.replace("closed", "first_touch"))
    nights = CalendarFactory(key="nights", name="Nights", is_default=False, blocks=[(0, 20 * 60, 24 * 60)])
    published(2, "{target: first_touch, hours: 2, calendar: nights}")
    follow(play)
    clock = clock_of(play)
    assert (clock.hours, clock.calendar, clock.follows_owner) == ("working", nights, False)
    assert clock.due_at == NOW + 12 * HOUR
    published(3, "{target: first_touch, hours: 2, counting: wall}")
    follow(play)
    clock = clock_of(play)
    assert (clock.hours, clock.calendar, clock.zone, clock.due_at) == ("wall", None, "", NOW + 2 * HOUR)
    published(4, EIGHT_HOURS)
    follow(play)
    assert (clock_of(play).calendar, clock_of(play).follows_owner) == (office, True)
    assert broken() == []


def test_an_offer_that_waits_follows_too() -> None:
    play = running()
    offer_plays(play_ids=[play.pk], to_id=TeamMemberFactory(ae=True).pk, now=NOW)
    published(2, EIGHT_HOURS, "{target: handoff_accepted, hours: 4, counting: wall, lapse_after_hours: 24}")
    assert follow(play) is None
    assert clock_of(play, "handoff_accepted").due_at == NOW + 4 * HOUR
    offer = Handoff.objects.get()
    assert (offer.expires_at, offer.lapse_seconds) == (NOW + DAY, 24 * 3600)
    assert broken() == []


def test_an_offer_made_later_is_promised_by_the_targets_followed() -> None:
    play = running()
    published(2, EIGHT_HOURS, "{target: handoff_accepted, hours: 4, counting: wall}")
    follow(play)
    offer_plays(play_ids=[play.pk], to_id=TeamMemberFactory(ae=True).pk, now=NOW)
    assert clock_of(play, "handoff_accepted").due_at == NOW + 4 * HOUR


def test_a_play_that_has_no_clocks_yet_gets_those_it_was_moved_to() -> None:
    play = PlayFactory(recipe=published(1, EIGHT_HOURS), opened_at=NOW)
    published(2, A_WEEK)
    assert follow_published_targets(play_ids=[play.pk], now=NOW) == {play.pk: None}
    assert not play.clocks.exists()
    start_clocks(now=NOW)
    watch_all(now=NOW)
    assert list(play.clocks.values_list("target", flat=True)) == ["closed"]
    assert broken() == []


def test_a_paused_play_is_moved_and_stays_paused() -> None:
    play = running()
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW + HOUR)
    published(2, "{target: first_touch, hours: 16}")
    assert follow(play, NOW + 2 * HOUR) is None
    clock = clock_of(play)
    assert (clock.state, clock.due_at, clock.next_event_at) == ("paused", None, None)
    assert broken() == []


def test_why_a_play_is_not_moved() -> None:
    play = running()
    closed = PlayFactory(recipe=play.recipe, opened_at=NOW)
    close_plays(play_ids=[closed.pk], outcome="lost", now=NOW)
    before = Play.objects.get(pk=play.pk).version
    assert follow_published_targets(play_ids=[play.pk, closed.pk, 0], now=NOW) == {
        play.pk: "its promises are those of the published version already",
        closed.pk: "the play is closed",
        0: "there is no such play",
    }
    assert Play.objects.get(pk=play.pk).version == before


def test_it_takes_the_same_number_of_queries_for_few_plays_or_many() -> None:
    counts = []
    for number in (2, 12):
        plays = [running(EIGHT_HOURS, A_WEEK) for _ in range(number)]
        published(2, "{target: first_touch, hours: 4}")
        with CaptureQueriesContext(connection) as queries:
            assert done(follow_published_targets(play_ids=[play.pk for play in plays], now=NOW))
        counts.append(len(queries))
        Play.objects.all().delete()
    assert counts[0] == counts[1]
