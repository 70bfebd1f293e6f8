"""What customers hold and pay in a replay: collected over a day, written by the acts of the room `accounts`."""

from __future__ import annotations

from datetime import date, datetime

from csplaybooks.accounts.acts import NewEntitlement, end_entitlements, set_entitlements
from csplaybooks.accounts.acts.ledger import NewMovement, record_movements
from csplaybooks.accounts.models import Motion
from csplaybooks.playbooks.replay.customers import Customer
from csplaybooks.playbooks.replay.record import SOURCE
from csplaybooks.playbooks.replay.rules import Rules
from csplaybooks.playbooks.replay.scene import Scene


class Billing:
    """The day's entitlements and ledger lines. `flush` writes them, in the order in which they came."""

    def __init__(self, scene: Scene, rules: Rules) -> None:
        self._scene = scene
        self._rules = rules
        self._entitlements: list[NewEntitlement] = []
        self._ended: list[tuple[int, str]] = []
        self._movements: list[NewMovement] = []
        self._lines = 0

    def product(self, customer: Customer, text: str, *, at: datetime, is_first: bool, is_new: bool) -> None:
        """The customer holds a product from its first row in it; the first product comes with the platform.

        `is_new` says that it never held it before: then it is a cross-sell.
        """
        product = self._scene.products[text]
        mrr = 0 if is_first else self._rules.prices.product
        subscription = f"product-{product.pk}"
        self._entitlements.append(
            NewEntitlement(
                account_id=customer.pk,
                subscription=subscription,
                product_id=product.pk,
                mrr_minor=mrr,
                valid_from=at,
            )
        )
        motion = Motion.CROSS_SELL if is_new and not is_first else ""
        self._move(customer, subscription, mrr, at.date(), product.pk, motion, f"first row in {text}"[:500])

    def platform(self, customer: Customer, *, now: datetime, motion: str, note: str) -> None:
        """The customer's plan and seats as they stand now; a shrinking line names no motion."""
        plan = self._scene.plans[customer.plan]
        seats = customer.licence or 0
        mrr = plan.price_minor + plan.seat_price_minor * seats
        self._entitlements.append(
            NewEntitlement(
                account_id=customer.pk,
                subscription="platform",
                product_id=self._scene.platform.pk,
                plan_id=plan.pk,
                quantity=seats,
                mrr_minor=mrr,
                valid_from=now,
            )
        )
        self._move(customer, "platform", mrr, now.date(), self._scene.platform.pk, motion, note)

    def usage(self, customer: Customer, *, now: datetime, motion: str, note: str) -> None:
        """The customer's included usage as it stands now."""
        blocks = (customer.allowance or 0) // (self._rules.licence.step * 10)
        mrr = blocks * self._rules.prices.usage_block
        self._entitlements.append(
            NewEntitlement(
                account_id=customer.pk,
                subscription="usage",
                product_id=self._scene.usage.pk,
                quantity=blocks,
                mrr_minor=mrr,
                valid_from=now,
            )
        )
        self._move(customer, "usage", mrr, now.date(), self._scene.usage.pk, motion, note)

    def end(self, customer: Customer, *, now: datetime) -> None:
        """Everything that the customer holds ends."""
        for subscription in list(customer.mrr):
            self._ended.append((customer.pk, subscription))
            self._move(customer, subscription, 0, now.date(), None, "", "did not renew")
        customer.mrr.clear()

    def _move(
        self, customer: Customer, subscription: str, mrr: int, day: date, product_id: int | None, motion: str, note: str
    ) -> None:
        amount = mrr - customer.mrr.get(subscription, 0)
        customer.mrr[subscription] = mrr
        if not amount:
            return
        self._lines += 1
        self._movements.append(
            NewMovement(
                account_id=customer.pk,
                source=SOURCE,
                external_id=f"line-{self._lines}",
                subscription=subscription,
                product_id=product_id,
                amount_minor=amount,
                motion=motion if amount > 0 else "",
                effective_on=day,
                note=note,
            )
        )

    def flush(self, *, now: datetime) -> None:
        """Write what was collected."""
        if self._entitlements:
            set_entitlements(items=self._entitlements, now=now, actor=None)
        if self._ended:
            end_entitlements(lines=self._ended, effective_at=now, now=now, actor=None)
        if self._movements:
            record_movements(items=self._movements, now=now, actor=None)
        self._entitlements, self._ended, self._movements = [], [], []
