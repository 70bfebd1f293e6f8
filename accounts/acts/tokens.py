"""Acts on the tokens by which other systems get in."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from csplaybooks.accounts.acts.checks import cleaned, found_by_id
from csplaybooks.accounts.acts.record import acting_user, actor_label, require_aware
from csplaybooks.accounts.models import Account, ApiToken

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

    `account_ids` limits it to these accounts; None is no limit. A token hangs on no account's story: who made
    it stands on its row. Raises ValidationError for a missing name, an unknown scope or none at all, an
    expiry that is not ahead, or accounts that are unknown or none.
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
    if expires_at is not None and expires_at <= now:
        raise ValidationError({"expires_at": "A token must expire later than it is made."})
    accounts = None
    if account_ids is not None:
        accounts = found_by_id(Account.objects.all(), account_ids, field="accounts")
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
    return token, value


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
    return {pk: pk in standing for pk in ids}
