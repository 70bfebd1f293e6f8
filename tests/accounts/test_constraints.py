"""What the database itself refuses, and the words in which forms and API say so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from csplaybooks.accounts.factories import (
    START,
    AbsenceFactory,
    AccountFactsFactory,
    AccountIdentityFactory,
    AccountTeamFactory,
    BareAccountFactory,
    EntitlementFactory,
    FindingFactory,
    FindingStateFactory,
    MovementFactory,
    PlanFactory,
    PlanLimitFactory,
    ProductFactory,
    TeamMemberFactory,
)
from csplaybooks.accounts.models import AccountIdentity, Finding, Movement, Plan

pytestmark = pytest.mark.django_db


def assert_refused(row: Any, message: str) -> None:
    """A row that is not saved yet breaks a rule: in words when it is checked, in the database when it is not."""
    with pytest.raises(ValidationError) as error:
        row.validate_constraints()
    assert message in error.value.messages
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()


def its_own(name: str, create: Callable[[], Any]) -> Any:
    """A row that points at itself."""
    row = create()
    setattr(row, name, row)
    return row


def test_an_account_is_not_its_own_parent_nor_merged_into_itself() -> None:
    assert_refused(its_own("parent", BareAccountFactory), "An account cannot be its own parent.")
    assert_refused(its_own("merged_into", BareAccountFactory), "An account cannot be merged into itself.")


def test_an_id_names_one_account() -> None:
    AccountIdentityFactory(source="crm", external_id="acme")
    row = AccountIdentity(account=BareAccountFactory(), source="crm", external_id="acme")
    assert_refused(row, "Another account is already known by this id in this source.")


def test_a_member_has_a_role_and_another_manager() -> None:
    assert_refused(its_own("manager", TeamMemberFactory), "A team member cannot be their own manager.")
    row = TeamMemberFactory.build(user=None, is_customer_success_manager=False)
    assert_refused(row, "A team member needs at least one role.")


def test_an_absence_has_its_days_in_order_and_another_stand_in() -> None:
    member = TeamMemberFactory()
    assert_refused(
        AbsenceFactory.build(member=member, last_day=date(2025, 8, 3)),
        "An absence must end on or after its first day.",
    )
    assert_refused(AbsenceFactory.build(member=member, stand_in=member), "Nobody can stand in for themselves.")
    AbsenceFactory(member=member, first_day=date(2025, 8, 4), last_day=date(2025, 8, 4))


@pytest.mark.parametrize(
    "factory",
    [AccountFactsFactory, AccountTeamFactory, EntitlementFactory, FindingStateFactory, PlanLimitFactory],
)
def test_a_period_ends_after_it_begins_and_one_stands_open(factory: Any) -> None:
    row = factory()
    row.pk = None
    row._state.adding = True
    assert_refused(row, "Only one period may be open at a time.")
    row.valid_to = row.valid_from
    assert_refused(row, "A period must end after it begins.")
    row.valid_to = row.valid_from + timedelta(seconds=1)
    row.validate_constraints()


def test_a_superseded_period_leaves_its_place() -> None:
    row = AccountFactsFactory()
    row.superseded_by = row.change
    row.save(update_fields=["superseded_by"])
    AccountFactsFactory(account=row.account)


def test_prices_and_amounts_are_not_negative() -> None:
    assert_refused(ProductFactory.build(list_price_minor=-1), "A price cannot be negative.")
    product = ProductFactory()
    for name in ("price_minor", "seat_price_minor"):
        row = Plan(product=product, key="team", name="Team", rank=1, **{name: -1})
        assert_refused(row, "A price cannot be negative.")
    row = EntitlementFactory()
    row.mrr_minor = -1
    assert_refused(row, "MRR cannot be negative.")


def test_plans_of_a_product_have_ranks_of_their_own() -> None:
    plan = PlanFactory()
    row = Plan(product=plan.product, key="other", name="Other", rank=plan.rank)
    assert_refused(row, "Another plan of this product has this rank.")
    assert_refused(its_own("next_plan", PlanFactory), "A plan cannot follow itself.")


def test_only_a_gap_names_a_product() -> None:
    row = FindingFactory(product=ProductFactory())
    row.kind = Finding.Kind.RISK
    assert_refused(row, "Only a gap names the product that fills it.")


def test_a_line_of_the_ledger_stands_once_and_does_not_reverse_itself() -> None:
    line = MovementFactory(source="billing", external_id="m-1")
    row = Movement(
        account=line.account,
        source="billing",
        external_id="m-1",
        amount_minor=1,
        effective_on=START.date(),
        recorded_at=START,
    )
    assert_refused(row, "This line is in the ledger already.")
    assert_refused(its_own("reverses", MovementFactory), "A line cannot reverse itself.")
