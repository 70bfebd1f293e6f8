"""Measures on the features of the catalogue: whose they are, and when they count."""

from __future__ import annotations

import json

import pytest

from csplaybooks.accounts.acts import change_row, end_entitlements
from csplaybooks.accounts.acts.catalogue import PLANS
from csplaybooks.accounts.factories import (
    AccountFactory,
    ChangeFactory,
    EntitlementFactory,
    FeatureFactory,
    ProductFactory,
)
from csplaybooks.accounts.models import Feature, Plan
from csplaybooks.playbooks import compiled
from csplaybooks.playbooks.evaluator import compile_query, evaluate
from csplaybooks.playbooks.factories import RunFactory
from csplaybooks.playbooks.measures import Known, Moment
from csplaybooks.signals.factories import IntakeBatchFactory
from csplaybooks.signals.models import Signal
from tests.playbooks.selling import DAY, MOMENT, NEW, NEXT, NOW, TICKETS, hold, holder, sell, send, trigger, words

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sold() -> None:
    """What is sold in these tests."""
    sell()


# Features touched of the next tier


@pytest.mark.parametrize(
    ("touched", "threshold", "meets"),
    [
        (3, {"at_least": 75}, True),
        (3, {"above": 75}, False),
        (3, {"above": 74}, True),
        (3, {"at_least": 76}, False),
        (2, {"at_least": 51}, False),
        (2, {"at_least": 50}, True),
        (4, {"at_least": 100}, True),
        (4, {"above": 99}, True),
        (1, {"above": 0}, True),
        (0, {"above": 0}, False),
    ],
)
def test_share_of_the_next_tier_is_exact(touched, threshold, meets):
    acme = holder("starter")
    send(acme, "boards", *("approvals", "comments", "guests", "polls")[:touched])
    assert (words(acme, **NEXT, **threshold) is not None) is meets


@pytest.mark.parametrize("percent", [1, 33, 34, 66, 67, 100])
def test_thirds_are_not_rounded(percent):
    acme = holder("starter")
    Feature.objects.get(key="polls").delete()
    send(acme, "approvals")
    assert (words(acme, **NEXT, at_least=percent) is not None) is (percent <= 33)


def test_both_kinds_of_signal_count_and_each_feature_once():
    acme = holder("starter")
    send(acme, "approvals", "approvals", "comments")
    send(acme, "approvals", "guests", kind="feature_gate_hit")
    send(acme, "polls", kind="support_ticket")
    assert words(acme, **NEXT, at_least=75) == (
        "3 of 4 features that team adds touched (75 %: approvals, comments, guests) in 30 days, needed at least 75 %"
    )
    assert words(acme, **NEXT, at_least=76) is None
    assert words(acme, **NEXT, at_least=50, signal_types=["feature_gate_hit"]) is not None
    assert words(acme, **NEXT, at_least=51, signal_types=["feature_gate_hit"]) is None
    assert words(acme, **NEXT, at_least=1, signal_types=["no_such_type"]) is None
    assert words(acme, **NEXT, at_least=25, signal_types=["support_ticket", "no_such_type"]) is not None


def test_what_names_no_feature_is_passed_over():
    acme = holder("starter")
    number = FeatureFactory(key="1", least_plan=Plan.objects.get(key="team"))
    for value in ("no-such-feature", "Approvals", "", 1, 1.5, True, None, ["approvals"], {"feature": "approvals"}):
        send(acme, value)
    send(acme, None, properties={"other": "approvals", 'fea"ture': "comments"})
    assert words(acme, **NEXT, above=0) is None
    assert words(acme, **NEXT, at_least=20, property="other") is not None
    assert words(acme, **NEXT, at_least=20, property='fea"ture') is not None
    send(acme, number.key)
    assert words(acme, **NEXT, at_least=20) is not None


def test_window_of_the_next_tier_is_known_to_the_moment():
    acme = holder("starter")
    send(acme, "approvals", ago=30 * DAY)
    send(acme, "comments", ago=0 * DAY)
    assert words(acme, **NEXT, at_least=25) is not None
    assert words(acme, **NEXT, at_least=26) is None
    assert words(acme, at=NOW - MOMENT, **NEXT, at_least=25) is not None
    assert words(acme, at=NOW - MOMENT, **NEXT, at_least=26) is None
    assert words(acme, at=NOW - 30 * DAY - MOMENT, **NEXT, at_least=1) is None


