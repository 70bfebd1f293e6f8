"""Who may come into the demo: three sign-ins and a token, new at each start, since only their hashes are kept."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction

from csplaybooks.accounts.acts import make_token, revoke_tokens
from csplaybooks.accounts.base import OperationsQuerySet
from csplaybooks.accounts.models import (
    Absence,
    Account,
    ApiToken,
    Champion,
    Entitlement,
    Feature,
    Finding,
    Plan,
    Product,
    Qbr,
    TeamMember,
)
from csplaybooks.playbooks.demo.vendor import SIGN_INS
from csplaybooks.playbooks.models import (
    Calendar,
    CalendarBlock,
    CalendarDay,
    Match,
    Play,
    Playbook,
    PlayStep,
    Touch,
)

TOKEN_NAME = "Demo"  # noqa: S105 - what the token is called, not what it is

#: The rooms whose tables the sign-ins see, as far as `visible_to` lets them.
_ROOMS = ("csplaybooks_accounts", "csplaybooks_signals", "csplaybooks_playbooks")

Rights = Mapping[type[models.Model], str]

#: What who does the daily work may do: letters of add, change, delete.
_WORK: Rights = {Play: "ac", PlayStep: "c", Touch: "a", Qbr: "ac", Finding: "ac", Champion: "ac"}
#: What a manager may do beyond that. Nobody may touch the task schedules: they can run any code.
_MANAGE: Rights = {
    **_WORK,
    Absence: "acd",
    Account: "ac",
    Calendar: "ac",
    CalendarBlock: "acd",
    CalendarDay: "acd",
    Entitlement: "ac",
    Feature: "ac",
    Match: "c",
    Plan: "ac",
    Playbook: "ac",
    Product: "ac",
    TeamMember: "ac",
}
_VERBS = {"a": "add", "c": "change", "d": "delete"}


@transaction.atomic
def renew_sign_ins() -> dict[str, tuple[str, str]]:
    """Give each of `SIGN_INS` a new password and its permissions; answers name and password by role.

    Ends the sessions that were signed in with the passwords before.
    """
    answers = {}
    views = _permissions_to_view()
    for role, username in SIGN_INS.items():
        user = get_user_model().objects.get(username=username)
        password = secrets.token_urlsafe(12)
        user.set_password(password)
        user.save(update_fields=["password"])
        user.user_permissions.set([*views, *_permissions(_MANAGE if role == "manager" else _WORK)])
        answers[role] = (username, password)
    return answers


def renew_token(*, now: datetime) -> str:
    """Make a token with every scope and revoke those of the starts before; answers its value."""
    with transaction.atomic():
        standing = ApiToken.objects.filter(name=TOKEN_NAME, revoked_at__isnull=True)
        revoke_tokens(token_ids=standing.values_list("pk", flat=True), now=now, actor=None)
        _, value = make_token(name=TOKEN_NAME, scopes=ApiToken.SCOPES, now=now, actor=None)
    return value


def _permissions_to_view() -> list[Permission]:
    """To view every table of ours but those of the machinery."""
    types = [
        content_type
        for content_type in ContentType.objects.filter(app_label__in=_ROOMS).order_by("pk")
        if (model := content_type.model_class()) is not None
        and not isinstance(model._default_manager.all(), OperationsQuerySet)
    ]
    return list(
        Permission.objects.filter(content_type__in=types, codename__startswith="view_").exclude(
            codename="view_everything"
        )
    )


def _permissions(rights: Rights) -> list[Permission]:
    types = ContentType.objects.get_for_models(*rights)
    wanted = {
        (types[model].pk, f"{_VERBS[letter]}_{model._meta.model_name}")
        for model, letters in rights.items()
        for letter in letters
    }
    found = Permission.objects.filter(content_type__in=types.values())
    return [permission for permission in found if (permission.content_type_id, permission.codename) in wanted]
