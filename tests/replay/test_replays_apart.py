"""Replays that need the test database to themselves."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from csplaybooks.accounts.models import Account, AccountFacts, Entitlement, Movement
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import Run
from csplaybooks.playbooks.replay import Rules, open_record, replay
from csplaybooks.playbooks.replay.rules import LicenceRule
from csplaybooks.playbooks.runs import matches_after, replay_run
from csplaybooks.signals.models import Reading
from tests.replay.records import START, at, story, write

pytestmark = pytest.mark.django_db


def test_same_record_gives_the_same_report(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", story())
    reports: list[Any] = []
    for _ in range(2):
        # Ids go on counting where the database does not take them back: the figures must not hang on them.
        with transaction.atomic():
            reports.append(replay(open_record(path), rules=Rules(review_days=20)).as_document())
            transaction.set_rollback(True)
    assert reports[0] == reports[1]


def test_order_of_the_file_changes_no_figure_but_ids(tmp_path: Path) -> None:
    rows = [(at(day), "acme", f"ann-{n}", "alpha", "core", "1") for day in range(10) for n in range(3)]
    reports: list[Any] = []
    for order in (rows, rows[::-1]):
        with transaction.atomic():
            reports.append(replay(open_record(write(tmp_path / "a.csv", order))).as_document())
            transaction.set_rollback(True)
    assert reports[0] == reports[1]


def test_licence_rule_is_a_setting(tmp_path: Path) -> None:
    rows = [(at(day), "acme", f"ann-{n}", "alpha", "core", "1") for day in range(8) for n in range(4)]
    rule = LicenceRule(minimum=2, headroom_percent=50, step=3, after_days=7)
    replay(open_record(write(tmp_path / "a.csv", rows)), rules=Rules(licence=rule))
    seats = Reading.objects.filter(meter__key="seats").order_by("occurred_at")
    assert [(reading.occurred_at, reading.limit_milli) for reading in seats] == [
        (START + timedelta(days=1), None),
        (START + timedelta(days=7), 6000),
    ]


def test_who_is_silent_at_the_renewal_leaves_and_begins_anew_with_the_next_row(tmp_path: Path) -> None:
    rows = [(at(day), "acme", f"ann-{n}", "alpha", "core", "1") for day in range(30) for n in range(4)]
    rows += [(at(400 + day), "acme", "ann-0", "alpha", "core", "1") for day in range(3)]
    report = replay(open_record(write(tmp_path / "a.csv", rows)))
    # Between the last echo of the first days and the renewal nothing can happen, and the clock goes there at once.
    assert 100 < report.days < 300
    assert not any(violation.count for violation in violations())
    acme = Account.objects.get()
    facts = AccountFacts.objects.filter(account=acme, superseded_by__isnull=True).order_by("valid_from")
    assert [row.lifecycle for row in facts] == ["paying", "churned", "paying"]
    # 2024 has 366 days: the renewal stands on the same day of the next year.
    assert facts[1].valid_from == START + timedelta(days=367)
    assert facts[2].customer_since == (START + timedelta(days=400)).date()
    lines = [(line.note, line.amount_minor) for line in Movement.objects.order_by("pk")]
    assert lines == [
        ("begins", 10_000),
        ("first licence", 5 * 2_000),
        # 120 rows and a quarter more are three blocks of fifty.
        ("first licence", 3 * 2_000),
        ("did not renew", -20_000),
        ("did not renew", -6_000),
        ("begins", 10_000),
    ]
    held = Entitlement.objects.current().filter(account=acme)
    assert sorted(held.values_list("product__name", "mrr_minor")) == [("Platform", 10_000), ("alpha", 0)]


def test_every_run_of_a_replay_can_be_asked_again(tmp_path: Path) -> None:
    replay(open_record(write(tmp_path / "a.csv", story())), rules=Rules(review_days=20))
    runs = list(Run.objects.order_by("pk"))
    assert len(runs) > 40
    for run in runs[::5]:
        assert replay_run(run) == matches_after(run)
