"""Offers: who holds and who owns meanwhile, whose clock runs, and what becomes of an offer that nobody answers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.acts.reviews import NewFinding, log_qbr, set_finding_status
from csplaybooks.accounts.factories import ChampionFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import Finding, TeamMember, TimelineEntry
from csplaybooks.playbooks.acts.calendars import calendar_changed
from csplaybooks.playbooks.acts.handoffs import (
    accept_plays,
    lapse_offers,
    offer_plays,
    refuse_plays,
    take_back_plays,
)
from csplaybooks.playbooks.acts.plays import assign_plays, close_plays, log_touch, pause_plays, start_plays
from csplaybooks.playbooks.factories import DRAFT, CalendarFactory, PlaybookFactory, PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.models import Calendar, CalendarDay, Clock, ClockEvent, Handoff, Interval, Play
from csplaybooks.playbooks.moves import Rights, possible
from csplaybooks.playbooks.pipeline.sweep import expire_plays, lapse_waiting_offers, watch_all, work
from csplaybooks.playbooks.tasks import sweep
from tests.playbooks.plays import DAY, HOUR, NOW, broken, may_work

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def office() -> Calendar:
    """Monday to Friday, nine to five."""
    calendar: Calendar = CalendarFactory()
    return calendar


@pytest.fixture
def carla() -> TeamMember:
    """The customer success manager who owns the plays."""
    member: TeamMember = TeamMemberFactory(name="Carla", manager=TeamMemberFactory(name="Mona", leads=True))
    return member


@pytest.fixture
def eve() -> TeamMember:
    """The account executive to whom they are offered."""
    member: TeamMember = TeamMemberFactory(name="Eve", ae=True, manager=TeamMemberFactory(name="Moritz", leads=True))
    return member


@pytest.fixture
def play(carla: TeamMember) -> Play:
    """A play of Carla's, with its clocks."""
    made: Play = PlayFactory(owner=carla, opened_at=NOW)
    work(now=NOW)
    return made


def offered(play: Play, to: TeamMember, now: datetime = NOW, **more: Any) -> Any:
    """The offer of a play that was just made."""
    assert offer_plays(play_ids=[play.pk], to_id=to.pk, now=now, **more) == {play.pk: None}
    play.refresh_from_db()
    return Handoff.objects.get(play=play, answer="waiting")


def stands(play: Play) -> tuple[str, str, str, str]:
    """Stage, state, owner and holder of a play."""
    play = Play.objects.select_related("owner", "holder").get(pk=play.pk)
    return play.stage, play.state, str(play.owner), str(play.holder)


def clock_of(play: Play, number: int = 1) -> Clock:
    return Clock.objects.get(play=play, target="handoff_accepted", number=number)


def first_touch_of(play: Play) -> str:
    """What was promised of the play itself goes on, whatever becomes of an offer."""
    return Clock.objects.get(play=play, target="first_touch").state


def test_an_offered_play_is_held_by_whom_it_was_offered_to_and_owned_by_whom_it_was(play, carla, eve):
    offer = offered(play, eve)
    assert stands(play) == ("owned", "offered", "Carla", "Eve")
    assert (offer.offered_by, offer.offered_to, offer.offered_at) == (carla, eve, NOW)
    # Eight working hours from Monday ten o'clock; a week of them until it lapses.
    clock = clock_of(play)
    assert (clock.state, clock.started_at, clock.due_at) == ("running", NOW, NOW + DAY)
    assert offer.expires_at == NOW + 7 * DAY
    assert [entry.text for entry in TimelineEntry.objects.filter(kind="play_offer")] == [
        f"{play.playbook.name}: Offered to Eve"
    ]
    assert broken() == []


def test_who_accepts_owns_and_keeps_the_promise(play, eve):
    offered(play, eve)
    assert accept_plays(play_ids=[play.pk], now=NOW + 2 * HOUR) == {play.pk: None}
    assert stands(play) == ("owned", "working", "Eve", "Eve")
    offer = Handoff.objects.get()
    assert (offer.answer, offer.answered_at, offer.reason) == ("accepted", NOW + 2 * HOUR, "")
    assert (clock_of(play).state, clock_of(play).done_at) == ("met", NOW + 2 * HOUR)
    assert first_touch_of(play) == "running"
    assert broken() == []


