"""Business time with pauses: what they put off, and that their union is what counts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from csplaybooks.playbooks.business_time import Pause, due_at, elapsed
from tests.playbooks.business_calendars import BERLIN, HOUR, OFFICE, at, hours


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