@pytest.mark.parametrize("plans", [(), ("enterprise",), ("business",), ("starter", "team"), ("starter", "business")])
def test_without_a_next_plan_that_adds_anything_it_fails(plans):
    acme = holder(*plans)
    # Of a plan held twice over, the next of the lower one is there already.
    send(acme, "approvals", "comments", "guests", "polls")
    assert words(acme, **NEXT, above=0) is None


def test_further_tiers_and_those_passed_over_are_not_the_next_one():
    acme = holder("starter")
    send(acme, "audit", "sso")
    assert words(acme, **NEXT, above=0) is None
    starter = Plan.objects.get(key="starter")
    change_row(
        table=PLANS, row_id=starter.pk, values={"next_plan": Plan.objects.get(key="business")}, now=NOW, actor=None
    )
    assert words(acme, **NEXT, at_least=100) is not None
    send(acme, "approvals")
    said = words(acme, **NEXT, at_least=100)
    assert said is not None
    assert said.startswith("2 of 2 features that business adds touched (100 %: audit, sso)")


def test_of_several_products_one_is_enough_and_the_most_touched_is_told():
    acme = holder("starter", "basic")
    send(acme, "approvals", "comments", "guests", "forecast")
    said = words(acme, **NEXT, at_least=70)
    assert said is not None
    assert said.startswith("1 of 1 features that pro adds touched (100 %: forecast)")
    other = holder("starter")
    send(other, "approvals", "comments", "guests", "forecast")
    said = words(other, **NEXT, at_least=70)
    assert said is not None
    assert said.startswith("3 of 4 features that team adds")
    # What one product's step lacks, another's does not make up for, nor what is held already.
    split = holder("starter", "team", "basic")
    send(split, "audit", "approvals", "comments", "guests")
    assert words(split, **NEXT, at_least=50) is not None
    assert words(split, **NEXT, at_least=51) is None


def test_plan_is_that_of_the_moment_asked_about():
    acme = AccountFactory()
    changed = NOW - 2 * DAY
    hold(acme, "starter", valid_to=changed)
    hold(acme, "team", valid_from=changed)
    send(acme, "approvals", "comments", "guests", "polls", ago=3 * DAY)
    assert words(acme, at=changed - MOMENT, **NEXT, at_least=100) is not None
    assert words(acme, at=changed, **NEXT, above=0) is None
    send(acme, "sso")
    assert words(acme, **NEXT, at_least=50) is not None


def test_void_and_corrected_touches_count_as_corrected():
    acme = holder("starter")
    first, second = send(acme, "approvals"), send(acme, "comments")
    assert words(acme, **NEXT, at_least=50) is not None
    send(acme, "approvals", corrects=first, is_void=True)
    assert words(acme, **NEXT, at_least=50) is None
    send(acme, "guests", corrects=second)
    said = words(acme, **NEXT, at_least=25)
    assert said is not None
    assert "(25 %: guests)" in said


def test_next_tier_known_at_a_mark():
    RunFactory.create_batch(3)
    acme = AccountFactory()
    later = ChangeFactory(account=acme, seen_by_run=3)
    hold(acme, "starter", change=ChangeFactory(account=acme, seen_by_run=1), superseded_by=later)
    hold(acme, "team", change=later)
    send(acme, "approvals", "comments", batch=IntakeBatchFactory(seen_by_run=1))
    send(acme, "guests", batch=IntakeBatchFactory(seen_by_run=2))
    send(acme, "polls", batch=IntakeBatchFactory())
    answers = [words(acme, known=Known.now(mark), **NEXT, at_least=75) for mark in (1, 2, 3, None)]
    assert [answer is not None for answer in answers] == [False, True, False, False]
    assert words(acme, known=Known.now(1), **NEXT, at_least=50) is not None


def test_many_features_are_named_in_part():
    acme = holder("starter")
    for number in range(4):
        FeatureFactory(key=f"more-{number}", least_plan=Plan.objects.get(key="team"))
        send(acme, f"more-{number}")
    send(acme, "approvals", "comments", "guests")
    (hit,) = evaluate(trigger({**NEXT, "at_least": 80}), NOW, Known.now())
    assert hit.evidence[0]["words"] == (
        "7 of 8 features that team adds touched (87.5 %: approvals, comments, guests, more-0, more-1 and 2 more) "
        "in 30 days, needed at least 80 %"
    )
    told = hit.evidence[0]["found"]["next_tier"]
    assert (told["plan"], told["total"], told["touched"], len(told["features"])) == ("team", 8, 7, 7)
    assert json.loads(json.dumps(hit.evidence)) == hit.evidence


