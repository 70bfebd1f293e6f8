"""The table of moves: every act, in every place, for everybody, as SQL and as Python say it, and as people wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import AbsenceFactory, ApiTokenFactory, TeamMemberFactory, UserFactory
from csplaybooks.playbooks.acts.plays import close_plays, log_touch, pause_plays, start_plays
from csplaybooks.playbooks.factories import PlayFactory
from csplaybooks.playbooks.models import Play, PlayStep, Route, Stage, State
from csplaybooks.playbooks.moves import BY_ITSELF, MOVES, SYSTEM, Rights, allowed_q, possible, refusal
from tests.docs.page import DOCS, Table, parts_of
from tests.playbooks.plays import NOW, may_work, owned

pytestmark = pytest.mark.django_db

TODAY = NOW.date()

#: The places of a play: stage, state, whether it stands in the tray, its route, and whether it may be claimed at all.
PLACES = [
    (stage, state, tray, route, routing)
    for stage, state, tray, (route, routing) in product(
        Stage, State, (False, True), ((Route.SALES, {"claim": False}), (Route.SALES, {}), (Route.SELF_SERVE, {}))
    )
    # What is paused or on offer stands in nobody's tray, and what nobody owns is neither.
    if not (tray and (state != State.WORKING or stage == Stage.CLOSED))
    and not (stage == Stage.ROUTED and state != State.WORKING)
    and not (stage == Stage.CLOSED and state == State.OFFERED)
]

#: Who may do what, in words of people: Carla owns the play, and Eve holds it while it is on offer to her. Mona leads
#: Carla and Moritz leads Eve. Sten stands in for Carla; Stan stands in for Eve, in the place of somebody away. Colin
#: is a colleague of Carla's, Vera leads another team. The boss sees everything and is in no team, and so do the tokens.
SIDE_OF_OWNER = {"Carla", "Mona", "Sten", "boss", "token", "system"}
SIDE_OF_HOLDER = {"Eve", "Moritz", "Stan", "boss", "token", "system"}
EVERYBODY = SIDE_OF_OWNER | SIDE_OF_HOLDER | {"Colin", "Vera"}
MANAGERS = {"Mona", "Moritz", "Vera", "boss", "token", "system"}
OWNS_ALL = EVERYBODY - {"boss", "token", "Eve", "Stan"}
OWNS_SALES = EVERYBODY - {"boss", "token"}


def whose(verb: str, play: Play) -> set[str]:
    """Who may do an act where the play stands, as the brief of the table says it."""
    offered = play.state == State.OFFERED
    sides = SIDE_OF_OWNER | (SIDE_OF_HOLDER if offered else set())
    match verb:
        case "assign":
            return MANAGERS
        case "touch":
            return EVERYBODY
        case "claim":
            return OWNS_SALES if play.route == Route.SALES else OWNS_ALL
        case "release" | "take_back":
            return SIDE_OF_OWNER
        case "accept" | "refuse":
            return SIDE_OF_HOLDER
        case "withdraw" if play.owner_id is None:
            return EVERYBODY
        case "lapse" | "expire":
            return {"system"}
    return sides


def goes(verb: str, play: Play) -> bool:
    """Whether an act is possible where the play stands, for anybody."""
    working, paused, offered = (play.state == state for state in (State.WORKING, State.PAUSED, State.OFFERED))
    routed, worked = play.stage == Stage.ROUTED, play.stage in (Stage.OWNED, Stage.RUNNING)
    return {
        "assign": routed or (worked and not offered),
        "claim": (routed or (worked and working and play.tray_at is not None)) and "claim" not in play.routing,
        "release": worked and working and play.tray_at is None,
        "start": play.stage == Stage.OWNED and working,
        "touch": worked,
        "pause": worked and working,
        "resume": worked and paused,
        "offer": worked and working,
        "accept": worked and offered,
        "refuse": worked and offered,
        "take_back": worked and offered,
        "lapse": worked and offered,
        "step": worked and not paused and play.steps.exists(),
        "skip_step": worked and not paused and play.steps.exists(),
        "win": worked and not offered,
        "lose": worked and not offered,
        "decline": worked and not offered,
        "expire": worked,
        "withdraw": routed or (worked and not offered),
    }[verb]


@pytest.fixture
def people() -> Mapping[str, Any]:
    """Everybody, as actors."""
    mona, moritz = TeamMemberFactory(name="Mona", leads=True), TeamMemberFactory(name="Moritz", leads=True)
    members = {
        "Mona": mona,
        "Moritz": moritz,
        "Vera": TeamMemberFactory(name="Vera", leads=True),
        "Carla": TeamMemberFactory(name="Carla", manager=mona),
        "Eve": TeamMemberFactory(name="Eve", ae=True, manager=moritz),
        "Sten": TeamMemberFactory(name="Sten"),
        "Stan": TeamMemberFactory(name="Stan", ae=True),
        "Colin": TeamMemberFactory(name="Colin", manager=mona),
    }
    AbsenceFactory(member=members["Carla"], stand_in=members["Sten"], first_day=TODAY, last_day=TODAY)
    away = TeamMemberFactory(name="Away")
    AbsenceFactory(member=members["Eve"], stand_in=away, first_day=TODAY, last_day=TODAY)
    AbsenceFactory(member=away, stand_in=members["Stan"], first_day=TODAY, last_day=TODAY)
    for name, member in members.items():
        may_work(member.user)
        if name in MANAGERS:
            member.user.user_permissions.add(Permission.objects.get(codename="assign_play"))
    actors: dict[str, Any] = {name: member.user for name, member in members.items()}
    return actors | {"boss": UserFactory(superuser=True), "token": ApiTokenFactory(), "system": None}


@pytest.fixture
def plays(people: Mapping[str, Any]) -> list[Play]:
    """A play in every place, of Carla's, and on offer to Eve."""
    carla, eve = (people[name].pk for name in ("Carla", "Eve"))
    made = []
    for stage, state, tray, route, routing in PLACES:
        play = PlayFactory(unowned=True, opened_at=NOW, route=route, routing=routing)
        values: dict[str, Any] = {"stage": stage, "state": state, "tray_at": NOW if tray else None}
        if stage != Stage.ROUTED:
            owner = _member(carla)
            values |= {"owner": owner, "holder": None if state == State.PAUSED else owner}
        if state == State.OFFERED:
            values["holder"] = _member(eve)
        if stage == Stage.CLOSED:
            values |= {"outcome": "won", "closed_at": NOW}
        Play.objects.filter(pk=play.pk).update(**values)
        if "claim" in routing:
            PlayStep.objects.create(play=play, number=1, kind="task", text="Call", state="current", began_at=NOW)
        made.append(Play.objects.with_step().select_related("owner", "holder").get(pk=play.pk))
    return made


