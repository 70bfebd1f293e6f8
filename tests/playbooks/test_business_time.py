"""Business time: due times and elapsed open time, by table, by property, and against a counter of minutes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from csplaybooks.playbooks.business_time import (
    LONGEST_SPAN,
    Block,
    BusinessCalendar,
    CalendarError,
    HorizonExceeded,
    Pause,
    due_at,
    elapsed,
    is_open,
    moment_at_share,
    next_opening,
)

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)
ZERO = timedelta(0)


def block(text: str) -> Block:
    """``"09:00-17:00"`` or, past midnight, ``"22:00-30:00"``."""
    start, end = (int(clock[:2]) * 60 + int(clock[3:]) for clock in text.split("-"))
    return Block(start, end)


def blocks(*texts: str) -> tuple[Block, ...]:
    return tuple(block(text) for text in texts)


def calendar(
    zone: str,
    working_day: Sequence[str],
    *,
    weekend: Sequence[str] = (),
    closed: Sequence[date] = (),
    special: dict[date, Sequence[str]] | None = None,
) -> BusinessCalendar:
    return BusinessCalendar(
        zone=zone,
        week=(blocks(*working_day),) * 5 + (blocks(*weekend),) * 2,
        closed_dates=frozenset(closed),
        special_dates={day: blocks(*texts) for day, texts in (special or {}).items()},
    )


def every_day(zone: str, *texts: str) -> BusinessCalendar:
    return calendar(zone, texts, weekend=texts)


def at(zone: str, text: str, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
OFFICE = calendar(BERLIN, ["09:00-17:00"])
LUNCH = calendar(BERLIN, ["09:00-12:00", "13:00-17:00"])
NIGHTS = calendar(BERLIN, ["22:00-30:00"])
ROUND_THE_CLOCK = every_day(BERLIN, "00:00-24:00")
HOLIDAYS = calendar(
    BERLIN,
    ["09:00-17:00"],
    closed=[date(2026, 12, 25), date(2026, 12, 24)],
    special={
        date(2026, 12, 24): ["09:00-12:00"],
        date(2026, 12, 26): ["10:00-14:00"],
        date(2026, 12, 28): [],
    },
)
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


# --- Pauses -------------------------------------------------------------------------------------------------


def november(text: str) -> datetime:
    """``"23 10:00"`` is ten o'clock on Monday, 23 November 2026, in Berlin."""
    return at(BERLIN, f"2026-11-{text}")


def pause(text: str) -> Pause:
    """``"23 10:00 - 24 09:00"``, or ``"23 10:00 -"`` for one that lasts."""
    begin, end = text.split("-")
    return november(begin.strip()), november(end.strip()) if end else None


PAUSE_CASES = [
    ("in the middle", "23 09:00", 3, ["23 10:00 - 23 12:00"], "23 14:00"),
    ("while closed", "23 09:00", 3, ["23 18:00 - 24 08:00"], "23 12:00"),
    ("from closed into open", "23 16:00", 3, ["23 18:00 - 24 10:00"], "24 12:00"),
    ("paused at the start", "23 10:00", 1, ["23 09:00 - 23 11:00"], "23 12:00"),
    ("over before the start", "23 10:00", 1, ["23 09:00 - 23 10:00"], "23 11:00"),
    ("runs out where the pause begins", "23 09:00", 1, ["23 10:00 - 23 11:00"], "23 10:00"),
    ("due before it stops", "23 09:00", 1, ["23 10:00 -"], "23 10:00"),
    ("stopped", "23 09:00", 2, ["23 10:00 -"], None),
    ("nothing, paused at the start", "23 09:00", 0, ["23 09:00 - 23 16:00"], "23 16:00"),
    ("nothing, paused from opening to closing", "23 17:00", 0, ["24 09:00 - 24 17:00"], "25 09:00"),
    ("nothing, open before the pause", "23 17:00", 0, ["24 10:00 -"], "24 09:00"),
    ("nothing, stopped at opening", "23 17:00", 0, ["24 09:00 -"], None),
    ("unsorted and overlapping", "23 09:00", 2, ["23 13:00 - 23 14:00", "23 10:00 - 23 13:30"], "23 15:00"),
    ("one within the other", "23 09:00", 2, ["23 10:00 - 23 15:00", "23 11:00 - 23 12:00"], "23 16:00"),
    ("touching", "23 09:00", 2, ["23 10:00 - 23 12:00", "23 12:00 - 23 15:00"], "23 16:00"),
    ("of no length", "23 09:00", 2, ["23 10:00 - 23 10:00"], "23 11:00"),
]


