"""`Authorization: Token VALUE`: who gets in, what the others are told, and what is noted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from csplaybooks.accounts.acts.tokens import revoke_tokens
from csplaybooks.accounts.authentication import TokenUser
from csplaybooks.accounts.factories import ApiTokenFactory, UserFactory
from csplaybooks.accounts.models import ApiToken
from csplaybooks.accounts.visibility import scope_of

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def get(authorization: str | None) -> Any:
    """Ask for the index of the API with this header."""
    headers: Any = {} if authorization is None else {"HTTP_AUTHORIZATION": authorization}
    return Client().get("/api/v1/", **headers)


def code_of(response: Any, status: int = 401) -> str:
    """The code of the problem in an answer of this status."""
    assert response.status_code == status, response.content
    if status == 401:
        assert response["WWW-Authenticate"] == "Token"
    code: str = response.json()["code"]
    return code


@pytest.mark.parametrize("keyword", ["Token", "token", "TOKEN"])
def test_right_value(keyword: str) -> None:
    response = get(f"{keyword} {ApiTokenFactory().value}")
    assert response.status_code == 200
    assert response.json()["signals"] == "http://testserver/api/v1/signals/"


def test_without_a_token() -> None:
    assert code_of(get(None)) == "not_authenticated"
    assert code_of(get("Basic dXNlcjpwYXNz")) == "not_authenticated"
    assert code_of(get("Bearer")) == "not_authenticated"
    assert 'send the header "Authorization: Token VALUE"' in get("Bearer").json()["message"]


@pytest.mark.parametrize("value", ["", " ", "two words", "csp_\u00e9", "x" * 101])
def test_malformed(value: str) -> None:
    assert code_of(get(f"Token {value}")) == "token_malformed"


def test_wrong_secret_is_told_as_little_as_a_wrong_prefix() -> None:
    token: Any = ApiTokenFactory()
    wrong = [token.value[:-1] + ("a" if token.value[-1] != "a" else "b"), "csp_nothing_like_it", token.prefix]
    answers = [get(f"Token {value}") for value in wrong]
    assert [code_of(answer) for answer in answers] == ["token_unknown"] * 3
    assert len({answer.content for answer in answers}) == 1


def test_revoked_and_expired() -> None:
    with time_machine.travel(NOW, tick=False):
        revoked: Any = ApiTokenFactory()
        revoke_tokens(token_ids=[revoked.pk], now=NOW, actor=None)
        expired: Any = ApiTokenFactory(expires_at=NOW)
        lasting: Any = ApiTokenFactory(expires_at=NOW + timedelta(seconds=1))
        assert code_of(get(f"Token {revoked.value}")) == "token_revoked"
        assert code_of(get(f"Token {expired.value}")) == "token_expired"
        assert get(f"Token {lasting.value}").status_code == 200
        # Who does not hold the secret learns neither.
        assert code_of(get(f"Token {revoked.value[:-1]}~")) == "token_unknown"


def test_use_is_noted_at_most_once_a_minute(django_assert_num_queries: Any) -> None:
    token: Any = ApiTokenFactory()
    with time_machine.travel(NOW, tick=False) as clock:
        with django_assert_num_queries(2):
            get(f"Token {token.value}")
        clock.shift(59)
        with django_assert_num_queries(1):
            get(f"Token {token.value}")
        assert ApiToken.objects.get().last_used_at == NOW
        clock.shift(1)
        get(f"Token {token.value}")
        assert ApiToken.objects.get().last_used_at == NOW + timedelta(minutes=1)


def test_a_refused_token_is_not_noted() -> None:
    token: Any = ApiTokenFactory(expires_at=NOW)
    with time_machine.travel(NOW, tick=False):
        get(f"Token {token.value}")
    assert ApiToken.objects.get().last_used_at is None


def test_token_user_is_nobody_with_no_permission() -> None:
    user = TokenUser(ApiTokenFactory(name="Telemetry"))
    assert (user.pk, user.is_authenticated, user.is_active, user.is_staff) == (None, True, True, False)
    assert not user.has_perm("csplaybooks_accounts.view_account")
    assert not user.has_perms(["csplaybooks_accounts.view_account"])
    assert not user.has_module_perms("csplaybooks_accounts")
    assert str(user) == user.get_full_name() == "token Telemetry"


def test_people_come_in_by_their_session() -> None:
    client = Client()
    client.force_login(UserFactory())
    assert client.get("/api/v1/").status_code == 200


def test_what_is_nowhere_is_a_problem_document() -> None:
    response = Client().get("/api/v1/no/such/thing")
    assert code_of(response, 404) == "not_found"
    assert response["Content-Type"].startswith("application/problem+json")


def test_scope_of_a_token() -> None:
    assert scope_of(ApiTokenFactory()).everything
