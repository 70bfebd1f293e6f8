"""The doctor tells what it sees and what to do, one finding for each thing; nothing of it is raised."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django_q.models import Schedule

from csplaybooks.playbooks.doctor import Level, Report, examine
from csplaybooks.playbooks.doctor.examination import SYSTEM, WEB
from csplaybooks.playbooks.doctor.findings import in_words
from csplaybooks.playbooks.factories import DeliveryFactory
from tests.operations.examining import NOW, troubles, well

pytestmark = pytest.mark.django_db


def test_nothing_is_wrong_with_an_installation_that_works() -> None:
    well()
    report = examine(now=NOW)
    assert troubles() == {}
    assert report.level == Level.OK
    assert {finding.name for finding in report.findings} >= {question.name for question in SYSTEM}


def test_a_question_that_fails_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    well()

    def fail(look: Any) -> Any:
        raise KeyError("odd")

    questions = (type(WEB[0])("odd", fail), *WEB)
    report = examine(now=NOW, questions=questions)
    assert [finding.name for finding in report.findings] == ["odd", "database", "migrations"]
    assert (report.level, report.findings[0].seen) == (Level.RED, "Could not be asked: KeyError: 'odd'")


def test_the_worst_finding_is_the_report_s() -> None:
    assert Report(NOW, []).level == Level.OK


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7200, "2 hours"),
        (200_000, "2 days"),
    ],
)
def test_spans_in_words(seconds: int, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words


# The command


def doctor(*arguments: str) -> tuple[int, str]:
    """The exit status and what was printed."""
    told = io.StringIO()
    try:
        with time_machine.travel(NOW, tick=False):
            call_command("csplaybooks_doctor", *arguments, stdout=told, no_color=True)
    except SystemExit as ended:
        return int(ended.code or 0), told.getvalue()
    return 0, told.getvalue()


def test_the_command_prints_a_line_for_each_finding_and_what_to_do() -> None:
    well()
    status, told = doctor()
    assert status == 0
    assert told.splitlines()[-1] == "All is well."
    assert len(told.splitlines()) == len(examine(now=NOW).findings) + 1
    Schedule.objects.filter(name="csplaybooks:sweep").delete()
    status, told = doctor()
    assert status == 1
    assert (
        "red  schedules: There is no schedule csplaybooks:sweep.\n     -> Run `manage.py csplaybooks_setup`.\n" in told
    )
    assert told.splitlines()[-1] == "Something is red."


def test_warnings_fail_only_where_that_is_asked_for() -> None:
    well()
    DeliveryFactory(stuck_at=NOW, attempts=5)
    assert doctor()[0] == 0
    assert doctor("--strict")[0] == 1


def test_the_command_tells_programs() -> None:
    well()
    status, told = doctor("--json")
    answer = json.loads(told)
    assert (status, answer["status"], answer["at"]) == (0, "ok", NOW.isoformat())
    assert answer["findings"][0]["name"] == "database"
    assert set(answer["findings"][0]) == {"name", "level", "seen", "mend"}
