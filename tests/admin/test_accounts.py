"""The forms of the room `accounts`: what they write goes through the acts, what acts refuse stands on the form."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from csplaybooks.accounts.factories import (
    AbsenceFactory,
    AccountFactory,
    ApiTokenFactory,
    ChampionFactory,
    EntitlementFactory,
    FindingFactory,
    PlanFactory,
    ProductFactory,
    QbrFactory,
    TeamMemberFactory,
)
from csplaybooks.accounts.models import (
    Absence,
    Account,
    AccountFacts,
    AccountTeam,
    ApiToken,
    Champion,
    Change,
    Finding,
    FindingState,
    Plan,
    Product,
    Qbr,
    TeamMember,
    TimelineEntry,
)
from csplaybooks.admin_base import LOST_UPDATE
from tests.admin.pages import act, faults, opened, send, told, url

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def now(time_machine):
    time_machine.move_to(NOW, tick=False)


# Accounts


def test_account_is_created_with_ids_facts_and_team(boss):
    member = TeamMemberFactory()
    response = send(
        boss,
        url(Account, "add"),
        name="Acme",
        segment="enterprise",
        customer_since="2026-01-02",
        tags="pilot, emea, pilot",
        csm=member.pk,
        **{"identities-TOTAL_FORMS": 1, "identities-0-source": "crm", "identities-0-external_id": "acme"},
    )
    assert response.status_code == 302
    account = Account.objects.get()
    facts = AccountFacts.objects.get()
    assert (facts.lifecycle, facts.segment, facts.tags) == ("paying", "enterprise", ["pilot", "emea"])
    assert (str(facts.customer_since), facts.valid_from) == ("2026-01-02", NOW)
    assert account.identities.get().external_id == "acme"
    assert AccountTeam.objects.get().member == member
    assert "account_created" in TimelineEntry.objects.values_list("kind", flat=True)
    assert Change.objects.filter(account=account).exists()


def test_id_that_is_taken_stands_on_the_form(boss):
    AccountFactory(name="Acme")
    ids = {"identities-TOTAL_FORMS": 1, "identities-0-source": "crm", "identities-0-external_id": "acme"}
    said = faults(send(boss, url(Account, "add"), name="Other", **ids))
    assert "Another account is already known by this id in this source." in said["__all__"]
    assert Account.objects.count() == 1


def test_only_facts_that_were_changed_are_written(boss):
    account = AccountFactory()
    assert send(boss, url(Account, "change", account.pk), segment="enterprise").status_code == 302
    now = AccountFacts.objects.current().get()
    assert (now.segment, now.region, now.head_count, now.valid_from) == ("enterprise", "emea", 200, NOW)
    assert TimelineEntry.objects.get().text == "Segment: Enterprise (was Mid-market)"
    # Nothing was changed this time, but for the version.
    assert send(boss, url(Account, "change", account.pk)).status_code == 302
    assert AccountFacts.objects.current().get() == now


def test_facts_may_hold_from_an_earlier_day(boss):
    account = AccountFactory()
    values = {"segment": "enterprise", "effective_at": "2026-11-01T08:00"}
    assert send(boss, url(Account, "change", account.pk), **values).status_code == 302
    assert AccountFacts.objects.current().get().valid_from == datetime(2026, 11, 1, 8, tzinfo=UTC)


def test_account_is_given_to_somebody_else_and_to_nobody(boss):
    first, second = TeamMemberFactory.create_batch(2)
    account = AccountFactory(csm=first)
    send(boss, url(Account, "change", account.pk), csm=second.pk)
    assert AccountTeam.objects.current().get().member == second
    send(boss, url(Account, "change", account.pk), csm="")
    assert not AccountTeam.objects.current().exists()


def test_member_who_left_stays_on_the_form(boss):
    member = TeamMemberFactory(is_active=False)
    account = AccountFactory(csm=member)
    assert send(boss, url(Account, "change", account.pk), name="Renamed").status_code == 302
    assert AccountTeam.objects.current().get().member == member
    account.refresh_from_db()
    assert account.name == "Renamed"


def test_refusal_of_an_act_stands_on_the_form_and_writes_nothing(boss):
    member = TeamMemberFactory()
    account = AccountFactory()
    values = {"name": "Renamed", "csm": member.pk, "effective_at": "2027-01-01T08:00"}
    said = faults(send(boss, url(Account, "change", account.pk), **values))
    assert said == {"effective_at": ["This lies in the future."]}
    account.refresh_from_db()
    assert account.name != "Renamed"
    assert not TimelineEntry.objects.exists()


def test_of_two_people_who_save_the_second_is_told(boss):
    account = AccountFactory()
    page = url(Account, "change", account.pk)
    first, second = opened(boss, page), opened(boss, page)
    assert boss.post(page, first | {"region": "apac"}).status_code == 302
    assert faults(boss.post(page, second | {"region": "amer"})) == {"__all__": [LOST_UPDATE]}
    assert AccountFacts.objects.current().get().region == "apac"


# Champions


def test_champion_is_added_and_promoted(boss):
    account = AccountFactory()
    values = {"account": account.pk, "name": "Ada", "title": "Director"}
    assert send(boss, url(Champion, "add"), **values).status_code == 302
    ada = Champion.objects.get()
    assert send(boss, url(Champion, "change", ada.pk), title="Vice president").status_code == 302
    assert [change.kind for change in ada.changes.order_by("pk")] == ["joined", "promoted"]
    assert send(boss, url(Champion, "change", ada.pk), kind="left", occurred_at="2026-11-10T09:00").status_code == 302
    ada.refresh_from_db()
    assert str(ada.left_on) == "2026-11-10"


def test_promotion_in_the_future_stands_on_the_form(boss):
    ada = ChampionFactory()
    page = url(Champion, "change", ada.pk)
    said = faults(send(boss, page, title="Queen", occurred_at="2027-01-01T08:00"))
    assert said == {"occurred_at": ["This lies in the future."]}


def test_champion_changed_by_another_meanwhile(boss):
    ada = ChampionFactory()
    page = url(Champion, "change", ada.pk)
    form = opened(boss, page)
    Champion.objects.update(version=2)
    assert faults(boss.post(page, form | {"title": "Queen"})) == {"__all__": [LOST_UPDATE]}


# Reviews and findings


def qbr_values(account, **values):
    return {
        "account": account.pk,
        "held_at_0": "2026-11-13",
        "held_at_1": "15:00:00",
        "summary": "Went well.",
        **values,
    }


def test_review_is_logged_with_its_findings_in_one_form(boss):
    account = AccountFactory()
    ada = ChampionFactory(account=account)
    product = ProductFactory(name="Analytics")
    findings = {
        "findings-0-kind": "gap",
        "findings-0-text": "Reports by hand",
        "findings-0-product": product.pk,
        "findings-2-kind": "risk",
        "findings-2-text": "Budget freeze",
    }
    response = send(boss, url(Qbr, "add"), **qbr_values(account, attendees=[ada.pk], **findings))
    assert response.status_code == 302
    qbr = Qbr.objects.get()
    assert list(qbr.attendees.all()) == [ada]
    assert [(row.kind, row.product) for row in qbr.findings.order_by("pk")] == [("gap", product), ("risk", None)]
    # One act, one line.
    assert TimelineEntry.objects.get().text == "QBR held; 2 findings: gap (Analytics), risk"
    assert set(FindingState.objects.values_list("valid_from", flat=True)) == {qbr.held_at}


def test_text_of_a_finding_is_no_wider_than_its_cell(boss):
    [inline] = boss.get(url(Qbr, "add")).context["inline_admin_formsets"]
    assert 'cols="40"' in str(inline.formset.forms[0]["text"])
    assert "vLargeTextField" not in str(inline.formset.forms[0]["text"])


def test_review_in_the_future_stands_on_the_form(boss):
    values = qbr_values(AccountFactory(), held_at_0="2026-11-17")
    assert faults(send(boss, url(Qbr, "add"), **values)) == {"held_at": ["This lies in the future."]}
    assert not Qbr.objects.exists()


def test_only_a_gap_names_a_product(boss):
    finding = {"findings-0-kind": "goal", "findings-0-text": "Grow", "findings-0-product": ProductFactory().pk}
    said = faults(send(boss, url(Qbr, "add"), **qbr_values(AccountFactory(), **finding)))
    assert said == {"__all__": ["Only a gap names the product that fills it."]}


def test_attendee_of_another_account_is_refused(boss):
    said = faults(send(boss, url(Qbr, "add"), **qbr_values(AccountFactory(), attendees=[ChampionFactory().pk])))
    assert list(said) == ["attendees"]


def test_review_is_mended_and_added_to(boss):
    qbr = QbrFactory()
    more = {"findings-0-kind": "win", "findings-0-text": "Rollout done"}
    response = send(boss, url(Qbr, "change", qbr.pk), summary="Better.", next_on="2027-02-01", **more)
    assert response.status_code == 302
    qbr.refresh_from_db()
    assert (qbr.summary, str(qbr.next_on), qbr.version) == ("Better.", "2027-02-01", 2)
    assert FindingState.objects.get().valid_from == qbr.held_at
    # What stands there is not written again.
    assert send(boss, url(Qbr, "change", qbr.pk)).status_code == 302
    assert qbr.findings.count() == 1


def test_next_review_before_this_one_stands_on_the_form(boss):
    qbr = QbrFactory()
    assert list(faults(send(boss, url(Qbr, "change", qbr.pk), next_on="2020-01-01"))) == ["next_on"]


def test_finding_is_raised_by_hand_and_settled_by_an_action(boss):
    account = AccountFactory()
    values = {"account": account.pk, "kind": "risk", "text": "Sponsor leaves"}
    assert send(boss, url(Finding, "add"), **values).status_code == 302
    finding = Finding.objects.get()
    assert told(act(boss, Finding, "set_settled", [finding])) == ["1 changed to settled."]
    assert FindingState.objects.current().get().status == "settled"
    assert told(act(boss, Finding, "set_settled", [finding])) == ["0 changed to settled, 1 stood so already."]
    assert boss.get(url(Finding, "changelist"), {"status": "settled"}).context["cl"].result_count == 1
    assert boss.get(url(Finding, "changelist"), {"status": "open"}).context["cl"].result_count == 0


def test_status_before_a_finding_came_up_is_told(boss, time_machine):
    finding = FindingFactory(state__valid_from=NOW)
    time_machine.move_to(datetime(2026, 11, 15, tzinfo=UTC), tick=False)
    [said] = told(act(boss, Finding, "set_settled", [finding]))
    assert "before the finding came up" in said


# The catalogue and the team


def test_money_is_typed_and_shown_as_decimals(boss):
    plan = PlanFactory(price_minor=123_456, seat_price_minor=50)
    page = url(Plan, "change", plan.pk)
    assert opened(boss, page)["price_minor"] == "1234.56"
    assert send(boss, page, price_minor="99.5").status_code == 302
    plan.refresh_from_db()
    assert (plan.price_minor, plan.seat_price_minor, plan.version, plan.updated_at) == (9950, 50, 2, NOW)
    assert "99.50 USD" in boss.get(url(Plan, "changelist")).content.decode()


@pytest.mark.parametrize("typed", ["1.234", "-1", "NaN", "Infinity", "1e400", "twelve", "99999999999999999"])
def test_what_is_no_amount_is_refused(boss, typed):
    product = ProductFactory()
    assert list(faults(send(boss, url(Product, "change", product.pk), list_price_minor=typed))) == ["list_price_minor"]


def test_amount_in_a_currency_without_cents(boss, settings):
    settings.CSPLAYBOOKS = {"CURRENCY": "JPY"}
    product = ProductFactory(list_price_minor=5000)
    page = url(Product, "change", product.pk)
    assert opened(boss, page)["list_price_minor"] == "5000"
    assert list(faults(send(boss, page, list_price_minor="1.5"))) == ["list_price_minor"]


def test_no_price_is_none(boss):
    product = ProductFactory()
    assert send(boss, url(Product, "change", product.pk), list_price_minor="").status_code == 302
    product.refresh_from_db()
    assert product.list_price_minor is None


def test_lost_update_of_a_plain_row_is_told(boss):
    product = ProductFactory()
    page = url(Product, "change", product.pk)
    form = opened(boss, page)
    assert boss.post(page, form | {"name": "First"}).status_code == 302
    assert faults(boss.post(page, form | {"name": "Second"})) == {"__all__": [LOST_UPDATE]}
    without = {name: value for name, value in form.items() if name != "opened_version"}
    assert faults(boss.post(page, without)) == {"__all__": [LOST_UPDATE]}
    product.refresh_from_db()
    assert product.name == "First"


def test_lost_update_between_the_check_and_the_write_is_told(boss, monkeypatch):
    """Another process writes after this one has checked the form."""
    product = ProductFactory()
    page = url(Product, "change", product.pk)
    form = opened(boss, page)

    def overtaken(self, request, form, change):
        Product.objects.update(version=2, name="Theirs")
        return form.save(commit=False)

    monkeypatch.setattr("django.contrib.admin.options.ModelAdmin.save_form", overtaken)
    assert LOST_UPDATE in faults(boss.post(page, form | {"name": "Mine"}))["__all__"]


def test_key_stays_once_others_speak_of_it(boss):
    product = ProductFactory(key="analytics")
    assert send(boss, url(Product, "change", product.pk), key="other").status_code == 302
    product.refresh_from_db()
    assert product.key == "analytics"


def test_what_is_in_use_is_not_deleted_and_names_nobody(boss):
    held = EntitlementFactory(account__name="Secret customer").product
    page = boss.get(url(Product, "delete", held.pk))
    assert page.context["protected"] == ["Entitlements", "Plans"]
    assert "Secret customer" not in page.content.decode()
    assert boss.post(url(Product, "delete", held.pk), {"post": "yes"}).status_code == 200
    free = ProductFactory()
    assert boss.post(url(Product, "delete", free.pk), {"post": "yes"}).status_code == 302
    act(boss, Product, "delete_selected", [held], post="yes")
    assert list(Product.objects.all()) == [held]


def test_absence_is_noted_on_the_members_page(boss):
    member = TeamMemberFactory()
    away = {
        "absences-TOTAL_FORMS": 1,
        "absences-0-first_day": "2026-12-21",
        "absences-0-last_day": "2026-12-31",
        "absences-0-stand_in": "",
    }
    assert send(boss, url(TeamMember, "change", member.pk), **away).status_code == 302
    assert str(Absence.objects.get().last_day) == "2026-12-31"


def test_absence_that_ends_before_it_begins(boss):
    absence = AbsenceFactory()
    said = faults(send(boss, url(Absence, "change", absence.pk), last_day="2025-01-01"))
    assert said == {"__all__": ["An absence must end on or after its first day."]}


# Tokens


def test_token_is_shown_once_and_revoked(boss):
    values = {"name": "Telemetry", "scopes": ["signals:write"]}
    response = send(boss, url(ApiToken, "add"), **values)
    said = told(response)[0]
    value = next(word for word in said.split() if word.startswith("csp_"))
    token = ApiToken.objects.get()
    assert token.digest == ApiToken.digest_of(value)
    assert str(token.created_by) == "operator"
    # Shown on the next page, and on none after that.
    pages = [boss.get(url(ApiToken, "changelist")).content.decode() for _ in range(2)]
    assert [value in page for page in pages] == [True, False]
    asked = act(boss, ApiToken, "revoke", [token])
    assert "stays revoked" in asked.content.decode()
    token.refresh_from_db()
    assert token.revoked_at is None
    assert told(act(boss, ApiToken, "revoke", [token], perform="1")) == ["1 revoked."]
    assert told(act(boss, ApiToken, "revoke", [token], perform="1")) == ["0 revoked, 1 had been before."]
    token.refresh_from_db()
    assert token.revoked_at == NOW


def test_digest_is_never_shown_nor_asked_for(boss):
    token = ApiTokenFactory()
    for page in (url(ApiToken, "change", token.pk), url(ApiToken, "changelist")):
        assert token.digest not in boss.get(page).content.decode()
    assert boss.get(url(ApiToken, "changelist"), {"digest__startswith": token.digest[:3]}).status_code == 400


def test_limited_token_needs_accounts_and_gets_them(boss):
    values = {"name": "Partner", "scopes": ["plays:read"], "limited_to_accounts": "on"}
    assert list(faults(send(boss, url(ApiToken, "add"), **values))) == ["accounts"]
    account = AccountFactory()
    only = {**values, "limited_to_accounts": None, "accounts": [account.pk]}
    assert list(faults(send(boss, url(ApiToken, "add"), **only))) == ["limited_to_accounts"]
    assert send(boss, url(ApiToken, "add"), **values, accounts=[account.pk]).status_code == 302
    assert list(ApiToken.objects.get().accounts.all()) == [account]
