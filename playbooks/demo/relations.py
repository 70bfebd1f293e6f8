"""Who looks after the customers of the sample company, and what they talk about: facts, holdings, people, reviews."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

from csplaybooks.accounts.acts import (
    NewAccount,
    NewChampion,
    NewEntitlement,
    NewFinding,
    add_champions,
    change_champion,
    create_accounts,
    end_entitlements,
    log_qbr,
    set_entitlements,
    set_facts,
    set_finding_status,
    set_team_role,
)
from csplaybooks.accounts.models import AccountTeam, Champion, Finding, FindingState, Lifecycle, Segment
from csplaybooks.playbooks.demo.customers import WEEK, Customer
from csplaybooks.playbooks.demo.names import SENIOR_TITLES, TITLES, person_name
from csplaybooks.playbooks.demo.vendor import Vendor

#: The first CSM, who is one of the sign-ins, looks after the most customers.
_CSM_SHARES = (8, 5, 5, 4, 4, 3)
_REGIONS = ("emea", "emea", "americas", "americas", "apac")
_TRIAL = timedelta(days=21)
_ONBOARDING = timedelta(days=18)
_REVIEW_EVERY = {Segment.MID_MARKET: 26 * WEEK, Segment.ENTERPRISE: 13 * WEEK}
#: How likely a week is to bring a champion a promotion, another part to play, or a new boss.
_CHAMPION_NEWS = 0.008
_GAPS = (
    "Reports are put together by hand in spreadsheets every month.",
    "Hand-overs between teams still run over e-mail.",
    "The auditors ask for a store they can trust.",
)
_GOALS = ("Roll out to the second site.", "Halve the time of an approval.", "Bring the suppliers in.")
_RISKS = ("The sponsor's budget is under review.", "Two teams still work around it.")
_WINS = ("Onboarding of new people takes a day instead of a week.", "Month-end closes two days sooner.")


class Relations:
    """The vendor's relations with its customers, told by the acts of the room `accounts`."""

    def __init__(self, random: Random, vendor: Vendor, *, start: datetime, now: datetime) -> None:
        self._random = random
        self._vendor = vendor
        self._start = start
        self._now = now
        self._risks: list[tuple[datetime, int]] = []

    def welcome(self, customers: Sequence[Customer], at: datetime) -> None:
        """Make accounts of these customers at `at`, with facts, holdings, champions and whoever looks after them."""
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
                )
                for customer in customers
            ],
            now=at,
            actor=None,
        )
        for customer, account in zip(customers, accounts, strict=True):
            customer.account_id = account.pk
            if customer.csm is None:
                self._choose_team(customer)
        self._give_roles(customers, at)
        paying = [customer for customer in customers if customer.lifecycle == Lifecycle.PAYING]
        for customer in paying:
            chance = 0 if customer.is_sample else 0.3
            customer.products = [p.key for p in self._vendor.products if self._random.random() < chance]
        self.sell(paying, at)
        self._meet_champions(customers, at)

    def live(self, customers: Sequence[Customer], after: datetime, until: datetime) -> None:
        """What happens between the vendor and its customers over `(after, until]`, told at `until`."""
        self._convert_trials(customers, until)
        self._lose_customers(customers, until)
        for customer in customers:
            if not customer.is_live or customer.is_sample:
                continue
            self._hear_of_champions(customer, after, until)
            self._review(customer, after, until)
        self._settle_risks(until)

    def sell(self, customers: Sequence[Customer], at: datetime) -> None:
        """Tell what these customers hold from `at` on."""
        by_key = {product.key: product for product in self._vendor.products}
        items = []
        for customer in customers:
            items.append(
                NewEntitlement(
                    account_id=customer.account_id,
                    subscription=f"{customer.external_id}-base",
                    product_id=self._vendor.base.pk,
                    plan_id=self._vendor.plans[customer.plan].pk,
                    quantity=customer.seats,
                    mrr_minor=customer.base_mrr_minor,
                )
            )
            items.extend(
                NewEntitlement(
                    account_id=customer.account_id,
                    subscription=f"{customer.external_id}-{key}",
                    product_id=by_key[key].pk,
                    mrr_minor=by_key[key].list_price_minor,
                )
                for key in customer.products
            )
        set_entitlements(items=items, now=at, actor=None)

    def _facts(self, customer: Customer) -> dict[str, object]:
        random = self._random
        facts: dict[str, object] = {
            "lifecycle": customer.lifecycle.value,
            "segment": customer.segment.value,
            "region": random.choice(_REGIONS),
            "head_count": round(customer.seats * random.uniform(2, 6)),
        }
        if customer.customer_since is not None:
            facts["customer_since"] = customer.customer_since.date()
            facts["activated_on"] = (customer.customer_since + _ONBOARDING).date()
            facts["renewal_on"] = (self._now + timedelta(days=random.randint(20, 340))).date()
        return facts

    def _choose_team(self, customer: Customer) -> None:
        random, vendor = self._random, self._vendor
        if customer.is_sample:
            customer.csm, customer.ae = vendor.csms[0], vendor.aes[0]
        elif customer.segment != Segment.SMALL and random.random() < 0.18:
            # Worked by sales alone.
            customer.ae = random.choice(vendor.aes)
        elif customer.segment != Segment.SMALL or random.random() < 0.4:
            (customer.csm,) = random.choices(vendor.csms, weights=_CSM_SHARES)
            if customer.segment == Segment.ENTERPRISE or random.random() < 0.4:
                customer.ae = random.choice(vendor.aes)

    def _give_roles(self, customers: Sequence[Customer], at: datetime) -> None:
        for role, members in (
            (AccountTeam.Role.CSM, self._vendor.csms),
            (AccountTeam.Role.AE, self._vendor.aes),
        ):
            for member in members:
                ids = [c.account_id for c in customers if member in (c.csm, c.ae)]
                if ids:
                    set_team_role(account_ids=ids, role=role, member_id=member.pk, effective_at=at, now=at, actor=None)

    def _meet_champions(self, customers: Sequence[Customer], at: datetime) -> None:
        random = self._random
        items, owners = [], []
        for customer in customers:
            for place in range(1 if customer.segment == Segment.SMALL else random.randint(2, 3)):
                name = person_name(random)
                items.append(
                    NewChampion(
                        account_id=customer.account_id,
                        name=name,
                        email=f"{name.lower().replace(' ', '.')}@{customer.external_id}.example",
                        title=random.choice(TITLES),
                        role=(Champion.Role.CHAMPION, Champion.Role.ADMIN, Champion.Role.USER)[place],
                    )
                )
                owners.append(customer)
        for customer, champion in zip(owners, add_champions(items=items, now=at, actor=None), strict=True):
            customer.champions.append(champion.pk)

    def _convert_trials(self, customers: Sequence[Customer], at: datetime) -> None:
        converted = [
            customer
            for customer in customers
            if customer.lifecycle == Lifecycle.TRIAL
            and customer.account_id
            and customer.joins_at is not None
            and customer.joins_at + _TRIAL <= at
        ]
        for customer in converted:
            customer.lifecycle = Lifecycle.PAYING
            customer.customer_since = at
        if converted:
            set_facts(
                account_ids=[customer.account_id for customer in converted],
                facts={
                    "lifecycle": Lifecycle.PAYING.value,
                    "customer_since": at.date(),
                    "activated_on": (at + timedelta(days=4)).date(),
                    "renewal_on": (at + timedelta(days=365)).date(),
                },
                effective_at=at,
                now=at,
                actor=None,
            )
            self.sell(converted, at)

    def _lose_customers(self, customers: Sequence[Customer], at: datetime) -> None:
        gone = [c for c in customers if c.is_live and c.churns_at is not None and c.churns_at <= at]
        if not gone:
            return
        for customer in gone:
            customer.lifecycle = Lifecycle.CHURNED
        set_facts(
            account_ids=[customer.account_id for customer in gone],
            facts={"lifecycle": Lifecycle.CHURNED.value},
            effective_at=at,
            now=at,
            actor=None,
        )
        end_entitlements(
            lines=[
                (customer.account_id, f"{customer.external_id}-{key}")
                for customer in gone
                for key in ("base", *customer.products)
            ],
            effective_at=at,
            now=at,
            actor=None,
        )

    def _hear_of_champions(self, customer: Customer, after: datetime, until: datetime) -> None:
        random = self._random
        if random.random() >= _CHAMPION_NEWS * ((until - after) / WEEK):
            return
        at = until - timedelta(hours=random.randrange(1, 30))
        if random.random() < 0.25:
            (boss,) = add_champions(
                items=[
                    NewChampion(
                        account_id=customer.account_id,
                        name=person_name(random),
                        title=random.choice(SENIOR_TITLES),
                        role=Champion.Role.EXECUTIVE_SPONSOR,
                        occurred_at=at,
                    )
                ],
                now=until,
                actor=None,
            )
            customer.champions.append(boss.pk)
            return
        chosen = random.choice(customer.champions)
        change_champion(
            champion_id=chosen,
            occurred_at=at,
            now=until,
            actor=customer.csm.user if customer.csm else None,
            title=random.choice(SENIOR_TITLES),
            role=Champion.Role.ECONOMIC_BUYER if random.random() < 0.3 else None,
        )

    def _review(self, customer: Customer, after: datetime, until: datetime) -> None:
        every = _REVIEW_EVERY.get(customer.segment)
        if every is None or customer.lifecycle != Lifecycle.PAYING:
            return
        # Four times their own phase apart, so that reviews spread over the quarter as readings do over the week.
        since = self._start + 4 * customer.phase
        if (until - since) // every == (after - since) // every:
            return
        random = self._random
        held_at = until - timedelta(hours=random.randrange(2, 24))
        findings = []
        missing = [p for p in self._vendor.products if p.key not in customer.products]
        if missing and random.random() < 0.25:
            product = random.choice(missing)
            text = _GAPS[self._vendor.products.index(product)]
            findings.append(NewFinding(kind=Finding.Kind.GAP, text=text, product_id=product.pk))
        for kind, texts, chance in (
            (Finding.Kind.GOAL, _GOALS, 0.6),
            (Finding.Kind.WIN, _WINS, 0.5),
            (Finding.Kind.RISK, _RISKS, 0.1),
        ):
            if random.random() < chance:
                findings.append(NewFinding(kind=kind, text=random.choice(texts)))
        leader = customer.csm or customer.ae
        qbr = log_qbr(
            account_id=customer.account_id,
            held_at=held_at,
            findings=findings,
            now=until,
            actor=leader.user,
            led_by_id=leader.pk,
            attendee_ids=customer.champions[:2],
            summary="Looked at use, goals and what is in the way.",
            next_on=(held_at + every).date(),
        )
        if any(finding.kind == Finding.Kind.RISK for finding in findings):
            risk = qbr.findings.get(kind=Finding.Kind.RISK)
            self._risks.append((until + timedelta(days=random.randint(20, 80)), risk.pk))

    def _settle_risks(self, at: datetime) -> None:
        due = [pk for settled_at, pk in self._risks if settled_at <= at]
        if due:
            self._risks = [(settled_at, pk) for settled_at, pk in self._risks if settled_at > at]
            set_finding_status(finding_ids=due, status=FindingState.Status.SETTLED, effective_at=at, now=at, actor=None)
