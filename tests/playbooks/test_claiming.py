"""Who may take a play for themselves, and how one is given back."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.acts.claiming import claim_plays, release_plays
from csplaybooks.playbooks.acts.plays import assign_plays, pause_plays
from csplaybooks.playbooks.factories import HandoffFactory, PlayFactory
from csplaybooks.playbooks.models import Play
from csplaybooks.playbooks.moves import Rights, allowed_q, possible, refusal
from csplaybooks.playbooks.pipeline.owners import assign_owners
from tests.at_once import at_once
from tests.playbooks.plays import HOUR, NOW, broken, done, may_work, owned, story

pytestmark = pytest.mark.django_db


def routed(route: str = "csm", **more: object) -> Play:
    """A play that nobody owns yet."""
    play: Play = PlayFactory(unowned=True, opened_at=NOW, route=route, **more)
    return play


def released(carla: TeamMember) -> Play:
    """A play of Carla's that she gave back."""
    play = owned(owner=carla)
    assert done(release_plays(play_ids=[play.pk], reason="No time", now=NOW, actor=carla.user))
    play.refresh_from_db()
    return play


@pytest.fixture
def mona(db: None) -> TeamMember:
    """A manager."""
    member: TeamMember = TeamMemberFactory(name="Mona", leads=True)
    return member


@pytest.fixture
def carla(mona: TeamMember) -> TeamMember:
    """A CSM whom Mona leads."""
    member: TeamMember = TeamMemberFactory(name="Carla", manager=mona)
    return member


@pytest.fixture
def dora(mona: TeamMember) -> TeamMember:
    """Another CSM whom Mona leads."""
    member: TeamMember = TeamMemberFactory(name="Dora", manager=mona)
    return member


def test_who_claims_a_play_owns_and_holds_it(carla: TeamMember) -> None:
    play = routed()
    assert done(claim_plays(play_ids=[play.pk], now=NOW + HOUR, actor=carla.user))
    play.refresh_from_db()
    assert (play.stage, play.state, play.owner, play.holder, play.tray_at) == ("owned", "working", carla, carla, None)
    assert story(play)[-1].endswith("Claimed by Carla")
    # The worker has nothing to do with it any more.
    assert assign_owners(now=NOW + HOUR) == 0
    assert broken() == []


def test_what_was_given_back_waits_for_the_manager_and_then_for_whoever_claims_it(
    carla: TeamMember, dora: TeamMember, mona: TeamMember
) -> None:
    play = released(carla)
    assert (play.stage, play.owner, play.holder, play.tray_at) == ("owned", carla, mona, NOW)
    assert story(play)[-1].endswith("Given back by Carla: No time; waits for Mona")
    assert done(claim_plays(play_ids=[play.pk], now=NOW + HOUR, actor=dora.user))
    play.refresh_from_db()
    assert (play.stage, play.owner, play.holder, play.tray_at) == ("owned", dora, dora, None)
    assert story(play)[-1].endswith("Claimed by Dora, from Carla")
    assert broken() == []


def test_a_play_is_given_back_once_and_only_by_its_owner(carla: TeamMember, dora: TeamMember) -> None:
    may_work(carla.user)
    play = released(carla)
    assert release_plays(play_ids=[play.pk], reason="Again", now=NOW, actor=carla.user) == {
        play.pk: "Release is not possible: it stands in the tray already; possible: Claim, Start, Log a contact, "
        "Pause, Offer, Mark as won, Mark as lost, Decline, Withdraw"
    }
    other = owned(owner=carla)
    (why,) = release_plays(play_ids=[other.pk], reason="Not mine", now=NOW, actor=dora.user).values()
    assert why is not None
    assert "that is for Carla" in why
    with pytest.raises(ValidationError, match="Say why you give it back"):
        release_plays(play_ids=[other.pk], reason=" ", now=NOW, actor=carla.user)


def test_where_no_manager_stands_above_nothing_is_given_back(mona: TeamMember) -> None:
    alone = TeamMemberFactory(name="Alone")
    of_alone, of_mona = owned(owner=alone), owned(owner=mona)
    answers = release_plays(play_ids=[of_alone.pk, of_mona.pk], reason="No time", now=NOW)
    for play, name in ((of_alone, "Alone"), (of_mona, "Mona")):
        why, instead = (answers[play.pk] or "").split("; ")
        assert why == (
            f"Release is not possible: no manager stands above {name} who could hold it: assign it to somebody"
        )
        assert instead.startswith("possible: Assign, Start, ")
    # Who may not give it back at all is told whose it is.
    (told,) = release_plays(play_ids=[of_alone.pk], reason="Not mine", now=NOW, actor=mona.user).values()
    assert told is not None
    assert "that is for Alone" in told
    assert Play.objects.filter(tray_at__isnull=False).count() == 0


