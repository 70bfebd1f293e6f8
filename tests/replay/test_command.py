"""The command `csplaybooks_replay`, and the database of its own in which it works."""

from __future__ import annotations

import gc
import io
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection, connections

from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.management.commands import csplaybooks_replay
from csplaybooks.playbooks.replay import Progress
from csplaybooks.playbooks.replay.database import DatabaseRefused, named_database, settings_of, shown
from tests.replay.records import BAD, START, at, story, write

CONTRACT = {"received", "stored", "duplicate", "conflict", "refused", "plays", "violations", "seconds", "peak_mb"}


def run(path: Path, *options: str) -> tuple[dict[str, Any], str]:
    """The figures of the last line, and all that was printed."""
    out = io.StringIO()
    call_command("csplaybooks_replay", str(path), "--json", *options, stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue().splitlines()[-1]), out.getvalue()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The first days of the story; some of its bad rows are among them."""
    return write(tmp_path / "small.csv", story()[:60])


@pytest.fixture
def unblocked(django_db_blocker: Any) -> Iterator[None]:
    """The site's database is not asked, so none is set up; the replay brings its own."""
    with django_db_blocker.unblock():
        yield


@pytest.mark.any_database
@pytest.mark.django_db
def test_last_line_is_the_contract_and_nothing_is_left(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    usual = connections["default"]
    figures, text = run(small)
    assert figures.keys() >= CONTRACT
    assert (figures["received"], figures["refused"]) == (60, BAD - 1)
    assert figures["received"] == sum(figures[key] for key in ("stored", "duplicate", "conflict", "refused"))
    assert figures["plays"].keys() >= {"by_trigger", "by_route", "by_outcome", "by_stage"}
    assert set(figures["violations"].values()) == set(figures["failures"].values()) == {0}
    assert figures["seconds"] > 0
    assert figures["peak_mb"] > 10
    assert "By these rules:" in text
    # The site's own database is in its place again, and has seen nothing of it.
    assert connections["default"] is usual
    assert not Account.objects.exists()
    assert list(folder.iterdir()) == []


@pytest.mark.any_database
@pytest.mark.usefixtures("unblocked")
def test_named_database_is_kept_and_not_taken_twice(small: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.sqlite3"
    figures, _ = run(small, "--database", str(kept))
    with sqlite3.connect(kept) as database:
        [(signals,)] = database.execute(
            "SELECT count(*) FROM csplaybooks_signals_signal WHERE external_id NOT LIKE '%-%-%'"
        ).fetchall()
    database.close()
    assert signals == figures["stored"]
    with pytest.raises(CommandError, match="not empty"):
        run(small, "--database", f"sqlite:///{kept}")


@pytest.mark.usefixtures("unblocked")
# Django drops the connection to a file that is no database without closing it, and Python 3.13 says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_databases_that_are_refused(small: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.sqlite3"
    with sqlite3.connect(foreign) as database:
        database.execute("CREATE TABLE theirs (id INTEGER)")
    database.close()
    text = tmp_path / "text.sqlite3"
    text.write_text("this is no database, and long enough to be told from one\n" * 20)
    for name, words in (
        (str(foreign), "holds something else"),
        (str(text), "cannot be used"),
        (str(tmp_path / "nowhere" / "a.sqlite3"), "no place for a SQLite file"),
        (str(tmp_path), "no place for a SQLite file"),
        ("mysql://host/name", "begins with sqlite:/// or postgres://"),
        ("ftp:x", "begins with sqlite:/// or postgres://"),
        ("sqlite:a.sqlite3", "begins with sqlite:/// or postgres://"),
        ("postgres://someone:secret@127.0.0.1:1/name", "cannot be used"),
    ):
        with pytest.raises(CommandError, match=words) as caught:
            run(small, "--database", name)
        assert "secret" not in str(caught.value)
    del caught
    gc.collect()


@pytest.mark.django_db
def test_the_sites_own_database_is_refused() -> None:
    own = connection.settings_dict
    name = str(own["NAME"])
    if connection.vendor == "postgresql":
        name = f"postgres://{own['USER']}@{own['HOST']}:{own['PORT']}/{own['NAME']}"
    with pytest.raises(DatabaseRefused, match="own database"), named_database(name):
        pass


def test_urls_of_databases() -> None:
    assert settings_of("postgres://me:p%40ss@db.example:5433/replay?sslmode=require") == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "replay",
        "USER": "me",
        "PASSWORD": "p@ss",
        "HOST": "db.example",
        "PORT": "5433",
        "OPTIONS": {"sslmode": "require"},
    }
    assert settings_of("sqlite:////tmp/a.sqlite3")["NAME"] == "/tmp/a.sqlite3"  # noqa: S108 - never opened
    assert settings_of("sqlite:///a.sqlite3")["NAME"] == "a.sqlite3"
    assert settings_of("./ftp:x")["NAME"] == "ftp:x"
    assert shown("postgres://me:p%40ss@db.example/replay") == "postgres://me:***@db.example/replay"


@pytest.mark.parametrize("option", ["--licence-minimum=0", "--licence-step=0", "--licence-headroom=-1"])
def test_licence_rule_that_makes_no_sense_is_refused(small: Path, option: str) -> None:
    with pytest.raises(CommandError, match="licence rule"):
        run(small, option)


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none\.csv cannot be read: No such file"):
        run(tmp_path / "none.csv")


def test_ctrl_c_ends_it_with_a_message(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(csplaybooks_replay, "temporary_database", nullcontext)
    monkeypatch.setattr(csplaybooks_replay, "replay", interrupted)
    with pytest.raises(CommandError, match="ctrl-C: nothing is kept") as caught:
        run(small)
    assert caught.value.returncode == 130


def test_progress_is_told_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([100.5, 101.0, 101.0, 101.9, 102.0, 102.0])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    err = io.StringIO()
    tell = csplaybooks_replay.Command(stderr=err, no_color=True)._teller(started=100.0)
    for rows in (1, 500, 501, 1000):
        tell(Progress(date(2024, 1, 1), rows, 1000, 3))
    lines = [line.split() for line in err.getvalue().splitlines()]
    assert [line[1] for line in lines] == ["500", "1,000"]
    assert lines[1] == ["2024-01-01", "1,000", "of", "1,000", "rows", "100", "%", "3", "plays"]


def test_broken_invariants_end_it_with_an_error(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = SimpleNamespace(as_text=str, broken=["one", "other"], as_document=dict)
    monkeypatch.setattr(csplaybooks_replay, "temporary_database", nullcontext)
    monkeypatch.setattr(csplaybooks_replay, "replay", lambda *args, **options: report)
    with pytest.raises(CommandError, match="Broken: one, other"):
        run(small)


@pytest.mark.any_database
@pytest.mark.usefixtures("unblocked")
@time_machine.travel(START + timedelta(days=3, hours=11), tick=False)
def test_rows_later_than_now_are_refused_and_do_not_move_the_clock(tmp_path: Path) -> None:
    # In order and out of it; the last is of today, whose end is where the virtual clock stands.
    rows = [(at(day), "acme", "ann", "alpha", "core", "1") for day in range(4)]
    ahead = [("2099-01-01T00:00:00Z", "later", "ann", "alpha", "core", "1"), (at(3, 12), "acme", "bob", "beta", "", "")]
    kept = tmp_path / "kept.sqlite3"
    figures, _ = run(
        write(tmp_path / "a.csv", [rows[2], ahead[0], *rows[:2], rows[3], ahead[1]]), "--database", str(kept)
    )
    in_order, _ = run(write(tmp_path / "b.csv", [*rows, *ahead]))
    for name in ("received", "stored", "refused", "first_day", "last_day", "days", "accounts"):
        assert figures[name] == in_order[name], name
    assert (figures["stored"], figures["refused"], figures["last_day"], figures["days"]) == (4, 2, "2024-01-04", 4)
    with sqlite3.connect(kept) as database:
        refused = database.execute("SELECT code, field, message FROM csplaybooks_signals_refuseditem").fetchall()
    database.close()
    assert {(code, field) for code, field, _ in refused} == {("in_the_future", "occurred_at")}
    assert any(
        "2099-01-01T00:00:00Z lies in the future; the replay began at 2024-01-04T11:00:00Z" in one[2] for one in refused
    )


@time_machine.travel(START, tick=False)
def test_record_that_lies_in_the_future_as_a_whole_is_refused(small: Path) -> None:
    with pytest.raises(CommandError, match="does not lie in the future"):
        run(small)
