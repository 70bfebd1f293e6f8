"""Reports over REST: whose time it was, how offers went, and the intervals of one play."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import (
    AccountFactory,
    AccountIdentityFactory,
    ApiTokenFactory,
    TeamMemberFactory,
    UserFactory,
)
from csplaybooks.playbooks import api_reports
from csplaybooks.playbooks.acts.handoffs import offer_plays, refuse_plays
from csplaybooks.playbooks.factories import CalendarFactory, PlayFactory
from csplaybooks.playbooks.models import Handoff, Interval, Play

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIME = "/api/v1/intervals/whose-time/"
OFFERS = "/api/v1/handoffs/report/"


@pytest.fixture(autouse=True)
def now(time_machine):
    CalendarFactory()
    time_machine.move_to(NOW + 48 * HOUR, tick=False)


@pytest.fixture
def carla(db: None) -> Any:
    return TeamMemberFactory(name="Carla")


@pytest.fixture
def eve(db: None) -> Any:
    return TeamMemberFactory(name="Eve", ae=True)


@pytest.fixture
def play(carla: Any, eve: Any) -> Play:
    """A play of Carla's, offered to Eve after 12 hours and refused after 12 more."""
    made: Play = PlayFactory(account__csm=carla, owner=carla, opened_at=NOW, segment="small")
    offer_plays(play_ids=[made.pk], to_id=eve.pk, now=NOW + 12 * HOUR)
    refuse_plays(play_ids=[made.pk], reason="Too small", now=NOW + 24 * HOUR)
    return made


def bearer(**more: Any) -> Client:
    token = ApiTokenFactory(**{"scopes": ["plays:read"], **more})
    return Client(headers={"authorization": f"Token {token.value}"})


@pytest.fixture
def integration(db: None) -> Client:
    """A token that may read plays."""
    return bearer()


def person(user: Any, *rights: str) -> Client:
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client = Client()
    client.force_login(user)
    return client


def test_time_by_holder(integration, play, carla, eve):
    assert integration.get(TIME).json() == {
        "by": "holder",
        "since": "2026-10-19T10:00:00Z",
        "until": "2026-11-18T10:00:00Z",
        "seconds": 172800.0,
        "plays": 1,
        "weeks": [],
        "lines_in_all": 2,
        "results": [
            {
                **{"key": str(carla.pk), "label": "Carla", "id": carla.pk, "seconds": 129600.0},
                **{"share": 0.75, "plays": 1, "weeks": []},
            },
            {
                **{"key": str(eve.pk), "label": "Eve", "id": eve.pk, "seconds": 43200.0},
                **{"share": 0.25, "plays": 1, "weeks": []},
            },
        ],
    }


def test_time_by_week_and_weekly(integration, play):
    period = {"since": "2026-11-15T00:00:00Z", "until": "2026-11-17T00:00:00.000001Z"}
    answer = integration.get(TIME, {**period, "by": "stage", "weekly": "true"}).json()
    assert answer["weeks"] == [
        {"key": "2026-W46", "begins": "2026-11-15T00:00:00Z", "ends": "2026-11-16T00:00:00Z"},
        {"key": "2026-W47", "begins": "2026-11-16T00:00:00Z", "ends": "2026-11-17T00:00:00.000001Z"},
    ]
    assert [line["weeks"] for line in answer["results"]] == [[0.0, 50400.000001]]
    answer = integration.get(TIME, {**period, "by": "week"}).json()
    assert [(line["key"], line["seconds"], line["plays"]) for line in answer["results"]] == [
        ("2026-W46", 0.0, None),
        ("2026-W47", 50400.000001, None),
    ]


def test_time_of_one_line(integration, play, eve):
    answer = integration.get(TIME, {"by": "play", "of": "holder", "key": eve.pk}).json()
    assert [(line["id"], line["seconds"]) for line in answer["results"]] == [(play.pk, 43200.0)]


def test_filters(integration, play, carla):
    AccountIdentityFactory(account=play.account, external_id="acme")
    PlayFactory(opened_at=NOW, route="email", segment="enterprise")
    for asked in (
        {"account": "acme"},
        {"owner": carla.pk},
        {"playbook": play.playbook.key},
        {"segment": "small", "motion": play.motion, "route": play.route},
    ):
        assert integration.get(TIME, asked).json()["plays"] == 1, asked
    assert integration.get(TIME, {"account": "nobody", "account_source": "crm"}).json()["code"] == "unknown_account"


