"""Measures over calendar days, which turn at midnight in the company time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import START, AccountFactory, ChangeFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks import compiled
from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate
from csplaybooks.playbooks.factories import RunFactory
from csplaybooks.playbooks.measures import Known, get_measure
from tests.playbooks.asking import DAY, MOMENT, NOW, holding, refused, said

TODAY = NOW.date()
TENURE = {"measure": "tenure"}
RENEWAL = {"measure": "days_to_renewal"}
FIRST_VALUE = {"measure": "time_to_first_value"}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def others() -> None:
    """Accounts of which nothing, little and much is known."""
    AccountFactory(facts=None)
    account(None, None, None)
    account(TODAY - 4000 * DAY, TODAY - 10 * DAY, TODAY + 4000 * DAY)


def account(
    customer_since: date | None = None, activated_on: date | None = None, renewal_on: date | None = None, **more: Any
) -> Account:
    """An account with these days."""
    days = {"customer_since": customer_since, "activated_on": activated_on, "renewal_on": renewal_on}
    row: Account = AccountFactory(**{f"facts__{name}": value for name, value in {**days, **more}.items()})
    return row


# Tenure


@pytest.mark.parametrize("days", [0, 1, 90, 700])
def test_tenure_exactly_at_the_threshold_and_beside_it(days):
    acme = account(TODAY - days * DAY, TODAY - days * DAY - DAY)
    assert holding(acme, TENURE, days) == {"at_least", "at_most"}
    assert holding(acme, TENURE, days + 1) == {"at_most", "below"}
    activated = {**TENURE, "since": "activated_on"}
    assert holding(acme, activated, days) == {"at_least", "above"}
    assert holding(acme, activated, days + 1) == {"at_least", "at_most"}
    assert holding(acme, {**TENURE, "since": "customer_since"}, days) == {"at_least", "at_most"}


def test_tenure_unknown_or_still_to_come_fails():
    for acme in (account(None, TODAY - DAY), account(TODAY + DAY), AccountFactory(facts=None)):
        assert holding(acme, TENURE, 0) == set()
        assert holding(acme, TENURE, 36_500) == set()


def test_tenure_says_since_when():
    acme = account(TODAY - 90 * DAY, TODAY - DAY)
    assert said(acme, {**TENURE, "at_least": 30}) == "customer for 90 days (since 2026-08-18), needed at least 30"
    assert said(acme, {**TENURE, "since": "activated_on", "below": 30}) == (
        "activated for 1 day (since 2026-11-15), needed below 30"
    )
    words = get_measure("tenure").words
    assert words({"above": 3}, {"customer_since": None, "today": TODAY}) == (
        "customer since nobody knows when, needed above 3"
    )
    assert words({"above": 3, "since": "activated_on"}, {"activated_on": TODAY + DAY, "today": TODAY}) == (
        "activated only from 2026-11-17 on, needed above 3"
    )


# Days to renewal


@pytest.mark.parametrize("days", [0, 1, 60, 700])
def test_renewal_exactly_at_the_threshold_and_beside_it(days):
    acme = account(renewal_on=TODAY + days * DAY)
    assert holding(acme, RENEWAL, days) == {"at_least", "at_most"}
    assert holding(acme, RENEWAL, days + 1) == {"at_most", "below"}
    if days:
        assert holding(acme, RENEWAL, days - 1) == {"at_least", "above"}


def test_renewal_unknown_or_past_fails():
    for acme in (account(), account(renewal_on=TODAY - DAY), AccountFactory(facts=None)):
        assert holding(acme, RENEWAL, 0) == set()
        assert holding(acme, RENEWAL, 36_500) == set()


def test_renewal_says_when():
    acme = account(renewal_on=TODAY + 58 * DAY)
    assert said(acme, {**RENEWAL, "at_most": 60}) == "renewal in 58 days (on 2027-01-13), needed at most 60"
    words = get_measure("days_to_renewal").words
    assert words({"below": 9}, {"renewal_on": None, "today": TODAY}) == "renewal date unknown, needed below 9"
    assert words({"below": 9}, {"renewal_on": TODAY - DAY, "today": TODAY}) == (
        "renewal was on 2026-11-15, needed below 9"
    )
    assert words({"below": 9}, {"renewal_on": TODAY, "today": TODAY}) == (
        "renewal in 0 days (on 2026-11-16), needed below 9"
    )


# Time to first value


@pytest.mark.parametrize("days", [0, 1, 30, 700])
def test_first_value_exactly_at_the_threshold_and_beside_it(days):
    acme = account(TODAY - days * DAY - 5 * DAY, TODAY - 5 * DAY)
    assert holding(acme, FIRST_VALUE, days) == {"at_least", "at_most"}
    assert holding(acme, FIRST_VALUE, days + 1) == {"at_most", "below"}
    if days:
        assert holding(acme, FIRST_VALUE, days - 1) == {"at_least", "above"}


def test_first_value_counts_the_day_between_winter_and_summer_as_one():
    acme = account(date(2026, 2, 20), date(2026, 4, 1))
    assert holding(acme, FIRST_VALUE, 40) == {"at_least", "at_most"}


def test_first_value_unknown_to_come_or_before_the_beginning_fails():
    for acme in (
        account(None, TODAY - DAY),
        account(TODAY - 9 * DAY, None),
        account(TODAY - 9 * DAY, TODAY + DAY),
        account(TODAY - 9 * DAY, TODAY - 10 * DAY),
        AccountFactory(facts=None),
    ):
        assert holding(acme, FIRST_VALUE, 0) == set()
        assert holding(acme, FIRST_VALUE, 36_500) == set()
    assert holding(account(TODAY - 9 * DAY, TODAY), FIRST_VALUE, 9) == {"at_least", "at_most"}


def test_first_value_says_after_how_long():
    acme = account(TODAY - 30 * DAY, TODAY - 9 * DAY)
    assert said(acme, {**FIRST_VALUE, "below": 30}) == "first value after 21 days (on 2026-11-07), needed below 30"
    words = get_measure("time_to_first_value").words
    for since, activated, what in (
        (TODAY, None, "not activated yet"),
        (TODAY, TODAY + DAY, "not activated yet"),
        (None, TODAY, "activated on 2026-11-16, and customer since nobody knows when"),
        (TODAY, TODAY - DAY, "activated on 2026-11-15, before it was a customer"),
    ):
        found = {"customer_since": since, "activated_on": activated, "today": TODAY}
        assert words({"below": 9}, found) == f"{what}, needed below 9"


# Season


def test_season_is_the_month_of_the_moment():
    acme = AccountFactory(facts=None)
    assert said(acme, {"measure": "season", "months": [11]}) == "it is November, needed November"
    assert said(acme, {"measure": "season", "months": [1, 11]}) == "it is November, needed January, November"
    # Where it can hold for nobody, nobody is asked about.
    assert said(acme, {"measure": "season", "months": [10, 12]}, queries=0) is None


def test_season_is_that_of_budgets_unless_months_are_named():
    acme = account()
    holds = [
        said(acme, {"measure": "season"}, at=datetime(2026, month, 15, tzinfo=UTC), queries=int(in_season)) is not None
        for month, in_season in ((month, not 4 <= month <= 9) for month in range(1, 13))
    ]
    assert holds == [True] * 3 + [False] * 6 + [True] * 3
    assert str(said(acme, {"measure": "season"})).endswith(
        "needed October, November, December, January, February, March"
    )


def test_season_beside_other_conditions_and_groups():
    acme = account(TODAY - 90 * DAY)
    old = {**TENURE, "at_least": 90}
    now, never = {"measure": "season", "months": [11]}, {"measure": "season", "months": [12]}
    for groups, holds, measures in (
        ([[now, old]], True, ["season", "tenure"]),
        ([[never, old]], False, []),
        ([[never], [old]], True, ["tenure"]),
        ([[now], [old]], True, ["season"]),
        ([[never, old], [now]], True, ["season"]),
    ):
        trigger = TriggerVersion(1, 1, {"key": "t", "any": [{"all": group} for group in groups]}, {})
        hits = evaluate(trigger, NOW, Known.now(), [acme.pk])
        assert bool(hits) is holds
        assert [item["measure"] for hit in hits for item in hit.evidence] == measures


# Days


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("UTC", datetime(2026, 11, 17, tzinfo=UTC)),
        ("Pacific/Auckland", datetime(2026, 11, 16, 11, tzinfo=UTC)),
        ("America/Los_Angeles", datetime(2026, 11, 17, 8, tzinfo=UTC)),
    ],
)
def test_days_turn_at_midnight_in_the_company_time_zone(settings, zone, midnight):
    settings.CSPLAYBOOKS = {"TIME_ZONE": zone}
    turn = date(2026, 11, 17)
    acme = account(turn - 30 * DAY, turn, turn)
    for condition, before, after in (
        ({**TENURE, "at_least": 30}, False, True),
        ({**TENURE, "below": 30}, True, False),
        ({**TENURE, "since": "activated_on", "at_least": 0}, False, True),
        ({**RENEWAL, "at_least": 1}, True, False),
        ({**RENEWAL, "below": 1}, False, True),
        ({**FIRST_VALUE, "at_least": 30}, False, True),
    ):
        assert (said(acme, condition, at=midnight - MOMENT) is not None) is before, condition
        assert (said(acme, condition, at=midnight) is not None) is after, condition
    assert said(acme, {**RENEWAL, "at_most": 0}, at=midnight + DAY - MOMENT) is not None
    assert said(acme, {**RENEWAL, "at_most": 0}, at=midnight + DAY) is None


def test_months_turn_at_midnight_in_the_company_time_zone(settings):
    settings.CSPLAYBOOKS = {"TIME_ZONE": "Asia/Tokyo"}
    acme = account()
    december = datetime(2026, 11, 30, 15, tzinfo=UTC)
    condition = {"measure": "season", "months": [12]}
    assert said(acme, condition, at=december - MOMENT, queries=0) is None
    assert said(acme, condition, at=december) == "it is December, needed December"


def test_days_are_those_known_then():
    RunFactory.create_batch(2)
    change = ChangeFactory(seen_by_run=2)
    acme = account(TODAY - 30 * DAY, TODAY - 20 * DAY, TODAY + 20 * DAY, change=change)
    for condition, days in ((TENURE, 30), (RENEWAL, 20), (FIRST_VALUE, 10)):
        assert holding(acme, condition, days, mark=1) == set()
        assert holding(acme, condition, days, mark=2) == {"at_least", "at_most"}
        assert holding(acme, condition, 36_500, at=START - MOMENT) == set()
    assert holding(acme, RENEWAL, 36_500, at=START) == {"at_most", "below"}


def test_each_moment_has_its_own_day_and_a_query_is_kept_for_each():
    acme = account(TODAY - 30 * DAY)
    compiled._kept.clear()
    asked = {**TENURE, "at_least": 30}
    for _ in range(2):
        for ago, holds in ((0, True), (1, False), (2, False)):
            for hours in (0, 3):
                assert (said(acme, asked, at=NOW - ago * DAY + timedelta(hours=hours)) is not None) is holds
    # Each for all accounts, and for the one.
    assert len(compiled._kept) == 3 * 2
    for ago in range(3):
        assert holding(acme, TENURE, 30 - ago, at=NOW - ago * DAY) == {"at_least", "at_most"}
        assert holding(acme, TENURE, 30, at=NOW - timedelta(days=ago)) == (
            {"at_most", "below"} if ago else {"at_least", "at_most"}
        )


@pytest.mark.parametrize("measure", ["tenure", "days_to_renewal", "time_to_first_value"])
@pytest.mark.parametrize(
    ("threshold", "path", "problem"),
    [
        ("", "", "exactly one of at_least, above, at_most, below is needed"),
        (", above: -1", "above", "-1 is less than 0"),
        (", below: 0", "below", "0 is less than 1"),
        (", at_most: 1.5", "at_most", "1.5 is not a whole number"),
        (", at_least: 36501", "at_least", "36501 is more than 36500"),
        (", at_least: 1, since: renewal_on", "since", ""),
    ],
)
def test_days_that_cannot_be_are_refused_where_they_are_wrong(measure, threshold, path, problem):
    where, what = refused(f"measure: {measure}{threshold}")
    if path == "since" and measure != "tenure":
        assert (where, what.partition(";")[0]) == ("", "since is unknown here")
    elif path == "since":
        assert (where, what) == ("since", "'renewal_on' is not one of customer_since, activated_on")
    else:
        assert where == path
        assert problem in what


@pytest.mark.parametrize(
    ("months", "path", "problem"),
    [
        ("[]", "months", "is empty"),
        ("[0]", "months/0", "0 is less than 1"),
        ("[13]", "months/0", "13 is more than 12"),
        ("[1, 1]", "months", "the same entry stands twice"),
        ("[March]", "months/0", "'March' is not a whole number"),
        ("[11.0]", "months/0", "11.0 is not a whole number: write 11"),
        ("[1], above: 3", "", "above is unknown here"),
    ],
)
def test_months_that_cannot_be_are_refused_where_they_are_wrong(months, path, problem):
    where, what = refused(f"measure: season, months: {months}")
    assert where == path
    assert problem in what
