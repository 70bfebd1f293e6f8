"""`GET /api/v1/plays/`: who sees which play, and what is told of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.test import Client, override_settings

from csplaybooks.accounts.factories import (
    START,
    AccountFactory,
    AccountIdentityFactory,
    ApiTokenFactory,
    ProductFactory,
    TeamMemberFactory,
)
from csplaybooks.accounts.models import Motion
from csplaybooks.playbooks.factories import (
    ClockFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
    PlayStepFactory,
)
from csplaybooks.playbooks.models import Clock, Outcome, Play, PlayStep, Route, Stage, State

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
URL = "/api/v1/plays/"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock() -> Any:
    """It is noon of 22 November 2026, and stays so."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def token(db: None) -> Any:
    """A token with every scope, used a moment ago."""
    token = ApiTokenFactory()
    token.last_used_at = NOW
    token.save(update_fields=["last_used_at"])
    return token


def get(token: Any, query: str = "", path: str = "") -> Any:
    """Ask with a token."""
    return Client().get(f"{URL}{path}{query}", HTTP_AUTHORIZATION=f"Token {token.value}")


def ids(response: Any) -> set[int]:
    """The ids of the plays in an answer."""
    assert response.status_code == 200, response.content
    return {play["id"] for play in response.json()["results"]}


def closed(outcome: Outcome, **kwargs: Any) -> dict[str, Any]:
    """What makes a play closed."""
    return {"stage": Stage.CLOSED, "outcome": outcome, "closed_at": NOW, "interval": None, **kwargs}


def test_play_is_told_whole(token: Any) -> None:
    owner, holder = TeamMemberFactory(name="Ann"), TeamMemberFactory(name="Ben", ae=True)
    playbook = PlaybookFactory(key="seats_nearly_full")
    acme = AccountFactory(name="Acme")
    play = PlayFactory(
        account=acme,
        recipe=PlaybookVersionFactory(playbook=playbook, number=3),
        route=Route.SALES,
        product=ProductFactory(key="reports"),
        owner=owner,
        holder=holder,
        state=State.OFFERED,
        evidence=[{"measure": "share_of_limit", "value": "90 %"}],
        expected_amount_minor=123_456,
    )
    ClockFactory(play=play, due_at=NOW + timedelta(hours=8))
    PlayStepFactory(play=play, state=PlayStep.State.DONE, done_at=NOW)
    PlayStepFactory(play=play, number=2, kind=PlayStep.Kind.TASK, text="Call Ann.", began_at=NOW)
    PlayStepFactory(play=play, number=3, state=PlayStep.State.WAITING, began_at=None)
    answer = get(token, "?account=acme").json()
    assert answer == {
        "next": None,
        "previous": None,
        "results": [
            {
                "id": play.pk,
                "account": {
                    "id": acme.pk,
                    "name": "Acme",
                    "identities": [{"source": "crm", "external_id": "acme"}],
                },
                "stage": "owned",
                "state": "offered",
                "playbook": "seats_nearly_full",
                "playbook_version": 3,
                "motion": "seat_expansion",
                "route": "sales",
                "product": "reports",
                "owner": {"id": owner.pk, "name": "Ann"},
                "holder": {"id": holder.pk, "name": "Ben"},
                "origin": "match",
                "reason": "",
                "evidence": [{"measure": "share_of_limit", "value": "90 %"}],
                "expected_amount": "1234.56",
                "currency": "USD",
                "clocks": [
                    {
                        "target": "first_touch",
                        "number": 1,
                        "due_at": "2026-11-22T20:00:00Z",
                        "state": "running",
                        "breached_at": None,
                        "excused_at": None,
                        "excuse_reason": "",
                    }
                ],
                "current_step": {
                    "number": 2,
                    "kind": "task",
                    "text": "Call Ann.",
                    "began_at": "2026-11-22T12:00:00Z",
                    "due_at": None,
                },
                "outcome": None,
                "outcome_reason": "",
                "opened_at": "2025-01-06T09:00:00Z",
                "closed_at": None,
                "updated_at": "2025-01-06T09:00:00Z",
                "version": 1,
                "can": ["touch", "accept", "refuse", "take_back", "step", "skip_step"],
            }
        ],
    }
    assert get(token, path=f"{play.pk}/").json() == answer["results"][0]