def test_a_manager_who_left_is_passed_over_when_a_play_is_given_back(carla: TeamMember, mona: TeamMember) -> None:
    boss = TeamMemberFactory(name="Boss", leads=True)
    TeamMember.objects.filter(pk=mona.pk).update(is_active=False, manager=boss)
    assert released(carla).holder == boss


def test_nobody_claims_what_somebody_owns(carla: TeamMember, dora: TeamMember) -> None:
    play = owned(owner=carla, account=AccountFactory(csm=carla))
    # Dora does not see Carla's account, and of what she does not see she is told nothing.
    assert claim_plays(play_ids=[play.pk], now=NOW, actor=dora.user) == {play.pk: "there is no such play"}
    seen = owned(owner=carla, account=AccountFactory(csm=dora))
    (why,) = claim_plays(play_ids=[seen.pk], now=NOW, actor=dora.user).values()
    assert why is not None
    assert why.startswith("Claim is not possible: Carla owns it; possible: ")


def test_a_cap_is_a_cap_for_who_claims_too(carla: TeamMember) -> None:
    TeamMember.objects.filter(pk=carla.pk).update(open_play_cap=3)
    owned(owner=carla)
    plays = [routed() for _ in range(3)]
    light = routed(route="email")
    answers = claim_plays(play_ids=[*(play.pk for play in plays), light.pk], now=NOW, actor=carla.user)
    assert list(answers.values()) == [None, None, "Carla carries 3 of 3: close or give back one first", None]
    # What is paused is carried as well.
    assert done(pause_plays(play_ids=[plays[0].pk], reason="Holidays", now=NOW))
    assert claim_plays(play_ids=[plays[2].pk], now=NOW, actor=carla.user)[plays[2].pk] is not None


def test_who_is_at_their_cap_is_offered_no_claim(carla: TeamMember, dora: TeamMember) -> None:
    user = may_work(carla.user)
    TeamMember.objects.filter(pk=carla.pk).update(open_play_cap=2)
    own = owned(owner=carla)
    heavy, light, given_back = routed(), routed(route="email"), released(carla)
    of_dora = released(dora)
    plays = [own, heavy, light, given_back, of_dora]

    def claimable() -> list[Play]:
        rights = Rights.of(type(user).objects.get(pk=user.pk), NOW)
        found = set(Play.objects.filter(allowed_q("claim", rights)).values_list("pk", flat=True))
        assert found == {play.pk for play in plays if "claim" in possible(play, rights)}
        return [play for play in plays if play.pk in found]

    assert claimable() == [light, given_back]
    why = refusal("claim", heavy, Rights.of(user, NOW))
    assert why.startswith("Claim is not possible: Carla carries 2 of 2: close or give back one first; possible: ")
    TeamMember.objects.filter(pk=carla.pk).update(open_play_cap=3)
    assert claimable() == [heavy, light, given_back, of_dora]
    # What is on offer to them is carried as well.
    HandoffFactory(play=PlayFactory(), offered_to=carla)
    assert claimable() == [light, given_back]


def test_room_is_asked_for_once_and_only_where_a_claim_is_in_question(carla: TeamMember) -> None:
    rights = Rights.of(may_work(carla.user), NOW)
    own, waiting = owned(owner=carla), [routed() for _ in range(3)]
    assert "claim" not in possible(own, rights)
    assert "load" not in vars(rights)
    with CaptureQueriesContext(connection) as queries:
        assert all("claim" in possible(play, rights) for play in waiting)
    # The permissions of the person, of their groups, and the load.
    assert len(queries) <= 3


def test_to_claim_ones_own_play_out_of_the_tray_takes_no_room(carla: TeamMember) -> None:
    TeamMember.objects.filter(pk=carla.pk).update(open_play_cap=1)
    play = released(carla)
    assert done(claim_plays(play_ids=[play.pk], now=NOW, actor=carla.user))