@pytest.mark.parametrize(
    ("start", "duration", "pauses", "due"),
    [case[1:] for case in PAUSE_CASES],
    ids=[case[0] for case in PAUSE_CASES],
)
def test_due_at_with_pauses(start: str, duration: float, pauses: list[str], due: str | None) -> None:
    answer = due_at(OFFICE, november(start), hours(duration), [pause(text) for text in pauses])
    assert answer == (None if due is None else november(due).astimezone(UTC))


def test_pauses_beyond_the_horizon() -> None:
    start, afterwards = november("23 09:00"), at(BERLIN, "2040-11-23 09:00")
    answer = due_at(OFFICE, start, hours(2), [(november("23 10:00"), afterwards)])
    assert answer == afterwards.astimezone(UTC) + HOUR
    for far_away in (afterwards, datetime.max.replace(tzinfo=UTC)):
        assert due_at(OFFICE, start, hours(2), [(far_away, None)]) == november("23 11:00").astimezone(UTC)


def test_elapsed_takes_out_the_union_of_pauses() -> None:
    start, end = november("23 09:00"), november("24 17:00")
    overlapping = [
        pause(text) for text in ("24 12:00 -", "23 10:00 - 23 12:00", "23 11:00 - 24 10:00", "01 00:00 - 23 09:30")
    ]
    assert elapsed(OFFICE, start, end) == hours(16)
    assert elapsed(OFFICE, start, end, overlapping) == hours(0.5 + 2)
    assert elapsed(None, start, end, overlapping) == hours(0.5 + 2)


# --- What is refused ----------------------------------------------------------------------------------------


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
        BusinessCalendar(**({"zone": BERLIN, "week": WORKING_WEEK} | arguments))  # type: ignore[arg-type]
    assert refused.value.item == item
    assert problem in refused.value.problem
    assert str(refused.value) == f"{item}: {refused.value.problem}"
    assert str(copy.copy(refused.value)) == str(refused.value)


def test_naive_datetimes_and_negative_amounts_are_refused() -> None:
    naive, aware = datetime(2026, 11, 23, 10), datetime(2026, 11, 23, 10, tzinfo=UTC)  # noqa: DTZ001
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


# --- The value ----------------------------------------------------------------------------------------------


def test_equal_calendars_are_one_value() -> None:
    def build(order: int) -> BusinessCalendar:
        return BusinessCalendar(
            zone=BERLIN,
            week=[list(blocks("09:00-12:00", "13:00-17:00"))[::order]] * 7,  # type: ignore[arg-type]
            closed_dates=[date(2026, 12, 25)],  # type: ignore[arg-type]
            special_dates=dict([(date(2026, 12, 24), blocks("09:00-12:00")), (date(2026, 12, 31), ())][::order]),
        )

    one, other = build(1), build(-1)
    assert one == other
    assert hash(one) == hash(other)
    assert one != OFFICE
    due_at(one, at(BERLIN, "2026-11-23 09:00"), HOUR)
    assert one._hours is other._hours
    for twin in (pickle.loads(pickle.dumps(one)), copy.copy(one), copy.deepcopy(one)):  # noqa: S301
        assert twin == one
        assert hash(twin) == hash(one)
    with pytest.raises(TypeError):
        one.special_dates[date(2027, 1, 1)] = ()  # type: ignore[index]
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


# --- Properties, against a counter of minutes ---------------------------------------------------------------

