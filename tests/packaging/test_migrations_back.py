"""Migrations on a database that is in use: back to the first release, and forth again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from csplaybooks.accounts.factories import AbsenceFactory, TimelineEntryFactory
from csplaybooks.accounts.models import Absence, TimelineEntry

APP = "csplaybooks_accounts"


@pytest.fixture
def all_applied_afterwards() -> Iterator[None]:
    """The next test finds all tables, whatever became of this one."""
    yield
    call_command("migrate", verbosity=0)


def _applied() -> list[str]:
    return sorted(name for app, name in MigrationRecorder(connection).applied_migrations() if app == APP)


def _rows(sql: str) -> list[tuple[object, ...]]:
    """What the table says that the models of today do not fit."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


@pytest.mark.django_db(transaction=True)
def test_lines_about_the_house_go_on_the_way_back_and_all_else_stays(all_applied_afterwards: None) -> None:
    call_command("csplaybooks_setup", verbosity=0)
    line, absence = TimelineEntryFactory(), AbsenceFactory(version=7)
    assert TimelineEntry.objects.filter(account__isnull=True).exists()

    call_command("migrate", APP, "0001", verbosity=0)

    assert _applied() == ["0001_initial"]
    assert _rows("SELECT id, account_id FROM csplaybooks_accounts_timelineentry") == [(line.pk, line.account_id)]
    assert _rows("SELECT id, member_id FROM csplaybooks_accounts_absence") == [(absence.pk, absence.member_id)]

    call_command("migrate", APP, verbosity=0)

    assert _applied()[:2] == ["0001_initial", "0002_house_timeline"]
    assert TimelineEntry.objects.get() == line
    assert Absence.objects.get().version == 1
    TimelineEntryFactory(account=None)