def test_where_the_rule_says_so_people_are_kept_from_it(carla: TeamMember) -> None:
    play = routed(routing={"claim": False})
    assert claim_plays(play_ids=[play.pk], now=NOW, actor=carla.user) == {
        play.pk: "Claim is not possible: its playbook lets nobody claim it: a manager assigns it; "
        "possible: nothing any more"
    }


def test_roles_say_who_may_claim_what(carla: TeamMember, mona: TeamMember) -> None:
    erik = TeamMemberFactory(name="Erik", ae=True)
    account = AccountFactory(ae=erik, csm=carla)
    talk, mail = routed(account=account, recipe__playbook__motion="cross_sell"), routed(route="email", account=account)
    assert claim_plays(play_ids=[talk.pk, mail.pk], now=NOW, actor=erik.user) == {
        talk.pk: None,
        mail.pk: "Erik owns no plays by E-mail",
    }
    assert done(claim_plays(play_ids=[mail.pk], now=NOW, actor=mona.user))
    with pytest.raises(ValidationError, match="Only an active member of the team"):
        claim_plays(play_ids=[talk.pk], now=NOW, actor=UserFactory(superuser=True))


def test_what_is_not_there_or_over_is_answered(carla: TeamMember) -> None:
    play = routed(account=AccountFactory(csm=carla))
    Play.objects.filter(pk=play.pk).update(stage="closed", outcome="withdrawn", closed_at=NOW)
    answers = claim_plays(play_ids=[play.pk, 10**9], now=NOW, actor=carla.user)
    assert answers[10**9] == "there is no such play"
    assert "the play is closed" in (answers[play.pk] or "")


@pytest.mark.parametrize("number", [1, 20])
def test_a_claim_takes_the_same_number_of_queries_on_one_play_or_many(
    carla: TeamMember, number: int, django_assert_max_num_queries: object
) -> None:
    ids = [routed().pk for _ in range(number)]
    with django_assert_max_num_queries(31):  # type: ignore[operator]
        assert done(claim_plays(play_ids=ids, now=NOW, actor=TeamMember.objects.get(pk=carla.pk).user))
    with django_assert_max_num_queries(24):  # type: ignore[operator]
        assert done(release_plays(play_ids=ids, reason="No time", now=NOW))


@pytest.mark.django_db(transaction=True)
def test_of_two_who_claim_one_play_one_gets_it_and_the_other_is_told(carla: TeamMember, dora: TeamMember) -> None:
    plays = [routed().pk for _ in range(6)]
    answers = at_once(
        lambda: claim_plays(play_ids=plays, now=NOW + HOUR, actor=carla.user),
        lambda: claim_plays(play_ids=plays[::-1], now=NOW + HOUR, actor=dora.user),
    )
    names = {carla.pk: "Carla", dora.pk: "Dora"}
    for pk, owner in Play.objects.values_list("pk", "owner"):
        won, lost = sorted((answer[pk] for answer in answers), key=lambda why: why is not None)
        assert won is None
        # Who sees the play of the other is told whose it is.
        assert lost is not None
        assert f"Claim is not possible: {names[owner]} owns it" in lost or lost == "there is no such play"
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_two_claims_of_one_person_never_overshoot_their_cap(carla: TeamMember) -> None:
    TeamMember.objects.filter(pk=carla.pk).update(open_play_cap=5)
    plays = [routed().pk for _ in range(12)]
    at_once(
        lambda: claim_plays(play_ids=plays[:6], now=NOW, actor=carla.user),
        lambda: claim_plays(play_ids=plays[6:], now=NOW, actor=carla.user),
        lambda: assign_owners(now=NOW),
    )
    assert Play.objects.filter(owner=carla).count() == 5
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_of_who_claims_and_who_assigns_the_last_is_heard(carla: TeamMember, dora: TeamMember) -> None:
    play = routed()
    claimed, assigned = at_once(
        lambda: claim_plays(play_ids=[play.pk], now=NOW, actor=carla.user),
        lambda: assign_plays(play_ids=[play.pk], owner_id=dora.pk, now=NOW),
    )
    assert done(assigned)
    play.refresh_from_db()
    # A manager may take it from Carla; Carla cannot take it from Dora.
    assert play.owner == dora
    assert story(play)[-1].endswith("Assigned to Dora")
    assert len(story(play)) == (2 if claimed[play.pk] is None else 1)
    assert broken() == []
