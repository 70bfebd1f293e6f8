"""The doctor on the database, its migrations, and what the system checks say."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import Error, Warning
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections
from django.db.migrations.recorder import MigrationRecorder

from csplaybooks.playbooks.doctor import Level, examine
from csplaybooks.playbooks.doctor import database as database_questions
from csplaybooks.playbooks.doctor.examination import SYSTEM, WEB
from tests.operations.examining import NOW, trouble, troubles, well

pytestmark = pytest.mark.django_db


def test_migrations_that_were_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    well()
    MigrationRecorder.Migration.objects.filter(app="csplaybooks_signals", name="0001_initial").delete()
    level, seen = trouble("migrations")
    assert (level, seen) == ("red", "Not applied: csplaybooks_signals.0001_initial")
    # Nothing is asked of tables that may not be there.
    asked = {finding.name for finding in examine(now=NOW).findings}
    assert asked == {"database", "migrations"}


def test_migrations_of_other_apps_are_the_site_s_own_matter() -> None:
    well()
    MigrationRecorder.Migration.objects.filter(app="sessions").delete()
    assert trouble("migrations") == ("warn", "Not applied, of other apps: sessions.0001_initial")


def test_migrations_that_this_code_does_not_know() -> None:
    well()
    MigrationRecorder(connection).record_applied("csplaybooks_playbooks", "0999_of_tomorrow")
    level, seen = trouble("migrations")
    assert (level, seen) == (
        "warn",
        "Applied, but not known to this code: csplaybooks_playbooks.0999_of_tomorrow",
    )


def test_a_squashed_migration_is_applied_where_all_that_it_replaces_are(monkeypatch: pytest.MonkeyPatch) -> None:
    old = frozenset({("csplaybooks_signals", "0001_initial"), ("csplaybooks_signals", "0002_x")})
    steps = {("csplaybooks_signals", "0001_squashed"): old}
    assert database_questions._missing(steps, set(old)) == set()
    assert database_questions._missing(steps, set(list(old)[:1])) == steps.keys()


def test_before_migrate_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MigrationRecorder, "has_table", lambda self: False)
    report = examine(now=NOW)
    red = [finding for finding in report.findings if finding.level == Level.RED]
    assert [finding.name for finding in red] == ["migrations"]
    assert "manage.py migrate" in red[0].mend


def test_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("connection refused\nis it running?")

    database = type(connections[DEFAULT_DB_ALIAS])
    monkeypatch.setattr(database, "cursor", refuse)
    monkeypatch.setattr(database, "ensure_connection", refuse)
    found = troubles()
    assert list(found) == ["database", "broker"]
    assert found["database"][1] == "The database does not answer: connection refused"


def test_a_table_that_is_gone_is_a_finding_and_ends_the_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    well()

    def refuse(look: Any) -> Any:
        raise OperationalError("no such table: csplaybooks_playbooks_clock")

    monkeypatch.setattr(
        "csplaybooks.playbooks.doctor.examination.EVERYTHING",
        (*WEB, type(WEB[0])("clocks", refuse), *SYSTEM[-1:]),
    )
    from csplaybooks.playbooks.doctor import examination

    report = examine(now=NOW, questions=examination.EVERYTHING)
    assert [finding.name for finding in report.findings] == ["database", "migrations", "clocks"]
    assert "no such table" in report.findings[-1].seen


@pytest.mark.parametrize(("kind", "level"), [(Error, "red"), (Warning, "warn")])
def test_what_the_system_checks_say(monkeypatch: pytest.MonkeyPatch, kind: Any, level: str) -> None:
    well()
    message = kind("CSPLAYBOOKS has an unknown key.\nMore.", id="csplaybooks.E001")
    monkeypatch.setattr(database_questions, "run_checks", lambda: [message])
    found = trouble("system_checks")
    assert found[0] == level
    assert found[1].endswith(": csplaybooks.E001: CSPLAYBOOKS has an unknown key.")
