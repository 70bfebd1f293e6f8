"""What pruning takes and what it leaves, batch by batch."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.playbooks import tasks
from csplaybooks.playbooks.acts.pruning import (
    prune_a_little,
    prune_next_batches,
    prune_next_events,
    prune_next_mails,
    prune_next_runs,
    prune_next_tasks,
)
from csplaybooks.playbooks.factories import (
    DeliveryFactory,
    MatchFactory,
    MatchStepFactory,
    PlaybookVersionFactory,
    RunFactory,
)
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import Delivery, Match, MatchStep, Round, Run
from csplaybooks.signals.acts.pruning import PrunedEvents, prune_batches, prune_events, waiting
from csplaybooks.signals.factories import IntakeBatchFactory, ReadingFactory, RefusedItemFactory, SignalFactory
from csplaybooks.signals.horizon import pruned_before, to_prune_before
from csplaybooks.signals.models import (
    IntakeBatch,
    IntakeDay,
    PrunedDay,
    Reading,
    ReadingDay,
    RefusedItem,
    Signal,
    SignalDay,
)
from tests.retention.history import Told, claim_all, draft, prune_all, stored_signal_sums, write

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ten_days(settings: Any) -> None:
    """Ten days are kept, so that the 4th and what comes before it goes (a day is left as a margin)."""
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10}


#: The last day that goes, at noon.
LAST = datetime(2026, 11, 4, 12, 0, tzinfo=UTC)


def test_a_day_goes_when_it_lies_back_further_than_what_is_kept_and_a_day_more(settings):
    assert to_prune_before(NOW) == datetime(2026, 11, 5, tzinfo=UTC)
    assert to_prune_before(NOW, at_least_days=3) == datetime(2026, 11, 5, tzinfo=UTC)
    assert to_prune_before(NOW, at_least_days=12) == datetime(2026, 11, 3, tzinfo=UTC)
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10, "TIME_ZONE": "Asia/Tokyo"}
    assert to_prune_before(NOW) == datetime(2026, 11, 4, 15, tzinfo=UTC)
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 0}
    assert to_prune_before(NOW, at_least_days=12) is None
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10**9}
    assert to_prune_before(NOW) is None


def test_what_lies_before_the_horizon_goes_and_the_rest_stays():
    account = AccountFactory()
    midnight = datetime(2026, 11, 5, tzinfo=UTC)
    SignalFactory(account=account, occurred_at=midnight - timedelta(microseconds=1))
    young = SignalFactory(account=account, occurred_at=midnight)
    ReadingFactory(account=account, occurred_at=LAST, used_milli=5_000, limit_milli=None)
    ReadingFactory(account=account, occurred_at=LAST - timedelta(hours=1), used_milli=-7_000, limit_milli=9_000)
    claim_all()
    assert prune_all(NOW) == [
        PrunedEvents(date(2026, 11, 4), readings=2),
        PrunedEvents(date(2026, 11, 4), signals=1),
    ]
    assert list(Signal.objects.all()) == [young]
    assert Reading.objects.count() == 0
    sums = SignalDay.objects.get()
    assert (sums.account, sums.type, sums.day, sums.rows, sums.count) == (
        *(account, young.type, date(2026, 11, 4)),
        *(1, 1),
    )
    levels = ReadingDay.objects.get()
    assert (levels.rows, levels.count, levels.last_at, levels.last_used_milli, levels.last_limit_milli) == (
        *(2, 2, LAST, 5_000),
        None,
    )
    assert (levels.least_used_milli, levels.greatest_used_milli) == (-7_000, 5_000)
    assert (levels.least_limit_milli, levels.greatest_limit_milli) == (9_000, 9_000)
    day = PrunedDay.objects.get()
    assert (day.day, day.before, day.signals, day.readings, day.pruned_at) == (
        *(date(2026, 11, 4), midnight),
        *(1, 2, NOW),
    )
    assert pruned_before() == midnight


def test_days_are_those_of_the_company_and_the_oldest_goes_first(settings):
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10, "TIME_ZONE": "America/New_York"}
    # The clocks went back on the 1st: the day had 25 hours, from 4:00 to 5:00 of the next day in UTC.
    first = datetime(2026, 11, 1, 4, 0, tzinfo=UTC)
    write(Signal, [Told(0, 0, first + timedelta(hours=hours)) for hours in (25, 24, 0, -1)], [True])
    assert [(pruned.day.day, pruned.signals) for pruned in prune_all(NOW)] == [(31, 1), (1, 2), (2, 1)]
    assert {key[2].day: value for key, value in stored_signal_sums().items()} == {31: (1, 1), 1: (2, 2), 2: (1, 1)}
    assert [row.before for row in PrunedDay.objects.order_by("day")] == [
        datetime(2026, 11, day, hour, tzinfo=UTC) for day, hour in ((1, 4), (2, 5), (3, 5))
    ]


def test_no_more_than_the_limit_go_at_once_and_a_second_batch_of_a_day_is_added():
    write(Signal, [Told(0, 0, LAST)] * 3 + [Told(1, 0, LAST)] * 2, [True])
    assert [pruned.signals for pruned in prune_all(NOW, limit=2)] == [2, 2, 1]
    assert {key[0]: value for key, value in stored_signal_sums().items()} == {
        "account-0": (3, 3),
        "account-1": (2, 2),
    }
    assert PrunedDay.objects.get().signals == 5


def test_what_no_run_was_told_of_stays_until_one_was():
    history = [Told(0, 0, LAST, batch=0), Told(0, 0, LAST, batch=1)]
    _, untold = write(Signal, history, [True, False])
    found = waiting(now=NOW, before=to_prune_before(NOW))
    assert (found.signals, found.untold) == (2, 1)
    assert len(prune_all(NOW)) == 1
    assert list(Signal.objects.all()) == [untold]
    claim_all()
    assert len(prune_all(NOW)) == 1
    assert stored_signal_sums() == {("account-0", "kind-0", LAST.date()): (2, 2)}


def test_an_item_and_its_corrections_go_together_when_the_last_of_them_has_come():
    history = [
        *(Told(0, 0, LAST - 3 * DAY), Told(0, 0, LAST + 2 * DAY, corrects=0)),  # an old one, moved to the 6th
        *(Told(0, 0, LAST + 2 * DAY), Told(0, 0, LAST - 3 * DAY, corrects=2)),  # a young one, moved back
        *(Told(1, 0, LAST - 2 * DAY), Told(1, 0, LAST - DAY, corrects=4), Told(1, 0, LAST, corrects=5, void=True)),
        *(Told(2, 0, LAST - 2 * DAY), Told(2, 0, LAST - DAY, corrects=7)),
    ]
    rows = write(Signal, history, [True])
    assert [pruned.signals for pruned in prune_all(NOW)] == [5]
    assert list(Signal.objects.order_by("pk")) == rows[:4]
    assert stored_signal_sums() == {
        ("account-1", "kind-0", date(2026, 11, 2)): (1, 0),
        ("account-1", "kind-0", date(2026, 11, 3)): (1, 0),
        ("account-1", "kind-0", date(2026, 11, 4)): (1, 0),
        ("account-2", "kind-0", date(2026, 11, 2)): (1, 0),
        ("account-2", "kind-0", date(2026, 11, 3)): (1, 1),
    }
    assert [pruned.day for pruned in prune_all(NOW + 2 * DAY, limit=1)] == [date(2026, 11, 6)] * 2
    assert Signal.objects.count() == 0
    assert stored_signal_sums()["account-0", "kind-0", date(2026, 11, 6)] == (2, 1)
    assert stored_signal_sums()["account-0", "kind-0", date(2026, 11, 1)] == (2, 1)


@pytest.mark.parametrize("limit", [1, 5])
def test_of_readings_at_one_instant_the_one_stored_later_is_the_last_whatever_the_batches(limit):
    *_, last = write(Reading, [Told(0, 0, LAST, used=used) for used in (5, 9, 7)], [True])
    prune_all(NOW, limit=limit)
    levels = ReadingDay.objects.get()
    assert (levels.last_row, levels.last_used_milli, levels.last_at) == (last.pk, 7, LAST)
    assert (levels.count, levels.greatest_used_milli, levels.least_used_milli) == (3, 9, 5)


def test_the_last_reading_is_one_that_counts():
    history = [
        *(Told(0, 0, LAST, used=9, limit=9), Told(0, 0, LAST - DAY / 24, used=2, corrects=0)),  # moved back
        *(Told(1, 0, LAST, used=9, limit=9), Told(1, 0, LAST, used=8, corrects=2, void=True)),
    ]
    write(Reading, history, [True])
    prune_all(NOW)
    levels = ReadingDay.objects.get(account__name="account-0")
    assert (levels.rows, levels.count, levels.last_at) == (2, 1, LAST - DAY / 24)
    assert (levels.last_used_milli, levels.last_limit_milli) == (2, None)
    assert (levels.greatest_used_milli, levels.greatest_limit_milli) == (2, None)
    nothing = ReadingDay.objects.get(account__name="account-1")
    assert (nothing.rows, nothing.count, nothing.last_at, nothing.greatest_used_milli) == (2, 0, None, None)


def test_until_leaves_later_days():
    write(Signal, [Told(0, 0, LAST - days * DAY) for days in range(3)], [True])
    assert len(prune_all(NOW, until=datetime(2026, 11, 3, tzinfo=UTC))) == 1
    assert Signal.objects.count() == 2
    # And goes no further than the horizon.
    assert len(prune_all(NOW, until=NOW)) == 2


@pytest.mark.parametrize("model", [Signal, Reading])
def test_nothing_points_at_the_rows_but_their_corrections(model):
    """They are deleted past Django's collector, which would look for what does."""
    assert {(field.related_model, field.field.name) for field in model._meta.related_objects} == {(model, "corrects")}
    assert pointing_at(IntakeBatch) == {Signal, Reading, RefusedItem}
    assert pointing_at(Run) == {Match, MatchStep}
    assert pointing_at(Round) == {Run}


