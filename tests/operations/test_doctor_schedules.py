"""The doctor on schedules: those that are missing, changed, ended, late or unreadable."""

from __future__ import annotations

from typing import Any

import pytest
from django_q.models import Schedule

from tests.operations.examining import HOUR, MINUTE, NOW, SECOND, trouble, troubles, well

pytestmark = pytest.mark.django_db


def test_a_schedule_that_is_missing() -> None:
    well()
    Schedule.objects.filter(name="csplaybooks:sweep").delete()
    assert trouble("schedules") == ("red", "There is no schedule csplaybooks:sweep.")


def test_a_schedule_that_is_there_twice() -> None:
    well()
    row = Schedule.objects.get(name="csplaybooks:sweep")
    Schedule.objects.create(name=row.name, func=row.func, schedule_type="I", minutes=1, next_run=NOW + MINUTE)
    level, seen = trouble("schedules")
    assert level == "warn"
    assert "2 schedules csplaybooks:sweep" in seen


@pytest.mark.parametrize("values", [{"minutes": 5}, {"schedule_type": "H"}, {"args": "1"}, {"func": "math.sqrt"}])
def test_a_schedule_that_is_not_as_it_was_made(values: dict[str, Any]) -> None:
    well()
    Schedule.objects.filter(name="csplaybooks:sweep").update(**values)
    assert trouble("schedules") == ("warn", "The schedule csplaybooks:sweep is not as it was made.")


@pytest.mark.parametrize("values", [{"repeats": 0}, {"next_run": None}])
def test_a_schedule_that_has_ended(values: dict[str, Any]) -> None:
    well()
    Schedule.objects.filter(name="csplaybooks:sweep").update(**values)
    assert trouble("schedules") == ("red", "The schedule csplaybooks:sweep has ended: it does not fire any more.")


def test_a_schedule_that_does_not_fire() -> None:
    well()
    Schedule.objects.filter(name="csplaybooks:run_full").update(next_run=NOW - 180 * SECOND)
    assert troubles() == {}
    level, seen = trouble("schedules", NOW + SECOND)
    assert level == "red"
    assert "csplaybooks:run_full should have fired 3 minutes ago" in seen


@pytest.mark.parametrize(
    "values",
    [
        {"args": "1, nonsense("},
        {"args": "open('x')"},
        {"kwargs": "[1, 2]"},
        {"schedule_type": "C", "cron": "not a cron"},
    ],
)
def test_one_unreadable_schedule_of_the_site_would_stop_them_all(values: dict[str, Any]) -> None:
    well()
    row = Schedule(name="theirs", func="theirs.task", next_run=NOW + HOUR, schedule_type="D")
    row.save()
    Schedule.objects.filter(pk=row.pk).update(**values)
    level, seen = trouble("readable_schedules")
    assert level == "red"
    assert seen.startswith(f"The schedule 'theirs' (id {row.pk}) cannot be read: ")


def test_schedules_that_can_be_read() -> None:
    well()
    for values in ({"args": "1, 'x'"}, {"kwargs": "{'x': 1}"}, {"kwargs": "x=1"}, {"schedule_type": "O"}):
        Schedule.objects.create(**{"func": "theirs.task", "next_run": NOW + HOUR, "schedule_type": "D", **values})
    assert troubles() == {}
