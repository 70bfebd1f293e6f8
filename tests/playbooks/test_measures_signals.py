"""Measures over signals: their edges, what nothing means, and what they say."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate
from csplaybooks.playbooks.factories import DRAFT, RunFactory
from csplaybooks.playbooks.measures import Known
from csplaybooks.signals.factories import IntakeBatchFactory, SignalFactory, SignalTypeFactory

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Account:
    SignalTypeFactory(key="login")
    account: Account = AccountFactory(name="Acme")
    return account


def signals(account: Any, *ago: timedelta, **more: Any) -> None:
    for each in ago:
        SignalFactory(account=account, type=SignalTypeFactory(key="login"), occurred_at=NOW - each, **more)


def words(account: Account, *, at: datetime = NOW, known: Known | None = None, **condition: Any) -> str | None:
    """What is said of the account where it meets the condition, else None; asked of all, and of it alone."""
    trigger = TriggerVersion(1, 1, {"key": "t", "any": [{"all": [{"signal_type": "login", **condition}]}]}, {})
    known = known or Known.now()
    found = {hit.account_id: hit.evidence[0]["words"] for hit in evaluate(trigger, at, known)}
    alone = {hit.account_id: hit.evidence[0]["words"] for hit in evaluate(trigger, at, known, [account.pk])}
    assert alone.get(account.pk) == found.get(account.pk)
    return found.get(account.pk)


def test_people_are_counted_once_and_signals_without_one_not_at_all(acme):
    for actor in ("ann", "ann", "bob", "", ""):
        signals(acme, DAY, actor=actor)
    signals(acme, 7 * DAY, actor="at the edge")
    people: dict[str, Any] = {"measure": "distinct_count", "window_days": 7}
    assert words(acme, **people, at_least=2) == "login: 2 different people in 7 days, needed at least 2"
    assert words(acme, **people, above=2) is None
    assert words(acme, at=NOW - MOMENT, **people, at_least=3) is not None


def test_values_of_a_property_are_told_apart_by_kind(acme):
    for value in ("1", 1, 1.0, True, "true", "1", None, [1], {"a": 1}, 1.5):
        signals(acme, DAY, properties={"area": value})
    signals(acme, DAY, properties={})
    areas: dict[str, Any] = {"measure": "distinct_count", "window_days": 7, "property": "area"}
    assert words(acme, **areas, at_least=5) == "login: 5 different values of area in 7 days, needed at least 5"
    assert words(acme, **areas, at_least=6) is None
    other: dict[str, Any] = {"measure": "distinct_count", "window_days": 7, "property": 'a"re\\a'}
    signals(acme, DAY, properties={'a"re\\a': "x"})
    assert words(acme, **other, at_least=1) is not None


@pytest.mark.parametrize(
    ("before", "present", "at_least_50", "above_50"),
    [(4, 6, True, False), (4, 7, True, True), (4, 5, False, False), (0, 9, False, False), (1, 1, False, False)],
)
def test_growth_is_exact_and_from_nothing_it_is_none(acme, before, present, at_least_50, above_50):
    signals(acme, *[8 * DAY] * before, *[DAY] * present)
    growth: dict[str, Any] = {"measure": "growth", "window_days": 7}
    assert (words(acme, **growth, at_least=50) is not None) is at_least_50
    assert (words(acme, **growth, above=50) is not None) is above_50


def test_what_stands_behind_a_count_answers_as_before_it(acme):
    """Behind a count others are asked of whom it has left: the order of conditions changes nothing but the work."""
    SignalTypeFactory(key="knock")
    others = AccountFactory.create_batch(3)
    # Grown and knocked; grown alone; knocked alone; neither.
    for account, grown, knocked in zip([acme, *others], (True, True, False, False), (True, False) * 2, strict=True):
        signals(account, *[8 * DAY] * 4, *[DAY] * (8 if grown else 4))
        SignalFactory.create_batch(
            2 if knocked else 1, account=account, type=SignalTypeFactory(key="knock"), occurred_at=NOW
        )
    count = {"measure": "signal_count", "signal_type": "knock", "window_days": 7, "at_least": 2}
    people = {"measure": "distinct_count", "signal_type": "login", "window_days": 7, "property": "x", "at_least": 1}
    growth = {"measure": "growth", "signal_type": "login", "window_days": 7, "at_least": 50}
    again = {**count, "window_days": 14}
    known = Known.now()

    def meeting(*conditions: dict[str, Any], some: list[int] | None = None) -> list[int]:
        trigger = TriggerVersion(1, 1, {"key": "t", "any": [{"all": list(conditions)}]}, {})
        return [hit.account_id for hit in evaluate(trigger, NOW, known, some)]

    for conditions in itertools.permutations((count, growth, again)):
        assert meeting(*conditions) == [acme.pk]
        assert meeting(*conditions, some=[acme.pk, others[0].pk]) == [acme.pk]
        assert meeting(*conditions, some=[others[0].pk]) == []
    assert meeting(count, people) == meeting(people, count) == []


def test_growth_knows_its_two_windows_to_the_moment(acme):
    signals(acme, 7 * DAY, 14 * DAY - MOMENT, 0 * DAY, 7 * DAY - MOMENT, 6 * DAY)
    # Exactly fourteen days ago lies before both.
    signals(acme, 14 * DAY)
    growth: dict[str, Any] = {"measure": "growth", "window_days": 7}
    assert (
        words(acme, **growth, at_least=50)
        == "login: 3 in 7 days after 2 in those before, 50 % more, needed at least 50 %"
    )
    assert words(acme, **growth, above=50) is None


def test_growth_of_values_and_from_enough(acme):
    signals(acme, 8 * DAY, value_milli=10_000)
    signals(acme, DAY, value_milli=12_500)
    growth: dict[str, Any] = {"measure": "growth", "window_days": 7, "of": "value", "at_least": 25}
    assert words(acme, **growth, least_before=10) == (
        "login: 12.5 in 7 days after 10 in those before, 25 % more, needed at least 25 % (from 10 on)"
    )
    assert words(acme, **growth, least_before=11) is None


@pytest.mark.parametrize(
    ("comparison", "holds_at_fourteen"), [("at_least", True), ("above", False), ("at_most", True), ("below", False)]
)
def test_days_since_from_either_side(acme, comparison, holds_at_fourteen):
    signals(acme, 14 * DAY, 200 * DAY)
    since: dict[str, Any] = {"measure": "days_since", comparison: 14}
    assert (words(acme, **since) is not None) is holds_at_fourteen
    grows = comparison in ("at_least", "above")
    assert (words(acme, at=NOW + MOMENT, **since) is not None) is grows
    assert (words(acme, at=NOW - MOMENT, **since) is not None) is not grows


def test_days_since_says_when(acme):
    signals(acme, 14 * DAY)
    assert words(acme, measure="days_since", at_least=14) == "login: last on 2026-11-02, needed at least 14 days ago"


def test_what_never_came_fails_unless_it_is_said_to_hold(acme):
    since: dict[str, Any] = {"measure": "days_since", "at_least": 14, "window_days": 30}
    assert words(acme, **since) is None
    assert words(acme, **since, never="holds") == "login: none in 30 days, needed at least 14 days ago or none"
    # What lies before the window has never come.
    signals(acme, 30 * DAY)
    assert words(acme, **since) is None
    assert words(acme, **since, never="holds") is not None
    signals(acme, 30 * DAY - MOMENT)
    assert words(acme, **since) is not None
    signals(acme, 13 * DAY)
    assert words(acme, **since, never="holds") is None


def test_what_was_told_of_later_is_not_known_at_an_earlier_run(acme):
    RunFactory.create_batch(2)
    signals(acme, DAY, actor="ann", batch=IntakeBatchFactory(seen_by_run=1))
    signals(acme, DAY, actor="bob", batch=IntakeBatchFactory(seen_by_run=2))
    signals(acme, 8 * DAY, batch=IntakeBatchFactory(seen_by_run=1))
    conditions: tuple[dict[str, Any], ...] = (
        {"measure": "distinct_count", "window_days": 7, "at_least": 2},
        {"measure": "growth", "window_days": 7, "at_least": 100},
    )
    for condition in conditions:
        assert words(acme, known=Known.now(1), **condition) is None
        assert words(acme, known=Known.now(2), **condition) is not None


@pytest.mark.parametrize(
    ("condition", "path", "problem"),
    [
        ("measure: growth, signal_type: login, window_days: 7, above: 3, below: 3", "", "below is unknown here"),
        ("measure: growth, signal_type: login, window_days: 366, above: 3", "window_days", "more than 365"),
        ("measure: growth, signal_type: login, window_days: 7, above: 1.5", "above", "1.5 is not a whole number"),
        ("measure: days_since, signal_type: login, at_least: 365", "window_days", "365 days cannot be told within"),
        (
            "measure: days_since, signal_type: login, at_least: 3, below: 5",
            "",
            "exactly one of at_least, above, at_most",
        ),
        ("measure: days_since, signal_type: login, at_least: 3, never: maybe", "never", "not one of fails, holds"),
        ("measure: distinct_count, signal_type: login, window_days: -7, at_least: 3", "window_days", "less than 1"),
        ("measure: distinct_count, window_days: 7, at_least: 3", "", "signal_type is missing"),
        ("measure: distinct_count, signal_type: login, window_days: 7, at_least: many", "at_least", "is not a whole"),
    ],
)
def test_a_condition_that_cannot_be_is_refused_where_it_is_wrong(condition, path, problem):
    draft = DRAFT.format(key="k", name="K", motion="add_on")
    text = draft.replace("{measure: share_of_limit, meters: [seats], above: 80}", f"{{{condition}}}")
    with pytest.raises(DocumentError) as caught:
        read_document(text)
    (where, what), *others = caught.value.errors
    assert where == f"triggers/0/any/0/all/0{path and '/' + path}"
    assert problem in what
    assert others == []