# Zones with odd changes, and a moment around which each has one (or a date that was skipped).
CHANGES = [
    ("Europe/Berlin", datetime(2027, 3, 28, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("Asia/Tehran", datetime(2022, 3, 21, 20, 30, tzinfo=UTC)),
    ("Asia/Tehran", datetime(2022, 9, 21, 19, 30, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2018, 11, 4, 3, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2019, 2, 17, 2, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2026, 2, 15, 2, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2026, 3, 22, 2, tzinfo=UTC)),
    ("America/Recife", datetime(2000, 10, 11, 3, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2026, 11, 23, 12, tzinfo=UTC)),
    ("UTC", datetime(1970, 1, 1, tzinfo=UTC)),
]

WINDOW_DAYS = 6
WINDOW_MINUTES = WINDOW_DAYS * 24 * 60


@st.composite
def days_blocks(draw: st.DrawFn) -> tuple[Block, ...]:
    """The blocks of one date: none to three, apart or touching, the last perhaps past midnight."""
    count = draw(st.integers(0, 3))
    if count == 0:
        return ()
    starts_and_ends = sorted(draw(st.lists(st.integers(0, 1439), min_size=2 * count, max_size=2 * count, unique=True)))
    if draw(st.booleans()):
        last_start = starts_and_ends[-2]
        starts_and_ends[-1] = draw(st.integers(last_start + 1, last_start + 1440))
    if count > 1 and draw(st.booleans()):
        starts_and_ends[1] = starts_and_ends[2]
    return tuple(Block(start, end) for start, end in zip(starts_and_ends[::2], starts_and_ends[1::2], strict=True))


@st.composite
def scenes(draw: st.DrawFn) -> tuple[BusinessCalendar, datetime]:
    """A calendar, and the begin of a window of six days around a clock change of its zone."""
    zone, change = draw(st.sampled_from(CHANGES))
    begin = change - timedelta(minutes=draw(st.integers(0, WINDOW_MINUTES)))
    near = st.integers(-1, WINDOW_DAYS + 1).map(lambda number: (begin + timedelta(days=number)).date())
    whole_day = st.sampled_from([blocks("00:00-24:00"), blocks("09:00-17:00"), blocks("00:00-12:00", "12:00-36:00")])
    a_day = st.one_of(days_blocks(), whole_day)
    week = tuple(draw(st.lists(a_day, min_size=7, max_size=7)))
    special = draw(st.dictionaries(near, a_day, max_size=2))
    assume(any(week))
    return BusinessCalendar(zone, week, draw(st.frozensets(near, max_size=2)), special), begin


def open_minutes(hours_of: BusinessCalendar | None, begin: datetime) -> list[bool]:
    """The slow and obvious reference: for each minute of the window, look at the clock on the wall."""
    if hours_of is None:
        return [True] * WINDOW_MINUTES
    flags = []
    for minute in range(WINDOW_MINUTES):
        wall = (begin + timedelta(minutes=minute)).astimezone(ZoneInfo(hours_of.zone))
        minute_of_day = wall.hour * 60 + wall.minute
        flags.append(
            any(
                one.start_minute <= minute_of_day + days_ago * 1440 < one.end_minute
                for days_ago in (0, 1)
                for one in hours_on(hours_of, wall.date() - timedelta(days=days_ago))
            )
        )
    return flags


def hours_on(hours_of: BusinessCalendar, day: date) -> tuple[Block, ...]:
    if day in hours_of.special_dates:
        return hours_of.special_dates[day]
    return () if day in hours_of.closed_dates else hours_of.week[day.weekday()]


minute_in_window = st.integers(0, WINDOW_MINUTES)
pause_minutes = st.lists(st.tuples(minute_in_window, st.one_of(st.none(), st.integers(0, 3000))), max_size=4)


def as_pauses(begin: datetime, spans: list[tuple[int, int | None]]) -> list[Pause]:
    return [
        (begin + first * MINUTE, None if length is None else begin + (first + length) * MINUTE)
        for first, length in spans
    ]


def without_pauses(flags: list[bool], spans: list[tuple[int, int | None]]) -> list[bool]:
    left = list(flags)
    for first, length in spans:
        for minute in range(first, WINDOW_MINUTES if length is None else min(first + length, WINDOW_MINUTES)):
            left[minute] = False
    return left


@settings(max_examples=150, deadline=None)
@given(
    scene=scenes(),
    wall_clock=st.sampled_from([False] * 9 + [True]),
    spans=pause_minutes,
    seed=st.integers(0, 2**32),
)
def test_agrees_with_a_counter_of_minutes(
    scene: tuple[BusinessCalendar, datetime], wall_clock: bool, spans: list[tuple[int, int | None]], seed: int
) -> None:
    """A hundred random starts, ends and durations in each window, some 15,000 cases in all."""
    built, begin = scene
    hours_of = None if wall_clock else built
    flags = open_minutes(hours_of, begin)
    left = without_pauses(flags, spans)
    pauses = as_pauses(begin, spans)
    chance = Random(seed)
    for _ in range(100):
        start, end = sorted(chance.choices(range(WINDOW_MINUTES + 1), k=2))
        moment = begin + start * MINUTE
        assert elapsed(hours_of, moment, begin + end * MINUTE, pauses) == sum(left[start:end]) * MINUTE
        if start < WINDOW_MINUTES:
            assert is_open(hours_of, moment) is flags[start]
        if True in flags[start:]:
            assert next_opening(hours_of, moment) == begin + flags.index(True, start) * MINUTE
        # Minute m lasts from begin + m to begin + m + 1: the n-th open minute ends one after its index.
        opened = [minute for minute in range(start, WINDOW_MINUTES) if left[minute]]
        if opened:
            assert due_at(hours_of, moment, ZERO, pauses) == begin + opened[0] * MINUTE
            minutes = chance.randint(1, len(opened))
            due = begin + (opened[minutes - 1] + 1) * MINUTE
            assert due_at(hours_of, moment, minutes * MINUTE, pauses) == due
        if any(length is None for _, length in spans):
            assert due_at(hours_of, moment, (len(opened) + 1) * MINUTE, pauses) is None


instants = st.integers(0, WINDOW_MINUTES * 60_000_000)
durations = st.integers(0, 60 * 24 * 60 * 60_000_000).map(lambda amount: amount * MICROSECOND)
finite_pauses = st.lists(st.tuples(minute_in_window, st.integers(0, 3000)), max_size=4)


def surely_due(
    hours_of: BusinessCalendar, start: datetime, duration: timedelta, pauses: Sequence[Pause] = ()
) -> datetime:
    due = due_at(hours_of, start, duration, pauses)
    assert due is not None
    return due


@settings(max_examples=200, deadline=None)
@given(scene=scenes(), start=instants, duration=durations, more=durations, later=durations, spans=finite_pauses)
def test_due_times_and_elapsed_time_undo_each_other(
    scene: tuple[BusinessCalendar, datetime],
    start: int,
    duration: timedelta,
    more: timedelta,
    later: timedelta,
    spans: list[tuple[int, int | None]],
) -> None:
    hours_of, begin = scene
    moment, pauses = begin + start * MICROSECOND, as_pauses(begin, spans)
    due = surely_due(hours_of, moment, duration, pauses)
    assert due >= moment
    assert elapsed(hours_of, moment, due, pauses) == duration
    if duration:  # the first such instant, not just any
        assert elapsed(hours_of, moment, due - MICROSECOND, pauses) == duration - MICROSECOND
    else:
        assert is_open(hours_of, due)
        assert not any(paused_from <= due < paused_to for paused_from, paused_to in pauses if paused_to)
    # Later starts and longer durations are never due earlier; pauses only delay.
    assert surely_due(hours_of, moment, duration + more, pauses) >= due
    assert surely_due(hours_of, moment + later, duration, pauses) >= due
    assert surely_due(hours_of, moment, duration) <= due
    moments = [moment_at_share(hours_of, moment, duration, percent, pauses) for percent in (0, 50, 80, 100)]
    assert moments[-1] == due
    assert moments == sorted(moments, key=lambda share: share or moment)


@settings(max_examples=200, deadline=None)
@given(
    scene=scenes(),
    cuts=st.lists(instants, min_size=3, max_size=3),
    far=st.integers(0, 4000),
    spans=pause_minutes,
)
def test_elapsed_time_adds_up(
    scene: tuple[BusinessCalendar, datetime], cuts: list[int], far: int, spans: list[tuple[int, int | None]]
) -> None:
    hours_of, begin = scene
    pauses = as_pauses(begin, spans)
    first, middle, last = (begin + cut * MICROSECOND for cut in sorted(cuts))
    last += timedelta(days=far)
    whole = elapsed(hours_of, first, last, pauses)
    assert elapsed(hours_of, first, middle, pauses) + elapsed(hours_of, middle, last, pauses) == whole
    assert ZERO <= whole <= elapsed(hours_of, first, last) <= last - first
    # What the pauses take away is the open time inside their union.
    assert elapsed(hours_of, first, last, [*pauses, *pauses[::-1]]) == whole
    assert elapsed(hours_of, first, last, [(first, last)]) == ZERO


@settings(max_examples=100, deadline=None)
@given(scene=scenes(), start=instants, duration=durations, spans=pause_minutes, data=st.data())
def test_the_union_of_pauses_is_what_counts(
    scene: tuple[BusinessCalendar, datetime],
    start: int,
    duration: timedelta,
    spans: list[tuple[int, int | None]],
    data: st.DataObject,
) -> None:
    hours_of, begin = scene
    moment, pauses = begin + start * MICROSECOND, as_pauses(begin, spans)
    # Each pause cut in two at some place, some halves twice, in any order: the same union.
    pieces: list[Pause] = []
    for paused_from, paused_to in pauses:
        length = (paused_to or begin + timedelta(days=WINDOW_DAYS * 2)) - paused_from
        cut = paused_from + length * data.draw(st.integers(0, 100)) // 100
        pieces += [(paused_from, cut), (cut, paused_to), (paused_from, paused_to)]
    shuffled = data.draw(st.permutations(pieces))
    assert due_at(hours_of, moment, duration, shuffled) == due_at(hours_of, moment, duration, pauses)


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
