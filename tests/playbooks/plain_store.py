"""A plain world written to the database, quickly, and how it looks in a message."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from csplaybooks.accounts.factories import ChangeFactory, PlanFactory, ProductFactory
from csplaybooks.accounts.models import (
    Account,
    AccountFacts,
    Champion,
    ChampionChange,
    Entitlement,
    Finding,
    FindingState,
)
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.measures.sold import Catalogue as SoldCatalogue
from csplaybooks.playbooks.measures.sold import SoldFeature, SoldPlan
from csplaybooks.signals.factories import IntakeBatchFactory, MeterFactory, SignalTypeFactory, SourceFactory
from csplaybooks.signals.models import Reading, Signal
from csplaybooks.signals.readiness import Weight, Weights
from tests.playbooks import plain_world
from tests.playbooks.plain_world import Asked, World

NOW = datetime(2026, 10, 31, 23, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MOMENT = timedelta(microseconds=1)

SIGNAL_TYPES = ("feature_used", "feature_gate_hit")
METERS = ("seats", "storage")
#: Plans are those of the product `platform`; the others are sold beside it.
PLANS = ("starter", "team", "scale")
PRODUCTS = ("platform", "analytics", "support")
#: The runs that took note of something; None: none has yet.
RUNS = (1, 2, 3, None)


class Catalogue:
    """What all worlds have in common, written once: kinds, products, and what announces rows, by run."""

    def __init__(self) -> None:
        self.source = SourceFactory()
        self.types = {key: SignalTypeFactory(key=key).pk for key in SIGNAL_TYPES}
        self.meters = {key: MeterFactory(key=key).pk for key in METERS}
        self.products = {
            key: ProductFactory(key=key, name=key, is_base=key == "platform", list_price_minor=None).pk
            for key in PRODUCTS
        }
        platform = self.products["platform"]
        self.plans = {key: PlanFactory(key=key, name=key, product_id=platform, product=None).pk for key in PLANS}
        self.changes = {run: ChangeFactory(account=None, seen_by_run=run) for run in RUNS}
        self.batches = {run: IntakeBatchFactory(seen_by_run=run) for run in RUNS}

    def known(self, world: World, asked: Asked) -> Known:
        """What a question says was known. What was sold then stands nowhere else: it is that of a run."""
        plans = {
            self.plans[plan.key]: SoldPlan(plan.key, self.products[plan.product], plan.rank, self._plan(plan.next_plan))
            for plan in world.plans
        }
        features = {
            feature.key: SoldFeature(self.products[feature.product], self._plan(feature.least_plan), feature.area)
            for feature in world.features
        }
        return Known(
            mark=asked.mark,
            signal_types={key: pk for key, pk in self.types.items() if key in asked.signal_types},
            meters={key: pk for key, pk in self.meters.items() if key in asked.max_age_days},
            max_age_days=dict(asked.max_age_days),
            catalogue=SoldCatalogue(plans, features),
            readiness=self._weights(world),
        )

    @staticmethod
    def _weights(world: World) -> Weights | None:
        """What weighs, as if it were published; it stands nowhere else either."""
        motions: dict[str, dict[str, Weight]] = {}
        for weighing in world.weights:
            motions.setdefault(weighing.motion, {})[weighing.type] = Weight(weighing.points, weighing.at_most)
        strengths = {weighing.type: weighing.strength for weighing in world.weights}
        return Weights(1, 1, motions, strengths) if world.weights else None

    def store(self, world: World) -> None:
        """Write all of a world; its ids are the rows'."""
        names = {"created_at": NOW, "updated_at": NOW}
        Account.objects.bulk_create(Account(pk=pk, name=f"Account {pk}", **names) for pk in world.accounts)
        AccountFacts.objects.bulk_create(
            AccountFacts(account_id=row.account, **self._period(row), **dict(row.values)) for row in world.facts
        )
        Entitlement.objects.bulk_create(
            Entitlement(
                account_id=row.account,
                subscription=row["subscription"],
                product_id=self.products[row["product"]],
                plan_id=self._plan(row["plan"]),
                **self._period(row),
            )
            for row in world.holdings
        )
        Finding.objects.bulk_create(
            Finding(
                pk=row.id,
                account_id=row.account,
                kind=row.kind,
                text=f"Finding {row.id}",
                product_id=None if row.product is None else self.products[row.product],
                updated_at=NOW,
            )
            for row in world.findings
        )
        FindingState.objects.bulk_create(
            FindingState(finding_id=finding.id, status=row["status"], **self._period(row))
            for finding in world.findings
            for row in finding.states
        )
        Champion.objects.bulk_create(
            Champion(pk=pk, account_id=pk, name=f"Champion {pk}", updated_at=NOW) for pk in world.accounts
        )
        ChampionChange.objects.bulk_create(
            ChampionChange(
                pk=row.id,
                account_id=row.account,
                champion_id=row.account,
                kind=row.kind,
                occurred_at=row.at,
                new_role=Champion.Role.CHAMPION,
                change=self.changes[row.told.seen_by],
            )
            for row in world.champion_changes
        )
        Signal.objects.bulk_create(
            Signal(
                type_id=self.types[row.type],
                actor=row.actor,
                value_milli=row.value_milli,
                properties=dict(row.properties),
                **self._event("s", row),
            )
            for row in world.signals
        )
        Reading.objects.bulk_create(
            Reading(
                meter_id=self.meters[row.meter],
                used_milli=row.used_milli,
                limit_milli=row.limit_milli,
                **self._event("r", row),
            )
            for row in world.readings
        )

    def _plan(self, key: str | None) -> int | None:
        return None if key is None else self.plans[key]

    def _period(self, row: plain_world.Period) -> dict[str, Any]:
        return {
            "pk": row.id,
            "valid_from": row.since,
            "valid_to": row.until,
            "change": self.changes[row.told.seen_by],
            "superseded_by": None if row.taken_back is None else self.changes[row.taken_back.seen_by],
        }

    def _event(self, letter: str, row: plain_world.Event) -> dict[str, Any]:
        external_id = f"{letter}{row.id}"
        return {
            "pk": row.id,
            "account_id": row.account,
            "source": self.source,
            "external_id": external_id,
            "occurred_at": row.at,
            "batch": self.batches[row.told.seen_by],
            "body_hash": hashlib.sha256(external_id.encode()).digest(),
            "corrects_id": row.corrects,
            "is_void": row.void,
        }


