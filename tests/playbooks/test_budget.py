"""The attention budget: what is let in, in which order, what waits, and what expires."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import AbsenceFactory, AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks import budget
from csplaybooks.playbooks.acts.plays import close_plays
from csplaybooks.playbooks.budget import Room, look_at_queue, places, waiting_by_pool
from csplaybooks.playbooks.factories import (
    CalendarFactory,
    MatchFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
    RunFactory,
)
from csplaybooks.playbooks.models import Match, MatchStep, Play, Run
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.playbooks.pipeline.owners import assign_owners
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.runs import admit_waiting, run_triggers
from tests.at_once import at_once
from tests.playbooks.inputs import account, assert_all_runs_replay, gate_hits, seats
from tests.playbooks.plays import broken

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(db: None) -> Any:
    """A playbook worked by CSMs, published."""
    return PlaybookVersionFactory()


@pytest.fixture
def run(db: None) -> Run:
    """The newest run."""
    made: Run = RunFactory(moment=NOW)
    return made


def waits(version: Any, run: Run, worth: int | None = None, **more: Any) -> Match:
    """A match that waits for room among the CSMs."""
    match: Match = MatchFactory(
        waits=True, version=version, opened_run=run, route=more.pop("route", "csm"), expected_value_minor=worth, **more
    )
    return match


def people(room: int, **more: Any) -> Any:
    """A CSM with room for so many plays."""
    return TeamMemberFactory(open_play_cap=room, **more)


def let_in() -> list[Match]:
    """What has been let in, in the order of the queue."""
    return list(Match.objects.admitted().by_value())


def test_the_best_value_goes_first_then_the_older_run_then_the_id_and_unknown_last(version: Any) -> None:
    runs = [RunFactory(moment=NOW) for _ in range(2)]
    unknown = waits(version, runs[0])
    small = waits(version, runs[0], 100)
    second, third = waits(version, runs[1], 500), waits(version, runs[1], 500)
    first = waits(version, runs[0], 500)
    best = waits(version, runs[1], 900)
    order = [best, first, second, third, small, unknown]
    assert list(Match.objects.waiting().by_value()) == order
    assert places() == {match.pk: place for place, match in enumerate(order, start=1)}
    people(4)
    assert admit_waiting(now=NOW) == 4
    assert let_in() == order[:4]
    assert list(Match.objects.waiting().by_value()) == order[4:]
    assert set(Match.objects.admitted().values_list("admitted_run", flat=True)) == {runs[1].pk}
    assert admit_waiting(now=NOW) == 0
    assert open_plays(now=NOW, limit=1) == 1
    best.refresh_from_db()
    assert best.state == "fired"
    assert broken() == []


def test_what_is_promised_takes_its_room(version: Any, run: Run) -> None:
    csm = people(4)
    PlayFactory(owner=csm, opened_at=NOW)
    PlayFactory(unowned=True, opened_at=NOW)
    MatchFactory(version=version, opened_run=run, route="csm")
    best = waits(version, run, 2)
    waits(version, run, 1)
    assert waiting_by_pool(NOW) == {"csm": (2, 1)}
    assert admit_waiting(now=NOW) == 1
    best.refresh_from_db()
    assert best.admitted_run == run


def test_nobody_is_given_more_than_their_cap_and_nothing_goes_to_the_tray(version: Any, run: Run) -> None:
    CalendarFactory()
    for _ in range(3):
        people(2)
    for worth in range(10):
        waits(version, run, worth)
    assert admit_waiting(now=NOW) == 6
    work(now=NOW)
    assert Play.objects.filter(owner__isnull=False).count() == 6
    assert not Play.objects.filter(tray_at__isnull=False).exists()
    assert sorted(Match.objects.waiting().values_list("expected_value_minor", flat=True)) == [0, 1, 2, 3]
    assert broken() == []


def test_room_that_has_come_free_lets_the_next_in_at_the_sweep(version: Any, run: Run) -> None:
    csm = people(1)
    play = PlayFactory(owner=csm, opened_at=NOW)
    best, other = waits(version, run, 2), waits(version, run, 1)
    assert admit_waiting(now=NOW) == 0
    close_plays(play_ids=[play.pk], outcome="withdrawn", now=NOW + DAY)
    assert admit_waiting(now=NOW + DAY) == 1
    best.refresh_from_db()
    other.refresh_from_db()
    assert (best.admitted_run, other.admitted_run) == (run, None)
    step = best.steps.latest("pk")
    assert (step.state, step.admitted, step.run, step.in_run, step.at) == ("queued", True, run, False, NOW + DAY)
    assert broken() == []


@pytest.mark.parametrize("route", ["self_serve", "email"])
def test_what_takes_nobody_s_time_needs_no_room(version: Any, run: Run, route: str) -> None:
    people(0)
    waits(version, run, route=route)
    assert admit_waiting(now=NOW) == 1


def test_what_folds_needs_no_room(version: Any, run: Run) -> None:
    csm = people(1)
    play = PlayFactory(owner=csm, opened_at=NOW)
    folds = waits(version, run, account=play.account)
    waits(version, run)
    assert admit_waiting(now=NOW) == 1
    assert let_in() == [folds]
    assert open_plays(now=NOW) == 1
    folds.refresh_from_db()
    assert folds.state == "folded"


def test_two_of_one_motion_at_one_account_take_one_place(version: Any, run: Run) -> None:
    people(1)
    other = PlaybookVersionFactory(playbook=PlaybookFactory(motion=version.playbook.motion))
    first, second = waits(version, run, 2), waits(other, run, 1)
    Match.objects.filter(pk=second.pk).update(account=first.account)
    third = waits(version, run, 0)
    assert admit_waiting(now=NOW) == 2
    assert list(Match.objects.waiting()) == [third]


def test_where_nobody_belongs_to_the_pool_there_is_no_budget(version: Any, run: Run) -> None:
    CalendarFactory()
    waits(version, run)
    TeamMemberFactory(ae=True)
    TeamMemberFactory(leads=True)
    people(5, takes_pool_work=False)
    assert waiting_by_pool(NOW) == {"csm": (1, None)}
    assert admit_waiting(now=NOW) == 1
    work(now=NOW)
    assert Play.objects.get().tray_at == NOW


def test_where_everybody_is_full_or_away_all_wait(version: Any, run: Run) -> None:
    people(0)
    AbsenceFactory(member=people(5), first_day=NOW.date(), last_day=NOW.date())
    waits(version, run)
    assert admit_waiting(now=NOW) == 0
    assert waiting_by_pool(NOW) == {"csm": (1, 0)}
    assert admit_waiting(now=NOW + DAY) == 1


def test_the_own_csm_at_their_cap_leaves_it_to_the_pool(version: Any, run: Run) -> None:
    own, free = people(0), people(1)
    waits(version, run, account=AccountFactory(csm=own))
    assert admit_waiting(now=NOW) == 1
    open_plays(now=NOW)
    assign_owners(now=NOW)
    assert Play.objects.get().owner == free


def test_who_takes_no_pool_work_has_room_for_their_own_alone(version: Any, run: Run) -> None:
    own = people(1, takes_pool_work=False)
    people(0)
    theirs, others = waits(version, run, 1, account=AccountFactory(csm=own)), waits(version, run, 2)
    assert admit_waiting(now=NOW) == 1
    assert let_in() == [theirs]
    assert list(Match.objects.waiting()) == [others]


def test_sales_at_accounts_without_a_csm_is_a_pool_of_its_own(version: Any, run: Run) -> None:
    TeamMemberFactory(ae=True, open_play_cap=1)
    csm = people(0)
    alone = waits(version, run, 1, route="sales")
    waits(version, run, 2, route="sales", account=AccountFactory(csm=csm))
    assert waiting_by_pool(NOW) == {"csm": (1, 0), "ae": (1, 1)}
    assert admit_waiting(now=NOW) == 1
    assert let_in() == [alone]


def test_what_waits_too_long_expires_for_all_to_see_and_fires_no_more(version: Any, run: Run) -> None:
    people(0)
    match = waits(version, run)
    last = match.waits_until
    assert last == NOW + 14 * DAY
    admit_waiting(now=last - timedelta(seconds=1))
    match.refresh_from_db()
    assert match.state == "queued"
    admit_waiting(now=last)
    match.refresh_from_db()
    assert (match.state, match.closed_run, match.admitted_run) == ("expired", None, None)
    assert match.steps.latest("pk").state == "expired"
    line = TimelineEntry.objects.get(kind="match_expired")
    assert line.account == match.account
    assert line.text == f"{version.playbook} matched, and expired: nobody had room for it since 2026-11-16"
    TeamMemberFactory()
    assert admit_waiting(now=last) == 0
    assert open_plays(now=last) == 0
    assert broken() == []


def test_the_day_since_when_it_waited_is_told_in_the_company_s_zone(version: Any, run: Run, settings: Any) -> None:
    settings.CSPLAYBOOKS = {**settings.CSPLAYBOOKS, "TIME_ZONE": "Asia/Tokyo"}
    people(0)
    waits(version, run, queued_at=NOW + timedelta(hours=6))
    admit_waiting(now=NOW + 14 * DAY)
    assert TimelineEntry.objects.get(kind="match_expired").text.endswith("since 2026-11-17")


def test_nothing_waits_costs_one_query(run: Run, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert admit_waiting(now=NOW) == 0


@pytest.mark.parametrize("seed", range(5))
def test_who_is_let_in_is_the_same_however_much_of_the_queue_is_read(
    version: Any, run: Run, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where people are full the rest is not read; who would find room there is found all the same."""
    dice = random.Random(seed)
    csms = [people(dice.randint(0, 3), takes_pool_work=dice.random() < 0.7) for _ in range(4)]
    aes = [TeamMemberFactory(ae=True, open_play_cap=dice.randint(0, 1)) for _ in range(2)]
    AbsenceFactory(member=csms[0], stand_in=csms[1], first_day=NOW.date(), last_day=NOW.date())
    other = PlaybookVersionFactory(playbook=PlaybookFactory(motion="add_on"))
    accounts = [
        AccountFactory(csm=dice.choice([None, *csms]), ae=dice.choice([None, *aes]))
        if dice.random() < 0.8
        else AccountFactory()
        for _ in range(25)
    ]
    for row in dice.sample(accounts, 4):
        PlayFactory(account=row, recipe=dice.choice([version, other]), opened_at=NOW, owner=dice.choice(csms))
    for row in accounts:
        for of in (version, other):
            route = dice.choice(["csm", "csm", "sales", "email", ""])
            ready = {"waits": False} if dice.random() < 0.1 else {}
            MatchFactory(
                **{"waits": True, **ready},
                version=of,
                opened_run=run,
                account=row,
                route=route,
                expected_value_minor=dice.choice([None, dice.randint(1, 9)]),
            )
    whole = Room.at(NOW)
    by_hand: list[int] = []
    places_of_all = Match.objects.waiting().by_value()
    whole.learn({match.account_id for match in places_of_all})
    for match in places_of_all:
        if whole._let_in(match.account_id, match.version.playbook.motion, whole.routing(match.version_id, match.route)):
            by_hand.append(match.pk)
    monkeypatch.setattr(budget, "_READ", 4)
    room = Room.at(NOW)
    chosen = room.choose()
    # What was passed by, and folds into what came after it, is let in as well, and not a minute later.
    assert set(by_hand) <= set(chosen)
    folds = Match.objects.filter(pk__in=set(chosen) - set(by_hand))
    assert {(match.account_id, match.version.playbook.motion) for match in folds} <= whole.taken
    assert room.people.load == whole.people.load


