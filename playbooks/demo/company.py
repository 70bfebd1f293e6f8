"""The sample company: a year of a small vendor and its customers, told day by day through the product's own acts.

The first nine months are history that was brought along. Then csplaybooks is switched on: triggers run, and people
work what comes out. The story ends at `now`, just after a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from django.contrib.auth import get_user_model
from django.db import transaction

from csplaybooks.accounts.acts import record_changes
from csplaybooks.accounts.models import Account, Change, Product, TeamMember
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.demo.customers import WEEK, Customer, Telemetry, make_customers
from csplaybooks.playbooks.demo.names import company_names
from csplaybooks.playbooks.demo.relations import Relations
from csplaybooks.playbooks.demo.vendor import USERNAMES, make_vendor
from csplaybooks.playbooks.demo.work import Work
from csplaybooks.playbooks.pipeline import sweep
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.intake import take_in_readings, take_in_signals

SEED = 20
ACCOUNTS = 200

#: How long the story is, and how long before its end csplaybooks is switched on.
_STORY = timedelta(days=365)
_IN_USE = timedelta(days=91)
#: Triggers run on Mondays at this hour in UTC, and in the last weeks on Thursdays too; people work some hours later.
#: A real site runs all day long; so few days tell the same story in a few seconds.
_MONDAY, _THURSDAY = 0, 3
_RUN_HOUR = 8
_OFTEN = timedelta(days=15)
_WORK_AFTER = timedelta(hours=6)
#: The change that says of a database that its accounts are made up.
_MARK = "sample_company"
#: How many items one intake brings at most; the default of `INTAKE_MAX_ITEMS`.
_BATCH = 5000


class NotTheDemo(Exception):
    """The database holds what the sample company would be mixed up with."""


@dataclass(frozen=True)
class Told:
    """What a story came to."""

    accounts: int
    signals: int
    readings: int


def made_at() -> datetime | None:
    """When the sample company in this database was made; None where there is room for one.

    Raises NotTheDemo where there are accounts, products, people or sign-ins in its place.
    """
    marks = Change.objects.filter(kind=_MARK, account__isnull=True).order_by("-pk")
    made: datetime | None = marks.values_list("recorded_at", flat=True).first()
    if made is None:
        _require_empty()
    return made


def make_company(*, now: datetime, seed: int = SEED, accounts: int = ACCOUNTS) -> Told:
    """Make the sample company, all of it or nothing; the same for the same `now`, `seed` and number of `accounts`.

    `now` is aware of its zone. Pokes nobody. Raises NotTheDemo where there is no room for it.
    """
    with pokes_silenced(), transaction.atomic():
        _require_empty()
        story = _Story(Random(seed), accounts, now)  # noqa: S311 - made-up people need no secrecy
        for until in story.months_before():
            story.live(until)
        for day in story.working_days():
            story.live(day)
            story.run(day)
            story.work_day(day + _WORK_AFTER)
        story.live(now)
        record_changes(kind=_MARK, account_ids=[None], now=now)
        story.run(now)
        set_up(now=now)
        return Told(accounts, story.signals, story.readings)


def _require_empty() -> None:
    """Raise NotTheDemo where somebody else's work would be mixed up with made-up things, or their password changed."""
    for model in (Account, TeamMember, Product):
        if model.objects.exists():
            raise NotTheDemo(f"this database holds {model._meta.verbose_name_plural} that are not the sample company's")
    if get_user_model().objects.filter(username__in=USERNAMES).exists():
        raise NotTheDemo("this database holds sign-ins by the names of the sample company's people")


class _Story:
    """The year, from its first to its last moment."""

    def __init__(self, random: Random, accounts: int, now: datetime) -> None:
        self.start = now - _STORY
        self.now = now
        self.signals = 0
        self.readings = 0
        self.told_until = self.start
        self._days = 0
        set_up(now=self.start, schedules=False)
        vendor = make_vendor(start=self.start, now=now)
        names = company_names(random, accounts - 1)
        self._customers = make_customers(random, names, start=self.start, now=now)
        self._telemetry = Telemetry(random, vendor.gated, start=self.start, now=now)
        self._relations = Relations(random, vendor, start=self.start, now=now)
        self._work = Work(random, vendor, self._relations, self._customers)
        self._random = random
        self._relations.welcome([c for c in self._customers if c.joins_at is None], self.start)

    def months_before(self) -> Iterator[datetime]:
        """The months before csplaybooks, in steps of two weeks."""
        while self.told_until + 2 * WEEK <= self.now - _IN_USE:
            yield self.told_until + 2 * WEEK

    def working_days(self) -> Iterator[datetime]:
        """The working days with csplaybooks, at the hour of a run; the last day's work ends before `now`."""
        day = (self.told_until + timedelta(days=1)).replace(hour=_RUN_HOUR, minute=0, second=0, microsecond=0)
        while day + _WORK_AFTER < self.now:
            if day.weekday() == _MONDAY or (day.weekday() == _THURSDAY and self.now - day < _OFTEN):
                yield day
            day += timedelta(days=1)

    def live(self, until: datetime) -> None:
        """All that happens outside of plays from where the story stands until `until`, told then."""
        after = self.told_until
        self._relations.welcome(
            [c for c in self._customers if not c.account_id and c.joins_at is not None and c.joins_at <= until], until
        )
        self._relations.live(self._customers, after, until)
        self._buy_unasked(until)
        live = [customer for customer in self._customers if customer.is_live]
        readings = self._telemetry.readings(live, after, until)
        for first in range(0, len(readings), _BATCH):
            self.readings += take_in_readings(items=readings[first : first + _BATCH], now=until).stored
        signals = self._telemetry.signals(live, after, until)
        for first in range(0, len(signals), _BATCH):
            self.signals += take_in_signals(items=signals[first : first + _BATCH], now=until).stored
        self.told_until = until

    def run(self, at: datetime) -> None:
        """What the cluster would do at `at`."""
        run_triggers(now=at, full=True)
        sweep.expire_plays(now=at)
        sweep.wake_plays(now=at)
        sweep.work(now=at)
        sweep.watch_all(now=at)

    def work_day(self, at: datetime) -> None:
        """What the people do on the day of a run, and what the cluster then does with it."""
        self._days += 1
        self._work.do(at)
        if self._days % 4 == 3:
            self._work.open_one_by_hand(self._random.choice(("growing_team", "near_the_cap")), at)
        sweep.wake_plays(now=at)
        sweep.work(now=at)
        sweep.watch_all(now=at)

    def _buy_unasked(self, at: datetime) -> None:
        """Some customers come to buy seats by themselves: growth is not all plays."""
        buyers: list[Customer] = []
        for customer in self._customers:
            chance = 0.12 if at < self.now - _IN_USE else 0.01
            if customer.is_live and customer.occupancy > 0.9 and self._random.random() < chance:
                customer.seats = round(customer.people * 1.35) + 1
                buyers.append(customer)
        self._relations.sell(buyers, at)
