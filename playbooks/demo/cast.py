"""Who is in the sample company: a few customers with a name to look up, and many more by their share.

What is lost to churn and to shrinking is planned here, by number of customers and by revenue, so that retention comes
out as a healthy vendor's does, whatever the lot says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import TypeVar

from csplaybooks.accounts.models import Lifecycle, Segment
from csplaybooks.playbooks.demo.customers import SAMPLE_ID, SAMPLE_NAME, Customer, Plot
from csplaybooks.playbooks.demo.names import companies, slug
from csplaybooks.playbooks.demo.seasons import DAY, WEEK, YEAR, appetite, at_work
from csplaybooks.playbooks.demo.vendor import PLANS

Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Kind:
    """What customers of a segment have in common."""

    of_a_hundred: int
    seats: tuple[int, int]
    plans: tuple[int, ...]
    signals_a_week: float


KINDS = {
    Segment.SMALL: Kind(50, (6, 26), (0, 0, 0, 1), 2.5),
    Segment.MID_MARKET: Kind(38, (30, 130), (1, 1, 2), 6.4),
    Segment.ENTERPRISE: Kind(12, (120, 380), (2, 2, 3), 13.0),
}
#: Shares of a hundred.
_REGIONS = {"emea": 46, "americas": 36, "apac": 18}
_OLD = {Plot.STEADY: 54, Plot.GROWER: 32, Plot.CLIMBER: 7, Plot.SEASONAL: 7}
_NEW = {Plot.STEADY: 30, Plot.GROWER: 36, Plot.CLIMBER: 12, Plot.STUCK: 8, Plot.TRIER: 14}
#: How many of a hundred come during the story.
_NEWCOMERS = 31
#: What is lost in a year: customers, their share of the revenue, and the share of revenue lost by those who stay.
#: Planned on the base product as it is at the start; they hold more by then, so less shows than stands here.
_CHURN_LOGOS, _CHURN, _SHRINKING = 0.08, 0.06, 0.078


@dataclass(frozen=True)
class Script:
    """A customer with a name to look up, and a story of its own; moments in days before the end."""

    name: str
    segment: Segment
    industry: str
    region: str
    plot: Plot
    plan: int
    seats: int
    joins: int | None = None
    shrinks: int | None = None
    shrinks_by: float | None = None
    churns: int | None = None
    returns: int | None = None


SCRIPTS = (
    Script("Hartmann Logistik", Segment.MID_MARKET, "logistics", "emea", Plot.CLIMBER, 1, 70),
    Script("Tidewater Freight", Segment.MID_MARKET, "logistics", "americas", Plot.STUCK, 1, 48, joins=88),
    Script("Bellwether Insurance", Segment.MID_MARKET, "finance", "emea", Plot.LEAVER, 1, 84, churns=125),
    Script("Nordlicht Energie", Segment.MID_MARKET, "energy", "emea", Plot.RETURNER, 1, 60, churns=470, returns=168),
    Script("Okafor Health", Segment.MID_MARKET, "healthcare", "apac", Plot.CLIMBER, 1, 36, joins=480),
    Script("Lumen Studios", Segment.MID_MARKET, "media", "americas", Plot.FADER, 2, 52, shrinks=96),
    Script("Quartz Robotics", Segment.ENTERPRISE, "manufacturing", "americas", Plot.GROWER, 2, 190),
    Script("Saffron Retail", Segment.ENTERPRISE, "consumer", "emea", Plot.SEASONAL, 2, 240),
)


def make_cast(random: Random, count: int, *, start: datetime, now: datetime) -> list[Customer]:
    """The `count` customers of a story from `start` to `now`, the sample account first; nothing is written."""
    scripts = SCRIPTS[: count - 1]
    scripted = [_scripted(random, script, start, now) for script in scripts]
    others = count - 1 - len(scripts)
    segments = _by_share(random, {segment: kind.of_a_hundred for segment, kind in KINDS.items()}, others)
    is_new = _by_share(random, {True: _NEWCOMERS, False: 100 - _NEWCOMERS}, others)
    names = companies(random, others, taken={script.name for script in SCRIPTS})
    extras = [
        _extra(random, name, industry, segment, start, now, joins=joins)
        for (name, industry), segment, joins in zip(names, segments, is_new, strict=True)
    ]
    old = [customer for customer in (*scripted, *extras) if customer.joins_at is None]
    _plan_losses(random, old, start, now - YEAR, story=start)
    _plan_losses(random, old, now - YEAR, now - 3 * WEEK, story=start)
    cast = [_sample(start, now), *scripted, *extras]
    for customer in cast:
        if customer.customer_since is not None:
            customer.renewal_on = next_renewal(customer.customer_since.date(), after=start.date())
    return cast


def _by_share(random: Random, shares: dict[Choice, int], count: int) -> list[Choice]:
    """`count` choices in mixed order, each as often as its share of all says."""
    total = sum(shares.values())
    places = [(place + 0.5) / count * total for place in range(count)]
    chosen: list[Choice] = []
    for place in places:
        for choice, share in shares.items():
            if place < share:
                chosen.append(choice)
                break
            place -= share
    random.shuffle(chosen)
    return chosen


def _sample(start: datetime, now: datetime) -> Customer:
    since = (start - timedelta(days=203)).replace(hour=10)
    return Customer(
        name=SAMPLE_NAME,
        external_id=SAMPLE_ID,
        segment=Segment.MID_MARKET,
        industry="manufacturing",
        region="emea",
        plot=Plot.SAMPLE,
        plan=1,
        seats=60,
        people=45,
        api_share=0.52,
        storage_share=0.41,
        health=86,
        pace=6,
        phase=(now - start - timedelta(hours=6)) % WEEK,
        customer_since=since,
    )


def _new_customer(
    random: Random, name: str, industry: str, segment: Segment, region: str, plot: Plot, plan: int, seats: int
) -> Customer:
    return Customer(
        name=name,
        external_id=slug(name),
        segment=segment,
        industry=industry,
        region=region,
        plot=plot,
        plan=plan,
        seats=seats,
        people=seats * random.uniform(0.45, 0.75),
        api_share=random.uniform(0.15, 0.62),
        storage_share=random.uniform(0.15, 0.5),
        health=min(max(random.gauss(77, 10), 45), 97),
        pace=KINDS[segment].signals_a_week * random.uniform(0.6, 1.4),
        phase=timedelta(seconds=random.randrange(7 * 86_400)),
        term_months=random.choice((12, 24, 36)) if segment == Segment.ENTERPRISE else 12,
    )


def _scripted(random: Random, script: Script, start: datetime, now: datetime) -> Customer:
    customer = _new_customer(
        random, script.name, script.industry, script.segment, script.region, script.plot, script.plan, script.seats
    )
    if script.joins is not None:
        _joins(random, customer, now - script.joins * DAY, trial=21 * DAY)
    else:
        customer.customer_since = _long_before(random, start)
    if script.shrinks is not None:
        customer.shrinks_at = _renews_at(random, customer, start, now - script.shrinks * DAY)
        customer.shrinks_by = script.shrinks_by
    if script.churns is not None:
        customer.churns_at = _renews_at(random, customer, start, now - script.churns * DAY)
    if script.returns is not None:
        customer.returns_at = at_work(random, (now - script.returns * DAY).date())
    return customer


def _extra(
    random: Random, name: str, industry: str, segment: Segment, start: datetime, now: datetime, *, joins: bool
) -> Customer:
    kind = KINDS[segment]
    plots = _NEW if joins else _OLD
    (region,) = random.choices(list(_REGIONS), weights=list(_REGIONS.values()))
    (plot,) = random.choices(list(plots), weights=list(plots.values()))
    customer = _new_customer(
        random, name, industry, segment, region, plot, random.choice(kind.plans), random.randint(*kind.seats)
    )
    if joins:
        days = range(10, (now - start).days - 5)
        weights = [appetite((now - day * DAY).date()) for day in days]
        (day,) = random.choices(days, weights=weights)
        _joins(random, customer, now - day * DAY, trial=random.randint(14, 30) * DAY)
    else:
        customer.customer_since = _long_before(random, start)
    return customer


def _long_before(random: Random, start: datetime) -> datetime:
    """When a customer of old has bought: more of them in recent years."""
    return at_work(random, (start - timedelta(days=round(random.triangular(40, 1300, 200)))).date())


def _joins(random: Random, customer: Customer, at: datetime, *, trial: timedelta) -> None:
    customer.joins_at = at_work(random, at.date())
    customer.buys_at = at_work(random, (at + trial).date()) if customer.plot != Plot.TRIER else None
    customer.lifecycle = Lifecycle.TRIAL
    customer.people = 2.0 if customer.segment == Segment.SMALL else 4.0
    if customer.plot == Plot.TRIER:
        customer.churns_at = at_work(random, (at + 30 * DAY).date())


def _renews_at(random: Random, customer: Customer, start: datetime, at: datetime) -> datetime:
    """A moment of the renewal in the month of `at`, for a customer who then bought some years before that day.

    `start` is when the story starts: it bought before that.
    """
    first = at.date().replace(day=1)
    if first <= (start + 7 * DAY).date():
        first = (first + 32 * DAY).replace(day=1)
    years = random.choice((1, 1, 2, 3))
    while first.replace(year=first.year - years) >= (start - 40 * DAY).date():
        years += 1
    customer.customer_since = at_work(random, first.replace(year=first.year - years))
    return at_work(random, first)


def next_renewal(since: date, *, after: date) -> date:
    """The first of the month in which who bought on `since` renews next after a day."""
    first = since.replace(day=1)
    years = max(after.year - first.year, 1)
    renewal = first.replace(year=first.year + years)
    return renewal if renewal > after else first.replace(year=first.year + years + 1)


def _plan_losses(
    random: Random, customers: Sequence[Customer], after: datetime, until: datetime, *, story: datetime
) -> None:
    """Say who leaves and who shrinks between two moments, by the yearly rates; scripted losses count.

    `story` is when the whole story starts.
    """
    years = (until - after) / YEAR
    paying = [c for c in customers if c.churns_at is None or c.churns_at > after]
    base = sum(customer.base_mrr_minor for customer in paying)
    gone = [c for c in paying if c.churns_at is not None and c.churns_at <= until]
    logos = round(len(paying) * _CHURN_LOGOS * years) - len(gone)
    churn = base * _CHURN * years - sum(customer.base_mrr_minor for customer in gone)
    shrunk = [c for c in paying if c.shrinks_at is not None and after < c.shrinks_at <= until]
    shrinking = base * _SHRINKING * years - sum(_loss(customer) for customer in shrunk)
    free = [c for c in paying if c.plot in (Plot.STEADY, Plot.GROWER) and c.churns_at is c.shrinks_at is None]
    free = [c for c in free if c.name not in {script.name for script in SCRIPTS}]
    random.shuffle(free)
    large = [c for c in free if c.segment != Segment.SMALL]
    small = [c for c in free if c.segment == Segment.SMALL]
    # Four of ten are large, as far as the revenue goes that the small leave over; there are enough small ones.
    few = round(logos * 0.4)
    if small:
        churn -= (logos - few) * sum(customer.base_mrr_minor for customer in small) / len(small)
    for customer in (*large, *small):
        is_large = customer.segment != Segment.SMALL
        if few > 0 and is_large and customer.base_mrr_minor <= churn * 0.6:
            few -= 1
            churn -= customer.base_mrr_minor
        elif is_large or logos <= 0:
            continue
        customer.plot = Plot.LEAVER
        customer.churns_at = churns_at = _renews_at(random, customer, story, _some_time(random, after, until))
        if is_large and random.random() < 0.6:
            # Fewer seats first.
            earlier = at_work(random, (churns_at - random.randint(100, 160) * DAY).date())
            if earlier > story:
                customer.shrinks_at, customer.shrinks_by = earlier, random.uniform(0.15, 0.3)
        logos -= 1
    for customer in (*large, *small):
        if customer.plot == Plot.LEAVER:
            continue
        customer.shrinks_by = None if customer.plan and random.random() < 0.2 else random.uniform(0.15, 0.34)
        if (loss := _loss(customer)) <= shrinking:
            customer.plot = Plot.FADER
            customer.shrinks_at = _renews_at(random, customer, story, _some_time(random, after, until))
            shrinking -= loss
        else:
            customer.shrinks_by = None


def _some_time(random: Random, after: datetime, until: datetime) -> datetime:
    """A moment between two, whose month begins between them as well."""
    return after + 31 * DAY + (until - after - 31 * DAY) * random.random()


def _loss(customer: Customer) -> int:
    """What a month's revenue falls by when the customer shrinks."""
    _, _, price, seat_price, _, _ = PLANS[customer.plan]
    if customer.shrinks_by is None:
        _, _, lower, lower_seat, _, _ = PLANS[customer.plan - 1]
        return price - lower + customer.seats * (seat_price - lower_seat)
    return round(customer.seats * customer.shrinks_by) * seat_price
