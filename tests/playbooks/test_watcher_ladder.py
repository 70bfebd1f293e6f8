"""Who is told of what happens on a clock: whoever works the play, then their managers, one rung after another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.accounts.models import TeamMember, TimelineEntry
from csplaybooks.playbooks.acts.handoffs import offer_plays
from csplaybooks.playbooks.acts.plays import assign_plays, log_touch, pause_plays
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookFactory, PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.ladder import Ladder
from csplaybooks.playbooks.models import Clock, ClockEvent, Play
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.sweep import watch_all
from tests.playbooks.plays import broken

# A Monday. Due an hour later; every hour counts.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DUE = NOW + HOUR
DRAFT = """\
key: k
name: K
motion: add_on
triggers: [{key: t, any: [{all: [{measure: open_gap}]}]}]
routes: [{route: csm}]
targets:
  - target: first_touch
    hours: 1
    counting: wall
    warn_percents: [50]
    escalate_after_hours: [1, 3, 5, 7]
"""

pytestmark = pytest.mark.django_db


@pytest.fixture
def team(db: None) -> dict[str, TeamMember]:
    """Carla below Mara below Rosa, who leads all."""
    CalendarFactory()
    rosa = TeamMemberFactory(name="Rosa", is_manager=True)
    mara = TeamMemberFactory(name="Mara", is_manager=True, manager=rosa)
    return {"Rosa": rosa, "Mara": mara, "Carla": TeamMemberFactory(name="Carla", manager=mara)}


@pytest.fixture
def play(team: dict[str, TeamMember]) -> Play:
    """Carla's, with its clock."""
    recipe = PlaybookVersionFactory(playbook=PlaybookFactory(key="k", motion="add_on", draft=DRAFT))
    play: Play = PlayFactory(recipe=recipe, owner=team["Carla"], opened_at=NOW)
    start_clocks(now=NOW)
    return play


def told() -> list[tuple[str, int, str | None]]:
    """Kind and level of what was written, and who is to know of it."""
    events = ClockEvent.objects.order_by("pk").select_related("told")
    return [(event.kind, event.level, event.told and event.told.name) for event in events]


ALL = [
    ("warned", 50, "Carla"),
    ("breached", 0, "Carla"),
    ("escalated", 1, "Mara"),
    ("escalated", 2, "Rosa"),
    # Nobody is above her.
    ("escalated", 3, "Rosa"),
    ("escalated", 4, "Rosa"),
]


def test_each_rung_is_climbed_once_at_its_own_time(play: Play) -> None:
    for hours, count in ((0.5, 1), (1, 2), (1.5, 2), (2, 3), (4, 4), (6, 5), (8, 6), (99, 6)):
        watch_all(now=NOW + hours * HOUR)
        assert told() == ALL[:count]
    due = [event.due_at - DUE for event in ClockEvent.objects.filter(kind="escalated").order_by("level")]
    assert due == [HOUR, 3 * HOUR, 5 * HOUR, 7 * HOUR]
    assert Clock.objects.get().next_event_at is None
    assert TimelineEntry.objects.filter(kind__startswith="clock_").count() == 6
    assert broken() == []


def test_after_downtime_everybody_is_told_once_and_the_breach_and_the_last_rung_are_told(play: Play) -> None:
    late = NOW + 99 * HOUR
    watch_all(now=late)
    assert told() == ALL
    assert set(ClockEvent.objects.values_list("noticed_at", flat=True)) == {late}
    breach, line = TimelineEntry.objects.filter(kind__startswith="clock_").order_by("pk")
    assert (breach.text, breach.at) == ("First touch: the promise was missed", DUE)
    assert line.text == "First touch: still open after the promise was missed; rung 4 of the ladder"
    assert (line.at, line.recorded_at) == (NOW + 8 * HOUR, late)
    assert broken() == []


def test_the_ladder_stops_when_the_promise_is_kept(play: Play) -> None:
    watch_all(now=DUE)
    log_touch(play_ids=[play.pk], channel="call", now=DUE + HOUR / 2)
    watch_all(now=NOW + 99 * HOUR)
    assert told() == ALL[:2]
    assert Clock.objects.get().state == "missed"


def test_whoever_holds_an_offer_is_told_and_their_managers(play: Play, team: dict[str, TeamMember]) -> None:
    eve = TeamMemberFactory(name="Eve", ae=True, manager=team["Rosa"])
    offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW)
    watch_all(now=NOW + 2 * HOUR)
    first_touch = ClockEvent.objects.filter(clock__target="first_touch").order_by("pk")
    assert [event.told.name for event in first_touch] == ["Eve", "Eve", "Rosa"]


def test_who_works_it_now_is_told_of_what_was_late(play: Play) -> None:
    dora = TeamMemberFactory(name="Dora")
    watch_all(now=NOW + HOUR / 2)
    assign_plays(play_ids=[play.pk], owner_id=dora.pk, now=NOW + HOUR / 2)
    watch_all(now=NOW + 2 * HOUR)
    # Nobody is above Dora.
    assert told() == [("warned", 50, "Carla"), ("breached", 0, "Dora"), ("escalated", 1, None)]


def test_the_owner_is_told_while_no_member_holds_the_play(play: Play) -> None:
    pause_plays(play_ids=[play.pk], reason="Holidays", now=DUE + HOUR)
    watch_all(now=DUE + HOUR)
    assert told()[:2] == ALL[:2]
    assert ClockEvent.objects.get(kind="breached").holder is None


def test_a_breach_that_an_act_finds_names_who_is_to_know(play: Play) -> None:
    log_touch(play_ids=[play.pk], channel="call", now=DUE + HOUR)
    assert told() == [("breached", 0, "Carla")]


def test_members_who_left_or_lead_nobody_are_passed_by(team: dict[str, TeamMember]) -> None:
    boss = TeamMemberFactory(is_manager=True)
    gone = TeamMemberFactory(is_manager=True, is_active=False, manager=boss)
    lead = TeamMemberFactory(is_manager=False, manager=gone)
    member = TeamMemberFactory(manager=lead)
    assert Ladder.of_the_team().managers_above(member.pk) == [boss.pk]


def test_a_circle_of_managers_ends(team: dict[str, TeamMember]) -> None:
    TeamMember.objects.filter(pk=team["Rosa"].pk).update(manager=team["Carla"])
    TeamMember.objects.filter(pk=team["Carla"].pk).update(is_manager=True)
    ladder = Ladder.of_the_team()
    assert ladder.managers_above(team["Carla"].pk) == [team["Mara"].pk, team["Rosa"].pk]


@pytest.mark.parametrize(
    ("kind", "level", "holder", "expected"),
    [
        ("warned", 80, "Carla", "Carla"),
        ("warned", 80, None, "Mara"),
        ("breached", 0, None, "Mara"),
        ("escalated", 1, "Carla", "Mara"),
        ("escalated", 1, None, "Rosa"),
        ("escalated", 2, None, "Rosa"),
        ("escalated", 1, "Rosa", None),
    ],
)
def test_who_is_told(
    team: dict[str, TeamMember], kind: str, level: int, holder: str | None, expected: str | None
) -> None:
    owner: Any = team["Mara"].pk
    names = {member.pk: name for name, member in team.items()}
    holds: Any = holder and team[holder].pk
    answer = Ladder.of_the_team().told(kind, level, holder_id=holds, owner_id=owner)
    assert (answer and names[answer]) == expected
