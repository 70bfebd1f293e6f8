"""Acts on calendars: made and changed whole, one of them the default; and the act on the trays."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts import Conflict
from csplaybooks.accounts.factories import UserFactory
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks.acts.calendars import (
    DayHours,
    WeekHours,
    change_calendar,
    delete_calendars,
    make_calendar,
)
from csplaybooks.playbooks.acts.trays import put_back
from csplaybooks.playbooks.factories import CalendarFactory, ClockFactory, MatchFactory, PlayFactory
from csplaybooks.playbooks.models import Calendar, CalendarDay, Clock, Match, Play

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
MONDAY = WeekHours(0, 540, 1020)

pytestmark = pytest.mark.django_db


def change(calendar: Calendar, **values: Any) -> Calendar:
    return change_calendar(calendar_id=calendar.pk, **({"values": {}} | values), now=NOW, actor=None)


def test_new_default_takes_the_place_of_the_one_before() -> None:
    before = CalendarFactory()
    values = {"key": "new", "name": "New", "zone": "UTC", "is_default": True}
    made = make_calendar(values=values, week=[MONDAY], now=NOW, actor=None)
    assert Calendar.objects.get(is_default=True) == made
    change(before, values={"is_default": True})
    assert Calendar.objects.get(is_default=True) == before
    texts = list(TimelineEntry.objects.order_by("pk").values_list("text", flat=True))
    assert texts[0] == f"Calendar {before} is the default no longer"
    assert f"Calendar {made} is the default no longer" in texts


def test_default_is_replaced_and_neither_unmade_nor_deleted() -> None:
    default = CalendarFactory()
    with pytest.raises(ValidationError, match="make another the default instead"):
        change(default, values={"is_default": False})
    with pytest.raises(ValidationError, match="make another the default first"):
        delete_calendars(calendar_ids=[default.pk], now=NOW, actor=None)
    assert Calendar.objects.get().is_default


def test_week_and_days_are_told_whole_and_kept_where_they_are_the_same() -> None:
    calendar = CalendarFactory()
    old = CalendarDay.objects.create(calendar=calendar, day="2020-12-25", name="Christmas")
    imported = CalendarDay.objects.create(calendar=calendar, day="2026-12-25", name="Christmas", source="holidays 1")
    monday = calendar.blocks.get(weekday=0)
    days = [DayHours(date(2026, 12, 25), name="Christmas"), DayHours(date(2026, 12, 24), 540, 720)]
    changed = change(calendar, week=[MONDAY], days=days, days_since=date(2025, 1, 1), expected_version=1)
    assert changed.version == 2
    assert list(calendar.blocks.all()) == [monday]
    assert set(calendar.days.values_list("pk", "source")) >= {(old.pk, ""), (imported.pk, "holidays 1")}
    assert calendar.days.count() == 3
    assert TimelineEntry.objects.get().text == f"Calendar {calendar}: hours of the week and other days changed"
    assert change(calendar, week=[MONDAY], days=days, days_since=date(2025, 1, 1)).version == 2
    assert TimelineEntry.objects.count() == 1
    with pytest.raises(Conflict):
        change(calendar, week=[MONDAY], expected_version=1)


@pytest.mark.parametrize(
    "values",
    [
        {"week": []},
        {"week": [WeekHours(7, 540, 1020)]},
        {"week": [MONDAY, WeekHours(0, 540, 1080)]},
        {"week": [WeekHours(0, 1020, 540)]},
        {"days": [DayHours(date(2026, 12, 24), 540, None)]},
        {"days": [DayHours(date(2026, 12, 24)), DayHours(date(2026, 12, 24), name="Twice")]},
        {"values": {"zone": "Mars/Olympus"}},
    ],
)
def test_hours_that_make_no_calendar_are_not_kept(values: dict[str, Any]) -> None:
    calendar = CalendarFactory()
    blocks = list(calendar.blocks.values_list())
    with pytest.raises(ValidationError):
        change(calendar, **values)
    calendar.refresh_from_db()
    assert (list(calendar.blocks.values_list()), calendar.version, calendar.zone) == (blocks, 1, "UTC")
    assert not calendar.days.exists()


def test_name_alone_moves_no_clock() -> None:
    clock = ClockFactory(is_stale=False)
    change(clock.calendar, values={"name": "Renamed"})
    assert not Clock.objects.filter(is_stale=True).exists()
    change(clock.calendar, values={"zone": "Europe/Berlin"})
    assert Clock.objects.filter(is_stale=True).exists()


def test_calendar_in_which_a_promise_runs_stays() -> None:
    clock = ClockFactory(calendar=CalendarFactory(key="second", is_default=False))
    free = CalendarFactory(key="third", is_default=False)
    ids = [clock.calendar.pk, free.pk]
    with pytest.raises(ValidationError, match="is in use: clocks"):
        delete_calendars(calendar_ids=ids, now=NOW, actor=None)
    assert Calendar.objects.filter(pk__in=ids).count() == 2
    assert delete_calendars(calendar_ids=[free.pk], now=NOW, actor=None) == 1


def test_what_is_stuck_is_put_back_with_a_line_that_names_who_did_it() -> None:
    user = UserFactory(username="ada")
    stuck = MatchFactory(stuck_at=NOW, attempts=5, last_error="RuntimeError: no")
    free = MatchFactory()
    ids = [stuck.pk, free.pk]
    assert put_back(model=Match, ids=ids, now=NOW, actor=user) == 1
    line = TimelineEntry.objects.get()
    assert (line.account, line.actor, line.kind, line.subject_id) == (stuck.account, user, "match_retried", stuck.pk)
    assert line.text.endswith("It had failed with: RuntimeError: no")
    assert put_back(model=Match, ids=ids, now=NOW, actor=user) == 0
    assert TimelineEntry.objects.count() == 1
    play = PlayFactory(stuck_at=NOW)
    assert put_back(model=Play, ids=[play.pk], now=NOW, actor=None) == 1
    play.refresh_from_db()
    assert play.stuck_at is None
