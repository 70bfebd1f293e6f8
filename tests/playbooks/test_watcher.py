"""The watcher: warns, breaches and escalates, each once, however late it comes and whoever else is at work."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks import clockwork
from csplaybooks.playbooks.acts import moving
from csplaybooks.playbooks.acts import plays as acts
from csplaybooks.playbooks.acts.plays import assign_plays, pause_plays
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.models import CalendarBlock, Clock, ClockEvent, Lease, Play
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.sweep import watch_all
from csplaybooks.playbooks.pipeline.watcher import watch_clocks
from tests.at_once import at_once, elsewhere
from tests.playbooks.plays import broken

# A Monday. The promise of the factories' playbook is a first touch in eight working hours: due on Tuesday at ten.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
DUE = NOW + DAY
WARN_50 = NOW + 4 * HOUR
WARN_80 = NOW + 6.4 * HOUR

pytestmark = pytest.mark.django_db


def ticking(number: int = 1) -> list[Clock]:
    """Clocks that began now."""
    CalendarFactory()
    recipe, owner = PlaybookVersionFactory(), TeamMemberFactory(name="Carla")
    for _ in range(number):
        PlayFactory(recipe=recipe, owner=owner, opened_at=NOW)
    assert start_clocks(now=NOW) == number
    # New ones are recomputed at the first look.
    assert watch_clocks(now=NOW) == number
    return list(Clock.objects.order_by("pk"))


def events() -> list[tuple[str, int, datetime, datetime]]:
    """What was written on clocks: kind, level, when it was due, when it was noticed."""
    rows = ClockEvent.objects.order_by("due_at", "pk")
    return [(event.kind, event.level, event.due_at, event.noticed_at) for event in rows]


def lines() -> list[str]:
    """What the timeline says."""
    return list(TimelineEntry.objects.order_by("pk").values_list("text", flat=True))


def test_it_warns_at_its_shares_and_breaches_at_the_due_time_and_climbs_the_ladder() -> None:
    (clock,) = ticking()
    rung_2 = datetime(2026, 11, 18, 10, 0, tzinfo=UTC)
    for moment in (WARN_50, WARN_80, DUE, rung_2):
        clock.refresh_from_db()
        assert clock.next_event_at == moment
        assert watch_clocks(now=moment - MICROSECOND) == 0
        assert watch_clocks(now=moment) == 1
        assert watch_clocks(now=moment) == 0
    assert events() == [
        ("warned", 50, WARN_50, WARN_50),
        ("warned", 80, WARN_80, WARN_80),
        ("breached", 0, DUE, DUE),
        ("escalated", 1, DUE, DUE),
        ("escalated", 2, rung_2, rung_2),
    ]
    assert lines() == [
        "First touch: 50 % of the promised time is used",
        "First touch: 80 % of the promised time is used",
        "First touch: the promise was missed",
        "First touch: still open after the promise was missed; rung 1 of the ladder",
        "First touch: still open after the promise was missed; rung 2 of the ladder",
    ]
    clock.refresh_from_db()
    assert (clock.state, clock.breached_at, clock.noticed_at, clock.next_event_at) == ("breached", DUE, DUE, None)
    assert watch_all(now=NOW + 365 * DAY) == 0
    assert broken() == []


def test_after_downtime_each_is_written_once_and_late_and_the_breach_and_the_last_are_told() -> None:
    (clock,) = ticking()
    late = NOW + 30 * DAY
    assert watch_all(now=late) == 1
    assert Counter((kind, level) for kind, level, _, _ in events()) == Counter(
        [("warned", 50), ("warned", 80), ("breached", 0), ("escalated", 1), ("escalated", 2)]
    )
    assert {noticed for _, _, _, noticed in events()} == {late}
    clock.refresh_from_db()
    assert (clock.breached_at, clock.noticed_at) == (DUE, late)
    assert lines() == [
        "First touch: the promise was missed",
        "First touch: still open after the promise was missed; rung 2 of the ladder",
    ]
    moments = list(TimelineEntry.objects.order_by("pk").values_list("at", "recorded_at"))
    assert moments == [(DUE, late), (datetime(2026, 11, 18, 10, 0, tzinfo=UTC), late)]
    assert watch_all(now=late) == 0
    assert broken() == []


def test_blame_goes_to_who_held_it_then() -> None:
    (clock,) = ticking()
    watch_all(now=WARN_50)
    dora = TeamMemberFactory(name="Dora")
    assign_plays(play_ids=[clock.play_id], owner_id=dora.pk, now=WARN_50)
    watch_all(now=DUE)
    assert [(event.kind, event.holder.name) for event in ClockEvent.objects.order_by("pk")] == [
        ("warned", "Carla"),
        ("warned", "Dora"),
        ("breached", "Dora"),
        ("escalated", "Dora"),
    ]


def test_the_heartbeat_tells_how_many_were_due_and_how_many_were_dealt_with() -> None:
    ticking(5)
    watch_clocks(now=WARN_50, limit=2)
    beat = Lease.objects.get(name="csplaybooks:watcher")
    # What is left for the next look is not missing.
    assert (beat.last_run_at, beat.expected, beat.seen) == (WARN_50, 2, 2)
    # One round of the sweep: it is not wiped out by a last look that finds nothing.
    assert watch_all(now=WARN_50 + HOUR) == 3
    beat.refresh_from_db()
    assert (beat.last_run_at, beat.expected, beat.seen) == (WARN_50 + HOUR, 3, 3)
    watch_all(now=WARN_50 + HOUR)
    beat.refresh_from_db()
    assert (beat.expected, beat.seen) == (0, 0)


def test_it_goes_on_until_none_is_due() -> None:
    ticking(5)
    assert watch_all(now=DUE, limit=2) == 5
    assert ClockEvent.objects.filter(kind="breached").count() == 5


def test_an_idle_look_is_cheap_whatever_is_ticking(django_assert_max_num_queries: Any) -> None:
    ticking(20)
    watch_clocks(now=NOW)
    with django_assert_max_num_queries(5) as captured:
        assert watch_clocks(now=NOW) == 0
    assert not [query for query in captured if "csplaybooks_playbooks_clockevent" in query["sql"]]


@pytest.mark.parametrize("number", [1, 30])
def test_a_look_takes_the_same_number_of_queries_whatever_is_due(
    number: int, django_assert_max_num_queries: Any
) -> None:
    ticking(number)
    watch_clocks(now=NOW)
    with django_assert_max_num_queries(30):
        assert watch_clocks(now=DUE) == number


def test_a_clock_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = ticking(2)
    empty = CalendarFactory(key="empty", is_default=False, blocks=[])
    Clock.objects.filter(pk=bad.pk).update(calendar=empty, follows_owner=False, next_event_at=NOW)
    assert watch_clocks(now=DUE) == 2
    good.refresh_from_db()
    bad.refresh_from_db()
    assert (good.state, bad.state) == ("breached", "running")
    assert f"clock {bad.pk} failed" in caplog.text
    beat = Lease.objects.get(name="csplaybooks:watcher")
    assert (beat.expected, beat.seen) == (2, 1)
    # It waits for its next try, and is dealt with once its calendar is whole.
    assert bad.next_event_at == DUE + timedelta(minutes=1)
    assert watch_all(now=DUE) == 0
    CalendarBlock.objects.create(calendar=empty, weekday=0, start_minute=0, end_minute=1440)
    assert watch_all(now=DUE + timedelta(minutes=1)) == 1
    bad.refresh_from_db()
    assert bad.state == "breached"


def test_finished_clocks_and_those_of_closed_plays_are_let_be() -> None:
    clocks = ticking(2)
    acts.log_touch(play_ids=[clocks[0].play_id], channel="call", now=NOW)
    acts.close_plays(play_ids=[clocks[1].play_id], outcome="lost", now=NOW)
    assert watch_all(now=NOW + 30 * DAY) == 0
    assert not ClockEvent.objects.exists()


# At the same time


@pytest.mark.django_db(transaction=True)
def test_watchers_at_once_share_the_work_and_write_each_event_once() -> None:
    ticking(40)
    assert sum(at_once(*[lambda: watch_all(now=DUE, limit=7)] * 4)) == 40
    assert Counter(ClockEvent.objects.values_list("kind", flat=True)) == {
        "warned": 80,
        "breached": 40,
        "escalated": 40,
    }
    assert Counter(TimelineEntry.objects.values_list("kind", flat=True)) == {
        "clock_breached": 40,
        "clock_escalated": 40,
    }
    assert broken() == []


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_breach_that_is_written_while_somebody_pauses_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    (clock,) = ticking()
    seen = []
    recompute = clockwork.recompute

    def overtaken(*args: Any) -> None:
        # The act has read its clocks and is about to write them.
        seen.append(elsewhere(lambda: watch_clocks(now=DUE + HOUR)))
        recompute(*args)

    monkeypatch.setattr(moving, "recompute", overtaken)
    pause_plays(play_ids=[clock.play_id], reason="Holidays", now=DUE + HOUR)
    clock.refresh_from_db()
    assert seen == [0]
    watch_clocks(now=DUE + HOUR)
    clock.refresh_from_db()
    assert (clock.state, clock.breached_at) == ("breached", DUE)
    assert ClockEvent.objects.filter(kind="breached").count() == 1
    assert broken() == []


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_breach_that_is_written_between_the_pause_and_its_clocks_is_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    (clock,) = ticking()
    seen = []
    fresh_clocks = moving.fresh_clocks

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        # The pause began in time, but its transaction is not finished yet.
        seen.append(elsewhere(lambda: watch_clocks(now=DUE)))
        return fresh_clocks(*args, **kwargs)

    monkeypatch.setattr(acts, "fresh_clocks", overtaken)
    pause_plays(play_ids=[clock.play_id], reason="Holidays", now=DUE - HOUR)
    clock.refresh_from_db()
    assert seen == [1]
    assert (clock.state, clock.breached_at, clock.due_at) == ("paused", DUE, None)
    assert clock.excused_at == DUE - HOUR
    assert Play.objects.get().state == "paused"
    assert broken() == []
