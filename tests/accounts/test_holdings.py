"""Acts on what accounts hold and on what plans include."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts import (
    NewEntitlement,
    NewPlanLimit,
    end_entitlements,
    set_entitlements,
    set_plan_limits,
)
from csplaybooks.accounts.factories import (
    START,
    AccountFactory,
    EntitlementFactory,
    PlanFactory,
    PlanLimitFactory,
    ProductFactory,
)
from csplaybooks.accounts.models import Change, Entitlement, PlanLimit, TimelineEntry

pytestmark = pytest.mark.django_db

NOW = START + timedelta(days=100)


def entry() -> TimelineEntry:
    """The newest line of the timeline."""
    newest: TimelineEntry = TimelineEntry.objects.latest("pk")
    return newest


def test_a_line_begins_grows_and_ends(told: list[str]) -> None:
    account = AccountFactory()
    plan = PlanFactory(name="Team")
    item = {
        "account_id": account.pk,
        "subscription": "sub-1",
        "product_id": plan.product_id,
        "plan_id": plan.pk,
        "mrr_minor": 50_000,
    }
    assert set_entitlements(items=[NewEntitlement(**item, quantity=10, valid_from=START)], now=NOW, actor=None) == [
        "created"
    ]
    assert entry().text == "Platform (Team), quantity 10"
    assert (entry().at, entry().subject_label) == (START, "Platform")
    assert set_entitlements(items=[NewEntitlement(**item, quantity=10)], now=NOW, actor=None) == ["unchanged"]
    assert set_entitlements(items=[NewEntitlement(**item, quantity=20)], now=NOW, actor=None) == ["updated"]
    assert entry().text == "Platform: quantity 20 (was 10)"
    row = Entitlement.objects.filter(account=account).current().get()
    assert (row.quantity, row.valid_from, row.mrr_minor, row.term_months) == (20, NOW, 50_000, 12)
    later = NOW + timedelta(days=30)
    lines = [(account.pk, "sub-1"), (account.pk, "sub-2")]
    assert end_entitlements(lines=lines, effective_at=later, now=NOW, actor=None) == ["ended", "unchanged"]
    assert entry().text == f"Platform ended, from {later:%Y-%m-%d} on"
    assert Entitlement.objects.filter(account=account).holding_at(NOW).get().quantity == 20
    assert not Entitlement.objects.filter(account=account).holding_at(later).exists()
    assert TimelineEntry.objects.count() == 3
    assert told == ["entitlements"] * 3


def test_a_line_is_told_whole() -> None:
    entitlement = EntitlementFactory(quantity=20, mrr_minor=150_000, term_months=24)
    addon = ProductFactory(name="Analytics")
    set_entitlements(
        items=[
            NewEntitlement(
                account_id=entitlement.account_id,
                subscription=entitlement.subscription,
                product_id=addon.pk,
                valid_from=NOW,
            )
        ],
        now=NOW,
        actor=None,
    )
    row = Entitlement.objects.current().get(account=entitlement.account)
    assert (row.product, row.plan, row.quantity, row.mrr_minor, row.term_months) == (addon, None, 1, 0, 12)
    assert entry().text == "Analytics, quantity 1"


def test_what_does_not_fit_is_refused_by_name() -> None:
    account, product, plan = AccountFactory(), ProductFactory(), PlanFactory()

    def refused(**kwargs: Any) -> list[str]:
        given = {"account_id": account.pk, "subscription": "sub-1", "product_id": product.pk} | kwargs
        with pytest.raises(ValidationError) as error:
            set_entitlements(items=[NewEntitlement(**given)], now=NOW, actor=None)
        return list(error.value.message_dict)

    assert refused(account_id=999_999) == ["account"]
    assert refused(product_id=999_999) == ["product"]
    assert refused(plan_id=999_999) == ["plan"]
    assert refused(plan_id=plan.pk) == ["plan"]
    assert refused(mrr_minor=-1) == ["mrr_minor"]
    assert refused(quantity=-1) == ["quantity"]
    assert refused(subscription="") == ["subscription"]
    assert not Entitlement.objects.exists()


@pytest.mark.parametrize("count", [1, 50])
def test_many_lines_take_the_queries_of_one(count: int, django_assert_num_queries: Any) -> None:
    plan = PlanFactory()
    items = [
        NewEntitlement(account_id=account.pk, subscription="sub-1", product_id=plan.product_id, plan_id=plan.pk)
        for account in AccountFactory.create_batch(count)
    ]
    # Savepoints (4); products, plans; lock, read, record, insert; timeline.
    with django_assert_num_queries(11):
        set_entitlements(items=items, now=NOW, actor=None)
    lines = [(item.account_id, "sub-1") for item in items]
    # Savepoints (4); lock, read, record, supersede, insert; products, timeline.
    with django_assert_num_queries(11):
        end_entitlements(lines=lines, effective_at=NOW + timedelta(days=9), now=NOW, actor=None)


def test_limits_of_plans_touch_every_account(told: list[str]) -> None:
    limit = PlanLimitFactory(meter_key="seats", limit_milli=20_000)
    plan = limit.plan
    before = Change.objects.count()
    verdicts = set_plan_limits(
        items=[
            NewPlanLimit(plan_id=plan.pk, meter_key="seats", limit_milli=30_000),
            NewPlanLimit(plan_id=plan.pk, meter_key="api-calls", limit_milli=None),
        ],
        effective_at=NOW,
        now=NOW,
        actor=None,
    )
    assert verdicts == ["updated", "created"]
    assert list(
        PlanLimit.objects.filter(valid_to=None, superseded_by=None).values_list("meter_key", "limit_milli")
    ) == [("api-calls", None), ("seats", 30_000)]
    assert Change.objects.count() == before + 1
    assert Change.objects.latest("pk").account is None
    assert told == ["plan_limits"]
    plan.refresh_from_db()
    assert (plan.version, plan.updated_at) == (2, NOW)
    with pytest.raises(ValidationError, match="A limit cannot be negative"):
        set_plan_limits(
            items=[NewPlanLimit(plan_id=plan.pk, meter_key="seats", limit_milli=-1)],
            effective_at=NOW,
            now=NOW,
            actor=None,
        )
