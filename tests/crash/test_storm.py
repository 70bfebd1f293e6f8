"""500 plays of the storm, and some on Redis; `make storm` has 10,000."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.redis import pokes_by_redis
from tests.storm.checks import check_all
from tests.storm.report import faults_of
from tests.storm.storm import Storm

pytestmark = pytest.mark.django_db(transaction=True)


def brave(storm: Storm) -> None:
    """Let it storm, and see that all is whole."""
    weather = storm.run()
    assert faults_of(check_all(storm)) == []
    assert weather.killed.total() > weather.seconds / 10


def test_nothing_is_lost_doubled_stuck_or_mailed_twice_in_a_storm(tmp_path: Path) -> None:
    brave(Storm(tmp_path, 500))


@pytest.mark.postgresql
def test_lost_pokes_are_made_good_in_a_storm_on_redis(tmp_path: Path) -> None:
    with pokes_by_redis() as server:
        brave(Storm(tmp_path, 60, redis_url=server.url))
