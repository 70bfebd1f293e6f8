"""How customers come to hold more: what is bought by which motion, and what is bought without anybody's doing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from random import Random

from csplaybooks.accounts.models import Motion
from csplaybooks.playbooks.demo.books import Books
from csplaybooks.playbooks.demo.customers import Customer, Plot
from csplaybooks.playbooks.demo.vendor import PLANS, Vendor

#: How likely somebody whose seats run out comes to buy some in a week, before csplaybooks and with it.
_COMES_ALONE, _COMES_BESIDE = 0.09, 0.015
#: This far behind its path, growth comes by itself.
_BEHIND = -0.012


def grow(random: Random, customer: Customer, motion: str, *, product: str | None = None, amount: int = 0) -> None:
    """Let the customer hold what this motion brings; books are told by whoever calls.

    `product` is what a cross-sell sells, `amount` what more usage costs a month, in minor units.
    """
    if motion == Motion.SEAT_EXPANSION:
        customer.seats = round(max(customer.people, customer.seats) * random.uniform(1.15, 1.35)) + 1
    elif motion == Motion.TIER_UPSELL and customer.plan + 1 < len(PLANS):
        *_, api_calls, storage = PLANS[customer.plan]
        *_, more_api_calls, more_storage = PLANS[customer.plan + 1]
        customer.api_share *= api_calls / more_api_calls
        customer.storage_share *= storage / more_storage
        customer.plan += 1
    elif motion == Motion.USAGE_GROWTH:
        customer.blocks *= 2
        customer.api_share /= 2
        customer.storage_share /= 2
        customer.extra_minor += amount
    elif motion == Motion.CROSS_SELL and product is not None and product not in customer.products:
        customer.products.append(product)


class Market:
    """Customers who come to buy by themselves: growth is not all plays."""

    def __init__(self, random: Random, vendor: Vendor, books: Books, customers: Sequence[Customer]) -> None:
        self._random = random
        self._vendor = vendor
        self._books = books
        self._customers = customers

    def week(self, at: datetime, *, in_use: bool) -> None:
        """Who comes in a week; fewer once csplaybooks is in use and asks first."""
        mood = self._books.mood(at)
        ready = [c for c in self._customers if c.is_paying and not c.is_sample and not c.fades(at) and c.health > 60]
        for customer in ready:
            if customer.occupancy > 0.88 and self._random.random() < mood * (_COMES_BESIDE if in_use else _COMES_ALONE):
                self._buy(customer, Motion.SEAT_EXPANSION, at)
        tries = 6
        while ready and tries and self._books.lead(at) < _BEHIND:
            tries -= 1
            customer = self._random.choice(ready)
            if customer.plot not in (Plot.FADER, Plot.LEAVER, Plot.RETURNER, Plot.STUCK):
                self._buy(customer, self._wish(customer), at)

    def _wish(self, customer: Customer) -> Motion:
        if customer.occupancy > 0.7:
            return Motion.SEAT_EXPANSION
        if customer.plan < 2 and self._random.random() < 0.3:
            return Motion.TIER_UPSELL
        return Motion.CROSS_SELL

    def _buy(self, customer: Customer, motion: Motion, at: datetime) -> None:
        missing = [product.key for product in self._vendor.products if product.key not in customer.products]
        product = self._random.choice(missing) if motion == Motion.CROSS_SELL and missing else None
        grow(self._random, customer, motion, product=product)
        self._books.hold(customer, at, motion=motion, note="Ordered by themselves")
