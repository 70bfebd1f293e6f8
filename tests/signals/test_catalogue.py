"""Changes of meters: another maximum age decides anew which readings count, so the evaluator is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.models import Change
from csplaybooks.playbooks.factories import PlaybookVersionFactory
from csplaybooks.playbooks.models import Run
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.acts.catalogue import change_meter
from csplaybooks.signals.factories import MeterFactory, ReadingFactory
from csplaybooks.signals.models import Meter

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def change(meter: Meter, **values: Any) -> Meter:
    return change_meter(meter_id=meter.pk, now=NOW, actor=None, **values)


def test_another_age_is_a_change_of_every_account() -> None:
    meter = change(MeterFactory(), max_age_days=7)
    assert Meter.objects.values_list("max_age_days", "version", "updated_at").get() == (7, 2, NOW)
    assert (meter.max_age_days, meter.version, meter.updated_at) == (7, 2, NOW)
    told = Change.objects.get()
    assert (told.kind, told.account_id, told.recorded_at) == ("meter_changed", None, NOW)


def test_the_next_run_looks_again() -> None:
    PlaybookVersionFactory()
    ReadingFactory(occurred_at=NOW - timedelta(days=20), meter=(meter := MeterFactory()))
    run_triggers(now=NOW)
    assert run_triggers(now=NOW) is None
    change(meter, max_age_days=7)
    assert run_triggers(now=NOW) is not None
    assert Run.objects.latest("pk").inputs["max_age_days"] == {"seats": 7}


def test_what_no_trigger_asks_about_is_no_input() -> None:
    change(MeterFactory(), name="Places", unit="places", strength="weak")
    assert Meter.objects.values_list("name", "unit", "strength", "version").get() == ("Places", "places", "weak", 2)
    assert not Change.objects.exists()


def test_nothing_is_written_where_nothing_differs() -> None:
    meter = MeterFactory()
    assert change(meter, name=meter.name, max_age_days=meter.max_age_days).version == 1
    assert Meter.objects.get().version == 1
    assert not Change.objects.exists()


def test_who_read_an_older_version_is_told() -> None:
    meter = MeterFactory()
    change(meter, max_age_days=7, expected_version=1)
    with pytest.raises(Conflict):
        change(meter, max_age_days=8, expected_version=1)
    assert Meter.objects.get().max_age_days == 7


@pytest.mark.parametrize(
    ("values", "field"),
    [({"max_age_days": 0}, "max_age_days"), ({"max_age_days": -1}, "max_age_days"), ({"strength": "huge"}, "strength")],
)
def test_what_does_not_fit_is_refused(values: dict[str, Any], field: str) -> None:
    meter = MeterFactory()
    with pytest.raises(ValidationError) as error:
        change(meter, **values)
    assert list(error.value.message_dict) == [field]
    assert not Change.objects.exists()


def test_a_meter_that_is_not_there() -> None:
    with pytest.raises(Meter.DoesNotExist):
        change_meter(meter_id=0, now=NOW, actor=None, unit="x")