def test_who_refuses_says_why_and_it_goes_back(play, eve):
    offered(play, eve)
    with pytest.raises(ValidationError, match="Say why"):
        refuse_plays(play_ids=[play.pk], reason=" ", now=NOW)
    assert refuse_plays(play_ids=[play.pk], reason="Too small for us", now=NOW + HOUR) == {play.pk: None}
    assert stands(play) == ("owned", "working", "Carla", "Carla")
    offer = Handoff.objects.get()
    assert (offer.answer, offer.reason, offer.answered_at) == ("refused", "Too small for us", NOW + HOUR)
    assert (clock_of(play).state, clock_of(play).next_event_at) == ("cancelled", None)
    assert first_touch_of(play) == "running"
    assert TimelineEntry.objects.get(kind="play_refuse").text.endswith("Offer refused: Too small for us")
    assert broken() == []


def test_an_offer_is_taken_back_and_made_anew_with_a_clock_of_its_own(play, eve):
    offered(play, eve)
    assert take_back_plays(play_ids=[play.pk], now=NOW + HOUR) == {play.pk: None}
    assert stands(play) == ("owned", "working", "Carla", "Carla")
    second = offered(play, eve, now=NOW + 2 * HOUR)
    assert list(Handoff.objects.order_by("pk").values_list("answer", flat=True)) == ["taken_back", "waiting"]
    assert (clock_of(play, 1).state, clock_of(play, 2).state) == ("cancelled", "running")
    assert clock_of(play, 2).started_at == second.offered_at == NOW + 2 * HOUR
    assert broken() == []


def test_an_offer_that_nobody_answers_goes_to_the_manager(play, eve):
    offer = offered(play, eve)
    assert lapse_waiting_offers(now=offer.expires_at - timedelta(microseconds=1)) == 0
    watch_all(now=NOW + DAY)
    assert lapse_waiting_offers(now=offer.expires_at) == 1
    assert lapse_waiting_offers(now=offer.expires_at) == 0
    # The manager of who did not answer holds it; Carla stays accountable until it is assigned.
    assert stands(play) == ("owned", "working", "Carla", "Moritz")
    assert Play.objects.get().tray_at == offer.expires_at
    assert (Handoff.objects.get().answer, clock_of(play).state) == ("expired", "missed")
    assert first_touch_of(play) == "breached"
    assert broken() == []
    assign_plays(play_ids=[play.pk], owner_id=eve.pk, now=offer.expires_at + HOUR)
    assert stands(play) == ("owned", "working", "Eve", "Eve")
    assert Play.objects.get().tray_at is None
    assert broken() == []


def test_where_the_seller_has_no_manager_it_goes_to_that_of_the_owner_or_back(play, carla, eve):
    TeamMember.objects.filter(name="Moritz").update(is_active=False)
    offer = offered(play, eve)
    lapse_waiting_offers(now=offer.expires_at)
    assert stands(play)[3] == "Mona"
    assert Play.objects.get().tray_at == offer.expires_at
    TeamMember.objects.filter(pk=carla.pk).update(manager=None)
    again = offered(play, eve, now=offer.expires_at)
    # On offer it stands in nobody's tray; and with nobody above them there is none to stand in.
    assert Play.objects.get().tray_at is None
    lapse_waiting_offers(now=again.expires_at)
    assert stands(play)[3] == "Carla"
    assert Play.objects.get().tray_at is None
    assert TimelineEntry.objects.filter(kind="play_lapse").latest("pk").text.endswith("it is back with Carla")
    assert broken() == []


def test_a_manager_who_is_not_there_is_climbed_over(play, eve):
    moritz = TeamMember.objects.get(name="Moritz")
    TeamMember.objects.filter(pk=moritz.pk).update(is_active=False, manager=TeamMemberFactory(name="Vera", leads=True))
    offer = offered(play, eve)
    lapse_waiting_offers(now=offer.expires_at)
    assert stands(play)[3] == "Vera"