# Features not held


@pytest.mark.parametrize(
    ("plans", "unheld"),
    [
        (("starter",), {"approvals", "sso", "trends", "forecast", "lock"}),
        (("team",), {"sso", "trends", "forecast", "lock"}),
        (("enterprise",), {"trends", "forecast", "lock"}),
        (("team", "starter", "basic"), {"sso", "forecast", "lock"}),
        (("pro",), {"boards", "dashboards", "approvals", "sso", "lock"}),
        ((), {"boards", "dashboards", "approvals", "sso", "trends", "forecast", "lock"}),
    ],
)
def test_feature_is_held_with_its_plan_a_higher_one_or_its_product(plans, unheld):
    acme = holder(*plans)
    send(acme, "boards", "dashboards", "approvals", "sso", "trends", "forecast", "lock", kind="support_ticket")
    (hit,) = evaluate(trigger({**TICKETS, "at_least": 1}), NOW, Known.now())
    assert set(hit.evidence[0]["found"]["features"]) == unheld
    assert hit.evidence[0]["found"]["count"] == len(unheld)
    assert words(acme, **TICKETS, at_least=len(unheld)) is not None
    assert words(acme, **TICKETS, above=len(unheld)) is None


def test_product_held_without_a_plan_opens_what_needs_none():
    acme = AccountFactory()
    for product in ("platform", "vault"):
        EntitlementFactory(account=acme, plan=None, product=ProductFactory(key=product))
    send(acme, "boards", "lock", kind="support_ticket")
    assert words(acme, **TICKETS, at_least=1) is None
    send(acme, "dashboards", kind="support_ticket")
    assert words(acme, **TICKETS, at_least=1) == (
        "support ticket: 1 about features not held (dashboards) in 30 days, needed at least 1"
    )


def test_each_signal_about_a_feature_not_held_counts():
    acme = holder("starter")
    send(acme, "sso", "sso", "approvals", "dashboards", "unknown", 1, None, kind="support_ticket")
    send(acme, "sso", "sso")
    assert words(acme, **TICKETS, at_least=3) == (
        "support ticket: 3 about features not held (approvals, sso) in 30 days, needed at least 3"
    )
    assert words(acme, **TICKETS, above=3) is None
    assert words(acme, **{**TICKETS, "signal_type": "feature_used"}, at_least=2) is not None
    assert words(acme, **{**TICKETS, "signal_type": "feature_used"}, above=2) is None


def test_tickets_are_narrowed_by_properties_and_by_window():
    acme = holder("starter")
    for topic, ago in (("how to", 30 * DAY), ("how to", 30 * DAY - MOMENT), ("how to", 0 * DAY), ("fault", DAY)):
        send(acme, None, kind="support_ticket", ago=ago, properties={"feature": "sso", "topic": topic})
    send(acme, None, kind="support_ticket", properties={"about": "sso"})
    assert words(acme, **TICKETS, at_least=3) is not None
    assert words(acme, **TICKETS, above=3) is None
    assert words(acme, **TICKETS, at_least=2, properties={"topic": "how to"}) is not None
    assert words(acme, **TICKETS, above=2, properties={"topic": "how to"}) is None
    assert words(acme, **TICKETS, at_least=1, property="about") is not None
    assert words(acme, at=NOW - MOMENT, **TICKETS, at_least=2, properties={"topic": "how to"}) is not None
    assert words(acme, at=NOW + MOMENT, **TICKETS, at_least=2, properties={"topic": "how to"}) is None


def test_held_is_asked_of_the_moment_and_not_of_the_signal():
    acme = AccountFactory()
    bought = NOW - 2 * DAY
    hold(acme, "starter", valid_to=bought)
    hold(acme, "business", valid_from=bought)
    send(acme, "sso", kind="support_ticket", ago=5 * DAY)
    assert words(acme, at=bought - MOMENT, **TICKETS, at_least=1) is not None
    assert words(acme, at=bought, **TICKETS, at_least=1) is None
    # And what is not held any more is not held, though it was when the ticket came.
    end_entitlements(
        lines=list(acme.entitlements.filter(valid_to__isnull=True).values_list("account_id", "subscription")),
        effective_at=NOW,
        now=NOW,
        actor=None,
    )
    assert words(acme, at=NOW - MOMENT, **TICKETS, at_least=1) is None
    assert words(acme, **TICKETS, at_least=1) is not None


