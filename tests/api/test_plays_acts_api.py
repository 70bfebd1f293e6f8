"""Acts on plays over REST: whose each is, what its body asks for, what is answered, and who was first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import (
    AbsenceFactory,
    AccountFactory,
    AccountIdentityFactory,
    ApiTokenFactory,
    TeamMemberFactory,
    UserFactory,
)
from csplaybooks.accounts.models import TeamMember, TimelineEntry
from csplaybooks.playbooks.acts.plays import PAUSED_TOO_LONG, assign_plays, start_plays
from csplaybooks.playbooks.api_acts import ACT_VIEWS
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookFactory, PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.models import Handoff, Pause, Play, Touch
from csplaybooks.playbooks.moves import BY_ITSELF, MOVES
from tests.at_once import at_once
from tests.playbooks.plays import broken

# A Monday, in working hours.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
URL = "/api/v1/plays/"

#: What each act is sent, where it asks for something; ids of members by their names.
BODIES: Mapping[str, Mapping[str, Any]] = {
    "assign": {"owner": "Colin"},
    "release": {"reason": "On leave"},
    "touch": {"channel": "call"},
    "pause": {"reason": "Budget"},
    "offer": {"to": "Eve"},
    "refuse": {"reason": "Too small"},
    "skip_step": {"reason": "They know"},
    "decline": {"reason": "No budget"},
}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock() -> Any:
    """It is Monday morning, and stays so."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture(autouse=True)
def office(db: None) -> Any:
    """Monday to Friday, nine to five."""
    return CalendarFactory()


@pytest.fixture
def people() -> dict[str, TeamMember]:
    """Carla owns; Colin is her colleague and Mona leads both. Eve sells, Sten is a CSM of another team."""
    mona = TeamMemberFactory(name="Mona", leads=True)
    members: dict[str, Any] = {
        "Mona": mona,
        "Carla": TeamMemberFactory(name="Carla", manager=mona),
        "Colin": TeamMemberFactory(name="Colin", manager=mona),
        "Eve": TeamMemberFactory(name="Eve", ae=True),
        "Sten": TeamMemberFactory(name="Sten"),
    }
    for name, member in members.items():
        permit(member.user, "view_play", "add_play", "change_play", *(["assign_play"] if name == "Mona" else []))
    return members


@pytest.fixture
def play(people: dict[str, TeamMember]) -> Play:
    """Carla's play, at an account that Colin sees because he sells there too."""
    made: Play = PlayFactory(
        account=AccountFactory(name="Acme", csm=people["Carla"], ae=people["Colin"]),
        owner=people["Carla"],
        opened_at=NOW,
    )
    return made


def permit(user: Any, *codenames: str) -> None:
    """Give permissions to a user."""
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))


def browser(member: TeamMember) -> Client:
    """The browser of a member."""
    client = Client()
    assert member.user is not None
    client.force_login(member.user)
    return client


def integration(**more: Any) -> Client:
    """What sends a token with every scope."""
    return Client(headers={"authorization": f"Token {ApiTokenFactory(**more).value}"})


def send(client: Client, play: Play | int, verb: str, body: Any = None) -> Any:
    """Send an act."""
    pk = play if isinstance(play, int) else play.pk
    if body is None:
        return client.post(f"{URL}{pk}/{verb}/", content_type="application/json", data=b"")
    return client.post(f"{URL}{pk}/{verb}/", body, content_type="application/json")


def done(response: Any) -> Any:
    """The play that an act answers."""
    assert response.status_code == 200, response.content
    return response.json()


def refused(response: Any, status: int, code: str) -> Any:
    """The problem that an act answers."""
    assert (response.status_code, response.json()["code"]) == (status, code), response.content
    assert response["Content-Type"] == "application/problem+json"
    return response.json()


def body_of(verb: str, people: Mapping[str, TeamMember]) -> dict[str, Any]:
    """What an act is sent."""
    return {name: people[said].pk if said in people else said for name, said in BODIES.get(verb, {}).items()}


