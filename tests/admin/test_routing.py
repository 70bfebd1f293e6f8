"""The pages of the dry run, the action that assigns by the routing, and the one by which somebody leaves."""

from __future__ import annotations

import csv
import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import AbsenceFactory, AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import Absence, Account, TeamMember
from csplaybooks.playbooks.acts.plays import pause_plays
from csplaybooks.playbooks.factories import (
    CalendarFactory,
    HandoffFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
)
from csplaybooks.playbooks.models import Play, Playbook
from tests.admin.conftest import permitted
from tests.admin.pages import act, faults, send, told, url
from tests.playbooks.plays import done

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def now(time_machine: Any) -> None:
    """Time stands still."""
    time_machine.move_to(NOW, tick=False)


@pytest.fixture
def recipe(db: None) -> Any:
    """A published playbook."""
    CalendarFactory()
    return PlaybookVersionFactory(playbook=PlaybookFactory(key="more_seats"))


def text_of(response: Any) -> str:
    """What a page says, with its white space in order."""
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode())


class TestDryRun:
    """What the routing says of an account, and of open plays."""

    def test_of_an_account_by_its_number_and_by_its_name(self, boss: Any, recipe: Any) -> None:
        member = TeamMemberFactory(name="Cornelia")
        account = AccountFactory(name="Acme", csm=member)
        for asked in (str(account.pk), "acm"):
            text = text_of(boss.get(url(Playbook, "routing", recipe.playbook_id), {"account": asked}))
            assert "Cornelia: the account&#x27;s CSM" in text
            assert "decides" in text
            assert "By version 1; nothing is written." in text
        text = text_of(boss.get(url(Playbook, "routing", recipe.playbook_id), {"account": "none of these"}))
        assert "You look after no account of this number or name." in text

    def test_of_an_account_under_all_playbooks_from_its_own_page(self, boss: Any, recipe: Any) -> None:
        PlaybookVersionFactory(playbook=PlaybookFactory(key="resting", is_active=False))
        account = AccountFactory(name="Acme")
        address = f"{url(Playbook, 'routing_all')}?account={account.pk}"
        assert address in text_of(boss.get(url(Account, "change", account.pk)))
        text = text_of(boss.get(address))
        assert "More seats" in text
        assert "the tray: nobody is here and under their cap" in text
        assert "Resting" not in text

    def test_of_a_draft_and_of_what_was_never_published(self, boss: Any, recipe: Any) -> None:
        playbook = recipe.playbook
        Playbook.objects.filter(pk=playbook.pk).update(draft=playbook.draft.replace("route: csm", "route: email"))
        account = AccountFactory()
        text = text_of(boss.get(url(Playbook, "routing", playbook.pk), {"account": account.pk, "draft": "on"}))
        assert "By the draft; nothing is written." in text
        assert "E-mail" in text
        new = PlaybookFactory(key="new", draft="nonsense")
        assert "It was never published" in text_of(boss.get(url(Playbook, "routing", new.pk)))
        assert "Nothing can be told of it" in text_of(boss.get(url(Playbook, "routing", new.pk), {"draft": "on"}))

    def test_of_open_plays_as_a_page_and_as_a_file(self, boss: Any, recipe: Any) -> None:
        cornelia, dora = TeamMemberFactory(name="Cornelia"), TeamMemberFactory(name="Dora")
        play = PlayFactory(recipe=recipe, owner=dora, account=AccountFactory(name="Acme", csm=cornelia), opened_at=NOW)
        for address in (url(Playbook, "routing_all"), url(Playbook, "routing", recipe.playbook_id)):
            text = text_of(boss.get(address))
            assert "Of 1 open play that you see, 0 are as the routing has them, and 1 differ from it." in text
            file = boss.get(address, {"format": "csv"})
            header, line = csv.reader(b"".join(file).decode("utf-8-sig").splitlines())
            assert dict(zip(header, line, strict=True)) == {
                **{"Play": str(play.pk), "Account": "Acme", "Playbook": "More seats"},
                **{"Route now": "CSM conversation", "Route then": "CSM conversation"},
                **{"Owner now": "Dora", "Owner then": "Cornelia", "Why": "the account's CSM"},
            }
        assert url(Playbook, "routing_all") in text_of(boss.get(url(Playbook, "changelist")))
        assert url(Playbook, "routing", recipe.playbook_id) in text_of(
            boss.get(url(Playbook, "change", recipe.playbook_id))
        )

    def test_a_csm_is_told_of_what_they_look_after_alone(self, csm: Any, carla: Any, recipe: Any) -> None:
        dora = TeamMemberFactory(name="Dora")
        other = AccountFactory(name="Other", csm=dora)
        PlayFactory(recipe=recipe, owner=dora, account=other, opened_at=NOW)
        PlayFactory(recipe=recipe, owner=carla, account=AccountFactory(csm=carla), opened_at=NOW)
        assert "Of 1 open play that you see" in text_of(csm.get(url(Playbook, "routing_all")))
        text = text_of(csm.get(url(Playbook, "routing_all"), {"account": other.pk}))
        assert "You look after no account" in text

    def test_a_page_takes_the_same_number_of_queries_however_many_plays(self, boss: Any, recipe: Any) -> None:
        counts = []
        for number in (1, 12):
            for _ in range(number):
                PlayFactory(
                    recipe=recipe, account=AccountFactory(csm=TeamMemberFactory(name="Cornelia")), opened_at=NOW
                )
            with CaptureQueriesContext(connection) as queries:
                text_of(boss.get(url(Playbook, "routing_all")))
            counts.append(len(queries))
        assert counts[0] == counts[1]