def test_tickets_known_at_a_mark_and_corrected():
    RunFactory.create_batch(3)
    acme = AccountFactory()
    hold(acme, "starter", change=ChangeFactory(account=acme, seen_by_run=1))
    hold(acme, "business", change=ChangeFactory(account=acme, seen_by_run=3))
    batches = [IntakeBatchFactory(seen_by_run=mark) for mark in (1, 2, 2)]
    first = send(acme, "sso", kind="support_ticket", batch=batches[0])
    send(acme, "dashboards", kind="support_ticket", batch=batches[1], corrects=first)
    send(acme, "audit", "approvals", kind="support_ticket", batch=batches[2])
    counts = []
    for mark in (1, 2, 3):
        hits = evaluate(trigger({**TICKETS, "at_least": 1}), NOW, Known.now(mark))
        counts.append([hit.evidence[0]["found"]["count"] for hit in hits])
    assert counts == [[1], [2], []]


# Areas used for the first time


def test_area_is_new_where_it_was_not_used_before():
    acme = holder("starter")
    send(acme, "boards", ago=100 * DAY)
    send(acme, "boards", ago=DAY)
    assert words(acme, **NEW) is None
    send(acme, "dashboards", ago=3 * DAY)
    send(acme, "trends", "approvals", ago=2 * DAY)
    assert words(acme, **NEW) == "feature used: reporting first used on 2026-11-13, not in the 180 days before"
    # Another feature of the area, and another way to get there.
    other = holder("starter")
    send(other, "trends", ago=40 * DAY)
    send(other, "dashboards")
    assert words(other, **NEW) is None
    # Knocking is not using.
    send(other, "audit", kind="feature_gate_hit")
    assert words(other, **NEW) is None
    assert words(other, **NEW, signal_type="feature_gate_hit") is not None


def test_quiet_days_and_window_are_known_to_the_moment():
    acme = holder("starter")
    quiet = {**NEW, "quiet_days": 60}
    send(acme, "boards", ago=90 * DAY)
    send(acme, "boards", ago=0 * DAY)
    # Exactly ninety days ago lies before both.
    assert words(acme, **quiet) is not None
    assert words(acme, at=NOW - MOMENT, **quiet) is None
    assert words(acme, at=NOW + 30 * DAY - MOMENT, **quiet) is not None
    assert words(acme, at=NOW + 30 * DAY, **quiet) is None
    send(acme, "boards", ago=90 * DAY - MOMENT)
    assert words(acme, **quiet) is None
    assert words(acme, at=NOW + MOMENT, **quiet) is not None
    # At the end of the days before, where the window begins.
    other = holder("starter")
    send(other, "boards", ago=30 * DAY)
    assert words(other, **quiet) is None
    assert words(other, at=NOW - MOMENT, **quiet) is not None
    send(other, "boards")
    assert words(other, **quiet) is None


def test_signal_may_say_its_area_where_its_feature_has_none():
    acme = holder("starter")
    for properties, area in (
        ({"area": "imports"}, "imports"),
        ({"feature": "polls", "area": "fun"}, "fun"),
        ({"feature": "unknown", "area": "odd"}, "odd"),
        ({"feature": "boards", "area": "imports"}, "work"),
    ):
        Signal.objects.all().delete()
        send(acme, None, properties=properties)
        (hit,) = evaluate(trigger(NEW), NOW, Known.now())
        assert hit.evidence[0]["found"]["area"] == area
    Signal.objects.all().delete()
    for name, value in (("area", ""), ("area", 1), ("feature", "polls"), ("feature", "unknown"), ("topic", "x")):
        send(acme, None, properties={name: value})
    assert words(acme, **NEW) is None
    send(acme, None, properties={"what": "boards", "by": "hand"})
    assert words(acme, **NEW, property="what") is not None
    assert words(acme, **NEW, property="what", properties={"by": "script"}) is None
    # By whichever way it was used before, it was.
    send(acme, None, properties={"area": "work"}, ago=40 * DAY)
    assert words(acme, **NEW, property="what") is None