def _member(user_id: int) -> Any:
    from csplaybooks.accounts.models import TeamMember

    return TeamMember.objects.get(user=user_id)


def test_the_whole_table_in_sql_in_python_and_as_people_say_it(people: Mapping[str, Any], plays: list[Play]) -> None:
    asked = 0
    for name, actor in people.items():
        rights = Rights.of(actor, NOW)
        for verb in MOVES:
            in_sql = set(Play.objects.filter(allowed_q(verb, rights)).values_list("pk", flat=True))
            for play in plays:
                said = goes(verb, play) and name in whose(verb, play)
                assert (verb in possible(play, rights)) == said, (name, verb, play.stage, play.state)
                # Acts ask for no permission, pages and endpoints do.
                assert (play.pk in in_sql and verb in rights.permitted) == said, (name, verb, play.stage, play.state)
                asked += 1
    assert asked == len(people) * len(MOVES) * len(PLACES)


def test_a_refusal_says_why_and_names_what_is_possible(people: Mapping[str, Any], plays: list[Play]) -> None:
    for actor in people.values():
        rights = Rights.of(actor, NOW)
        for verb, play in product(MOVES, plays):
            instead = [MOVES[name].label for name in possible(play, rights)]
            why, named = refusal(verb, play, rights).split("; possible: ")
            assert named == (", ".join(instead) or "nothing any more")
            assert why.startswith(f"{MOVES[verb].label} is not possible: ")
            if not goes(verb, play):
                assert re.search("the play is|owns it|in the tray already|lets nobody claim it|has no step to do", why)
            elif Play.objects.filter(allowed_q(verb, rights), pk=play.pk).exists():
                assert why.endswith("somebody else was first")
            else:
                assert "that is for " in why or "happens by itself" in why


def test_a_refusal_names_the_people_of_the_side(people: Mapping[str, Any]) -> None:
    play = owned(owner=_member(people["Carla"].pk))
    rights = Rights.of(people["Colin"], NOW)
    assert refusal("start", play, rights) == (
        "Start is not possible: that is for Carla, whoever stands in for them, or somebody above them; "
        "possible: Log a contact"
    )
    assert refusal("expire", play, rights).startswith("Expire is not possible: that happens by itself")
    waiting = PlayFactory(unowned=True, route=Route.SELF_SERVE)
    assert "that is for whoever of the team sees it and may own a play on its route" in refusal(
        "claim", waiting, Rights.of(people["Eve"], NOW)
    )


# Who stands in


@pytest.mark.parametrize(("days", "stands_in"), [(-1, False), (0, True), (1, True), (2, False)])
def test_who_stands_in_does_so_on_the_days_of_the_absence_alone(days: int, stands_in: bool) -> None:
    carla, sten = TeamMemberFactory(), TeamMemberFactory()
    AbsenceFactory(member=carla, stand_in=sten, first_day=TODAY, last_day=TODAY + timedelta(days=1))
    play = owned(owner=carla)
    (why,) = start_plays(play_ids=[play.pk], now=NOW + timedelta(days=days), actor=sten.user).values()
    assert (why is None) == stands_in


