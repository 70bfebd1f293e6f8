"""The Containerfile: its lines run in a clean folder, and what comes of them serves the site."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from django.conf import settings

from tests.crash.clusters import wait_until
from tests.deploy.image import Image
from tests.postgres import free_port
from tests.release import CHECKOUT, built_release

pytestmark = pytest.mark.skipif(
    settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql",
    reason="runs once, beside the tests on SQLite",
)

PATIENCE = 90


class Answer(NamedTuple):
    """What the web server has answered, read whole."""

    status: int
    headers: http.client.HTTPMessage
    text: str


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image, built from a copy of the checkout after `python -m build`."""
    release = built_release(tmp_path_factory)
    context = tmp_path_factory.mktemp("context")
    for name in ("requirements", "deploy"):
        shutil.copytree(CHECKOUT / name, context / name)
    (context / "dist").mkdir()
    shutil.copy(release.wheel, context / "dist")
    image = Image(tmp_path_factory.mktemp("image"), context)
    # What was downloaded for other tests need not come again.
    met = image.build((CHECKOUT / "deploy" / "Containerfile").read_text(), frozenset({"PIP_NO_CACHE_DIR"}))
    assert {"RUN", "COPY", "ENV", "USER", "CMD"} <= set(met)
    return image


class Container:
    """What runs of the image."""

    def __init__(self, image: Image, folder: Path) -> None:
        self._image = image
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        self.port = free_port()
        self.environment = {
            "SECRET_KEY": "for tests only",
            "DATABASE_URL": f"sqlite:///{folder}/site.sqlite3",
            "BIND": f"127.0.0.1:{self.port}",
        }

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Run a command of the image; the image's own where none is given."""
        log = self._folder / f"{command[0] if command else 'default'}.log"
        self._running.append(self._image.start(*command, environment=self.environment, log=log))
        return self._running[-1]

    def said(self, name: str) -> str:
        """What the command has printed."""
        return (self._folder / f"{name}.log").read_text()

    def get(self, path: str) -> Answer | None:
        """The answer; None while nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def end(self) -> None:
        """Leave nobody behind."""
        for program in self._running:
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)
                program.wait()


@pytest.fixture
def container(image: Image, tmp_path: Path) -> Iterator[Container]:
    """A container, and nothing left of it."""
    container = Container(image, tmp_path)
    yield container
    container.end()


def test_the_image_migrates_serves_and_works(container: Container) -> None:
    assert container.start("migrate").wait(timeout=PATIENCE) == 0, container.said("migrate")

    web = container.start()
    live = wait_until(lambda: container.get("/health/live"), what="the web server", seconds=PATIENCE)
    assert (live.status, live.text) == (200, '{"status":"ok"}')
    page = container.get("/admin/login/")
    assert page is not None
    # Collected when the image was built: names with a hash, which browsers may keep for ever.
    (sheet,) = set(re.findall(r'href="(/static/admin/css/base\.[0-9a-f]{12}\.css)"', page.text))
    answer = container.get(sheet)
    assert answer is not None
    assert answer.status == 200
    assert "immutable" in answer.headers["Cache-Control"]

    cluster = container.start("cluster")
    wait_until(lambda: " running." in container.said("cluster"), what="the cluster", seconds=PATIENCE)
    # As a container is stopped: SIGTERM to its first process.
    for program in (cluster, web):
        program.terminate()
    assert cluster.wait(timeout=PATIENCE) == 0, container.said("cluster")
    assert web.wait(timeout=PATIENCE) == 0, container.said("default")


def test_the_image_runs_commands_and_asks_for_one(container: Container) -> None:
    assert container.start("check").wait(timeout=PATIENCE) == 0, container.said("check")
    assert container.start("").wait(timeout=PATIENCE) == 2


def test_the_image_does_not_run_as_root(image: Image) -> None:
    user, _, group = image.user.partition(":")

    assert int(user) > 0
    assert int(group) > 0
