"""What customers hold and pay: entitlements, and the ledger that says how they came to it.

Billing tells once a week and before each run, with the days from which things hold. The books also know how the
vendor does, which steers how ready customers are to buy: a year's growth comes out about the same for every seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from csplaybooks.accounts.acts import (
    NewEntitlement,
    NewMovement,
    end_entitlements,
    record_movements,
    set_entitlements,
)
from csplaybooks.accounts.models import Movement
from csplaybooks.conf import company_time_zone
from csplaybooks.playbooks.demo.customers import Customer
from csplaybooks.playbooks.demo.seasons import appetite_between
from csplaybooks.playbooks.demo.vendor import Vendor
from csplaybooks.playbooks.models import Credit, Play

SOURCE = "billing"

#: By which share of what they paid at first those who paid grow in a year, before what is lost.
_GROWTH = 0.2
#: How far from that path nobody wants to buy any more, or everybody.
_LEEWAY = 0.03


@dataclass
class _Account:
    """What one customer pays now and paid when the year began, by subscription; minor units a month."""

    lines: dict[str, int] = field(default_factory=dict)
    opening: int = 0

    @property
    def mrr(self) -> int:
        return sum(self.lines.values())


class Books:
    """Holdings and ledger lines are collected, and written by `flush`, in the order in which they came."""

    def __init__(self, vendor: Vendor, start: datetime) -> None:
        self._vendor = vendor
        self._products = {product.key: product for product in vendor.products}
        self._accounts: dict[int, _Account] = {}
        self._entitlements: list[NewEntitlement] = []
        self._movements: list[tuple[NewMovement, Play | None]] = []
        self._ids = 0
        self._opened_at = start

    def hold(
        self, customer: Customer, at: datetime, *, motion: str = "", note: str = "", play: Play | None = None
    ) -> int:
        """The customer holds from `at` on what it says it does; answers by how much it pays more, in minor units.

        `motion` is named by lines that grow; `play` is what won them.
        """
        account = self._accounts.setdefault(customer.account_id, _Account())
        before = account.mrr
        self._line(
            customer,
            NewEntitlement(
                account_id=customer.account_id,
                subscription=f"{customer.external_id}-base",
                product_id=self._vendor.base.pk,
                plan_id=self._vendor.plans[customer.plan].pk,
                quantity=customer.seats,
                mrr_minor=customer.base_mrr_minor,
                term_months=customer.term_months,
                valid_from=at,
            ),
            at,
            (motion, note, play),
        )
        for key in customer.products:
            self._line(
                customer,
                NewEntitlement(
                    account_id=customer.account_id,
                    subscription=f"{customer.external_id}-{key}",
                    product_id=self._products[key].pk,
                    mrr_minor=self._products[key].list_price_minor,
                    term_months=customer.term_months,
                    valid_from=at,
                ),
                at,
                (motion, note, play),
            )
        return account.mrr - before

    def end(self, customer: Customer, at: datetime, *, note: str) -> None:
        """Everything that the customer holds ends at `at`. Writes at once."""
        self.flush(at)
        account = self._accounts[customer.account_id]
        end_entitlements(
            lines=[(customer.account_id, subscription) for subscription in account.lines],
            effective_at=at,
            now=at,
            actor=None,
        )
        for subscription, mrr in account.lines.items():
            self._move(customer.account_id, subscription, -mrr, at, note=note)
        account.lines.clear()
        self.flush(at)

    def flush(self, now: datetime) -> None:
        """Write what was collected, and credit what was won to the plays that won it."""
        if self._entitlements:
            set_entitlements(items=self._entitlements, now=now, actor=None)
        if self._movements:
            record_movements(items=[item for item, _ in self._movements], now=now, actor=None)
            self._credit({item.external_id: play for item, play in self._movements if play is not None}, now)
        self._entitlements, self._movements = [], []

    def open_year(self, at: datetime) -> None:
        """From here on growth is counted against what is paid now."""
        self._opened_at = at
        for account in self._accounts.values():
            account.opening = account.mrr

    def lead(self, at: datetime) -> float:
        """By how much growth is ahead of its path, as a share of what was paid when the year began."""
        opening = sum(account.opening for account in self._accounts.values())
        if not opening:
            return 0.0
        grown = sum(max(account.mrr - account.opening, 0) for account in self._accounts.values() if account.opening)
        return grown / opening - _GROWTH * appetite_between(self._opened_at.date(), at.date())

    def mood(self, at: datetime) -> float:
        """How ready customers are to buy: 1 is the usual, 0 is not at all."""
        return min(max(1 - self.lead(at) / _LEEWAY, 0.0), 2.0)

    def _line(self, customer: Customer, item: NewEntitlement, at: datetime, why: tuple[str, str, Play | None]) -> None:
        lines = self._accounts[customer.account_id].lines
        before = lines.get(item.subscription)
        amount = item.mrr_minor - (before or 0)
        if before is not None and not amount:
            return
        lines[item.subscription] = item.mrr_minor
        self._entitlements.append(item)
        motion, note, play = why
        self._move(
            customer.account_id,
            item.subscription,
            amount,
            at,
            product_id=item.product_id,
            motion=motion if amount > 0 else "",
            note=note,
            play=play if amount > 0 else None,
        )

    def _move(
        self, account_id: int, subscription: str, amount: int, at: datetime, *, play: Play | None = None, **told: Any
    ) -> None:
        self._ids += 1
        item = NewMovement(
            account_id=account_id,
            source=SOURCE,
            external_id=f"invoice-{self._ids}",
            subscription=subscription,
            amount_minor=amount,
            effective_on=at.astimezone(company_time_zone()).date(),
            **told,
        )
        self._movements.append((item, play))

    def _credit(self, plays: dict[str, Play], now: datetime) -> None:
        lines: Iterable[Movement] = Movement.objects.filter(source=SOURCE, external_id__in=plays).order_by("pk")
        Credit.objects.bulk_create(
            [
                Credit(
                    play=(play := plays[line.external_id]),
                    movement=line,
                    amount_minor=line.amount_minor,
                    credited_at=now,
                    credited_by=play.owner.user if play.owner else None,
                )
                for line in (lines if plays else ())
            ]
        )