def test_days_are_those_of_the_company(settings: Any) -> None:
    carla, sten = TeamMemberFactory(), TeamMemberFactory()
    AbsenceFactory(member=carla, stand_in=sten, first_day=TODAY, last_day=TODAY)
    for zone, hours, there in (
        ("UTC", 13, True),
        ("UTC", 14, False),
        ("Asia/Tokyo", 4, True),
        ("Asia/Tokyo", 5, False),
    ):
        settings.CSPLAYBOOKS = {"TIME_ZONE": zone}
        rights = Rights.of(sten.user, NOW + timedelta(hours=hours))
        assert (carla.pk in rights.members) == there, (zone, hours)


def test_who_is_away_themselves_stands_in_for_nobody_and_a_circle_ends() -> None:
    carla, sten = TeamMemberFactory(), TeamMemberFactory()
    AbsenceFactory(member=carla, stand_in=sten, first_day=TODAY, last_day=TODAY)
    AbsenceFactory(member=sten, stand_in=carla, first_day=TODAY, last_day=TODAY)
    assert Rights.of(sten.user, NOW).members == {sten.pk}
    assert Rights.of(carla.user, NOW).members == {carla.pk}


@pytest.mark.parametrize("today", [True, False])
def test_who_stands_in_sees_the_plays_and_their_accounts(today: bool, time_machine: Any) -> None:
    from csplaybooks.accounts.models import Account

    time_machine.move_to(NOW if today else NOW + timedelta(days=1), tick=False)
    carla, sten = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Sten")
    AbsenceFactory(member=carla, stand_in=sten, first_day=TODAY, last_day=TODAY)
    play = PlayFactory(owner=carla, account__csm=carla)
    other = PlayFactory(owner=TeamMemberFactory(), account__csm=carla)
    assert Play.objects.visible_to(sten.user).filter(pk=play.pk).exists() is today
    assert Account.objects.visible_to(sten.user).filter(pk=play.account_id).exists() is today
    # Of Carla's the plays alone, not what else is at her accounts.
    assert not Play.objects.visible_to(sten.user).filter(pk=other.pk).exists()


# Rights are worked out once


def test_rights_take_a_constant_number_of_queries(people: Mapping[str, Any], plays: list[Play]) -> None:
    for name, most in (("Carla", 6), ("Mona", 7), ("boss", 1), ("token", 0), ("system", 0)):
        actor = people[name]
        if hasattr(actor, "_csplaybooks_scope"):
            del actor._csplaybooks_scope
        with CaptureQueriesContext(connection) as queries:
            rights = Rights.of(actor, NOW)
            for play in plays:
                possible(play, rights)
        assert len(queries) <= most, name


# Acts go by it


def test_a_colleague_logs_a_contact_and_does_nothing_else(people: Mapping[str, Any]) -> None:
    play = owned(owner=_member(people["Carla"].pk))
    how: dict[str, Any] = {"play_ids": [play.pk], "now": NOW, "actor": people["Colin"]}
    assert start_plays(**how)[play.pk] is not None
    assert pause_plays(reason="Budget", **how)[play.pk] is not None
    for outcome in ("won", "lost", "declined", "withdrawn", "expired"):
        assert close_plays(outcome=outcome, reason="No", **how)[play.pk] is not None
    play.refresh_from_db()
    assert (play.stage, play.version) == ("owned", 1)
    assert log_touch(channel="call", **how) == {play.pk: None}


def test_nobody_makes_a_play_expire(people: Mapping[str, Any]) -> None:
    play = owned()
    for name in ("boss", "token"):
        answers = close_plays(play_ids=[play.pk], outcome="expired", now=NOW, actor=people[name])
        assert "happens by itself" in (answers[play.pk] or "")
    assert close_plays(play_ids=[play.pk], outcome="expired", now=NOW) == {play.pk: None}


def test_an_act_on_what_was_seen_before_somebody_else_moved_it_is_refused() -> None:
    play, other = owned(), owned()
    seen = {play.pk: 1, other.pk: 1}
    start_plays(play_ids=[play.pk], now=NOW)
    answers = pause_plays(play_ids=[play.pk, other.pk], reason="Budget", now=NOW, seen=seen)
    assert "somebody else was first" in (answers[play.pk] or "")
    assert answers[other.pk] is None
    # Where nothing is said of a play, nobody has looked.
    assert pause_plays(play_ids=[play.pk], reason="Budget", now=NOW, seen={0: 1}) == {play.pk: None}


# The page


def test_the_page_shows_the_table() -> None:
    (table,) = (
        part
        for part in parts_of((DOCS / "moves.md").read_text())
        if isinstance(part, Table) and part.header == ("move", "verb", "from", "for")
    )
    told = {}
    for label, verb, places, who in table.rows:
        assert label == MOVES[verb.strip("`")].label
        told[verb.strip("`")] = (set(re.findall(r"\w+ \w+", places)), who)
    assert list(told) == list(MOVES)
    for verb, (stands, who) in told.items():
        row = MOVES[verb]
        assert stands == {f"{stage.label} {state.label}".lower() for stage, state in row.places}, verb
        if verb in BY_ITSELF:
            assert who == "nobody: it happens by itself"
            continue
        assert who.split(", or ") == [relation.value for relation in row.who] or who == "whoever may assign plays", verb
    assert SYSTEM.permitted == set(MOVES)
