"""`GET /api/v1/accounts/`: who sees which account, and what is told of it."""

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
    AccountFactsFactory,
    AccountIdentityFactory,
    ApiTokenFactory,
    TeamMemberFactory,
)
from csplaybooks.accounts.models import Account

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
URL = "/api/v1/accounts/"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock() -> Any:
    """It is noon of 22 November 2026, and stays so."""
    with time_machine.travel(NOW, tick=False):
        yield


def get(token: Any, query: str = "", path: str = "") -> Any:
    """Ask with a token."""
    return Client().get(f"{URL}{path}{query}", HTTP_AUTHORIZATION=f"Token {token.value}")


def names(response: Any) -> list[str]:
    """The names of the accounts in an answer."""
    assert response.status_code == 200, response.content
    return [account["name"] for account in response.json()["results"]]


@pytest.fixture
def token(db: None) -> Any:
    """A token with every scope, used a moment ago."""
    token = ApiTokenFactory()
    token.last_used_at = NOW
    token.save(update_fields=["last_used_at"])
    return token


def test_account_is_told_whole(token: Any) -> None:
    acme = AccountFactory(name="Acme", facts__tags=["vip"])
    AccountIdentityFactory(account=acme, source="billing", external_id="c-1")
    answer = get(token, "?external_id=acme").json()
    assert answer == {
        "next": None,
        "previous": None,
        "results": [
            {
                "id": acme.pk,
                "name": "Acme",
                "identities": [
                    {"source": "billing", "external_id": "c-1"},
                    {"source": "crm", "external_id": "acme"},
                ],
                "facts": {
                    "lifecycle": "paying",
                    "segment": "mid_market",
                    "region": "emea",
                    "tags": ["vip"],
                    "customer_since": "2025-01-06",
                    "activated_on": "2025-01-20",
                    "renewal_on": None,
                    "head_count": 200,
                    "since": "2025-01-06T09:00:00Z",
                },
                "parent": None,
                "merged_into": None,
                "created_at": "2025-01-06T09:00:00Z",
                "deleted_at": None,
                "updated_at": "2025-01-06T09:00:00Z",
                "version": 1,
            }
        ],
    }
    assert get(token, path=f"{acme.pk}/").json() == answer["results"][0]


@override_settings(TIME_ZONE="Asia/Tokyo", REST_FRAMEWORK={"DATETIME_FORMAT": "%d.%m.%Y", "DATE_FORMAT": "%d.%m.%Y"})
def test_times_are_in_utc_whatever_the_host_has_set(token: Any) -> None:
    AccountFactory()
    (account,) = get(token).json()["results"]
    assert account["created_at"] == account["facts"]["since"] == "2025-01-06T09:00:00Z"
    assert account["facts"]["customer_since"] == "2025-01-06"


def test_facts_are_those_that_hold_now(token: Any) -> None:
    acme = AccountFactory(facts=None)
    assert get(token).json()["results"][0]["facts"] is None
    first = AccountFactsFactory(account=acme, head_count=1, valid_to=NOW - timedelta(days=1))
    AccountFactsFactory(account=acme, head_count=2, valid_from=first.valid_to, valid_to=NOW)
    AccountFactsFactory(account=acme, head_count=3, valid_from=NOW)
    assert get(token).json()["results"][0]["facts"]["head_count"] == 3
    with time_machine.travel(NOW - timedelta(seconds=1)):
        assert get(token).json()["results"][0]["facts"]["head_count"] == 2


def test_filters(token: Any) -> None:
    acme = AccountFactory(name="Acme")
    AccountIdentityFactory(account=acme, source="billing", external_id="c-1")
    AccountFactory(name="Beta", identity__source="billing", identity__external_id="acme")
    AccountFactory(name="Gamma", updated_at=NOW)
    assert sorted(names(get(token, "?external_id=acme"))) == ["Acme", "Beta"]
    assert names(get(token, "?external_id=acme&source=crm")) == ["Acme"]
    # One identity must have both: Acme has either, in two.
    assert names(get(token, "?external_id=acme&source=billing")) == ["Beta"]
    assert sorted(names(get(token, "?source=billing"))) == ["Acme", "Beta"]
    assert names(get(token, "?external_id=nobody")) == []
    assert names(get(token, "?name=AMM")) == ["Gamma"]
    for since in ("2026-11-22T12:00:00Z", "2026-11-22T13:00:00%2B01:00", "2026-11-22T13:00:00+01:00"):
        assert names(get(token, f"?updated_since={since}")) == ["Gamma"]
    assert names(get(token, "?updated_since=2026-11-22T12:00:00.000001Z")) == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?externalid=acme", "unknown_filter"),
        ("?external_id=", "invalid_filter"),
        ("?updated_since=yesterday", "invalid_filter"),
        ("?updated_since=2026-02-30T12:00:00Z", "invalid_filter"),
        ("?updated_since=2026-11-22T12:00:00", "invalid_filter"),
        ("?updated_since=0001-01-01T00:00:00%2B14:00", "invalid_filter"),
    ],
)
def test_bad_filters_are_refused(token: Any, query: str, code: str) -> None:
    response = get(token, query)
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert response.json()["errors"][0]["field"] == query[1:].partition("=")[0]


