"""Plays assigned once more, by their routing."""

from __future__ import annotations

from collections import Counter

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.acts.assigning import plan_again, route_again
from csplaybooks.playbooks.acts.claiming import release_plays
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays
from csplaybooks.playbooks.acts.plays import assign_plays, close_plays, pause_plays
from csplaybooks.playbooks.factories import CalendarFactory, PlayFactory
from csplaybooks.playbooks.models import Handoff, Play
from csplaybooks.playbooks.pipeline.owners import assign_owners
from csplaybooks.playbooks.routing import compare
from tests.at_once import at_once
from tests.playbooks.plays import HOUR, NOW, broken, done, owned, story

pytestmark = pytest.mark.django_db


def ids(plays: list[Play]) -> list[int]:
    """Their ids."""
    return [play.pk for play in plays]


def test_plays_of_one_person_spread_over_the_pool_under_their_caps(db: None) -> None:
    busy = TeamMemberFactory(name="Busy", takes_pool_work=False)
    first, second = TeamMemberFactory(open_play_cap=3), TeamMemberFactory(open_play_cap=2)
    plays = [owned(owner=busy) for _ in range(7)]
    answers = route_again(play_ids=ids(plays), now=NOW + HOUR)
    assert Counter(Play.objects.values_list("owner", flat=True)) == {first.pk: 3, second.pk: 2, busy.pk: 2}
    assert list(answers.values()) == [None] * 5 + ["it stays where it is: nobody is here and under their cap"] * 2
    assert broken() == []


def test_what_is_where_it_belongs_stays(db: None) -> None:
    carla = TeamMemberFactory(name="Carla", open_play_cap=1)
    TeamMemberFactory(name="Idle")
    play = owned(owner=carla, account=AccountFactory(csm=carla))
    assert done(route_again(play_ids=[play.pk], now=NOW + HOUR))
    play.refresh_from_db()
    assert (play.owner, play.version, story(play)) == (carla, 1, [])


def test_what_stands_in_the_tray_comes_out_of_it_and_a_paused_play_stays_paused(db: None) -> None:
    mona = TeamMemberFactory(leads=True)
    carla = TeamMemberFactory(name="Carla", manager=mona)
    waiting, paused = PlayFactory(unowned=True, opened_at=NOW, tray_at=NOW), owned(owner=mona)
    given_back = owned(owner=carla, account=AccountFactory(csm=carla))
    assert done(pause_plays(play_ids=[paused.pk], reason="Holidays", now=NOW))
    assert done(release_plays(play_ids=[given_back.pk], reason="No time", now=NOW))
    assert done(route_again(play_ids=[waiting.pk, paused.pk, given_back.pk], now=NOW + HOUR))
    for play in (waiting, paused, given_back):
        play.refresh_from_db()
        assert (play.owner, play.tray_at) == (carla, None)
    assert (paused.state, paused.holder, given_back.holder) == ("paused", None, carla)
    assert story(given_back)[-1].endswith("Assigned to Carla: the account's CSM")
    assert broken() == []


def test_a_play_for_sales_is_offered_when_it_is_first_owned_and_not_again(db: None) -> None:
    CalendarFactory()
    carla, dora = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Dora")
    erik = TeamMemberFactory(name="Erik", ae=True)
    account = AccountFactory(csm=carla, ae=erik)
    new = PlayFactory(unowned=True, opened_at=NOW, route="sales", account=account)
    assert done(route_again(play_ids=[new.pk], now=NOW))
    assert Handoff.objects.get(play=new).offered_to == erik
    old = owned(owner=dora, route="sales", account=AccountFactory(csm=carla, ae=erik))
    assert done(route_again(play_ids=[old.pk], now=NOW))
    old.refresh_from_db()
    assert (old.owner, old.state) == (carla, "working")
    assert broken() == []


