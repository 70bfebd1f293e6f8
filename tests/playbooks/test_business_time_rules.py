"""The rules of business time, by table: due times, openings, clock changes, and the ends of what can be asked."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from csplaybooks.playbooks.business_time import (
    LONGEST_SPAN,
    Block,
    BusinessCalendar,
    HorizonExceeded,
    due_at,
    elapsed,
    is_open,
    moment_at_share,
    next_opening,
)
from tests.playbooks.business_calendars import (
    BERLIN,
    HOLIDAYS,
    HOUR,
    LORD_HOWE,
    MICROSECOND,
    NEW_YORK,
    OFFICE,
    ROUND_THE_CLOCK,
    ZERO,
    at,
    blocks,
    calendar,
    every_day,
    hours,
)

LUNCH = calendar(BERLIN, ["09:00-12:00", "13:00-17:00"])
NIGHTS = calendar(BERLIN, ["22:00-30:00"])
NIGHTS_WITH_HOLIDAY = calendar(BERLIN, ["22:00-30:00"], closed=[date(2026, 11, 25)])
OVERLAPPING_DAYS = every_day(BERLIN, "08:00-32:00")
NIGHT_INTO_MORNING = calendar(BERLIN, ["09:00-17:00", "22:00-34:00"])

# 2026-11-23 is a Monday.
DUE_CASES = [
    ("within a day", OFFICE, "2026-11-23 10:00", 4, "2026-11-23 14:00"),
    ("over night", OFFICE, "2026-11-23 16:00", 2, "2026-11-24 10:00"),
    ("over a weekend", OFFICE, "2026-11-27 16:30", 1, "2026-11-30 09:30"),
    ("from a Saturday", OFFICE, "2026-11-28 11:00", 1, "2026-11-30 10:00"),
    ("two weeks", OFFICE, "2026-11-23 09:00", 80, "2026-12-04 17:00"),
    ("runs out exactly at closing", OFFICE, "2026-11-23 10:00", 7, "2026-11-23 17:00"),
    ("start exactly at closing", OFFICE, "2026-11-23 17:00", 1, "2026-11-24 10:00"),
    ("start exactly at opening", OFFICE, "2026-11-23 09:00", 1, "2026-11-23 10:00"),
    ("nothing, while open", OFFICE, "2026-11-23 10:00", 0, "2026-11-23 10:00"),
    ("nothing, at opening", OFFICE, "2026-11-23 09:00", 0, "2026-11-23 09:00"),
    ("nothing, at closing", OFFICE, "2026-11-23 17:00", 0, "2026-11-24 09:00"),
    ("nothing, on Friday at closing", OFFICE, "2026-11-27 17:00", 0, "2026-11-30 09:00"),
    ("nothing, before opening", OFFICE, "2026-11-23 03:00", 0, "2026-11-23 09:00"),
    ("over lunch", LUNCH, "2026-11-23 11:00", 2, "2026-11-23 14:00"),
    ("exactly to lunch", LUNCH, "2026-11-23 11:00", 1, "2026-11-23 12:00"),
    ("from lunch", LUNCH, "2026-11-23 12:30", 5, "2026-11-24 10:00"),
    ("past midnight", NIGHTS, "2026-11-23 23:00", 3, "2026-11-24 02:00"),
    ("from after midnight", NIGHTS, "2026-11-24 05:00", 2, "2026-11-24 23:00"),
    ("Friday's night ends on Saturday", NIGHTS, "2026-11-28 05:00", 2, "2026-11-30 23:00"),
    ("the tail is worked on a closed date", NIGHTS_WITH_HOLIDAY, "2026-11-25 04:00", 4, "2026-11-27 00:00"),
    ("hours of its own, though closed", HOLIDAYS, "2026-12-24 11:00", 2, "2026-12-26 11:00"),
    ("a special date without blocks", HOLIDAYS, "2026-12-26 13:00", 2, "2026-12-29 10:00"),
    ("24 hours a day", ROUND_THE_CLOCK, "2026-11-23 15:00", 100, "2026-11-27 19:00"),
    ("touching days have no closing", ROUND_THE_CLOCK, "2026-11-24 00:00", 0, "2026-11-24 00:00"),
    (
        "a night shift into the next morning's hours",
        NIGHT_INTO_MORNING,
        "2026-11-24 08:00",
        9,
        "2026-11-24 17:00",
    ),
    ("days that touch around the clock", OVERLAPPING_DAYS, "2026-11-24 07:00", 24, "2026-11-25 07:00"),
    ("spring, a day of 23 hours", ROUND_THE_CLOCK, "2027-03-28 00:00", 23, "2027-03-29 00:00"),
    ("autumn, a day of 25 hours", ROUND_THE_CLOCK, "2026-10-25 00:00", 25, "2026-10-26 00:00"),
    ("office hours know no clock change", OFFICE, "2026-10-23 16:00", 2, "2026-10-26 10:00"),
    ("spring, over the gap", every_day(BERLIN, "01:00-04:00"), "2027-03-28 01:00", 2, "2027-03-28 04:00"),
    ("spring, end in the gap", every_day(BERLIN, "01:00-02:30"), "2027-03-28 01:30", 0.5, "2027-03-28 03:00"),
    ("spring, start in the gap", every_day(BERLIN, "02:30-04:00"), "2027-03-28 00:00", 0, "2027-03-28 03:00"),
    (
        "spring, all in the gap",
        every_day(BERLIN, "02:15-02:45"),
        "2027-03-28 00:00",
        0.25,
        "2027-03-29 02:30",
    ),
    ("autumn, both hours", every_day(BERLIN, "02:00-03:00"), "2026-10-25 00:00", 2, "2026-10-25 03:00"),
    ("New York, spring", every_day(NEW_YORK, "00:00-24:00"), "2026-03-08 00:00", 23, "2026-03-09 00:00"),
    ("New York, autumn", every_day(NEW_YORK, "00:00-24:00"), "2026-11-01 00:00", 25, "2026-11-02 00:00"),
    (
        "New York, night shift, spring",
        every_day(NEW_YORK, "22:00-30:00"),
        "2026-03-07 22:00",
        7,
        "2026-03-08 06:00",
    ),
    (
        "New York, night shift, autumn",
        every_day(NEW_YORK, "22:00-30:00"),
        "2026-10-31 22:00",
        9,
        "2026-11-01 06:00",
    ),
    ("Lord Howe, spring", every_day(LORD_HOWE, "00:00-24:00"), "2026-10-04 00:00", 23.5, "2026-10-05 00:00"),
    ("Lord Howe, autumn", every_day(LORD_HOWE, "00:00-24:00"), "2026-04-05 00:00", 24.5, "2026-04-06 00:00"),
    (
        "Samoa skipped a Friday",
        calendar("Pacific/Apia", ["09:00-17:00"]),
        "2011-12-29 16:00",
        2,
        "2012-01-02 10:00",
    ),
    ("before 1970", OFFICE, "1969-12-31 16:00", 2, "1970-01-01 10:00"),
]


@pytest.mark.parametrize(
    ("hours_of", "start", "duration", "due"),
    [case[1:] for case in DUE_CASES],
    ids=[case[0] for case in DUE_CASES],
)
def test_due_at_table(hours_of: BusinessCalendar, start: str, duration: float, due: str) -> None:
    begin, expected = at(hours_of.zone, start), at(hours_of.zone, due)
    answer = due_at(hours_of, begin, hours(duration))
    assert answer == expected.astimezone(UTC)
    assert answer.tzinfo is UTC
    assert elapsed(hours_of, begin, answer) == hours(duration)


def test_every_night_of_a_year_is_whole() -> None:
    """Nights lie across every seam of the layout: each has its eight hours, but for the two clock changes."""
    nights = every_day(BERLIN, "22:00-30:00")
    noons = [at(BERLIN, "2026-01-01 12:00") + timedelta(days=number) for number in range(366)]
    lengths = {noon.date(): elapsed(nights, noon, noon + timedelta(days=1)) for noon in noons}
    changed = {day: length for day, length in lengths.items() if length != hours(8)}
    assert changed == {date(2026, 3, 28): hours(7), date(2026, 10, 24): hours(9)}


def test_a_block_in_an_ambiguous_hour_is_open_both_times() -> None:
    half_past_two = every_day(BERLIN, "02:30-03:00")
    first, second = (at(BERLIN, "2026-10-25 02:30", fold=fold) for fold in (0, 1))
    assert due_at(half_past_two, first, hours(0.5)) == first.astimezone(UTC) + hours(0.5)
    assert due_at(half_past_two, first, hours(0.75)) == second.astimezone(UTC) + hours(0.25)
    assert elapsed(half_past_two, first.astimezone(UTC), second.astimezone(UTC)) == hours(0.5)
    assert not is_open(half_past_two, at(BERLIN, "2026-10-25 02:29", fold=1))


def test_zone_of_the_argument_does_not_matter() -> None:
    start = at(BERLIN, "2026-11-23 16:00")
    same = start.astimezone(timezone(timedelta(hours=-9)))
    assert due_at(OFFICE, start, hours(2)) == due_at(OFFICE, same, hours(2)) == at(BERLIN, "2026-11-24 10:00")


def test_offsets_with_seconds_are_exact() -> None:
    # Amsterdam ran 19 minutes and 32 seconds ahead of Greenwich until 1937.
    amsterdam = calendar("Europe/Amsterdam", ["09:00-17:00"])
    opening = next_opening(amsterdam, datetime(1930, 1, 6, tzinfo=UTC))
    assert opening.astimezone(ZoneInfo("Europe/Amsterdam")).strftime("%H:%M:%S") == "09:00:00"
    assert due_at(amsterdam, opening, hours(8) + MICROSECOND) == opening + hours(24) + MICROSECOND


@pytest.mark.parametrize(
    ("moment", "expected", "opening"),
    [
        ("2026-11-23 08:59:59.999999", False, "2026-11-23 09:00"),
        ("2026-11-23 09:00", True, "2026-11-23 09:00"),
        ("2026-11-23 16:59:59.999999", True, "2026-11-23 16:59:59.999999"),
        ("2026-11-23 17:00", False, "2026-11-24 09:00"),
        ("2026-11-28 12:00", False, "2026-11-30 09:00"),
    ],
)
def test_is_open_and_next_opening_are_half_open(moment: str, expected: bool, opening: str) -> None:
    assert is_open(OFFICE, at(BERLIN, moment)) is expected
    assert next_opening(OFFICE, at(BERLIN, moment)) == at(BERLIN, opening).astimezone(UTC)


def test_without_a_calendar_the_wall_clock_counts() -> None:
    start = at(BERLIN, "2026-10-24 12:00")  # the night between has an hour more
    assert due_at(None, start, hours(25)) == at(BERLIN, "2026-10-25 12:00").astimezone(UTC)
    assert elapsed(None, start, at(BERLIN, "2026-10-25 12:00")) == hours(25)
    assert is_open(None, start)
    assert next_opening(None, start) == start
    assert due_at(None, start, ZERO) == start


def test_moment_at_share() -> None:
    start = at(BERLIN, "2026-11-23 13:00")
    assert moment_at_share(OFFICE, start, hours(10), 50) == at(BERLIN, "2026-11-24 10:00").astimezone(UTC)
    assert moment_at_share(OFFICE, start, hours(10), 80) == at(BERLIN, "2026-11-24 13:00").astimezone(UTC)
    assert moment_at_share(OFFICE, start, hours(10), 100) == due_at(OFFICE, start, hours(10))
    paused = [(at(BERLIN, "2026-11-23 14:00"), None)]
    assert moment_at_share(OFFICE, start, hours(10), 10, paused) == at(BERLIN, "2026-11-23 14:00").astimezone(UTC)
    assert moment_at_share(OFFICE, start, hours(10), 11, paused) is None
    with pytest.raises(ValueError, match="percent must not be negative"):
        moment_at_share(OFFICE, start, hours(10), -1)


def test_naive_datetimes_and_negative_amounts_are_refused() -> None:
    naive, aware = datetime(2026, 11, 23, 10), datetime(2026, 11, 23, 10, tzinfo=UTC)  # noqa: DTZ001 - what is refused
    for hours_of in (None, OFFICE):
        with pytest.raises(ValueError, match="start must have a time zone"):
            due_at(hours_of, naive, HOUR)
        with pytest.raises(ValueError, match="end must have a time zone"):
            elapsed(hours_of, aware, naive)
        with pytest.raises(ValueError, match="instant must have a time zone"):
            is_open(hours_of, naive)
        with pytest.raises(ValueError, match="instant must have a time zone"):
            next_opening(hours_of, naive)
        with pytest.raises(ValueError, match="start of a pause must have a time zone"):
            due_at(hours_of, aware, HOUR, [(naive, None)])
        with pytest.raises(ValueError, match="end of a pause must have a time zone"):
            elapsed(hours_of, aware, aware, [(aware, naive)])
        with pytest.raises(ValueError, match="must not end before"):
            due_at(hours_of, aware, HOUR, [(aware, aware - MICROSECOND)])
        with pytest.raises(ValueError, match="duration must not be negative"):
            due_at(hours_of, aware, -MICROSECOND)
        with pytest.raises(ValueError, match="is before start"):
            elapsed(hours_of, aware, aware - MICROSECOND)


def test_the_horizon_ends_the_search() -> None:
    fair = BusinessCalendar(zone=BERLIN, week=((),) * 7, special_dates={date(2026, 11, 23): blocks("09:00-17:00")})
    before, after = at(BERLIN, "2026-11-20 12:00"), at(BERLIN, "2026-11-23 17:00")
    assert due_at(fair, before, hours(8)) == after.astimezone(UTC)
    with pytest.raises(HorizonExceeded, match="not enough open time in the ten years from 2026-11-20"):
        due_at(fair, before, hours(8) + MICROSECOND)
    with pytest.raises(HorizonExceeded, match="2026-11-23T16:00:00"):
        due_at(fair, after, ZERO)
    with pytest.raises(HorizonExceeded):
        next_opening(fair, after)
    with pytest.raises(HorizonExceeded):
        next_opening(fair, at(BERLIN, "2016-11-01 00:00"))
    assert next_opening(fair, at(BERLIN, "2016-12-01 00:00")) == at(BERLIN, "2026-11-23 09:00").astimezone(UTC)
    for always in (None, ROUND_THE_CLOCK):
        with pytest.raises(HorizonExceeded):
            due_at(always, before, timedelta(days=3661))
        with pytest.raises(HorizonExceeded):
            elapsed(always, before, before + LONGEST_SPAN + MICROSECOND)


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_ends_of_the_range_of_datetimes(zone: str) -> None:
    office = every_day(zone, "09:00-17:00")
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert elapsed(office, first, first + timedelta(days=30)) > 29 * hours(8)
    assert elapsed(office, last - timedelta(days=30), last) > 29 * hours(8)
    for hours_of in (None, office):
        with pytest.raises(HorizonExceeded):
            due_at(hours_of, last, hours(9))


def test_calls_over_a_month_search_and_do_not_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm call lays nothing out; a cold one asks each date of its chunks once, and no more."""
    asked: list[date] = []
    original = BusinessCalendar.blocks_on

    def counting(self: BusinessCalendar, day: date) -> tuple[Block, ...]:
        asked.append(day)
        return original(self, day)

    monkeypatch.setattr(BusinessCalendar, "blocks_on", counting)
    fresh = calendar(BERLIN, ["08:13-12:00", "13:00-17:01"])
    start = at(BERLIN, "2026-11-02 09:00")
    due = due_at(fresh, start, hours(150))
    assert due is not None
    assert len(asked) == len(set(asked)) < 2 * 140
    asked.clear()
    assert elapsed(fresh, start, due) == hours(150)
    assert due_at(fresh, start, hours(149), [(datetime.max.replace(tzinfo=UTC), None)]) is not None
    assert asked == []