def test_areas_without_a_catalogue_are_those_that_signals_say():
    acme = holder()
    Feature.objects.all().delete()
    send(acme, "boards")
    assert words(acme, **NEW) is None
    send(acme, None, properties={"area": "imports"})
    assert words(acme, **NEW) is not None
    for condition in ({**NEXT, "at_least": 1}, {**TICKETS, "at_least": 1}):
        assert words(acme, **condition) is None


def test_void_use_is_none_and_late_news_counts_once_told():
    RunFactory.create_batch(3)
    acme = holder("starter")
    batches = [IntakeBatchFactory(seen_by_run=mark) for mark in (1, 2, 3)]
    send(acme, "boards", batch=batches[0])
    before = send(acme, "boards", ago=40 * DAY, batch=batches[1])
    send(acme, "boards", ago=40 * DAY, batch=batches[2], corrects=before, is_void=True)
    answers = [words(acme, known=Known.now(mark), **NEW) is not None for mark in (1, 2, 3, None)]
    assert answers == [True, False, True, True]


# All of them


CONDITIONS = ({**NEXT, "at_least": 25}, {**TICKETS, "at_least": 1}, NEW)


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("number", [1, 20])
def test_one_query_whatever_the_number_of_accounts(condition, number, django_assert_num_queries):
    accounts = [holder("starter", "basic") for _ in range(number)]
    for account in accounts:
        send(account, "approvals", "sso")
        send(account, "sso", kind="support_ticket")
    known = Known.now()
    for some in (None, [accounts[0].pk]):
        with django_assert_num_queries(1):
            hits = evaluate(trigger(condition), NOW, known, some)
        assert len(hits) == (number if some is None else 1)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_kept_queries_answer_as_fresh_ones(condition):
    compiled._kept.clear()
    runs = RunFactory.create_batch(2)
    accounts = []
    for number in range(9):
        account = holder(*(("starter", "basic"), ("team",), ("enterprise", "pro"))[number % 3])
        accounts.append(account.pk)
        for mark in (1, 2):
            batch = IntakeBatchFactory(seen_by_run=mark)
            send(account, *("approvals", "sso", "boards")[: number // 3 + 1], ago=number * mark * DAY, batch=batch)
            send(account, "sso", "forecast", kind="support_ticket", ago=number * mark * 4 * DAY, batch=batch)
    seen = set()
    marks: list[int | None] = [None, 1, runs[-1].pk]
    for told in marks:
        for at in (NOW, NOW - 3 * DAY - MOMENT, NOW + 20 * DAY):
            for some in (None, accounts[:1], accounts[2:5], accounts):
                known = Known.now(told)
                kept = [hit.account_id for hit in evaluate(trigger(condition), at, known, some)]
                asked = None if some is None else tuple(some)
                assert kept == [row["pk"] for row in compile_query(trigger(condition), Moment(at, known, asked))[0]]
                seen.add(len(kept))
    assert {0, 1} < seen
    # With and without a mark, for all accounts and for some.
    assert len(compiled._kept) == 2 * 2
    assert all(compiled._kept.values())


def test_names_and_keys_are_parameters_only():
    nasty = "x' OR '1'='1"
    Feature.objects.filter(key="boards").update(area=nasty)
    Feature.objects.filter(key="dashboards").update(area='100 % "of" \\ %s')
    Feature.objects.filter(key="sso").update(key="a'); --")
    acme = holder("starter")
    send(acme, "a'); --")
    send(acme, "boards", ago=2 * DAY)
    for condition in ({**NEW, "property": "feature"}, {**NEW, "property": nasty}, {**NEXT, "at_least": 1}):
        sql, _ = compile_query(trigger(condition), Moment(NOW, Known.now()))[0].query.sql_with_params()
        assert "'1'" not in sql
        assert "--" not in sql
    assert words(acme, **NEW) == f"feature used: {nasty} first used on 2026-11-14, not in the 180 days before"
    send(acme, "dashboards", ago=3 * DAY)
    assert words(acme, **NEW) == ('feature used: 100 % "of" \\ %s first used on 2026-11-13, not in the 180 days before')
    assert words(acme, **{**TICKETS, "signal_type": "feature_used"}, at_least=1) is not None
