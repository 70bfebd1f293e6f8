"""The customers of a replay: how they arrive, grow, license, renew, review and leave, by the stated rules."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from itertools import count
from typing import Any

from csplaybooks.accounts.acts import (
    NewAccount,
    NewFinding,
    create_accounts,
    log_qbr,
    set_facts,
    set_finding_status,
    set_team_role,
)
from csplaybooks.accounts.models import AccountTeam, Finding, FindingState, Lifecycle, Motion
from csplaybooks.playbooks.replay.billing import Billing
from csplaybooks.playbooks.replay.customers import Customer, Gap, Window
from csplaybooks.playbooks.replay.record import SOURCE, Row
from csplaybooks.playbooks.replay.rules import WINDOW_DAYS, Rules
from csplaybooks.playbooks.replay.scene import Scene

_Due = Callable[[Customer, date, datetime], None]

#: Reviews are held at this time of the day, UTC.
_REVIEW_AT = time(16)


class Market:
    """All customers, by the id that the record gives them. `dirty` are those whose use or limits changed today."""

    def __init__(self, scene: Scene, rules: Rules) -> None:
        self.customers: dict[str, Customer] = {}
        self.by_pk: dict[int, Customer] = {}
        self.window = Window()
        self.billing = Billing(scene, rules)
        self.dirty: set[Customer] = set()
        #: What was bought at a renewal, and who left, on this day.
        self.bought: set[tuple[Customer, str]] = set()
        self.left: set[Customer] = set()
        self.cross_sells = 0
        self._scene = scene
        self._rules = rules
        self._holders: Counter[str] = Counter()
        self._agenda: list[tuple[date, int, _Due, Customer, int]] = []
        self._order = count()

    def next_due(self) -> date | None:
        """The next day on which something is due of itself."""
        return self._agenda[0][0] if self._agenda else None

    def arrive(self, names: Iterable[str], *, day: date, now: datetime) -> None:
        """Create the accounts that the record names for the first time."""
        fresh = [name for name in dict.fromkeys(names) if name not in self.customers]
        if not fresh:
            return
        start = datetime.combine(day, time(), tzinfo=now.tzinfo)
        accounts = create_accounts(
            items=[
                NewAccount(name=name, identities=[(SOURCE, name)], facts=self._first_facts(day), valid_from=start)
                for name in fresh
            ],
            now=now,
            actor=None,
        )
        for name, account in zip(fresh, accounts, strict=True):
            number = len(self.customers)
            csm_id = _in_turn(self._scene.managers_of_success, number)
            customer = Customer(account.pk, number, name, csm_id, since=day, last_row=day)
            self.customers[name] = self.by_pk[account.pk] = customer
            executive_id = _in_turn(self._scene.executives, number)
            for role, member_id in ((AccountTeam.Role.CSM, csm_id), (AccountTeam.Role.AE, executive_id)):
                set_team_role(
                    account_ids=[account.pk], role=role, member_id=member_id, effective_at=now, now=now, actor=None
                )
            self._begin(customer, day, now)

    def take(self, rows: Sequence[Row], *, day: date, now: datetime) -> list[dict[str, Any]]:
        """Take the stored rows of a day in; answers the signals that follow from them."""
        derived: list[dict[str, Any]] = []
        worked: list[tuple[Customer, str]] = []
        for row in rows:
            item = row.signal
            customer = self.customers[item["account"]]
            worked.append((customer, item["actor"]))
            customer.last_row = day
            if customer.is_gone:
                customer.is_gone = False
                facts = self._first_facts(day)
                set_facts(account_ids=[customer.pk], facts=facts, effective_at=now, now=now, actor=None)
                customer.since = day
                self._begin(customer, day, now)
            properties = item["properties"]
            if product := properties.get("product"):
                self._use_product(customer, product, row.moment, now)
            if (user := item["actor"]) and user not in customer.known_users:
                customer.known_users.add(user)
                derived.append(_follows(row, "user", "user_added", {"by": "admin"}))
            area = f"{product}/{properties.get('area', '')}"
            if area not in customer.known_areas:
                customer.known_areas.add(area)
                if customer.licence is not None and customer.plan < len(self._scene.plans) - 1:
                    customer.gates += 1
                    derived.append(_follows(row, "area", "feature_gate_hit", properties))
        self.dirty |= self.window.add(day, worked)
        return derived

    def turn(self, *, day: date, now: datetime) -> None:
        """Let the day pass: the window slides, and what is due on the day is done."""
        self.dirty |= self.window.slide(day)
        for customer in self.dirty:
            customer.compare(day)
        while self._agenda and self._agenda[0][0] <= day:
            _, _, act, customer, era = heapq.heappop(self._agenda)
            if era == customer.era and not customer.is_gone:
                act(customer, day, now)

    def win(self, customer: Customer, motion: str, *, day: date, now: datetime) -> None:
        """The customer buys more, as a won play of this motion says."""
        rule = self._rules.licence
        if motion == Motion.SEAT_EXPANSION:
            customer.licence = max(customer.licence or 0, rule.seats(customer.active_users))
            self.billing.platform(customer, now=now, motion=motion, note="seat play won")
        elif motion == Motion.TIER_UPSELL:
            customer.plan += 1
            self.billing.platform(customer, now=now, motion=motion, note="tier play won")
        elif motion == Motion.USAGE_GROWTH:
            customer.allowance = max(customer.allowance or 0, rule.usage(customer.rows))
            self.billing.usage(customer, now=now, motion=motion, note="usage play won")
        customer.compare(day)
        self.dirty.add(customer)

    def _first_facts(self, day: date) -> dict[str, Any]:
        return {
            "lifecycle": Lifecycle.PAYING,
            "segment": self._rules.segments.segment(0),
            "customer_since": day,
            "activated_on": day,
            "renewal_on": _next_year(day),
        }

    def _begin(self, customer: Customer, day: date, now: datetime) -> None:
        customer.segment = self._rules.segments.segment(0)
        self.billing.platform(customer, now=now, motion="", note="begins")
        self._note(day + timedelta(days=self._rules.licence.after_days - 1), self._license, customer)
        self._note(day + timedelta(days=self._rules.review_days), self._review, customer)
        self._note(_next_year(day), self._renew, customer)

    def _note(self, day: date, act: _Due, customer: Customer) -> None:
        heapq.heappush(self._agenda, (day, next(self._order), act, customer, customer.era))

    def _use_product(self, customer: Customer, product: str, at: datetime, now: datetime) -> None:
        if product in customer.held:
            return
        is_new = product not in customer.ever
        self.cross_sells += is_new and bool(customer.ever)
        self.billing.product(customer, product, at=at, is_first=not customer.held, is_new=is_new)
        customer.held.add(product)
        customer.ever.add(product)
        self._holders[product] += 1
        if customer.gap is not None and customer.gap.product == product:
            self._close_gap(customer, customer.gap, FindingState.Status.SETTLED, now)

    def _license(self, customer: Customer, day: date, now: datetime) -> None:
        """The licence by what is used now: the first one, or at a renewal."""
        rule = self._rules.licence
        seats, allowance = rule.seats(customer.active_users), rule.usage(customer.rows)
        if customer.licence is not None and seats > customer.licence:
            self.bought.add((customer, Motion.SEAT_EXPANSION))
        if customer.allowance is not None and allowance > customer.allowance:
            self.bought.add((customer, Motion.USAGE_GROWTH))
        seat_motion = Motion.SEAT_EXPANSION if customer.licence is not None else ""
        usage_motion = Motion.USAGE_GROWTH if customer.allowance is not None else ""
        note = "renewed" if customer.licence is not None else "first licence"
        customer.licence, customer.allowance = seats, allowance
        self.billing.platform(customer, now=now, motion=seat_motion, note=note)
        self.billing.usage(customer, now=now, motion=usage_motion, note=note)
        facts: dict[str, Any] = {"renewal_on": _next_renewal(customer.since, day)}
        customer.segment = facts["segment"] = self._rules.segments.segment(seats)
        set_facts(account_ids=[customer.pk], facts=facts, effective_at=now, now=now, actor=None)
        customer.compare(day)
        self.dirty.add(customer)

    def _renew(self, customer: Customer, day: date, now: datetime) -> None:
        if (day - customer.last_row).days < self._rules.churn_days:
            self._license(customer, day, now)
            self._note(_next_renewal(customer.since, day), self._renew, customer)
            return
        facts = {"lifecycle": Lifecycle.CHURNED, "renewal_on": None}
        set_facts(account_ids=[customer.pk], facts=facts, effective_at=now, now=now, actor=None)
        self.billing.end(customer, now=now)
        if customer.gap is not None:
            self._close_gap(customer, customer.gap, FindingState.Status.DROPPED, now)
        self._holders.subtract(customer.held)
        customer.held.clear()
        customer.era += 1
        customer.is_gone = True
        customer.plan, customer.licence, customer.allowance = 0, None, None
        customer.compare(day)
        self.left.add(customer)

    def _review(self, customer: Customer, day: date, now: datetime) -> None:
        self._note(day + timedelta(days=self._rules.review_days), self._review, customer)
        if not customer.rows:
            return
        wanted = None
        if customer.gap is None:
            others = ((held, product) for product, held in self._holders.items() if product not in customer.held)
            most = min(((-held, product) for held, product in others if held > 0), default=None)
            wanted = most[1] if most else None
        qbr = log_qbr(
            account_id=customer.pk,
            held_at=datetime.combine(day, _REVIEW_AT, tzinfo=now.tzinfo),
            findings=[]
            if wanted is None
            else [
                NewFinding(
                    kind=Finding.Kind.GAP,
                    text=f"Does not use {wanted}, as most others do"[:500],
                    product_id=self._scene.products[wanted].pk,
                )
            ],
            led_by_id=customer.csm_id,
            now=now,
            actor=None,
        )
        if wanted is not None:
            customer.gap = Gap(Finding.objects.values_list("pk", flat=True).get(qbr=qbr), wanted, day)
            self._note(day + timedelta(days=self._rules.gap_days), self._drop_gap, customer)

    def _drop_gap(self, customer: Customer, day: date, now: datetime) -> None:
        # A gap that was filled may have made room for a younger one.
        if customer.gap is not None and (day - customer.gap.day).days >= self._rules.gap_days:
            self._close_gap(customer, customer.gap, FindingState.Status.DROPPED, now)

    @staticmethod
    def _close_gap(customer: Customer, gap: Gap, status: str, now: datetime) -> None:
        set_finding_status(finding_ids=[gap.finding_id], status=status, effective_at=now, now=now, actor=None)
        customer.gap = None

    def readings(self, *, day: date, now: datetime) -> list[dict[str, Any]]:
        """The readings of the day: seats where they changed or were last read a window ago, usage once a week."""
        stale = day - timedelta(days=WINDOW_DAYS)
        weekly = day.weekday() == 0
        asked = self.customers.values() if weekly else self.dirty
        items: list[dict[str, Any]] = []
        for customer in sorted(asked, key=lambda each: each.number):
            seats = (customer.active_users, customer.licence)
            if seats != customer.seats_read or (seats[0] and customer.read_on <= stale):
                items += [_reading(meter, customer, *seats, day, now) for meter in ("seats", "active_users")]
                customer.seats_read, customer.read_on = seats, day
            usage = (customer.rows, customer.allowance)
            if weekly and usage != customer.usage_read:
                items.append(_reading("api_calls", customer, *usage, day, now))
                customer.usage_read = usage
        return items

    def rest(self) -> None:
        """Forget what the day changed."""
        self.dirty, self.bought, self.left = set(), set(), set()


def _reading(meter: str, customer: Customer, used: int, limit: int | None, day: date, now: datetime) -> dict[str, Any]:
    item = {
        "source": SOURCE,
        "external_id": f"{meter}-{customer.number}-{day}",
        "account": customer.name,
        "meter": meter,
        "used": used,
        "occurred_at": now,
    }
    return item if limit is None else {**item, "limit": limit}


def _follows(row: Row, what: str, key: str, properties: dict[str, Any]) -> dict[str, Any]:
    """A signal that follows from a row: the same moment and user, of another type."""
    return {
        "source": SOURCE,
        "external_id": f"{row.signal['external_id']}-{what}",
        "account": row.signal["account"],
        "type": key,
        "occurred_at": row.moment,
        "actor": row.signal["actor"],
        "properties": properties,
    }


def _in_turn(member_ids: Sequence[int], number: int) -> int:
    return member_ids[number % len(member_ids)]


def _next_year(day: date) -> date:
    """The same day a year later; 28 February after a 29th."""
    try:
        return day.replace(year=day.year + 1)
    except ValueError:
        return day.replace(year=day.year + 1, day=28)


def _next_renewal(since: date, day: date) -> date:
    """The first yearly return of `since` after `day`."""
    renewal = _next_year(since)
    while renewal <= day:
        renewal = _next_year(renewal)
    return renewal