# Every act


def test_every_move_of_people_has_its_address() -> None:
    assert list(ACT_VIEWS) == [verb for verb in MOVES if verb not in BY_ITSELF]


def test_a_play_goes_through_its_life(play: Play, people: dict[str, TeamMember]) -> None:
    carla, eve, mona = (browser(people[name]) for name in ("Carla", "Eve", "Mona"))
    told = done(send(carla, play, "start"))
    assert (told["stage"], told["version"], told["id"]) == ("running", 2, play.pk)
    assert told["can"] == ["release", "touch", "pause", "offer", "win", "lose", "decline", "withdraw"]
    told = done(
        send(
            carla,
            play,
            "touch",
            {"channel": "call", "note": "They like it", "at": "2026-11-16T09:59:59+00:00"} | {"at": None},
        )
    )
    assert [clock["state"] for clock in told["clocks"] if clock["target"] == "first_touch"] in ([], ["met"])
    assert (Touch.objects.get().by_member, Touch.objects.get().at) == (people["Carla"], NOW)
    told = done(send(carla, play, "pause", {"reason": "Budget", "wakes_at": "2027-01-04T09:00:00+01:00"}))
    assert (told["state"], told["holder"]) == ("paused", None)
    assert Pause.objects.get().wakes_at == datetime(2027, 1, 4, 8, tzinfo=UTC)
    assert done(send(carla, play, "resume"))["state"] == "working"
    told = done(send(carla, play, "offer", {"to": people["Eve"].pk, "note": "Be quick"}))
    assert (told["owner"]["name"], told["holder"]["name"], told["can"]) == ("Carla", "Eve", ["touch", "take_back"])
    assert done(send(carla, play, "take_back", {"reason": "They called"}))["holder"]["name"] == "Carla"
    done(send(carla, play, "offer", {"to": people["Eve"].pk}))
    # Whoever refuses does not see it any more, and is told once what became of it.
    told = done(send(eve, play, "refuse", {"reason": "Too small"}))
    assert (told["holder"]["name"], told["can"]) == ("Carla", [])
    refused(send(eve, play, "touch", {"channel": "call"}), 404, "not_found")
    done(send(carla, play, "offer", {"to": people["Eve"].pk}))
    told = done(send(eve, play, "accept"))
    assert (told["owner"]["name"], told["holder"]["name"]) == ("Eve", "Eve")
    told = done(send(mona, play, "assign", {"owner": people["Carla"].pk}))
    assert told["owner"]["name"] == "Carla"
    told = done(send(carla, play, "win", {"reason": "Signed"}))
    assert (told["stage"], told["outcome"], told["outcome_reason"], told["can"]) == ("closed", "won", "Signed", [])
    assert list(Handoff.objects.order_by("pk").values_list("answer", flat=True)) == [
        "taken_back",
        "refused",
        "accepted",
    ]
    assert broken() == []


@pytest.mark.parametrize(("verb", "outcome"), [("lose", "lost"), ("decline", "declined"), ("withdraw", "withdrawn")])
def test_a_play_is_closed(play: Play, people: dict[str, TeamMember], verb: str, outcome: str) -> None:
    told = done(send(browser(people["Carla"]), play, verb, {"reason": "No budget"}))
    assert (told["outcome"], told["outcome_reason"]) == (outcome, "No budget")


def test_a_play_is_claimed_and_given_back(people: dict[str, TeamMember]) -> None:
    play = PlayFactory(unowned=True, account=AccountFactory(csm=people["Carla"]), opened_at=NOW)
    carla = browser(people["Carla"])
    assert done(carla.get(f"{URL}{play.pk}/"))["can"] == ["claim", "withdraw"]
    assert done(send(carla, play, "claim"))["owner"]["name"] == "Carla"
    told = done(send(carla, play, "release", {"reason": "On leave"}))
    assert (told["owner"]["name"], told["holder"]["name"]) == ("Carla", "Mona")
    assert "claim" in told["can"]
    # A token is nobody who could own it.
    problem = refused(send(integration(), play, "claim"), 409, "illegal_move")
    assert "whoever of the team sees it" in problem["message"]
    assert "claim" not in problem["possible"]


