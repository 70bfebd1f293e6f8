"""Pruning that is killed, that meets another prune, or what comes in: nothing is lost, and nothing counts twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import override_settings

from csplaybooks.accounts.models import AccountIdentity
from csplaybooks.playbooks.acts.pruning import prune_next_batches, prune_next_events
from csplaybooks.playbooks.factories import RunFactory
from csplaybooks.playbooks.invariants import violations
from csplaybooks.signals.acts.pruning import prune_events
from csplaybooks.signals.acts.pruning.sums import Outrun
from csplaybooks.signals.factories import RefusedItemFactory
from csplaybooks.signals.intake import take_in_signals
from csplaybooks.signals.models import IntakeBatch, IntakeDay, PrunedDay, Signal, SignalDay
from tests.at_once import at_once, begin
from tests.crash.clusters import wait_until
from tests.crash.dying import die_everywhere
from tests.retention.history import Told, stored_signal_sums, write

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)

#: A day that lies before the two years that are kept.
LONG_AGO = NOW - 740 * DAY

#: Three accounts, two days, and some that was corrected.
HISTORY = [
    *(Told(number % 3, 0, LONG_AGO + (number % 2) * DAY) for number in range(12)),
    Told(0, 0, LONG_AGO - DAY, corrects=0),
    Told(1, 0, LONG_AGO, corrects=1, void=True),
]


def expected() -> dict[Any, tuple[int, int]]:
    day = LONG_AGO.date()
    before, after = day - DAY, day + DAY
    return {
        ("account-0", "kind-0", before): (1, 1),
        ("account-0", "kind-0", day): (2, 1),
        ("account-0", "kind-0", after): (2, 2),
        ("account-1", "kind-0", day): (3, 2),
        ("account-1", "kind-0", after): (2, 1),
        ("account-2", "kind-0", day): (2, 2),
        ("account-2", "kind-0", after): (2, 2),
    }


def assert_all_is_rolled_up_once() -> None:
    assert Signal.objects.count() == 0
    assert stored_signal_sums() == expected()
    assert sum(PrunedDay.objects.values_list("signals", flat=True)) == len(HISTORY)
    assert [violation for violation in violations() if violation.count] == []


def test_killed_at_every_write_each_batch_is_rolled_up_once():
    write(Signal, HISTORY, [True])
    deaths = 0
    # Whoever was killed after the commit has left a batch less for the next.
    while Signal.objects.exists():
        deaths += die_everywhere("csplaybooks.playbooks.acts.pruning.prune_next_events", now=NOW, limit=3)
    assert deaths > 15
    assert_all_is_rolled_up_once()


def test_the_little_of_the_sweep_killed_at_every_write_leaves_nothing_behind():
    write(Signal, HISTORY[:3], [True])
    newest = RunFactory(moment=NOW)
    RefusedItemFactory(expires_at=NOW - DAY, batch__seen_by_run=newest.pk)
    IntakeBatch.objects.update(recorded_at=LONG_AGO)
    assert die_everywhere("csplaybooks.playbooks.acts.pruning.prune_a_little", now=NOW) > 15
    assert (Signal.objects.count(), IntakeBatch.objects.count()) == (0, 0)
    assert sum(IntakeDay.objects.values_list("stored", flat=True)) == 3
    assert [violation for violation in violations() if violation.count] == []


def test_two_prunes_at_once_share_the_work():
    write(Signal, HISTORY, [True])

    def prune() -> int:
        rows = 0
        while (pruned := prune_next_events(now=NOW, limit=2)) is not None:
            rows += pruned.signals
        while prune_next_batches(now=NOW, limit=1):
            pass
        return rows

    assert sum(at_once(*[prune] * 4)) == len(HISTORY)
    assert_all_is_rolled_up_once()


@pytest.mark.postgresql
def test_of_two_that_take_no_lease_the_second_has_done_nothing():
    write(Signal, HISTORY[:5], [True])
    with transaction.atomic():
        assert prune_events(now=NOW) is not None
        # Both have found the same rows; the other waits for the sums until this one is through.
        other = begin(lambda: prune_events(now=NOW))
        _wait_until_somebody_waits()
    with pytest.raises(Outrun):
        other.result(timeout=30)
    assert sum(SignalDay.objects.values_list("rows", flat=True)) == len(
        [told for told in HISTORY[:5] if told.at.date() == LONG_AGO.date()]
    )
    assert [violation for violation in violations() if violation.count] == []


@pytest.mark.postgresql
def test_intake_does_not_wait_for_pruning_and_stores_nothing_twice():
    """What is pruned at this moment is sent once more, by a process whose setting is longer."""
    [row] = write(Signal, [Told(0, 0, LONG_AGO)], [True])
    item = {
        "source": row.source.key,
        "external_id": row.external_id,
        "account": AccountIdentity.objects.get(account=row.account).external_id,
        "type": row.type.key,
        "occurred_at": row.occurred_at,
    }
    other = {**item, "external_id": "other", "occurred_at": NOW}
    with override_settings(CSPLAYBOOKS={"RETENTION_DAYS": 7000}):
        with override_settings(CSPLAYBOOKS={"RETENTION_DAYS": 730}), transaction.atomic():
            assert prune_events(now=NOW) is not None
            [answer] = at_once(lambda: take_in_signals(items=[other], now=NOW))
            assert answer.stored == 1
        [answer] = at_once(lambda: take_in_signals(items=[item], now=NOW))
    assert [result.code for result in answer.results] == ["too_old"]
    assert Signal.objects.get().external_id == "other"


def _wait_until_somebody_waits() -> None:
    def somebody_waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(cursor.fetchone()[0])

    wait_until(somebody_waits, what="the second prune to wait for the first")
