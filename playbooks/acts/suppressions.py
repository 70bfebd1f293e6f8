"""Acts on the list of whom no mail to customers goes to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from csplaybooks.accounts.acts.record import acting_user
from csplaybooks.accounts.acts.rows import Table, change_row, delete_rows, make_row
from csplaybooks.accounts.models import ApiToken, TeamMember
from csplaybooks.accounts.visibility import scope_of
from csplaybooks.playbooks.models import Suppression


def normalised(address: str) -> str:
    """An address or a domain as the list holds it: without spaces around it, in small letters.

    Raises ValidationError for what is neither an address nor `@` and a domain.
    """
    plain = address.strip().lower()
    try:
        # A whole domain is written like an address without a name.
        validate_email(f"somebody{plain}" if plain.startswith("@") else plain)
    except ValidationError:
        raise ValidationError(
            {"address": "Enter an address, such as ada@example.com, or all of a domain, such as @example.com."}
        ) from None
    return plain


SUPPRESSIONS = Table(
    model=Suppression, fields=("address", "source", "reason", "added_at"), fixed=("address", "added_at")
)


def suppress(
    *, address: str, now: datetime, actor: Any, source: str = Suppression.Source.HAND, reason: str = ""
) -> Suppression:
    """Send no mail to customers to an address, or with `@example.com` to a domain; answers the row.

    What is on its way and not sent yet does not go either. Raises ValidationError, by field, for what is no address,
    and for one that stands there already.
    """
    values = {"address": normalised(address), "source": source, "reason": reason, "added_at": now}
    return make_row(table=SUPPRESSIONS, values=values, now=now, actor=actor)


def change_suppression(
    *, row_id: int, source: str, reason: str, now: datetime, actor: Any, expected_version: int | None = None
) -> Suppression:
    """Say anew how we know of a suppression, and why it is there; the address stays. Raises as `change_row` does."""
    return change_row(
        table=SUPPRESSIONS,
        row_id=row_id,
        values={"source": source, "reason": reason},
        now=now,
        actor=actor,
        expected_version=expected_version,
    )


def stop_suppressing(*, row_ids: Iterable[int], now: datetime, actor: Any) -> int:
    """Take addresses off the list, so that mail may go there again; answers how many. For managers.

    Raises ValidationError where anybody else asks for it.
    """
    if not _is_manager(actor):
        raise ValidationError("Only a manager takes an address off this list: somebody asked to be left in peace.")
    return delete_rows(table=SUPPRESSIONS, row_ids=row_ids, now=now, actor=actor)


def _is_manager(actor: Any) -> bool:
    if actor is None:
        return True
    if isinstance(actor, ApiToken):
        return False
    if scope_of(actor).everything:
        return True
    user = acting_user(actor)
    return TeamMember.objects.active().filter(user=user.pk, is_manager=True).exists()
