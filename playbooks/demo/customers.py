"""A customer of the sample company, as it is at this point of the story, and how it moves on from week to week."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from random import Random
from typing import Any

from csplaybooks.accounts.models import Lifecycle, Segment
from csplaybooks.playbooks.demo.seasons import WEEK, trade_peak
from csplaybooks.playbooks.demo.vendor import PLANS

#: The account that stands one gate hit short of a play; nothing else happens to it.
SAMPLE_NAME, SAMPLE_ID = "Acme Foundry", "acme"

#: How long before it shrinks or leaves it shows.
FADES = 22 * WEEK
#: How likely a week is one in which a system of theirs is connected.
_CONNECTED = 0.002
#: How long a new customer's people take to come in.
_RAMP = 9 * WEEK


class Plot(Enum):
    """What becomes of a customer."""

    SAMPLE = "stands still, for the README"
    STEADY = "stays about as it is"
    GROWER = "grows by a quarter in a year"
    CLIMBER = "doubles"
    SEASONAL = "has most people at work before the end of the year"
    STUCK = "bought, and does not get started"
    FADER = "loses people, and pays less in the end"
    LEAVER = "loses people, and leaves"
    RETURNER = "leaves, and comes back"
    TRIER = "tries it, and does not buy"


#: By how much people grow in a week, and where the health of a customer tends to.
_GROWTH = {
    Plot.STEADY: (0.0006, 79),
    Plot.GROWER: (0.0045, 82),
    Plot.CLIMBER: (0.0125, 86),
    Plot.SEASONAL: (0.0015, 78),
    Plot.STUCK: (0.0, 48),
    Plot.FADER: (0.0004, 74),
    Plot.LEAVER: (0.0002, 72),
    Plot.RETURNER: (0.003, 76),
    Plot.TRIER: (0.0, 60),
}


@dataclass
class Customer:
    """One customer as it is at this point of the story; the database holds what was told of it."""

    name: str
    external_id: str
    segment: Segment
    industry: str
    region: str
    plot: Plot
    plan: int
    seats: int
    #: How many people use the product; more than the seats when some share one.
    people: float
    #: Monthly API calls and storage as shares of what is included, and how many times the plan's they hold.
    api_share: float
    storage_share: float
    health: float
    #: Signals in a usual week.
    pace: float
    #: When in its week this customer's readings are taken.
    phase: timedelta
    csm: Any = None
    ae: Any = None
    #: Since when it pays; None while it does not.
    customer_since: datetime | None = None
    #: For those who come during the story: when they start to try, and when they buy.
    joins_at: datetime | None = None
    buys_at: datetime | None = None
    #: When it pays less, and by which share fewer seats it has then (None: the plan below).
    shrinks_at: datetime | None = None
    shrinks_by: float | None = None
    churns_at: datetime | None = None
    returns_at: datetime | None = None
    #: Whether somebody who came during the story got going.
    is_activated: bool = False
    renewal_on: date | None = None
    term_months: int = 12
    lifecycle: Lifecycle = Lifecycle.PAYING
    account_id: int = 0
    blocks: float = 1.0
    extra_minor: int = 0
    products: list[str] = field(default_factory=list)
    #: Features of the plan that its people have come to use, beside those that everybody uses.
    taken_up: list[str] = field(default_factory=list)
    #: The people we know there, by id, in the order we met them; who left is not among them.
    champions: list[int] = field(default_factory=list)

    @property
    def is_sample(self) -> bool:
        """Whether this is the account of the README, to which nothing happens."""
        return self.plot == Plot.SAMPLE

    @property
    def is_live(self) -> bool:
        """Whether it has an account and has not churned."""
        return bool(self.account_id) and self.lifecycle != Lifecycle.CHURNED

    @property
    def is_paying(self) -> bool:
        """Whether it has an account and pays."""
        return bool(self.account_id) and self.lifecycle == Lifecycle.PAYING

    @property
    def base_mrr_minor(self) -> int:
        """What it pays a month for the base product, in minor units."""
        _, _, price, seat_price, _, _ = PLANS[self.plan]
        return price + self.seats * seat_price + self.extra_minor

    @property
    def occupancy(self) -> float:
        """People for each licensed seat; above 1 somebody has none."""
        return self.people / self.seats

    def fades(self, at: datetime) -> bool:
        """Whether it is on its way down: some months before it shrinks or leaves, and in between."""
        ends = [moment for moment in (self.shrinks_at, self.churns_at) if moment is not None]
        return any(moment - FADES < at <= moment for moment in ends)

    def move_on(self, random: Random, at: datetime) -> None:
        """Live through the week that ends at `at`."""
        if self.is_sample:
            return
        growth, tends_to = _GROWTH[self.plot]
        if self.fades(at):
            growth, tends_to = -0.016, 38 if self.plot in (Plot.LEAVER, Plot.RETURNER) else 58
        if self.joins_at is not None and at < self.joins_at + _RAMP:
            # People come in week by week, until two thirds of the seats are taken; where it is stuck, a fifth.
            full = self.seats * (0.2 if self.plot in (Plot.STUCK, Plot.TRIER) else 0.68)
            self.people += (full - self.people) * 0.3
        elif self.plot == Plot.STEADY and self.occupancy > 0.86:
            growth = -0.004
        self.people = max(self.people * (1 + growth) * random.gauss(1, 0.008), 2)
        self.api_share = min(max(self.api_share * (1 + growth) * random.gauss(1.005, 0.02), 0.02), 1.3)
        if random.random() < _CONNECTED:
            # A system of theirs was connected.
            self.api_share = min(self.api_share * random.uniform(1.7, 2.4), 1.1)
        self.storage_share = min(max(self.storage_share * random.gauss(1.006, 0.008), 0.02), 1.2)
        self.health = min(max(self.health + (tends_to - self.health) * 0.07 + random.gauss(0, 2), 15), 99)

    def active(self, at: datetime) -> int:
        """How many people are active around `at`: the season shows."""
        return round(self.people * (trade_peak(at.date()) if self.plot == Plot.SEASONAL else 1))
