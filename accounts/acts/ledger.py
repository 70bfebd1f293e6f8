"""Acts on the revenue ledger: lines are added, never edited; a correction is a reversing line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from csplaybooks.accounts.acts.checks import cleaned, found_by_id
from csplaybooks.accounts.acts.record import require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.models import Account, Movement, Product
from csplaybooks.accounts.money import in_major_units
from csplaybooks.conf import csplaybooks_settings


class LineVerdict(StrEnum):
    """What became of a line that was to be recorded."""

    CREATED = "created"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, kw_only=True)
class NewMovement:
    """A line of the ledger: a signed change of an account's MRR from the day `effective_on` on.

    `amount_minor` is in minor units of the reporting currency; the original amount is in minor units of its own
    currency. `source` and `external_id` are the line's id in the system that tells it. `reverses_id` is the line that
    this one takes back. `motion` is a `Motion`, or empty where none is named.
    """

    account_id: int
    source: str
    external_id: str
    amount_minor: int
    effective_on: date
    subscription: str = ""
    product_id: int | None = None
    motion: str = ""
    original_currency: str = ""
    original_amount_minor: int | None = None
    reverses_id: int | None = None
    note: str = ""


#: What makes two lines the same: all but when they were recorded.
_BODY = (
    *("account_id", "amount_minor", "effective_on", "subscription", "product_id", "motion"),
    *("original_currency", "original_amount_minor", "reverses_id", "note"),
)


@transaction.atomic
def record_movements(*, items: Sequence[NewMovement], now: datetime, actor: Any) -> list[LineVerdict]:
    """Add lines to the ledger; answers in the order of `items`.

    Created; duplicate where the source has told the same line before (in the ledger or earlier in `items`); conflict
    where it told another under this id: the ledger keeps what it has. No trigger asks the ledger, so no change is
    written.

    Raises ValidationError for an unknown account, product or reversed line, a line that was reversed before, a
    reversal that is not the exact opposite at the same account, an amount of zero, or a value that does not fit.
    """
    require_aware(now=now)
    if not items:
        return []
    bodies = [_checked(item) for item in items]
    accounts = found_by_id(Account.objects.all(), (item.account_id for item in items), field="account")
    found_by_id(Product.objects.all(), (item.product_id for item in items), field="product")
    told: dict[tuple[str, str], dict[str, Any]] = {
        (line.source, line.external_id): {name: getattr(line, name) for name in _BODY}
        for line in Movement.objects.filter(
            source__in={item.source for item in items}, external_id__in={item.external_id for item in items}
        )
    }
    fresh: list[Movement] = []
    verdicts: list[LineVerdict] = []
    for item, body in zip(items, bodies, strict=True):
        standing = told.setdefault((item.source, item.external_id), body)
        if standing is body:
            fresh.append(Movement(source=item.source, external_id=item.external_id, recorded_at=now, **body))
            verdicts.append(LineVerdict.CREATED)
        else:
            verdicts.append(LineVerdict.DUPLICATE if standing == body else LineVerdict.CONFLICT)
    _check_reversals(fresh)
    # Of two who record one line at once, the constraint turns the second away whole: sent again, it is a duplicate.
    lines = Movement.objects.bulk_create(fresh)
    write_timeline(
        timeline_entry(
            account_id=line.account_id,
            at=now,
            now=now,
            kind="movement_recorded",
            text=_text(line),
            subject=accounts[line.account_id],
            actor=actor,
            data={"movement": line.pk, "amount_minor": line.amount_minor},
        )
        for line in lines
    )
    return verdicts


def _checked(item: NewMovement) -> dict[str, Any]:
    if item.amount_minor == 0:
        raise ValidationError({"amount_minor": "A line that changes nothing does not belong in the ledger."})
    plain = ("source", "external_id", "subscription", "motion", "effective_on", "amount_minor", "note")
    given = {name: getattr(item, name) for name in (*plain, "original_currency", "original_amount_minor")}
    values = cleaned(Movement, given)
    return {name: values.get(name, getattr(item, name)) for name in _BODY}


def _check_reversals(lines: Sequence[Movement]) -> None:
    wanted = [line.reverses_id for line in lines if line.reverses_id is not None]
    reversed_lines = found_by_id(Movement.objects.all(), wanted, field="reverses")
    if len(wanted) != len(set(wanted)) or (wanted and Movement.objects.filter(reverses__in=wanted).exists()):
        raise ValidationError({"reverses": "This line was reversed already."})
    for line in lines:
        if line.reverses_id is None:
            continue
        before = reversed_lines[line.reverses_id]
        if (before.account_id, before.amount_minor) != (line.account_id, -line.amount_minor):
            raise ValidationError({"reverses": "A reversal is the exact opposite of a line of the same account."})


def _text(line: Movement) -> str:
    """Such as `MRR +250 USD from 2025-01-06 on (cross-sell): first use of nova`."""
    currency = csplaybooks_settings.CURRENCY
    amount = f"{in_major_units(line.amount_minor, currency):+f}"
    motion = f" ({line.get_motion_display().lower()})" if line.motion else ""
    note = f": {line.note}" if line.note else ""
    return f"MRR {amount} {currency} from {line.effective_on} on{motion}{note}"
