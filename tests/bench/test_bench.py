"""The benchmark runs and its rivals give the same answers; how fast they are is not asked here."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.postgres import find_binaries

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [yaml.safe_load(path.read_text()) for path in sorted(ROOT.glob("playbooks/library/*.yaml"))]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server gets into, also when it runs as somebody else than we.

    Not pytest's own: each run of pytest closes the folder around those to others.
    """
    with tempfile.TemporaryDirectory(prefix="csplaybooks-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(find_binaries() is None, reason="no PostgreSQL server binaries")
@pytest.mark.skipif("DATABASE_URL" in os.environ, reason="brings its own server: once, beside the tests on SQLite")
def test_each_trigger_of_the_library_is_measured_against_sql_by_hand(folder: Path) -> None:
    command = [sys.executable, "-m", "bench", "--data", str(folder), "--accounts", "400", "--signals", "100000"]
    answer = subprocess.run(
        [*command, "--only", "triggers", "sweep", "embedded"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    # It ends where accounts, found values or counts differ from those by hand.
    assert answer.returncode == 0, answer.stderr
    assert "Seeded in" in answer.stdout
    lines = [line for line in answer.stdout.splitlines() if "SQL written by hand" in line]
    # Matches, and verdict counts, of each trigger of the library, and the sum of each; two triggers on SQLite.
    triggers = sum(len(document["triggers"]) for document in DOCUMENTS)
    assert len(lines) == 2 * (triggers + 1) + 2
    # Somebody matched each, so that equal answers say something.
    assert not [line for line in lines if "(0 match)" in line]
    assert "The first round (opens " in answer.stdout
    assert "all triggers evaluated | " in answer.stdout
    assert "Most memory of the process that did all this (" in answer.stdout


def test_business_time_is_measured_without_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.calendar.CALLS", 20)
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "calendar"])
    # It ends where the answers differ from going from day to day.
    importlib.import_module("bench.__main__").main()
    lines = [line for line in capsys.readouterr().out.splitlines() if "µs" in line]
    assert len(lines) == 5
    assert all("from day to day" in line for line in lines[:4])
