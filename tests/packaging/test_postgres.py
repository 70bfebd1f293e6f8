"""The throwaway server of the tests, tested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests import postgres

BINARIES = postgres.find_binaries()
needs_binaries = pytest.mark.skipif(BINARIES is None, reason="no PostgreSQL server binaries")


@needs_binaries
def test_server_answers_and_is_gone_afterwards() -> None:
    assert BINARIES is not None
    with postgres.throwaway_server(BINARIES) as database_url:
        with psycopg.connect(database_url) as connection:
            (fsync,) = connection.execute("SHOW fsync").fetchone() or ("",)
            (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
        assert fsync == "off"
        connection.close()

    assert not Path(folder).exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(database_url)


@needs_binaries
def test_exit_status_of_the_command_is_handed_on() -> None:
    program = "import os, sys; sys.exit(7 if os.environ['DATABASE_URL'].startswith('postgres://') else 1)"

    answer = subprocess.run(
        [sys.executable, "-m", "tests.postgres", sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parents[2],
        check=False,
    )

    assert answer.returncode == 7


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_missing_binaries_are_a_failure_in_ci_only(
    ci: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(postgres, "find_binaries", lambda: None)
    monkeypatch.setitem(os.environ, "CI", ci)

    assert postgres.main([]) == status
    assert "SQLite alone" in capsys.readouterr().out
    assert postgres.main(["never-run"]) == 0