def test_play_without_what_may_be_missing(token: Any) -> None:
    PlayFactory(unowned=True)
    (play,) = get(token).json()["results"]
    missing = ("owner", "holder", "product", "expected_amount", "current_step", "outcome", "closed_at")
    assert [play[name] for name in missing] == [None] * 7
    assert play["clocks"] == []


@pytest.mark.parametrize(
    ("currency", "minor", "amount"),
    [
        ("EUR", 5, "0.05"),
        ("EUR", -100_000, "-1000.00"),
        ("JPY", 1_000, "1000"),
        ("KWD", 1_500, "1.500"),
        ("USD", 0, "0.00"),
    ],
)
def test_amounts_are_decimals_of_their_currency(token: Any, currency: str, minor: int, amount: str) -> None:
    PlayFactory(expected_amount_minor=minor)
    with override_settings(CSPLAYBOOKS={"CURRENCY": currency}):
        (play,) = get(token).json()["results"]
    assert (play["expected_amount"], play["currency"]) == (amount, currency)


def test_outcome_of_a_closed_play(token: Any) -> None:
    PlayFactory(**closed(Outcome.DECLINED, outcome_reason="No budget."))
    (play,) = get(token).json()["results"]
    assert (play["outcome"], play["outcome_reason"]) == ("declined", "No budget.")
    assert play["closed_at"] == "2026-11-22T12:00:00Z"


def test_every_clock_is_told(token: Any) -> None:
    play = PlayFactory()
    ClockFactory(play=play, due_at=NOW)
    ClockFactory(play=play, target=Clock.Target.CLOSED, state=Clock.State.PAUSED, due_at=None, promised_seconds=60)
    (told,) = get(token).json()["results"]
    assert [(clock["target"], clock["state"], clock["due_at"]) for clock in told["clocks"]] == [
        ("closed", "paused", None),
        ("first_touch", "running", "2026-11-22T12:00:00Z"),
    ]


def test_a_broken_promise_tells_when_it_was_broken_and_why_that_is_excused(token: Any) -> None:
    times = {"breached_at": NOW, "noticed_at": NOW, "excused_at": NOW}
    ClockFactory(state=Clock.State.BREACHED, excuse_reason="Fire drill", **times)
    ((told,),) = [play["clocks"] for play in get(token).json()["results"]]
    assert (told["breached_at"], told["excused_at"]) == ("2026-11-22T12:00:00Z",) * 2
    assert told["excuse_reason"] == "Fire drill"


def test_filters(token: Any) -> None:
    acme = AccountFactory(name="Acme")
    AccountIdentityFactory(account=acme, source="billing", external_id="c-1")
    namesake = AccountFactory(name="Namesake", identity__source="billing", identity__external_id="acme")
    upsell = PlaybookVersionFactory(playbook=PlaybookFactory(key="gate_knocker", motion=Motion.TIER_UPSELL))
    owner = TeamMemberFactory()
    one = PlayFactory(account=acme, owner=owner).pk
    two = PlayFactory(account=acme, recipe=upsell, route=Route.SALES, state=State.OFFERED).pk
    three = PlayFactory(account=namesake, stage=Stage.RUNNING, updated_at=NOW).pk
    four = PlayFactory(account=namesake, **closed(Outcome.WON)).pk
    expected = {
        "account=acme": {one, two, three, four},
        "account=acme&account_source=crm": {one, two},
        "account=acme&account_source=billing": {three, four},
        "account=c-1": {one, two},
        "account=nobody": set(),
        "stage=running": {three},
        "state=offered": {two},
        "motion=tier_upsell": {two},
        "route=sales": {two},
        "playbook=gate_knocker": {two},
        "playbook=no_such": set(),
        "outcome=won": {four},
        f"owner={owner.pk}": {one},
        "open=true": {one, two, three},
        "open=false": {four},
        "updated_since=2026-11-22T12:00:00Z": {three},
        "account=acme&open=true&motion=seat_expansion": {one, three},
    }
    assert {query: ids(get(token, f"?{query}")) for query in expected} == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?acount=acme", "unknown_filter"),
        ("?account=", "invalid_filter"),
        ("?stage=begun", "invalid_filter"),
        ("?outcome=", "invalid_filter"),
        ("?owner=ann", "invalid_filter"),
        ("?owner=99999999999999999999", "invalid_filter"),
        ("?open=maybe", "invalid_filter"),
        ("?updated_since=2026-11-22", "invalid_filter"),
        ("?account=a%00b", "invalid_filter"),
    ],
)
def test_bad_filters_are_refused(token: Any, query: str, code: str) -> None:
    response = get(token, query)
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert response.json()["errors"][0]["field"] == query[1:].partition("=")[0]


