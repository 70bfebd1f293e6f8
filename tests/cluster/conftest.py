"""What the tests of several machines share: a Redis, and a site of several processes on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.site import Site
from tests.redis import Redis, pokes_by_redis


@pytest.fixture
def redis() -> Iterator[Redis]:
    """A server of its own for the test, whose pokes go there, too."""
    with pokes_by_redis() as server:
        yield server


@pytest.fixture
def start_site(transactional_db: None, redis: Redis, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Starts a site of so many web servers and clusters on the database of this test; nothing of it is left."""
    sites: list[Site] = []

    def start(*, webs: int, clusters: int) -> Site:
        sites.append(Site(tmp_path, redis.url))
        sites[-1].start(webs=webs, clusters=clusters)
        return sites[-1]

    yield start
    for site in sites:
        site.end()