# Whose


@pytest.mark.parametrize("verb", sorted(set(ACT_VIEWS) - {"claim", "step", "skip_step"}))
def test_each_person_may_do_what_can_says(play: Play, people: dict[str, TeamMember], verb: str) -> None:
    if (play.stage, "offered") in {(str(stage), str(state)) for stage, state in MOVES[verb].places} and verb != "touch":
        done(send(browser(people["Carla"]), play, "offer", {"to": people["Eve"].pk}))
    elif verb == "resume":
        done(send(browser(people["Carla"]), play, "pause", {"reason": "Budget"}))
    callers = {name: browser(member) for name, member in people.items()} | {"token": integration()}
    # Who may not goes first, for nothing has changed then.
    asked = []
    for name, client in callers.items():
        told = client.get(f"{URL}{play.pk}/")
        asked.append((told.status_code == 200 and verb in told.json()["can"], name, told.status_code))
    for may, name, status in sorted(asked):
        if may:
            done(send(callers[name], play, verb, body_of(verb, people)))
            break
        before = Play.objects.values().get()
        response = send(callers[name], play, verb, body_of(verb, people))
        if MOVES[verb].permission == "assign_play" and name not in ("Mona", "token"):
            refused(response, 403, "missing_permission")
        elif status == 404:
            refused(response, 404, "not_found")
        else:
            problem = refused(response, 409, "illegal_move")
            assert problem["message"].startswith(f"{MOVES[verb].label} is not possible: that is for ")
            assert problem["possible"] == callers[name].get(f"{URL}{play.pk}/").json()["can"]
        assert Play.objects.values().get() | {"claim": None} == before | {"claim": None}
    else:
        pytest.fail("nobody may")


def test_who_may_do_what_on_a_play_that_is_worked(play: Play, people: dict[str, TeamMember]) -> None:
    can = {
        name: answer.json()["can"] if answer.status_code == 200 else answer.status_code
        for name, member in people.items()
        for answer in [browser(member).get(f"{URL}{play.pk}/")]
    }
    sides = ["release", "start", "touch", "pause", "offer", "win", "lose", "decline", "withdraw"]
    assert can == {"Mona": ["assign", *sides], "Carla": sides, "Colin": ["touch"], "Eve": 404, "Sten": 404}
    assert integration().get(f"{URL}{play.pk}/").json()["can"] == ["assign", *sides]
    assert integration(scopes=["plays:read"]).get(f"{URL}{play.pk}/").json()["can"] == []


def test_who_stands_in_sees_the_play_and_goes_on(play: Play, people: dict[str, TeamMember]) -> None:
    AbsenceFactory(member=people["Carla"], stand_in=people["Sten"], first_day=NOW.date(), last_day=NOW.date())
    assert done(send(browser(people["Sten"]), play, "start"))["stage"] == "running"
    with time_machine.travel(NOW + timedelta(days=1), tick=False):
        refused(send(browser(people["Sten"]), play, "pause", {"reason": "Budget"}), 404, "not_found")


def test_a_token_does_what_the_system_does_with_the_plays_of_its_accounts(
    play: Play, people: dict[str, TeamMember]
) -> None:
    elsewhere = integration(account_ids=[AccountFactory().pk])
    refused(send(elsewhere, play, "start"), 404, "not_found")
    here = integration(name="CRM", account_ids=[play.account_id])
    assert done(send(here, play, "start"))["stage"] == "running"
    done(send(here, play, "touch", {"channel": "email", "by_member": people["Carla"].pk}))
    assert Touch.objects.get().by_member == people["Carla"]
    assert TimelineEntry.objects.latest("pk").actor_label == "token CRM"
    reader = integration(scopes=["plays:read"])
    problem = refused(send(reader, play, "pause", {"reason": "Budget"}), 403, "missing_scope")
    assert "plays:write" in problem["message"]


