"""Acts on tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts import make_token, revoke_tokens
from csplaybooks.accounts.factories import START, AccountFactory, ApiTokenFactory, UserFactory
from csplaybooks.accounts.models import ApiToken

pytestmark = pytest.mark.django_db

NOW = START


def test_a_token_is_made_and_only_its_digest_kept() -> None:
    user = UserFactory()
    token, value = make_token(
        name="Billing",
        scopes=["signals:write", "plays:read", "plays:read"],
        expires_at=NOW + timedelta(days=30),
        now=NOW,
        actor=user,
    )
    token.refresh_from_db()
    assert value.startswith("csp_")
    assert token.prefix == value[:12]
    assert token.digest == ApiToken.digest_of(value)
    assert value not in str(ApiToken.objects.values().get())
    assert token.scopes == ["signals:write", "plays:read"]
    assert (token.has_scope("plays:read"), token.has_scope("accounts:read")) == (True, False)
    assert (token.created_by, token.created_at, token.limited_to_accounts) == (user, NOW, False)


def test_no_two_tokens_are_alike() -> None:
    values = {make_token(name="a", scopes=["plays:read"], now=NOW, actor=None)[1] for _ in range(20)}
    assert len(values) == 20


def test_a_token_is_limited_to_accounts() -> None:
    account = AccountFactory()
    token, _ = make_token(name="Partner", scopes=["plays:read"], account_ids=[account.pk], now=NOW, actor=None)
    assert token.limited_to_accounts
    assert list(token.accounts.all()) == [account]


def test_what_does_not_fit_is_refused_by_name() -> None:
    def refused(**kwargs: Any) -> dict[str, list[str]]:
        given: dict[str, Any] = {"name": "Billing", "scopes": ["plays:read"]}
        with pytest.raises(ValidationError) as error:
            make_token(now=NOW, actor=None, **(given | kwargs))
        messages: dict[str, list[str]] = error.value.message_dict
        return messages

    assert "No such scope: plays:burn" in refused(scopes=["plays:read", "plays:burn"])["scopes"][0]
    assert list(refused(scopes=[])) == ["scopes"]
    assert list(refused(name="")) == ["name"]
    assert list(refused(expires_at=NOW)) == ["expires_at"]
    assert list(refused(account_ids=[])) == ["accounts"]
    assert list(refused(account_ids=[999_999])) == ["accounts"]
    assert not ApiToken.objects.exists()


def test_a_token_is_revoked_once() -> None:
    one, two = ApiTokenFactory.create_batch(2)
    revoke_tokens(token_ids=[one.pk], now=NOW + timedelta(days=1), actor=None)
    answer = revoke_tokens(token_ids=[one.pk, two.pk], now=NOW + timedelta(days=2), actor=None)
    assert answer == {one.pk: False, two.pk: True}
    one.refresh_from_db()
    two.refresh_from_db()
    assert (one.revoked_at, two.revoked_at) == (NOW + timedelta(days=1), NOW + timedelta(days=2))
    with pytest.raises(ValidationError, match="There is no API token with the id 999999"):
        revoke_tokens(token_ids=[999_999], now=NOW, actor=None)