def test_an_offer_lapses_by_the_calendar_as_it_stands(play, eve, office):
    offer = offered(play, eve)
    CalendarDay.objects.create(calendar=office, day=(NOW + DAY).date())
    calendar_changed(calendar_id=office.pk, now=NOW + HOUR)
    later = Handoff.objects.get().expires_at
    assert later == offer.expires_at + DAY
    # And where the edit came so close that it did not see the offer, when its time has come.
    Handoff.objects.update(expires_at=offer.expires_at)
    assert lapse_waiting_offers(now=offer.expires_at) == 0
    assert Handoff.objects.get().expires_at == later
    watch_all(now=NOW + HOUR)
    assert clock_of(play).due_at == NOW + 2 * DAY
    assert lapse_waiting_offers(now=later) == 1
    assert broken() == []


def test_the_sweep_ends_what_nobody_answers(play, eve, time_machine):
    offer = offered(play, eve)
    time_machine.move_to(offer.expires_at, tick=False)
    assert "lapsed: 1" in sweep()
    assert Handoff.objects.get().answer == "expired"


def test_what_waits_in_the_tray_leaves_it_when_somebody_works_on_it(play, eve):
    offer = offered(play, eve)
    lapse_waiting_offers(now=offer.expires_at)
    pause_plays(play_ids=[play.pk], reason="Budget", now=offer.expires_at)
    assert Play.objects.get().tray_at is None
    assert broken() == []


def test_a_new_offer_does_not_lapse_for_the_old_one(play, eve):
    offer = offered(play, eve)
    take_back_plays(play_ids=[play.pk], now=NOW + HOUR)
    offered(play, eve, now=NOW + 5 * DAY)
    answers = lapse_offers(play_ids=[play.pk], now=offer.expires_at)
    assert answers[play.pk] is not None
    assert stands(play) == ("owned", "offered", "Carla", "Eve")


def test_the_clock_of_an_offer_breaks_once_and_blames_who_holds(play, eve):
    offered(play, eve)
    watch_all(now=NOW + 3 * DAY)
    breach = ClockEvent.objects.get(clock=clock_of(play), kind="breached")
    assert (breach.due_at, breach.holder) == (NOW + DAY, eve)
    accept_plays(play_ids=[play.pk], now=NOW + 3 * DAY)
    assert (clock_of(play).state, clock_of(play).breached_at) == ("missed", NOW + DAY)
    assert broken() == []


def test_a_breach_that_the_watcher_has_not_seen_is_written_by_the_answer(play, eve):
    offered(play, eve)
    refuse_plays(play_ids=[play.pk], reason="Away", now=NOW + 2 * DAY)
    breach = ClockEvent.objects.get(clock=clock_of(play))
    assert (breach.kind, breach.due_at, breach.noticed_at, breach.holder) == (
        "breached",
        NOW + DAY,
        NOW + 2 * DAY,
        eve,
    )
    assert clock_of(play).state == "missed"
    assert broken() == []


def test_whose_time_it_was(play, eve):
    offered(play, eve, now=NOW + HOUR)
    accept_plays(play_ids=[play.pk], now=NOW + 3 * HOUR)
    close_plays(play_ids=[play.pk], outcome="won", now=NOW + 6 * HOUR)
    assert [
        (str(stretch.owner), str(stretch.holder), stretch.state, stretch.valid_to - stretch.valid_from)
        for stretch in Interval.objects.order_by("seq")
    ] == [
        ("Carla", "Carla", "working", HOUR),
        ("Carla", "Eve", "offered", 2 * HOUR),
        ("Eve", "Eve", "working", 3 * HOUR),
    ]
    assert broken() == []


def test_a_contact_made_meanwhile_leaves_the_play_on_offer(play, eve):
    offered(play, eve)
    log_touch(play_ids=[play.pk], channel="call", now=NOW + HOUR)
    assert stands(play) == ("running", "offered", "Carla", "Eve")
    assert broken() == []


def test_a_play_that_expires_on_offer_ends_its_offer(play, eve):
    offered(play, eve)
    close_plays(play_ids=[play.pk], outcome="expired", now=NOW + HOUR)
    assert (Handoff.objects.get().answer, Handoff.objects.get().answered_at) == ("expired", NOW + HOUR)
    assert clock_of(play).state == "cancelled"
    assert stands(play)[:2] == ("closed", "working")
    assert broken() == []


def test_a_play_that_expires_on_offer_is_not_handed_to_the_manager(carla, eve):
    play = PlayFactory(owner=carla, opened_at=NOW, expires_at=NOW + DAY)
    work(now=NOW)
    offered(play, eve)
    assert expire_plays(now=NOW + DAY) == 1
    assert lapse_waiting_offers(now=NOW + 30 * DAY) == 0
    assert Handoff.objects.get().answer == "expired"
    assert broken() == []


