"""Somebody leaves the team: in one act everything that waits for them goes to others."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.acts.members import change_member
from csplaybooks.accounts.factories import AbsenceFactory, AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import Absence, AccountTeam, TeamMember, TimelineEntry
from csplaybooks.accounts.roles import Role
from csplaybooks.playbooks.acts.assigning import route_again
from csplaybooks.playbooks.acts.claiming import release_plays
from csplaybooks.playbooks.acts.handoffs import offer_plays
from csplaybooks.playbooks.acts.leaving import Waiting, leave_team, leaving_in_words, waiting_for
from csplaybooks.playbooks.acts.plays import assign_plays, pause_plays
from csplaybooks.playbooks.acts.roles import make_groups
from csplaybooks.playbooks.factories import CalendarFactory, PlayFactory
from csplaybooks.playbooks.models import Handoff, Pause, Play
from csplaybooks.playbooks.pipeline.sweep import lapse_waiting_offers, work
from tests.at_once import at_once, begin, waiting_for_locks
from tests.crash.clusters import wait_until
from tests.playbooks.plays import DAY, HOUR, NOW, broken, done, owned, story

pytestmark = pytest.mark.django_db


@pytest.fixture
def mona(db: None) -> TeamMember:
    """A manager."""
    member: TeamMember = TeamMemberFactory(name="Mona", leads=True)
    return member


@pytest.fixture
def carla(mona: TeamMember) -> TeamMember:
    """A CSM whom Mona leads, and who leaves."""
    CalendarFactory()
    member: TeamMember = TeamMemberFactory(name="Carla", manager=mona)
    return member


@pytest.fixture
def dora(mona: TeamMember) -> TeamMember:
    """A CSM who stays."""
    member: TeamMember = TeamMemberFactory(name="Dora", manager=mona)
    return member


@pytest.fixture
def erik(mona: TeamMember) -> TeamMember:
    """An AE."""
    member: TeamMember = TeamMemberFactory(name="Erik", ae=True, manager=mona)
    return member


def test_all_that_waits_for_somebody_goes_to_others(
    carla: TeamMember, dora: TeamMember, erik: TeamMember, mona: TeamMember
) -> None:
    account = AccountFactory(csm=carla)
    mine, paused, offered = owned(owner=carla, account=account), owned(owner=carla), owned(owner=carla)
    assert done(pause_plays(play_ids=[paused.pk], reason="Holidays", now=NOW, wakes_at=NOW + DAY))
    assert done(offer_plays(play_ids=[offered.pk], to_id=erik.pk, now=NOW))
    helper = TeamMemberFactory(name="Helper", manager=carla)
    absence = AbsenceFactory(member=dora, first_day=date(2026, 12, 1), last_day=date(2026, 12, 2), stand_in=carla)
    past = AbsenceFactory(member=dora, first_day=date(2026, 11, 2), last_day=date(2026, 11, 3), stand_in=carla)
    assert waiting_for(carla) == Waiting(offers_by=1, owned=3, paused=1)
    assert leaving_in_words(carla, NOW) == [
        "1 play that they offered to others: taken back",
        "3 plays of theirs go to others, 1 stay paused; unless you name somebody, by their routing: "
        "2 plays to Dora, 1 play to Helper",
        "1 places at accounts are open",
        "1 reports go to their manager",
        "1 absences have nobody who stands in",
    ]
    left = leave_team(member_id=carla.pk, now=NOW + HOUR)
    # By load: Dora and Helper share them.
    assert left.given == {"Dora": 2, "Helper": 1}
    assert (left.tray, left.team.accounts_open, left.team.reports, left.team.stand_ins) == (0, 1, 1, 1)
    assert not TeamMember.objects.get(pk=carla.pk).is_active
    assert Play.objects.open().filter(Play.worked_by_q(frozenset({carla.pk}))).count() == 0
    paused.refresh_from_db()
    assert (paused.state, paused.holder) == ("paused", None)
    assert Pause.objects.filter(play=paused, wakes_at=NOW + DAY).count() == 2
    assert Handoff.objects.get(play=offered).answer == "taken_back"
    assert AccountTeam.objects.current().filter(member=carla).count() == 0
    helper.refresh_from_db()
    assert helper.manager == mona
    assert Absence.objects.get(pk=absence.pk).stand_in is None
    assert Absence.objects.get(pk=past.pk).stand_in == carla
    assert story(mine)[-1].endswith(
        "Assigned to Dora: Carla has left the team: the least loaded of the pool; Carla, the account's CSM, has left"
    )
    told = TimelineEntry.objects.get(kind="teammember_left").text
    assert told.startswith("Carla has left the team: 1 play that they offered to others: taken back; 2 plays to Dora")
    assert broken() == []


def test_it_is_told_before_to_whom_how_many_plays_would_go(
    carla: TeamMember, dora: TeamMember, erik: TeamMember, mona: TeamMember
) -> None:
    """The numbers are those of the act: what is taken back gives Erik room, and what nobody has room for is told."""
    TeamMember.objects.filter(pk__in=[dora.pk, erik.pk]).update(open_play_cap=1)
    account = AccountFactory(ae=erik)
    offered = owned(owner=carla, account=account, route="sales", routing={"owner": "ae"})
    assert done(offer_plays(play_ids=[offered.pk], to_id=erik.pk, now=NOW))
    others = [owned(owner=carla) for _ in range(3)]
    before = leaving_in_words(carla, NOW)
    given = "1 play to Dora", "1 play to Erik", "2 plays to Mona", "of these 2 plays in the tray: nobody has room"
    assert before[1] == (
        f"4 plays of theirs go to others; unless you name somebody, by their routing: {', '.join(given)}"
    )
    assert [Play.objects.get(pk=play.pk).owner for play in others] == [carla] * 3
    left = leave_team(member_id=carla.pk, now=NOW + HOUR)
    assert [line for line in left.lines() if line in given] == list(given)
    assert (left.given, left.tray) == ({"Dora": 1, "Erik": 1, "Mona": 2}, 2)


def test_where_nobody_could_take_their_plays_the_page_says_so(db: None) -> None:
    alone = TeamMemberFactory(name="Alone")
    owned(owner=alone)
    assert leaving_in_words(alone, NOW) == [
        "1 play of theirs goes to others. Nobody has room for all of the 1 play of Alone, and no manager stands above "
        "them: name who takes them."
    ]


def test_offers_to_them_go_back_and_what_they_hold_goes_to_its_owner(
    carla: TeamMember, dora: TeamMember, mona: TeamMember
) -> None:
    boss = TeamMemberFactory(name="Boss", leads=True)
    seller = TeamMemberFactory(name="Eve", ae=True, manager=boss)
    offered = owned(owner=carla)
    assert done(offer_plays(play_ids=[offered.pk], to_id=seller.pk, now=NOW))
    leave_team(member_id=seller.pk, now=NOW + HOUR)
    offered.refresh_from_db()
    assert (offered.owner, offered.holder, offered.state) == (carla, carla, "working")
    released = owned(owner=dora)
    assert done(release_plays(play_ids=[released.pk], reason="No time", now=NOW))
    assert waiting_for(mona) == Waiting(held=1)
    TeamMember.objects.filter(pk=mona.pk).update(manager=boss)
    leave_team(member_id=mona.pk, now=NOW + HOUR)
    released.refresh_from_db()
    assert (released.owner, released.holder, released.tray_at) == (dora, dora, None)
    assert TeamMember.objects.get(pk=dora.pk).manager == boss
    assert broken() == []


def test_whoever_is_named_takes_over_the_plays_and_the_places_they_have_the_role_for(
    carla: TeamMember, dora: TeamMember, erik: TeamMember
) -> None:
    account = AccountFactory(csm=carla, ae=carla)
    plays = [owned(owner=carla, account=account), owned(owner=carla)]
    TeamMember.objects.filter(pk=dora.pk).update(open_play_cap=0)
    left = leave_team(member_id=carla.pk, to_id=dora.pk, now=NOW)
    # Who says so goes over a cap, as with any assignment by a person.
    assert left.given == {"Dora": 2}
    assert set(Play.objects.filter(pk__in=[play.pk for play in plays]).values_list("owner", flat=True)) == {dora.pk}
    assert dict(AccountTeam.objects.current().values_list("role", "member")) == {"csm": dora.pk}
    assert (left.team.accounts_over, left.team.accounts_open) == (1, 1)


def test_where_nobody_has_room_the_manager_owns_it_and_it_waits_in_the_tray(
    carla: TeamMember, mona: TeamMember
) -> None:
    play = owned(owner=carla)
    left = leave_team(member_id=carla.pk, now=NOW)
    play.refresh_from_db()
    assert (play.owner, play.holder, play.tray_at, left.tray) == (mona, mona, NOW, 1)
    assert "so it waits in the tray: nobody is here and under their cap" in story(play)[-1]
    assert left.lines() == [
        "1 play to Mona",
        "of these 1 play in the tray: nobody has room",
    ]
    assert broken() == []


def test_nothing_is_done_where_nobody_could_take_it(db: None) -> None:
    alone = TeamMemberFactory(name="Alone")
    play = owned(owner=alone)
    with pytest.raises(ValidationError, match="no manager stands above them: name who takes them") as refusal:
        leave_team(member_id=alone.pk, now=NOW)
    assert list(refusal.value.message_dict) == ["to"]
    play.refresh_from_db()
    assert (play.owner, TeamMember.objects.get(pk=alone.pk).is_active) == (alone, True)


def test_who_takes_over_has_a_role_for_it_and_is_here(carla: TeamMember, erik: TeamMember) -> None:
    PlayFactory(owner=carla, route="email", opened_at=NOW)
    with pytest.raises(ValidationError, match="Erik is an account executive, and owns plays by CSM conversation and"):
        leave_team(member_id=carla.pk, to_id=erik.pk, now=NOW)
    for to_id in (carla.pk, 10**9, TeamMemberFactory(is_active=False).pk):
        with pytest.raises(ValidationError, match="Name another member, who works here"):
            leave_team(member_id=carla.pk, to_id=to_id, now=NOW)
    assert TeamMember.objects.get(pk=carla.pk).is_active
    assert leave_team(member_id=erik.pk, now=NOW).lines() == []
    with pytest.raises(ValidationError, match="has left, or never was"):
        leave_team(member_id=erik.pk, now=NOW)


def test_their_sign_in_goes_out_of_the_groups_of_their_roles(carla: TeamMember, dora: TeamMember) -> None:
    make_groups()
    group = Group.objects.get(name=Role.CUSTOMER_SUCCESS_MANAGER.group)
    user: Any = carla.user
    user.groups.add(group)
    leave_team(member_id=carla.pk, now=NOW)
    assert not user.groups.exists()


def test_the_plain_form_keeps_who_has_plays_and_names_the_way_out(carla: TeamMember) -> None:
    owned(owner=carla)
    with pytest.raises(ValidationError, match="Let them leave the team"):
        change_member(member_id=carla.pk, values={"is_active": False}, now=NOW, actor=None)


@pytest.mark.django_db(transaction=True)
def test_nobody_who_leaves_at_this_moment_is_given_work(carla: TeamMember, dora: TeamMember) -> None:
    plays = [owned(owner=dora).pk for _ in range(4)]

    def assign() -> Any:
        try:
            return assign_plays(play_ids=plays, owner_id=carla.pk, now=NOW + HOUR)
        except ValidationError as refusal:
            return refusal.message_dict

    _, assigned = at_once(lambda: leave_team(member_id=carla.pk, now=NOW + HOUR), assign)
    assert assigned == {"owner": ["This team member has left, or never was."]} or done(assigned)
    assert set(Play.objects.values_list("owner", flat=True)) == {dora.pk}
    assert broken() == []


def test_the_number_of_queries_does_not_grow_with_the_plays(mona: TeamMember) -> None:
    CalendarFactory()
    TeamMemberFactory(name="Dora", open_play_cap=1000)
    # The lease is made once.
    route_again(play_ids=[0], now=NOW)
    seen = []
    for number in (2, 20):
        leaver = TeamMemberFactory(name=f"Leaver of {number}", manager=mona, takes_pool_work=False)
        erik = TeamMemberFactory(name="Erik", ae=True)
        plays = [owned(owner=leaver, account=AccountFactory(csm=leaver)).pk for _ in range(number * 2)]
        assert done(offer_plays(play_ids=plays[:number], to_id=erik.pk, now=NOW))
        with CaptureQueriesContext(connection) as queries:
            leave_team(member_id=leaver.pk, now=NOW)
        seen.append(len(queries))
    assert seen[0] == seen[1]


def test_what_somebody_holds_goes_back_to_an_owner_who_has_lost_the_role_since(
    dora: TeamMember, mona: TeamMember
) -> None:
    CalendarFactory()
    play = owned(owner=dora, route="csm")
    assert done(release_plays(play_ids=[play.pk], reason="No time", now=NOW))
    TeamMember.objects.filter(pk=dora.pk).update(is_customer_success_manager=False, is_digital_desk=True)
    leave_team(member_id=mona.pk, now=NOW + HOUR)
    play.refresh_from_db()
    assert (play.owner, play.holder, play.tray_at) == (dora, dora, None)
    # Nobody is given more of such work by that.
    with pytest.raises(ValidationError, match="owns plays by"):
        assign_plays(play_ids=[owned().pk], owner_id=dora.pk, now=NOW + HOUR)
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_an_offer_that_lapses_while_the_manager_above_leaves_waits_for_nobody_who_has_left(
    carla: TeamMember, erik: TeamMember, mona: TeamMember
) -> None:
    boss = TeamMemberFactory(name="Boss", leads=True)
    TeamMember.objects.filter(pk=mona.pk).update(manager=boss)
    plays = [owned(owner=carla).pk for _ in range(4)]
    work(now=NOW)
    assert done(offer_plays(play_ids=plays, to_id=erik.pk, now=NOW))
    late = NOW + 30 * DAY
    at_once(lambda: leave_team(member_id=mona.pk, now=late), lambda: lapse_waiting_offers(now=late))
    rows = Play.objects.filter(pk__in=plays).values_list("owner", "holder", "tray_at")
    assert not Handoff.objects.filter(answer="waiting").exists()
    # In the tray of who led Mona; or back with Carla, where they were in Mona's when she left.
    assert set(rows) <= {(carla.pk, boss.pk, late), (carla.pk, carla.pk, None)}
    assert len(set(rows)) == 1
    assert broken() == []


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_whoever_leaves_waits_for_an_offer_that_lapses_to_them(
    carla: TeamMember, erik: TeamMember, mona: TeamMember
) -> None:
    play = owned(owner=carla)
    work(now=NOW)
    assert done(offer_plays(play_ids=[play.pk], to_id=erik.pk, now=NOW))
    late = NOW + 30 * DAY
    with transaction.atomic():
        assert lapse_waiting_offers(now=late) == 1
        assert Play.objects.get().holder == mona
        leave = begin(lambda: leave_team(member_id=mona.pk, now=late))
        wait_until(waiting_for_locks, what="whoever leaves to meet the lapse")
    assert leave.result(timeout=60).waiting == Waiting(held=1)
    play.refresh_from_db()
    assert (play.owner, play.holder, play.tray_at) == (carla, carla, None)
    assert broken() == []
