"""Migrations on a database that is in use: back to the first release, and forth again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from csplaybooks.accounts.factories import AbsenceFactory, TimelineEntryFactory
from csplaybooks.accounts.models import Absence, TimelineEntry
from csplaybooks.playbooks.acts.plays import close_plays
from csplaybooks.playbooks.factories import CalendarFactory, MatchFactory, PlayFactory, RunFactory
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import MailDraft, Match, MatchStep, PlayStep
from csplaybooks.playbooks.pipeline import sweep as sweeping

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


@pytest.mark.django_db(transaction=True)
def test_each_match_that_is_there_gets_a_step_and_what_was_let_through_is_let_in(all_applied_afterwards: None) -> None:
    run = RunFactory()
    states: dict[str, dict[str, Any]] = {
        "queued": {},
        "held": {"held_by": "not_paying", "held_reason": "a trial"},
        "ended": {},
        "fired": {},
    }
    for state, more in states.items():
        match = MatchFactory(state="queued", opened_run=run)
        if state == "ended":
            later = RunFactory(moment=run.moment + timedelta(days=1))
            more = {"closed_run": later, "closed_at": later.moment}
        if state == "fired":
            more = {"play": PlayFactory(account=match.account), "fired_at": run.moment + timedelta(hours=1)}
        if state != "queued":
            Match.objects.filter(pk=match.pk).update(state=state, admitted_run=None, **more)

    call_command("migrate", "csplaybooks_playbooks", "0004", verbosity=0)
    call_command("migrate", "csplaybooks_playbooks", verbosity=0)

    told = {
        step.state: (
            step.admitted,
            step.held_by,
            step.held_reason,
            step.run_id - run.pk,
            step.in_run,
            step.at - run.moment,
        )
        for step in MatchStep.objects.all()
    }
    assert told == {
        "queued": (True, "", "", 0, True, timedelta()),
        "held": (False, "not_paying", "a trial", 0, True, timedelta()),
        "ended": (False, "", "", 1, True, timedelta(days=1)),
        "fired": (False, "", "", 0, False, timedelta(hours=1)),
    }
    assert list(Match.objects.admitted().values_list("state", "admitted_run")) == [("queued", run.pk)]


@pytest.mark.django_db(transaction=True)
def test_steps_of_before_begin_on_open_plays_send_nothing_and_are_skipped_on_closed_ones(
    all_applied_afterwards: None,
) -> None:
    CalendarFactory()
    closed, open_ = PlayFactory(), PlayFactory()
    for play in (closed, open_):
        PlayStep.objects.bulk_create(
            # As they were kept then: with their kind and their words alone.
            PlayStep(play=play, number=number, kind=kind, text=kind)
            for number, kind in enumerate(("mail", "task"), start=1)
        )
    later = open_.opened_at + timedelta(days=30)
    close_plays(play_ids=[closed.pk], outcome="won", now=later)
    closed.steps.update(state="waiting", done_at=None, note="")

    call_command("migrate", "csplaybooks_playbooks", "0005", verbosity=0)
    call_command("migrate", "csplaybooks_playbooks", verbosity=0)

    assert set(closed.steps.values_list("state", "done_at")) == {("skipped", later)}
    sweeping.work(now=later)
    assert list(open_.steps.order_by("number").values_list("state", "due_at")) == [("current", None), ("waiting", None)]
    assert not MailDraft.objects.exists()
    assert [violation for violation in violations() if violation.count] == []