# Who may


def test_only_the_two_sides_and_those_above_them_answer(play, carla, eve):
    offered(play, eve)
    colleague = TeamMemberFactory(name="Emil", ae=True)
    for member in (carla, eve, colleague):
        may_work(member.user)
    moritz = TeamMember.objects.get(name="Moritz")
    for stranger in (carla.user, colleague.user):
        (why,) = accept_plays(play_ids=[play.pk], now=NOW, actor=stranger).values()
        assert why is not None
        assert why.startswith(
            "Accept the offer is not possible: that is for Eve, whoever stands in for them, or somebody"
        )
        assert refuse_plays(play_ids=[play.pk], reason="No", now=NOW, actor=stranger)[play.pk]
    (why,) = take_back_plays(play_ids=[play.pk], now=NOW, actor=eve.user).values()
    assert why is not None
    assert "Take back is not possible: that is for Carla, whoever stands in for them, or somebody above them" in why
    assert why.endswith("possible: Log a contact, Accept the offer, Refuse the offer")
    assert stands(play) == ("owned", "offered", "Carla", "Eve")
    play.refresh_from_db()
    assert set(possible(play, Rights.of(carla.user, NOW))) == {"touch", "take_back"}
    assert set(possible(play, Rights.of(eve.user, NOW))) == {"touch", "accept", "refuse"}
    chief = UserFactory(superuser=True)
    assert set(possible(play, Rights.of(chief, NOW))) == {"touch", "accept", "refuse", "take_back"}
    # To withdraw it would go round the reason that a refusal needs.
    assert close_plays(play_ids=[play.pk], outcome="withdrawn", now=NOW, actor=eve.user)[play.pk]
    assert accept_plays(play_ids=[play.pk], now=NOW, actor=moritz.user) == {play.pk: None}
    assert stands(play)[2] == "Eve"


@pytest.mark.parametrize("verb", [accept_plays, take_back_plays])
def test_what_is_not_on_offer_is_neither_accepted_nor_taken_back(play, verb):
    (why,) = verb(play_ids=[play.pk], now=NOW).values()
    assert "the play is owned and working; possible: Assign, Release, Start" in why
    assert Handoff.objects.count() == 0


def test_a_paused_play_is_not_offered(play, eve):
    pause_plays(play_ids=[play.pk], reason="Budget", now=NOW)
    (why,) = offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW).values()
    assert why is not None
    assert "the play is owned and paused" in why
    assert Handoff.objects.count() == Clock.objects.filter(target="handoff_accepted").count() == 0


def test_a_play_is_offered_once_at_a_time(play, eve):
    offered(play, eve)
    (why,) = offer_plays(play_ids=[play.pk], to_id=TeamMemberFactory(name="Emil", ae=True).pk, now=NOW).values()
    assert why is not None
    assert "the play is owned and offered" in why
    assert Handoff.objects.count() == 1


def test_to_whom_a_play_cannot_be_offered(play, carla, eve):
    left = TeamMemberFactory(name="Lena", ae=True, is_active=False)
    for to, words in ((left.pk, "has left"), (0, "never was"), (carla.pk, "Carla is no account executive")):
        with pytest.raises(ValidationError, match=words):
            offer_plays(play_ids=[play.pk], to_id=to, now=NOW)
    assign_plays(play_ids=[play.pk], owner_id=eve.pk, now=NOW)
    other = PlayFactory(owner=carla, opened_at=NOW)
    assert offer_plays(play_ids=[play.pk, other.pk], to_id=eve.pk, now=NOW) == {
        play.pk: "Eve owns it already: offer it to somebody else",
        other.pk: None,
    }
    with pytest.raises(ValidationError, match="NUL"):
        offer_plays(play_ids=[play.pk], to_id=eve.pk, note="a\0b", now=NOW)
    assert list(Handoff.objects.values_list("play", flat=True)) == [other.pk]


def test_without_a_default_calendar_nothing_is_offered(play, eve, office):
    Calendar.objects.update(is_default=False)
    with pytest.raises(ValidationError, match="no calendar is the default"), transaction.atomic():
        offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW)
    assert stands(play) == ("owned", "working", "Carla", "Carla")
    assert Handoff.objects.count() == 0