def pointing_at(model: Any) -> set[Any]:
    """The tables that have a relation to a table."""
    relations: list[Any] = [field for field in model._meta.get_fields(include_hidden=True) if field.auto_created]
    return {relation.related_model for relation in relations if not relation.concrete}


def test_queries_do_not_depend_on_rows():
    counts = []
    for rows in (1, 60):
        history = [Told(number % 7, number % 3, LAST - number * timedelta(minutes=1)) for number in range(rows)]
        write(Reading, history, [True])
        with CaptureQueriesContext(connection) as captured:
            pruned = prune_events(now=NOW)
        assert pruned is not None
        assert pruned.readings == rows
        counts.append(len(captured))
        Reading.objects.all().delete()
        Run.objects.all().delete()
    # Savepoint, the oldest of each kind, meters, rows, horizon, sums, batches, deletion, savepoint.
    assert counts[0] == counts[1] <= 13


def test_spent_batches_are_rolled_up_by_the_day_they_came_in():
    old = {"recorded_at": LAST, "seen_by_run": 1}
    IntakeBatchFactory(**old, stored=2, pruned=2, duplicate=3)
    IntakeBatchFactory(**old, stored=0, conflict=1)
    IntakeBatchFactory(**old, stored=1, pruned=1, readings=True)
    kept = [
        IntakeBatchFactory(**old, stored=2, pruned=1),
        IntakeBatchFactory(recorded_at=LAST, stored=0, refused=1),
        IntakeBatchFactory(recorded_at=LAST + DAY, seen_by_run=1, stored=0, refused=1),
        RefusedItemFactory(batch=IntakeBatchFactory(**old, stored=0, refused=1), expires_at=NOW + DAY).batch,
    ]
    before = to_prune_before(NOW)
    assert before is not None
    assert [prune_batches(before=before, limit=2) for _ in range(3)] == [2, 1, 0]
    assert list(IntakeBatch.objects.order_by("pk")) == kept
    days = {row.kind: row for row in IntakeDay.objects.all()}
    assert {row.day for row in days.values()} == {LAST.date()}
    signals, readings = days["signals"], days["readings"]
    assert (signals.batches, signals.received, signals.stored, signals.duplicate, signals.conflict) == (2, 6, 2, 3, 1)
    assert (readings.batches, readings.received, readings.stored) == (1, 1, 1)
    RefusedItem.objects.all().delete()
    assert prune_batches(before=before) == 1


