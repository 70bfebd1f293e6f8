"""Acts on the tokens by which other systems get in."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from csplaybooks.accounts.acts.checks import cleaned, found_by_id
from csplaybooks.accounts.acts.record import (
    acting_user,
    actor_label,
    require_aware,
    timeline_entry,
    write_timeline,
)
from csplaybooks.accounts.models import Account, ApiToken, TimelineEntry
from csplaybooks.accounts.visibility import scope_of

logger = logging.getLogger("csplaybooks.accounts")


@transaction.atomic
def make_token(
    *,
    name: str,
    scopes: Iterable[str],
    now: datetime,
    actor: Any,
    expires_at: datetime | None = None,
    account_ids: Iterable[int] | None = None,
) -> tuple[ApiToken, str]:
    """Make a token; answers its row and its value, which is kept nowhere and can be shown this once only.

    `account_ids` limits it to these accounts; None is no limit. Nobody hands out more than they have: an actor needs
    for each scope the permissions that its endpoints ask of people, and must see every account of the token. A token
    makes no tokens. Raises ValidationError for a missing name, an unknown scope, none at all or one that the actor
    may not hand out, an expiry that is not ahead, or accounts that are unknown, not seen or none.
    """
    require_aware(now=now, expires_at=expires_at)
    name = cleaned(ApiToken, {"name": name})["name"]
    wanted = list(dict.fromkeys(scopes))
    if unknown := [scope for scope in wanted if scope not in ApiToken.SCOPES]:
        raise ValidationError(
            {"scopes": f"No such scope: {', '.join(unknown)}; there are {', '.join(ApiToken.SCOPES)}."}
        )
    if not wanted:
        raise ValidationError({"scopes": "A token needs at least one scope."})
    if withheld := [scope for scope in wanted if not _may_hand_out(scope, actor)]:
        raise ValidationError({"scopes": f"You lack what this would let others do: {', '.join(withheld)}."})
    if expires_at is not None and expires_at <= now:
        raise ValidationError({"expires_at": "A token must expire later than it is made."})
    if account_ids is None and actor is not None and not scope_of(actor).everything:
        raise ValidationError({"accounts": "You do not see every account: limit the token to some that you see."})
    accounts = None
    if account_ids is not None:
        seen = Account.objects.all() if actor is None else Account.objects.visible_to(actor)
        accounts = found_by_id(seen, account_ids, field="accounts")
        if not accounts:
            raise ValidationError({"accounts": "A limited token needs at least one account."})
    value = ApiToken.new_secret()
    token = ApiToken.objects.create(
        name=name,
        prefix=ApiToken.prefix_of(value),
        digest=ApiToken.digest_of(value),
        scopes=wanted,
        limited_to_accounts=accounts is not None,
        created_by=acting_user(actor),
        created_at=now,
        expires_at=expires_at,
    )
    if accounts is not None:
        token.accounts.set(accounts.values())
    logger.info("token %s made by %s", token.prefix, actor_label(actor))
    write_timeline([_line(token, "made", now, actor, data={"scopes": wanted})])
    return token, value


def _may_hand_out(scope: str, actor: Any) -> bool:
    """Whether the actor may do what the scope lets a token do; None, the system, may."""
    return actor is None or (not isinstance(actor, ApiToken) and bool(actor.has_perms(ApiToken.PERMISSIONS[scope])))


@transaction.atomic
def revoke_tokens(*, token_ids: Iterable[int], now: datetime, actor: Any) -> dict[int, bool]:
    """Revoke tokens from `now` on; answers by id whether this act did it (False: revoked before).

    Raises ValidationError for an unknown token.
    """
    require_aware(now=now)
    ids = list(dict.fromkeys(token_ids))
    tokens = found_by_id(ApiToken.objects.select_for_update().order_by("pk"), ids, field="tokens")
    standing = [pk for pk in ids if tokens[pk].revoked_at is None]
    ApiToken.objects.filter(pk__in=standing, revoked_at__isnull=True).update(revoked_at=now)
    for pk in standing:
        logger.info("token %s revoked by %s", tokens[pk].prefix, actor_label(actor))
    write_timeline(_line(tokens[pk], "revoked", now, actor) for pk in standing)
    return {pk: pk in standing for pk in ids}


def _line(
    token: ApiToken, done: str, now: datetime, actor: Any, *, data: dict[str, Any] | None = None
) -> TimelineEntry:
    """A line that only those read who see tokens."""
    return timeline_entry(
        account_id=None,
        at=now,
        now=now,
        kind=f"token_{done}",
        text=f"API token {token} {done}",
        subject=token,
        actor=actor,
        data=data,
    )
