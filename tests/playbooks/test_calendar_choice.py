"""Whose hours count: the owner's calendar, their team's, the region's, the default; and the owner's zone."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import AccountFacts, TeamMember
from csplaybooks.playbooks.business_time import CalendarError, next_opening
from csplaybooks.playbooks.calendar_choice import (
    Choice,
    NoDefaultCalendar,
    calendar_values_in,
    choose_calendars,
)
from csplaybooks.playbooks.factories import CalendarFactory, CalendarUseFactory, PlayFactory
from csplaybooks.playbooks.models import Calendar, CalendarUse

pytestmark = pytest.mark.django_db


def calendar(key: str) -> Calendar:
    return CalendarFactory(key=key, name=key, is_default=False)


def use(key: str, **whose: Any) -> CalendarUse:
    return CalendarUseFactory(calendar=calendar(key), **{"member": None, **whose})


def chosen(play: Any) -> tuple[str, str]:
    [choice] = choose_calendars([play]).values()
    return Calendar.objects.get(pk=choice.calendar_id).key, choice.zone


@pytest.fixture
def play() -> Any:
    """A play of Carla's, whom Moritz leads, whom Vera leads; at an account of the region EMEA."""
    CalendarFactory()
    vera = TeamMemberFactory(name="Vera", leads=True)
    moritz = TeamMemberFactory(name="Moritz", leads=True, manager=vera)
    carla = TeamMemberFactory(name="Carla", manager=moritz)
    return PlayFactory(owner=carla, account=AccountFactory(facts__region="EMEA"))


def test_the_nearest_that_is_said_counts(play):
    assert chosen(play) == ("office", "")
    use("emea", region="emea")
    assert chosen(play) == ("emea", "")
    use("above", team=TeamMember.objects.get(name="Vera"))
    assert chosen(play) == ("above", "")
    use("team", team=TeamMember.objects.get(name="Moritz"))
    assert chosen(play) == ("team", "")
    use("own", member=play.owner)
    assert chosen(play) == ("own", "")


def test_a_manager_works_in_the_hours_of_their_own_team(play):
    moritz = TeamMember.objects.get(name="Moritz")
    use("above", team=moritz.manager)
    use("team", team=moritz)
    play.owner = moritz
    assert chosen(play) == ("team", "")
    # The hours of one member alone are nobody's below.
    use("own", member=moritz)
    assert chosen(play) == ("own", "")
    play.owner = TeamMember.objects.get(name="Carla")
    assert chosen(play) == ("team", "")


def test_the_owners_zone_takes_the_place_of_the_calendars(play):
    TeamMember.objects.filter(name="Carla").update(zone="Asia/Tokyo")
    assert chosen(play) == ("office", "Asia/Tokyo")
    use("own", member=play.owner)
    assert chosen(play) == ("own", "Asia/Tokyo")
    # A manager's zone is theirs alone.
    TeamMember.objects.filter(name="Moritz").update(zone="America/New_York")
    assert chosen(play) == ("own", "Asia/Tokyo")


def test_a_play_without_an_owner_goes_by_its_account(play):
    use("team", team=TeamMember.objects.get(name="Moritz"))
    use("emea", region="Emea ")
    nobodys = SimpleNamespace(pk=7, owner_id=None, account_id=play.account_id)
    assert chosen(nobodys) == ("emea", "")
    AccountFacts.objects.update(region="")
    assert chosen(nobodys) == ("office", "")


def test_regions_go_by_what_holds_now(play):
    use("emea", region="EMEA")
    use("apac", region="APAC")
    AccountFacts.objects.update(valid_to=datetime(2026, 11, 1, tzinfo=UTC))
    assert chosen(play) == ("office", "")


def test_without_a_default_nothing_may_be_left_open(play):
    Calendar.objects.update(is_default=False)
    with pytest.raises(NoDefaultCalendar, match="run csplaybooks_setup, or mark one"):
        choose_calendars([play])
    use("own", member=play.owner)
    assert chosen(play) == ("own", "")
    assert choose_calendars([]) == {}


def test_a_circle_of_managers_hangs_nobody(play):
    carla = TeamMember.objects.get(name="Carla")
    TeamMember.objects.filter(name="Vera").update(manager=carla)
    assert chosen(play) == ("office", "")


def test_many_plays_take_no_more_queries_than_one(play, django_assert_num_queries):
    team = [TeamMemberFactory(manager=play.owner.manager, zone="Asia/Tokyo" if n % 2 else "") for n in range(6)]
    plays = [PlayFactory(owner=owner) for owner in team]
    use("own", member=team[0])
    use("apac", region="apac")
    with django_assert_num_queries(4):
        found = choose_calendars([play, *plays])
    assert set(found) == {each.pk for each in (play, *plays)}
    assert found[plays[1].pk] == Choice(Calendar.objects.get(is_default=True).pk, "Asia/Tokyo")


def test_values_lie_in_the_zone_that_was_chosen(django_assert_num_queries):
    office = CalendarFactory()
    pairs = [(office.pk, ""), (office.pk, "Asia/Tokyo"), (office.pk + 1, "")]
    with django_assert_num_queries(3):
        values = calendar_values_in(pairs)
    assert set(values) == set(pairs[:2])
    midnight = datetime(2026, 11, 16, tzinfo=UTC)
    assert next_opening(values[office.pk, ""], midnight).hour == 9
    assert next_opening(values[office.pk, "Asia/Tokyo"], midnight) == midnight
    with django_assert_num_queries(0):
        assert calendar_values_in([]) == {}
    with pytest.raises(CalendarError, match="unknown time zone"):
        calendar_values_in([(office.pk, "Mars/Olympus")])