@pytest.mark.parametrize(
    ("address", "asked", "code", "named"),
    [
        (TIME, {"bye": "week"}, "unknown_filter", "bye"),
        (TIME, {"stage": "owned"}, "unknown_filter", "stage"),
        (TIME, {"by": "weather"}, "invalid_filter", "by"),
        (TIME, {"weekly": "yes"}, "invalid_filter", "weekly"),
        (TIME, {"owner": ""}, "invalid_filter", "owner"),
        (TIME, {"since": "2026-11-01"}, "invalid_filter", "since"),
        (TIME, {"since": "2027-01-01T00:00:00Z", "until": "2027-02-01T00:00:00Z"}, "invalid_filter", "since"),
        (TIME, {"until": "2026-01-01T00:00:00Z", "since": "2026-02-01T00:00:00Z"}, "invalid_filter", "until"),
        (TIME, {"by": "week", "since": "2020-01-01T00:00:00Z"}, "invalid_filter", "since"),
        (TIME, {"of": "holder"}, "invalid_filter", "key"),
        (TIME, {"key": "7"}, "invalid_filter", "of"),
        (TIME, {"of": "stage", "key": "7"}, "invalid_filter", "key"),
        (TIME, {"until": "2099-01-01T00:00:00Z"}, "invalid_filter", "until"),
        (OFFERS, {"until": "1999-01-01T00:00:00Z"}, "invalid_filter", "until"),
        (OFFERS, {"by": "week"}, "invalid_filter", "by"),
        (OFFERS, {"every": "day"}, "invalid_filter", "every"),
        (OFFERS, {"since": "1999-01-01T00:00:00Z"}, "invalid_filter", "since"),
    ],
)
def test_what_cannot_be_asked_is_named(integration, address, asked, code, named):
    response = integration.get(address, asked)
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert [error["field"] for error in response.json()["errors"]] == [named]


@pytest.mark.parametrize("address", [TIME, OFFERS])
@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"playbook": "none"}, "unknown_playbook"),
        ({"owner": 10**9}, "unknown_member"),
        ({"account": "nobody"}, "unknown_account"),
        ({"account": "crm:nobody"}, "unknown_account"),
    ],
)
def test_what_there_is_not_is_refused_by_name(integration, play, address, asked, code):
    response = integration.get(address, asked)
    assert (response.status_code, response.json()["code"]) == (404, code)
    assert [error["field"] for error in response.json()["errors"]] == list(asked)


def test_sides_of_offers_that_there_are_not_are_refused_by_name(integration, play, carla, eve):
    asked = {"offered_by": carla.pk, "offered_to": 10**9}
    response = integration.get(OFFERS, asked)
    assert (response.status_code, response.json()["code"]) == (404, "unknown_member")
    assert [error["field"] for error in response.json()["errors"]] == ["offered_to"]
    assert integration.get(OFFERS, {**asked, "offered_to": eve.pk}).status_code == 200


def test_an_account_may_be_named_with_its_source(integration, play):
    AccountIdentityFactory(account=play.account, source="crm", external_id="acme:1")
    for asked in ({"account": "acme:1"}, {"account": "crm:acme:1"}, {"account": "acme:1", "account_source": "crm"}):
        assert integration.get(TIME, asked).json()["plays"] == 1, asked
    assert integration.get(TIME, {"account": "mail:acme:1"}).json()["code"] == "unknown_account"


def test_plays_are_limited_and_counted(integration, play, monkeypatch):
    PlayFactory(opened_at=NOW + HOUR)
    monkeypatch.setattr(api_reports, "MOST_LINES", 1)
    answer = integration.get(TIME, {"by": "play"}).json()
    assert ([line["id"] for line in answer["results"]], answer["lines_in_all"], answer["plays"]) == ([play.pk], 2, 2)