def test_a_long_queue_is_not_read_where_nobody_has_room(
    version: Any, run: Run, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(0)
    for worth in range(8):
        waits(version, run, worth)
    folds = waits(version, run)
    PlayFactory(account=folds.account, recipe=version, opened_at=NOW, owner=people(0))
    room = Room.at(NOW)
    monkeypatch.setattr(budget, "_READ", 1)
    # Whom to read, and of these the places, the team and the plays.
    with django_assert_num_queries(4):
        assert room.choose() == [folds.pk]


@pytest.mark.parametrize("number", [2, 40])
def test_a_look_takes_the_same_number_of_queries_whatever_waits(
    version: Any, run: Run, number: int, django_assert_num_queries: Any
) -> None:
    people(number // 2)
    for worth in range(number):
        waits(version, run, worth)
    with django_assert_num_queries(26):
        assert look_at_queue(at=NOW, run_id=run.pk, in_run=False).admitted == number // 2


@pytest.mark.django_db(transaction=True)
def test_looks_and_workers_at_once_fill_the_room_and_no_more() -> None:
    version, run = PlaybookVersionFactory(), RunFactory(moment=NOW)
    for _ in range(3):
        people(4)
    for worth in range(30):
        waits(version, run, worth)

    def look() -> None:
        for _ in range(5):
            admit_waiting(now=NOW)

    def worker() -> None:
        for _ in range(5):
            open_plays(now=NOW, limit=3)
            assign_owners(now=NOW, limit=3)

    at_once(look, look, worker, worker)
    admit_waiting(now=NOW)
    while open_plays(now=NOW) + assign_owners(now=NOW):
        pass
    assert Play.objects.filter(owner__isnull=False).count() == Play.objects.count() == 12
    assert sorted(Match.objects.waiting().values_list("expected_value_minor", flat=True)) == list(range(18))
    assert broken() == []


def test_a_run_lets_in_what_there_is_room_for_and_keeps_what_it_used(library: None) -> None:
    csm = people(1)
    for name, hits in (("acme", 3), ("bolt", 4)):
        account(name)
        seats(name, 19, 20)
        seats(name, 90, 100, meter="health")
        gate_hits(name, *range(1, hits + 1))
    run_triggers(now=NOW)
    run = Run.objects.get()
    admitted = set(let_in())
    waiting = set(Match.objects.waiting())
    assert admitted
    assert run.inputs["capacities"] == {"csm": 1, "ae": None}
    assert set(run.inputs["close_rates"]) == {str(match.version.playbook_id) for match in admitted | waiting}
    heavy = [match for match in admitted if match.route == "csm"]
    assert len({(match.account_id, match.trigger.playbook.motion) for match in heavy}) <= csm.open_play_cap
    for match in waiting:
        assert (match.queued_at, match.waits_until) == (NOW, NOW + 14 * DAY)
        assert MatchStep.objects.filter(match=match).count() == 1
    for match in admitted:
        said = list(match.steps.values_list("state", "admitted", "run", "in_run"))
        assert said == [("queued", False, run.pk, True), ("queued", True, run.pk, True)]
    assert run.errors == {}
    assert_all_runs_replay()
    assert broken() == []
