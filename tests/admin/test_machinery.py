"""The pages of meters and runs: what changes what triggers find is told, and so is what went wrong."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from csplaybooks.accounts.models import Change
from csplaybooks.admin_base import LOST_UPDATE
from csplaybooks.playbooks.factories import RunFactory
from csplaybooks.playbooks.models import Run
from csplaybooks.signals.factories import MeterFactory
from csplaybooks.signals.models import Meter
from tests.admin.pages import faults, send, url

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def now(time_machine):
    time_machine.move_to(NOW, tick=False)


def test_another_age_of_a_meter_tells_the_evaluator(boss):
    page = url(Meter, "change", MeterFactory().pk)
    assert send(boss, page, name="Places", unit="").status_code == 302
    assert not Change.objects.exists()
    assert send(boss, page, max_age_days="7").status_code == 302
    assert Meter.objects.values_list("name", "max_age_days", "version", "updated_at").get() == ("Places", 7, 3, NOW)
    change = Change.objects.get()
    assert (change.kind, change.account_id) == ("meter_changed", None)


def test_an_age_of_no_day_is_refused_on_the_form(boss):
    said = faults(send(boss, url(Meter, "change", MeterFactory().pk), max_age_days="0"))
    assert said == {"__all__": ["A meter's maximum age is one day to ten years."]}


def test_of_two_who_save_a_meter_one_is_told(boss):
    page = url(Meter, "change", MeterFactory().pk)
    send(boss, page, max_age_days="7")
    assert faults(send(boss, page, max_age_days="8", opened_version="1")) == {"__all__": [LOST_UPDATE]}
    assert Meter.objects.get().max_age_days == 7


def test_a_new_meter_is_written(boss):
    assert send(boss, url(Meter, "add"), key="disk", name="Disk", max_age_days="5").status_code == 302
    assert Meter.objects.values_list("key", "max_age_days", "updated_at").get() == ("disk", 5, NOW)


def test_runs_tell_which_playbooks_could_not_be_evaluated(boss):
    RunFactory()
    failed = RunFactory(errors={"7": "KeyError: 'nobody knows this'"})
    page = boss.get(url(Run, "changelist"))
    assert page.context["cl"].result_count == 2
    assert "column-failed" in page.content.decode()
    for choice, runs in (("some", [failed]), ("none", list(Run.objects.exclude(pk=failed.pk)))):
        assert list(boss.get(url(Run, "changelist"), {"errors": choice}).context["cl"].result_list) == runs
    assert "nobody knows this" in boss.get(url(Run, "change", failed.pk)).content.decode()
