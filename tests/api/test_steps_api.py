"""The steps of a play over REST: what is told of each, and to whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import AccountFactory, ApiTokenFactory, TeamMemberFactory
from csplaybooks.playbooks.factories import PlayFactory, PlayStepFactory
from csplaybooks.playbooks.models import Play, PlayStep, Touch

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def play(db: None) -> Play:
    """Carla's play: she skipped its first step, does the second, and has the third before her."""
    carla = TeamMemberFactory(name="Carla")
    play: Play = PlayFactory(owner=carla, account=AccountFactory(csm=carla))
    PlayStepFactory(
        **{"play": play, "state": PlayStep.State.SKIPPED, "done_at": NOW, "done_by": carla, "note": "Knows us."},
        began_at=NOW - timedelta(days=1),
    )
    PlayStepFactory(play=play, number=2, kind=PlayStep.Kind.WAIT, text="Let it settle.", began_at=NOW, due_at=NOW)
    PlayStepFactory(play=play, number=3, state=PlayStep.State.WAITING, began_at=None)
    PlayStepFactory(play=PlayFactory(owner=carla), text="Of another play.")
    return play


def address(play: Play) -> str:
    return f"/api/v1/plays/{play.pk}/steps/"


def bearer(**values: Any) -> Client:
    return Client(headers={"Authorization": f"Token {ApiTokenFactory(**values).value}"})


def person(user: Any, *rights: str) -> Client:
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client = Client()
    client.force_login(user)
    return client


def test_steps_are_told_in_order(play: Play) -> None:
    answer = bearer().get(address(play)).json()
    assert answer["results"][0] == {
        **{"number": 1, "kind": "mail", "text": "Write to them.", "state": "skipped"},
        **{"began_at": "2026-11-21T12:00:00Z", "due_at": None, "done_at": "2026-11-22T12:00:00Z"},
        **{"done_by": {"id": play.owner_id, "name": "Carla"}, "note": "Knows us."},
    }
    told = [(step["number"], step["state"], step["began_at"], step["due_at"]) for step in answer["results"][1:]]
    assert told == [(2, "current", "2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z"), (3, "waiting", None, None)]
    assert bearer().get("/api/v1/plays/999/steps/").status_code == 404


def test_who_sees_the_play_and_may_look_at_steps_is_told(play: Play) -> None:
    carla = play.owner
    assert carla is not None
    for rights in (("view_play",), ("view_playstep",)):
        response = person(carla.user, *rights).get(address(play))
        assert (response.status_code, response.json()["code"]) == (403, "missing_permission")
    assert person(carla.user, "view_play", "view_playstep").get(address(play)).status_code == 200
    other = TeamMemberFactory()
    assert person(other.user, "view_play", "view_playstep").get(address(play)).status_code == 404
    assert bearer(scopes=["accounts:read"]).get(address(play)).json()["code"] == "missing_scope"
    assert Client().get(address(play)).status_code == 401


def test_the_number_of_queries_does_not_grow(play: Play) -> None:
    client = bearer()
    counts = []
    for more in (0, 5):
        for number in range(more):
            PlayStepFactory(
                play=play, number=10 + number, state=PlayStep.State.DONE, done_at=NOW, done_by=TeamMemberFactory()
            )
            PlayStepFactory(play=PlayFactory())
        for where in (address(play), "/api/v1/plays/"):
            client.get(where)
            with CaptureQueriesContext(connection) as queries:
                assert client.get(where).status_code == 200
            counts.append(len(queries))
    assert counts[:2] == counts[2:]


def test_a_step_done_by_talking_to_the_customer_is_a_contact(play: Play) -> None:
    client = bearer(scopes=["plays:read", "plays:write"])
    wrong = client.post(f"/api/v1/plays/{play.pk}/step/", {"contact": "pigeon"}, content_type="application/json")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "contact")
    done = client.post(
        f"/api/v1/plays/{play.pk}/step/", {"note": "Rang.", "contact": "call"}, content_type="application/json"
    )
    assert done.status_code == 200
    touch = Touch.objects.get()
    assert (touch.channel, touch.note, touch.by_member_id) == ("call", "Rang.", None)
