"""The stand-alone site: its environment, its front door and its headers."""

from __future__ import annotations

import json
import logging
import logging.config
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from csplaybooks.settings import LOGGING, _debug_secret_key

CHECKOUT = Path(__file__).resolve().parents[2]


def site_settings(**environment: str) -> dict[str, Any]:
    """Return some settings of the site as a process with just ``environment`` reads them."""
    program = (
        "import json, csplaybooks.settings as site; print(json.dumps("
        "{name: getattr(site, name, None) for name in"
        " ('DATABASES', 'Q_CLUSTER', 'CACHES', 'ALLOWED_HOSTS', 'SESSION_COOKIE_SECURE')}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **environment},
    )
    assert answer.returncode == 0, answer.stderr
    settings: dict[str, Any] = json.loads(answer.stdout)
    return settings


def test_secret_key_is_required_in_earnest() -> None:
    with pytest.raises(AssertionError, match="Set SECRET_KEY in the environment"):
        site_settings()


def test_bare_environment_means_sqlite_in_the_checkout_and_this_machine_only() -> None:
    site = site_settings(SECRET_KEY="k")

    database = site["DATABASES"]["default"]
    assert database["NAME"] == str(CHECKOUT / "db.sqlite3")
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert site["Q_CLUSTER"]["orm"] == "default"
    assert site["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert site["CACHES"] is None


def test_environment_names_the_services() -> None:
    site = site_settings(
        SECRET_KEY="k",
        DATABASE_URL="postgres://someone:word@db.example:5433/expansion",
        REDIS_URL="redis://cache.example/1",
        ALLOWED_HOSTS="expansion.example,other.example",
        HTTPS="true",
    )

    database = site["DATABASES"]["default"]
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("db.example", 5433, "expansion")
    assert database["CONN_MAX_AGE"] == 60
    assert "pool" not in database.get("OPTIONS", {})
    # A Redis that does not answer is not waited for.
    redis = "redis://cache.example/1?socket_connect_timeout=2&socket_timeout=5"
    assert site["Q_CLUSTER"]["redis"] == redis
    assert "orm" not in site["Q_CLUSTER"]
    assert site["CACHES"]["default"]["LOCATION"] == redis
    assert site["ALLOWED_HOSTS"] == ["expansion.example", "other.example"]
    assert site["SESSION_COOKIE_SECURE"] is True


def test_tasks_are_not_given_out_twice_while_they_wait() -> None:
    cluster = site_settings(SECRET_KEY="k")["Q_CLUSTER"]

    assert cluster["queue_limit"] <= cluster["workers"]
    assert cluster["retry"] > cluster["timeout"] * (cluster["queue_limit"] / cluster["workers"] + 2)


def test_debug_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "key"

    first, second = _debug_secret_key(file), _debug_secret_key(file)

    assert first == second
    assert len(first) >= 50
    assert file.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.django_db
def test_front_door_leads_to_the_admin(client: Client) -> None:
    response = client.get("/", follow=True)

    assert response.redirect_chain == [("/admin/", 302), ("/admin/login/?next=/admin/", 302)]
    assert response.status_code == 200
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert response.context["site_header"] == "csplaybooks"


def test_static_files_are_served_without_collecting_them(client: Client) -> None:
    response = client.get("/static/admin/css/base.css")

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/css")
    # Read to the end, which closes the file.
    assert b"--primary" in b"".join(response)


def manage(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the site with just ``environment``."""
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **environment},
    )


@pytest.mark.parametrize("command", ["shell", "check", "csplaybooks_setup", "runserver"])
def test_without_a_secret_key_commands_say_so_in_one_line(command: str) -> None:
    answer = manage(command)

    assert answer.returncode == 1
    assert answer.stderr == "Set SECRET_KEY in the environment (or DEBUG=true on your own machine).\n"


def test_setup_before_migrate_says_what_to_do(tmp_path: Path) -> None:
    answer = manage("csplaybooks_setup", SECRET_KEY="k", DATABASE_URL=f"sqlite:///{tmp_path}/new.sqlite3")

    assert answer.returncode == 1
    assert answer.stderr == "CommandError: The tables are not up to date: run manage.py migrate first.\n"


def test_prune_before_migrate_says_what_to_do(tmp_path: Path) -> None:
    answer = manage("csplaybooks_prune", "--dry-run", SECRET_KEY="k", DATABASE_URL=f"sqlite:///{tmp_path}/new.sqlite3")

    assert answer.returncode == 1
    (line,) = [line for line in answer.stderr.splitlines() if line]
    assert line.startswith("CommandError: The database refused: no such table: ")
    assert line.endswith(". Where a table is missing: run manage.py migrate.")


@pytest.mark.parametrize("command", ["csplaybooks_setup", "csplaybooks_prune"])
def test_a_database_that_does_not_answer_is_told_in_one_line(command: str) -> None:
    answer = manage(command, SECRET_KEY="k", DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing")

    assert answer.returncode == 1
    (line,) = [line for line in answer.stderr.splitlines() if line]
    assert line.startswith("CommandError: The database refused: ")


def test_make_tells_its_targets() -> None:
    answers = [
        subprocess.run(
            ["make", "--no-print-directory", *goals],
            cwd=CHECKOUT,
            check=True,
            capture_output=True,
            text=True,
            # Of a make that runs these tests, if one does.
            env={name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")},
        ).stdout
        for goals in ([], ["help"])
    ]

    assert answers[0] == answers[1]
    told = [line.split()[1] for line in answers[0].splitlines()[1:] if line.startswith("make ")]
    (phony,) = re.findall(r"^\.PHONY: help (.+)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert told == phony.split()
    assert {"install", "demo", "test", "check", "versions"} <= set(told)


@pytest.mark.parametrize(
    ("logger", "level", "lines"),
    [
        ("django.request", logging.WARNING, 1),
        ("django.security.DisallowedHost", logging.ERROR, 1),
        ("django.request", logging.ERROR, 5),
        ("csplaybooks.api", logging.WARNING, 5),
    ],
)
def test_what_is_refused_is_one_line_of_the_log_and_faults_keep_their_traceback(
    logger: str, level: int, lines: int
) -> None:
    configurator = logging.config.DictConfigurator(LOGGING)
    formatter = configurator.configure_formatter(configurator.config["formatters"]["plain"])
    try:
        raise PermissionError("not yours")
    except PermissionError:
        record = logging.LogRecord(logger, level, __file__, 1, "Forbidden: %s", ("/admin/",), sys.exc_info())

    text = formatter.format(record).splitlines()

    assert len(text) == lines
    assert text[0].endswith(f"{logging.getLevelName(level)} {logger}: Forbidden: /admin/")
    assert record.exc_info is not None
