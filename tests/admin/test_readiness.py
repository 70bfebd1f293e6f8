"""Readiness in the admin: weights published on a form, and the panel on an account's page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import AccountFactory, AccountTeamFactory
from csplaybooks.accounts.models import Account
from csplaybooks.signals.factories import (
    WEIGHTS,
    PrunedDayFactory,
    ReadinessWeightsFactory,
    SignalFactory,
    SignalTypeFactory,
)
from csplaybooks.signals.models import ReadinessWeights, ScoreSnapshot
from tests.admin.pages import send, url

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock():
    """It is ten o'clock on 16 November 2026."""
    with time_machine.travel(NOW, tick=False):
        yield


def panel_of(client, account) -> str:
    """The readiness panel of an account's page, without its markup; empty where there is none."""
    page = client.get(url(Account, "change", account.pk)).content.decode()
    found = re.search(r"<h2[^>]*>Readiness</h2>(.*?)</section>", page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", found.group(1)).split()) if found else ""


def test_the_panel_shows_scores_with_the_points_behind_them(boss):
    ReadinessWeightsFactory()
    account = SignalFactory(occurred_at=NOW - DAY).account
    SignalFactory.create_batch(3, account=account, occurred_at=NOW - 20 * DAY)
    assert panel_of(boss, account) == (
        "Tier upsell: 20 of 100 Kind When Signals Each Counts Points "
        "Feature gate hit in the last 14 days 1 8 whole 8 "
        "Feature gate hit 14 to 28 days ago 3 8 half 12 "
        "20 points in all. By readiness weights v1."
    )


def test_what_does_not_count_is_said(boss):
    document = {
        "motions": {"tier_upsell": {"feature_gate_hit": {"weight": 61, "at_most": 2}}},
        "strengths": {"feature_gate_hit": "strong"},
    }
    ReadinessWeightsFactory(document=document)
    account = AccountFactory()
    SignalFactory.create_batch(5, account=account, occurred_at=NOW)
    SignalFactory.create_batch(4, account=account, occurred_at=NOW - 15 * DAY)
    shown = panel_of(boss, account)
    assert "2 count and 3 more that do not 61 whole 122" in shown
    assert "none of 4: newer ones count already 61 half 0" in shown
    assert "122 points in all, of which 100 count." in shown


def test_each_line_leads_to_its_signals(boss):
    ReadinessWeightsFactory()
    account = SignalFactory(occurred_at=NOW - DAY).account
    old = SignalFactory.create_batch(2, account=account, occurred_at=NOW - 20 * DAY)
    page = boss.get(url(Account, "change", account.pk)).content.decode()
    links = [link.replace("&amp;", "&") for link in re.findall(r'href="(/admin/[^"]*signal/\?[^"]*id__in[^"]*)"', page)]
    assert len(links) == 2
    listed = boss.get(links[1]).context["cl"].result_list
    assert {signal.pk for signal in listed} == {signal.pk for signal in old}


def test_links_and_panel_are_for_those_who_may_look_at_the_tables(csm, carla):
    ReadinessWeightsFactory()
    account = SignalFactory(occurred_at=NOW).account

    def page_without(table: str) -> str:
        carla.user.user_permissions.remove(*Permission.objects.filter(codename__endswith=f"_{table}"))
        return str(csm.get(url(Account, "change", account.pk)).content.decode())

    assert "id__in" in page_without("meter")
    assert "id__in" not in page_without("signal")
    assert "Tier upsell: 8 of 100" in panel_of(csm, account)
    page_without("scoresnapshot")
    assert panel_of(csm, account) == ""


def test_nobody_reads_of_an_account_out_of_sight(csm):
    ReadinessWeightsFactory()
    account = AccountTeamFactory().account
    SignalFactory(account=account, occurred_at=NOW)
    assert csm.get(url(Account, "change", account.pk)).status_code == 302


def test_without_weights_or_signals(boss):
    account = AccountFactory()
    assert panel_of(boss, account) == ""
    ReadinessWeightsFactory()
    assert panel_of(boss, account) == "No signal counts now (readiness weights v1)."
    PrunedDayFactory(before=NOW)
    assert panel_of(boss, account).startswith("Readiness at 2026-11-16 10:00 looks 42 days back")


def test_queries_of_the_page_do_not_grow(boss):
    kinds = ["feature_gate_hit", "login", "user_added"]
    for key in kinds:
        SignalTypeFactory(key=key)
    lines = {key: {"weight": 1, "at_most": 50} for key in kinds}
    document = {
        "motions": dict.fromkeys(("tier_upsell", "cross_sell", "add_on"), lines),
        "strengths": dict.fromkeys(kinds, "strong"),
    }
    account = AccountFactory()
    address = url(Account, "change", account.pk)
    boss.get(address)

    def counted() -> int:
        with CaptureQueriesContext(connection) as queries:
            boss.get(address)
        return len(queries)

    before = counted()
    ReadinessWeightsFactory(document=document)
    SignalFactory(account=account, occurred_at=NOW)
    with_one = counted()
    for key in kinds:
        SignalFactory.create_batch(20, account=account, type__key=key, occurred_at=NOW - 15 * DAY)
    # The horizon, the kinds, the signals, and the kinds' names; the weights were asked for before.
    assert counted() == with_one == before + 4


def test_the_form_begins_with_what_is_in_force_and_publishes_the_next(boss):
    SignalTypeFactory()
    first = boss.get(url(ReadinessWeights, "add")).context["adminform"].form
    assert first.initial["source"].startswith("# What a signal weighs for each motion")
    assert first.initial["opened_number"] == 0
    assert send(boss, url(ReadinessWeights, "add"), source=WEIGHTS, opened_number=0).status_code == 302
    form = boss.get(url(ReadinessWeights, "add")).context["adminform"].form
    assert (form.initial["source"], form.initial["opened_number"]) == (WEIGHTS, 1)
    later = WEIGHTS.replace("8", "9").replace("\n", "\r\n")
    assert send(boss, url(ReadinessWeights, "add"), source=later, opened_number=1).status_code == 302
    assert [version.source for version in ReadinessWeights.objects.order_by("number")] == [
        WEIGHTS,
        WEIGHTS.replace("8", "9"),
    ]
    page = boss.get(url(ReadinessWeights, "change", ReadinessWeights.objects.get(number=1).pk)).content.decode()
    assert "feature_gate_hit: {weight: 8}" in page
    assert 'name="source"' not in page


def told(client):
    """The messages on the list."""
    return [str(message) for message in client.get(url(ReadinessWeights, "changelist")).context["messages"]]


def test_a_text_that_is_in_force_already_is_not_told_to_be_new(boss):
    SignalTypeFactory()
    send(boss, url(ReadinessWeights, "add"), source=WEIGHTS, opened_number=0)
    (said,) = told(boss)
    assert said.startswith("The version of the readiness weights")
    assert "was added successfully" in said
    assert LogEntry.objects.count() == 1
    response = send(boss, url(ReadinessWeights, "add"))
    assert response.headers["Location"] == url(ReadinessWeights, "changelist")
    assert told(boss) == ["Nothing was published: this very text is in force already, as readiness weights v1."]
    assert ReadinessWeights.objects.count() == 1
    assert LogEntry.objects.count() == 1


def test_versions_and_scores_are_counted_in_words(boss):
    assert "0 versions of the readiness weights" in boss.get(url(ReadinessWeights, "changelist")).content.decode()
    ReadinessWeightsFactory()
    assert "1 version of the readiness weights" in boss.get(url(ReadinessWeights, "changelist")).content.decode()
    assert "0 readiness scores" in boss.get(url(ScoreSnapshot, "changelist")).content.decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("motions: {}", "motions: is empty"),
        ("motions: {tier_upsell: {nope: {weight: 1}}}", "motions/tier_upsell/nope: there is no signal type nope"),
    ],
)
def test_the_form_says_what_is_wrong_by_its_place(boss, text, said):
    response = send(boss, url(ReadinessWeights, "add"), source=text, opened_number=0)
    assert response.status_code == 200
    assert said in response.context["adminform"].form.errors["source"]
    assert text in response.content.decode()


def test_who_opened_the_form_too_early_is_told(boss):
    SignalTypeFactory()
    ReadinessWeightsFactory()
    response = send(boss, url(ReadinessWeights, "add"), source=WEIGHTS.replace("8", "9"), opened_number=0)
    assert response.status_code == 200
    assert "Somebody else changed this" in response.content.decode()
