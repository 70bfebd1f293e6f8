"""The measure on findings: what counts when, and with which status."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.acts import NewFinding, add_findings, set_finding_status
from csplaybooks.accounts.factories import (
    START,
    AccountFactory,
    ChangeFactory,
    FindingFactory,
    FindingStateFactory,
    ProductFactory,
)
from csplaybooks.accounts.models import Account, Finding, FindingState
from csplaybooks.playbooks import compiled
from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate
from csplaybooks.playbooks.factories import RunFactory
from csplaybooks.playbooks.measures import Known
from tests.playbooks.asking import DAY, MOMENT, NOW, refused, said
from tests.playbooks.explaining import why_not

WIN: dict[str, Any] = {"measure": "finding", "kinds": ["win"]}
RECENT = {**WIN, "window_days": 30}
OPEN_OR_SETTLED = "needed win that is open or settled"

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Account:
    """An account without findings, beside one with many."""
    other = AccountFactory()
    for kind in Finding.Kind.values:
        FindingFactory(account=other, kind=kind)
    account: Account = AccountFactory(name="Acme")
    return account


def raised(account: Account, at: datetime, text: str = "Saves two days.", kind: str = "win", **more: Any) -> Finding:
    """A finding that came up then."""
    finding: Finding = FindingFactory(account=account, kind=kind, text=text, state__valid_from=at, **more)
    return finding


def test_a_finding_counts_from_its_moment_on(acme):
    raised(acme, NOW)
    assert said(acme, WIN) == f"win raised on 2026-11-16, open (Saves two days.), {OPEN_OR_SETTLED}"
    assert said(acme, WIN, at=NOW - MOMENT) is None
    assert why_not(acme, WIN, at=NOW - MOMENT) == f"no win is known, {OPEN_OR_SETTLED}"
    for kinds, holds in ((["gap"], False), (["gap", "win"], True), (["goal", "risk"], False)):
        assert (said(acme, {**WIN, "kinds": kinds}) is not None) is holds
    assert why_not(acme, {**WIN, "kinds": ["goal", "risk"], "statuses": ["open"]}) == (
        "no goal or risk is known, needed goal or risk that is open"
    )


def test_a_window_is_known_to_the_moment(acme):
    raised(acme, NOW - 30 * DAY)
    assert said(acme, WIN) is not None
    assert said(acme, RECENT) is None
    assert why_not(acme, RECENT) == (
        f"win raised on 2026-10-17, open (Saves two days.), {OPEN_OR_SETTLED}, raised in 30 days"
    )
    assert said(acme, RECENT, at=NOW - MOMENT) is not None
    raised(acme, NOW, "Later.")
    assert str(said(acme, RECENT)).startswith("win raised on 2026-11-16, open (Later.)")


def test_status_is_that_of_the_moment_and_does_not_raise_it_again(acme):
    (finding,) = add_findings(
        account_id=acme.pk, findings=[NewFinding(kind="win", text="Faster.")], at=NOW - 40 * DAY, now=NOW, actor=None
    )
    for days, status in ((20, "settled"), (10, "dropped"), (5, "open")):
        set_finding_status(finding_ids=[finding.pk], status=status, effective_at=NOW - days * DAY, now=NOW, actor=None)
    assert FindingState.objects.filter(finding=finding, superseded_by=None).count() == 4
    for ago, status in ((40, "open"), (20, "settled"), (10, "dropped"), (5, "open")):
        at = NOW - ago * DAY
        text = f"win raised on 2026-10-07, {status} (Faster.), needed win that is {{}}"
        assert said(acme, {**WIN, "statuses": [status]}, at=at) == text.format(status)
        if status == "dropped":
            assert why_not(acme, WIN, at=at) == text.format("open or settled")
        else:
            assert said(acme, WIN, at=at) == text.format("open or settled")
            assert said(acme, {**WIN, "statuses": ["dropped"]}, at=at) is None
        # Raised more than thirty days before each of these moments but the first two.
        assert (said(acme, {**RECENT, "statuses": [status]}, at=at) is not None) is (ago > 10)


def test_of_several_the_last_one_that_counts_is_named(acme):
    raised(acme, NOW - 3 * DAY, "First.")
    raised(acme, NOW - 9 * DAY, "Told last.")
    raised(acme, NOW - DAY, "Dropped.", state__status="dropped")
    assert "(Told last.)" in str(said(acme, WIN))
    assert "(Dropped.)" in str(said(acme, {**WIN, "statuses": ["dropped"]}))
    assert "(Told last.)" in why_not(acme, {**WIN, "window_days": 1})


def test_late_news_is_known_from_its_run_on(acme):
    RunFactory.create_batch(3)

    def told(run: int) -> Any:
        return ChangeFactory(account=acme, seen_by_run=run)

    finding = FindingFactory(account=acme, kind="win", text="Faster.", state=None)
    second, third = told(2), told(3)
    FindingStateFactory(finding=finding, valid_from=NOW - 10 * DAY, change=second, superseded_by=third)
    # The third run hears that it came up earlier, and was dropped at last.
    FindingStateFactory(finding=finding, valid_from=NOW - 40 * DAY, valid_to=NOW - DAY, change=third)
    FindingStateFactory(finding=finding, valid_from=NOW - DAY, change=third, status="dropped")
    assert [said(acme, RECENT, mark=mark) is not None for mark in (1, 2, 3, None)] == [False, True, False, False]
    assert why_not(acme, WIN, mark=1) == f"no win is known, {OPEN_OR_SETTLED}"
    words = [why_not(acme, RECENT, mark=mark) for mark in (3, None)]
    assert words == [f"win raised on 2026-10-07, dropped (Faster.), {OPEN_OR_SETTLED}, raised in 30 days"] * 2
    assert said(acme, RECENT, mark=3, at=NOW - 11 * DAY) is not None


def test_days_are_those_of_the_company(acme, settings):
    settings.CSPLAYBOOKS = {"TIME_ZONE": "Pacific/Auckland"}
    raised(acme, NOW + timedelta(hours=2))
    assert "raised on 2026-11-17" in str(said(acme, WIN, at=NOW + DAY))


def test_evidence_names_no_product_that_a_play_would_sell(acme):
    raised(acme, START, kind="gap", product=ProductFactory(key="analytics"))
    trigger = TriggerVersion(1, 1, {"key": "t", "any": [{"all": [{"measure": "finding", "kinds": ["gap"]}]}]}, {})
    (hit,) = evaluate(trigger, NOW, Known.now(), [acme.pk])
    assert set(hit.evidence[0]["found"]) == {"finding", "kind", "status", "text", "raised_at"}


def test_it_is_asked_by_kept_queries(acme):
    compiled._kept.clear()
    raised(acme, START)
    for condition in (WIN, RECENT):
        for ago in range(3):
            said(acme, condition, at=NOW - ago * DAY)
    # For all accounts and for one.
    assert len(compiled._kept) == 2 * 2
    assert all(compiled._kept.values())


@pytest.mark.parametrize(
    ("condition", "path", "problem"),
    [
        ("measure: finding", "", "kinds is missing"),
        ("measure: finding, kinds: []", "kinds", "is empty"),
        ("measure: finding, kinds: [outcome]", "kinds/0", "'outcome' is not one of gap, goal, risk, win"),
        ("measure: finding, kinds: [win], statuses: [won]", "statuses/0", "'won' is not one of open, settled, dropped"),
        ("measure: finding, kinds: [win], window_days: -7", "window_days", "-7 is less than 1"),
        ("measure: finding, kinds: [win], at_least: 1", "", "at_least is unknown here"),
    ],
)
def test_a_condition_that_cannot_be_is_refused_where_it_is_wrong(condition, path, problem):
    where, what = refused(condition)
    assert where == path
    assert problem in what
