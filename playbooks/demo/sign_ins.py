"""Who may come into the demo: three sign-ins and a token, new at each start, since only their hashes are kept."""

from __future__ import annotations

import secrets
from datetime import datetime

from django.contrib.auth import get_user_model
from django.db import transaction

from csplaybooks.accounts.acts import make_token, revoke_tokens
from csplaybooks.accounts.acts.groups import match_groups
from csplaybooks.accounts.models import ApiToken
from csplaybooks.playbooks.acts.roles import make_groups
from csplaybooks.playbooks.demo.vendor import SIGN_INS

TOKEN_NAME = "Demo"  # noqa: S105 - what the token is called, not what it is


@transaction.atomic
def renew_sign_ins() -> dict[str, tuple[str, str]]:
    """Give each of `SIGN_INS` a new password and the groups of their roles; answers name and password by role.

    Ends the sessions that were signed in with the passwords before.
    """
    answers = {}
    # A company of an earlier version has no groups yet.
    make_groups()
    users = {user.get_username(): user for user in get_user_model().objects.filter(username__in=SIGN_INS.values())}
    for role, username in SIGN_INS.items():
        password = secrets.token_urlsafe(12)
        users[username].set_password(password)
        users[username].save(update_fields=["password"])
        # Rights come by the groups alone; an earlier version gave them one by one.
        users[username].user_permissions.clear()
        answers[role] = (username, password)
    match_groups(user_ids=[user.pk for user in users.values()], actor=None)
    return answers


def renew_token(*, now: datetime) -> str:
    """Make a token with every scope and revoke those of the starts before; answers its value."""
    with transaction.atomic():
        standing = ApiToken.objects.filter(name=TOKEN_NAME, revoked_at__isnull=True)
        revoke_tokens(token_ids=standing.values_list("pk", flat=True), now=now, actor=None)
        _, value = make_token(name=TOKEN_NAME, scopes=ApiToken.SCOPES, now=now, actor=None)
    return value
