"""`csplaybooks_prune`: what it says, and how far it goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command

from csplaybooks.playbooks.acts.pruning import prune_next_events
from csplaybooks.playbooks.factories import PlaybookVersionFactory, RunFactory
from csplaybooks.playbooks.management.commands import csplaybooks_prune
from csplaybooks.playbooks.models import Run
from csplaybooks.signals.factories import RefusedItemFactory
from csplaybooks.signals.models import IntakeBatch, PrunedDay, Reading, RefusedItem, Signal
from tests.retention.history import Told, draft, write

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
#: The last day that goes.
LAST = datetime(2026, 11, 4, 12, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ten_days(settings: Any) -> None:
    """Ten days are kept."""
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10}


def prune(*words: str) -> list[str]:
    """The lines that the command writes."""
    out = StringIO()
    with time_machine.travel(NOW, tick=False):
        call_command("csplaybooks_prune", *words, stdout=out, stderr=out)
    return out.getvalue().splitlines()


@pytest.fixture
def three_days() -> None:
    """Four signals and a reading on three days, a refused item, and a run that is spent."""
    write(
        Signal, [Told(0, 0, LAST), Told(1, 0, LAST - DAY), Told(1, 0, LAST - DAY), Told(0, 0, LAST - 5 * DAY)], [True]
    )
    write(Reading, [Told(0, 0, LAST)], [True])
    IntakeBatch.objects.update(recorded_at=LAST)
    Run.objects.update(moment=NOW - 90 * DAY)
    RefusedItemFactory(expires_at=NOW - DAY, batch__recorded_at=NOW)
    RunFactory(moment=NOW)


def test_a_dry_run_says_how_much_would_go_and_deletes_nothing(three_days):
    IntakeBatch.objects.filter(kind="readings").update(seen_by_run=None)
    assert prune("--dry-run") == [
        "Signals and readings from before 2026-11-05 go.",
        "           4 signals",
        "           1 readings",
        "           1 of them not told to a run yet, which stay",
        "           0 intake batches that hold nothing",
        "           2 runs without a match",
        "           0 readiness scores",
        "           1 refused items",
        "           0 records of tasks",
        "Nothing was deleted.",
    ]
    assert (Signal.objects.count(), Reading.objects.count(), Run.objects.count()) == (4, 1, 3)
    assert (RefusedItem.objects.count(), PrunedDay.objects.count()) == (1, 0)


def test_it_prunes_day_by_day_and_says_how_far_it_is(three_days):
    lines = prune()
    assert lines[0] == "Signals and readings from before 2026-11-05 go."
    assert [line.rsplit(",", 1)[0] for line in lines[1:4]] == [
        "2026-10-30: 1 signals, 0 readings",
        "2026-11-03: 2 signals, 0 readings",
        "2026-11-04: 1 signals, 1 readings",
    ]
    assert all(line.endswith(" rows/s") for line in lines[1:4])
    steps = ["intake batches: 2", "runs: 2", "readiness scores: 0", "refused items: 1", "records of tasks: 0"]
    assert lines[4:9] == steps
    assert lines[9].startswith("10 rows in ")
    assert (Signal.objects.count(), Reading.objects.count(), Run.objects.count()) == (0, 0, 1)
    # A second time there is nothing to do.
    assert [line.partition(" seconds")[0][:6] for line in prune()[1:]] == [
        "intake",
        "runs: ",
        "readin",
        "refuse",
        "record",
        "0 rows",
    ]


def test_it_stops_after_some_days(three_days):
    lines = prune("--days", "2")
    assert [line[:10] for line in lines if line.startswith("2026")] == ["2026-10-30", "2026-11-03"]
    assert (Signal.objects.count(), Reading.objects.count()) == (1, 1)


def test_it_stops_before_a_day(three_days):
    lines = prune("--until", "2026-11-03")
    assert lines[0] == "Signals and readings from before 2026-11-03 go."
    assert [line[:10] for line in lines if line.startswith("2026")] == ["2026-10-30"]
    assert Signal.objects.count() == 3


def test_it_goes_no_further_than_the_retention():
    with pytest.raises(CommandError, match=r"--until 2026-11-06: .* kept from 2026-11-05 on"):
        prune("--until", "2026-11-06")
    assert prune("--until", "2026-11-05")[0] == "Signals and readings from before 2026-11-05 go."


@pytest.mark.parametrize("words", [("--until", "yesterday"), ("--days", "0"), ("--days", "-1"), ("--days", "two")])
def test_what_makes_no_sense_is_refused(words):
    with pytest.raises(CommandError, match="is no "):
        prune(*words)


def test_with_a_retention_of_zero_it_says_so(settings, three_days):
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 0}
    lines = prune()
    assert lines[0] == "RETENTION_DAYS is 0: signals, readings, intake batches and runs are kept for ever."
    steps = ["intake batches: 0", "runs: 0", "readiness scores: 0", "refused items: 1", "records of tasks: 0"]
    assert lines[1:6] == steps
    assert Signal.objects.count() == 4
    with pytest.raises(CommandError, match="RETENTION_DAYS is 0"):
        prune("--until", "2026-11-05")


def test_it_names_what_looks_further_back_than_the_setting_and_leaves_that(three_days):
    text = draft({"measure": "signal_count", "signal_type": "kind-0", "at_least": 1, "window_days": 13})
    PlaybookVersionFactory(playbook__key="long", playbook__name="Long", playbook__draft=text)
    lines = prune()
    assert lines[:2] == [
        "Signals and readings from before 2026-11-02 go.",
        "Long v1: triggers/0/any/0/all/0/window_days looks 13 days back, and signals and readings are kept for "
        "10 days: shorten it (where it names a meter, the meter's maximum age), or raise RETENTION_DAYS. Until then "
        "the last 13 days are kept.",
    ]
    assert Signal.objects.count() == 3


def test_ctrl_c_leaves_what_is_done(three_days, monkeypatch):
    whole = prune_next_events

    def interrupted(**options: Any) -> Any:
        if PrunedDay.objects.exists():
            raise KeyboardInterrupt
        return whole(**options)

    monkeypatch.setattr(csplaybooks_prune, "prune_next_events", interrupted)
    with pytest.raises(CommandError, match="what is done is done") as stopped:
        prune()
    assert stopped.value.returncode == 130
    assert Signal.objects.count() == 3
