"""How integrations sign in: `Authorization: Token VALUE`."""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from csplaybooks.accounts.models import ApiToken

KEYWORD = "Token"

#: `last_used_at` is written at most once in this time: it tells whether a token is in use, and counts
#: nothing.
USE_NOTED_EVERY = timedelta(minutes=1)

# Twice what a value of ours has. What is longer is none, and need not be hashed to know.
_LONGEST_VALUE = 100


class TokenUser:
    """Who calls when a token does: nobody of the site's users, with no permission of theirs.

    What a token may do is told by its scopes, and what it may see by `visible_to(token)`.
    """

    pk = None
    id = None
    is_active = True
    is_anonymous = False
    is_authenticated = True
    is_staff = False
    is_superuser = False

    def __init__(self, token: ApiToken) -> None:
        self.token = token

    def __str__(self) -> str:
        return self.get_username()

    def get_username(self) -> str:
        """The name of the token, marked as one."""
        return f"token {self.token.name}"

    def get_full_name(self) -> str:
        """The same as `get_username`."""
        return self.get_username()

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_perms(self, perm_list: Any, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_module_perms(self, app_label: str) -> bool:
        """Never."""
        return False


class TokenAuthentication(BaseAuthentication):
    """REST framework authentication by an API token; answers `(TokenUser, ApiToken)`.

    Requests without the header, or with another scheme in it, are left to the authentication asked next.
    Raises AuthenticationFailed (401) with the code `token_malformed`, `token_unknown`, `token_revoked` or
    `token_expired`. That a token exists is told only to who holds it: a wrong secret is as unknown as a wrong
    prefix.
    """

    def authenticate(self, request: Request) -> tuple[TokenUser, ApiToken] | None:
        """The token in the request's header, noted as used."""
        header: str = request.META.get("HTTP_AUTHORIZATION", "")
        keyword, _, value = header.partition(" ")
        if keyword.lower() != KEYWORD.lower():
            return None
        now = timezone.now()
        token = self._valid_token(value.strip(), now)
        self._note_use(token, now)
        return TokenUser(token), token

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401."""
        return KEYWORD

    def _valid_token(self, value: str, now: datetime) -> ApiToken:
        if not value.isascii() or not value.isprintable() or " " in value or not 0 < len(value) <= _LONGEST_VALUE:
            raise AuthenticationFailed(
                "The Authorization header must read: Token, a space, and the value of a token.",
                "token_malformed",
            )
        token: ApiToken | None = ApiToken.objects.filter(prefix=ApiToken.prefix_of(value)).first()
        # Compared also where there is none, so that a prefix that exists takes no longer to refuse.
        digest = token.digest if token is not None else ApiToken.digest_of("")
        if not hmac.compare_digest(digest, ApiToken.digest_of(value)) or token is None:
            raise AuthenticationFailed("There is no such token.", "token_unknown")
        if token.revoked_at is not None and token.revoked_at <= now:
            raise AuthenticationFailed("This token was revoked.", "token_revoked")
        if token.expires_at is not None and token.expires_at <= now:
            raise AuthenticationFailed("This token has expired.", "token_expired")
        return token

    def _note_use(self, token: ApiToken, now: datetime) -> None:
        stale = now - USE_NOTED_EVERY
        if token.last_used_at is not None and token.last_used_at > stale:
            return
        # Of many requests at once, one writes.
        unnoted = Q(last_used_at__isnull=True) | Q(last_used_at__lte=stale)
        ApiToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)