def test_whoever_accepted_a_play_keeps_it_until_they_leave_or_give_it_back(db: None) -> None:
    CalendarFactory()
    mona = TeamMemberFactory(name="Mona", leads=True, takes_pool_work=False)
    carla = TeamMemberFactory(name="Carla", manager=mona)
    sellers = [TeamMemberFactory(name=name, ae=True, manager=mona) for name in ("Erik", "Eve", "Gone")]
    plays = [owned(owner=carla, account=AccountFactory(csm=carla), route="sales") for _ in sellers]
    for play, seller in zip(plays, sellers, strict=True):
        assert done(offer_plays(play_ids=[play.pk], to_id=seller.pk, now=NOW))
        assert done(accept_plays(play_ids=[play.pk], now=NOW))
    erik, eve, gone = sellers
    assert done(release_plays(play_ids=[plays[1].pk], reason="No time", now=NOW))
    TeamMember.objects.filter(pk=gone.pk).update(is_active=False)
    said = "it stays with Erik, who accepted it when it was offered"
    plan = plan_again(play_ids=ids(plays), now=NOW)
    assert [(each.play.owner, each.owner_then_id, each.stays) for each in plan.plays.values()] == [
        (erik, erik.pk, said),
        (eve, carla.pk, ""),
        (gone, carla.pk, ""),
    ]
    differences = compare(Play.objects.all(), now=NOW).differences
    compared = {each.play_id: each.owner_then_id for each in differences if each.moves}
    assert compared == {plays[1].pk: carla.pk, plays[2].pk: carla.pk}
    assert list(route_again(play_ids=ids(plays), now=NOW).values()) == [said, None, None]
    assert [Play.objects.get(pk=play.pk).owner for play in plays] == [erik, carla, carla]
    assert broken() == []


def test_what_is_told_before_is_what_the_act_does(db: None) -> None:
    CalendarFactory()
    mona = TeamMemberFactory(name="Mona", leads=True, takes_pool_work=False, open_play_cap=100)
    carla = TeamMemberFactory(name="Carla", manager=mona, open_play_cap=3)
    TeamMemberFactory(name="Dora", open_play_cap=2)
    erik = TeamMemberFactory(name="Erik", ae=True, open_play_cap=1)
    account = AccountFactory(csm=carla, ae=erik)
    new = PlayFactory(unowned=True, opened_at=NOW, route="sales", account=account)
    tray, closed = PlayFactory(unowned=True, opened_at=NOW, tray_at=NOW), owned(owner=carla)
    assert done(close_plays(play_ids=[closed.pk], outcome="lost", now=NOW))
    stays = owned(owner=carla, account=AccountFactory(csm=carla))
    plays: list[Play] = [new, tray, closed, stays, *(owned(owner=mona) for _ in range(4))]
    before = {play.pk: (play.owner_id, play.version) for play in Play.objects.all()}
    plan = plan_again(play_ids=ids(plays), now=NOW)
    assert {play.pk: (play.owner_id, play.version) for play in Play.objects.all()} == before
    answers = route_again(play_ids=ids(plays), now=NOW)
    assert answers == {
        **{pk: each.stays or None for pk, each in plan.plays.items()},
        **plan.refused,
    }
    assert list(plan.refused) == [closed.pk]
    assert Counter(play.owner_id for play in Play.objects.open()) == Counter(
        each.owner_then_id for each in plan.plays.values()
    )
    for play in Play.objects.open():
        each = plan.plays[play.pk]
        assert (play.owner_id, play.version != before[play.pk][1]) == (each.owner_then_id, each.moves)
        assert each.offer_to_id == (erik.pk if play.pk == new.pk else None)
        if each.moves:
            assert any(line.endswith(f": {each.why}") for line in story(play))
    assert Handoff.objects.get().play == new
    assert sum(bool(each.stays) for each in plan.plays.values()) == 2
    assert plan.owners()[0] == ("Carla", 1, 3)


def test_what_somebody_moved_since_it_was_looked_at_is_left_to_them(db: None) -> None:
    mona, carla = TeamMemberFactory(leads=True, takes_pool_work=False), TeamMemberFactory(name="Carla")
    play = owned(owner=mona)
    seen = {play.pk: play.version}
    assert done(pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW))
    (why,) = route_again(play_ids=[play.pk], now=NOW, seen=seen).values()
    assert why is not None
    assert "somebody else was first" in why
    assert done(route_again(play_ids=[play.pk], now=NOW, seen={play.pk: play.version + 1}))
    assert Play.objects.get(pk=play.pk).owner == carla


def test_a_play_that_stays_for_want_of_room_is_still_carried_by_its_owner(db: None) -> None:
    # No CSM is in the pool: what Erik owns stays with him, and so his only place is taken.
    erik = TeamMemberFactory(name="Erik", ae=True, open_play_cap=1)
    carried, wanted = owned(owner=erik), PlayFactory(unowned=True, opened_at=NOW, tray_at=NOW, route="sales")
    answers = route_again(play_ids=[carried.pk, wanted.pk], now=NOW + HOUR)
    assert answers == dict.fromkeys(ids([carried, wanted]), "it stays where it is: nobody is here and under their cap")
    assert Play.objects.filter(owner=erik).count() == 1
    assert broken() == []


