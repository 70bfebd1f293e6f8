"""Two real clusters open 500 plays and more while their workers, and whole clusters, are killed with kill -9."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import timezone
from django_q.models import Failure, OrmQ

from csplaybooks.playbooks import tasks
from csplaybooks.playbooks.models import Play, Run
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.runs import matches_after, replay_run
from csplaybooks.signals.intake import take_in_readings, take_in_signals
from csplaybooks.signals.models import IntakeBatch
from tests.crash.clusters import wait_until
from tests.crash.company import MOTIONS, assert_all_once, attempts, make_company, readings, signals, waiting
from tests.crash.supervisor import Supervisor

pytestmark = pytest.mark.django_db(transaction=True)

ACCOUNTS = 300
#: Accounts whose signals come in one batch.
BATCH = 6
#: What is killed meanwhile, in an order drawn by lot.
KILLS = ["worker"] * 8 + ["group"] * 5 + ["monitor"] * 2


@pytest.fixture
def supervisor(transactional_db: None, tmp_path: Path) -> Iterator[Supervisor]:
    """Two clusters on the database of this test; nothing of them is left afterwards."""
    supervisor = Supervisor(tmp_path)
    try:
        yield supervisor
    finally:
        supervisor.end()


def test_nothing_is_lost_doubled_or_stuck_when_clusters_are_killed(supervisor: Supervisor) -> None:
    lot = random.Random(7)
    now = timezone.now()
    names = make_company(ACCOUNTS, now)
    batches = [names[start : start + BATCH] for start in range(0, ACCOUNTS, BATCH)]
    # Between the first batch and the last, at least one batch apart.
    victims = dict(
        zip(sorted(lot.sample(range(1, len(batches)), len(KILLS))), lot.sample(KILLS, len(KILLS)), strict=True)
    )
    for cluster in supervisor.clusters:
        assert len(cluster.workers()) == 2

    opened_at_kills = []
    for number, batch in enumerate(batches):
        sent = timezone.now()
        assert take_in_readings(items=readings(batch, sent), now=sent).refused == 0
        assert take_in_signals(items=signals(batch, sent), now=sent).refused == 0
        if number in victims:
            # At any point of the work on what was just sent.
            time.sleep(lot.uniform(0, 0.6))
            opened_at_kills.append(Play.objects.count())
            supervisor.kill(victims[number], lot)

    supervisor.look_from_now_on()

    def all_is_done() -> bool:
        # What the schedule does once a minute: the sweep finds what dead workers left, and lost pokes do not matter.
        if not OrmQ.objects.filter(lock__lte=timezone.now()).exists():
            poke("sweep")
        supervisor.restart_what_stands_still()
        return waiting() == {}

    wait_until(all_is_done, what="all plays to be open", seconds=120)
    supervisor.end()
    tasks.sweep()

    assert supervisor.killed == len(KILLS)
    assert opened_at_kills[0] < opened_at_kills[-1] < Play.objects.count() == ACCOUNTS * len(MOTIONS) >= 500
    assert_all_once(names)
    assert IntakeBatch.objects.count() == 2 * len(batches)
    # Nothing but death stood in the way: no error was met by any row or task.
    assert attempts() == 0
    assert list(Failure.objects.values_list("func", "result")) == []
    assert "Error" not in supervisor.printed()
    for run in Run.objects.all():
        assert replay_run(run) == matches_after(run)
