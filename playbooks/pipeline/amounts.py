"""Expected amounts: what a play would add to monthly revenue, by its playbook's rule, with the working shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import Entitlement, Product


@dataclass(frozen=True)
class Case:
    """One play to be worked out: the account, the document's `amount` rule, and the evidence it stands on."""

    account_id: int
    rule: Mapping[str, Any]
    evidence: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Amount:
    """Monthly revenue in minor units (None: unknown, a person must say), and how it was worked out in words."""

    minor: int | None
    working: dict[str, Any]


def product_in(evidence: Sequence[Mapping[str, Any]]) -> str | None:
    """The key of the product that the evidence speaks of, if any."""
    return next((item["found"]["product"] for item in evidence if item["found"].get("product")), None)


def work_out_amounts(cases: Sequence[Case], at: datetime) -> list[Amount]:
    """The expected amounts of cases, in their order, by what their accounts held at `at`; two queries."""
    held: dict[int, list[Entitlement]] = {}
    holding = Entitlement.objects.holding_at(at).filter(account__in=Ids(sorted({case.account_id for case in cases})))
    for entitlement in holding.select_related("product", "plan__next_plan").order_by("pk"):
        held.setdefault(entitlement.account_id, []).append(entitlement)
    keys = {case.rule.get("product") or product_in(case.evidence) for case in cases} - {None}
    products = {product.key: product for product in Product.objects.filter(key__in=keys)}
    return [_work_out(case, held.get(case.account_id, []), products) for case in cases]


def _work_out(case: Case, held: Sequence[Entitlement], products: Mapping[str, Product]) -> Amount:
    rule = case.rule["rule"]
    base = next((entitlement for entitlement in held if entitlement.plan_id is not None), None)
    if rule == "fixed":
        return Amount(case.rule["amount_minor"], {"rule": rule, "words": "a fixed amount"})
    if rule == "share_of_mrr":
        mrr = sum(entitlement.mrr_minor for entitlement in held)
        if not mrr:
            return _unknown(rule, "the account has no MRR on record")
        percent = case.rule["percent"]
        return Amount(mrr * percent // 100, {"rule": rule, "mrr_minor": mrr, "words": f"{percent} % of MRR"})
    if rule == "list_price":
        key = case.rule.get("product") or product_in(case.evidence)
        product = products.get(key or "")
        if product is None or product.list_price_minor is None:
            return _unknown(rule, "no product with a list price is known")
        return Amount(
            product.list_price_minor, {"rule": rule, "product": key, "words": f"list price of {product.name}"}
        )
    if rule == "next_plan":
        return _next_plan(base)
    if rule == "seats_over":
        return _seats_over(case, base)
    return _unknown(rule, "the playbook has no rule for the amount")


def _next_plan(base: Entitlement | None) -> Amount:
    if base is None or base.plan is None or base.plan.next_plan is None:
        return _unknown("next_plan", "no next plan is known")
    following = base.plan.next_plan
    before = base.plan.price_minor + base.plan.seat_price_minor * base.quantity
    after = following.price_minor + following.seat_price_minor * base.quantity
    if after < before:
        return _unknown("next_plan", f"{following.name} costs less than {base.plan.name}")
    return Amount(
        after - before,
        {
            "rule": "next_plan",
            "from": base.plan.key,
            "to": following.key,
            "seats": base.quantity,
            "words": f"{following.name} instead of {base.plan.name} for {base.quantity} seats",
        },
    )


def _seats_over(case: Case, base: Entitlement | None) -> Amount:
    if base is None or base.plan is None or not base.plan.seat_price_minor:
        return _unknown("seats_over", "no price of a seat is known")
    reading = _reading_in(case.evidence, case.rule["meters"])
    if reading is None:
        return _unknown("seats_over", f"the evidence holds no reading of {' or '.join(case.rule['meters'])}")
    meter, used, limit = reading
    target = case.rule.get("target_percent", 100)
    # Rounded up: the seats that bring use back to the target share of the limit, at least one.
    wanted = -(-used * 100 // (target * 1000))
    seats = max(wanted - limit // 1000, 1)
    discount = max(
        (
            (band["from_seats"], band["discount_percent"])
            for band in case.rule.get("bands", [])
            if seats >= band["from_seats"]
        ),
        default=(0, 0),
    )[1]
    price = base.plan.seat_price_minor
    return Amount(
        seats * price * (100 - discount) // 100,
        {
            "rule": "seats_over",
            "meter": meter,
            "seats": seats,
            "seat_price_minor": price,
            "discount_percent": discount,
            "words": f"{seats} more {'seat brings' if seats == 1 else 'seats bring'} use to {target} % of the limit",
        },
    )


def _reading_in(evidence: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> tuple[str, int, int] | None:
    """(meter, used, limit) in thousandths: of the first wanted meter above its limit, else of the first with a reading.

    A trigger holds if any of its meters does, so the first one need not be the one that is over.
    """
    readings = []
    for meter in wanted:
        for item in evidence:
            meters = item["settings"].get("meters", [])
            if meter in meters:
                index = meters.index(meter)
                used, limit = item["found"].get(f"used{index}"), item["found"].get(f"limit{index}")
                if used is not None and limit:
                    readings.append((meter, used, limit))
    above = (reading for reading in readings if reading[1] > reading[2])
    return next(above, readings[0] if readings else None)


def _unknown(rule: str, why: str) -> Amount:
    return Amount(None, {"rule": rule, "words": f"unknown: {why}"})
