"""The people at the customers: who they are, who is promoted, takes another part, leaves, or turns up elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from random import Random

from csplaybooks.accounts.acts import NewChampion, add_champions, change_champion
from csplaybooks.accounts.models import Champion, ChampionChange, Segment
from csplaybooks.playbooks.demo.agenda import Agenda
from csplaybooks.playbooks.demo.customers import Customer, Plot
from csplaybooks.playbooks.demo.names import SENIOR_TITLES, TITLES, person_name
from csplaybooks.playbooks.demo.seasons import DAY, WEEK, at_work

#: How many people we know at a customer of a segment, least and most.
_KNOWN = {Segment.SMALL: (1, 1), Segment.MID_MARKET: (2, 3), Segment.ENTERPRISE: (3, 5)}
_PARTS = (
    *(Champion.Role.CHAMPION, Champion.Role.ADMIN, Champion.Role.USER),
    *(Champion.Role.USER, Champion.Role.ECONOMIC_BUYER),
)
#: How often something is heard of somebody at a customer, in times a year, and what it is, of a hundred.
_NEWS_A_YEAR = 0.5
_NEWS = {"promoted": 34, "part": 18, "executive": 18, "left": 30}
#: Of those who leave, how many turn up at another customer.
_MOVES = 0.2

#: Who left the one customer and brought us into the other, and how many days before the end that was.
MOVER, MOVES_FROM, MOVES_TO = "Maren Castillo", "Bellwether Insurance", "Quartz Robotics"
_MOVER_LEAVES, _MOVER_ARRIVES = 232, 150


class People:
    """The champions, told by the acts of the room `accounts`."""

    def __init__(
        self, random: Random, agenda: Agenda, customers: Sequence[Customer], *, start: datetime, now: datetime
    ) -> None:
        self._random = random
        self._agenda = agenda
        self._customers = customers
        self._now = now
        self._names: dict[int, str] = {}

    def meet(self, customers: Sequence[Customer], at: datetime) -> None:
        """Make the people of new accounts, and enter what will be heard of them."""
        random = self._random
        items, companies = [], []
        for customer in customers:
            for place in range(random.randint(*_KNOWN[customer.segment])):
                name = MOVER if (customer.name, place) == (MOVES_FROM, 0) else person_name(random)
                items.append(
                    NewChampion(
                        account_id=customer.account_id,
                        name=name,
                        email=_email(name, customer),
                        title=random.choice(TITLES),
                        role=_PARTS[place],
                    )
                )
                companies.append(customer)
        for customer, item, champion in zip(
            companies, items, add_champions(items=items, now=at, actor=None), strict=True
        ):
            customer.champions.append(champion.pk)
            self._names[champion.pk] = item.name
        for customer in customers:
            self._enter_news(customer, at)

    def _enter_news(self, customer: Customer, at: datetime) -> None:
        random = self._random
        if customer.is_sample:
            return
        day = at + 20 * DAY
        # Where more people are known, more is heard.
        a_year = _NEWS_A_YEAR * (1 + len(customer.champions)) / 2
        while (day := day + random.expovariate(a_year / 52) * WEEK) < self._now:
            (kind,) = random.choices(list(_NEWS), weights=list(_NEWS.values()))
            self._agenda.add(at_work(random, day.date()), partial(self._hear, customer, kind))
        if customer.name == MOVES_FROM:
            mover = customer.champions[0]
            leaves_at = at_work(random, (self._now - _MOVER_LEAVES * DAY).date())
            self._agenda.add(leaves_at, partial(self._leave, customer, mover, False))
        if customer.name == MOVES_TO:
            arrives_at = at_work(random, (self._now - _MOVER_ARRIVES * DAY).date())
            self._agenda.add(
                arrives_at, partial(self._arrive, customer, MOVER, "VP Operations", Champion.Role.EXECUTIVE_SPONSOR)
            )
        if customer.plot in (Plot.LEAVER, Plot.FADER) and (ends := customer.churns_at or customer.shrinks_at):
            # Whoever spoke for us went first.
            self._agenda.add(
                at_work(random, (ends - random.randint(70, 150) * DAY).date()), partial(self._hear, customer, "left")
            )

    def _hear(self, customer: Customer, kind: str, at: datetime) -> None:
        """News of one kind about somebody at a customer, a day or so old."""
        random = self._random
        if not customer.is_live:
            return
        if kind == "executive" or not customer.champions:
            self._arrive(
                customer, person_name(random), random.choice(SENIOR_TITLES), Champion.Role.EXECUTIVE_SPONSOR, at
            )
            return
        chosen = random.choice(customer.champions)
        if self._names[chosen] == MOVER:
            return
        if kind == "left":
            self._leave(customer, chosen, random.random() < _MOVES, at)
            return
        change_champion(
            champion_id=chosen,
            occurred_at=at - timedelta(hours=random.randrange(2, 40)),
            now=at,
            actor=_csm_of(customer),
            title=random.choice(SENIOR_TITLES),
            role=Champion.Role.ECONOMIC_BUYER if kind == "part" else None,
        )

    def _leave(self, customer: Customer, champion_id: int, turns_up: bool, at: datetime) -> None:
        random = self._random
        if not customer.is_live or champion_id not in customer.champions:
            return
        change_champion(
            champion_id=champion_id,
            occurred_at=at - timedelta(hours=random.randrange(2, 40)),
            now=at,
            actor=_csm_of(customer),
            kind=ChampionChange.Kind.LEFT,
        )
        customer.champions.remove(champion_id)
        follows_at = at_work(random, (at + random.randint(20, 70) * DAY).date())
        self._agenda.add(
            follows_at,
            partial(self._arrive, customer, person_name(random), random.choice(TITLES), Champion.Role.CHAMPION),
        )
        others = [c for c in self._customers if c.is_live and c is not customer and not c.is_sample]
        if turns_up and others:
            turns_up_at = at_work(random, (at + random.randint(25, 90) * DAY).date())
            elsewhere = random.choice(others)
            title = random.choice(SENIOR_TITLES)
            role = Champion.Role.ECONOMIC_BUYER if elsewhere.segment == Segment.ENTERPRISE else Champion.Role.CHAMPION
            self._agenda.add(turns_up_at, partial(self._arrive, elsewhere, self._names[champion_id], title, role))

    def _arrive(self, customer: Customer, name: str, title: str, role: str, at: datetime) -> None:
        if not customer.is_live:
            return
        (champion,) = add_champions(
            items=[
                NewChampion(
                    account_id=customer.account_id, name=name, email=_email(name, customer), title=title, role=role
                )
            ],
            now=at,
            actor=_csm_of(customer),
        )
        customer.champions.append(champion.pk)
        self._names[champion.pk] = name


def _email(name: str, customer: Customer) -> str:
    return f"{name.lower().replace(' ', '.')}@{customer.external_id}.example"


def _csm_of(customer: Customer) -> object:
    return customer.csm.user if customer.csm is not None else None
