"""The programme of business reviews: when they are held, what comes up, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from csplaybooks.accounts.acts import NewFinding, add_findings, log_qbr, set_finding_status
from csplaybooks.accounts.models import Finding, FindingState, Segment
from csplaybooks.playbooks.demo.agenda import Agenda
from csplaybooks.playbooks.demo.customers import Customer
from csplaybooks.playbooks.demo.seasons import DAY, WEEK, at_work, working_day
from csplaybooks.playbooks.demo.vendor import Vendor

#: How often a segment is reviewed; small customers are not.
_EVERY = {Segment.MID_MARKET: 26 * WEEK, Segment.ENTERPRISE: 13 * WEEK}
_GAPS = {
    "analytics": (
        "Reports are put together by hand in spreadsheets every month.",
        "The board asks for figures across all sites, and nobody has them.",
    ),
    "automation": (
        "Hand-overs between teams still run over e-mail.",
        "Orders are typed a second time into the stock system.",
    ),
    "vault": (
        "The auditors ask for a store they can trust.",
        "Contracts lie on three drives, and nobody knows which is the last version.",
    ),
}
#: Gaps that nothing we sell fills.
_WISHES = ("They would like to work offline on site.", "Right-to-left languages for the Gulf office.")
_GOALS = (
    "Roll out to the second site.",
    "Halve the time of an approval.",
    "Bring the suppliers in.",
    "All field teams on mobile by the end of the quarter.",
    "One dashboard for the management board.",
)
_RISKS = (
    "The sponsor's budget is under review.",
    "Two teams still work around it.",
    "A competitor is on trial in the sister company.",
    "Fewer people log in than at the last review.",
)
_WINS = (
    "Onboarding of new people takes a day instead of a week.",
    "Month-end closes two days sooner.",
    "The audit passed without a remark.",
    "Approval times fell by a third.",
)
_SUMMARIES = (
    "Looked at use, goals and what is in the way.",
    "Went through the figures of the quarter and the plan for the next.",
    "Two departments joined; talked about the roll-out.",
)


@dataclass(frozen=True)
class _Open:
    """A finding that is open."""

    pk: int
    kind: str
    product: str | None


class Reviews:
    """The reviews of all customers, by the acts of the room `accounts`."""

    def __init__(self, random: Random, vendor: Vendor, agenda: Agenda) -> None:
        self._random = random
        self._products = {product.key: product for product in vendor.products}
        self._agenda = agenda
        self._open: dict[int, list[_Open]] = {}

    def enrol(self, customer: Customer, after: datetime, *, new: bool) -> None:
        """Have a customer reviewed from some time `after` on, as its segment is; a `new` one later."""
        every = _EVERY.get(customer.segment)
        if every is None:
            return
        first = after + (every * 0.6 if new else every * self._random.random())
        self._enter(customer, first)

    def raise_risk(self, customer: Customer, text: str, at: datetime) -> None:
        """Somebody notes a risk without a review."""
        (finding,) = add_findings(
            account_id=customer.account_id,
            findings=[NewFinding(kind=Finding.Kind.RISK, text=text)],
            at=at,
            now=at,
            actor=_leader(customer).user if _leader(customer) else None,
        )
        self._open.setdefault(customer.account_id, []).append(_Open(finding.pk, Finding.Kind.RISK, None))

    def gap_filled(self, customer: Customer, product: str, at: datetime) -> None:
        """What this product was missed for is settled: the customer holds it now."""
        filled = [f for f in self._open.get(customer.account_id, []) if f.product == product]
        self._settle(customer, filled, FindingState.Status.SETTLED, at)

    def gone(self, customer: Customer, at: datetime) -> None:
        """Nothing of a customer who left is open any more."""
        self._settle(customer, list(self._open.get(customer.account_id, [])), FindingState.Status.DROPPED, at)

    def _enter(self, customer: Customer, day: datetime) -> None:
        at = at_work(self._random, (day + DAY).date(), opens=9, closes=15.5)
        # It is written up the same day.
        self._agenda.add(at + timedelta(minutes=self._random.randint(20, 85)), partial(self._hold, customer, at))

    def _hold(self, customer: Customer, at: datetime, logged_at: datetime) -> None:
        random, leader = self._random, _leader(customer)
        if not customer.is_paying or leader is None:
            return
        every = _EVERY[customer.segment]
        findings = self._findings(customer, at)
        before = self._open.get(customer.account_id, [])
        qbr = log_qbr(
            account_id=customer.account_id,
            held_at=at,
            findings=findings,
            now=logged_at,
            actor=leader.user,
            led_by_id=leader.pk,
            attendee_ids=customer.champions[: random.randint(1, 3)],
            summary=random.choice(_SUMMARIES),
            next_on=working_day((at + every).date()),
        )
        self._look_back(customer, before, logged_at)
        keys = {product.pk: key for key, product in self._products.items()}
        rows = Finding.objects.filter(qbr=qbr).order_by("pk").values_list("pk", "kind", "product")
        self._open.setdefault(customer.account_id, []).extend(
            _Open(pk, kind, keys.get(product_id)) for pk, kind, product_id in rows
        )
        risks = [f for f in self._open[customer.account_id] if f.kind == Finding.Kind.RISK]
        if risks and not customer.fades(at):
            settled_at = at_work(random, (at + random.randint(14, 60) * DAY).date())
            self._agenda.add(settled_at, partial(self._settle, customer, risks, FindingState.Status.SETTLED))
        # One in eight is put off until it is long overdue.
        late = random.randint(50, 130) if random.random() < 0.12 else random.randint(-4, 24)
        self._enter(customer, at + every + late * DAY)

    def _findings(self, customer: Customer, at: datetime) -> list[NewFinding]:
        random = self._random
        findings = []
        named = {f.product for f in self._open.get(customer.account_id, [])}
        missing = [key for key in self._products if key not in customer.products and key not in named]
        if not customer.is_sample:
            if missing and random.random() < 0.24:
                key = random.choice(missing)
                gap = NewFinding(
                    kind=Finding.Kind.GAP, text=random.choice(_GAPS[key]), product_id=self._products[key].pk
                )
                findings.append(gap)
            elif random.random() < 0.08:
                findings.append(NewFinding(kind=Finding.Kind.GAP, text=random.choice(_WISHES)))
            if random.random() < (0.75 if customer.fades(at) or customer.health < 58 else 0.06):
                findings.append(NewFinding(kind=Finding.Kind.RISK, text=random.choice(_RISKS)))
            if random.random() < (0.16 if customer.health > 65 else 0.05):
                findings.append(NewFinding(kind=Finding.Kind.WIN, text=random.choice(_WINS)))
        if random.random() < 0.6:
            findings.append(NewFinding(kind=Finding.Kind.GOAL, text=random.choice(_GOALS)))
        return findings

    def _look_back(self, customer: Customer, findings: list[_Open], at: datetime) -> None:
        """At a review, see what has become of what came up before."""
        random = self._random
        settled: list[_Open] = []
        dropped: list[_Open] = []
        for finding in findings:
            if finding.kind == Finding.Kind.WIN or (finding.kind == Finding.Kind.GOAL and random.random() < 0.65):
                settled.append(finding)
            elif finding.kind in (Finding.Kind.GOAL, Finding.Kind.GAP) and random.random() < 0.45:
                dropped.append(finding)
        self._settle(customer, settled, FindingState.Status.SETTLED, at)
        self._settle(customer, dropped, FindingState.Status.DROPPED, at)

    def _settle(self, customer: Customer, findings: list[_Open], status: str, at: datetime) -> None:
        still = self._open.get(customer.account_id, [])
        ids = [finding.pk for finding in findings if finding in still]
        if ids:
            self._open[customer.account_id] = [finding for finding in still if finding.pk not in ids]
            actor = leader.user if (leader := _leader(customer)) is not None else None
            set_finding_status(finding_ids=ids, status=status, effective_at=at, now=at, actor=actor)


def _leader(customer: Customer) -> Any:
    return customer.csm or customer.ae
