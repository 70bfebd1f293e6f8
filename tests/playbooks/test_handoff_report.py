"""How offers went: counts, times on the wall and in working hours, promises, and who sees which offers."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from csplaybooks.accounts.factories import AccountFactory, ApiTokenFactory, TeamMemberFactory, UserFactory
from csplaybooks.playbooks.acts.handoffs import accept_plays, lapse_offers, offer_plays, refuse_plays, take_back_plays
from csplaybooks.playbooks.factories import CalendarFactory, ClockFactory, HandoffFactory, PlayFactory
from csplaybooks.playbooks.models import Clock, Handoff
from csplaybooks.playbooks.reports import (
    Every,
    HandoffReport,
    Kept,
    OfferLine,
    Pairing,
    ReportError,
    WhichPlays,
    handoff_report,
    handoffs,
)
from csplaybooks.playbooks.reports.handoffs import percentile
from tests.playbooks.plays import DAY, HOUR, NOW, done, owned

pytestmark = pytest.mark.django_db

LATER = NOW + 60 * DAY
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def operator(db: None) -> Any:
    return UserFactory(username="operator", superuser=True)


def asked(viewer: Any, pairing: Pairing = Pairing.PAIR, **more: Any) -> HandoffReport:
    values = {"since": NOW - DAY, "until": LATER, "now": LATER, **more}
    return handoff_report(viewer=viewer, pairing=pairing, **values)


def told(line: OfferLine) -> tuple[str, str, int, dict[str, int]]:
    return line.by_name, line.to_name, line.offered, {name: number for name, number in line.answers.items() if number}


def offer(by: Any = None, to: Any = None, at: datetime = NOW, answer: str = "waiting", **more: Any) -> Handoff:
    """An offer; `took` is how long until it was over, `clock` what its clock says."""
    by, to = by or TeamMemberFactory(), to or TeamMemberFactory(ae=True)
    took, clock = more.pop("took", HOUR), more.pop("clock", None)
    reason = more.pop("reason", "Too small" if answer == "refused" else "")
    state = {"state": "offered", "holder": to} if answer == "waiting" else {}
    play = PlayFactory(owner=by, **{**state, **more})
    if clock is not None:
        clock = ClockFactory(play=play, target=Clock.Target.HANDOFF_ACCEPTED, started_at=at, **clock)
    made: Handoff = HandoffFactory(
        play=play,
        offered_by=by,
        offered_to=to,
        offered_at=at,
        answer=answer,
        answered_at=None if answer == "waiting" else at + took,
        reason=reason,
        clock=clock,
    )
    return made


@pytest.fixture
def carla(db: None) -> Any:
    return TeamMemberFactory(name="Carla", is_manager=False)


@pytest.fixture
def eve(db: None) -> Any:
    return TeamMemberFactory(name="Eve", ae=True)


def test_what_the_acts_write_is_told(operator, carla, eve):
    """An offer on Monday at ten, answered on Tuesday at eleven: nine hours of a calendar of eight a day."""
    CalendarFactory()
    boss = TeamMemberFactory(name="Boss", is_manager=True)
    eve.manager = boss
    eve.save()
    plays = [owned(owner=carla) for _ in range(5)]
    ids = [play.pk for play in plays]
    assert done(offer_plays(play_ids=ids, to_id=eve.pk, now=NOW))
    assert done(accept_plays(play_ids=ids[:1], now=NOW + HOUR))
    assert done(refuse_plays(play_ids=ids[1:2], reason="Too small", now=NOW + 25 * HOUR))
    assert done(take_back_plays(play_ids=ids[2:3], now=NOW + 2 * HOUR))
    Handoff.objects.filter(play=ids[3]).update(expires_at=NOW + 3 * HOUR)
    assert done(lapse_offers(play_ids=ids[3:4], now=NOW + 3 * HOUR))
    report = asked(operator)
    [line] = report.lines
    assert told(line) == (
        *("Carla", "Eve", 5),
        {"accepted": 1, "refused": 1, "taken_back": 1, "expired": 1, "waiting": 1},
    )
    assert sum(line.kept.values()) == 5
    assert (line.kept[Kept.KEPT], line.kept[Kept.TICKING]) == (1, 1)
    assert (line.median, line.most) == (13 * HOUR // MICROSECOND, (HOUR + 24 * HOUR * 9 / 10) // MICROSECOND)
    calendar = Clock.objects.filter(handoff__play=ids[1]).get().calendar
    assert calendar is not None
    # One hour of Monday, and for the other what was left of it and the beginning of Tuesday.
    assert line.working_median is not None
    assert line.median is not None
    assert HOUR // MICROSECOND < line.working_median < line.median
    assert [(each.reason, each.by_name, each.to_name) for each in report.refusals] == [("Too small", "Carla", "Eve")]
    assert report.total.offered == 5


def test_working_time_is_measured_in_the_calendar_and_the_zone_of_the_clock(operator, carla, eve):
    # Open from nine to five in UTC; answered an hour after closing, seven hours after ten.
    calendar = CalendarFactory()
    working = {"calendar": calendar, "state": "met", "done_at": NOW + 8 * HOUR}
    offer(carla, eve, answer="accepted", took=8 * HOUR, clock=working)
    assert asked(operator).lines[0].working_median == 7 * HOUR // MICROSECOND
    # In a zone five hours behind, ten in UTC is five in the morning: four hours before it opens.
    Clock.objects.update(zone="America/New_York")
    assert asked(operator).lines[0].working_median == 4 * HOUR // MICROSECOND
    # Where every hour was promised there is no working time to tell.
    Clock.objects.update(hours="wall", calendar=None)
    [line] = asked(operator).lines
    assert (line.median, line.working_median) == (8 * HOUR // MICROSECOND, None)


@pytest.mark.parametrize(
    ("clock", "kept"),
    [
        (None, Kept.NOT_PROMISED),
        ({}, Kept.TICKING),
        ({"state": "paused"}, Kept.TICKING),
        ({"state": "met", "done_at": NOW}, Kept.KEPT),
        ({"state": "missed", "done_at": NOW, "breached_at": NOW, "noticed_at": NOW}, Kept.MISSED),
        ({"state": "breached", "breached_at": NOW, "noticed_at": NOW}, Kept.MISSED),
        ({"state": "breached", "breached_at": NOW, "noticed_at": NOW, "excused_at": NOW}, Kept.EXCUSED),
        (
            {"state": "missed", "done_at": NOW, "breached_at": NOW, "noticed_at": NOW, "excused_at": NOW},
            Kept.EXCUSED,
        ),
        ({"state": "cancelled", "done_at": NOW}, Kept.CALLED_OFF),
    ],
)
def test_each_offer_s_promise_is_in_one_heap(operator, clock, kept):
    offer(clock=clock)
    [line] = asked(operator).lines
    assert {name: number for name, number in line.kept.items() if number} == {kept: 1}


def test_sides_and_parts(operator, carla, eve):
    adam = TeamMemberFactory(name="Adam", ae=True)
    offer(carla, eve, NOW, "accepted")
    offer(carla, adam, NOW + 7 * DAY, "refused")
    offer(carla, eve, NOW + 7 * DAY, "accepted", took=3 * HOUR)
    # The first instant of December is no November.
    offer(TeamMemberFactory(name="Dora"), eve, datetime(2026, 12, 1, tzinfo=UTC), "accepted")

    def lines(pairing: Pairing, every: Every | None = None) -> list[tuple[Any, ...]]:
        return [(line.part, *told(line)[:3]) for line in asked(operator, pairing, every=every).lines]

    assert lines(Pairing.PAIR) == [
        *((None, "Carla", "Eve", 2), (None, "Carla", "Adam", 1), (None, "Dora", "Eve", 1)),
    ]
    assert lines(Pairing.BY) == [(None, "Carla", "", 3), (None, "Dora", "", 1)]
    assert lines(Pairing.TO) == [(None, "", "Eve", 3), (None, "", "Adam", 1)]
    assert lines(Pairing.ALL, Every.WEEK) == [
        *(("2026-W47", "", "", 1), ("2026-W48", "", "", 2), ("2026-W49", "", "", 1)),
    ]
    assert lines(Pairing.TO, Every.MONTH) == [
        *(("2026-11", "", "Eve", 2), ("2026-11", "", "Adam", 1), ("2026-12", "", "Eve", 1)),
    ]
    for pairing in Pairing:
        for every in (None, *Every):
            report = asked(operator, pairing, every=every)
            assert sum(line.offered for line in report.lines) == report.total.offered == 4
            for name in Handoff.Answer.values:
                assert sum(line.answers[name] for line in report.lines) == report.total.answers[name]


def test_the_period_is_half_open(operator):
    offer(at=NOW)
    assert asked(operator, since=NOW, until=NOW + MICROSECOND).total.offered == 1
    assert asked(operator, since=NOW - DAY, until=NOW).total.offered == 0
    assert asked(operator, since=NOW + MICROSECOND).lines == ()


def test_filters(operator, carla, eve):
    one = offer(carla, eve, segment="enterprise", route="sales")
    offer(segment="small", motion="tier_upsell")
    for more in (
        {"by_id": carla.pk},
        {"to_id": eve.pk},
        {"which": WhichPlays(segment="enterprise", route="sales")},
        {"which": WhichPlays(playbook=one.play.playbook.key, motion=one.play.motion)},
        {"which": WhichPlays(owner_id=carla.pk, accounts=[one.play.account_id])},
    ):
        assert [told(line)[:3] for line in asked(operator, **more).lines] == [("Carla", "Eve", 1)]


def test_refusals_are_the_newest_and_all_are_counted(operator, carla, eve, monkeypatch):
    monkeypatch.setattr(handoffs, "MOST_REFUSALS", 2)
    for number in range(3):
        offer(carla, eve, NOW + number * HOUR, "refused", reason=f"Because {number}")
    report = asked(operator)
    assert [each.reason for each in report.refusals] == ["Because 2", "Because 1"]
    assert report.refused == 3


def test_too_many_offers_are_refused(operator, monkeypatch):
    monkeypatch.setattr(handoffs, "MOST_OFFERS", 1)
    offer()
    asked(operator)
    offer()
    with pytest.raises(ReportError, match="more than 1 offers: ask for a shorter period"):
        asked(operator)


def test_each_sees_the_offers_that_are_theirs_to_see(carla, eve):
    """Both sides and those above them; not a colleague, not a stranger. A token sees those of its accounts."""
    boss = TeamMemberFactory(name="Boss", is_manager=True)
    carla.manager = boss
    carla.save()
    made = offer(carla, eve, answer="refused", account__csm=carla)
    viewers = {
        "owner": carla.user,
        "receiver": eve.user,
        "boss": boss.user,
        "colleague": TeamMemberFactory().user,
        "other seller": TeamMemberFactory(ae=True).user,
        "stranger": UserFactory(),
        "token": ApiTokenFactory(account_ids=[made.play.account_id]),
        "other token": ApiTokenFactory(account_ids=[AccountFactory().pk]),
    }
    reports = {name: asked(viewer) for name, viewer in viewers.items()}
    seen = {name for name, report in reports.items() if report.total.offered}
    assert seen == {"owner", "receiver", "boss", "token"} == {name for name in reports if reports[name].refusals}


def test_the_number_of_queries_does_not_grow(operator):
    counts: list[int] = []
    for number in (1, 6):
        for _ in range(number):
            offer(answer="accepted", clock={"state": "met", "done_at": NOW})
            offer(answer="refused", clock={"calendar": CalendarFactory(is_default=False, key=f"c{len(counts)}{_}")})
        with CaptureQueriesContext(connection) as queries:
            asked(operator, every=Every.WEEK)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 7


@given(st.lists(st.integers(0, 10**12), min_size=2), st.integers(1, 99))
def test_percentiles_are_those_of_the_standard_library(values, percent):
    wanted = statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
    found = percentile(sorted(values), percent)
    assert found is not None
    assert abs(found - wanted) < 1


def test_percentiles_of_one_and_of_none():
    assert percentile([7], 90) == 7
    assert percentile([], 50) is None
