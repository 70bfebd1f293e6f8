"""`GET /api/v1/readiness/`: scores of one account, with every point behind them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from csplaybooks.accounts.factories import AccountFactory, AccountIdentityFactory, ApiTokenFactory
from csplaybooks.accounts.models import Account
from csplaybooks.signals.factories import PrunedDayFactory, ReadinessWeightsFactory, SignalFactory

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
URL = "/api/v1/readiness/"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock() -> Any:
    """It is ten o'clock on 16 November 2026."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    """An integration with every scope."""
    token = ApiTokenFactory()
    # Its use is not written down again.
    token.last_used_at = NOW
    token.save(update_fields=["last_used_at"])
    return Client(headers={"authorization": f"Token {token.value}"})


@pytest.fixture
def acme() -> Account:
    """An account known as `acme` to the CRM alone."""
    account = AccountFactory(name="Acme")
    account.identities.all().delete()
    AccountIdentityFactory(account=account, source="crm", external_id="acme")
    return account


def test_scores_come_with_the_points_behind_them(client, acme):
    ReadinessWeightsFactory()
    new = SignalFactory(account=acme, external_id="e1", occurred_at=NOW)
    SignalFactory(account=acme, external_id="e2", occurred_at=NOW - 28 * DAY)
    response = client.get(URL, {"account": "acme"})
    assert response.status_code == 200
    assert response.json() == {
        "account": {"id": acme.pk, "name": "Acme", "identities": [{"source": "crm", "external_id": "acme"}]},
        "at": "2026-11-16T10:00:00Z",
        "weights": 1,
        "results": [
            {
                "motion": "tier_upsell",
                "score": 10,
                "points": "10.00",
                "kinds": [
                    {
                        "signal_type": "feature_gate_hit",
                        "strength": "strong",
                        "weight": 8,
                        "at_most": 10,
                        "points": "10.00",
                        "steps": [
                            {
                                "after": "2026-11-02T10:00:00Z",
                                "until": "2026-11-16T10:00:00Z",
                                "share": "1.00",
                                "found": 1,
                                "points": "8.00",
                                "signals": [
                                    {
                                        "source": new.source.key,
                                        "external_id": "e1",
                                        "occurred_at": "2026-11-16T10:00:00Z",
                                    }
                                ],
                            },
                            {
                                "after": "2026-10-19T10:00:00Z",
                                "until": "2026-11-02T10:00:00Z",
                                "share": "0.50",
                                "found": 0,
                                "points": "0.00",
                                "signals": [],
                            },
                            {
                                "after": "2026-10-05T10:00:00Z",
                                "until": "2026-10-19T10:00:00Z",
                                "share": "0.25",
                                "found": 1,
                                "points": "2.00",
                                "signals": [
                                    {
                                        "source": new.source.key,
                                        "external_id": "e2",
                                        "occurred_at": "2026-10-19T10:00:00Z",
                                    }
                                ],
                            },
                        ],
                    }
                ],
            }
        ],
    }


def test_another_moment_motion_and_version(client, acme):
    ReadinessWeightsFactory()
    ReadinessWeightsFactory(
        document={
            "motions": {"cross_sell": {"feature_gate_hit": {"weight": 30, "at_most": 1}}},
            "strengths": {"feature_gate_hit": "strong"},
        }
    )
    SignalFactory(account=acme, occurred_at=NOW - DAY)

    def scores(**asked: Any) -> dict[str, int]:
        response = client.get(URL, {"account": "acme", **asked})
        return {each["motion"]: each["score"] for each in response.json()["results"]}

    assert scores() == {"cross_sell": 30}
    assert scores(weights=1) == {"tier_upsell": 8}
    assert scores(motion="tier_upsell") == {"tier_upsell": 0}
    assert scores(at="2026-11-15T09:59:59Z") == {"cross_sell": 0}
    assert scores(at="2026-11-29T11:00:00+01:00") == {"cross_sell": 15}


@pytest.mark.parametrize(
    ("asked", "status", "code", "field"),
    [
        ({}, 400, "invalid_filter", "account"),
        ({"account": ""}, 400, "invalid_filter", "account"),
        ({"account": "nobody"}, 404, "unknown_account", "account"),
        ({"account": "acme", "account_source": "billing"}, 404, "unknown_account", "account"),
        ({"account": "acme", "at": "yesterday"}, 400, "invalid_filter", "at"),
        ({"account": "acme", "at": "2026-11-16T10:00:00"}, 400, "invalid_filter", "at"),
        ({"account": "acme", "at": "0002-01-01T00:00:00Z"}, 400, "forgotten", "at"),
        ({"account": "acme", "motion": "upsell"}, 400, "invalid_filter", "motion"),
        ({"account": "acme", "weights": "x"}, 400, "invalid_filter", "weights"),
        ({"account": "acme", "weights": "7"}, 400, "unknown_weights", "weights"),
        ({"account": "acme", "acount": "acme"}, 400, "unknown_filter", "acount"),
    ],
)
def test_what_cannot_be_answered_is_a_problem(client, acme, asked, status, code, field):
    ReadinessWeightsFactory()
    PrunedDayFactory(before=NOW - 400 * DAY)
    response = client.get(URL, asked)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code)
    assert [error["field"] for error in problem["errors"]] == [field]


def test_a_moment_before_all_calendars(client, acme):
    ReadinessWeightsFactory()
    response = client.get(URL, {"account": "acme", "at": "0002-01-01T00:00:00Z"})
    assert response.status_code == 200
    assert response.json()["results"][0]["score"] == 0


def test_without_weights_it_says_so(client, acme):
    response = client.get(URL, {"account": "acme"})
    assert (response.status_code, response.json()["code"]) == (400, "no_weights")


def test_scope_and_sight(acme):
    ReadinessWeightsFactory()
    other = AccountFactory()

    def status(**token: Any) -> int:
        caller = Client(headers={"authorization": f"Token {ApiTokenFactory(**token).value}"})
        return caller.get(URL, {"account": "acme"}).status_code

    assert status(scopes=["readiness:read"]) == 200
    assert status(scopes=["signals:write", "accounts:read"]) == 403
    assert status(scopes=["readiness:read"], account_ids=[other.pk]) == 404
    assert status(scopes=["readiness:read"], account_ids=[acme.pk]) == 200
    assert Client().get(URL, {"account": "acme"}).status_code == 401


def test_queries_do_not_grow(client, acme, django_assert_num_queries):
    ReadinessWeightsFactory()
    for _ in range(2):
        SignalFactory.create_batch(5, account=acme, occurred_at=NOW)
        # The token, the account by its id, the weights, the horizon, the kinds, the signals, the account, its ids.
        with django_assert_num_queries(8):
            client.get(URL, {"account": "acme"})