class TestAssignByRouting:
    """The action of the list of plays."""

    def test_plays_spread_and_what_nobody_has_room_for_is_told(self, boss: Any, recipe: Any) -> None:
        first, second = TeamMemberFactory(open_play_cap=1), TeamMemberFactory(open_play_cap=1)
        plays = [PlayFactory(recipe=recipe, unowned=True, opened_at=NOW) for _ in range(3)]
        text = text_of(act(boss, Play, "assign_by_routing", plays))
        assert "2 plays: get an owner" in text
        assert "1 play: stay where they are: nobody is here and has room" in text
        assert "What goes to somebody: 2 plays" in text
        assert "it stays where it is: nobody is here and under their cap" in text
        # Nothing was done yet.
        assert set(Play.objects.values_list("owner", flat=True)) == {None}
        response = act(boss, Play, "assign_by_routing", plays, perform="yes")
        assert told(response) == [
            "2 plays: assigned by the routing.",
            f"{plays[2]}: it stays where it is: nobody is here and under their cap",
        ]
        assert set(Play.objects.values_list("owner", flat=True)) == {first.pk, second.pk, None}

    def test_what_stands_in_the_tray_comes_out_of_it(self, boss: Any, recipe: Any) -> None:
        carla = TeamMemberFactory(name="Carla", manager=TeamMemberFactory(name="Mona", leads=True))
        play = PlayFactory(recipe=recipe, owner=carla, account=AccountFactory(csm=carla), opened_at=NOW)
        (said,) = told(act(boss, Play, "release_plays", [play], perform="yes", reason="No time"))
        assert said.startswith("1 play: released; the account's team and the managers above them can claim it now, ")
        text = text_of(act(boss, Play, "assign_by_routing", [play]))
        assert "1 play: come out of the tray, to their owner" in text
        assert "Carla, in the tray" in text
        assert told(act(boss, Play, "assign_by_routing", [play], perform="yes")) == ["1 play: assigned by the routing."]
        play.refresh_from_db()
        assert (play.owner, play.tray_at) == (carla, None)

    def test_who_accepted_a_play_keeps_it_and_the_page_and_the_answer_say_so(self, boss: Any, recipe: Any) -> None:
        carla, erik = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Erik", ae=True)
        play = PlayFactory(recipe=recipe, owner=erik, account=AccountFactory(csm=carla), opened_at=NOW, route="sales")
        HandoffFactory(play=play, offered_by=carla, offered_to=erik, answer="accepted", answered_at=NOW)
        text = text_of(act(boss, Play, "assign_by_routing", [play]))
        assert "1 play: stay with their owner, who accepted it when it was offered" in text
        assert "it stays with Erik, who accepted it when it was offered" in text
        response = act(boss, Play, "assign_by_routing", [play], perform="yes")
        assert told(response) == [f"{play}: it stays with Erik, who accepted it when it was offered"]

    def test_a_play_that_moved_since_the_page_was_shown_is_left(self, boss: Any, recipe: Any) -> None:
        mona = TeamMemberFactory(name="Mona", leads=True, takes_pool_work=False)
        TeamMemberFactory(name="Carla")
        play = PlayFactory(recipe=recipe, owner=mona, opened_at=NOW)
        seen = act(boss, Play, "assign_by_routing", [play]).context["seen"]
        assert done(pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW))
        (said,) = told(act(boss, Play, "assign_by_routing", [play], perform="yes", seen=seen))
        assert "somebody else was first" in said
        assert Play.objects.get(pk=play.pk).owner == mona

    def test_the_page_takes_the_same_number_of_queries_however_many_plays(self, boss: Any, recipe: Any) -> None:
        TeamMemberFactory(name="Carla", open_play_cap=100)
        counts = []
        for number in (2, 12):
            plays = [PlayFactory(recipe=recipe, unowned=True, opened_at=NOW) for _ in range(number)]
            with CaptureQueriesContext(connection) as queries:
                text_of(act(boss, Play, "assign_by_routing", plays))
            counts.append(len(queries))
        assert counts[0] == counts[1]

    def test_it_is_for_who_may_say_who_owns_a_play(self, signed_in: Any, recipe: Any) -> None:
        carla = permitted(TeamMemberFactory(name="Carla").user)
        page = signed_in(carla).get(url(Play, "changelist"))
        assert "assign_by_routing" in text_of(page)
        carla.user_permissions.remove(*carla.user_permissions.filter(codename="assign_play"))
        assert "assign_by_routing" not in text_of(signed_in(carla).get(url(Play, "changelist")))