def test_offers(integration, play, carla, eve):
    answer = integration.get(OFFERS, {"every": "month"}).json()
    [line] = answer["results"]
    assert (line["part"], line["offered"]) == ("2026-11", 1)
    assert line["offered_by"] == {"id": carla.pk, "name": "Carla"}
    assert line["offered_to"] == {"id": eve.pk, "name": "Eve"}
    assert line["answers"] == dict.fromkeys(Handoff.Answer.values, 0) | {"refused": 1}
    assert sum(line["promises"].values()) == 1
    assert (line["median_seconds"], line["ninety_percent_seconds"]) == (43200.0, 43200.0)
    # Offered after closing, answered an hour after opening.
    assert line["median_working_seconds"] == 3600.0
    assert answer["total"]["offered"] == 1
    assert answer["total"]["offered_by"] is None
    assert answer["refusals"] == [
        {
            **{"offer": Handoff.objects.get().pk, "play": play.pk, "offered_by": "Carla", "offered_to": "Eve"},
            **{"at": "2026-11-17T10:00:00Z", "reason": "Too small"},
        }
    ]
    assert integration.get(OFFERS, {"by": "all", "offered_to": carla.pk}).json()["results"] == []


def test_intervals_of_a_play(integration, play, carla, eve):
    answer = integration.get(f"/api/v1/plays/{play.pk}/intervals/").json()
    names = {"id": carla.pk, "name": "Carla"}
    assert answer["results"][1] == {
        **{"seq": 1, "owner": names, "holder": {"id": eve.pk, "name": "Eve"}, "held_by": "member"},
        **{"stage": "owned", "state": "offered", "from": "2026-11-16T22:00:00Z", "to": "2026-11-17T10:00:00Z"},
    }
    assert [row["seq"] for row in answer["results"]] == [0, 1, 2]
    assert answer["results"][2]["to"] is None
    paged = integration.get(f"/api/v1/plays/{play.pk}/intervals/", {"page_size": 2}).json()
    assert [row["seq"] for row in integration.get(paged["next"]).json()["results"]] == [2]
    assert integration.get("/api/v1/plays/999/intervals/").status_code == 404


def test_each_is_told_of_what_they_see(play, carla, eve):
    """The owner; a colleague who has nothing to do with it; somebody who is not in the team; tokens."""
    rights = ("view_play", "view_interval", "view_handoff")
    callers = {
        "owner": person(carla.user, *rights),
        "colleague": person(TeamMemberFactory().user, *rights),
        "stranger": person(UserFactory(), *rights),
        "token": bearer(account_ids=[play.account_id]),
        "other token": bearer(account_ids=[AccountFactory().pk]),
    }
    told = {
        name: (
            client.get(TIME).json()["plays"],
            client.get(OFFERS).json()["total"]["offered"],
            client.get(f"/api/v1/plays/{play.pk}/intervals/").status_code,
        )
        for name, client in callers.items()
    }
    assert told == {
        **dict.fromkeys(("owner", "token"), (1, 1, 200)),
        **dict.fromkeys(("colleague", "stranger", "other token"), (0, 0, 404)),
    }


def test_people_need_the_right_to_look_and_tokens_the_scope(play, carla):
    intervals = f"/api/v1/plays/{play.pk}/intervals/"
    for address, needed in ((TIME, "view_interval"), (intervals, "view_interval"), (OFFERS, "view_handoff")):
        for rights in (("view_play",), (needed,)):
            response = person(carla.user, *rights).get(address)
            assert (response.status_code, response.json()["code"]) == (403, "missing_permission")
        assert person(carla.user, "view_play", needed).get(address).status_code == 200
        assert bearer(scopes=["accounts:read"]).get(address).json()["code"] == "missing_scope"
        assert Client().get(address).status_code == 401
        assert bearer().post(address, {}, content_type="application/json").status_code == 405


@pytest.mark.parametrize("address", [TIME, f"{TIME}?by=play&weekly=true", OFFERS, "intervals"])
def test_the_number_of_queries_does_not_grow(integration, carla, eve, address, play):
    counts = []
    if address == "intervals":
        address = f"/api/v1/plays/{play.pk}/intervals/"
    for number in (1, 5):
        for each in range(number):
            made = PlayFactory(owner=carla, opened_at=NOW)
            offer_plays(play_ids=[made.pk], to_id=eve.pk, now=NOW + HOUR)
            offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW + (30 + 2 * each + number) * HOUR)
            refuse_plays(play_ids=[play.pk], reason="No", now=NOW + (31 + 2 * each + number) * HOUR)
        integration.get(address)
        with CaptureQueriesContext(connection) as queries:
            assert integration.get(address).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert Interval.objects.filter(play=play).count() > 5