def when(at: datetime | None) -> str:
    """A moment as people read it here: how far it lies from now."""
    if at is None:
        return "open"
    days, rest = divmod(at - NOW + DAY / 2, DAY)
    rest -= DAY / 2
    hours, left = divmod(rest + HOUR / 2, HOUR)
    left -= HOUR / 2
    parts = [f"{days:+}d" if days else "", f"{hours:+}h" if hours else ""]
    parts.append(f"{left // MOMENT:+}us" if left else "")
    return "".join(parts) or "now"


def show(world: World) -> Iterable[str]:
    """A world in lines, one for each row; `@2` is told to run 2, `@-` to none yet."""

    def told(news: plain_world.News | None) -> str:
        return "" if news is None else f"@{news.seen_by or '-'}"

    def period(name: str, row: plain_world.Period) -> str:
        back = f" taken back {told(row.taken_back)}" if row.taken_back else ""
        values = {key: value for key, value in row.values if value not in (None, "", [])}
        return f"  {name} of {row.account} [{when(row.since)}, {when(row.until)}) {told(row.told)}{back}: {values}"

    def event(name: str, row: plain_world.Event, rest: str) -> str:
        mends = "" if row.corrects is None else f" {'voids' if row.void else 'corrects'} {row.corrects}"
        return f"  {name} {row.id} of {row.account} {when(row.at)} {told(row.told)}{mends}: {rest}"

    for plan in world.plans:
        yield f"  plan {plan.key} of {plan.product}, rank {plan.rank}, then {plan.next_plan}"
    for feature in world.features:
        yield f"  feature {feature.key} of {feature.product} from {feature.least_plan}, area {feature.area or 'none'}"
    for weighing in world.weights:
        each = f"{weighing.points} each of {weighing.at_most}"
        yield f"  {weighing.strength} {weighing.type} weighs {each} for {weighing.motion}"
    yield f"accounts {', '.join(str(pk) for pk in world.accounts)}"
    for signal in world.signals:
        rest = f"by {signal.actor or 'nobody'}, {signal.value_milli} milli, {dict(signal.properties)}"
        yield event(f"signal {signal.type}", signal, rest)
    for reading in world.readings:
        yield event(f"reading {reading.meter}", reading, f"{reading.used_milli} of {reading.limit_milli} milli")
    yield from (period("facts", row) for row in world.facts)
    yield from (period("holding", row) for row in world.holdings)
    for change in world.champion_changes:
        yield f"  champion {change.id} of {change.account} {when(change.at)} {told(change.told)}: {change.kind}"
    for finding in world.findings:
        yield f"  finding {finding.id} of {finding.account}: {finding.kind}, {finding.product}"
        yield from (period("  state", row) for row in finding.states)


def show_asked(asked: Asked) -> str:
    """A moment and a mark in words."""
    ages = ", ".join(f"{meter} for {days}d" for meter, days in asked.max_age_days.items())
    types = ", ".join(sorted(asked.signal_types))
    known = "all" if asked.mark is None else f"run {asked.mark}"
    return f"asked at {when(asked.as_of)} as known at {known} in {asked.zone.key}; types {types}; meters {ages}"