def test_runs_that_left_no_match_go_and_the_one_before_the_first_that_is_kept_stays():
    start = datetime(2026, 11, 5, tzinfo=UTC)
    ended = start - timedelta(hours=1)
    round_then = Round.objects.create(asked_at=start, moved_at=start, part_size=1, finished_at=ended)
    spent = RunFactory(moment=start - DAY - timedelta(seconds=1), round=round_then)
    opening, closing = RunFactory(moment=start - 3 * DAY), RunFactory(moment=start - 2 * DAY)
    match = MatchFactory(opened_run=opening, closed_run=closing, closed_at=closing.moment, state=Match.State.ENDED)
    # Nothing opened or closed in it; what it said of the match stands.
    saying = RunFactory(moment=start - 2 * DAY)
    MatchStepFactory(match=match, run=saying)
    kept = [opening, closing, saying, RunFactory(moment=start - DAY), RunFactory(moment=start)]
    assert prune_next_runs(now=NOW) == 1
    assert list(Run.objects.order_by("pk")) == kept
    assert not Run.objects.filter(pk=spent.pk).exists()
    assert not Round.objects.exists()
    assert prune_next_runs(now=NOW) == 0


def test_the_newest_run_stays_however_old():
    run = RunFactory(moment=NOW - 100 * DAY)
    assert prune_next_runs(now=NOW) == 0
    assert list(Run.objects.all()) == [run]