# What goes with it, and what the playbook says


def test_what_is_known_goes_with_the_offer_and_stays_as_it_was(play, carla, eve):
    Play.objects.update(
        evidence=[{"words": "18 of 20 seats in use"}],
        expected_amount_minor=120_000,
        amount_working={"words": "4 seats at 300"},
    )
    ChampionFactory(account=play.account, name="Jo Diaz", title="Head of Sales", role="economic_buyer")
    for number in range(12):
        ChampionFactory(account=play.account, name=f"User {number}", title="", role="user")
    ChampionFactory(account=play.account, name="Kim Ono", title="", role="champion")
    ChampionFactory(account=play.account, name="Gone", left_on=NOW.date())
    log_qbr(
        account_id=play.account_id,
        held_at=NOW,
        findings=[NewFinding(kind="goal", text="Roll out in Spain"), NewFinding(kind="risk", text="Settled")],
        now=NOW,
        actor=carla.user,
    )
    settled = Finding.objects.get(text="Settled")
    set_finding_status(finding_ids=[settled.pk], status="settled", effective_at=NOW, now=NOW, actor=carla.user)
    offer = offered(play, eve, note="Call before noon")
    expected = {
        "account": play.account.name,
        "playbook": play.playbook.name,
        "found": ["18 of 20 seats in use"],
        "worth_minor": 120_000,
        "worked_out": "4 seats at 300",
        "people": [
            "Jo Diaz, Head of Sales (Economic buyer)",
            "Kim Ono (Champion)",
            *[f"User {number} (User)" for number in range(8)],
        ],
        "findings": ["Goal: Roll out in Spain"],
        "wins": [],
        "review": "2026-11-16",
        "usage": [],
        "plans": [],
        "mrr_minor": None,
        "renewal_on": None,
        "note": "Call before noon",
    }
    assert offer.context == expected
    Play.objects.update(expected_amount_minor=1)
    accept_plays(play_ids=[play.pk], now=NOW)
    assert Handoff.objects.get().context == expected


def test_the_playbook_says_what_is_promised_of_an_offer(carla, eve):
    targets = "  - {target: handoff_accepted, hours: 4, counting: wall, lapse_after_hours: 24, routes: [csm]}\n"
    draft = DRAFT.format(key="seats", name="Seats", motion="seat_expansion") + targets
    recipe = PlaybookVersionFactory(playbook=PlaybookFactory(key="seats", draft=draft))
    play = PlayFactory(recipe=recipe, owner=carla, opened_at=NOW)
    work(now=NOW)
    # Not promised when the play opens.
    assert list(Clock.objects.values_list("target", flat=True)) == ["first_touch"]
    offer = offered(play, eve)
    clock = clock_of(play)
    assert (clock.due_at, clock.hours, clock.calendar) == (NOW + 4 * HOUR, "wall", None)
    assert offer.expires_at == NOW + DAY
    assert broken() == []


# Many, and at once


@pytest.mark.parametrize("number", [1, 30])
def test_an_offer_takes_the_same_number_of_queries_on_one_play_or_many(carla, eve, number):
    ids = [PlayFactory(owner=carla, opened_at=NOW).pk for _ in range(number)]
    with CaptureQueriesContext(connection) as queries:
        assert set(offer_plays(play_ids=ids, to_id=eve.pk, now=NOW).values()) == {None}
    first = len(queries)
    with CaptureQueriesContext(connection) as queries:
        assert set(accept_plays(play_ids=ids, now=NOW).values()) == {None}
    assert first <= 40
    assert len(queries) <= 27


def test_good_and_bad_are_answered_each_for_itself(play, carla, eve):
    closed = PlayFactory(owner=carla, opened_at=NOW)
    close_plays(play_ids=[closed.pk], outcome="lost", now=NOW)
    started = PlayFactory(owner=carla, opened_at=NOW)
    start_plays(play_ids=[started.pk], now=NOW)
    answers = offer_plays(play_ids=[play.pk, closed.pk, started.pk, 0], to_id=eve.pk, now=NOW)
    assert [answer is None for answer in answers.values()] == [True, False, True, False]
    assert stands(started) == ("running", "offered", "Carla", "Eve")
    assert broken() == []
