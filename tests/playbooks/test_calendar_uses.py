"""Acts on whose hours a calendar is: what is refused, and which promises follow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.acts import Conflict
from csplaybooks.accounts.acts.companies import set_facts
from csplaybooks.accounts.acts.members import change_member, delete_members
from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import TeamMember, TimelineEntry
from csplaybooks.playbooks.acts.calendar_uses import (
    change_calendar_use,
    delete_calendar_uses,
    make_calendar_use,
)
from csplaybooks.playbooks.acts.calendars import delete_calendars
from csplaybooks.playbooks.factories import CalendarFactory, ClockFactory, HandoffFactory, PlayFactory
from csplaybooks.playbooks.models import Calendar, CalendarUse, Clock, Handoff

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)


@pytest.fixture
def night() -> Calendar:
    """A calendar that is open on every day from six in the evening to midnight."""
    CalendarFactory()
    return CalendarFactory(
        key="night", name="Night", is_default=False, blocks=[(day, 18 * 60, 24 * 60) for day in range(7)]
    )


def clock_on(play: Any, **values: Any) -> Clock:
    return ClockFactory(**{"is_stale": False, "play": play, **values})


def clock_of(owner: Any, **values: Any) -> Clock:
    return clock_on(PlayFactory(owner=owner), **values)


def stale() -> set[int]:
    """The ids of the clocks that are marked stale; the marks are taken off."""
    found = set(Clock.objects.filter(is_stale=True).values_list("pk", flat=True))
    Clock.objects.update(is_stale=False)
    return found


def make(calendar: Calendar, **whose: Any) -> CalendarUse:
    return make_calendar_use(values={"calendar": calendar, **whose}, now=NOW, actor=None)


@pytest.fixture
def team() -> dict[str, TeamMember]:
    """Vera leads Moritz, who leads Carla; Ines is on her own."""
    vera = TeamMemberFactory(name="Vera", leads=True)
    moritz = TeamMemberFactory(name="Moritz", leads=True, manager=vera)
    carla = TeamMemberFactory(name="Carla", manager=moritz)
    return {member.name: member for member in (vera, moritz, carla, TeamMemberFactory(name="Ines"))}


def test_promises_of_a_member_follow_and_no_others(night, team):
    carlas, iness = clock_of(team["Carla"]), clock_of(team["Ines"])
    clock_of(team["Carla"], follows_owner=False)
    clock_of(team["Carla"], hours=Clock.Hours.WALL, calendar=None)
    clock_of(team["Carla"], state=Clock.State.MET, done_at=NOW)
    use = make(night, member=team["Carla"])
    assert stale() == {carlas.pk}
    assert TimelineEntry.objects.get().text == "Calendar use Night: Carla added"
    change_calendar_use(use_id=use.pk, values={"member": team["Ines"]}, now=NOW, actor=None)
    assert stale() == {carlas.pk, iness.pk}
    with pytest.raises(Conflict):
        change_calendar_use(use_id=use.pk, values={}, now=NOW, actor=None, expected_version=1)
    change_calendar_use(use_id=use.pk, values={"member": team["Ines"]}, now=NOW, actor=None)
    assert stale() == set()
    office = Calendar.objects.get(key="office")
    assert change_calendar_use(use_id=use.pk, values={"calendar": office}, now=NOW, actor=None).calendar == office
    assert stale() == {iness.pk}
    assert delete_calendar_uses(use_ids=[use.pk], now=NOW, actor=None) == 1
    assert stale() == {iness.pk}
    assert delete_calendar_uses(use_ids=[use.pk], now=NOW, actor=None) == 0


def test_promises_of_everybody_below_a_manager_follow(night, team):
    clocks = {name: clock_of(member).pk for name, member in team.items()}
    make(night, team=team["Vera"])
    assert stale() == {clocks["Vera"], clocks["Moritz"], clocks["Carla"]}
    make(night, team=team["Moritz"])
    assert stale() == {clocks["Moritz"], clocks["Carla"]}


def test_promises_at_accounts_of_a_region_follow(night, team):
    there, elsewhere = (
        clock_on(PlayFactory(owner=team["Ines"], account=AccountFactory(facts__region=region)))
        for region in ("ÎLE-DE-FRANCE", "apac")
    )
    use = make(night, region=" Île-de-France")
    assert use.region == "Île-de-France"
    assert stale() == {there.pk}
    change_calendar_use(use_id=use.pk, values={"region": "APAC"}, now=NOW, actor=None)
    assert stale() == {there.pk, elsewhere.pk}


def test_promises_follow_the_region_of_their_account(night, team):
    account = AccountFactory(facts__region="emea")
    clock = clock_on(PlayFactory(owner=team["Ines"], account=account))

    def tell(**facts: Any) -> None:
        set_facts(account_ids=[account.pk], facts=facts, effective_at=NOW, now=NOW, actor=None)

    tell(region="dach")
    assert stale() == set()
    make(night, region="apac")
    tell(region="apac")
    assert stale() == {clock.pk}
    tell(region="apac")
    tell(head_count=7)
    assert stale() == set()


def test_promises_follow_a_members_zone_and_manager(night, team):
    clocks = {name: clock_of(member).pk for name, member in team.items()}

    def change(name: str, **values: Any) -> None:
        change_member(member_id=team[name].pk, values=values, now=NOW, actor=None)

    change("Moritz", zone="Asia/Tokyo")
    assert stale() == {clocks["Moritz"]}
    change("Moritz", open_play_cap=7)
    assert stale() == set()
    change("Moritz", manager=team["Ines"])
    assert stale() == {clocks["Moritz"], clocks["Carla"]}
    lead = TeamMemberFactory(name="Otto", leads=True)
    TeamMember.objects.filter(name="Carla").update(manager=lead)
    delete_members(member_ids=[lead.pk], now=NOW, actor=None)
    assert stale() == {clocks["Carla"]}


def test_an_offer_that_waits_lapses_in_the_hours_that_count_now(night, team):
    # In the hours of whoever is asked.
    play = HandoffFactory(play__holder=team["Carla"], lapse_seconds=3600, offered_at=NOW).play
    clock = clock_on(play, target=Clock.Target.HANDOFF_ACCEPTED, started_at=NOW)
    Handoff.objects.update(clock=clock, expires_at=NOW + timedelta(hours=1))
    make(night, member=team["Carla"])
    assert Handoff.objects.get().expires_at == NOW.replace(hour=19)
    clock.refresh_from_db()
    assert clock.is_stale
    # Six in the evening in Tokyo was at nine in the morning: it is open until three.
    change_member(member_id=team["Carla"].pk, values={"zone": "Asia/Tokyo"}, now=NOW, actor=None)
    assert Handoff.objects.get().expires_at == NOW.replace(hour=11)


@pytest.mark.parametrize(
    ("whose", "field", "said"),
    [
        ({}, "member", "one of them"),
        ({"member": "Ines", "team": "Vera"}, "team", "one of them"),
        ({"team": "Vera", "region": "apac"}, "region", "one of them"),
        ({"member": "Carla"}, "member", "Carla has a calendar already: Night"),
        ({"team": "Moritz"}, "team", "The team of Moritz has a calendar already: Night"),
        ({"region": "EMEA"}, "region", "The region emea has a calendar already: Night."),
        ({"team": "Ines"}, "team", "Ines is no manager and leads nobody"),
        ({"region": "x" * 101}, "region", "at most 100"),
    ],
)
def test_what_fits_nobody_is_refused_by_field(night, team, whose, field, said):
    make(night, member=team["Carla"])
    make(night, team=team["Moritz"])
    make(night, region="emea")
    with pytest.raises(ValidationError) as refused:
        make(night, **{name: team.get(value, value) for name, value in whose.items()})
    assert said in " ".join(refused.value.message_dict[field])
    assert CalendarUse.objects.count() == 3


def test_a_calendar_in_use_is_not_deleted(night, team):
    make(night, member=team["Carla"])
    with pytest.raises(ValidationError, match="is in use: calendar uses"):
        delete_calendars(calendar_ids=[night.pk], now=NOW, actor=None)


def test_an_unknown_zone_of_a_member_is_refused(team):
    for zone in ("Mars/Olympus", "localtime", "../etc/passwd"):
        with pytest.raises(ValidationError) as refused:
            change_member(member_id=team["Carla"].pk, values={"zone": zone}, now=NOW, actor=None)
        assert refused.value.message_dict["zone"] == [
            f"There is no time zone {zone!r}: name one of the IANA database, such as Europe/Berlin."
        ]


def test_following_takes_no_more_queries_for_many(night, team):
    def queries(member: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            make(night, member=team[member])
        return len(captured)

    for owner in [team["Ines"], *[team["Carla"]] * 5]:
        play = HandoffFactory(play__owner=owner, lapse_seconds=3600).play
        Handoff.objects.filter(play=play).update(clock=clock_on(play, target=Clock.Target.HANDOFF_ACCEPTED))
    assert queries("Carla") == queries("Ines")
    assert len(stale()) == 6