def test_deleted_and_merged_accounts_are_told_of_as_such(token: Any) -> None:
    target = AccountFactory(name="Target")
    AccountFactory(name="Merged", merged_into=target)
    AccountFactory(name="Deleted", deleted_at=NOW)
    found = {account["name"]: account for account in get(token).json()["results"]}
    assert found["Merged"]["merged_into"] == target.pk
    assert found["Deleted"]["deleted_at"] == "2026-11-22T12:00:00Z"


def test_other_accounts_are_named_only_to_who_sees_them(token: Any) -> None:
    parent, target = AccountFactory(name="Parent"), AccountFactory(name="Target")
    child = AccountFactory(name="Child", parent=parent, merged_into=target)

    def named(caller: Any) -> list[int | None]:
        told = get(caller, path=f"{child.pk}/").json()
        return [told["parent"], told["merged_into"]]

    assert named(token) == [parent.pk, target.pk]
    assert named(ApiTokenFactory(account_ids=[child.pk])) == [None, None]
    assert named(ApiTokenFactory(account_ids=[child.pk, parent.pk])) == [parent.pk, None]
    # What is asked for does not hide them.
    assert get(token, "?name=Child").json()["results"][0]["parent"] == parent.pk


def test_pages_come_in_the_order_of_change(token: Any) -> None:
    for number in (3, 1, 2):
        AccountFactory(name=f"Company {number}", updated_at=START + timedelta(days=number))
    first = get(token, "?page_size=2")
    assert names(first) == ["Company 1", "Company 2"]
    following = Client().get(first.json()["next"], HTTP_AUTHORIZATION=f"Token {token.value}")
    assert names(following) == ["Company 3"]
    assert following.json()["next"] is None


def test_token_needs_the_scope_and_sees_only_its_accounts(token: Any) -> None:
    acme, other = AccountFactory(name="Acme"), AccountFactory(name="Other")
    limited = ApiTokenFactory(account_ids=[acme.pk])
    assert names(get(limited)) == ["Acme"]
    assert get(limited, path=f"{other.pk}/").status_code == 404
    assert get(limited, "?external_id=other").json()["results"] == []
    assert get(ApiTokenFactory(scopes=["plays:read"])).status_code == 403
    assert Client().get(URL).status_code == 401


def test_people_need_the_permission_and_see_their_own() -> None:
    csm, other = TeamMemberFactory(), TeamMemberFactory()
    mine, pool = AccountFactory(name="Mine", csm=csm), AccountFactory(name="Pool")
    theirs = AccountFactory(name="Theirs", csm=other)
    client = Client()
    client.force_login(csm.user)
    assert client.get(URL).status_code == 403
    csm.user.user_permissions.add(Permission.objects.get(codename="view_account"))
    assert set(names(client.get(URL))) == {"Mine", "Pool"}
    assert [client.get(f"{URL}{account.pk}/").status_code for account in (mine, pool, theirs)] == [*(200, 200, 404)]


def test_nothing_can_be_written(token: Any) -> None:
    acme = AccountFactory()
    client = Client(HTTP_AUTHORIZATION=f"Token {token.value}")
    for path in (URL, f"{URL}{acme.pk}/"):
        for method in (client.post, client.put, client.patch, client.delete):
            assert method(path, "{}", content_type="application/json").status_code == 405
    assert Account.objects.count() == 1


@pytest.mark.parametrize("path", ["999/", "99999999999999999999/", "abc/", "1"])
def test_no_such_account(token: Any, path: str) -> None:
    response = get(token, path=path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("count", [10, 100])
def test_number_of_queries_of_a_limited_token(count: int, django_assert_num_queries: Any) -> None:
    parent = AccountFactory()
    limited = ApiTokenFactory(account_ids=[AccountFactory(parent=parent).pk for _ in range(count)])
    limited.last_used_at = NOW
    limited.save(update_fields=["last_used_at"])
    # The token, its accounts' ids, the accounts, their identities, their facts.
    with django_assert_num_queries(5):
        found = get(limited, "?page_size=100").json()["results"]
    assert [account["parent"] for account in found] == [None] * count


@pytest.mark.parametrize("count", [10, 100])
def test_number_of_queries(token: Any, count: int, django_assert_num_queries: Any) -> None:
    for _ in range(count):
        AccountFactory()
    # The token, the accounts, their identities, their facts.
    with django_assert_num_queries(4):
        assert len(names(get(token, "?page_size=100"))) == count