def test_whoever_lacks_the_permission_is_told_which(play: Play) -> None:
    chief = UserFactory()
    permit(chief, "view_play", "view_everything")
    client = Client()
    client.force_login(chief)
    assert client.get(f"{URL}{play.pk}/").json()["can"] == []
    problem = refused(send(client, play, "start"), 403, "missing_permission")
    assert "csplaybooks_playbooks.change_play" in problem["message"]
    problem = refused(client.post(URL, {}, content_type="application/json"), 403, "missing_permission")
    assert "csplaybooks_playbooks.add_play" in problem["message"]
    refused(send(Client(), play, "start"), 401, "not_authenticated")


# Moves that are not


def test_an_illegal_move_names_what_is_possible(play: Play, people: dict[str, TeamMember]) -> None:
    carla = browser(people["Carla"])
    problem = refused(send(carla, play, "resume"), 409, "illegal_move")
    assert problem["message"] == (
        "Resume is not possible: the play is owned and working; possible: Release, Start, Log a contact, Pause, Offer, "
        "Mark as won, Mark as lost, Decline, Withdraw."
    )
    assert problem["possible"] == done(carla.get(f"{URL}{play.pk}/"))["can"]
    done(send(carla, play, "lose"))
    problem = refused(send(carla, play, "win"), 409, "illegal_move")
    assert (problem["message"], problem["possible"]) == (
        "Mark as won is not possible: the play is closed; possible: nothing any more.",
        [],
    )


def test_a_play_of_their_own_is_not_offered_to_them(play: Play, people: dict[str, TeamMember]) -> None:
    assign_plays(play_ids=[play.pk], owner_id=people["Eve"].pk, now=NOW)
    problem = refused(send(browser(people["Eve"]), play, "offer", {"to": people["Eve"].pk}), 409, "illegal_move")
    assert problem["message"] == "Eve owns it already: offer it to somebody else."


@pytest.mark.django_db(transaction=True)
def test_of_two_managers_at_the_same_instant_one_wins_and_the_other_is_told(
    play: Play, people: dict[str, TeamMember]
) -> None:
    second = TeamMemberFactory(name="Moritz", leads=True)
    permit(second.user, "view_play", "change_play", "assign_play")
    TeamMember.objects.filter(name="Mona").update(manager=second)
    callers = [(browser(people["Mona"]), "Carla"), (browser(second), "Colin")]
    first, other = at_once(
        *(lambda client=client, to=to: send(client, play, "assign", {"owner": people[to].pk}) for client, to in callers)
    )
    statuses = sorted([first.status_code, other.status_code])
    # They were at the same instant, or one after the other.
    assert statuses in ([200, 409], [200, 200])
    if statuses == [200, 409]:
        late = first if first.status_code == 409 else other
        assert refused(late, 409, "conflict")["message"].startswith("Assign is not possible: somebody else was first")
    assert broken() == []