class TestLeaving:
    """The action of the list of members."""

    def test_it_shows_what_will_happen_asks_who_takes_over_and_does_it(self, boss: Any, recipe: Any) -> None:
        mona = TeamMemberFactory(name="Mona", leads=True)
        leaver, dora = TeamMemberFactory(name="Leaver", manager=mona), TeamMemberFactory(name="Dora")
        play = PlayFactory(recipe=recipe, owner=leaver, account=AccountFactory(csm=leaver), opened_at=NOW)
        text = text_of(act(boss, TeamMember, "leave", [leaver]))
        assert "1 play of theirs goes to others; unless you name somebody, by their routing: 1 play to Dora" in text
        assert "1 places at accounts are open" in text
        assert TeamMember.objects.get(pk=leaver.pk).is_active
        response = act(boss, TeamMember, "leave", [leaver], to=dora.pk, perform="yes")
        assert told(response) == ["Leaver has left the team: 1 play to Dora; 1 accounts go over."]
        play.refresh_from_db()
        assert (play.owner, TeamMember.objects.get(pk=leaver.pk).is_active) == (dora, False)

    def test_what_the_act_refuses_is_shown_on_the_page(self, boss: Any, recipe: Any) -> None:
        leaver = TeamMemberFactory(name="Leaver")
        PlayFactory(recipe=recipe, owner=leaver, opened_at=NOW)
        text = text_of(act(boss, TeamMember, "leave", [leaver], perform="yes"))
        assert "Nobody has room for all of the 1 play of Leaver" in text
        assert TeamMember.objects.get(pk=leaver.pk).is_active

    def test_one_at_a_time_and_only_who_works_here(self, boss: Any) -> None:
        gone, one = TeamMemberFactory(is_active=False), TeamMemberFactory()
        for chosen in ([gone], [gone, one], [one, TeamMemberFactory()]):
            assert told(act(boss, TeamMember, "leave", chosen)) == ["Choose one member, who works here."]

    def test_only_who_sees_everything_lets_somebody_leave(self, csm: Any, carla: Any) -> None:
        other = TeamMemberFactory()
        assert "Let them leave" not in text_of(csm.get(url(TeamMember, "changelist")))
        act(csm, TeamMember, "leave", [other], perform="yes")
        assert TeamMember.objects.get(pk=other.pk).is_active


def test_an_absence_that_cannot_be_is_said_on_the_form_of_absences(boss: Any) -> None:
    carla, dora = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Dora")
    day = date(2026, 11, 16)
    AbsenceFactory(member=carla, first_day=day, last_day=day, stand_in=dora)
    response = send(boss, url(Absence, "add"), member=dora.pk, first_day=str(day), last_day=str(day), stand_in=carla.pk)
    assert faults(response) == {
        "stand_in": ["They would stand in for each other in a circle on 2026-11-16: Dora → Carla → Dora."]
    }
