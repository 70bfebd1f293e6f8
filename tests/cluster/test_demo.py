"""`make demo-cluster`: both web servers and all clusters work, and nobody outlives whoever started it."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.conf import settings

from tests import postgres
from tests.cluster.demo import CHECKOUT, CLUSTERS, WEBS
from tests.crash.clusters import is_dead, wait_until
from tests.redis import require_binary

pytestmark = pytest.mark.skipif(
    settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql",
    reason="has its own PostgreSQL, and runs once, beside the tests on SQLite",
)

PATIENCE = 180


class Demo:
    """The demo, started by a shell as make does it."""

    def __init__(self, folder: Path) -> None:
        self._said = folder / "said"
        self._printed = folder / "printed"
        environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        with self._said.open("wb") as said, self._printed.open("wb") as printed:
            self.parent = subprocess.Popen(
                # Another command after it, or the shell would become it.
                ["/bin/sh", "-c", f"{sys.executable} -m tests.cluster.demo; exit $?"],
                cwd=CHECKOUT,
                env={**environment, "PORT": str(self._two_ports()), "ACCOUNTS": "4"},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=said,
                start_new_session=True,
            )

    def _two_ports(self) -> int:
        """A free port whose next is free too, most likely: from below those that the system gives out."""
        return 20_000 + os.getpid() % 5_000 * 2

    def ready(self) -> list[str]:
        """Wait until it is; answers the addresses."""
        wait_until(
            lambda: self.parent.poll() is not None or "\nready\n" in self._printed.read_text(),
            what="the demo",
            seconds=PATIENCE,
        )
        assert self.parent.poll() is None, self._said.read_text()
        lines = self._printed.read_text().splitlines()
        return [line.partition(": ")[2] for line in lines if line.startswith("address: ")]

    def family(self) -> list[psutil.Process]:
        """All that it has started, itself among them."""
        return psutil.Process(self.parent.pid).children(recursive=True)

    def end(self) -> None:
        """Leave nobody behind, whatever the test came to."""
        if self.parent.poll() is None:
            family = self.family()
            self.parent.kill()
            self.parent.wait()
            psutil.wait_procs(family, timeout=30)
            for process in family:
                if process.is_running():
                    process.kill()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """The demo, ready or not."""
    require_binary()
    if postgres.find_binaries() is None:
        pytest.skip("no PostgreSQL server binaries on this machine")
    demo = Demo(tmp_path)
    yield demo
    demo.end()


def test_all_work_and_nobody_outlives_a_make_that_is_killed(demo: Demo) -> None:
    addresses = demo.ready()

    assert len(addresses) == WEBS
    for address in addresses:
        with urllib.request.urlopen(f"{address}/health/ready?only=web", timeout=30) as response:  # noqa: S310 - ours
            assert response.status == 200
    family = demo.family()
    commands = [" ".join(process.cmdline()) for process in family]
    assert sum("gunicorn" in command for command in commands) == WEBS * 3  # a master and two processes
    assert sum("qcluster" in command for command in commands) == CLUSTERS * 6  # main, sentinel, 2 workers and helpers
    assert any("redis-server" in command for command in commands)
    assert any("postgres" in command for command in commands)

    demo.parent.kill()
    demo.parent.wait()

    wait_until(lambda: all(map(is_dead, family)), what="the end of all of it", seconds=60)