def test_what_was_owned_before_takes_no_place_of_an_offer(db: None) -> None:
    CalendarFactory()
    carla, dora = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Dora", takes_pool_work=False)
    erik = TeamMemberFactory(name="Erik", ae=True, open_play_cap=1)
    old = owned(owner=dora, route="sales", account=AccountFactory(csm=carla, ae=erik))
    new = PlayFactory(unowned=True, opened_at=NOW + HOUR, route="sales", account=AccountFactory(csm=carla, ae=erik))
    assert done(route_again(play_ids=[old.pk, new.pk], now=NOW + HOUR))
    # The old one had its offer in its time, so that Erik has room for the new one.
    assert list(Handoff.objects.values_list("play", "offered_to")) == [(new.pk, erik.pk)]
    assert broken() == []


def test_what_cannot_be_assigned_is_told_so(db: None) -> None:
    CalendarFactory()
    erik = TeamMemberFactory(ae=True)
    offered, closed = owned(), owned()
    assert done(offer_plays(play_ids=[offered.pk], to_id=erik.pk, now=NOW))
    assert done(close_plays(play_ids=[closed.pk], outcome="lost", now=NOW))
    answers = route_again(play_ids=[offered.pk, closed.pk, 10**9], now=NOW)
    assert "the play is owned and offered" in (answers[offered.pk] or "")
    assert "the play is closed" in (answers[closed.pk] or "")
    assert answers[10**9] == "there is no such play"


@pytest.mark.parametrize(
    ("traits", "route", "refused"),
    [
        ({"desk": True, "name": "Desk"}, "csm", "Desk is a digital desk, and owns plays by Self-serve and E-mail only"),
        ({"desk": True, "name": "Desk"}, "email", ""),
        ({"ae": True, "name": "Erik"}, "email", "Erik is an account executive, and owns plays by CSM conversation and"),
        ({"ae": True, "name": "Erik"}, "csm", ""),
        ({"ae": True, "name": "Erik"}, "sales", ""),
        ({"leads": True, "name": "Mona"}, "self_serve", ""),
    ],
)
def test_an_owner_without_the_role_is_refused_by_name(traits: dict[str, object], route: str, refused: str) -> None:
    member: TeamMember = TeamMemberFactory(**traits)
    play = owned(route=route)
    if not refused:
        assert done(assign_plays(play_ids=[play.pk], owner_id=member.pk, now=NOW))
        return
    with pytest.raises(ValidationError, match=refused) as error:
        assign_plays(play_ids=[owned().pk, play.pk] if route != "csm" else [play.pk], owner_id=member.pk, now=NOW)
    assert str(play) in str(error.value)
    assert list(error.value.message_dict) == ["owner"]
    play.refresh_from_db()
    assert play.owner != member


def test_the_number_of_queries_does_not_grow_with_the_plays(db: None) -> None:
    CalendarFactory()
    TeamMemberFactory(open_play_cap=1000), TeamMemberFactory(ae=True, open_play_cap=1000)
    # The lease is made once.
    route_again(play_ids=[0], now=NOW)
    seen = []
    for number in (2, 30):
        plays: list[Play] = [PlayFactory(unowned=True, opened_at=NOW, route="sales") for _ in range(number)]
        with CaptureQueriesContext(connection) as queries:
            route_again(play_ids=ids(plays), now=NOW)
        seen.append(len(queries))
    assert seen[0] == seen[1]


@pytest.mark.django_db(transaction=True)
def test_who_routes_again_and_the_worker_never_overshoot_a_cap_together() -> None:
    recipe = PlayFactory(unowned=True, opened_at=NOW).recipe
    members = TeamMemberFactory.create_batch(3, open_play_cap=4)
    mona = TeamMemberFactory(leads=True)
    old = [PlayFactory(owner=mona, opened_at=NOW, recipe=recipe).pk for _ in range(12)]
    for _ in range(11):
        PlayFactory(unowned=True, opened_at=NOW, recipe=recipe)
    at_once(
        lambda: route_again(play_ids=old[:6], now=NOW),
        lambda: route_again(play_ids=old[6:], now=NOW),
        lambda: assign_owners(now=NOW, limit=5),
        lambda: assign_owners(now=NOW, limit=5),
    )
    owners = Counter(Play.objects.filter(owner__in=members).values_list("owner", flat=True))
    assert owners == {member.pk: 4 for member in members}
    assert broken() == []
