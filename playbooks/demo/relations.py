"""Who looks after the customers of the sample company, and how they come, stay and go: facts, people, holdings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from random import Random

from csplaybooks.accounts.acts import NewAccount, create_accounts, set_facts, set_team_role
from csplaybooks.accounts.models import AccountTeam, Lifecycle, Segment
from csplaybooks.playbooks.demo.agenda import Agenda
from csplaybooks.playbooks.demo.books import Books
from csplaybooks.playbooks.demo.cast import next_renewal
from csplaybooks.playbooks.demo.customers import Customer, Plot
from csplaybooks.playbooks.demo.people import People
from csplaybooks.playbooks.demo.reviews import Reviews
from csplaybooks.playbooks.demo.seasons import DAY, at_work
from csplaybooks.playbooks.demo.telemetry import Telemetry
from csplaybooks.playbooks.demo.vendor import PLANS, Vendor

#: The first CSM, who is one of the sign-ins, looks after the most customers; the last of them leaves.
_CSM_SHARES = (8, 5, 5, 4, 4, 2, 3)
#: How likely somebody who tries the product gets going while they do.
_GETS_GOING = 0.7
_LEFT_BECAUSE = ("Did not renew: went to a cheaper tool", "Did not renew: taken over", "Did not renew: project ended")


class Relations:
    """The vendor's relations with its customers, told by the acts of the room `accounts`."""

    def __init__(
        self,
        random: Random,
        vendor: Vendor,
        agenda: Agenda,
        books: Books,
        *,
        people: People,
        reviews: Reviews,
        telemetry: Telemetry,
        handed_over_at: datetime,
    ) -> None:
        self._random = random
        self._vendor = vendor
        self._agenda = agenda
        self._books = books
        self._people = people
        self._reviews = reviews
        self._telemetry = telemetry
        self._handed_over_at = handed_over_at

    def welcome(self, customers: Sequence[Customer], at: datetime) -> None:
        """Make accounts of these customers at `at`, and enter what will become of them.

        What is true of those who paid before is told from the day on which they bought.
        """
        if not customers:
            return
        accounts = create_accounts(
            items=[
                NewAccount(
                    name=customer.name,
                    identities=[
                        ("crm", customer.external_id),
                        ("billing", f"cus-{customer.external_id}"),
                    ],
                    facts=self._facts(customer),
                    valid_from=customer.customer_since,
                )
                for customer in customers
            ],
            now=at,
            actor=None,
        )
        for customer, account in zip(customers, accounts, strict=True):
            customer.account_id = account.pk
            self._choose_team(customer, at)
        self._give_roles(customers, at)
        for customer in customers:
            if customer.customer_since is not None:
                chance = 0 if customer.is_sample else 0.22
                customer.products = [p.key for p in self._vendor.products if self._random.random() < chance]
                self._books.hold(customer, customer.customer_since, note="Opening balance")
                self._reviews.enrol(customer, at, new=False)
        self._books.flush(at)
        self._people.meet(customers, at)
        for customer in customers:
            self._enter_fate(customer)

    def renew(self, customers: Sequence[Customer], at: datetime) -> None:
        """Move the renewal on by a year for those whose day has come."""
        due = []
        for customer in customers:
            # Whoever leaves at this renewal has not renewed.
            leaves = customer.churns_at is not None and at < customer.churns_at < at + 5 * DAY
            day = customer.renewal_on
            if customer.is_paying and day is not None and day <= at.date() and not leaves:
                customer.renewal_on = next_renewal(day, after=at.date())
                due.append(customer)

        def by_day(customer: Customer) -> str:
            return str(customer.renewal_on)

        for _, renewed in groupby(sorted(due, key=by_day), key=by_day):
            together = list(renewed)
            set_facts(
                account_ids=[customer.account_id for customer in together],
                facts={"renewal_on": together[0].renewal_on},
                effective_at=at,
                now=at,
                actor=None,
            )

    def take_over(self, customers: Sequence[Customer], at: datetime) -> None:
        """Whoever follows the leaver looks after their customers from `at` on."""
        theirs = [customer for customer in customers if customer.csm is self._vendor.leaver]
        for customer in theirs:
            customer.csm = self._vendor.csms[-1]
        ids = [customer.account_id for customer in theirs if customer.account_id]
        if ids:
            set_team_role(
                account_ids=ids,
                role=AccountTeam.Role.CSM,
                member_id=self._vendor.csms[-1].pk,
                effective_at=at,
                now=at,
                actor=self._vendor.manager.user,
            )

    def _facts(self, customer: Customer) -> dict[str, object]:
        facts: dict[str, object] = {
            "lifecycle": customer.lifecycle.value,
            "segment": customer.segment.value,
            "region": customer.region,
            "tags": [customer.industry],
            "head_count": round(customer.seats * self._random.uniform(2, 6)),
        }
        if customer.customer_since is not None:
            facts["customer_since"] = customer.customer_since.date()
            facts["activated_on"] = (customer.customer_since + self._random.randint(6, 25) * DAY).date()
            facts["renewal_on"] = customer.renewal_on
        return facts

    def _choose_team(self, customer: Customer, at: datetime) -> None:
        random, vendor = self._random, self._vendor
        if customer.is_sample:
            customer.csm, customer.ae = vendor.csms[0], vendor.aes[0]
        elif customer.segment != Segment.SMALL and random.random() < 0.12:
            # Worked by sales alone.
            customer.ae = random.choice(vendor.aes)
        elif customer.segment != Segment.SMALL or random.random() < 0.4:
            choice = [*vendor.csms, vendor.leaver]
            shares = _CSM_SHARES if at < self._handed_over_at else (*_CSM_SHARES[:-1], 0)
            (customer.csm,) = random.choices(choice, weights=shares)
            if customer.segment == Segment.ENTERPRISE or random.random() < 0.4:
                customer.ae = random.choice(vendor.aes)

    def _give_roles(self, customers: Sequence[Customer], at: datetime) -> None:
        for role, members in (
            (AccountTeam.Role.CSM, (*self._vendor.csms, self._vendor.leaver)),
            (AccountTeam.Role.AE, self._vendor.aes),
        ):
            for member in members:
                ids = [c.account_id for c in customers if member in (c.csm, c.ae)]
                if ids:
                    set_team_role(account_ids=ids, role=role, member_id=member.pk, effective_at=at, now=at, actor=None)

    def _enter_fate(self, customer: Customer) -> None:
        """Enter what was planned for a customer who has an account by now."""
        if customer.joins_at is not None and customer.plot != Plot.STUCK and self._random.random() < _GETS_GOING:
            day = (customer.joins_at + self._random.randint(3, 9) * DAY).date()
            self._agenda.add(at_work(self._random, day), partial(self._activate, customer))
        for at, action in (
            (customer.buys_at, self._buy),
            (customer.shrinks_at, self._shrink),
            (customer.churns_at, self._leave),
            (customer.returns_at, self._return),
        ):
            if at is not None:
                self._agenda.add(at, partial(action, customer))

    def _tell(self, customer: Customer, at: datetime, **facts: object) -> None:
        actor = customer.csm.user if customer.csm is not None else None
        set_facts(account_ids=[customer.account_id], facts=facts, effective_at=at, now=at, actor=actor)

    def _buy(self, customer: Customer, at: datetime) -> None:
        """A trial becomes a customer, and gets going some days later, or does not."""
        random = self._random
        customer.lifecycle, customer.customer_since = Lifecycle.PAYING, at
        customer.renewal_on = next_renewal(at.date(), after=at.date())
        self._tell(
            customer,
            at,
            lifecycle=Lifecycle.PAYING.value,
            customer_since=at.date(),
            renewal_on=customer.renewal_on,
        )
        self._books.hold(customer, at, note="New customer")
        self._reviews.enrol(customer, at, new=True)
        if customer.plot == Plot.STUCK:
            worries_at = at_work(random, (at + random.randint(35, 60) * DAY).date())
            text = "Hardly anybody has come in since the kick-off."
            self._agenda.add(worries_at, partial(self._reviews.raise_risk, customer, text))
            active_after = random.randint(110, 180)
        else:
            active_after = random.randint(4, 16)
        if not customer.is_activated:
            self._agenda.add(at_work(random, (at + active_after * DAY).date()), partial(self._activate, customer))

    def _activate(self, customer: Customer, at: datetime) -> None:
        if customer.is_activated or not customer.is_live:
            return
        customer.is_activated = True
        self._telemetry.happen(customer, "first_value", at)
        self._tell(customer, at, activated_on=at.date())
        if customer.plot == Plot.STUCK:
            # Late, but now it goes.
            customer.plot = Plot.GROWER

    def _shrink(self, customer: Customer, at: datetime) -> None:
        if not customer.is_paying:
            return
        if customer.shrinks_by is None and customer.plan > 0:
            customer.plan -= 1
            *_, api_calls, storage = PLANS[customer.plan + 1]
            *_, less_api_calls, less_storage = PLANS[customer.plan]
            customer.api_share = min(customer.api_share * api_calls / less_api_calls, 0.7)
            customer.storage_share = min(customer.storage_share * storage / less_storage, 0.7)
            note = "Renewed on the plan below"
        else:
            customer.seats = max(round(customer.seats * (1 - (customer.shrinks_by or 0.25))), 2)
            note = "Renewed with fewer seats"
        customer.people = min(customer.people, customer.seats * 0.7)
        self._books.hold(customer, at, note=note)

    def _leave(self, customer: Customer, at: datetime) -> None:
        was_paying = customer.is_paying
        tries_on = customer.plot == Plot.TRIER and customer.segment == Segment.SMALL and self._random.random() < 0.4
        customer.lifecycle = Lifecycle.FREE if tries_on else Lifecycle.CHURNED
        if was_paying:
            self._books.end(customer, at, note=self._random.choice(_LEFT_BECAUSE))
        customer.products = []
        customer.blocks, customer.extra_minor = 1.0, 0
        self._tell(customer, at, lifecycle=customer.lifecycle.value)
        self._reviews.gone(customer, at)

    def _return(self, customer: Customer, at: datetime) -> None:
        customer.lifecycle, customer.customer_since = Lifecycle.PAYING, at
        customer.seats = max(round(customer.seats * 0.6), 5)
        customer.people, customer.health = customer.seats * 0.55, 74.0
        customer.renewal_on = next_renewal(at.date(), after=at.date())
        self._tell(
            customer,
            at,
            lifecycle=Lifecycle.PAYING.value,
            customer_since=at.date(),
            activated_on=at.date(),
            renewal_on=customer.renewal_on,
        )
        self._books.hold(customer, at, note="Came back")
        self._reviews.enrol(customer, at, new=True)
