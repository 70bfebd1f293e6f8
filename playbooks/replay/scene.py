"""What stands before the first row: calendar, catalogue, playbooks, products and plans, and a small team."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.utils.text import slugify

from csplaybooks.accounts.models import Plan, Product, TeamMember
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.business_time import BusinessCalendar
from csplaybooks.playbooks.calendar_choice import calendar_value
from csplaybooks.playbooks.models import Calendar
from csplaybooks.playbooks.replay.overrides import publish_overrides
from csplaybooks.playbooks.replay.rules import Rules


@dataclass
class Scene:
    """The stage: ids of what all days need. `products` grows as the record names them, by their text in it."""

    platform: Product
    usage: Product
    plans: list[Plan]
    manager_id: int
    desk_id: int
    managers_of_success: list[int]
    executives: list[int]
    calendar: BusinessCalendar
    products: dict[str, Product] = field(default_factory=dict)

    def add_products(self, texts: Iterable[str], *, price_minor: int, now: datetime) -> None:
        """Put products into the catalogue that the record names for the first time; at most one query."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self.products]
        if fresh:
            made = Product.objects.bulk_create(
                Product(key=product_key(text), name=text[:200], list_price_minor=price_minor, updated_at=now)
                for text in fresh
            )
            self.products.update(zip(fresh, made, strict=True))


def product_key(text: str) -> str:
    """A key of the catalogue for a product as the record writes it; different for different texts."""
    if re.fullmatch(r"[a-z0-9_-]{1,80}", text):
        return f"product-{text}"
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"product-{slugify(text)[:60]}-{digest}"


@transaction.atomic
def set_scene(*, rules: Rules, now: datetime) -> Scene:
    """Set up an empty database for a replay that begins at `now`."""
    set_up(now=now, schedules=False)
    publish_overrides(now=now)
    platform, usage = Product.objects.bulk_create(
        [
            Product(key="platform", name="Platform", is_base=True, updated_at=now),
            Product(key="usage", name="Usage", list_price_minor=rules.prices.usage_block, updated_at=now),
        ]
    )
    plans: list[Plan] = []
    following: Plan | None = None
    for rank, (key, name, price, seat_price) in reversed(list(enumerate(rules.prices.plans, start=1))):
        following = Plan.objects.create(
            product=platform,
            key=key,
            name=name,
            rank=rank,
            price_minor=price,
            seat_price_minor=seat_price,
            next_plan=following,
            updated_at=now,
        )
        plans.insert(0, following)
    manager = TeamMember.objects.create(name="Manager", is_manager=True, takes_pool_work=False, updated_at=now)

    def members(label: str, count: int, **roles: bool) -> list[int]:
        made = TeamMember.objects.bulk_create(
            TeamMember(name=f"{label} {number}", manager=manager, updated_at=now, **roles)
            for number in range(1, count + 1)
        )
        return [member.pk for member in made]

    return Scene(
        platform=platform,
        usage=usage,
        plans=plans,
        manager_id=manager.pk,
        desk_id=members("Digital desk", 1, is_digital_desk=True, takes_pool_work=False)[0],
        managers_of_success=members("CSM", rules.customer_success_managers, is_customer_success_manager=True),
        executives=members("AE", rules.account_executives, is_account_executive=True),
        calendar=calendar_value(Calendar.objects.get(is_default=True)),
    )
