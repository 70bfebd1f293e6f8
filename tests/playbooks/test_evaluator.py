"""What a trigger finds: edges of windows and thresholds, late and corrected news, and one query in all."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.acts.champions import add_champion, change_champion
from csplaybooks.accounts.acts.holdings import NewEntitlement, set_entitlements
from csplaybooks.accounts.acts.reviews import NewFinding, log_qbr, set_finding_status
from csplaybooks.accounts.factories import AccountFactory, ProductFactory
from csplaybooks.accounts.models import Change
from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate
from csplaybooks.playbooks.measures import Known
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.factories import IntakeBatchFactory
from csplaybooks.signals.intake import take_in_readings, take_in_signals
from csplaybooks.signals.models import IntakeBatch

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def catalogue() -> None:
    load_starter_catalogue(now=NOW)


def trigger(*conditions: dict[str, Any], audience: dict[str, Any] | None = None) -> TriggerVersion:
    """A trigger with one group of conditions."""
    return TriggerVersion(0, 0, {"key": "t", "any": [{"all": list(conditions)}]}, audience or {})


def found(asked: TriggerVersion, as_of: datetime = NOW, mark: int | None = None, **kwargs: Any) -> list[int]:
    """The ids of the accounts that meet it."""
    return [hit.account_id for hit in evaluate(asked, as_of, Known.now(mark), **kwargs)]


_number = iter(range(10**9))


def send(account: str, kind: str, at: datetime, **more: Any) -> str:
    """Take one signal in; answers its external id."""
    external_id = f"s{next(_number)}"
    item = {"source": "product", "external_id": external_id, "account": account, "type": kind}
    answer = take_in_signals(items=[{**item, "occurred_at": at.isoformat(), **more}], now=max(at, NOW))
    assert answer.stored == 1, answer
    return external_id


def read(account: str, meter: str, at: datetime, used: float, limit: float | None = None, **more: Any) -> str:
    """Take one reading in; answers its external id."""
    external_id = f"r{next(_number)}"
    item = {"source": "product", "external_id": external_id, "account": account, "meter": meter, "used": used}
    answer = take_in_readings(items=[{**item, "limit": limit, "occurred_at": at.isoformat(), **more}], now=max(at, NOW))
    assert answer.stored == 1, answer
    return external_id


def account(name: str) -> Any:
    """An account known by its name."""
    return AccountFactory(name=name, identity__external_id=name)


GATES = {"measure": "signal_count", "signal_type": "feature_gate_hit", "window_days": 7, "at_least": 3}


def test_count_window_leaves_its_start_out_and_takes_its_end_in():
    acme = account("acme")
    send("acme", "feature_gate_hit", NOW)
    send("acme", "feature_gate_hit", NOW - DAY)
    send("acme", "feature_gate_hit", NOW - 7 * DAY)
    assert found(trigger(GATES)) == []
    assert found(trigger(GATES), NOW - timedelta(microseconds=1)) == []
    send("acme", "feature_gate_hit", NOW - 7 * DAY + timedelta(microseconds=1))
    assert found(trigger(GATES)) == [acme.pk]


@pytest.mark.parametrize(("threshold", "meets"), [({"at_least": 2}, True), ({"above": 2}, False), ({"above": 1}, True)])
def test_at_least_and_above_differ_at_the_threshold(threshold, meets):
    acme = account("acme")
    for day in (1, 2):
        send("acme", "feature_gate_hit", NOW - day * DAY)
    condition = {"measure": "signal_count", "signal_type": "feature_gate_hit", "window_days": 7, **threshold}
    assert found(trigger(condition)) == ([acme.pk] if meets else [])


def test_a_future_signal_counts_when_its_time_comes():
    acme = account("acme")
    soon = NOW + timedelta(minutes=5)
    send("acme", "feature_gate_hit", NOW)
    send("acme", "feature_gate_hit", NOW)
    take_in_signals(
        items=[
            {
                "source": "product",
                "external_id": "future",
                "account": "acme",
                "type": "feature_gate_hit",
                "occurred_at": soon.isoformat(),
            }
        ],
        now=NOW,
    )
    assert found(trigger(GATES)) == []
    assert found(trigger(GATES), soon) == [acme.pk]


def test_properties_are_compared_by_value_and_their_names_are_no_lookups():
    acme = account("acme")
    for _ in range(3):
        send("acme", "user_added", NOW, properties={"by": "admin", "by__startswith": "a"})
    condition = {"measure": "signal_count", "signal_type": "user_added", "window_days": 7, "at_least": 3}
    assert found(trigger({**condition, "properties": {"by": "admin"}})) == [acme.pk]
    assert found(trigger({**condition, "properties": {"by": "adm"}})) == []
    # As a Django lookup this would match; it is the name of a property like any other.
    assert found(trigger({**condition, "properties": {"by__startswith": "adm"}})) == []
    assert found(trigger({**condition, "properties": {"by__startswith": "a"}})) == [acme.pk]
    assert found(trigger({**condition, "properties": {"no' OR '1'='1": "x"}})) == []


@pytest.mark.parametrize(
    ("used", "limit", "at_least_80", "above_80"),
    [
        (16, 20, True, False),
        (15.999, 20, False, False),
        (16.001, 20, True, True),
        (0.8, 1, True, False),
        (5, 0, False, False),
        (5, None, False, False),
        (30, 20, True, True),
    ],
)
def test_share_of_a_limit_is_exact_and_no_limit_never_matches(used, limit, at_least_80, above_80):
    acme = account("acme")
    read("acme", "seats", NOW - DAY, used, limit)
    share = {"measure": "share_of_limit", "meters": ["seats"]}
    assert (found(trigger({**share, "at_least": 80})) == [acme.pk]) is at_least_80
    assert (found(trigger({**share, "above": 80})) == [acme.pk]) is above_80


def test_only_the_latest_reading_counts_and_not_when_it_is_too_old():
    acme = account("acme")
    share = {"measure": "share_of_limit", "meters": ["seats"], "above": 80}
    read("acme", "seats", NOW - 34 * DAY, 19, 20)
    assert found(trigger(share)) == [acme.pk]
    assert found(trigger(share), NOW + DAY) == []
    read("acme", "seats", NOW - DAY, 10, 20)
    assert found(trigger(share)) == []
    # What was true then is still true of then.
    assert found(trigger(share), NOW - 2 * DAY) == [acme.pk]


def test_grace_forgives_a_short_spike():
    acme = account("acme")
    share = {"measure": "share_of_limit", "meters": ["storage"], "at_least": 80, "grace_hours": 24}
    read("acme", "storage", NOW - 2 * DAY, 50, 100)
    read("acme", "storage", NOW - timedelta(hours=20), 85, 100)
    assert found(trigger(share)) == []
    assert found(trigger(share), NOW + timedelta(hours=5)) == [acme.pk]
    read("acme", "storage", NOW + timedelta(hours=2), 60, 100)
    read("acme", "storage", NOW + timedelta(hours=3), 90, 100)
    assert found(trigger(share), NOW + timedelta(hours=5)) == []


def test_amount_over_the_limit():
    acme = account("acme")
    over = {"measure": "amount_over_limit", "meters": ["active_users", "seats"], "at_least": 5}
    read("acme", "active_users", NOW - DAY, 24, 20)
    assert found(trigger(over)) == []
    read("acme", "active_users", NOW, 25, 20)
    (hit,) = evaluate(trigger(over), NOW, Known.now())
    assert hit.account_id == acme.pk
    assert hit.evidence[0]["words"] == "active users 5 over the limit of 20, needed at least 5"


def test_conditions_are_anded_and_groups_are_ored_and_evidence_is_of_the_group_that_held():
    acme = account("acme")
    full = {"measure": "share_of_limit", "meters": ["seats"], "above": 80}
    read("acme", "seats", NOW, 19, 20)
    assert found(trigger(GATES, full)) == []
    either = TriggerVersion(0, 0, {"key": "t", "any": [{"all": [GATES]}, {"all": [full]}]}, {})
    (hit,) = evaluate(either, NOW, Known.now())
    assert hit.account_id == acme.pk
    assert [item["measure"] for item in hit.evidence] == ["share_of_limit"]
    assert hit.evidence[0]["words"] == "seats at 95 % (19 of 20), needed above 80 %"


def test_an_open_gap_with_a_product_not_held_matches_until_it_is_held_or_settled():
    acme = account("acme")
    product = ProductFactory(key="analytics", name="Analytics")
    gap = trigger({"measure": "open_gap"})
    qbr = log_qbr(
        account_id=acme.pk,
        held_at=NOW - DAY,
        findings=[
            NewFinding(kind="gap", text="They cannot see trends", product_id=product.pk),
            NewFinding(kind="risk", text="Sponsor leaves"),
        ],
        now=NOW - DAY,
        actor=None,
    )
    (hit,) = evaluate(gap, NOW, Known.now())
    assert hit.evidence[0]["found"]["product"] == "analytics"
    assert found(gap, NOW - 2 * DAY) == []
    set_entitlements(
        items=[NewEntitlement(account_id=acme.pk, subscription="sub-1", product_id=product.pk)],
        now=NOW,
        actor=None,
    )
    assert found(gap, NOW) == []
    assert found(gap, NOW - timedelta(seconds=1)) == [acme.pk]
    other = account("other")
    qbr = log_qbr(
        account_id=other.pk,
        held_at=NOW - DAY,
        findings=[NewFinding(kind="gap", text="No trends", product_id=product.pk)],
        now=NOW - DAY,
        actor=None,
    )
    assert found(gap) == [other.pk]
    set_finding_status(finding_ids=[qbr.findings.get().pk], status="settled", effective_at=NOW, now=NOW, actor=None)
    assert found(gap) == []


def test_a_promotion_matches_inside_its_window():
    acme = account("acme")
    person = add_champion(account_id=acme.pk, name="Petra", title="Team lead", now=NOW - 90 * DAY, actor=None)
    moved = trigger({"measure": "champion_change", "kinds": ["promoted"], "window_days": 30})
    assert found(moved) == []
    change_champion(champion_id=person.pk, title="Director", occurred_at=NOW - DAY, now=NOW, actor=None)
    (hit,) = evaluate(moved, NOW, Known.now())
    assert hit.evidence[0]["words"] == "Petra: promoted to Director"
    assert found(moved, NOW + 29 * DAY) == []
    assert found(moved, NOW + 29 * DAY - timedelta(microseconds=1)) == [acme.pk]


def test_audience_asks_the_facts_of_the_moment():
    small = AccountFactory(name="small", identity__external_id="small", facts__segment="small")
    AccountFactory(name="large", identity__external_id="large", facts__segment="enterprise")
    for name in ("small", "large"):
        read(name, "seats", NOW, 19, 20)
    full = {"measure": "share_of_limit", "meters": ["seats"], "above": 80}
    assert found(trigger(full, audience={"segments": ["small"]})) == [small.pk]


def test_a_correction_replaces_and_a_void_one_takes_away_once_it_is_known():
    acme = account("acme")
    ids = [send("acme", "feature_gate_hit", NOW - day * DAY) for day in (1, 2, 3)]
    IntakeBatch.objects.update(seen_by_run=1)
    send("acme", "feature_gate_hit", NOW - DAY, corrects=ids[0], void=True)
    IntakeBatch.objects.unclaimed().update(seen_by_run=2)
    send("acme", "feature_gate_hit", NOW - 2 * DAY, corrects=ids[1])
    IntakeBatch.objects.unclaimed().update(seen_by_run=3)
    send("acme", "feature_gate_hit", NOW)
    assert found(trigger(GATES), mark=1) == [acme.pk]
    assert found(trigger(GATES), mark=2) == []
    assert found(trigger(GATES), mark=3) == []
    assert found(trigger(GATES)) == [acme.pk]


def test_what_a_run_was_not_told_does_not_count():
    acme = account("acme")
    product = ProductFactory(key="analytics")
    log_qbr(
        account_id=acme.pk,
        held_at=NOW - DAY,
        findings=[NewFinding(kind="gap", text="No trends", product_id=product.pk)],
        now=NOW,
        actor=None,
    )
    gap = trigger({"measure": "open_gap"})
    assert found(gap, mark=1) == []
    Change.objects.unclaimed().update(seen_by_run=1)
    assert found(gap, mark=1) == [acme.pk]
    set_entitlements(
        items=[NewEntitlement(account_id=acme.pk, subscription="s", product_id=product.pk, valid_from=NOW - 2 * DAY)],
        now=NOW,
        actor=None,
    )
    # Held since before the review, but that was told later.
    assert found(gap, mark=1) == [acme.pk]
    Change.objects.unclaimed().update(seen_by_run=2)
    assert found(gap, mark=1) == [acme.pk]
    assert found(gap, mark=2) == []


def test_unknown_types_and_meters_find_nothing():
    account("acme")
    assert found(trigger({**GATES, "signal_type": "no_such_type"})) == []
    assert found(trigger({"measure": "share_of_limit", "meters": ["no_such_meter"], "at_least": 1})) == []


@pytest.mark.parametrize("accounts", [1, 60])
def test_one_query_for_a_trigger_whatever_the_number_of_accounts(accounts, django_assert_num_queries):
    rows = [account(f"a{number}") for number in range(accounts)]
    for row in rows:
        for day in (1, 2, 3):
            send(row.name, "feature_gate_hit", NOW - day * DAY)
        read(row.name, "seats", NOW, 19, 20)
    asked = trigger(GATES, {"measure": "share_of_limit", "meters": ["seats", "storage"], "above": 70})
    known = Known.now()
    with django_assert_num_queries(1):
        hits = evaluate(asked, NOW, known)
    assert len(hits) == accounts
    with django_assert_num_queries(1):
        assert [hit.account_id for hit in evaluate(asked, NOW, known, [rows[0].pk])] == [rows[0].pk]


def test_a_hundred_signals_in_one_batch_are_one_account():
    acme = account("acme")
    batch = IntakeBatchFactory(received=0, stored=0)
    assert batch.pk
    at = (NOW - DAY).isoformat()
    take_in_signals(
        items=[
            {
                "source": "product",
                "external_id": f"burst-{number}",
                "account": "acme",
                "type": "feature_gate_hit",
                "occurred_at": at,
            }
            for number in range(100)
        ],
        now=NOW,
    )
    (hit,) = evaluate(trigger(GATES), NOW, Known.now())
    assert (hit.account_id, hit.evidence[0]["found"]["count"]) == (acme.pk, 100)


def test_dates_of_facts_hold_from_their_day():
    AccountFactory(name="acme", identity__external_id="acme", facts__activated_on=date(2026, 1, 1))
    read("acme", "seats", NOW, 19, 20)
    full = {"measure": "share_of_limit", "meters": ["seats"], "above": 80}
    assert len(found(trigger(full, audience={"lifecycles": ["paying"]}))) == 1


def test_the_largest_readings_are_compared_without_overflow():
    acme = account("acme")
    read("acme", "storage", NOW, 9 * 10**12, 9 * 10**12)
    share = {"measure": "share_of_limit", "meters": ["storage"]}
    assert found(trigger({**share, "at_least": 100})) == [acme.pk]
    assert found(trigger({**share, "at_least": 1000})) == []
