"""What accounts hold, told by hand: lines are added and ended by the acts, and every row of them stays."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from csplaybooks.accounts.factories import (
    START,
    AccountFactory,
    AccountTeamFactory,
    EntitlementFactory,
    PlanFactory,
    ProductFactory,
    TeamMemberFactory,
)
from csplaybooks.accounts.models import Change, Entitlement, TimelineEntry
from csplaybooks.playbooks.acts.roles import make_groups
from tests.admin.pages import act, faults, send, told, url

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
ADD = "admin:csplaybooks_accounts_entitlement_add"


@pytest.fixture(autouse=True)
def now(time_machine: Any) -> None:
    time_machine.move_to(NOW, tick=False)


@pytest.fixture
def suite() -> Any:
    return ProductFactory(key="suite", name="Suite")


@pytest.fixture
def plan(suite: Any) -> Any:
    return PlanFactory(name="Team", product=suite)


def line(account: Any, plan: Any, /, **values: Any) -> dict[str, Any]:
    """What is filled in for a line of 20 seats; all else as the form opens."""
    about = {"account": account.pk, "subscription": "sub-1", "product": plan.product_id, "plan": plan.pk}
    return {**about, "quantity": "20", "mrr_minor": "990.50"} | values


def current(**of: Any) -> Any:
    """The one row that holds without an end known."""
    return Entitlement.objects.current().get(**of)


def listed(client: Any) -> str:
    """The list, with its actions."""
    return str(client.get(url(Entitlement, "changelist")).content.decode())


# Added


def test_line_is_told_whole(boss, operator, plan):
    account = AccountFactory(name="Acme")
    assert send(boss, reverse(ADD), **line(account, plan)).status_code == 302
    row = current()
    assert (row.account, row.subscription, row.product, row.plan) == (account, "sub-1", plan.product, plan)
    assert (row.quantity, row.mrr_minor, row.term_months, row.valid_from) == (20, 99_050, 12, NOW)
    entry = TimelineEntry.objects.get(account=account)
    assert (entry.kind, entry.text) == ("entitlement_changed", "Suite (Team), quantity 20")
    assert (entry.actor, entry.actor_label) == (operator, "operator")
    assert Change.objects.filter(account=account, kind="entitlements").exists()


def test_line_without_a_plan_holds_from_the_day_that_is_told(boss, plan):
    values = line(AccountFactory(), plan, plan="", term_months="1", valid_from="2026-11-01T08:00")
    assert send(boss, reverse(ADD), **values).status_code == 302
    row = current()
    assert (row.plan, row.term_months, row.valid_from) == (None, 1, datetime(2026, 11, 1, 8, tzinfo=UTC))


def test_amounts_are_typed_in_the_currency_of_the_reports(boss, plan, settings):
    settings.CSPLAYBOOKS = {"CURRENCY": "JPY"}
    page = boss.get(reverse(ADD)).content.decode()
    assert "In JPY a month." in page
    assert send(boss, reverse(ADD), **line(AccountFactory(), plan, mrr_minor="90000")).status_code == 302
    assert current().mrr_minor == 90_000


def test_line_that_is_told_again_takes_the_place_of_what_held(boss, plan):
    account = AccountFactory()
    before = EntitlementFactory(
        account=account, subscription="sub-1", product=plan.product, plan=plan, quantity=10, mrr_minor=49_000
    )
    assert send(boss, reverse(ADD), **line(account, plan)).status_code == 302
    assert (current().quantity, current().valid_from) == (20, NOW)
    ended = Entitlement.objects.get(account=account, superseded_by__isnull=True, valid_to=NOW)
    assert (ended.quantity, ended.valid_from) == (10, before.valid_from)
    before.refresh_from_db()
    assert before.superseded_by is not None


def test_line_that_holds_just_so_is_told_of_and_nothing_is_written(boss, plan):
    account = AccountFactory()
    send(boss, reverse(ADD), **line(account, plan))
    changes = Change.objects.count()
    said = faults(send(boss, reverse(ADD), **line(account, plan)))
    assert said == {"__all__": ["The account holds just this already (since Nov. 16, 2026, 10 a.m.)."]}
    assert (Entitlement.objects.count(), Change.objects.count()) == (1, changes)


@pytest.mark.parametrize(
    ("values", "field", "why"),
    [
        ({"mrr_minor": "-1"}, "mrr_minor", "not negative"),
        ({"mrr_minor": "1.005"}, "mrr_minor", "at most 2 digits"),
        ({"quantity": "-1"}, "quantity", "greater than or equal to 0"),
        ({"subscription": ""}, "subscription", "required"),
        ({"account": ""}, "account", "required"),
        ({"term_months": ""}, "term_months", "required"),
    ],
)
def test_what_is_wrong_stands_at_its_field(boss, plan, values, field, why):
    said = faults(send(boss, reverse(ADD), **line(AccountFactory(), plan, **values)))
    assert list(said) == [field]
    assert why in said[field][0]
    assert not Entitlement.objects.exists()


def test_what_the_act_refuses_stands_at_its_field(boss, plan):
    other = ProductFactory(name="Add-on")
    said = faults(send(boss, reverse(ADD), **line(AccountFactory(), plan, product=other.pk)))
    assert said == {"plan": ["The plan Team belongs to another product."]}
    assert not Entitlement.objects.exists()


def test_account_is_chosen_among_those_that_the_person_sees(csm, carla, plan):
    own = AccountFactory(name="Own", csm=carla)
    other = AccountFactory(name="Other", csm=TeamMemberFactory())
    asked = {"app_label": "csplaybooks_accounts", "model_name": "entitlement", "field_name": "account"}
    found = csm.get(reverse("admin:autocomplete"), asked).json()["results"]
    assert [each["text"] for each in found] == ["Own"]
    assert "account" in faults(send(csm, reverse(ADD), **line(other, plan)))
    assert send(csm, reverse(ADD), **line(own, plan)).status_code == 302
    assert current().account == own


# Ended


def holding(**values: Any) -> Any:
    """A line that holds since START."""
    return EntitlementFactory(valid_from=START, **values)


def test_end_is_asked_for_before_anything_happens(boss, suite):
    row = holding(account__name="Acme", product=suite)
    page = act(boss, Entitlement, "end_lines", [row])
    assert page.status_code == 200
    text = page.content.decode()
    for part in ("Acme: Suite", "An end cannot be taken back", "Ends at", "End entitlements", 'name="at"'):
        assert part in text
    assert not told(page)
    row.refresh_from_db()
    assert row.superseded_by is None


def test_line_ends_now(boss, suite):
    row, other = holding(product=suite), holding()
    response = act(boss, Entitlement, "end_lines", [row], perform="1", at="")
    assert told(response) == ["1 ended."]
    assert current() == other
    ended = Entitlement.objects.get(account=row.account, superseded_by__isnull=True)
    assert (ended.valid_from, ended.valid_to) == (START, NOW)
    entry = TimelineEntry.objects.get(account=row.account)
    assert (entry.kind, entry.text, entry.actor_label) == ("entitlement_ended", "Suite ended", "operator")


@pytest.mark.parametrize(
    ("at", "end", "text"),
    [
        ("2026-11-01T08:00", datetime(2026, 11, 1, 8, tzinfo=UTC), "Suite ended"),
        ("2026-12-31T12:00", datetime(2026, 12, 31, 12, tzinfo=UTC), "Suite ended, from 2026-12-31 on"),
    ],
)
def test_line_ends_when_it_is_said_to(boss, suite, at, end, text):
    row = holding(product=suite)
    assert told(act(boss, Entitlement, "end_lines", [row], perform="1", at=at)) == ["1 ended."]
    assert Entitlement.objects.get(superseded_by__isnull=True).valid_to == end
    assert TimelineEntry.objects.get(account=row.account).text == text


def test_rows_that_do_not_hold_then_end_nothing(boss, plan):
    """Of an old row that was chosen by mistake, the line that goes on stays."""
    account = AccountFactory()
    send(boss, reverse(ADD), **line(account, plan, valid_from="2026-11-01T08:00"))
    send(boss, reverse(ADD), **line(account, plan, quantity="30"))
    old = list(Entitlement.objects.exclude(pk=current().pk))
    other = holding()
    # Its first stretch, as told at first and as it was told again.
    assert len(old) == 2
    response = act(boss, Entitlement, "end_lines", [*old, other], perform="1", at="")
    assert told(response) == ["1 ended; not held at that moment: 2."]
    assert current().quantity == 30
    response = act(boss, Entitlement, "end_lines", [other], perform="1", at="")
    assert told(response) == ["0 ended; not held at that moment: 1."]


def test_moment_that_is_none_is_asked_for_again(boss):
    row = holding()
    page = act(boss, Entitlement, "end_lines", [row], perform="1", at="soon")
    assert page.status_code == 200
    assert "Enter a valid date/time." in page.content.decode()
    row.refresh_from_db()
    assert row.superseded_by is None


def test_many_lines_end_in_as_many_queries_as_one(boss, django_assert_max_num_queries):
    rows = [holding() for _ in range(6)]

    def queries(chosen: list[Any]) -> int:
        with django_assert_max_num_queries(100) as counted:
            act(boss, Entitlement, "end_lines", chosen, perform="1", at="")
        return len(counted.captured_queries)

    assert queries(rows[:1]) == queries(rows[1:])


# History, and who may


def test_rows_are_neither_changed_nor_deleted(boss):
    row = holding(mrr_minor=99_050)
    page = boss.get(url(Entitlement, "change", row.pk))
    assert not page.context["has_change_permission"]
    assert "990.50 USD" in page.content.decode()
    assert boss.post(url(Entitlement, "change", row.pk), {}).status_code == 403
    assert boss.post(url(Entitlement, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert "delete_selected" not in listed(boss)


def test_page_leads_to_what_was_done(boss, plan):
    account = AccountFactory(name="Acme")
    send(boss, reverse(ADD), **line(account, plan))
    links = dict(boss.get(url(Entitlement, "change", current().pk)).context["see_also"])
    assert "Suite (Team), quantity 20" in boss.get(links["What was done"]).content.decode()


def test_managers_tell_what_their_customers_hold_and_csms_look(signed_in, plan):
    make_groups()
    mona = TeamMemberFactory(name="Mona", leads=True)
    carla = TeamMemberFactory(name="Carla", manager=mona)
    for member, role in ((mona, "manager"), (carla, "customer success manager")):
        member.user.groups.add(Group.objects.get(name=f"csplaybooks: {role}"))
    account = AccountFactory(name="Acme", csm=carla)
    manager, csm = signed_in(mona.user), signed_in(carla.user)
    assert csm.get(reverse(ADD)).status_code == 403
    assert send(manager, reverse(ADD), **line(account, plan)).status_code == 302
    assert "end_lines" not in listed(csm)
    act(csm, Entitlement, "end_lines", [current()], perform="1", at="")
    assert current().account == account
    assert told(act(manager, Entitlement, "end_lines", [current()], perform="1", at="")) == ["1 ended."]
    elsewhere = holding()
    AccountTeamFactory(account=elsewhere.account, member=TeamMemberFactory())
    act(manager, Entitlement, "end_lines", [elsewhere], perform="1", at="")
    elsewhere.refresh_from_db()
    assert elsewhere.superseded_by is None
    assert "account" in faults(send(manager, reverse(ADD), **line(elsewhere.account, plan)))
