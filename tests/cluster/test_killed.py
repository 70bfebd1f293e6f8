"""Two web servers and three clusters on PostgreSQL and Redis open 2,000 plays while whole groups of them are killed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from django.db.models import Sum
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.models import Failure

from csplaybooks.playbooks import tasks
from csplaybooks.playbooks.models import Play, Round, Run
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.runs import matches_after, replay_run
from csplaybooks.signals.models import IntakeBatch, Reading, RefusedItem, Signal
from tests.cluster.site import Senders, Site
from tests.crash.clusters import wait_until
from tests.crash.company import MOTIONS, assert_all_once, attempts, make_company, readings, signals, waiting

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

ACCOUNTS = 1000
#: Accounts whose signals come in one request.
BATCH = 10
#: What is killed with kill -9 meanwhile, whole, in an order drawn by lot.
KILLS = ["cluster"] * 6 + ["web"] * 4


def test_nothing_is_lost_or_doubled_when_machines_die(start_site: Callable[..., Site]) -> None:
    lot = random.Random(11)
    now = timezone.now()
    names = make_company(ACCOUNTS, now)
    site = start_site(webs=2, clusters=3)
    jobs = [
        [("/api/v1/readings/", readings(batch, now)), ("/api/v1/signals/", signals(batch, now))]
        for batch in (names[start : start + BATCH] for start in range(0, ACCOUNTS, BATCH))
    ]
    senders = Senders(site, jobs, threads=4)

    opened_at_kills: list[int] = []
    for victim in lot.sample(KILLS, len(KILLS)):
        # In portions, so that there is load at every death.
        senders.release(len(jobs) // (len(KILLS) + 1))
        if victim == "web":
            # At any point of the work on what was just sent.
            time.sleep(lot.uniform(0, 0.3))
            site.kill_web(lot.randrange(2))
        else:
            # In the midst of the work: more has been opened than at the death before, and more is to come.
            before = max(opened_at_kills, default=0)
            wait_until(lambda before=before: Play.objects.count() > before, what="plays to open", seconds=60)
            opened_at_kills.append(Play.objects.count())
            site.kill_cluster(lot.randrange(3))
    senders.release(len(jobs))
    senders.join()

    broker = get_broker()

    def all_is_done() -> bool:
        # What the schedule does once a minute: Redis forgets the pokes that dead clusters had fetched.
        if broker.queue_size() == 0:
            poke("sweep")
        time.sleep(0.2)  # between two pokes: the sweep needs a moment
        return waiting() == {} and not Round.objects.unfinished().exists()

    wait_until(all_is_done, what="all plays to be open", seconds=90)
    site.end()
    tasks.sweep()

    # The kills came before the work was done, and were felt.
    assert len(opened_at_kills) == KILLS.count("cluster")
    assert opened_at_kills[-1] < Play.objects.count()
    assert senders.failures.total() > 0
    assert Play.objects.count() == ACCOUNTS * len(MOTIONS) == 2000
    assert_all_once(names)
    _assert_each_item_stored_once(senders, sum(len(items) for job in jobs for _, items in job))
    # Nothing but death stood in the way: no error was met by any row, task or request.
    assert attempts() == 0
    assert list(Failure.objects.values_list("func", "result")) == []
    assert "Traceback" not in site.printed("cluster") + site.printed("web")
    # What everybody had to be looked at for was done in parts.
    assert Run.objects.filter(kind=Run.Kind.PART).aggregate(all=Sum("accounts"))["all"] % ACCOUNTS == 0
    assert Run.objects.filter(kind=Run.Kind.PART).count() >= 10
    for run in Run.objects.all():
        assert replay_run(run) == matches_after(run)


def _assert_each_item_stored_once(senders: Senders, items: int) -> None:
    """What was received is the sum of its verdicts; what was sent again is a duplicate, and nothing was refused."""
    received = IntakeBatch.objects.aggregate(
        *(Sum(field) for field in ("received", "stored", "duplicate", "conflict", "refused"))
    )
    assert (received["conflict__sum"], received["refused__sum"]) == (0, 0)
    assert received["received__sum"] == received["stored__sum"] + received["duplicate__sum"]
    assert received["stored__sum"] == items == Signal.objects.count() + Reading.objects.count()
    assert not RefusedItem.objects.exists()
    # The last answer to each request covers all of its items; an answer that got lost on its way makes duplicates.
    assert sum(answer["stored"] + answer["duplicate"] for answer in senders.answers) == items
    assert sum(answer["duplicate"] for answer in senders.answers) <= received["duplicate__sum"]
