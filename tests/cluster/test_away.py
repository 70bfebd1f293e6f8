"""Redis or PostgreSQL goes away and comes back: web servers and clusters go on by themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection
from django.utils import timezone
from django_q.tasks import async_task

from csplaybooks.playbooks.models import Play
from csplaybooks.playbooks.pokes import poke
from tests.cluster.site import Site
from tests.crash.clusters import wait_until
from tests.crash.company import MOTIONS, assert_all_once, make_company, readings, signals, waiting
from tests.redis import Redis

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

#: Longer than a cluster waits before it asks a broker again that failed it: ten seconds.
PATIENCE = 60


def send(site: Site, names: list[str]) -> list[int]:
    """The statuses of the answers to what the product sends of these accounts."""
    now = timezone.now()
    bodies = {"/api/v1/readings/": readings(names, now), "/api/v1/signals/": signals(names, now)}
    return [
        site.webs[0].ask("POST", path, body=json.dumps(items), token=site.token)[0] for path, items in bodies.items()
    ]


def test_redis_goes_away_and_comes_back_empty(start_site: Callable[..., Site], redis: Redis) -> None:
    names = make_company(8, timezone.now())
    site = start_site(webs=1, clusters=1)
    assert send(site, names[:4]) == [200, 200]
    wait_until(lambda: Play.objects.count() == 4 * len(MOTIONS) and not waiting(), what="plays", seconds=PATIENCE)
    members = {process.pid for process in site.clusters[0].members()}

    redis.kill()
    # Nothing is refused for it: what nobody can be told of, the sweep will find.
    assert send(site, names[4:]) == [200, 200]
    assert "could not poke run_changed; the sweep will pick it up" in site.printed("web")
    wait_until(lambda: "reincarnated pusher" in site.printed("cluster"), what="the cluster to notice", seconds=PATIENCE)
    redis.start()

    # The schedule would, within a minute and a half.
    poke("sweep")
    wait_until(lambda: Play.objects.count() == 8 * len(MOTIONS) and not waiting(), what="plays", seconds=PATIENCE)
    assert_all_once(names)
    # By itself: it is the same cluster, but for its pusher.
    assert site.clusters[0].pid in members
    assert len(members & {process.pid for process in site.clusters[0].members()}) == len(members) - 1


@contextmanager
def database_away() -> Iterator[None]:
    """While it lasts all connections to the database of this test are cut, and none can be made."""
    values = connection.settings_dict
    name = values["NAME"]
    connection.close()
    server = psycopg.connect(
        host=values["HOST"],
        port=values["PORT"],
        user=values["USER"],
        password=values["PASSWORD"],
        dbname="postgres",
        autocommit=True,
    )

    def allow(answer: str) -> None:
        server.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS {answer}')

    with server:
        allow("false")
        try:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
        finally:
            allow("true")


def test_postgresql_goes_away_and_comes_back(start_site: Callable[..., Site]) -> None:
    names = make_company(8, timezone.now())
    site = start_site(webs=1, clusters=1)
    web = site.webs[0]
    assert send(site, names[:4]) == [200, 200]
    wait_until(lambda: Play.objects.count() == 4 * len(MOTIONS) and not waiting(), what="plays", seconds=PATIENCE)
    members = {process.pid for process in site.clusters[0].members()}

    with database_away():
        assert send(site, names[4:]) == [503, 503]
        assert web.ask("GET", "/admin/", cookie="sessionid=abcdefghijklmnopqrstuvwxyz012345")[0] == 503
        assert web.ask("GET", "/health/live")[0] == 200
        assert web.ask("GET", "/health/ready?only=web")[0] == 503
        # A task meets it as well, fails, and takes no worker with it. Not by `poke`, which waits for a commit of ours.
        async_task("csplaybooks.playbooks.tasks.sweep")
        wait_until(lambda: "Failed 'csplaybooks" in site.printed("cluster"), what="a task that fails", seconds=PATIENCE)

    assert send(site, names[4:]) == [200, 200]
    # An answer of a moment ago may still be given to whoever asks without a token.
    wait_until(lambda: web.ask("GET", "/health/ready?only=web")[0] == 200, what="readiness", seconds=PATIENCE)
    wait_until(lambda: Play.objects.count() == 8 * len(MOTIONS) and not waiting(), what="plays", seconds=PATIENCE)
    assert_all_once(names)
    assert {process.pid for process in site.clusters[0].members()} == members
