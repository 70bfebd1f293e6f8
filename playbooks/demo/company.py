"""The sample company: eighteen months of a small vendor and its customers, told through the product's own acts.

The first six months are history that was brought along. Then csplaybooks is switched on: triggers run, and people
work what comes out. The story ends at `now`, just after a run.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from random import Random

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q

from csplaybooks.accounts.acts import record_changes
from csplaybooks.accounts.models import Account, Change, Product, TeamMember
from csplaybooks.playbooks.acts.calendar_uses import make_calendar_use
from csplaybooks.playbooks.acts.calendars import WeekHours, calendar_changed, make_calendar
from csplaybooks.playbooks.acts.holidays import import_holidays
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.demo.agenda import Agenda
from csplaybooks.playbooks.demo.books import Books
from csplaybooks.playbooks.demo.cast import make_cast
from csplaybooks.playbooks.demo.customers import Customer
from csplaybooks.playbooks.demo.market import Market
from csplaybooks.playbooks.demo.people import People
from csplaybooks.playbooks.demo.relations import Relations
from csplaybooks.playbooks.demo.reviews import Reviews
from csplaybooks.playbooks.demo.seasons import CLOSES, DAY, OPENS, WEEK, YEAR, at_work, holidays
from csplaybooks.playbooks.demo.telemetry import Telemetry
from csplaybooks.playbooks.demo.vendor import USERNAMES, make_vendor
from csplaybooks.playbooks.demo.work import Work
from csplaybooks.playbooks.invariants import inspect
from csplaybooks.playbooks.models import Calendar, CalendarDay, Match, Notice, Play
from csplaybooks.playbooks.pipeline import sweep
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.runs import admit_waiting, run_to_the_end
from csplaybooks.signals.acts.catalogue import load_starter_catalogue

SEED = 20
ACCOUNTS = 200

#: How long the story is, and how long before its end csplaybooks is switched on.
STORY = timedelta(days=546)
_IN_USE = timedelta(days=364)
#: A CSM leaves so long before the end.
_LEAVER_LEAVES = timedelta(days=196)
#: The steps from run to run, by how long before the end they are taken. A real site runs all day long; so few runs
#: tell the same story in half a minute.
_STEPS = ((timedelta(days=63), 2 * WEEK), (timedelta(days=7), WEEK), (timedelta(0), DAY))
#: Before csplaybooks, billing and telemetry tell what has happened once in this time.
_BROUGHT_ALONG_EVERY = 2 * WEEK
#: The change that says of a database that its accounts are made up.
_MARK = "sample_company"


class NotWhole(Exception):
    """The story was told, but something in it failed: what came of it is not kept."""


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

    `now` is aware of its zone. Pokes nobody. Raises NotTheDemo where there is no room for it, and NotWhole where work
    failed on the way, or what was made breaks an invariant.
    """
    with pokes_silenced(), _uncollected(), transaction.atomic():
        _require_empty()
        story = _Story(Random(seed), accounts, now)  # noqa: S311 - made-up people need no secrecy
        story.tell()
        record_changes(kind=_MARK, account_ids=[None], now=now)
        story.run(now)
        set_up(now=now)
        # What is past is told in nobody's mail.
        Notice.objects.update(way=Notice.Way.OFF)
        _require_whole()
        return Told(accounts, story.telemetry.signals, story.telemetry.readings)


def _require_whole() -> None:
    """Raise NotWhole where work on rows failed, as nobody is there to read it on their pages, or an invariant broke."""
    for model in (Match, Play):
        failed = model.objects.filter(Q(attempts__gt=0) | Q(stuck_at__isnull=False)).order_by("pk")
        if count := failed.count():
            name = model._meta.verbose_name if count == 1 else model._meta.verbose_name_plural
            raise NotWhole(f"work on {count:,} {name} failed, the first of them with: {failed[0].last_error}.")
    if broken := [violation for violation in inspect(limit=1) if violation.count]:
        first = broken[0]
        raise NotWhole(f"{len(broken)} invariants do not hold, {first.invariant} among them: {first.says}")


def _require_empty() -> None:
    """Raise NotTheDemo where somebody else's work would be mixed up with made-up things, or their password changed."""
    for model in (Account, TeamMember, Product):
        if model.objects.exists():
            raise NotTheDemo(f"this database holds {model._meta.verbose_name_plural} that are not the sample company's")
    if get_user_model().objects.filter(username__in=USERNAMES).exists():
        raise NotTheDemo("this database holds sign-ins by the names of the sample company's people")


