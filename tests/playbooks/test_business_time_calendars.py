"""Business calendars as values: what makes one, what is refused, and what equals what."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, date, datetime

import pytest

from csplaybooks.playbooks.business_time import Block, BusinessCalendar, CalendarError, due_at
from tests.playbooks.business_calendars import BERLIN, HOLIDAYS, HOUR, OFFICE, at, block, blocks


def test_equal_calendars_are_one_value() -> None:
    def build(order: int) -> BusinessCalendar:
        return BusinessCalendar(
            zone=BERLIN,
            week=[list(blocks("09:00-12:00", "13:00-17:00"))[::order]] * 7,  # type: ignore[arg-type]  # lists become tuples
            closed_dates=[date(2026, 12, 25)],  # type: ignore[arg-type]  # as above
            special_dates=dict([(date(2026, 12, 24), blocks("09:00-12:00")), (date(2026, 12, 31), ())][::order]),
        )

    one, other = build(1), build(-1)
    assert one == other
    assert hash(one) == hash(other)
    assert one != OFFICE
    due_at(one, at(BERLIN, "2026-11-23 09:00"), HOUR)
    assert one.hours is other.hours
    for twin in (pickle.loads(pickle.dumps(one)), copy.copy(one), copy.deepcopy(one)):  # noqa: S301 - pickled here
        assert twin == one
        assert hash(twin) == hash(one)
    with pytest.raises(TypeError):
        one.special_dates[date(2027, 1, 1)] = ()  # type: ignore[index]  # what is refused
    with pytest.raises(AttributeError):
        one.zone = "UTC"


def test_blocks_on_a_date() -> None:
    assert HOLIDAYS.blocks_on(date(2026, 12, 24)) == blocks("09:00-12:00")
    assert HOLIDAYS.blocks_on(date(2026, 12, 25)) == ()
    assert HOLIDAYS.blocks_on(date(2026, 12, 26)) == blocks("10:00-14:00")
    assert HOLIDAYS.blocks_on(date(2026, 12, 27)) == ()
    assert HOLIDAYS.blocks_on(date(2026, 12, 28)) == ()
    assert HOLIDAYS.blocks_on(date(2026, 12, 29)) == blocks("09:00-17:00")
    assert str(block("22:00-30:00")) == "22:00-30:00"


@pytest.mark.parametrize(
    ("start", "end"),
    [(-1, 60), (1440, 1500), (60, 60), (60, 30), (60, 1501), (0.5, 60), (True, 60), ("0", 60)],
)
def test_impossible_blocks_are_refused(start: int, end: int) -> None:
    with pytest.raises(CalendarError) as refused:
        Block(start, end)
    assert isinstance(refused.value, ValueError)
    assert refused.value.item.startswith("block")


WORKING_WEEK = OFFICE.week


@pytest.mark.parametrize(
    ("arguments", "item", "problem"),
    [
        ({"zone": "Europe/Atlantis"}, "zone", "unknown time zone 'Europe/Atlantis'"),
        ({"zone": ""}, "zone", "unknown"),
        ({"zone": "Europe"}, "zone", "unknown"),
        ({"zone": "../Berlin"}, "zone", "unknown"),
        ({"zone": "a\0b"}, "zone", "unknown"),
        ({"zone": "localtime"}, "zone", "unknown"),
        ({"zone": None}, "zone", "unknown"),
        ({"week": WORKING_WEEK[:6]}, "week", "seven days"),
        ({"week": ((),) * 7}, "week", "without open time"),
        ({"week": ((),) * 7, "special_dates": {date(2026, 11, 23): ()}}, "week", "without open time"),
        (
            {"week": ((), blocks("12:00-18:00", "09:00-12:01"), *WORKING_WEEK[2:])},
            "Tuesday",
            "the blocks 09:00-12:01 and 12:00-18:00 overlap",
        ),
        ({"week": ((), blocks("22:00-30:00", "23:00-25:00"), *WORKING_WEEK[2:])}, "Tuesday", "overlap"),
        ({"week": (((540, 1020),), *WORKING_WEEK[1:])}, "Monday", "not a block"),
        (
            {"special_dates": {date(2026, 12, 24): blocks("09:00-12:00", "11:00-13:00")}},
            "special date 2026-12-24",
            "overlap",
        ),
        ({"special_dates": {"2026-12-24": ()}}, "special date", "not a date"),
        ({"closed_dates": {datetime(2026, 12, 24, tzinfo=UTC)}}, "closed date", "not a date"),
    ],
)
def test_impossible_calendars_are_refused(arguments: dict[str, object], item: str, problem: str) -> None:
    with pytest.raises(CalendarError) as refused:
        BusinessCalendar(**({"zone": BERLIN, "week": WORKING_WEEK} | arguments))  # type: ignore[arg-type]  # what is refused
    assert refused.value.item == item
    assert problem in refused.value.problem
    assert str(refused.value) == f"{item}: {refused.value.problem}"
    assert str(copy.copy(refused.value)) == str(refused.value)
