"""In whose hours a promise runs: those its target names, or else those of whoever owns the play, as they stand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts.members import change_member
from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.playbooks.acts.calendar_uses import delete_calendar_uses, make_calendar_use
from csplaybooks.playbooks.acts.calendars import WeekHours, change_calendar, delete_calendars
from csplaybooks.playbooks.acts.claiming import claim_plays
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays, take_back_plays
from csplaybooks.playbooks.acts.plays import assign_plays, close_plays, log_touch, pause_plays, resume_plays
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.doctor.findings import Look
from csplaybooks.playbooks.doctor.waiting import undated_clocks
from csplaybooks.playbooks.document import DocumentError
from csplaybooks.playbooks.factories import (
    CalendarFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
)
from csplaybooks.playbooks.models import (
    Calendar,
    CalendarBlock,
    CalendarDay,
    Clock,
    ClockEvent,
    Handoff,
    Play,
    PlaybookVersion,
)
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.sweep import watch_all
from csplaybooks.playbooks.pipeline.watcher import watch_clocks
from tests.at_once import elsewhere
from tests.playbooks.plays import broken, done

# A Monday; the office is open from nine to five in UTC.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
DRAFT = "key: k\nname: K\nmotion: add_on\ntriggers: [{key: t, any: [{all: [{measure: open_gap}]}]}]\n"
EIGHT_HOURS = "{target: first_touch, hours: 8}"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def office(db: None) -> Calendar:
    """The default calendar."""
    calendar: Calendar = CalendarFactory()
    return calendar


@pytest.fixture
def nights(db: None) -> Calendar:
    """Another calendar: open from eight in the evening to four in the morning."""
    calendar: Calendar = CalendarFactory(
        key="nights", name="Nights", is_default=False, blocks=[(weekday, 20 * 60, 28 * 60) for weekday in range(5)]
    )
    return calendar


def text_of(*targets: str) -> str:
    """A draft that promises this."""
    return DRAFT + "routes: [{route: csm}]\ntargets:\n" + "".join(f"  - {target}\n" for target in targets)


def recipe(*targets: str) -> PlaybookVersion:
    """A published playbook that promises this."""
    version: PlaybookVersion = PlaybookVersionFactory(
        playbook=PlaybookFactory(key="k", motion="add_on", draft=text_of(*targets))
    )
    return version


def running(*targets: str, **more: Any) -> Clock:
    """The one clock of a play, looked at by the watcher."""
    play = PlayFactory(recipe=recipe(*(targets or (EIGHT_HOURS,))), opened_at=NOW, **more)
    assert start_clocks(now=NOW) == 1
    watch_all(now=NOW)
    return Clock.objects.get(play=play)


def due(clock: Clock, now: datetime = NOW) -> datetime | None:
    """When a clock is due, once the watcher has looked."""
    watch_all(now=now)
    clock.refresh_from_db()
    return clock.due_at


# What is promised to whom


def test_a_target_may_be_for_some_segments() -> None:
    version = recipe(
        "{target: first_touch, hours: 2, segments: [enterprise]}",
        "{target: first_touch, hours: 8, segments: [small, mid_market]}",
        "{target: closed, hours: 80}",
    )
    for segment in ("enterprise", "small", ""):
        PlayFactory(recipe=version, segment=segment, opened_at=NOW)
    assert start_clocks(now=NOW) == 3
    told = Clock.objects.order_by("play_id", "target").values_list("play__segment", "target", "promised_seconds")
    assert list(told) == [
        ("enterprise", "closed", 80 * 3600),
        ("enterprise", "first_touch", 2 * 3600),
        ("small", "closed", 80 * 3600),
        ("small", "first_touch", 8 * 3600),
        # Nothing was known of the account: only what is for all is promised.
        ("", "closed", 80 * 3600),
    ]
    watch_all(now=NOW)
    assert broken() == []


@pytest.mark.parametrize(
    ("targets", "place", "problem"),
    [
        (
            ["{target: closed, hours: 8, segments: [small]}", "{target: closed, hours: 9}"],
            "targets/1",
            "the target closed stands twice for one route and segment",
        ),
        (
            ["{target: closed, hours: 8}", "{target: closed, hours: 9, segments: [small]}"],
            "targets/1",
            "the target closed stands twice for one route and segment",
        ),
        (
            [
                "{target: closed, hours: 8, segments: [small, enterprise], routes: [csm, email]}",
                "{target: closed, hours: 8, segments: [mid_market], routes: [csm]}",
                "{target: closed, hours: 9, segments: [enterprise], routes: [email]}",
            ],
            "targets/2",
            "the target closed stands twice for one route and segment",
        ),
        (["{target: closed, hours: 8, segments: []}"], "targets/0/segments", "is empty"),
        (["{target: closed, hours: 8, segments: [tiny]}"], "targets/0/segments/0", "is not one of small"),
        (
            ["{target: closed, hours: 8, counting: wall, calendar: office}"],
            "targets/0/calendar",
            "where every hour counts",
        ),
        (["{target: closed, hours: 8, calendar: ''}"], "targets/0/calendar", "is empty"),
    ],
)
def test_targets_that_cannot_be_are_refused(targets: list[str], place: str, problem: str) -> None:
    with pytest.raises(DocumentError) as caught:
        save_draft(text=text_of(*targets), now=NOW)
    ((where, what),) = caught.value.errors
    assert where == place
    assert problem in what


def test_targets_of_different_plays_stand_beside_each_other() -> None:
    save_draft(
        text=text_of(
            "{target: closed, hours: 8, segments: [small], routes: [csm]}",
            "{target: closed, hours: 9, segments: [small], routes: [email]}",
            "{target: closed, hours: 9, segments: [enterprise]}",
        ),
        now=NOW,
    )


def test_versions_published_before_these_keys_keep_their_promises() -> None:
    version = recipe(EIGHT_HOURS)
    assert not {"segments", "calendar", "routes"} & version.document["targets"][0].keys()
    play = PlayFactory(recipe=version, segment="small", route="email", opened_at=NOW)
    start_clocks(now=NOW)
    assert play.clocks.get().due_at == NOW + DAY


# A calendar that a target names


def test_a_target_may_name_its_calendar_whoever_owns_the_play(nights: Calendar) -> None:
    clock = running("{target: first_touch, hours: 8, calendar: nights}")
    assert (clock.calendar, clock.zone, clock.follows_owner) == (nights, "", False)
    midnight_four = datetime(2026, 11, 17, 4, 0, tzinfo=UTC)
    assert clock.due_at == midnight_four
    assign_plays(play_ids=[clock.play_id], owner_id=TeamMemberFactory(zone="Asia/Tokyo").pk, now=NOW)
    assert due(clock) == midnight_four
    assert broken() == []


def test_a_calendar_that_there_is_not_is_refused_when_it_is_published(nights: Calendar) -> None:
    text = text_of("{target: first_touch, hours: 8, calendar: nights}", "{target: closed, hours: 8, calendar: moon}")
    playbook = save_draft(text=text, now=NOW)
    with pytest.raises(DocumentError) as caught:
        publish_playbook(playbook_id=playbook.pk, now=NOW)
    assert caught.value.errors == [("targets/1/calendar", "there is no calendar moon")]


def test_a_calendar_that_a_published_playbook_names_cannot_be_deleted(nights: Calendar) -> None:
    playbook = save_draft(text=text_of("{target: first_touch, hours: 8, calendar: nights}"), now=NOW)
    publish_playbook(playbook_id=playbook.pk, now=NOW)
    with pytest.raises(ValidationError, match="Nights is in use: the published playbook K names it"):
        delete_calendars(calendar_ids=[nights.pk], now=NOW, actor=None)
    save_draft(text=text_of(EIGHT_HOURS), now=NOW)
    publish_playbook(playbook_id=playbook.pk, now=NOW)
    assert delete_calendars(calendar_ids=[nights.pk], now=NOW, actor=None) == 1


def test_a_version_of_long_ago_that_names_a_calendar_which_is_gone_follows_the_owner(office: Calendar) -> None:
    clock = running("{target: first_touch, hours: 8, calendar: gone}")
    assert (clock.calendar, clock.follows_owner) == (office, True)
    assert broken() == []


# The hours of the owner


def test_another_owner_brings_other_hours(nights: Calendar) -> None:
    olga, clock = TeamMemberFactory(name="Olga"), running()
    make_calendar_use(values={"calendar": nights, "member": olga}, now=NOW, actor=None)
    assert clock.due_at == NOW + DAY
    assign_plays(play_ids=[clock.play_id], owner_id=olga.pk, now=NOW)
    clock.refresh_from_db()
    assert (clock.calendar, clock.due_at) == (nights, datetime(2026, 11, 17, 4, 0, tzinfo=UTC))
    assert broken() == []


def test_whoever_claims_a_play_out_of_the_tray_brings_their_hours(nights: Calendar) -> None:
    olga, clock = TeamMemberFactory(name="Olga"), running()
    make_calendar_use(values={"calendar": nights, "member": olga}, now=NOW, actor=None)
    Play.objects.filter(pk=clock.play_id).update(tray_at=NOW)
    assert done(claim_plays(play_ids=[clock.play_id], now=NOW, actor=olga.user))
    clock.refresh_from_db()
    assert (clock.calendar, clock.due_at) == (nights, datetime(2026, 11, 17, 4, 0, tzinfo=UTC))
    assert broken() == []


def test_the_zone_of_a_member_moves_what_they_own() -> None:
    nina = TeamMemberFactory(name="Nina")
    clock = running(owner=nina)
    change_member(member_id=nina.pk, values={"zone": "America/New_York"}, now=NOW, actor=None)
    clock.refresh_from_db()
    assert clock.is_stale
    # From nine in New York, which is 14:00 here.
    assert due(clock) == datetime(2026, 11, 16, 22, 0, tzinfo=UTC)
    assert clock.zone == "America/New_York"
    assert broken() == []


def test_to_give_a_calendar_and_to_take_it_away_moves_the_due_time(office: Calendar, nights: Calendar) -> None:
    clock = running()
    values = {"calendar": nights, "member": clock.play.owner}
    use = make_calendar_use(values=values, now=NOW, actor=None)
    assert due(clock) == datetime(2026, 11, 17, 4, 0, tzinfo=UTC)
    assert clock.calendar == nights
    delete_calendar_uses(use_ids=[use.pk], now=NOW, actor=None)
    assert due(clock) == NOW + DAY
    assert clock.calendar == office
    assert broken() == []


def test_another_default_moves_the_due_time(nights: Calendar) -> None:
    clock = running()
    change_calendar(calendar_id=nights.pk, values={"is_default": True}, now=NOW, actor=None)
    assert due(clock) == datetime(2026, 11, 17, 4, 0, tzinfo=UTC)
    assert broken() == []


def test_an_edit_of_the_calendar_moves_the_due_time(office: Calendar) -> None:
    clock = running()
    week = [WeekHours(weekday, 9 * 60, 20 * 60) for weekday in range(5)]
    change_calendar(calendar_id=office.pk, values={}, week=week, now=NOW, actor=None)
    assert due(clock) == NOW + 8 * HOUR
    assert broken() == []


def test_a_breach_stands_where_hours_move_the_due_time_behind_it(nights: Calendar) -> None:
    clock = running()
    watch_all(now=NOW + DAY)
    olga = TeamMemberFactory(name="Olga", zone="America/New_York")
    assign_plays(play_ids=[clock.play_id], owner_id=olga.pk, now=NOW + DAY)
    clock.refresh_from_db()
    # Her day would have run out before: nothing to excuse.
    assert (clock.state, clock.breached_at, clock.excused_at) == ("breached", NOW + DAY, None)
    make_calendar_use(values={"calendar": nights, "member": olga}, now=NOW + DAY, actor=None)
    watch_all(now=NOW + DAY)
    clock.refresh_from_db()
    # From eight in the evening in New York: a whole night.
    assert clock.due_at == datetime(2026, 11, 17, 9, 0, tzinfo=UTC)
    assert (clock.state, clock.breached_at, clock.excused_at) == ("breached", NOW + DAY, None)
    assert ClockEvent.objects.filter(kind="breached").count() == 1
    assert broken() == []


@pytest.mark.parametrize(("late", "state"), [(timedelta(), "met"), (timedelta(microseconds=1), "missed")])
def test_a_promise_that_other_hours_excuse_is_kept_up_to_its_new_due_time(late: timedelta, state: str) -> None:
    clock = running()
    watch_all(now=NOW + DAY)
    mornings = CalendarFactory(key="mornings", is_default=False, blocks=[(day, 9 * 60, 13 * 60) for day in range(5)])
    make_calendar_use(values={"calendar": mornings, "member": clock.play.owner}, now=NOW + DAY, actor=None)
    assert due(clock, NOW + DAY) == NOW + 2 * DAY
    assert (clock.state, clock.excused_at) == ("running", NOW + DAY)
    assert done(log_touch(play_ids=[clock.play_id], channel="call", now=NOW + 2 * DAY + late))
    clock.refresh_from_db()
    # Where that is missed too, it is broken there.
    assert (clock.state, clock.breached_at) == (state, NOW + DAY + (DAY if late else timedelta()))
    assert broken() == []


def test_what_ended_keeps_the_hours_of_its_time(office: Calendar, nights: Calendar) -> None:
    clock = running()
    log_touch(play_ids=[clock.play_id], channel="call", now=NOW)
    make_calendar_use(values={"calendar": nights, "member": clock.play.owner}, now=NOW, actor=None)
    before = clock.due_at
    assert due(clock) == before
    assert (clock.state, clock.calendar) == ("met", office)
    assert broken() == []


def test_hours_edited_at_the_instant_of_an_end_change_nothing_about_it(office: Calendar) -> None:
    clock = running("{target: closed, hours: 8}")
    promised = due(clock)
    assert promised
    late = promised + timedelta(minutes=1)
    watch_all(now=late)
    assert done(close_plays(play_ids=[clock.play_id], outcome="won", now=late))
    week = [WeekHours(weekday, 9 * 60, 10 * 60) for weekday in range(5)]
    change_calendar(calendar_id=office.pk, values={}, week=week, now=late, actor=None)
    watch_all(now=late)
    clock.refresh_from_db()
    assert (clock.state, clock.done_at) == ("missed", late)
    assert broken() == []


def test_an_offer_runs_and_lapses_in_the_hours_of_whoever_is_asked(nights: Calendar) -> None:
    clock, eve = running(), TeamMemberFactory(ae=True)
    offer_plays(play_ids=[clock.play_id], to_id=eve.pk, now=NOW)
    watch_all(now=NOW)
    rows = Handoff.objects.values_list("clock__due_at", "expires_at")
    assert rows.get() == (NOW + DAY, NOW + 7 * DAY)
    make_calendar_use(values={"calendar": nights, "member": eve}, now=NOW, actor=None)
    watch_all(now=NOW)
    assert rows.get() == (datetime(2026, 11, 17, 4, 0, tzinfo=UTC), datetime(2026, 11, 21, 4, 0, tzinfo=UTC))
    # What else is promised is the owner's.
    assert due(clock) == NOW + DAY
    assert broken() == []
    # Also when it ends it is hers.
    take_back_plays(play_ids=[clock.play_id], now=NOW + 20 * HOUR)
    assert Handoff.objects.values_list("clock__state", "clock__breached_at").get() == (
        "missed",
        datetime(2026, 11, 17, 4, 0, tzinfo=UTC),
    )
    assert broken() == []


def test_where_no_calendar_counts_any_more_clocks_keep_theirs(caplog: pytest.LogCaptureFixture) -> None:
    clock = running()
    Calendar.objects.update(is_default=False)
    Clock.objects.update(is_stale=True)
    assert due(clock) == NOW + DAY
    assert "no calendar is the default" in caplog.text


# At the same instant


def test_clocks_are_looked_at_once_they_are_there(office: Calendar) -> None:
    play = PlayFactory(recipe=recipe(EIGHT_HOURS, "{target: closed, hours: 8}"), opened_at=NOW)
    log_touch(play_ids=[play.pk], channel="call", now=NOW)
    start_clocks(now=NOW)
    # Who edits the calendar at this moment has not seen them. What is kept already needs no look.
    assert set(play.clocks.values_list("target", "is_stale")) == {("closed", True), ("first_touch", False)}
    assert watch_all(now=NOW) == 1
    assert not Clock.objects.filter(is_stale=True).exists()


def test_a_clock_that_comes_into_another_calendar_is_looked_at_once_more(nights: Calendar) -> None:
    olga, clock = TeamMemberFactory(name="Olga"), running()
    make_calendar_use(values={"calendar": nights, "member": olga}, now=NOW, actor=None)
    assign_plays(play_ids=[clock.play_id], owner_id=olga.pk, now=NOW)
    clock.refresh_from_db()
    assert clock.is_stale
    assert watch_all(now=NOW) == 1
    clock.refresh_from_db()
    assert not clock.is_stale


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_clock_started_while_its_calendar_is_edited_ends_in_the_new_hours(
    office: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    from csplaybooks.playbooks.acts import calendars

    PlayFactory(recipe=recipe(EIGHT_HOURS), opened_at=NOW)
    seen = []
    changed = calendars.calendar_changed

    def overtaken(**values: Any) -> int:
        answer = changed(**values)
        # All clocks in its hours are marked, and the edit is not committed yet.
        seen.append(elsewhere(lambda: start_clocks(now=NOW)))
        seen.append(elsewhere(lambda: watch_clocks(now=NOW)))
        return answer

    monkeypatch.setattr(calendars, "calendar_changed", overtaken)
    week = [WeekHours(weekday, 9 * 60, 20 * 60) for weekday in range(5)]
    change_calendar(calendar_id=office.pk, values={}, week=week, now=NOW, actor=None)
    # The watcher leaves what is in the hands of an edit for later.
    assert seen == [1, 0]
    assert due(Play.objects.get().clocks.get()) == NOW + 8 * HOUR
    assert broken() == []


@pytest.fixture
def hardly(db: None) -> Calendar:
    """A calendar that opens for one minute of one day, and never again."""
    calendar: Calendar = CalendarFactory(key="hardly", name="Hardly ever", is_default=False, blocks=[])
    CalendarDay.objects.create(calendar=calendar, day=(NOW + DAY).date(), start_minute=600, end_minute=601)
    return calendar


def test_no_act_fails_for_a_calendar_that_hardly_opens(hardly: Calendar) -> None:
    clock, owner = running(), TeamMemberFactory(name="Hal")
    make_calendar_use(values={"calendar": hardly, "member": owner}, now=NOW, actor=None)
    play_ids = [clock.play_id]
    assert done(assign_plays(play_ids=play_ids, owner_id=owner.pk, now=NOW + HOUR))
    clock.refresh_from_db()
    assert (clock.calendar, clock.due_at, clock.next_event_at, clock.state) == (hardly, None, None, "running")
    assert watch_all(now=NOW + HOUR) == 1
    assert broken() == []
    finding = [found for found in undated_clocks(Look(NOW + HOUR)) if found.level != "ok"]
    assert [(found.level, found.seen) for found in finding] == [
        ("warn", "1 promise is due at no time: the calendar Hardly ever opens too little within ten years.")
    ]
    assert done(pause_plays(play_ids=play_ids, reason="Holidays", now=NOW + 2 * HOUR))
    assert done(resume_plays(play_ids=play_ids, now=NOW + 3 * HOUR))
    clock.refresh_from_db()
    assert (clock.due_at, clock.state) == (None, "running")
    # Its hours are mended: the promise is due again.
    CalendarBlock.objects.bulk_create(
        CalendarBlock(calendar=hardly, weekday=day, start_minute=540, end_minute=1020) for day in range(5)
    )
    Clock.objects.update(is_stale=True)
    watch_all(now=NOW + 3 * HOUR)
    clock.refresh_from_db()
    assert clock.due_at is not None
    assert [found.level for found in undated_clocks(Look(NOW + 3 * HOUR))] == ["ok"]
    assert broken() == []


def test_a_play_starts_its_clocks_and_is_closed_whatever_its_calendar(hardly: Calendar) -> None:
    Calendar.objects.exclude(pk=hardly.pk).update(is_default=False)
    Calendar.objects.filter(pk=hardly.pk).update(is_default=True)
    clock = running()
    assert clock.due_at is None
    assert done(close_plays(play_ids=[clock.play_id], outcome="won", now=NOW + 400 * DAY))
    clock.refresh_from_db()
    assert (clock.state, clock.breached_at) == ("cancelled", None)
    assert broken() == []


def test_an_offer_is_accepted_whatever_became_of_the_calendar_and_a_new_one_names_it(hardly: Calendar) -> None:
    play = running().play
    seller, other = TeamMemberFactory(name="Eve", ae=True), TeamMemberFactory(name="Erik", ae=True)
    assert done(offer_plays(play_ids=[play.pk], to_id=seller.pk, now=NOW))
    lapses = Handoff.objects.get().expires_at
    for member in (seller, other):
        make_calendar_use(values={"calendar": hardly, "member": member}, now=NOW, actor=None)
    watch_all(now=NOW)
    offer = Handoff.objects.get()
    assert offer.clock is not None
    assert (offer.expires_at, offer.clock.due_at) == (lapses, None)
    assert done(accept_plays(play_ids=[play.pk], now=NOW + HOUR))
    assert broken() == []
    with pytest.raises(ValidationError, match="the calendar Hardly ever opens too little"):
        offer_plays(play_ids=[play.pk], to_id=other.pk, now=NOW + HOUR)
