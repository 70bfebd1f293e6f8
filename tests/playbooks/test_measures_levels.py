"""Measures over levels: what a meter stands at, and how far it moved."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks import compiled
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.factories import DRAFT, RunFactory
from csplaybooks.playbooks.measures import get_measure
from csplaybooks.signals.factories import IntakeBatchFactory, MeterFactory, ReadingFactory
from csplaybooks.signals.models import Reading
from csplaybooks.signals.models.events import LARGEST_NUMBER
from tests.playbooks.asking import DAY, MOMENT, NOW, holding, refused, said

LEVEL = {"measure": "level", "meters": ["seats"]}
CHANGE = {"measure": "level_change", "meter": "seats", "window_days": 30}

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Account:
    """An account without readings, beside one that has had few seats for long and one that has had many."""
    for key in ("seats", "storage"):
        MeterFactory(key=key, max_age_days=35)
    for used in (-50, 50):
        other = AccountFactory()
        for ago in (0, 30, 60):
            read(other, used * (61 - ago), ago * DAY)
    account: Account = AccountFactory(name="Acme")
    return account


def read(account: Account, used: float, ago: timedelta, key: str = "seats", **more: Any) -> Reading:
    """A reading of so much, so long ago, without a limit."""
    meter = MeterFactory(key=key)
    more = {"limit_milli": None, **more}
    row: Reading = ReadingFactory(
        account=account, meter=meter, used_milli=round(used * 1000), occurred_at=NOW - ago, **more
    )
    return row


def told(run: int) -> dict[str, Any]:
    """In a batch that this run took note of."""
    return {"batch": IntakeBatchFactory(readings=True, seen_by_run=run)}


# Level


@pytest.mark.parametrize("threshold", [20, 0, -20, 0.001, 12.345])
def test_level_exactly_at_the_threshold_and_beside_it(acme, threshold):
    read(acme, threshold, DAY)
    assert holding(acme, LEVEL, threshold) == {"at_least", "at_most"}
    assert holding(acme, LEVEL, round(threshold - 0.001, 3)) == {"at_least", "above"}
    assert holding(acme, LEVEL, round(threshold + 0.001, 3)) == {"at_most", "below"}


def test_level_says_what_was_found_and_needed(acme):
    read(acme, 20.5, DAY)
    assert said(acme, {**LEVEL, "at_least": 20}) == "seats at 20.5, needed at least 20"
    read(acme, 0, DAY, "storage")
    both = {"measure": "level", "meters": ["storage", "seats"]}
    assert said(acme, {**both, "below": 20.5}) == "storage at 0, seats at 20.5, needed below 20.5"
    assert said(acme, {**both, "below": 0}) is None


def test_no_reading_is_no_level(acme):
    assert holding(acme, LEVEL, 0) == set()
    assert holding(acme, {"measure": "level", "meters": ["unknown_to_all"]}, 0) == set()
    assert get_measure("level").words({**LEVEL, "above": 3}, {"used0": None, "limit0": None}) == (
        "no reading, needed above 3"
    )


def test_level_counts_from_its_moment_until_it_is_too_old(acme):
    read(acme, 20, 0 * DAY)
    condition = {**LEVEL, "at_most": 20}
    assert said(acme, condition, at=NOW - MOMENT) is None
    assert said(acme, condition) is not None
    assert said(acme, condition, at=NOW + 35 * DAY - MOMENT) is not None
    assert said(acme, condition, at=NOW + 35 * DAY) is None


def test_level_is_that_of_the_latest_reading_and_of_two_at_once_the_later_told(acme):
    read(acme, 90, DAY)
    read(acme, 10, 2 * DAY)
    assert said(acme, {**LEVEL, "at_least": 90}) == "seats at 90, needed at least 90"
    assert said(acme, {**LEVEL, "at_least": 90}, at=NOW - DAY - MOMENT) is None
    read(acme, 80, DAY)
    assert said(acme, {**LEVEL, "at_least": 80}) == "seats at 80, needed at least 80"


def test_level_has_nothing_to_do_with_a_limit(acme):
    read(acme, 20, DAY, limit_milli=0)
    assert said(acme, {**LEVEL, "at_least": 20}) is not None


def test_level_told_late_corrected_and_taken_back(acme):
    RunFactory.create_batch(4)
    first = read(acme, 20, 2 * DAY, **told(1))
    late = read(acme, 30, DAY, **told(2))
    again = read(acme, 40, DAY, corrects=late, **told(3))
    read(acme, 40, DAY, corrects=again, is_void=True, **told(4))
    assert first.pk
    levels = [said(acme, {**LEVEL, "above": 0}, mark=mark) for mark in (1, 2, 3, 4, None)]
    assert levels == [f"seats at {used}, needed above 0" for used in (20, 30, 40, 20, 20)]


# Level change


def moved(account: Account, earlier: float, present: float) -> None:
    """A reading exactly thirty days ago, and one now."""
    read(account, earlier, 30 * DAY)
    read(account, present, 0 * DAY)


@pytest.mark.parametrize(
    ("earlier", "present", "change"),
    [
        (20, 32, 12),
        (32, 20, -12),
        (0, 12.5, 12.5),
        (-5, 5, 10),
        (5, -5, -10),
        (20, 20, 0),
        (0, 0, 0),
        (1, 0.999, -0.001),
    ],
)
def test_change_exactly_at_the_threshold_and_beside_it(acme, earlier, present, change):
    moved(acme, earlier, present)
    assert holding(acme, CHANGE, change) == {"at_least", "at_most"}
    assert holding(acme, CHANGE, round(change - 0.001, 3)) == {"at_least", "above"}
    assert holding(acme, CHANGE, round(change + 0.001, 3)) == {"at_most", "below"}


@pytest.mark.parametrize(
    ("earlier", "present", "percent", "exactly"),
    [
        (20, 32, 60, True),
        (32, 24, -25, True),
        (20, 20, 0, True),
        (3, 4, 33, False),
        (4, 0, -100, True),
        (2, 22, 1000, True),
    ],
)
def test_change_in_per_cent_is_exact(acme, earlier, present, percent, exactly):
    moved(acme, earlier, present)
    condition = {**CHANGE, "percent": True}
    assert holding(acme, condition, percent) == ({"at_least", "at_most"} if exactly else {"at_least", "above"})
    assert holding(acme, condition, percent - 1) == {"at_least", "above"}
    assert holding(acme, condition, percent + 1) == {"at_most", "below"}


@pytest.mark.parametrize("earlier", [0, -4])
def test_there_is_no_per_cent_of_zero_or_less(acme, earlier):
    moved(acme, earlier, 4)
    assert holding(acme, {**CHANGE, "percent": True}, 0) == set()
    assert holding(acme, CHANGE, 0) == {"at_least", "above"}


def test_change_says_how_it_moved(acme):
    moved(acme, 20, 32)
    assert said(acme, {**CHANGE, "at_least": 10}) == "seats rose by 12 in 30 days (from 20 to 32), needed at least 10"
    assert said(acme, {**CHANGE, "percent": True, "above": 50}) == (
        "seats rose by 60 % in 30 days (from 20 to 32), needed above 50 %"
    )
    read(acme, 17.5, 0 * DAY)
    assert said(acme, {**CHANGE, "at_most": -2}) == (
        "seats fell by 2.5 in 30 days (from 20 to 17.5), needed at most -2"
    )
    assert said(acme, {**CHANGE, "percent": True, "below": 0}) == (
        "seats fell by 12.5 % in 30 days (from 20 to 17.5), needed below 0 %"
    )
    read(acme, 20, 0 * DAY)
    assert said(acme, {**CHANGE, "at_most": 0}) == ("seats did not change in 30 days (from 20 to 20), needed at most 0")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"earlier": 1000, "present": None}, "no reading of seats, needed above 5 %"),
        ({"earlier": None, "present": 1000}, "no reading of seats 30 days before, needed above 5 %"),
        (
            {"earlier": 0, "present": 1000},
            "seats changed in 30 days (from 0 to 1), which is no per cent of anything, needed above 5 %",
        ),
    ],
)
def test_change_says_why_there_is_none(found, words):
    assert get_measure("level_change").words({**CHANGE, "percent": True, "above": 5}, found) == words


def test_both_ends_have_their_latest_reading(acme):
    read(acme, 100, 30 * DAY + MOMENT)
    read(acme, 20, 30 * DAY)
    read(acme, 55, 30 * DAY - MOMENT)
    read(acme, 99, DAY)
    read(acme, 32, 0 * DAY)
    read(acme, 70, -MOMENT)
    rise = {**CHANGE, "above": -1000}
    assert "(from 20 to 32)" in str(said(acme, rise))
    assert "(from 100 to 99)" in str(said(acme, rise, at=NOW - MOMENT))
    assert "(from 55 to 70)" in str(said(acme, rise, at=NOW + MOMENT))


def test_either_reading_may_be_as_old_as_the_meter_allows_and_no_older(acme):
    read(acme, 20, 65 * DAY - MOMENT)
    read(acme, 32, 29 * DAY)
    rise = {**CHANGE, "at_least": 12}
    assert said(acme, rise) is not None
    assert said(acme, rise, at=NOW + MOMENT) is None
    assert said(acme, rise, at=NOW - MOMENT) is not None
    short = {**CHANGE, "window_days": 1, "above": -1000}
    read(acme, 40, -1 * DAY)
    assert "(from 32 to 40)" in str(said(acme, short, at=NOW + DAY))
    assert "seats rose by 8 in a day" in str(said(acme, short, at=NOW + DAY))
    # The present one grows too old, with the earlier one still there or not.
    assert said(acme, short, at=NOW + 36 * DAY - MOMENT) is not None
    assert said(acme, short, at=NOW + 36 * DAY) is None


def test_one_reading_at_both_ends_is_no_change_and_one_alone_is_no_answer(acme):
    read(acme, 20, 32 * DAY)
    assert holding(acme, CHANGE, 0) == {"at_least", "at_most"}
    Reading.objects.filter(account=acme).delete()
    assert holding(acme, CHANGE, 0) == set()
    read(acme, 20, 29 * DAY)
    assert holding(acme, CHANGE, 0) == set()
    assert holding(acme, {**CHANGE, "meter": "unknown_to_all"}, 0) == set()


def test_change_told_late_corrected_and_taken_back(acme):
    RunFactory.create_batch(4)
    read(acme, 10, 40 * DAY, **told(1))
    present = read(acme, 30, DAY, **told(1))
    late = read(acme, 20, 30 * DAY, **told(2))
    read(acme, 35, DAY, corrects=present, **told(3))
    read(acme, 20, 30 * DAY, corrects=late, is_void=True, **told(4))
    rises = [said(acme, {**CHANGE, "at_least": 10}, mark=mark) for mark in (1, 2, 3, 4, None)]
    assert rises == [
        f"seats rose by {rise} in 30 days {levels}, needed at least 10"
        for rise, levels in (
            (20, "(from 10 to 30)"),
            (10, "(from 20 to 30)"),
            (15, "(from 20 to 35)"),
            (25, "(from 10 to 35)"),
            (25, "(from 10 to 35)"),
        )
    ]


def test_the_largest_readings_and_thresholds_stay_inside_64_bits(acme):
    moved(acme, LARGEST_NUMBER, -LARGEST_NUMBER)
    percent = {**CHANGE, "percent": True}
    assert holding(acme, percent, -200) == {"at_least", "at_most"}
    assert holding(acme, percent, -1000) == {"at_least", "above"}
    assert holding(acme, percent, 1000) == {"at_most", "below"}
    # A threshold is never taken for the id of an account in a kept query.
    for condition in (CHANGE, LEVEL):
        assert holding(acme, condition, -999_999_999_999) == {"at_most", "below"}
        assert holding(acme, condition, 999_999_999_999) == {"at_most", "below"}


def test_both_are_asked_by_kept_queries(acme):
    compiled._kept.clear()
    for condition in ({**LEVEL, "above": 1}, {**CHANGE, "above": 1}, {**CHANGE, "above": 1, "percent": True}):
        for ago in range(3):
            said(acme, condition, at=NOW - ago * DAY)
    # For all accounts and for one.
    assert len(compiled._kept) == 3 * 2
    assert all(compiled._kept.values())


def test_reach_is_the_maximum_age_and_the_window_before_it():
    ages = {"seats": 35, "storage": 10}
    assert get_measure("level").reach({**LEVEL, "meters": ["storage", "seats"]}, ages) == {"meters": 35 * DAY}
    assert get_measure("level_change").reach(CHANGE, ages) == {"window_days": 65 * DAY}
    assert get_measure("level_change").reach({**CHANGE, "meter": "unknown_to_all"}, ages) == {"window_days": 30 * DAY}


@pytest.mark.parametrize(
    ("condition", "path", "problem"),
    [
        ("measure: level, above: 3", "", "meters is missing"),
        ("measure: level, meters: [], above: 3", "meters", "is empty"),
        ("measure: level, meters: [seats]", "", "exactly one of at_least, above, at_most, below is needed"),
        ("measure: level, meters: [seats], above: 3, below: 5", "", "exactly one of"),
        ("measure: level, meters: [seats], above: 1.0005", "above", "1.0005 has more than 3 decimals"),
        ("measure: level, meters: [seats], below: many", "below", "'many' is not a number"),
        ("measure: level, meters: [seats], below: -1000000000000", "below", "is less than -999999999999"),
        ("measure: level, meters: [seats], above: 3, grace_hours: 2", "", "grace_hours is unknown here"),
        ("measure: level_change, meter: seats, above: 3", "", "window_days is missing"),
        ("measure: level_change, meter: seats, window_days: -30, above: 3", "window_days", "less than 1"),
        ("measure: level_change, meter: [seats], window_days: 30, above: 3", "meter", "is not text"),
        ("measure: level_change, meter: seats, window_days: 30, above: 0.0001", "above", "more than 3 decimals"),
        (
            "measure: level_change, meter: seats, window_days: 30, percent: true, at_most: -12.5",
            "at_most",
            "-12.5 is not a whole number of per cent",
        ),
        (
            "measure: level_change, meter: seats, window_days: 30, percent: true, below: -1001",
            "below",
            "-1001 is not between -1000 and 1000 per cent",
        ),
        ("measure: level_change, meter: seats, window_days: 30, percent: 5, above: 3", "percent", "true or false"),
    ],
)
def test_a_condition_that_cannot_be_is_refused_where_it_is_wrong(condition, path, problem):
    where, what = refused(condition)
    assert where == path
    assert problem in what


def test_per_cents_that_can_be_are_taken():
    text = DRAFT.format(key="k", name="K", motion="add_on").replace(
        "{measure: share_of_limit, meters: [seats], above: 80}",
        "{measure: level_change, meter: seats, window_days: 30, percent: true, at_most: -1000}",
    )
    try:
        document = read_document(text)
    except DocumentError as error:
        pytest.fail(str(error))
    assert document["triggers"][0]["any"][0]["all"][0]["at_most"] == -1000
