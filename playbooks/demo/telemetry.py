"""What the product and its neighbours send about the customers: signals and readings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any

from csplaybooks.playbooks.demo.customers import Customer, Plot
from csplaybooks.playbooks.demo.seasons import DAY, WEEK, trade_peak, use
from csplaybooks.playbooks.demo.vendor import PLANS
from csplaybooks.signals.intake import take_in_readings, take_in_signals

#: What people do all day, and how often of a thousand.
_EVERYDAY = {
    "login": 340,
    "feature_used": 385,
    "report_run": 178,
    "support_ticket": 46,
    "user_added": 20,
    "prompt_shown": 16,
    "feature_gate_hit": 9,
    "prompt_dismissed": 6,
}
#: The same where it does not get going.
_STUCK = {**_EVERYDAY, "feature_used": 180, "support_ticket": 160, "feature_gate_hit": 0}
#: Nothing of this happens at the sample account.
_NEVER_AT_SAMPLE = ("user_added", "feature_gate_hit", "prompt_shown", "prompt_dismissed")
_FEATURES_USED = ("boards", "dashboards", "exports", "forms", "mobile", "search")
_TOPICS = ("how to", "how to", "bug", "access", "billing", "integration")
_PROMPTS = ("upgrade", "more seats", "what is new")
#: The middle of the working day in each region, in UTC.
_MIDDAY = {"emea": 12.0, "americas": 17.5, "apac": 5.0}
#: How likely a week is to bring one: somebody knocks on a feature of the next plan, an admin adds a whole team, people
#: ask support about a feature that they do not have, begin to use one that they have, the papers write about it.
_GATE_BURST, _TEAM_BURST, _QUESTIONS, _TAKEN_UP, _NEWS = 0.022, 0.008, 0.003, 0.006, 0.004
#: Where somebody only tries the product, how likely a week is one in which they knock on what they would pay for.
_TRIAL_BURST = 0.12
#: How many hits of a hundred are on features of the next plan; the others are on those further up.
_NEXT_OF_HUNDRED = 80
#: How many events their sender sends a second time.
_RESENT_PER_THOUSAND = 2
#: How many items one intake brings at most; the default of `INTAKE_MAX_ITEMS`.
_BATCH = 5000


class Telemetry:
    """Collects what is measured, and has it taken in; ids are counted through the whole story."""

    def __init__(
        self,
        random: Random,
        gated: Sequence[Sequence[str]],
        customers: Sequence[Customer],
        *,
        start: datetime,
        now: datetime,
    ) -> None:
        self._random = random
        self._gated = gated
        #: For each plan, the keys of the features that it has beyond the lowest one.
        self._beyond = [[key for key in gated[0] if key not in missing] for missing in gated]
        self._customers = customers
        self._now = now
        self._told_until = start
        self._numbers = {"signal": 0, "reading": 0}
        self._measured: list[dict[str, Any]] = []
        self._happened: list[dict[str, Any]] = []
        #: How many were stored.
        self.signals = 0
        self.readings = 0

    def measure(self, customer: Customer, week: int, at: datetime, *, often: bool) -> None:
        """A customer's readings of one week; seats every week where `often`, else every second one."""
        *_, api_calls, storage = PLANS[customer.plan]
        active = customer.active(at)
        if often or week % 2 or customer.is_sample:
            self._read(customer, "seats", min(round(customer.people), customer.seats), customer.seats, at)
            self._read(customer, "active_users", active, customer.seats, at)
        # The sample account is looked at every week, so that all that is known of it is fresh.
        if week % 2 == 0 or customer.is_sample:
            self._read(customer, "health", round(customer.health), None, at)
        for turn, meter, share, included in (
            (1, "api_calls", customer.api_share, api_calls),
            (3, "storage", customer.storage_share, storage),
        ):
            if week % 4 == turn or customer.is_sample:
                limit = round(included * customer.blocks)
                self._read(customer, meter, round(limit * share, 1), limit, at)
        if week % 13 == 5:
            self._read(customer, "nps", round(customer.health - 45), None, at)

    def happen(self, customer: Customer, kind: str, at: datetime) -> None:
        """One thing happens at a customer, and is sent with the next batch."""
        self._happened.append(self._signal(customer, kind, at))

    def send(self, until: datetime) -> None:
        """Have everything up to `until` taken in, by a batch of readings and one of signals."""
        after, self._told_until = self._told_until, until
        readings, self._measured = self._measured, []
        readings.sort(key=lambda item: item["occurred_at"])
        signals = self._signals(after, until)
        for first in range(0, len(readings), _BATCH):
            self.readings += take_in_readings(items=readings[first : first + _BATCH], now=until).stored
        for first in range(0, len(signals), _BATCH):
            self.signals += take_in_signals(items=signals[first : first + _BATCH], now=until).stored

    def _signals(self, after: datetime, until: datetime) -> list[dict[str, Any]]:
        """The items over `(after, until]`, a few of them sent twice, one now and then of nobody we know."""
        items, self._happened = self._happened, []
        days = [after.date() + day * DAY for day in range((until.date() - after.date()).days + 1)]
        # Of the first and the last day only a part belongs to it.
        starts = [datetime(day.year, day.month, day.day, tzinfo=after.tzinfo) for day in days]
        weights = [
            use(day) * ((min(midnight + DAY, until) - max(midnight, after)) / DAY)
            for day, midnight in zip(days, starts, strict=True)
        ]
        so_far = list(accumulate(weights))
        for customer in self._customers:
            if customer.is_live:
                items.extend(self._signals_of(customer, after, until, starts, so_far))
        items.sort(key=lambda item: item["occurred_at"])
        resent = [item for item in items if self._random.random() * 1000 < _RESENT_PER_THOUSAND]
        if items and self._random.random() < 0.2:
            resent.append({**items[-1], "external_id": f"{items[-1]['external_id']}-x", "account": "old-sandbox"})
        return items + resent

    def _signals_of(
        self,
        customer: Customer,
        after: datetime,
        until: datetime,
        midnights: Sequence[datetime],
        so_far: Sequence[float],
    ) -> Iterator[dict[str, Any]]:
        random = self._random
        if customer.joins_at is not None and customer.joins_at > after:
            # It is there for a part of the time only.
            midnights, so_far = midnights[-2:], [0.3, 1]
            after = max(after, customer.joins_at)
        # In a usual week the days sum up to 5.5.
        mean = customer.pace * so_far[-1] / 5.5 * (0.5 + customer.occupancy / 1.4)
        if customer.plot == Plot.SEASONAL:
            mean *= trade_peak(until.date())
        everyday = _STUCK if customer.plot in (Plot.STUCK, Plot.TRIER) else _EVERYDAY
        count = max(round(random.gauss(mean, math.sqrt(mean))), 0)
        chosen = random.choices(list(everyday), weights=list(everyday.values()), k=count)
        for kind, midnight in zip(chosen, random.choices(midnights, cum_weights=so_far, k=count), strict=True):
            at = midnight + timedelta(hours=random.gauss(_MIDDAY[customer.region], 2.6))
            if not after < at <= until:
                at = after + (until - after) * random.uniform(0.01, 1)
            if customer.is_sample and kind in _NEVER_AT_SAMPLE:
                kind = "login"
            yield self._signal(customer, kind, at)
        if customer.is_sample:
            # One hit short of a play, for most of a week to come.
            for days, actor in ((2, 4), (1, 17)):
                if after < (hit_at := self._now - timedelta(days=days)) <= until:
                    yield self._signal(customer, "feature_gate_hit", hit_at, actor=actor)
            return
        weeks = (until - after) / WEEK
        yield from self._bursts(customer, after, until, weeks)

    def _bursts(self, customer: Customer, after: datetime, until: datetime, weeks: float) -> Iterator[dict[str, Any]]:
        random = self._random
        busy = 2.2 if customer.plot in (Plot.CLIMBER, Plot.GROWER) else 0.7
        gates = _GATE_BURST * busy if customer.is_paying else _TRIAL_BURST
        if self._gated[customer.plan] and random.random() < gates * weeks:
            wanted = self._wanted(customer)
            for _ in range(random.randint(3, 6)):
                yield self._signal(customer, "feature_gate_hit", self._late(after, until), feature=wanted)
        if self._gated[customer.plan] and random.random() < _QUESTIONS * busy * weeks:
            asked = self._wanted(customer)
            for _ in range(random.randint(2, 3)):
                yield self._signal(customer, "support_ticket", self._late(after, until), feature=asked)
        unused = [key for key in self._beyond[customer.plan] if key not in customer.taken_up]
        if unused and customer.is_paying and random.random() < _TAKEN_UP * busy * weeks:
            taken_up = random.choice(unused)
            customer.taken_up.append(taken_up)
            for _ in range(random.randint(6, 12)):
                yield self._signal(customer, "feature_used", self._late(after, until), feature=taken_up)
        if customer.occupancy > 0.4 and random.random() < _TEAM_BURST * busy * weeks:
            for _ in range(random.randint(3, 6)):
                yield self._signal(customer, "user_added", self._late(after, until), by_admin=True)
        if customer.people > customer.seats:
            for _ in range(random.randint(0, 2)):
                yield self._signal(customer, "invite_refused", self._late(after, until))
        if random.random() < _NEWS * weeks:
            kind = random.choice(("funding_announced", "hiring_announced", "hiring_announced"))
            yield self._signal(customer, kind, self._late(after, until))

    def _wanted(self, customer: Customer) -> str:
        """A feature that the plan of a customer does not have: mostly one that the next plan adds."""
        gated = self._gated[customer.plan]
        above = self._gated[customer.plan + 1]
        following = [key for key in gated if key not in above]
        return self._random.choice(following if self._random.random() * 100 < _NEXT_OF_HUNDRED else gated)

    def _late(self, after: datetime, until: datetime) -> datetime:
        """A moment in the last three days before `until`."""
        return max(until - timedelta(seconds=self._random.randrange(3 * 86_400)), after + timedelta(seconds=1))

    def _read(self, customer: Customer, meter: str, used: float, limit: int | None, at: datetime) -> None:
        self._measured.append(
            {
                "source": "crm" if meter in ("health", "nps") else "product",
                "external_id": self._next("reading"),
                "account": customer.external_id,
                "meter": meter,
                "used": used,
                "limit": limit,
                "occurred_at": at,
            }
        )

    def _signal(
        self,
        customer: Customer,
        kind: str,
        at: datetime,
        *,
        actor: int | None = None,
        by_admin: bool = False,
        feature: str | None = None,
    ) -> dict[str, Any]:
        random = self._random
        properties: dict[str, Any] = {}
        if feature is not None:
            properties["feature"] = feature
        elif kind == "feature_gate_hit" and self._gated[customer.plan]:
            properties["feature"] = self._wanted(customer)
        elif kind == "feature_used":
            properties["feature"] = random.choice((*_FEATURES_USED, *customer.taken_up))
        elif kind == "user_added":
            properties["by"] = "admin" if by_admin else "invite"
        if kind == "support_ticket":
            properties["topic"] = "how to" if feature is not None else random.choice(_TOPICS)
        elif kind.startswith("prompt_"):
            properties["prompt"] = random.choice(_PROMPTS)
        return {
            "source": "news" if kind.endswith("_announced") else "product",
            "external_id": self._next("signal"),
            "account": customer.external_id,
            "type": kind,
            "occurred_at": at.replace(microsecond=0),
            "actor": f"u-{random.randrange(max(round(customer.people), 1)) + 1 if actor is None else actor}",
            "properties": properties,
        }

    def _next(self, what: str) -> str:
        self._numbers[what] += 1
        return f"{what}-{self._numbers[what]}"
