"""Business time by property, and against a counter of minutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st

from csplaybooks.playbooks.business_time import (
    Block,
    BusinessCalendar,
    Pause,
    due_at,
    elapsed,
    is_open,
    moment_at_share,
    next_opening,
)
from tests.examples import examples
from tests.playbooks.business_calendars import MICROSECOND, MINUTE, ZERO, blocks

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


#: So many windows, and so many questions about each: forty thousand cases in a run of all tests.
WINDOWS, QUESTIONS = 400, 100


@settings(max_examples=examples(WINDOWS), deadline=None)
@given(
    scene=scenes(),
    wall_clock=st.sampled_from([False] * 9 + [True]),
    spans=pause_minutes,
    seed=st.integers(0, 2**32),
)
def test_agrees_with_a_counter_of_minutes(
    scene: tuple[BusinessCalendar, datetime], wall_clock: bool, spans: list[tuple[int, int | None]], seed: int
) -> None:
    """Random starts, ends and durations in each window, against minutes that were counted one by one."""
    built, begin = scene
    hours_of = None if wall_clock else built
    flags = open_minutes(hours_of, begin)
    left = without_pauses(flags, spans)
    pauses = as_pauses(begin, spans)
    lasting = any(length is None for _, length in spans)
    # How many open minutes have passed when each minute begins, and which these are.
    passed = [0, *accumulate(left)]
    opened = [minute for minute, is_left in enumerate(left) if is_left]
    chance = Random(seed)
    for _ in range(QUESTIONS):
        start, end = sorted(chance.choices(range(WINDOW_MINUTES + 1), k=2))
        moment = begin + start * MINUTE
        assert elapsed(hours_of, moment, begin + end * MINUTE, pauses) == (passed[end] - passed[start]) * MINUTE
        if start < WINDOW_MINUTES:
            assert is_open(hours_of, moment) is flags[start]
        if True in flags[start:]:
            assert next_opening(hours_of, moment) == begin + flags.index(True, start) * MINUTE
        # Minute m lasts from begin + m to begin + m + 1: the n-th open minute ends one after its index.
        before, ahead = passed[start], len(opened) - passed[start]
        if ahead:
            assert due_at(hours_of, moment, ZERO, pauses) == begin + opened[before] * MINUTE
            minutes = chance.randint(1, ahead)
            due = begin + (opened[before + minutes - 1] + 1) * MINUTE
            assert due_at(hours_of, moment, minutes * MINUTE, pauses) == due
        if lasting:
            assert due_at(hours_of, moment, (ahead + 1) * MINUTE, pauses) is None


def in_window(built: BusinessCalendar, begin: datetime) -> list[date]:
    return [(begin + timedelta(days=number)).astimezone(ZoneInfo(built.zone)).date() for number in range(WINDOW_DAYS)]


#: What the windows must hold, or agreement on them would say little.
ODD: dict[str, Callable[[BusinessCalendar, list[date]], bool]] = {
    "a day in two blocks": lambda built, days: any(len(built.blocks_on(day)) > 1 for day in days),
    "a night": lambda built, days: any(block.end_minute > 1440 for day in days for block in built.blocks_on(day)),
    "special hours": lambda built, days: any(built.special_dates.get(day) for day in days),
    "a closed day that is open in other weeks": lambda built, days: any(
        not built.blocks_on(day) and built.week[day.weekday()] for day in days
    ),
    **{
        zone: lambda built, days, zone=zone: built.zone == zone and any(built.blocks_on(day) for day in days)
        for zone, _ in CHANGES
    },
}


@pytest.mark.parametrize("what", ODD)
def test_windows_hold_what_is_odd(what: str) -> None:
    def is_odd(scene: tuple[BusinessCalendar, datetime]) -> bool:
        built, begin = scene
        return ODD[what](built, in_window(built, begin))

    find(scenes(), is_odd, settings=settings(max_examples=500, phases=[Phase.generate], database=None))


instants = st.integers(0, WINDOW_MINUTES * 60_000_000)
durations = st.integers(0, 60 * 24 * 60 * 60_000_000).map(lambda amount: amount * MICROSECOND)
finite_pauses = st.lists(st.tuples(minute_in_window, st.integers(0, 3000)), max_size=4)


def surely_due(
    hours_of: BusinessCalendar, start: datetime, duration: timedelta, pauses: Sequence[Pause] = ()
) -> datetime:
    due = due_at(hours_of, start, duration, pauses)
    assert due is not None
    return due


@settings(max_examples=examples(200), deadline=None)
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


@settings(max_examples=examples(200), deadline=None)
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


@settings(max_examples=examples(100), deadline=None)
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