def test_who_is_second_is_told_that_somebody_was_first(
    play: Play, people: dict[str, TeamMember], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the act of one manager, the other assigns."""
    from csplaybooks.playbooks import api_acts

    def late(**how: Any) -> Any:
        assign_plays(play_ids=[play.pk], owner_id=people["Colin"].pk, now=NOW)
        return assign_plays(**how)

    monkeypatch.setattr(api_acts, "assign_plays", late)
    problem = refused(send(browser(people["Mona"]), play, "assign", {"owner": people["Carla"].pk}), 409, "conflict")
    assert problem["message"].startswith("Assign is not possible: somebody else was first; possible: Assign, Release")
    assert problem["possible"][0] == "assign"
    play.refresh_from_db()
    assert play.owner == people["Colin"]


# Bodies


@pytest.mark.parametrize(
    ("verb", "body", "field", "code"),
    [
        ("assign", {}, "owner", "required"),
        ("assign", {"owner": "Carla"}, "owner", "not_a_whole_number"),
        ("assign", {"owner": 0}, "owner", "min_value"),
        ("assign", {"owner": 10**30}, "owner", "max_value"),
        ("assign", {"owner": 4_000_000}, "owner", "invalid"),
        ("assign", {"owner": 1, "oner": 1}, "oner", "unknown_field"),
        ("offer", {"to": 4_000_000}, "to", "invalid"),
        ("touch", {}, "channel", "required"),
        ("touch", {"channel": "pigeon"}, "channel", "invalid_choice"),
        ("touch", {"channel": "call", "direction": "up"}, "direction", "invalid_choice"),
        ("touch", {"channel": "call", "at": "2026-11-16T09:00:00"}, "at", "no_time_zone"),
        ("touch", {"channel": "call", "at": "soon"}, "at", "invalid"),
        ("touch", {"channel": "call", "at": 7}, "at", "invalid"),
        ("touch", {"channel": "call", "at": "2026-11-17T09:00:00Z"}, "at", "invalid"),
        ("touch", {"channel": "call", "note": "x" * 10_001}, "note", "max_length"),
        ("touch", {"channel": "call", "note": "a\0b"}, "note", "null_characters_not_allowed"),
        ("touch", {"channel": "call", "by_member": 4_000_000}, "by_member", "invalid"),
        ("pause", {"reason": " "}, "reason", "blank"),
        ("pause", {"reason": "Budget", "wakes_at": "2026-11-16T09:00:00Z"}, "wakes_at", "invalid"),
        ("pause", {"reason": "Budget", "wakes_at": "2036-12-31T09:00:00Z"}, "wakes_at", "invalid"),
        ("release", {"reason": "x" * 501}, "reason", "max_length"),
        ("decline", {"reason": ""}, "reason", "blank"),
        ("start", {"reason": "now"}, "reason", "unknown_field"),
        ("win", {"reason": None}, "reason", "null"),
        ("win", {"outcome": "lost"}, "outcome", "unknown_field"),
    ],
)
def test_a_bad_body_is_told_by_its_fields_and_changes_nothing(
    play: Play, people: dict[str, TeamMember], verb: str, body: Any, field: str, code: str
) -> None:
    before = Play.objects.values().get()
    problem = refused(send(browser(people["Mona"]), play, verb, body), 400, "invalid")
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(f"/{field}", code)]
    assert Play.objects.values().get() | {"claim": None} == before | {"claim": None}
    assert Touch.objects.count() == 0


@pytest.mark.parametrize("body", ["[]", "7", '"x"', "null", "[{}]"])
def test_a_body_is_an_object(play: Play, people: dict[str, TeamMember], body: str) -> None:
    for verb in ("start", "pause"):
        problem = refused(send(browser(people["Carla"]), play, verb, body), 400, "invalid")
        assert problem["errors"][0]["pointer"] == ""


def test_what_asks_for_something_needs_a_body_and_what_does_not_needs_none(
    play: Play, people: dict[str, TeamMember]
) -> None:
    carla = browser(people["Carla"])
    refused(send(carla, play, "pause"), 400, "empty_body")
    assert done(send(carla, play, "start", {}))["stage"] == "running"
    asked = carla.post(f"{URL}{play.pk}/win/?force=1", {}, content_type="application/json")
    refused(asked, 400, "unknown_filter")
    assert done(send(carla, play, "win"))["outcome"] == "won"


@pytest.mark.parametrize("pk", [999_999_999, 10**20])
def test_no_such_play(people: dict[str, TeamMember], pk: int) -> None:
    refused(send(browser(people["Mona"]), pk, "start"), 404, "not_found")


# Opened by hand


def test_a_play_is_opened_by_hand(people: dict[str, TeamMember]) -> None:
    account = AccountFactory(name="Bolt", csm=people["Carla"])
    PlaybookVersionFactory(playbook=PlaybookFactory(key="near_the_cap"))
    body = {"account": "bolt", "playbook": "near_the_cap", "reason": "They asked for it"}
    response = browser(people["Carla"]).post(URL, body, content_type="application/json")
    assert response.status_code == 201, response.content
    told = response.json()
    assert (told["account"]["id"], told["playbook"], told["origin"]) == (account.pk, "near_the_cap", "hand")
    assert (told["stage"], told["reason"], told["can"]) == ("routed", "They asked for it", ["claim", "withdraw"])
    assert TimelineEntry.objects.get().actor == people["Carla"].user
    again = refused(browser(people["Carla"]).post(URL, body, content_type="application/json"), 400, "invalid")
    assert again["errors"][0]["pointer"] == "/account"
    assert "has an open play of this motion already" in again["message"]


def test_what_a_play_cannot_be_opened_for(people: dict[str, TeamMember]) -> None:
    AccountFactory(name="Bolt", csm=people["Carla"])
    AccountFactory(name="Secret", csm=people["Sten"])
    PlaybookFactory(key="draft_only")
    PlaybookVersionFactory(playbook=PlaybookFactory(key="near_the_cap"))
    carla = browser(people["Carla"])
    good = {"account": "bolt", "playbook": "near_the_cap", "reason": "They asked for it"}
    for body, status, code, field in (
        (good | {"account": "secret"}, 404, "unknown_account", "account"),
        (good | {"account": "nobody"}, 404, "unknown_account", "account"),
        (good | {"playbook": "none"}, 404, "unknown_playbook", "playbook"),
        (good | {"playbook": "draft_only"}, 400, "invalid", "playbook"),
        (good | {"reason": " "}, 400, "invalid", "reason"),
        (good | {"owner": 1}, 400, "invalid", "owner"),
        ({"account": "bolt", "reason": "x"}, 400, "invalid", "playbook"),
    ):
        problem = refused(carla.post(URL, body, content_type="application/json"), status, code)
        assert problem["errors"][0]["field"] == field
    assert Play.objects.count() == 0


def test_an_id_that_stands_for_two_accounts_needs_its_source(people: dict[str, TeamMember]) -> None:
    bolt, other = AccountFactory(name="Bolt"), AccountFactory()
    AccountIdentityFactory(account=other, source="billing", external_id="bolt")
    PlaybookVersionFactory(playbook=PlaybookFactory(key="near_the_cap"))
    body = {"account": "bolt", "playbook": "near_the_cap", "reason": "They asked for it"}
    refused(integration().post(URL, body, content_type="application/json"), 400, "ambiguous_account")
    response = integration().post(URL, body | {"account_source": "crm"}, content_type="application/json")
    assert response.json()["account"]["id"] == bolt.pk


# Queries


def test_can_takes_the_same_number_of_queries_on_one_play_or_many(people: dict[str, TeamMember]) -> None:
    counts = {}
    for name in ("Carla", "Mona"):
        client = browser(people[name])
        for number in (1, 12):
            while Play.objects.count() < number:
                PlayFactory(owner=people["Carla"], opened_at=NOW)
            with CaptureQueriesContext(connection) as queries:
                listed = client.get(URL).json()["results"]
            assert all(told["can"] for told in listed)
            counts[name, len(listed)] = len(queries)
    assert counts["Carla", 1] == counts["Carla", 12]
    assert len(set(counts.values())) <= 2
    assert max(counts.values()) <= 13


def test_an_act_takes_a_bounded_number_of_queries(play: Play, people: dict[str, TeamMember]) -> None:
    carla = browser(people["Carla"])
    start_plays(play_ids=[play.pk], now=NOW)
    with CaptureQueriesContext(connection) as queries:
        done(send(carla, play, "pause", {"reason": "Budget"}))
    assert len(queries) <= 40


@pytest.mark.parametrize("year", [2037, 9998, 9999])
def test_a_pause_that_would_never_end_is_refused_in_words_of_near_years(
    play: Play, people: dict[str, TeamMember], year: int
) -> None:
    response = send(
        browser(people["Carla"]), play, "pause", {"reason": "Budget", "wakes_at": f"{year}-12-31T09:00:00Z"}
    )
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert (error["field"], error["message"]) == ("wakes_at", PAUSED_TOO_LONG)
