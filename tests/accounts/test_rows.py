"""The acts that many tables share, and the rules of the catalogue and the team."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts import (
    Conflict,
    change_member,
    change_row,
    delete_members,
    delete_rows,
    make_row,
    rename_account,
)
from csplaybooks.accounts.acts.catalogue import FEATURES, PLANS, PRODUCTS
from csplaybooks.accounts.acts.members import ABSENCES
from csplaybooks.accounts.factories import (
    START,
    AbsenceFactory,
    AccountFactory,
    EntitlementFactory,
    PlanFactory,
    ProductFactory,
    TeamMemberFactory,
    UserFactory,
)
from csplaybooks.accounts.models import Account, Change, Plan, Product, TeamMember, TimelineEntry
from csplaybooks.playbooks.factories import PlaybookVersionFactory, PlayFactory
from csplaybooks.signals.acts.catalogue import METER_TABLE
from csplaybooks.signals.models import Meter

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def refused(call: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as error:
        call()
    return dict(error.value.message_dict) if hasattr(error.value, "error_dict") else {"": error.value.messages}


# Any table


def test_row_is_made_and_told() -> None:
    user = UserFactory(username="ada")
    product = make_row(table=PRODUCTS, values={"key": "nova", "name": "Nova"}, now=NOW, actor=user)
    assert (product.version, product.updated_at) == (1, NOW)
    line = TimelineEntry.objects.get()
    assert (line.account, line.kind, line.text) == (None, "product_added", "Product Nova added")
    assert (line.actor, line.subject_id, line.at) == (user, product.pk, NOW)


def test_values_that_do_not_fit_are_refused_by_field() -> None:
    taken = ProductFactory(key="taken")
    values = {"key": taken.key, "name": "", "list_price_minor": "much"}
    said = refused(lambda: make_row(table=PRODUCTS, values=values, now=NOW, actor=None))
    assert set(said) == {"name", "list_price_minor"}
    said = refused(lambda: make_row(table=PRODUCTS, values={"key": taken.key, "name": "A"}, now=NOW, actor=None))
    assert set(said) == {"key"}
    assert Product.objects.count() == 1
    assert not TimelineEntry.objects.exists()


def test_change_tells_what_was_and_what_is() -> None:
    product = ProductFactory(name="Nova", list_price_minor=1000)
    values = {"list_price_minor": 123_450, "is_base": True, "name": "Nova"}
    changed = change_row(table=PRODUCTS, row_id=product.pk, values=values, now=NOW, actor=None, expected_version=1)
    assert (changed.version, changed.updated_at) == (2, NOW)
    was = "yes" if product.is_base else "no"
    words = ["list price: 1,234.50 (was 10.00)", f"is base: yes (was {was})"][: 1 if product.is_base else 2]
    assert TimelineEntry.objects.get().text == f"Product Nova: {'; '.join(words)}"
    product.refresh_from_db()
    assert product.list_price_minor == 123_450


def test_where_nothing_differs_nothing_is_written() -> None:
    product = ProductFactory(list_price_minor=1000)
    same = {"name": product.name, "list_price_minor": "1000"}
    assert change_row(table=PRODUCTS, row_id=product.pk, values=same, now=NOW, actor=None).version == 1
    assert not TimelineEntry.objects.exists()


def test_who_read_an_older_version_is_told() -> None:
    product = ProductFactory(name="Nova")
    change_row(table=PRODUCTS, row_id=product.pk, values={"name": "First"}, now=NOW, actor=None, expected_version=1)
    with pytest.raises(Conflict) as error:
        change_row(
            table=PRODUCTS, row_id=product.pk, values={"name": "Second"}, now=NOW, actor=None, expected_version=1
        )
    assert error.value.code == "conflict"
    assert Product.objects.get().name == "First"


def test_who_wrote_between_the_reading_and_the_writing_is_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    product = ProductFactory(name="Nova")
    check = Product.full_clean

    def overtaken(row: Product, *args: Any, **kwargs: Any) -> None:
        Product.objects.update(version=2, name="Theirs")
        check(row, *args, **kwargs)

    monkeypatch.setattr(Product, "full_clean", overtaken)
    with pytest.raises(Conflict):
        change_row(table=PRODUCTS, row_id=product.pk, values={"name": "Mine"}, now=NOW, actor=None)
    assert Product.objects.get(pk=product.pk).name != "Mine"


def test_key_taken_between_the_check_and_the_write_is_told_by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    check = Product.full_clean
    calls: list[Any] = []

    def overtaken(row: Product, *args: Any, **kwargs: Any) -> None:
        check(row, *args, **kwargs)
        if not calls:
            calls.append(row)
            ProductFactory(key="nova")

    monkeypatch.setattr(Product, "full_clean", overtaken)
    said = refused(lambda: make_row(table=PRODUCTS, values={"key": "nova", "name": "Mine"}, now=NOW, actor=None))
    assert set(said) == {"key"}


def test_key_stands_and_other_columns_are_none_of_the_tables() -> None:
    product = ProductFactory(key="nova")
    change = {"table": PRODUCTS, "row_id": product.pk, "now": NOW, "actor": None}
    assert refused(lambda: change_row(**change, values={"key": "other"})) == {"key": ["This stays as it is: nova."]}
    with pytest.raises(ValueError, match="A product has no version"):
        change_row(**change, values={"version": 9})
    with pytest.raises(ValueError, match="needs a time zone"):
        change_row(**(change | {"now": NOW.replace(tzinfo=None)}), values={"name": "A"})
    with pytest.raises(Product.DoesNotExist):
        change_row(**(change | {"row_id": 0}), values={"name": "A"})


def test_what_triggers_ask_about_is_told_to_the_evaluator_and_nothing_else() -> None:
    meter = make_row(table=METER_TABLE, values={"key": "disk", "name": "Disk"}, now=NOW, actor=None)
    change_row(table=METER_TABLE, row_id=meter.pk, values={"name": "Disks"}, now=NOW, actor=None)
    assert not Change.objects.exists()
    change_row(table=METER_TABLE, row_id=meter.pk, values={"max_age_days": 7}, now=NOW, actor=None)
    told = Change.objects.get()
    assert (told.kind, told.account) == ("meter_changed", None)


def test_rows_are_deleted_all_or_none() -> None:
    free, held = ProductFactory(name="Free"), EntitlementFactory().product
    ids = [free.pk, held.pk]
    said = refused(lambda: delete_rows(table=PRODUCTS, row_ids=ids, now=NOW, actor=None))
    assert said == {"": [f"{held} is in use: entitlements, plans."]}
    assert Product.objects.filter(pk__in=ids).count() == 2
    assert delete_rows(table=PRODUCTS, row_ids=[free.pk, 0], now=NOW, actor=None) == 1
    assert TimelineEntry.objects.get().text == "Product Free deleted"
    assert delete_rows(table=PRODUCTS, row_ids=[free.pk], now=NOW, actor=None) == 0


def test_what_a_published_playbook_names_stays() -> None:
    version = PlaybookVersionFactory()
    [key] = {"seats"}
    meter = Meter.objects.filter(key=key).first() or make_row(
        table=METER_TABLE, values={"key": key, "name": "Seats"}, now=NOW, actor=None
    )
    said = refused(lambda: delete_rows(table=METER_TABLE, row_ids=[meter.pk], now=NOW, actor=None))
    assert said == {"": [f"{meter} is in use: the published playbook {version.playbook} names it."]}
    assert Meter.objects.filter(pk=meter.pk).exists()


# Plans


def test_plans_lead_upwards_inside_their_product() -> None:
    product = ProductFactory()
    low, high = PlanFactory(product=product, rank=11), PlanFactory(product=product, rank=12)
    elsewhere = PlanFactory(product=ProductFactory(), rank=20)

    def follow(plan: Plan, following: Plan) -> Any:
        return change_row(table=PLANS, row_id=plan.pk, values={"next_plan": following}, now=NOW, actor=None)

    for following in (elsewhere, low):
        said = refused(lambda following=following: follow(high, following))
        assert said == {"next_plan": ["The next plan is a higher tier of the same product."]}
    assert follow(low, high).next_plan == high
    demoted = {"table": PLANS, "row_id": high.pk, "values": {"rank": 10}, "now": NOW, "actor": None}
    assert set(refused(lambda: change_row(**demoted))) == {"rank"}


def test_feature_names_its_plan_in_words() -> None:
    plan = PlanFactory(name="Gold")
    feature = make_row(
        table=FEATURES, values={"product": plan.product, "key": "export", "name": "Export"}, now=NOW, actor=None
    )
    change_row(table=FEATURES, row_id=feature.pk, values={"least_plan": plan}, now=NOW, actor=None)
    assert TimelineEntry.objects.latest("pk").text == "Feature Export: least plan: Gold (was none)"


# The team


def test_nobody_is_led_by_whom_they_lead() -> None:
    chief = TeamMemberFactory(name="Chief", leads=True)
    lead = TeamMemberFactory(name="Lead", leads=True, manager=chief)
    member = TeamMemberFactory(name="Member", manager=lead)
    for above in (lead, member):
        said = refused(
            lambda above=above: change_member(member_id=chief.pk, values={"manager": above}, now=NOW, actor=None)
        )
        assert said == {"manager": [f"{above} is led by Chief, directly or over others: that would be a circle."]}
    assert change_member(member_id=member.pk, values={"manager": chief}, now=NOW, actor=None).manager == chief


def test_who_has_open_plays_does_not_stop_working() -> None:
    play = PlayFactory()
    member = play.owner
    stop = {"member_id": member.pk, "values": {"is_active": False}, "now": NOW, "actor": None}
    said = refused(lambda: change_member(**stop))
    instead = "“Let them leave the team”, an action of the list of members, hands on all that waits for them"
    assert said == {"is_active": [f"{member} owns or holds an open play: {instead}."]}
    assert TeamMember.objects.get(pk=member.pk).is_active
    assert not TimelineEntry.objects.exists()
    # Whoever left already is not asked again.
    TeamMember.objects.filter(pk=member.pk).update(is_active=False)
    change_member(member_id=member.pk, values={"name": "Gone", "is_active": False}, now=NOW, actor=None)
    assert TeamMember.objects.get(pk=member.pk).name == "Gone"


def test_who_never_had_anything_is_deleted_with_their_absences() -> None:
    absence = AbsenceFactory()
    assert delete_members(member_ids=[absence.member.pk], now=NOW, actor=None) == 1
    assert not TeamMember.objects.exists()
    member = AccountFactory(csm=TeamMemberFactory()).team.get().member
    assert "account team" in refused(lambda: delete_members(member_ids=[member.pk], now=NOW, actor=None))[""][0]


def test_absence_changed_by_another_meanwhile() -> None:
    absence = AbsenceFactory()
    change = {"table": ABSENCES, "row_id": absence.pk, "now": NOW, "actor": None, "expected_version": 1}
    change_row(**change, values={"last_day": absence.last_day + timedelta(days=1)})
    with pytest.raises(Conflict):
        change_row(**change, values={"last_day": absence.last_day + timedelta(days=2)})


# Accounts


def test_account_is_renamed_in_its_own_story() -> None:
    account = AccountFactory(name="Acme")
    version = account.version
    renamed = rename_account(account_id=account.pk, name="Acme Ltd", now=NOW, actor=None, expected_version=version)
    assert (renamed.name, renamed.version, renamed.updated_at) == ("Acme Ltd", version + 1, NOW)
    line = TimelineEntry.objects.get()
    assert (line.account, line.text) == (account, "Renamed: Acme Ltd (was Acme)")
    assert rename_account(account_id=account.pk, name="Acme Ltd", now=NOW, actor=None).version == version + 1
    assert not Change.objects.filter(recorded_at__gt=START).exists()
    with pytest.raises(Conflict):
        rename_account(account_id=account.pk, name="Other", now=NOW, actor=None, expected_version=version)
    assert set(refused(lambda: rename_account(account_id=account.pk, name="", now=NOW, actor=None))) == {"name"}
    assert Account.objects.get(pk=account.pk).name == "Acme Ltd"
