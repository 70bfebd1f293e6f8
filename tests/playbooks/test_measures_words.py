"""What a measure says of an account that fails its condition: the true reason, and what was needed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import (
    AccountFactory,
    ChampionChangeFactory,
    ChampionFactory,
    EntitlementFactory,
    FindingFactory,
    PlanFactory,
    ProductFactory,
)
from csplaybooks.accounts.models import Account, Feature, Plan
from csplaybooks.playbooks.measures.base import percent
from csplaybooks.signals.factories import MeterFactory, ReadingFactory, SignalFactory, SignalTypeFactory
from tests.playbooks.asking import DAY, MOMENT, NOW
from tests.playbooks.explaining import explained, why_not
from tests.playbooks.selling import NEW, NEXT, TICKETS, holder, sell, send

HOUR = timedelta(hours=1)
LOGINS: dict[str, Any] = {"signal_type": "login", "window_days": 7}
TODAY = NOW.date()

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Account:
    """An account, beside one of which everything is known."""
    SignalTypeFactory(key="login")
    MeterFactory(key="seats", max_age_days=35)
    other = AccountFactory()
    log_in(other, *[DAY] * 9)
    read(other, DAY, 99)
    account: Account = AccountFactory(name="Acme")
    return account


def log_in(account: Account, *ago: timedelta, **more: Any) -> None:
    """Signals, so long ago."""
    for each in ago:
        SignalFactory(account=account, type=SignalTypeFactory(key="login"), occurred_at=NOW - each, **more)


def read(account: Account, ago: timedelta, used: float, limit: float | None = 100, key: str = "seats") -> None:
    """A reading, so long ago."""
    ReadingFactory(
        account=account,
        meter=MeterFactory(key=key),
        occurred_at=NOW - ago,
        used_milli=round(used * 1000),
        limit_milli=None if limit is None else round(limit * 1000),
    )


# Signals


def test_too_few_signals(acme):
    condition = {"measure": "signal_count", **LOGINS, "at_least": 3}
    assert why_not(acme, condition) == "login: 0 in 7 days, needed at least 3"
    log_in(acme, DAY, DAY, 8 * DAY, properties={"by": "admin"})
    assert why_not(acme, condition) == "login: 2 in 7 days, needed at least 3"
    only = {**condition, "window_days": 1, "properties": {"by": "user", "paid": True}}
    assert why_not(acme, only) == "login (by: user, paid: true): 0 in a day, needed at least 3"


def test_too_few_different_ones(acme):
    people = {"measure": "distinct_count", **LOGINS, "above": 1}
    assert why_not(acme, people) == "login: 0 different people in 7 days, needed above 1"
    log_in(acme, DAY, DAY, actor="")
    log_in(acme, DAY, actor="ann", properties={"area": "x"})
    assert why_not(acme, people) == (
        "login: 1 different people in 7 days (2 without an actor left out), needed above 1"
    )
    areas = {**people, "property": "area"}
    assert (
        why_not(acme, areas) == "login: 1 different values of area in 7 days (2 without area left out), needed above 1"
    )


def test_no_growth(acme):
    condition = {"measure": "growth", **LOGINS, "at_least": 50}
    assert (
        why_not(acme, condition) == "login: 0 in 7 days after nothing in those before, no growth, needed at least 50 %"
    )
    log_in(acme, *[DAY] * 3)
    assert (
        why_not(acme, condition) == "login: 3 in 7 days after nothing in those before, no growth, needed at least 50 %"
    )
    log_in(acme, *[8 * DAY] * 4)
    assert why_not(acme, condition) == ("login: 3 in 7 days after 4 in those before, 25 % less, needed at least 50 %")
    assert why_not(acme, {**condition, "least_before": 5}) == (
        "login: 3 in 7 days after 4 in those before, less than 5 before is no growth, needed at least 50 % (from 5 on)"
    )
    worth = {**condition, "of": "value", "window_days": 1}
    assert why_not(acme, worth) == ("login: 0 in a day after 3 in the one before, 100 % less, needed at least 50 %")
    assert why_not(AccountFactory(), worth).startswith("login: 0 in a day after nothing in the one before, no growth")


def test_days_since_on_the_wrong_side_or_never(acme):
    condition = {"measure": "days_since", "signal_type": "login", "at_least": 14}
    assert why_not(acme, condition) == "login: none in 365 days, needed at least 14 days ago"
    log_in(acme, 14 * DAY - MOMENT)
    assert why_not(acme, condition) == "login: last more than 13 days ago (on 2026-11-02), needed at least 14 days ago"
    recent = {"measure": "days_since", "signal_type": "login", "at_most": 13, "never": "holds"}
    assert why_not(acme, recent) == (
        "login: last more than 13 days ago (on 2026-11-02), needed at most 13 days ago or none"
    )
    assert explained(acme, condition, at=NOW + MOMENT).startswith("login: last 14 days ago (on 2026-11-02)")
    log_in(acme, HOUR)
    assert why_not(acme, condition).startswith("login: last less than a day ago (on 2026-11-16)")


def test_days_are_those_of_the_company(acme, settings):
    settings.CSPLAYBOOKS = {"TIME_ZONE": "Pacific/Auckland"}
    log_in(acme, -2 * HOUR)
    condition = {"measure": "days_since", "signal_type": "login", "at_least": 14}
    assert "(on 2026-11-17)" in why_not(acme, condition, at=NOW + 2 * DAY)


# Readings

SEATS = ["seats"]


@pytest.mark.parametrize(
    ("measure", "needed", "at_70"),
    [
        ("share_of_limit", "needed above 80 %", "seats at 70 % (70 of 100)"),
        ("amount_over_limit", "needed above 80", "seats 30 under the limit of 100"),
        ("level", "needed above 80", "seats at 70"),
    ],
)
def test_missing_old_and_low_readings(acme, measure, needed, at_70):
    condition = {"measure": measure, "meters": SEATS, "above": 80}
    assert why_not(acme, condition) == f"no reading of seats, {needed}"
    read(acme, 35 * DAY, 99.5)
    assert why_not(acme, condition) == (
        f"the last reading of seats (99.5 on 2026-10-12) is older than its maximum age of 35 days, {needed}"
    )
    read(acme, DAY, 70)
    over = " over" if "under" in at_70 else ""
    assert why_not(acme, condition) == f"{at_70}, {needed}{over}"


@pytest.mark.parametrize("limit", [0, None])
def test_no_limit(acme, limit):
    read(acme, DAY, 70, limit)
    for measure, needed in (("share_of_limit", "above 80 %"), ("amount_over_limit", "above 80")):
        condition = {"measure": measure, "meters": SEATS, "above": 80}
        assert why_not(acme, condition) == f"seats without a limit, needed {needed}"


def test_each_meter_has_its_own_reason(acme):
    MeterFactory(key="api_calls", max_age_days=1)
    read(acme, DAY, 79.96)
    read(acme, DAY, 5, key="api_calls")
    condition = {"measure": "share_of_limit", "meters": ["seats", "api_calls", "storage"], "at_least": 80}
    assert why_not(acme, condition) == (
        "seats at just under 80 % (79.96 of 100), the last reading of api calls (5 on 2026-11-15) is older than its "
        "maximum age of a day, no reading of storage, needed at least 80 %"
    )


def test_grace_that_is_not_over(acme):
    condition = {"measure": "share_of_limit", "meters": SEATS, "at_least": 80, "grace_hours": 24}
    needed = "needed at least 80 % for 24 hours"
    read(acme, HOUR, 90)
    now = "seats at 90 % (90 of 100), but not for 24 hours: "
    assert why_not(acme, condition) == f"{now}no reading counted before, {needed}"
    read(acme, 25 * HOUR, 60)
    assert why_not(acme, condition) == f"{now}at 60 % (60 of 100) before, {needed}"
    read(acme, 3 * HOUR, 70)
    read(acme, 4 * HOUR, 70, None)
    assert why_not(acme, condition) == f"{now}at 70 % (70 of 100) on 2026-11-16 07:00, {needed}"
    assert explained(acme, {**condition, "grace_hours": 1}) == (
        "seats at 90 % (90 of 100), needed at least 80 % for an hour"
    )
    low = {**condition, "at_least": 95}
    assert why_not(acme, low) == "seats at 90 % (90 of 100), needed at least 95 % for 24 hours"
    over = {**condition, "measure": "amount_over_limit", "at_least": -15}
    assert why_not(acme, over) == (
        "seats 10 under the limit of 100, but not for 24 hours: 30 under the limit of 100 on 2026-11-16 07:00, "
        "needed at least -15 over for 24 hours"
    )


def test_grace_that_is_over_says_nothing_of_it(acme):
    read(acme, 25 * HOUR, 85)
    read(acme, HOUR, 90)
    condition = {"measure": "share_of_limit", "meters": SEATS, "at_least": 80, "grace_hours": 24}
    assert explained(acme, condition) == "seats at 90 % (90 of 100), needed at least 80 % for 24 hours"


def test_level_change_without_an_end_and_too_small(acme):
    condition = {"measure": "level_change", "meter": "seats", "window_days": 30, "at_least": 5}
    assert why_not(acme, condition) == "no reading of seats, needed at least 5"
    read(acme, 66 * DAY, 10)
    assert why_not(acme, condition) == (
        "the last reading of seats (10 on 2026-09-11) is older than its maximum age of 35 days, needed at least 5"
    )
    read(acme, DAY, 12)
    assert why_not(acme, condition) == (
        "the last reading of seats 30 days before (10 on 2026-09-11) was older than its maximum age of 35 days, "
        "needed at least 5"
    )
    other = AccountFactory()
    read(other, DAY, 12)
    assert why_not(other, condition) == "no reading of seats 30 days before, needed at least 5"
    read(other, 30 * DAY, 0)
    share = {**condition, "percent": True, "at_least": 50}
    assert why_not(other, share) == (
        "seats changed in 30 days (from 0 to 12), which is no per cent of anything, needed at least 50 %"
    )
    read(other, 0 * DAY, 0)
    assert why_not(other, {**share, "at_least": 0}) == (
        "seats did not change in 30 days (from 0 to 0), which is no per cent of anything, needed at least 0 %"
    )
    assert why_not(other, condition) == "seats did not change in 30 days (from 0 to 0), needed at least 5"
    read(acme, 30 * DAY, 8.003)
    read(acme, 0 * DAY, 12)
    assert why_not(acme, share | {"at_least": 51}) == (
        "seats rose by 49.9 % in 30 days (from 8.003 to 12), needed at least 51 %"
    )


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (80, 100, "80 %"),
        (7996, 10_000, "just under 80 %"),
        (8004, 10_000, "just over 80 %"),
        (7994, 10_000, "79.9 %"),
        (1, 3, "33.3 %"),
        (1, 10**9, "just over 0 %"),
        (0, 5, "0 %"),
        (-1, 10**9, "just under 0 %"),
    ],
)
def test_share_never_reads_as_if_it_met_a_threshold_it_misses(part, whole, words):
    assert percent(part, whole) == words


# Gaps and champions


def test_why_no_gap_counts(acme):
    condition: dict[str, Any] = {"measure": "open_gap"}
    needed = "needed an open gap that a product not held fills"
    assert why_not(acme, condition) == f"no gap is known, {needed}"
    FindingFactory(account=acme, kind="risk", text="A rival calls.")
    assert why_not(acme, condition) == f"no gap is known, {needed}"
    analytics = ProductFactory(key="analytics", name="Analytics")
    FindingFactory(account=acme, text="No trends.", product=analytics, state__status="settled")
    assert why_not(acme, condition) == f"a gap is settled (No trends.), {needed}"
    FindingFactory(account=acme, text="Slow.")
    assert why_not(acme, condition) == f"an open gap names no product that fills it (Slow.), {needed}"
    EntitlementFactory(account=acme, product=analytics, plan=None)
    FindingFactory(account=acme, text="By hand.", product=analytics)
    assert why_not(acme, condition) == f"Analytics, which fills an open gap, is held already (By hand.), {needed}"
    support = {**condition, "products": ["support", "vault"]}
    assert why_not(acme, support) == (
        "an open gap is filled by Analytics (By hand.), needed an open gap that support or vault, not held, fills"
    )
    FindingFactory(account=acme, text="x" * 300, product=ProductFactory(key="vault", name="Vault"))
    assert explained(acme, condition) == f"a review cited a gap that Vault fills: {'x' * 120}…"


def test_why_no_champion_change_counts(acme):
    condition = {"measure": "champion_change", "kinds": ["promoted", "new_executive"], "window_days": 30}
    needed = "needed promoted or new executive in 30 days"
    assert why_not(acme, condition) == f"no champion changed, {needed}"
    petra = ChampionFactory(account=acme, name="Petra")
    ChampionChangeFactory(champion=petra, kind="left", occurred_at=NOW - DAY)
    assert why_not(acme, condition) == f"only Petra left on 2026-11-15, {needed}"
    ChampionChangeFactory(champion=petra, kind="promoted", occurred_at=NOW - 30 * DAY)
    ChampionChangeFactory(champion=petra, kind="promoted", occurred_at=NOW + DAY)
    assert why_not(acme, condition) == f"last Petra promoted on 2026-10-17, {needed}"


# Facts, days and holdings


@pytest.mark.parametrize(
    ("condition", "facts", "words"),
    [
        ({"measure": "tenure", "at_least": 30}, {}, "customer since nobody knows when, needed at least 30"),
        (
            {"measure": "tenure", "at_least": 30},
            {"customer_since": TODAY + DAY},
            "customer only from 2026-11-17 on, needed at least 30",
        ),
        (
            {"measure": "tenure", "at_least": 30, "since": "activated_on"},
            {"activated_on": TODAY},
            "activated for 0 days (since 2026-11-16), needed at least 30",
        ),
        ({"measure": "days_to_renewal", "at_most": 60}, {}, "renewal date unknown, needed at most 60"),
        (
            {"measure": "days_to_renewal", "at_most": 60},
            {"renewal_on": TODAY - DAY},
            "renewal was on 2026-11-15, needed at most 60",
        ),
        (
            {"measure": "days_to_renewal", "at_most": 60},
            {"renewal_on": TODAY + 61 * DAY},
            "renewal in 61 days (on 2027-01-16), needed at most 60",
        ),
        ({"measure": "time_to_first_value", "below": 30}, {}, "not activated yet, needed below 30"),
        (
            {"measure": "time_to_first_value", "below": 30},
            {"customer_since": TODAY - 30 * DAY, "activated_on": TODAY},
            "first value after 30 days (on 2026-11-16), needed below 30",
        ),
        (
            {"measure": "time_to_first_value", "below": 30},
            {"activated_on": TODAY},
            "activated on 2026-11-16, and customer since nobody knows when, needed below 30",
        ),
        ({"measure": "season", "months": [1, 2]}, {}, "it is November, needed January, February"),
        ({"measure": "head_count", "above": 0}, {"head_count": 0}, "head count 0, needed above 0"),
        ({"measure": "head_count", "above": 0}, {"head_count": None}, "head count unknown, needed above 0"),
        ({"measure": "segment", "segments": ["small"]}, {"segment": ""}, "segment unknown, needed small business"),
        (
            {"measure": "segment", "segments": ["small"]},
            {"segment": "enterprise"},
            "segment enterprise, needed small business",
        ),
        ({"measure": "tagged", "tags": ["vip", "gold"]}, {"tags": []}, "no tags, needed vip or gold"),
        (
            {"measure": "tagged", "tags": ["vip"]},
            {"tags": ["VIP", 1, None, *"fedcba"]},
            "no such tag (tagged VIP, a, b, c, d and 2 more), needed vip",
        ),
        ({"measure": "tagged", "tags": ["vip"]}, {"tags": "vip"}, "no tags, needed vip"),
        ({"measure": "tagged", "tags": ["vip"]}, {"tags": 1}, "no tags, needed vip"),
    ],
)
def test_facts_that_do_not_fit(condition, facts, words):
    blank = dict.fromkeys(("customer_since", "activated_on", "renewal_on"))
    account = AccountFactory(**{f"facts__{name}": value for name, value in {**blank, **facts}.items()})
    assert why_not(account, condition) == words


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"measure": "tenure", "at_least": 30}, "customer since nobody knows when, needed at least 30"),
        ({"measure": "days_to_renewal", "at_most": 60}, "renewal date unknown, needed at most 60"),
        ({"measure": "time_to_first_value", "below": 30}, "not activated yet, needed below 30"),
        ({"measure": "head_count", "above": 0}, "head count unknown, needed above 0"),
        ({"measure": "segment", "segments": ["small"]}, "segment unknown, needed small business"),
        ({"measure": "tagged", "tags": ["vip"]}, "no tags, needed vip"),
    ],
)
def test_nothing_is_known(condition, words):
    assert why_not(AccountFactory(facts=None), condition) == words


@pytest.mark.parametrize("thing", ["plan", "product"])
def test_what_is_held_instead(thing):
    factory = {"plan": PlanFactory, "product": ProductFactory}[thing]
    team = factory(key="team", name="Team")
    factory(key="growth", name="Growth")
    account = AccountFactory()
    condition = {"measure": f"{thing}_held", f"{thing}s": ["growth"]}
    assert why_not(account, condition) == f"holds no {thing}, needed growth"
    for number in range(2):
        more = {"plan": None} if thing == "product" else {}
        EntitlementFactory(account=account, subscription=f"line {number}", **{**more, thing: team})
    assert why_not(account, condition) == "holds Team, needed growth"
    assert why_not(account, {**condition, f"{thing}s": ["team"], "held": False}) == "holds Team, needed none of team"
    assert explained(account, {**condition, "held": False}) == "holds Team, needed none of growth"


# The catalogue


def test_why_the_next_tier_does_not_count():
    sell()
    condition = {**NEXT, "at_least": 50}
    needed = "needed at least 50 %"
    acme = holder("starter")
    assert why_not(acme, condition) == f"none of the 4 features that team adds touched in 30 days, {needed}"
    send(acme, "approvals")
    assert why_not(acme, condition) == (
        f"1 of 4 features that team adds touched (25 %: approvals) in 30 days, {needed}"
    )
    for plans, words in (
        ((), "no plan held, so none is next"),
        (("enterprise",), "no plan comes after enterprise"),
        (("business",), "the plan after business adds no feature"),
        (("starter", "business"), "the plan after the lower one is held already (business, starter)"),
    ):
        assert why_not(holder(*plans), condition) == f"{words}, {needed}"
    Feature.objects.all().delete()
    assert why_not(acme, condition) == f"the plan after starter adds no feature, {needed}"
    Plan.objects.update(next_plan=None)
    assert why_not(acme, condition) == f"no plan comes after starter, {needed}"


def test_why_features_not_held_do_not_count():
    sell()
    condition = {**TICKETS, "at_least": 2}
    acme = holder("starter")
    assert why_not(acme, condition) == "support ticket: 0 about features not held in 30 days, needed at least 2"
    send(acme, "sso", "boards", "dashboards", None, "unknown", 1, kind="support_ticket")
    assert why_not(acme, condition) == (
        "support ticket: 1 about features not held (sso; 2 about features held; 3 that name no feature) in 30 days, "
        "needed at least 2"
    )
    Feature.objects.all().delete()
    assert why_not(acme, condition) == (
        "support ticket: 0 about features not held (6 that name no feature) in 30 days, needed at least 2"
    )


def test_why_no_area_is_new():
    sell()
    acme = holder("starter")
    needed = "needed an area that was not used in the 180 days before"
    assert why_not(acme, NEW) == f"feature used: none in 30 days, {needed}"
    send(acme, "polls", None)
    assert why_not(acme, NEW) == f"feature used: 2 in 30 days, none with an area, {needed}"
    send(acme, "boards")
    send(acme, "boards", ago=40 * DAY)
    assert why_not(acme, NEW) == f"feature used: work in 30 days, used before already, {needed}"
    assert why_not(acme, {**NEW, "window_days": 2, "quiet_days": 39}).endswith("in the 39 days before")