def test_pages_come_in_the_order_of_change(token: Any) -> None:
    plays = [PlayFactory(updated_at=START + timedelta(days=number)) for number in (3, 1, 2)]
    first = get(token, "?page_size=2").json()
    assert [play["id"] for play in first["results"]] == [plays[1].pk, plays[2].pk]
    following = Client().get(first["next"], HTTP_AUTHORIZATION=f"Token {token.value}")
    assert ids(following) == {plays[0].pk}


def test_token_needs_the_scope_and_sees_only_its_accounts(token: Any) -> None:
    mine, theirs = PlayFactory(), PlayFactory()
    limited = ApiTokenFactory(account_ids=[mine.account.pk])
    assert ids(get(limited)) == {mine.pk}
    assert get(limited, path=f"{theirs.pk}/").status_code == 404
    assert get(ApiTokenFactory(scopes=["accounts:read"])).status_code == 403
    assert Client().get(URL).status_code == 401


def test_people_need_the_permission_and_see_their_own() -> None:
    csm, ae = TeamMemberFactory(), TeamMemberFactory(ae=True)
    account = AccountFactory(csm=csm)
    offered = PlayFactory(account=account, owner=csm, holder=ae, state=State.OFFERED)
    kept = PlayFactory(
        account=account,
        owner=csm,
        recipe=PlaybookVersionFactory(playbook=PlaybookFactory(motion=Motion.CROSS_SELL)),
    )
    PlayFactory(account=AccountFactory(csm=TeamMemberFactory()))
    client = Client()
    client.force_login(ae.user)
    assert client.get(URL).status_code == 403
    for member in (csm, ae):
        member.user.user_permissions.add(Permission.objects.get(codename="view_play"))
    assert ids(client.get(URL)) == {offered.pk}
    assert client.get(f"{URL}{kept.pk}/").status_code == 404
    client.force_login(csm.user)
    assert ids(client.get(URL)) == {offered.pk, kept.pk}


def test_nothing_can_be_written(token: Any) -> None:
    play = PlayFactory()
    client = Client(HTTP_AUTHORIZATION=f"Token {token.value}")
    for path in (URL, f"{URL}{play.pk}/", f"{URL}{play.pk}/start/"):
        for method in (client.post, client.put, client.patch, client.delete):
            # A play is opened by hand on the list, and each act has its own address.
            if method != client.post or path == f"{URL}{play.pk}/":
                assert method(path, "{}", content_type="application/json").status_code == 405
    assert Play.objects.get().version == 1


@pytest.mark.parametrize("path", ["999/", "99999999999999999999/", "abc/", "1"])
def test_no_such_play(token: Any, path: str) -> None:
    response = get(token, path=path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("count", [10, 100])
def test_number_of_queries(token: Any, count: int, django_assert_num_queries: Any) -> None:
    owner, recipe = TeamMemberFactory(), PlaybookVersionFactory()
    for _ in range(count):
        ClockFactory(play=PlayFactory(owner=owner, recipe=recipe))
    # The token, the plays with all they name, identities of their accounts, clocks.
    with django_assert_num_queries(5):
        assert len(ids(get(token, "?page_size=100"))) == count
