"""A catalogue of products, plans and features, accounts that hold some of it, and signals that name features."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from csplaybooks.accounts.factories import (
    AccountFactory,
    EntitlementFactory,
    FeatureFactory,
    PlanFactory,
    ProductFactory,
)
from csplaybooks.accounts.models import Account, Plan
from csplaybooks.playbooks.evaluator import TriggerVersion, compile_query, evaluate
from csplaybooks.playbooks.measures import Known, Moment
from csplaybooks.signals.factories import SignalFactory, SignalTypeFactory
from csplaybooks.signals.models import Signal

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)

#: Key, least plan, product, area.
SOLD = (
    ("boards", None, "platform", "work"),
    ("dashboards", "starter", "platform", "reporting"),
    ("approvals", "team", "platform", "collaboration"),
    ("comments", "team", "platform", "collaboration"),
    ("guests", "team", "platform", "collaboration"),
    ("polls", "team", "platform", ""),
    ("audit", "business", "platform", "administration"),
    ("sso", "business", "platform", "administration"),
    ("trends", "basic", "analytics", "reporting"),
    ("forecast", "pro", "analytics", "forecasts"),
    ("lock", None, "vault", "safety"),
)
TIERS = {"platform": ("starter", "team", "business", "enterprise"), "analytics": ("basic", "pro"), "vault": ()}

NEXT: dict[str, Any] = {"measure": "next_tier_touched", "window_days": 30}
TICKETS: dict[str, Any] = {"measure": "unheld_features", "signal_type": "support_ticket", "window_days": 30}
NEW: dict[str, Any] = {"measure": "new_area", "window_days": 30}


def sell() -> None:
    """Two products with tiers, one without, and their features. The enterprise plan adds none."""
    for kind in ("feature_gate_hit", "feature_used", "support_ticket"):
        SignalTypeFactory(key=kind)
    for product, tiers in TIERS.items():
        row = ProductFactory(key=product)
        above = None
        for rank, key in reversed(list(enumerate(tiers, start=1))):
            above = PlanFactory(product=row, key=key, rank=rank, next_plan=above)
    for key, least, product, area in SOLD:
        FeatureFactory(
            key=key,
            product=ProductFactory(key=product),
            least_plan=least and Plan.objects.get(key=least),
            area=area,
        )


def holder(*plans: str, **more: Any) -> Account:
    """An account that holds these plans, and has since long ago."""
    account: Account = AccountFactory()
    for plan in plans:
        hold(account, plan, **more)
    return account


def hold(account: Account, plan: str, **more: Any) -> Any:
    """Let an account hold a plan; answers the entitlement."""
    return EntitlementFactory(account=account, plan=Plan.objects.get(key=plan), **more)


def send(account: Account, *features: Any, kind: str = "feature_used", ago: timedelta = DAY, **more: Any) -> Signal:
    """Signals that name features, one each; answers the last."""
    *_, last = [
        SignalFactory(
            account=account,
            type=SignalTypeFactory(key=kind),
            occurred_at=NOW - ago,
            **{"properties": {"feature": feature}, **more},
        )
        for feature in features
    ]
    signal: Signal = last
    return signal


def trigger(condition: dict[str, Any]) -> TriggerVersion:
    """A trigger with one condition."""
    return TriggerVersion(1, 1, {"key": "t", "any": [{"all": [condition]}]}, {})


def words(account: Account, *, at: datetime = NOW, known: Known | None = None, **condition: Any) -> str | None:
    """What is said of the account where it meets the condition, else None.

    Asked of all accounts, of it alone, and by a query that was not kept: all say the same.
    """
    asked, known = trigger(condition), known or Known.now()
    found = {hit.account_id: hit.evidence[0]["words"] for hit in evaluate(asked, at, known)}
    alone = {hit.account_id: hit.evidence[0]["words"] for hit in evaluate(asked, at, known, [account.pk])}
    fresh = {row["pk"] for row in compile_query(asked, Moment(at, known))[0]}
    assert alone.get(account.pk) == found.get(account.pk)
    assert fresh == set(found)
    return found.get(account.pk)
