"""The benchmark runs and its rivals give the same answers; how fast they are is not asked here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgres import find_binaries

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.skipif(find_binaries() is None, reason="no PostgreSQL server binaries")
@pytest.mark.skipif("DATABASE_URL" in os.environ, reason="brings its own server: once, beside the tests on SQLite")
def test_triggers_and_rounds_are_measured_against_sql_by_hand(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for folder in list(tmp_path.parents)[:3]:
        # The server runs as somebody else when we are root.
        folder.chmod(folder.stat().st_mode | 0o011)
    command = [sys.executable, "-m", "bench", "--data", str(tmp_path), "--accounts", "400", "--signals", "200000"]
    answer = subprocess.run(
        [*command, "--only", "triggers", "round"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert answer.returncode == 0, answer.stderr
    assert "Seeded in" in answer.stdout
    lines = [line for line in answer.stdout.splitlines() if "SQL written by hand" in line]
    assert len(lines) == 4
    # Somebody matched, so that equal answers say something.
    assert all("(0 match)" not in line for line in lines if "all accounts" in line)
    assert "The first round (opens " in answer.stdout
