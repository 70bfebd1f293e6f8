"""Acts on what accounts hold and on what plans include."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from csplaybooks.accounts.acts.checks import cleaned, found_by_id
from csplaybooks.accounts.acts.dated import PeriodResult, PeriodWrite, Verdict, set_periods
from csplaybooks.accounts.acts.record import (
    require_aware,
    timeline_entry,
    when_from,
    write_timeline,
)
from csplaybooks.accounts.models import Entitlement, Plan, PlanLimit, Product


@dataclass(frozen=True, kw_only=True)
class NewEntitlement:
    """What an account holds by one subscription line from `valid_from` on (None: now).

    `mrr_minor` is monthly recurring revenue in minor units of the reporting currency.
    """

    account_id: int
    subscription: str
    product_id: int
    plan_id: int | None = None
    quantity: int = 1
    mrr_minor: int = 0
    term_months: int = 12
    valid_from: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class NewPlanLimit:
    """How much of a meter a plan includes, in thousandths; None is no limit."""

    plan_id: int
    meter_key: str
    limit_milli: int | None


@transaction.atomic
def set_entitlements(*, items: Sequence[NewEntitlement], now: datetime, actor: Any) -> list[Verdict]:
    """Say what accounts hold; a line is told whole, as billing tells it. Answers in the order of `items`.

    Late news holds until the next change of the line that is known, its end included (`set_periods`): a line
    that goes on after an end is told from that end on. Starts may lie in the future. Raises ValidationError
    for an unknown account, product or plan, a plan of another product, or an amount that does not fit.
    """
    require_aware(now=now)
    products = found_by_id(Product.objects.all(), (item.product_id for item in items), field="product")
    plans = found_by_id(Plan.objects.all(), (item.plan_id for item in items), field="plan")
    writes = [_write_of(item, plans, now) for item in items]
    results = set_periods(model=Entitlement, writes=writes, kind="entitlements", now=now)
    write_timeline(
        timeline_entry(
            account_id=item.account_id,
            at=min(write.effective_at, now),
            now=now,
            kind="entitlement_changed",
            text=_entitlement_text(result, products, plans, item) + when_from(write.effective_at, now),
            subject=products[item.product_id],
            actor=actor,
            data={"subscription": item.subscription, "mrr_minor": item.mrr_minor},
        )
        for item, write, result in zip(items, writes, results, strict=True)
        if result.verdict != Verdict.UNCHANGED
    )
    return [result.verdict for result in results]


@transaction.atomic
def end_entitlements(
    *, lines: Sequence[tuple[int, str]], effective_at: datetime, now: datetime, actor: Any
) -> list[Verdict]:
    """End subscription lines, each an account's id and the line's; answers in the order of `lines`.

    Ended, or unchanged where the line does not hold at `effective_at`. The end may lie in the future. Raises
    ValidationError for an unknown account.
    """
    results = set_periods(
        model=Entitlement,
        writes=[
            PeriodWrite(
                key={"account_id": account_id, "subscription": subscription},
                values=None,
                effective_at=effective_at,
                account_id=account_id,
            )
            for account_id, subscription in lines
        ],
        kind="entitlements",
        now=now,
    )
    ended = [
        (account_id, subscription, result.before)
        for (account_id, subscription), result in zip(lines, results, strict=True)
        if result.before is not None
    ]
    products = found_by_id(Product.objects.all(), (before["product_id"] for _, _, before in ended), field="product")
    write_timeline(
        timeline_entry(
            account_id=account_id,
            at=min(effective_at, now),
            now=now,
            kind="entitlement_ended",
            text=f"{products[before['product_id']]} ended" + when_from(effective_at, now),
            subject=products[before["product_id"]],
            actor=actor,
            data={"subscription": subscription},
        )
        for account_id, subscription, before in ended
    )
    return [result.verdict for result in results]


@transaction.atomic
def set_plan_limits(
    *, items: Sequence[NewPlanLimit], effective_at: datetime, now: datetime, actor: Any
) -> list[Verdict]:
    """Say how much of a meter plans include from `effective_at` on; answers in the order of `items`.

    The change names no account: any account may be touched. Raises ValidationError for an unknown plan or a limit
    below zero.
    """
    writes = []
    for item in items:
        meter_key = cleaned(PlanLimit, {"meter_key": item.meter_key})["meter_key"]
        values = cleaned(PlanLimit, {"limit_milli": item.limit_milli})
        if item.limit_milli is not None and item.limit_milli < 0:
            raise ValidationError({"limit_milli": "A limit cannot be negative."})
        writes.append(
            PeriodWrite(
                key={"plan_id": item.plan_id, "meter_key": meter_key},
                values=values,
                effective_at=effective_at,
                account_id=None,
            )
        )
    results = set_periods(model=PlanLimit, writes=writes, kind="plan_limits", now=now)
    told = [(item, result) for item, result in zip(items, results, strict=True) if result.verdict != Verdict.UNCHANGED]
    plans = found_by_id(Plan.objects.all(), (item.plan_id for item, _ in told), field="plan")
    if plans:
        Plan.objects.filter(pk__in=plans).update(version=F("version") + 1, updated_at=now)
    write_timeline(
        timeline_entry(
            account_id=None,
            at=min(effective_at, now),
            now=now,
            kind="plan_limit_set",
            text=f"Plan {plans[item.plan_id]}: {item.meter_key}: {_limit_text(result)}" + when_from(effective_at, now),
            subject=plans[item.plan_id],
            actor=actor,
        )
        for item, result in told
    )
    return [result.verdict for result in results]


def _write_of(item: NewEntitlement, plans: Mapping[int, Plan], now: datetime) -> PeriodWrite:
    if item.plan_id is not None and plans[item.plan_id].product_id != item.product_id:
        raise ValidationError({"plan": f"The plan {plans[item.plan_id]} belongs to another product."})
    if item.mrr_minor < 0:
        raise ValidationError({"mrr_minor": "MRR cannot be negative."})
    subscription = cleaned(Entitlement, {"subscription": item.subscription})["subscription"]
    numbers = {"quantity": item.quantity, "mrr_minor": item.mrr_minor, "term_months": item.term_months}
    return PeriodWrite(
        key={"account_id": item.account_id, "subscription": subscription},
        values={"product_id": item.product_id, "plan_id": item.plan_id, **cleaned(Entitlement, numbers)},
        effective_at=item.valid_from or now,
        account_id=item.account_id,
    )


def _limit_text(result: PeriodResult) -> str:
    """Such as `50 (was 25)` or `no limit`."""

    def words(values: Mapping[str, Any] | None) -> str:
        milli = None if values is None else values["limit_milli"]
        return "no limit" if milli is None else f"{Decimal(milli) / 1000:,f}"

    return words(result.after) + ("" if result.before is None else f" (was {words(result.before)})")


def _entitlement_text(
    result: PeriodResult, products: Mapping[int, Product], plans: Mapping[int, Plan], item: NewEntitlement
) -> str:
    """What changed, such as `Platform: Team plan, quantity 20 (was 10)`."""
    product = str(products[item.product_id])
    before = result.before
    if before is None or before["product_id"] != item.product_id:
        plan = "" if item.plan_id is None else f" ({plans[item.plan_id]})"
        return f"{product}{plan}, quantity {item.quantity}"
    parts = []
    if before["plan_id"] != item.plan_id:
        parts.append("no plan" if item.plan_id is None else f"plan {plans[item.plan_id]}")
    if before["quantity"] != item.quantity:
        parts.append(f"quantity {item.quantity} (was {before['quantity']})")
    if before["mrr_minor"] != item.mrr_minor:
        parts.append("price changed")
    if before["term_months"] != item.term_months:
        parts.append(f"term {item.term_months} months (was {before['term_months']})")
    return f"{product}: {', '.join(parts)}"
