"""Whose time it was: the sums against a plain counter, their cuts, weeks across clock changes, and who sees what."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csplaybooks.accounts.factories import AccountFactory, ApiTokenFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays, take_back_plays
from csplaybooks.playbooks.acts.plays import (
    assign_plays,
    close_plays,
    log_touch,
    open_play_by_hand,
    pause_plays,
    resume_plays,
)
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.models import Interval, Play, Stage, State
from csplaybooks.playbooks.reports import (
    MOST_PARTS,
    Behind,
    Cut,
    Every,
    ReportError,
    WhichPlays,
    WhoseTime,
    parts_of,
    teams_of_members,
    time_of_play,
    whose_time,
)
from tests.playbooks.plays import DAY, HOUR, NOW, broken, done

pytestmark = pytest.mark.django_db

MICROSECOND = timedelta(microseconds=1)
_numbers = count(1)


@pytest.fixture
def operator(db: None) -> Any:
    return UserFactory(username="operator", superuser=True)


def asked(viewer: Any, by: Cut = Cut.HOLDER, **more: Any) -> WhoseTime:
    """What is answered about the time until an instant later than everything here."""
    values = {"since": NOW - 30 * DAY, "until": NOW + 300 * DAY, "now": NOW + 300 * DAY, **more}
    return whose_time(viewer=viewer, by=by, **values)


def told(answer: WhoseTime) -> dict[str, timedelta]:
    return {line.key: line.microseconds * MICROSECOND for line in answer.lines}


def spent(*stretches: tuple[Any, ...], opened_at: datetime = NOW, closed: bool = False, **more: Any) -> Play:
    """A play made of stretches: how long, by whom, and what else stands there; the last one lasts unless closed."""
    play: Play = PlayFactory(interval=None, opened_at=opened_at, **more)
    begins = opened_at
    for seq, (lasts, holder, values) in enumerate(stretches):
        member = holder if isinstance(holder, TeamMember) else None
        open_ended = not closed and seq == len(stretches) - 1
        Interval.objects.create(
            play=play,
            seq=seq,
            holder=member,
            held_by="member" if member else holder,
            valid_from=begins,
            valid_to=None if open_ended else begins + lasts,
            **{"owner": play.owner, "stage": Stage.OWNED, "state": State.WORKING, **values},
        )
        begins += lasts
    if closed:
        Play.objects.filter(pk=play.pk).update(stage=Stage.CLOSED, outcome="won", closed_at=begins)
        play.refresh_from_db()
    return play


# Against a plain counter.

KINDS = ("first", "second", "lead", "tray", "customer")

#: Lengths with a fraction and without, because SQLite writes the two differently; and nothing at all.
LENGTHS = st.one_of(
    st.just(0),
    st.integers(0, 5).map(lambda n: n * 1_000_000),
    st.integers(1, 3_000_000),
    st.integers(0, 20 * 24 * 3600 * 1_000_000),
)
STRETCHES = st.lists(
    st.tuples(LENGTHS, st.sampled_from(KINDS), st.sampled_from(State.values), st.sampled_from(["owned", "running"])),
    min_size=1,
    max_size=5,
)
PLAYS = st.lists(st.tuples(st.integers(-10_000_000, 40_000_000_000), STRETCHES, st.booleans()), max_size=4)


def plain_sums(
    plays: list[list[tuple[datetime, datetime, dict[Cut, str]]]], since: datetime, until: datetime
) -> dict[Cut, Counter[str]]:
    """Every cut, counted stretch by stretch."""
    sums: dict[Cut, Counter[str]] = {cut: Counter() for cut in Cut}
    for stretches in plays:
        for begins, ends, keys in stretches:
            first, last = max(begins, since), min(ends, until)
            if first >= last:
                continue
            for cut, key in keys.items():
                sums[cut][key] += (last - first) // MICROSECOND
    return sums


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plays=PLAYS,
    begins=st.integers(-20_000_000, 20 * 24 * 3600 * 1_000_000),
    lasts=st.integers(1, 30 * 24 * 3600 * 1_000_000),
    passed=st.integers(0, 40 * 24 * 3600 * 1_000_000),
)
def test_every_cut_is_what_a_plain_counter_says_and_adds_up(operator, plays, begins, lasts, passed):
    Interval.objects.all().delete()
    Play.objects.all().delete()
    lead = TeamMemberFactory(name=f"Lead {next(_numbers)}", is_manager=True)
    people: dict[str, Any] = {
        "lead": lead,
        "first": TeamMemberFactory(manager=lead),
        "second": TeamMemberFactory(),
        "tray": "tray",
        "customer": "customer",
    }
    since = NOW + begins * MICROSECOND
    until = since + lasts * MICROSECOND
    now = max(since, NOW + passed * MICROSECOND)
    end = min(until, now)
    plain = []
    for offset, drawn, closed in plays:
        opened_at = NOW + offset * MICROSECOND
        stretches = [
            (length * MICROSECOND, people[kind], {"state": state, "stage": stage})
            for length, kind, state, stage in drawn
        ]
        # What was closed lies behind us.
        closed = closed and opened_at + sum((length for length, *_ in stretches), timedelta()) <= now
        play = spent(*stretches, opened_at=opened_at, closed=closed, owner=people["first"])
        moments = [opened_at]
        for length, *_ in stretches:
            moments.append(moments[-1] + length)
        if not closed:
            moments[-1] = max(now, moments[-2])
        team = {"lead": str(lead.pk), "first": str(lead.pk), "second": "none"}
        plain.append(
            [
                (
                    first,
                    last,
                    {
                        Cut.HOLDER: str(getattr(people[kind], "pk", kind)),
                        Cut.OWNER: str(people["first"].pk),
                        Cut.TEAM: team.get(kind, kind),
                        Cut.STAGE: stage,
                        Cut.STATE: state,
                        Cut.PLAY: str(play.pk),
                    },
                )
                for (first, last), (_, kind, state, stage) in zip(pairwise(moments), drawn, strict=True)
            ]
        )
    if since == now:
        return
    wanted = plain_sums(plain, since, end)
    elapsed = sum(wanted[Cut.PLAY].values())
    for cut in Cut:
        answer = whose_time(viewer=operator, since=since, until=until, now=now, by=cut, weekly=True)
        assert answer.microseconds == elapsed
        assert sum(line.microseconds for line in answer.lines) == elapsed
        assert answer.adds_up
        if cut == Cut.WEEK:
            continue
        assert {line.key: line.microseconds for line in answer.lines} == dict(wanted[cut])
        for line in answer.lines:
            assert sum(line.weeks) == line.microseconds
        behind = [
            whose_time(
                viewer=operator, since=since, until=until, now=now, by=Cut.PLAY, behind=Behind(cut, line.key)
            ).microseconds
            for line in answer.lines
        ]
        assert behind == [line.microseconds for line in answer.lines]


# Cut by cut.


def test_an_instant_with_microseconds_is_cut_exactly_where_the_period_is(operator):
    eve = TeamMemberFactory()
    # The first interval begins without a fraction, the second with one: SQLite writes them differently.
    spent((HOUR + MICROSECOND, eve, {}), (timedelta(seconds=1), "customer", {}), closed=True)
    for since, until, wanted in (
        (NOW, NOW + MICROSECOND, {str(eve.pk): MICROSECOND}),
        (NOW - MICROSECOND, NOW, {}),
        (NOW + HOUR, NOW + HOUR + 2 * MICROSECOND, {str(eve.pk): MICROSECOND, "customer": MICROSECOND}),
        (NOW + HOUR + MICROSECOND, NOW + 2 * HOUR, {"customer": timedelta(seconds=1)}),
        (NOW + HOUR + timedelta(seconds=1, microseconds=1), NOW + DAY, {}),
    ):
        answer = asked(operator, since=since, until=until)
        assert told(answer) == wanted
        assert answer.adds_up


def test_an_open_interval_lasts_until_now_and_no_longer(operator):
    eve = TeamMemberFactory()
    spent((HOUR, eve, {}))
    assert told(asked(operator, until=NOW + DAY, now=NOW + 3 * HOUR)) == {str(eve.pk): 3 * HOUR}
    assert asked(operator, until=NOW + DAY, now=NOW + 3 * HOUR).until == NOW + 3 * HOUR
    assert told(asked(operator, until=NOW + 2 * HOUR, now=NOW + 3 * HOUR)) == {str(eve.pk): 2 * HOUR}


def test_an_interval_that_begins_a_little_ahead_has_no_time_yet(operator):
    # The clock of whoever wrote it is ahead of ours.
    spent((HOUR, TeamMemberFactory(), {}), opened_at=NOW + timedelta(seconds=2))
    answer = asked(operator, now=NOW + timedelta(seconds=1))
    assert (answer.lines, answer.microseconds, answer.plays) == ((), 0, 0)
    assert answer.adds_up


def test_a_sum_may_be_larger_than_any_number_of_microseconds(operator):
    """300,000 years of microseconds do not fit into 64 bits; SQLite would refuse the sum."""
    eve = TeamMemberFactory()
    play = spent((HOUR, eve, {}))
    since, until = datetime(2000, 1, 1, tzinfo=UTC), datetime(9990, 1, 1, tzinfo=UTC)
    recipe = play.recipe
    plays = [
        Play(
            account=AccountFactory(facts=None),
            playbook=recipe.playbook,
            recipe=recipe,
            motion=play.motion,
            route=play.route,
            stage=Stage.OWNED,
            owner=eve,
            holder=eve,
            opened_at=since,
            updated_at=since,
        )
        for _ in range(40)
    ]
    Play.objects.bulk_create(plays)
    Interval.objects.bulk_create(
        [
            Interval(play=each, seq=0, owner=eve, holder=eve, held_by="member", stage="owned", valid_from=since)
            for each in plays
        ]
    )
    answer = asked(operator, since=since, until=until, now=until)
    assert answer.microseconds == (40 * (until - since) + (until - NOW)) // MICROSECOND
    assert told(answer) == {str(eve.pk): 40 * (until - since) + (until - NOW)}


def test_holders_teams_and_owners_by_name(operator):
    top = TeamMemberFactory(name="Top", is_manager=True)
    gone = TeamMemberFactory(name="Gone", is_manager=True, is_active=False, manager=top)
    lead = TeamMemberFactory(name="Lead", is_manager=True, manager=top)
    carla = TeamMemberFactory(name="Carla", manager=lead)
    dora = TeamMemberFactory(name="Dora", manager=gone)
    eve = TeamMemberFactory(name="Eve")
    spent(
        (HOUR, "tray", {"owner": None, "stage": Stage.ROUTED}),
        (2 * HOUR, carla, {}),
        (4 * HOUR, lead, {"stage": Stage.RUNNING}),
        (8 * HOUR, "customer", {"stage": Stage.RUNNING, "state": State.PAUSED}),
        (16 * HOUR, dora, {"stage": Stage.RUNNING}),
        (32 * HOUR, eve, {"stage": Stage.RUNNING, "state": State.OFFERED}),
        closed=True,
        owner=carla,
    )

    def lines(by: Cut) -> list[tuple[str, int]]:
        return [(line.label, line.microseconds // (HOUR // MICROSECOND)) for line in asked(operator, by).lines]

    assert lines(Cut.HOLDER) == [
        *(("Eve", 32), ("Dora", 16), ("Customer", 8), ("Lead", 4), ("Carla", 2), ("Tray", 1)),
    ]
    # Whoever leads a team is in it; of a manager who has left, the one above leads.
    assert lines(Cut.TEAM) == [
        *(("In no team", 32), ("Team of Top", 16), ("Customer", 8), ("Team of Lead", 6), ("Tray", 1)),
    ]
    assert lines(Cut.OWNER) == [("Carla", 62), ("Nobody yet", 1)]
    assert lines(Cut.STAGE) == [("Routed", 1), ("Owned", 2), ("Running", 60)]
    assert lines(Cut.STATE) == [("Working", 23), ("Paused", 8), ("Offered", 32)]
    assert teams_of_members() == {pk.pk: lead.pk for pk in (lead, carla)} | {
        each.pk: top.pk for each in (top, gone, dora)
    }


def test_a_circle_of_managers_is_no_team(operator):
    one = TeamMemberFactory()
    two = TeamMemberFactory(manager=one)
    TeamMember.objects.filter(pk=one.pk).update(manager=two)
    spent((HOUR, one, {}))
    assert [line.key for line in asked(operator, Cut.TEAM).lines] == ["none"]


def test_what_the_acts_write_adds_up(operator):
    CalendarFactory()
    carla = TeamMemberFactory(name="Carla")
    eve = TeamMemberFactory(name="Eve", ae=True)
    play = open_play_by_hand(
        account_id=AccountFactory(csm=carla).pk,
        playbook_id=PlaybookVersionFactory().playbook.pk,
        reason="They asked.",
        now=NOW,
    )
    ids = [play.pk]
    assert done(assign_plays(play_ids=ids, owner_id=carla.pk, now=NOW + HOUR))
    assert done(pause_plays(play_ids=ids, reason="Holidays", now=NOW + 3 * HOUR))
    assert done(resume_plays(play_ids=ids, now=NOW + 7 * HOUR))
    assert done(offer_plays(play_ids=ids, to_id=eve.pk, now=NOW + 15 * HOUR))
    assert done(accept_plays(play_ids=ids, now=NOW + 31 * HOUR))
    assert done(close_plays(play_ids=ids, outcome="won", now=NOW + 63 * HOUR))
    assert broken() == []
    assert told(asked(operator)) == {
        "tray": HOUR,
        "customer": 4 * HOUR,
        str(carla.pk): 10 * HOUR,
        str(eve.pk): 48 * HOUR,
    }
    assert told(asked(operator, Cut.OWNER)) == {
        "none": HOUR,
        str(carla.pk): 30 * HOUR,
        str(eve.pk): 32 * HOUR,
    }
    of_one = time_of_play(play.pk, NOW + 300 * DAY)
    assert {line.key: line.microseconds * MICROSECOND for line in of_one[Cut.HOLDER]} == told(asked(operator))
    assert {line.key: line.microseconds * MICROSECOND for line in of_one[Cut.STAGE]} == told(asked(operator, Cut.STAGE))


def test_intervals_that_are_broken_are_told(operator):
    play = spent((HOUR, TeamMemberFactory(), {}), (HOUR, "customer", {}), closed=True)
    assert asked(operator).adds_up
    Interval.objects.filter(play=play, seq=1).delete()
    assert not asked(operator).adds_up
    assert not asked(operator, Cut.PLAY).adds_up


# Weeks.


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Tehran", "UTC"])
def test_weeks_begin_on_monday_s_midnight_across_clock_changes(zone, settings):
    settings.CSPLAYBOOKS = {**settings.CSPLAYBOOKS, "TIME_ZONE": zone}
    since, until = datetime(2018, 9, 1, 12, tzinfo=UTC), datetime(2019, 5, 1, 7, 0, 0, 1, tzinfo=UTC)
    weeks = parts_of(since, until, Every.WEEK)
    assert (weeks[0].begins, weeks[-1].ends) == (since, until)
    for before, after in pairwise(weeks):
        assert before.ends == after.begins
        local = after.begins.astimezone(ZoneInfo(zone))
        year, week, weekday = local.isocalendar()
        assert after.key == f"{year}-W{week:02}"
        assert weekday == 1
        # Nothing of that day lies before it: midnight, or what came right after where there was none.
        just_before = (after.begins - MICROSECOND).astimezone(ZoneInfo(zone))
        assert just_before.date() < local.date()


def test_a_week_with_a_clock_change_has_an_hour_more_or_less(operator, settings):
    settings.CSPLAYBOOKS = {**settings.CSPLAYBOOKS, "TIME_ZONE": "Europe/Berlin"}
    berlin = ZoneInfo("Europe/Berlin")
    spent((HOUR, TeamMemberFactory(), {}), opened_at=datetime(2026, 1, 1, tzinfo=UTC))
    week: dict[str, timedelta] = {}
    for since in (datetime(2026, 3, 1, tzinfo=berlin), datetime(2026, 10, 1, tzinfo=berlin)):
        answer = asked(operator, Cut.WEEK, since=since, until=since + 45 * DAY, now=NOW + 100 * DAY)
        week |= told(answer)
        assert answer.adds_up
    assert week["2026-W12"] == 168 * HOUR
    assert week["2026-W13"] == 167 * HOUR
    assert week["2026-W43"] == 169 * HOUR


def test_the_year_of_a_week_is_that_of_its_thursday():
    weeks = parts_of(datetime(2026, 12, 20, tzinfo=UTC), datetime(2027, 1, 20, tzinfo=UTC), Every.WEEK)
    assert [week.key for week in weeks] == ["2026-W51", "2026-W52", "2026-W53", "2027-W01", "2027-W02", "2027-W03"]


def test_months():
    months = parts_of(datetime(2026, 11, 30, tzinfo=UTC), datetime(2027, 3, 1, tzinfo=UTC), Every.MONTH)
    assert [month.key for month in months] == ["2026-11", "2026-12", "2027-01", "2027-02"]


def test_too_many_weeks_are_refused_and_a_year_is_not(operator):
    asked(operator, Cut.WEEK, since=NOW - 366 * DAY, until=NOW)
    with pytest.raises(ReportError, match=f"more than {MOST_PARTS} weeks"):
        asked(operator, Cut.WEEK, since=NOW - 380 * DAY, until=NOW)
    # Other cuts may be asked of any period.
    asked(operator, Cut.HOLDER, since=NOW - 5000 * DAY, until=NOW)


@pytest.mark.parametrize(
    ("since", "until", "parameter"),
    [
        (NOW, NOW, "until"),
        (NOW + DAY, NOW, "until"),
        (NOW + 500 * DAY, NOW + 501 * DAY, "since"),
        (datetime(1999, 12, 31, tzinfo=UTC), NOW, "since"),
        (NOW.replace(tzinfo=None), NOW, "since"),
    ],
)
def test_a_period_that_is_none_is_refused(operator, since, until, parameter):
    with pytest.raises(ReportError) as refused:
        asked(operator, since=since, until=until)
    assert refused.value.parameter == parameter


# Which plays, whose.


def test_filters(operator):
    owner = TeamMemberFactory()
    play = spent((HOUR, owner, {}), owner=owner, closed=True, segment="enterprise", route="sales")
    spent((DAY, "customer", {}), closed=True, segment="small", motion="tier_upsell")
    for which in (
        WhichPlays(playbook=play.playbook.key),
        WhichPlays(motion=play.motion),
        WhichPlays(route="sales"),
        WhichPlays(segment="enterprise"),
        WhichPlays(owner_id=owner.pk),
        WhichPlays(accounts=[play.account_id]),
    ):
        answer = asked(operator, which=which)
        assert told(answer) == {str(owner.pk): HOUR}
        assert (answer.plays, answer.adds_up) == (1, True)
    assert asked(operator, which=WhichPlays(accounts=[])).lines == ()
    assert asked(operator, Cut.WEEK, which=WhichPlays(accounts=[])).microseconds == 0


@pytest.mark.parametrize(
    "behind",
    [
        *(Behind(Cut.STAGE, "closing"), Behind(Cut.HOLDER, "x"), Behind(Cut.HOLDER, str(2**63)), Behind(Cut.WEEK, "1")),
        *(Behind(Cut.OWNER, "tray"), Behind(Cut.HOLDER, "none"), Behind(Cut.PLAY, "\N{SUPERSCRIPT TWO}")),
    ],
)
def test_a_line_that_is_none_is_refused(operator, behind):
    with pytest.raises(ReportError, match="is no line of this cut"):
        asked(operator, behind=behind)


def test_each_sees_the_time_of_the_plays_that_they_see():
    """The owner, a colleague who has nothing to do with it, their manager, a stranger, a token of another account."""
    boss = TeamMemberFactory(name="Boss", is_manager=True)
    owner, colleague = TeamMemberFactory(name="Owner", manager=boss), TeamMemberFactory(name="Colleague")
    play = spent((HOUR, owner, {}), owner=owner, account__csm=owner, closed=True)
    viewers = {
        "owner": owner.user,
        "boss": boss.user,
        "colleague": colleague.user,
        "stranger": UserFactory(),
        "token": ApiTokenFactory(account_ids=[play.account_id]),
        "other token": ApiTokenFactory(account_ids=[AccountFactory().pk]),
    }
    seen = {
        name: {cut: sum(line.microseconds for line in asked(viewer, cut).lines) // 3_600_000_000 for cut in Cut}
        for name, viewer in viewers.items()
    }
    everything, nothing = dict.fromkeys(Cut, 1), dict.fromkeys(Cut, 0)
    assert seen == {
        **dict.fromkeys(("owner", "boss", "token"), everything),
        **dict.fromkeys(("colleague", "stranger", "other token"), nothing),
    }


@pytest.mark.parametrize("by", Cut)
def test_the_number_of_queries_does_not_grow(by, operator):
    counts = []
    lead = TeamMemberFactory(is_manager=True)
    for number in (1, 6):
        for _ in range(number):
            spent((HOUR, TeamMemberFactory(manager=lead), {}), (DAY, "customer", {}), closed=True)
        with CaptureQueriesContext(connection) as queries:
            asked(operator, by, weekly=True, until=NOW + 60 * DAY)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 4


def test_the_most_come_first_and_what_is_left_out_is_counted(operator):
    plays = [spent((number * HOUR, TeamMemberFactory(), {}), closed=True) for number in (1, 3, 2)]
    answer = asked(operator, Cut.PLAY, limit=2)
    assert [line.row_id for line in answer.lines] == [plays[1].pk, plays[2].pk]
    assert (answer.lines_in_all, answer.plays, answer.adds_up) == (3, 3, True)
    assert answer.lines[0].label == f"{plays[1].playbook} at {plays[1].account}"


def expire(**asked_for: Any) -> Any:
    """The play runs out."""
    return close_plays(outcome="expired", **asked_for)


@pytest.mark.parametrize("answer", [accept_plays, take_back_plays, expire])
def test_an_answer_of_a_machine_whose_clock_is_behind_comes_when_the_play_moved(operator, answer):
    """Offered, touched by another machine ten seconds later, and answered by one that is five seconds behind it."""
    CalendarFactory()
    play = PlayFactory(opened_at=NOW)
    assert done(offer_plays(play_ids=[play.pk], to_id=TeamMemberFactory(ae=True).pk, now=NOW + HOUR))
    assert done(log_touch(play_ids=[play.pk], channel="call", now=NOW + HOUR + timedelta(seconds=10)))
    assert done(answer(play_ids=[play.pk], now=NOW + HOUR + timedelta(seconds=5)))
    assert broken() == []
    assert asked(operator).adds_up
