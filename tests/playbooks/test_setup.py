"""What a new site gets, that it gets it once, and that nothing people changed is put back."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django_q.models import Schedule

from csplaybooks.accounts.roles import Role
from csplaybooks.checks.plugin import LEAST_RETENTION_DAYS
from csplaybooks.playbooks import tasks
from csplaybooks.playbooks.acts import setup
from csplaybooks.playbooks.acts.recipes import LIBRARY, publish_playbook, set_playbook_active
from csplaybooks.playbooks.acts.setup import SetUp, set_up
from csplaybooks.playbooks.document import DocumentError
from csplaybooks.playbooks.factories import CalendarFactory
from csplaybooks.playbooks.models import Calendar, Playbook, PlaybookVersion
from csplaybooks.playbooks.reach import days_needed
from csplaybooks.playbooks.roles import grants
from csplaybooks.signals.models import Meter, SignalType

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def test_a_new_site_gets_all_it_needs() -> None:
    made = set_up(now=NOW)
    assert made.calendars == 1
    assert made.playbooks == len(list(LIBRARY.glob("*.yaml"))) == Playbook.objects.running().count()
    assert made.kinds == SignalType.objects.count() + Meter.objects.count()
    assert made.schedules == Schedule.objects.count() == 2


def test_doing_it_again_makes_nothing() -> None:
    set_up(now=NOW)
    versions = list(PlaybookVersion.objects.values_list("pk", flat=True))
    assert set_up(now=NOW) == SetUp(0, 0, 0, 0, 0, 0)
    assert list(PlaybookVersion.objects.values_list("pk", flat=True)) == versions
    assert Schedule.objects.count() == 2


def test_what_people_changed_stays() -> None:
    set_up(now=NOW)
    SignalType.objects.filter(key="login").update(name="Sign-in")
    Playbook.objects.exclude(key="near_the_cap").update(is_active=False)
    Calendar.objects.update(name="Our week")
    Schedule.objects.filter(name="csplaybooks:sweep").update(next_run=NOW)
    set_up(now=datetime(2027, 1, 1, tzinfo=UTC))
    assert SignalType.objects.get(key="login").name == "Sign-in"
    assert Playbook.objects.running().get().key == "near_the_cap"
    assert Calendar.objects.get().name == "Our week"
    assert Schedule.objects.get(name="csplaybooks:sweep").next_run == NOW


def test_a_site_with_playbooks_of_its_own_is_given_no_others() -> None:
    set_up(now=NOW)
    Playbook.objects.exclude(key="near_the_cap").update(published=None)
    kept = Playbook.objects.count()
    set_playbook_active(playbook_id=Playbook.objects.get(key="near_the_cap").pk, active=False, now=NOW)
    assert set_up(now=NOW).playbooks == 0
    assert Playbook.objects.count() == kept


def test_the_calendar_is_nine_to_five_in_the_company_s_time_zone(settings: Any) -> None:
    settings.CSPLAYBOOKS = {"TIME_ZONE": "Europe/Berlin"}
    set_up(now=NOW, schedules=False)
    calendar = Calendar.objects.get()
    assert (calendar.zone, calendar.is_default) == ("Europe/Berlin", True)
    assert list(calendar.blocks.values_list("weekday", "start_minute", "end_minute")) == [
        (weekday, 540, 1020) for weekday in range(5)
    ]


def test_a_default_calendar_that_is_there_is_taken() -> None:
    CalendarFactory(key="ours")
    assert set_up(now=NOW, schedules=False).calendars == 0


def test_each_schedule_names_a_task_that_is_there_without_arguments() -> None:
    set_up(now=NOW)
    for schedule in Schedule.objects.all():
        module, _, name = schedule.func.rpartition(".")
        assert module == tasks.__name__
        assert callable(getattr(tasks, name))
        assert (schedule.schedule_type, schedule.repeats) == (Schedule.MINUTES, -1)
        assert not schedule.args
        assert not schedule.kwargs


def test_without_schedules_where_no_cluster_runs() -> None:
    assert set_up(now=NOW, schedules=False).schedules == 0
    assert not Schedule.objects.exists()


def test_a_failure_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**kwargs: Any) -> None:
        raise DocumentError([("a.yaml: key", "is missing")])

    monkeypatch.setattr(setup, "load_library", fail)
    with pytest.raises(CommandError, match=r"a\.yaml: key: is missing"):
        call_command("csplaybooks_setup", stdout=StringIO())
    assert not Calendar.objects.exists()
    assert not SignalType.objects.exists()


def test_with_a_short_retention_all_is_made_but_what_looks_further_back(settings: Any) -> None:
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 30}
    made = set_up(now=NOW)
    left = dict(made.drafts)
    assert set(left) == {
        *("api_takeoff", "funding_or_hiring_news", "gate_knocker", "near_the_cap", "new_use_case"),
        *("outgrown_the_tier", "renewal_bundle"),
    }
    # Its readings are of 30 days then, and a day of grace lies before them.
    assert "looks 31 days back, and signals and readings are kept for 30 days" in left["near_the_cap"]
    # Who is done with a prompt is known for as long as the play may last.
    assert "expires_days: looks 84 days back" in left["gate_knocker"]
    assert set(Playbook.objects.filter(published=None).values_list("key", flat=True)) == set(left)
    assert made.playbooks == Playbook.objects.running().count() == len(list(LIBRARY.glob("*.yaml"))) - len(left)
    assert (made.calendars, made.schedules, made.kinds) == (1, 2, SignalType.objects.count() + Meter.objects.count())
    assert set(Meter.objects.values_list("max_age_days", flat=True)) == {30}
    again = set_up(now=NOW)
    assert again == SetUp(0, 0, 0, 0, 0, 0, no_weights=again.no_weights)
    # Nothing but the retention was in its way.
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 45}
    assert publish_playbook(playbook_id=Playbook.objects.get(key="near_the_cap").pk, now=NOW).verdict == "created"


def test_the_command_says_what_it_left_as_drafts(settings: Any) -> None:
    # Shorter than what a guard of every playbook looks at.
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 6}
    answer = StringIO()
    call_command("csplaybooks_setup", stdout=answer, no_color=True)
    first, weights, *left = answer.getvalue().splitlines()
    assert ", 0 playbooks, 2 schedules, 0 versions of the readiness weights" in first
    assert weights == (
        "no readiness weights yet, publish some in the admin: motions/seat_expansion/invite_refused: strong signals "
        "count for 42 days, and signals are kept for 6 days: leave it out, or raise RETENTION_DAYS; 11 in all"
    )
    assert [line.split(": ")[1] for line in left] == sorted(file.stem for file in LIBRARY.glob("*.yaml"))
    for line in left:
        assert line.startswith("left as a draft, to be published in the admin later: ")
        assert "days back, and signals and readings are kept for 6 days" in line
    assert Calendar.objects.exists()


@pytest.mark.parametrize("days", [LEAST_RETENTION_DAYS, 0])
def test_the_least_retention_that_the_check_knows_is_enough(settings: Any, days: int) -> None:
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": days}
    assert set_up(now=NOW).drafts == ()
    assert days_needed() == LEAST_RETENTION_DAYS
    assert Meter.objects.get(key="nps").max_age_days == min(days or 180, 180)


def test_the_command_says_what_it_made() -> None:
    first, second = StringIO(), StringIO()
    call_command("csplaybooks_setup", stdout=first)
    call_command("csplaybooks_setup", stdout=second)
    number = sum(len(grants(role)) for role in Role)
    assert first.getvalue().startswith(
        f"made: 5 groups with {number} permissions, 1 calendar, 24 kinds of signal and meter, 16 playbooks, "
        "2 schedules, 1 version of the readiness weights\n"
    )
    assert (
        second.getvalue()
        == "made: 0 groups with 0 permissions, 0 calendar, 0 kinds of signal and meter, 0 playbooks, 0 schedules, "
        "0 versions of the readiness weights\n"
    )
