"""The customers of the sample company, and what their product tells about them: signals and readings, week by week."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from csplaybooks.accounts.models import Lifecycle, Segment
from csplaybooks.playbooks.demo.vendor import PLANS

#: The account that stands one gate hit short of a play.
SAMPLE_NAME, SAMPLE_ID = "Acme Foundry", "acme"

WEEK = timedelta(days=7)

#: Share of the customers, seats at the start (least and most), plan, signals a week.
_SEGMENTS: dict[Segment, tuple[int, tuple[int, int], tuple[int, ...], float]] = {
    Segment.SMALL: (50, (5, 25), (0, 0, 1), 2.3),
    Segment.MID_MARKET: (35, (30, 120), (1, 1, 2), 5.8),
    Segment.ENTERPRISE: (15, (150, 600), (2, 3), 11.5),
}
#: What people do all day, and how often of a hundred.
_EVERYDAY = {
    "login": 34,
    "feature_used": 39,
    "report_run": 18,
    "support_ticket": 5,
    "user_added": 2,
    "feature_gate_hit": 1,
    "prompt_dismissed": 1,
}
_FEATURES_USED = ("boards", "dashboards", "exports", "forms", "mobile", "search")
#: How likely a week is to bring one: somebody knocks on features of the next plan, or an admin adds a whole team.
_GATE_BURST, _TEAM_BURST = 0.05, 0.012
#: How long after an event its sender may send it a second time.
_RESENT_PER_THOUSAND = 2


@dataclass
class Customer:
    """One customer as it is at this point of the story; the database holds what was told of it."""

    name: str
    external_id: str
    segment: Segment
    plan: int
    seats: int
    #: How many people use the product, and by which factor they grow in a week.
    people: float
    growth: float
    #: Monthly API calls and storage as shares of what is included, and how many times the plan's they hold.
    api_share: float
    storage_share: float
    health: float
    pace: float
    #: When in its week this customer's readings are taken.
    phase: timedelta
    csm: Any = None
    ae: Any = None
    customer_since: datetime | None = None
    joins_at: datetime | None = None
    churns_at: datetime | None = None
    lifecycle: Lifecycle = Lifecycle.PAYING
    account_id: int = 0
    blocks: float = 1.0
    extra_minor: int = 0
    products: list[str] = field(default_factory=list)
    champions: list[int] = field(default_factory=list)

    @property
    def is_sample(self) -> bool:
        """Whether this is the account of the README, to which nothing happens."""
        return self.external_id == SAMPLE_ID

    @property
    def is_live(self) -> bool:
        """Whether it has an account and has not churned."""
        return bool(self.account_id) and self.lifecycle != Lifecycle.CHURNED

    @property
    def base_mrr_minor(self) -> int:
        """What it pays a month for the base product, in minor units."""
        _, _, price, seat_price, _, _ = PLANS[self.plan]
        return price + self.seats * seat_price + self.extra_minor

    @property
    def occupancy(self) -> float:
        """People for each licensed seat; above 1 somebody has none."""
        return self.people / self.seats


def make_customers(random: Random, names: Sequence[str], *, start: datetime, now: datetime) -> list[Customer]:
    """The customers of a story from `start` to `now`, the sample account first; nothing is written."""
    sample = Customer(
        name=SAMPLE_NAME,
        external_id=SAMPLE_ID,
        segment=Segment.MID_MARKET,
        plan=1,
        seats=60,
        people=45,
        growth=1,
        api_share=0.52,
        storage_share=0.41,
        health=86,
        pace=6,
        phase=(now - start - timedelta(hours=6)) % WEEK,
        customer_since=start - timedelta(days=200),
    )
    # The same shares of segments at any size, in mixed order.
    weights = [weight for weight, *_ in _SEGMENTS.values()]
    segments = random.choices(list(_SEGMENTS), weights=weights, k=len(names))
    return [
        sample,
        *(_make_customer(random, name, segment, start, now) for name, segment in zip(names, segments, strict=True)),
    ]


def _make_customer(random: Random, name: str, segment: Segment, start: datetime, now: datetime) -> Customer:
    _, (least, most), plans, pace = _SEGMENTS[segment]
    seats = random.randint(least, most)
    fast = random.random() < 0.12
    customer = Customer(
        name=name,
        external_id=name.lower().replace(" ", "-"),
        segment=segment,
        plan=random.choice(plans),
        seats=seats,
        people=seats * random.uniform(0.3, 0.72),
        growth=1 + max(random.gauss(0.011 if fast else 0.003, 0.003), -0.004),
        api_share=random.uniform(0.15, 0.6),
        storage_share=random.uniform(0.15, 0.55),
        health=min(max(random.gauss(74, 13), 25), 97),
        pace=pace * random.uniform(0.5, 1.5),
        phase=timedelta(seconds=random.randrange(7 * 86_400)),
        customer_since=start - timedelta(days=random.randint(30, 900)),
    )
    if random.random() < 0.12:
        customer.joins_at = start + (now - start) * random.uniform(0.02, 0.92)
        customer.customer_since = None
        customer.lifecycle = Lifecycle.TRIAL
    elif random.random() < 0.03:
        customer.churns_at = start + (now - start) * random.uniform(0.4, 0.98)
    return customer


class Telemetry:
    """What the product and its neighbours send about customers; ids are counted through the whole story."""

    def __init__(self, random: Random, gated: Sequence[Sequence[str]], *, start: datetime, now: datetime) -> None:
        self._random = random
        self._gated = gated
        self._start = start
        self._now = now
        self._signals = 0
        self._readings = 0

    def signals(self, customers: Sequence[Customer], after: datetime, until: datetime) -> list[dict[str, Any]]:
        """The items of signals over `(after, until]`, a few of them sent twice, one now and then of nobody we know."""
        items: list[dict[str, Any]] = []
        for customer in customers:
            items.extend(self._signals_of(customer, after, until))
        items.sort(key=lambda item: item["occurred_at"])
        resent = [item for item in items if self._random.random() * 1000 < _RESENT_PER_THOUSAND]
        if items and self._random.random() < 0.2:
            resent.append({**items[-1], "external_id": f"{items[-1]['external_id']}-x", "account": "old-sandbox"})
        return items + resent

    def readings(self, customers: Sequence[Customer], after: datetime, until: datetime) -> list[dict[str, Any]]:
        """The items of readings over `(after, until]`; with each weekly slot a customer moves on by a week."""
        items: list[dict[str, Any]] = []
        for customer in customers:
            for week, at in self._slots(customer, after, until):
                self._move_on(customer)
                items.extend(self._readings_of(customer, week, at))
        items.sort(key=lambda item: item["occurred_at"])
        return items

    def _slots(self, customer: Customer, after: datetime, until: datetime) -> Iterator[tuple[int, datetime]]:
        week = math.floor((after - self._start - customer.phase) / WEEK) + 1
        while (at := self._start + customer.phase + week * WEEK) <= until:
            yield week, at
            week += 1

    def _move_on(self, customer: Customer) -> None:
        if customer.is_sample:
            return
        random = self._random
        customer.people = max(customer.people * customer.growth * random.gauss(1, 0.008), 2)
        customer.api_share = max(customer.api_share * random.gauss(1.009, 0.02), 0.02)
        customer.storage_share = max(customer.storage_share * random.gauss(1.008, 0.008), 0.02)
        customer.health = min(max(customer.health + random.gauss(0, 2), 20), 99)

    def _readings_of(self, customer: Customer, week: int, at: datetime) -> Iterator[dict[str, Any]]:
        *_, api_calls, storage = PLANS[customer.plan]
        people = round(customer.people)
        yield self._reading(customer, "seats", min(people, customer.seats), customer.seats, at)
        yield self._reading(customer, "active_users", people, customer.seats, at)
        # The sample account is looked at every week, so that all that is known of it is fresh.
        if week % 2 == 0 or customer.is_sample:
            yield self._reading(customer, "health", round(customer.health), None, at)
        for turn, meter, share, included in (
            (1, "api_calls", customer.api_share, api_calls),
            (3, "storage", customer.storage_share, storage),
        ):
            if week % 4 == turn or customer.is_sample:
                limit = round(included * customer.blocks)
                yield self._reading(customer, meter, round(limit * share, 1), limit, at)
        if week % 13 == 5:
            yield self._reading(customer, "nps", round(customer.health - 45), None, at)

    def _reading(self, customer: Customer, meter: str, used: float, limit: int | None, at: datetime) -> dict[str, Any]:
        self._readings += 1
        return {
            "source": "crm" if meter in ("health", "nps") else "product",
            "external_id": f"reading-{self._readings}",
            "account": customer.external_id,
            "meter": meter,
            "used": used,
            "limit": limit,
            "occurred_at": at,
        }

    def _signals_of(self, customer: Customer, after: datetime, until: datetime) -> Iterator[dict[str, Any]]:
        random = self._random
        weeks = (until - after) / WEEK
        mean = customer.pace * weeks
        for _ in range(max(round(random.gauss(mean, math.sqrt(mean))), 0)):
            at = after + (until - after) * random.uniform(0.001, 1)
            (kind,) = random.choices(list(_EVERYDAY), weights=list(_EVERYDAY.values()))
            if customer.is_sample and kind in ("user_added", "feature_gate_hit", "prompt_dismissed"):
                kind = "login"
            yield self._signal(customer, kind, at)
        if customer.is_sample:
            # One hit short of a play, for most of a week to come.
            for days, actor in ((2, 4), (1, 17)):
                if after < (at := self._now - timedelta(days=days)) <= until:
                    yield self._signal(customer, "feature_gate_hit", at, actor=actor)
            return
        if self._gated[customer.plan] and random.random() < _GATE_BURST * weeks:
            for _ in range(random.randint(3, 5)):
                yield self._signal(customer, "feature_gate_hit", self._late(after, until))
        if random.random() < _TEAM_BURST * weeks * (3 if customer.growth > 1.006 else 1):
            for _ in range(random.randint(3, 6)):
                yield self._signal(customer, "user_added", self._late(after, until), by_admin=True)
        if random.random() < 0.004 * weeks:
            yield self._signal(customer, "funding_announced", self._late(after, until))

    def _late(self, after: datetime, until: datetime) -> datetime:
        """A moment in the last three days before `until`."""
        return max(until - timedelta(seconds=self._random.randrange(3 * 86_400)), after + timedelta(seconds=1))

    def _signal(
        self, customer: Customer, kind: str, at: datetime, *, actor: int | None = None, by_admin: bool = False
    ) -> dict[str, Any]:
        random = self._random
        self._signals += 1
        properties: dict[str, Any] = {}
        if kind == "feature_gate_hit" and self._gated[customer.plan]:
            properties["feature"] = random.choice(self._gated[customer.plan])
        elif kind == "feature_used":
            properties["feature"] = random.choice(_FEATURES_USED)
        elif kind == "user_added":
            properties["by"] = "admin" if by_admin else "invite"
        return {
            "source": "news" if kind == "funding_announced" else "product",
            "external_id": f"signal-{self._signals}",
            "account": customer.external_id,
            "type": kind,
            "occurred_at": at.replace(microsecond=0),
            "actor": f"u-{random.randrange(max(round(customer.people), 1)) + 1 if actor is None else actor}",
            "properties": properties,
        }
