"""The systemd units and the environment: systemd understands them, and they do what they say."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django_q.models import OrmQ
from django_q.tasks import async_task

from csplaybooks.conf import DEFAULTS
from csplaybooks.settings import Q_CLUSTER
from tests.crash.clusters import Cluster, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
UNITS = sorted((CHECKOUT / "deploy" / "systemd").iterdir())
PYTHON = "/opt/csplaybooks/bin/python"


def read(unit: Path) -> configparser.ConfigParser:
    """A unit; of what may stand in it several times, ours have each once."""
    parser = configparser.ConfigParser(interpolation=None)
    # As Python's documentation has it: names of options are taken as they are.
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit)
    return parser


def test_there_are_two_units() -> None:
    assert [unit.name for unit in UNITS] == ["csplaybooks-cluster@.service", "csplaybooks-web.service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_has_nothing_to_say_about_a_unit(unit: Path, tmp_path: Path) -> None:
    # It looks for the program, which is not there.
    (tmp_path / unit.name).write_text(unit.read_text().replace(PYTHON, sys.executable))

    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"./{unit.name}"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )

    # Of other units on the machine it may have a lot to say.
    assert [line for line in answer.stderr.splitlines() if unit.name in line] == []
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_what_the_image_starts(unit: Path) -> None:
    entry = (CHECKOUT / "deploy" / "run-site").read_text()
    command = shlex.split(read(unit)["Service"]["ExecStart"])

    assert command[0] == PYTHON
    assert f"exec python {' '.join(command[1:])} ;;" in entry


def test_a_cluster_is_given_longer_than_its_drain() -> None:
    grace = int(read(UNITS[0])["Service"]["TimeoutStopSec"])

    # The task in hand, those fetched ahead, and the one that waits to be.
    assert grace > Q_CLUSTER["timeout"] * (Q_CLUSTER["queue_limit"] / Q_CLUSTER["workers"] + 2)


def variables() -> dict[str, str]:
    """The example of an environment, by name."""
    lines = (CHECKOUT / "deploy" / "environment.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_variable_of_the_example_is_read_by_somebody() -> None:
    readers = [(CHECKOUT / "csplaybooks" / name).read_text() for name in ("settings.py", "gunicorn_settings.py")]

    for name in variables().keys() - {"DJANGO_SETTINGS_MODULE"}:
        if name.startswith("CSPLAYBOOKS_"):
            assert name.removeprefix("CSPLAYBOOKS_") in DEFAULTS
        else:
            assert any(re.search(rf'"{name}"', reader) for reader in readers), name


def test_the_example_passes_the_checks_for_earnest() -> None:
    answer = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **variables(), "SECRET_KEY": "k7" * 10 + "Fx9-_" * 8},
    )

    assert answer.returncode == 0, answer.stderr


@pytest.fixture
def cluster(transactional_db: None, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that works, and has a task in hand."""
    cluster = Cluster(tmp_path / "cluster.log")
    try:
        assert cluster.workers()
        async_task("time.sleep", 2)
        wait_until(lambda: "processing" in (tmp_path / "cluster.log").read_text(), what="a task in hand")
        yield cluster
    finally:
        cluster.end()


@pytest.mark.django_db(transaction=True)
def test_sigterm_to_the_main_process_lets_a_cluster_finish_what_it_has_in_hand(cluster: Cluster) -> None:
    """KillMode=mixed."""
    os.kill(cluster.pid, signal.SIGTERM)

    wait_until(lambda: not cluster.members(), what="the end of all members")
    assert OrmQ.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_sigterm_to_all_ends_a_task_in_its_midst(cluster: Cluster) -> None:
    """Why the units do not say KillMode=control-group. Should this fail one day, they could.

    The main process may even be left behind, waiting for its sentinel, who was told nothing.
    """
    os.killpg(cluster.pid, signal.SIGTERM)

    wait_until(lambda: len(cluster.members()) <= 1, what="the end of all workers")
    # Not acknowledged, because it was not done.
    assert OrmQ.objects.count() == 1
