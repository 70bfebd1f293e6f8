"""Acts on tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts import make_token, revoke_tokens
from csplaybooks.accounts.factories import START, AccountFactory, ApiTokenFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import ApiToken

pytestmark = pytest.mark.django_db

NOW = START


def test_a_token_is_made_and_only_its_digest_kept() -> None:
    user = UserFactory(superuser=True)
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


def keeper(*permissions: str) -> Any:
    """A user with these permissions."""
    user = UserFactory()
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def test_nobody_hands_out_what_they_may_not_do() -> None:
    actor = keeper("view_everything", "add_apitoken", "add_signal", "view_account")
    given = {"name": "CRM", "now": NOW, "actor": actor}
    with pytest.raises(ValidationError, match="You lack what this would let others do: plays:read") as refused:
        make_token(scopes=["plays:read", "signals:write"], **given)
    assert list(refused.value.message_dict) == ["scopes"]
    token, _ = make_token(scopes=["signals:write", "accounts:read", "health:read"], **given)
    assert token.created_by == actor


def test_nobody_hands_out_accounts_that_they_do_not_see() -> None:
    member = TeamMemberFactory()
    own, other = AccountFactory(csm=member), AccountFactory(csm=TeamMemberFactory())
    member.user.user_permissions.set(Permission.objects.filter(codename="view_account"))
    given = {"name": "CRM", "scopes": ["accounts:read"], "now": NOW, "actor": member.user}
    with pytest.raises(ValidationError, match="limit the token to some that you see"):
        make_token(**given)
    with pytest.raises(ValidationError, match="There is no account with the id"):
        make_token(account_ids=[own.pk, other.pk], **given)
    token, _ = make_token(account_ids=[own.pk], **given)
    assert list(token.accounts.all()) == [own]


def test_a_token_makes_no_tokens() -> None:
    with pytest.raises(ValidationError, match="You lack"):
        make_token(name="Child", scopes=["plays:read"], now=NOW, actor=ApiTokenFactory())