def test_records_of_our_tasks_go_after_a_month_and_those_of_others_are_left():
    from django_q.models import Task

    for number, (function, days) in enumerate(
        [("csplaybooks.playbooks.tasks.sweep", 31), ("csplaybooks.playbooks.tasks.sweep", 29), ("shop.tasks.mail", 99)]
    ):
        at = NOW - days * DAY
        Task.objects.create(id=f"{number:032}", name=str(number), func=function, started=at, stopped=at, success=False)
    assert prune_next_tasks(now=NOW) == 1
    assert sorted(Task.objects.values_list("name", flat=True)) == ["1", "2"]


def test_the_words_of_mails_to_the_team_go_once_they_have_gone():
    old, new = NOW - 91 * DAY, NOW - 89 * DAY
    sent = {"state": "sent", "sent_at": NOW}
    mails: dict[str, dict[str, Any]] = {
        "sent": {"queued_at": old, **sent},
        "called off": {"queued_at": old, "state": "cancelled"},
        "new": {"queued_at": new, **sent},
        "waits": {"queued_at": old},
        "unclear": {"queued_at": old, "state": "unclear"},
        "to a customer": {"queued_at": old, "kind": "draft", **sent},
    }
    for subject, values in mails.items():
        DeliveryFactory(subject=subject, **values)
    assert (prune_next_mails(now=NOW, limit=1), prune_next_mails(now=NOW), prune_next_mails(now=NOW)) == (1, 1, 0)
    assert set(Delivery.objects.filter(body="").values_list("subject", flat=True)) == {"sent", "called off"}
    assert Delivery.objects.count() == 6


def test_with_a_retention_of_zero_everything_stays(settings):
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 0}
    write(Signal, [Told(0, 0, LAST - 9999 * DAY)], [True])
    RunFactory(moment=NOW)
    IntakeBatchFactory(recorded_at=LAST - 9999 * DAY, seen_by_run=1, stored=0, refused=1)
    assert prune_next_events(now=NOW) is None
    assert (prune_next_batches(now=NOW), prune_next_runs(now=NOW)) == (0, 0)


def test_what_a_running_playbook_looks_at_is_kept_though_the_setting_is_shorter():
    """The document was published when the setting was longer."""
    text = draft({"measure": "signal_count", "signal_type": "kind-0", "window_days": 30, "at_least": 1})
    playbook = PlaybookVersionFactory(playbook__draft=text).playbook
    write(Signal, [Told(0, 0, NOW - days * DAY) for days in (31, 32, 12)], [True])
    assert [pruned.day for pruned in iter(lambda: prune_next_events(now=NOW), None)] == [(NOW - 32 * DAY).date()]
    playbook.is_active = False
    playbook.save()
    assert prune_next_events(now=NOW) is not None


def test_the_sweep_does_a_little_of_everything():
    write(Signal, [Told(0, 0, LAST)], [True])
    Run.objects.update(moment=NOW - 90 * DAY)
    RunFactory(moment=NOW)
    IntakeBatch.objects.update(recorded_at=LAST)
    RefusedItemFactory(expires_at=NOW - DAY, batch__recorded_at=NOW)
    assert prune_a_little(now=NOW) == 4
    assert (Signal.objects.count(), RefusedItem.objects.count(), Run.objects.count()) == (0, 0, 1)
    assert prune_a_little(now=NOW) == 0
    # Runs wait for the next hour.
    RunFactory()
    Run.objects.update(moment=NOW - 90 * DAY)
    assert prune_a_little(now=NOW + timedelta(minutes=59)) == 0
    assert prune_a_little(now=NOW + timedelta(minutes=60)) == 1
    assert [violation for violation in violations() if violation.count] == []


def test_the_sweep_prunes_a_signal_its_batch_and_the_run_it_was_told_to():
    write(Signal, [Told(0, 0, LAST)], [True])
    with time_machine.travel(NOW, tick=False):
        assert "pruned: 3" in tasks.sweep()