@contextmanager
def _uncollected() -> Iterator[None]:
    """No looking for garbage in cycles meanwhile: nearly all rows live to the end, and it takes a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Story:
    """The eighteen months, from their first to their last moment."""

    def __init__(self, random: Random, accounts: int, now: datetime) -> None:
        self._random = random
        self._now = now
        self._start = start = at_work(random, (now - STORY).date(), opens=8, closes=9)
        self._in_use = False
        self._runs = 0
        load_starter_catalogue(now=start)
        vendor = make_vendor(start=start, now=now)
        self._customers = make_cast(random, accounts, start=start, now=now)
        self._agenda = agenda = Agenda(start, now)
        self._books = books = Books(vendor, start)
        self.telemetry = Telemetry(random, vendor.gated, self._customers, start=start, now=now)
        self._market = Market(random, vendor, books, self._customers)
        people = People(random, agenda, self._customers, start=start, now=now)
        reviews = Reviews(random, vendor, agenda)
        leaves_at = at_work(random, (now - _LEAVER_LEAVES).date())
        self._relations = Relations(
            random,
            vendor,
            agenda,
            books,
            people=people,
            reviews=reviews,
            telemetry=self.telemetry,
            handed_over_at=leaves_at,
        )
        self._work = Work(
            random, vendor, agenda, books, reviews=reviews, customers=self._customers, then=self._after_work
        )
        self._work.leave_one_offer(now)
        agenda.add(start, self._begin)
        agenda.add(leaves_at, self._hand_over)
        agenda.add(now - YEAR, books.open_year)

    def tell(self) -> None:
        """All of it, up to `now` but for the last run."""
        self._agenda.live()

    def run(self, at: datetime) -> None:
        """What the site would do at `at`: take in what came, and run."""
        self.telemetry.send(at)
        self._books.flush(at)
        run_to_the_end(now=at, full=True)
        sweep.expire_plays(now=at)
        sweep.lapse_waiting_offers(now=at)
        sweep.wake_plays(now=at)
        admit_waiting(now=at)
        sweep.work(now=at)
        sweep.watch_all(now=at)

    def _begin(self, at: datetime) -> None:
        """The first day: who is a customer by now, and everything that comes at its own time."""
        self._relations.welcome([c for c in self._customers if c.joins_at is None], at)
        self._books.open_year(at)
        for customer in self._customers:
            if customer.joins_at is not None:
                self._agenda.add(customer.joins_at, partial(self._welcome, customer))
            self._agenda.add(at + customer.phase, partial(self._measure, customer, 0))
        week = at
        while (week := week + WEEK) < self._now:
            self._agenda.add(at_work(self._random, week.date(), opens=15, closes=17), self._trade)
        brought = at
        while (brought := brought + _BROUGHT_ALONG_EVERY) < self._now - _IN_USE:
            self._agenda.add(brought, self._bring_along)
        self._agenda.add(at_work(self._random, (self._now - _IN_USE).date(), opens=10, closes=12), self._switch_on)

    def _welcome(self, customer: Customer, at: datetime) -> None:
        self._relations.welcome([customer], at)

    def _measure(self, customer: Customer, week: int, at: datetime) -> None:
        """A customer's week has gone by."""
        if customer.is_live:
            customer.move_on(self._random, at)
            self.telemetry.measure(customer, week, at, often=self._in_use)
        self._agenda.add(at + WEEK, partial(self._measure, customer, week + 1))

    def _trade(self, at: datetime) -> None:
        """Once a week billing tells who bought, and who renewed."""
        self._market.week(at, in_use=self._in_use)
        self._relations.renew(self._customers, at)
        self._books.flush(at)

    def _bring_along(self, at: datetime) -> None:
        self.telemetry.send(at)

    def _switch_on(self, at: datetime) -> None:
        """Csplaybooks is set up: its calendar with the holidays, its starter library; it runs from now on."""
        set_up(now=at, schedules=False)
        calendar = Calendar.objects.get(is_default=True)
        CalendarDay.objects.bulk_create(
            [
                CalendarDay(calendar=calendar, day=day, name=name, source="sample company")
                for day, name in holidays(at.date(), (self._now + YEAR).date())
            ]
        )
        calendar_changed(calendar_id=calendar.pk, now=at)
        self._second_calendar(at)
        self._in_use = True
        self._run_and_work(at)

    def _second_calendar(self, at: datetime) -> None:
        """One region has hours and public holidays of its own; elsewhere the default calendar counts."""
        weekdays = [WeekHours(weekday, OPENS * 60, CLOSES * 60) for weekday in range(5)]
        values = {"key": "apac", "name": "Asia-Pacific", "zone": "Australia/Sydney", "is_default": False}
        calendar = make_calendar(values=values, week=weekdays, days=(), now=at, actor=None)
        years = range(at.year, self._now.year + 2)
        import_holidays(calendar_id=calendar.pk, country="AU", subdivision="NSW", years=years, now=at, actor=None)
        make_calendar_use(values={"calendar": calendar, "region": "apac"}, now=at, actor=None)

    def _run_and_work(self, at: datetime) -> None:
        """A run, what people will do about it, and when the next one is."""
        self.run(at)
        self._runs += 1
        if self._runs % 3 == 0:
            self._agenda.add(at + timedelta(minutes=self._random.randint(10, 50)), self._open_by_hand)
        step = next(step for before, step in _STEPS if self._now - at >= before)
        day = (at + step).date()
        if step > DAY:
            # Not always on the same day of the week.
            day += (self._random.randrange(5) - day.weekday()) * DAY
        following = at_work(self._random, day, opens=8, closes=10.5)
        self._work.plan(at, following)
        self._agenda.add(following, self._run_and_work)

    def _open_by_hand(self, at: datetime) -> None:
        self._work.open_by_hand(at)
        sweep.work(now=at)

    def _after_work(self, at: datetime) -> None:
        """What the cluster does at the end of a day on which people worked."""
        sweep.wake_plays(now=at)
        sweep.watch_all(now=at)

    def _hand_over(self, at: datetime) -> None:
        """A CSM leaves: another takes over the customers and the plays."""
        self._relations.take_over(self._customers, at)
        self._work.hand_over(at)
