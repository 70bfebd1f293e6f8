"""What the stand-alone site's settings make of the environment of several machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import InterfaceError, OperationalError, connection
from django.test import RequestFactory, override_settings

from csplaybooks import gunicorn_settings
from csplaybooks.site_errors import server_error
from csplaybooks.static_files import HashedWhereCollected

CHECKOUT = Path(__file__).resolve().parents[2]
POSTGRESQL = "postgres://someone:word@db.example:5433/expansion"


def answer(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program with just this environment."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "SECRET_KEY": "for tests only", **environment},
    )


def setting(name: str, **environment: str) -> Any:
    """A setting of the site as a process with just this environment reads it."""
    told = answer(f"import json, csplaybooks.settings as site; print(json.dumps(site.{name}))", **environment)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def test_sessions_ask_for_an_end_of_what_is_dead() -> None:
    options = setting("DATABASES", DATABASE_URL=POSTGRESQL)["default"]["OPTIONS"]

    assert options["tcp_user_timeout"] == 60_000
    assert "-c tcp_keepalives_idle=30s" in options["options"]
    assert "statement_timeout" not in options["options"]


def test_options_in_the_address_win() -> None:
    url = f"{POSTGRESQL}?connect_timeout=3&options=-c%20lock_timeout%3D5s"
    options = setting("DATABASES", DATABASE_URL=url)["default"]["OPTIONS"]

    assert options["connect_timeout"] == 3
    assert options["options"] == "-c lock_timeout=5s"
    assert options["keepalives_idle"] == 30


def test_statements_end_under_a_web_server_only() -> None:
    program = "import csplaybooks.wsgi; from django.conf import settings; print(settings.DATABASES['default'])"

    assert "-c statement_timeout=30s" in answer(program, DATABASE_URL=POSTGRESQL).stdout
    assert "-c statement_timeout=7s" in answer(program, DATABASE_URL=POSTGRESQL, STATEMENT_TIMEOUT="7").stdout
    assert "statement_timeout" not in answer(program, DATABASE_URL=POSTGRESQL, STATEMENT_TIMEOUT="0").stdout


@pytest.mark.postgresql
@pytest.mark.django_db
def test_postgresql_takes_what_sessions_ask_for() -> None:
    values = connection.settings_dict
    options = setting("DATABASES", DATABASE_URL=POSTGRESQL, STATEMENT_TIMEOUT="30")["default"]["OPTIONS"]
    with psycopg.connect(
        host=values["HOST"],
        port=values["PORT"],
        user=values["USER"],
        password=values["PASSWORD"],
        dbname=values["NAME"],
        **options,
    ) as session:
        found = {
            name: (session.execute(f"SHOW {name}").fetchone() or [""])[0]
            for name in (word.partition("=")[0] for word in options["options"].split(" ") if "=" in word)
        }

    assert found == {
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "60000",  # shown by the socket, in milliseconds
        "client_connection_check_interval": "10s",
        "idle_in_transaction_session_timeout": "5min",
        "lock_timeout": "50s",
        "jit": "off",
        "work_mem": "32MB",
        "statement_timeout": "30s",
    }


def test_plugin_settings_come_from_the_environment() -> None:
    found = setting(
        "CSPLAYBOOKS",
        CSPLAYBOOKS_TIME_ZONE="Europe/Berlin",
        CSPLAYBOOKS_PAGE_SIZE="20",
        CSPLAYBOOKS_AUTHENTICATION_CLASSES="one.A,two.B",
        # As Kubernetes sets them for a service of that name.
        CSPLAYBOOKS_SERVICE_HOST="10.0.0.1",
        CSPLAYBOOKS_SERVICE_PORT_HTTP="80",
        CSPLAYBOOKS_PORT="tcp://10.0.0.1:80",
        CSPLAYBOOKS_WEB_PORT_80_TCP_ADDR="10.0.0.1",
        CSPLAYBOOKS_DEMO_LIVE="1",
    )

    assert found == {"TIME_ZONE": "Europe/Berlin", "PAGE_SIZE": 20, "AUTHENTICATION_CLASSES": ["one.A", "two.B"]}


def test_a_plugin_setting_that_is_none_is_left_to_the_checks() -> None:
    assert setting("CSPLAYBOOKS", CSPLAYBOOKS_PAGE_SIZE="many") == {"PAGE_SIZE": "many"}


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("CLUSTER_WORKERS", "0", 1), ("STATEMENT_TIMEOUT", "soon", 0), ("HSTS_SECONDS", "-1", 0)],
)
def test_a_number_that_is_none_is_told_in_a_sentence(name: str, value: str, least: int) -> None:
    told = answer("import csplaybooks.settings", **{"DATABASE_URL": POSTGRESQL, "HTTPS": "true", name: value})

    assert told.stderr.endswith(
        f"ImproperlyConfigured: {name} is '{value}'; it must be a whole number from {least} on.\n"
    )


def test_a_plugin_setting_that_is_misspelt_is_left_to_the_checks() -> None:
    told = answer(
        "import django; django.setup(); from django.core.management import call_command; call_command('check')",
        DJANGO_SETTINGS_MODULE="csplaybooks.settings",
        CSPLAYBOOKS_TIMEZONE="Europe/Berlin",
    )

    assert "(csplaybooks.E001) The setting CSPLAYBOOKS has an unknown key 'TIMEZONE'." in told.stderr
    assert "HINT: Did you mean 'TIME_ZONE'?" in told.stderr


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("HTTPS", "ja", "HTTPS is 'ja'; it must be one of true, yes, on, 1, false, no, off, 0."),
        ("DEBUG", "maybe", "DEBUG is 'maybe'; it must be one of true, yes, on, 1, false, no, off, 0."),
        ("DATABASE_URL", "", "DATABASE_URL is empty; leave it out, or write sqlite:///FILE or postgres://"),
        ("DATABASE_URL", "garbage", "DATABASE_URL is no address; it must be sqlite:///FILE or postgres://"),
        ("DATABASE_URL", "mysql://a:secret@b/c", "DATABASE_URL begins with 'mysql://'; it must be sqlite:///FILE or"),
        ("DATABASE_URL", "postgres://a:secret@b:port/c", "DATABASE_URL cannot be read; it must be sqlite:///FILE or"),
        ("DATABASE_URL", "postgres://a:secret@b", "DATABASE_URL names no database; it must be sqlite:///FILE or"),
        ("DATABASE_URL", "sqlite://site.sqlite3", "DATABASE_URL names no file; write three slashes before it"),
        ("REDIS_URL", "localhost:6379", "REDIS_URL cannot be read; it must be redis://HOST:PORT/NUMBER, rediss://"),
        ("REDIS_URL", "http://a:secret@b", "REDIS_URL cannot be read; it must be redis://HOST:PORT/NUMBER, rediss://"),
        ("REDIS_URL", "redis://a:secret@b:port/1", "REDIS_URL cannot be read; it must be redis://HOST:PORT/NUMBER"),
        ("REDIS_URL", "redis://a:secret@b:99999/1", "REDIS_URL cannot be read; it must be redis://HOST:PORT/NUMBER"),
    ],
)
def test_a_variable_that_cannot_be_used_is_told_in_a_sentence(name: str, value: str, sentence: str) -> None:
    told = answer("import csplaybooks.settings", **{name: value})

    assert told.returncode == 1
    assert told.stderr.splitlines()[-1].startswith(f"django.core.exceptions.ImproperlyConfigured: {sentence}")
    assert "secret" not in told.stderr.splitlines()[-1]


@pytest.mark.parametrize(("value", "on"), [("On", True), ("1", True), ("FALSE", False), ("0", False), ("", False)])
def test_words_for_yes_and_no(value: str, on: bool) -> None:
    assert setting("DEBUG", DEBUG=value) is on


@pytest.mark.parametrize("url", ["rediss://a:b@cache.example:6380/1", "unix:///run/redis.sock", "redis:///2"])
def test_addresses_of_a_redis(url: str) -> None:
    assert setting("REDIS_URL", REDIS_URL=url) == f"{url}?socket_connect_timeout=2&socket_timeout=5"


@pytest.mark.parametrize(
    ("name", "value"),
    [("WEB_PROCESSES", "two"), ("WEB_PROCESSES", "-1"), ("WEB_CONCURRENCY", "0"), ("WEB_THREADS", "x")],
)
def test_a_number_of_the_web_server_that_is_none_is_one_sentence(name: str, value: str) -> None:
    told = answer(
        "from gunicorn.app.wsgiapp import run; run()",
        **{name: value},
        GUNICORN_CMD_ARGS="--check-config --config python:csplaybooks.gunicorn_settings",
    )

    assert told.returncode == 1
    assert told.stderr == f"\nError: {name} is '{value}'; it must be a whole number from 1 on.\n"


@pytest.mark.parametrize(
    ("environment", "processes"),
    [({}, 2), ({"WEB_CONCURRENCY": "3"}, 3), ({"WEB_CONCURRENCY": "3", "WEB_PROCESSES": "5"}, 5)],
)
def test_processes_of_the_web_server(environment: dict[str, str], processes: int) -> None:
    told = answer("from csplaybooks import gunicorn_settings as web; print(web.workers)", **environment)

    assert told.stdout == f"{processes}\n", told.stderr


def test_workers_and_what_they_fetch_grow_together() -> None:
    cluster = setting("Q_CLUSTER", CLUSTER_WORKERS="6")

    assert (cluster["workers"], cluster["queue_limit"]) == (6, 6)


def test_a_name_has_its_hash_once_it_is_collected(tmp_path: Path) -> None:
    backends = {"staticfiles": {"BACKEND": "csplaybooks.static_files.HashedWhereCollected"}}
    with override_settings(STATIC_ROOT=str(tmp_path), STORAGES=backends):
        before = HashedWhereCollected().url("csplaybooks/admin.css")
        call_command("collectstatic", interactive=False, verbosity=0)
        after = HashedWhereCollected().url("csplaybooks/admin.css")

    assert before == "/static/csplaybooks/admin.css"
    assert after.startswith("/static/csplaybooks/admin.")
    assert len(after) == len(before) + 13
    assert (tmp_path / after.removeprefix("/static/")).is_file()


@pytest.mark.parametrize(
    ("error", "status"), [(OperationalError("gone"), 503), (InterfaceError("closed"), 503), (ValueError("ours"), 500)]
)
def test_a_page_without_a_database_is_503(error: Exception, status: int) -> None:
    try:
        raise error
    except Exception:  # noqa: BLE001 - as Django calls it
        response = server_error(RequestFactory().get("/admin/"))

    assert response.status_code == status
    assert response.headers.get("Retry-After") == ("5" if status == 503 else None)


def test_the_web_server_listens_here_only_and_ends_after_its_statements() -> None:
    assert gunicorn_settings.bind == "127.0.0.1:8000"
    assert gunicorn_settings.graceful_timeout > 30
    unit = (CHECKOUT / "deploy" / "systemd" / "csplaybooks-web.service").read_text()
    (grace,) = [int(line.partition("=")[2]) for line in unit.splitlines() if line.startswith("TimeoutStopSec=")]
    assert grace > gunicorn_settings.graceful_timeout


def mailer(**environment: str) -> tuple[str, dict[str, Any]]:
    """The mail backend of the site and its options, as either Django names them."""
    program = """
import json, django, csplaybooks.settings as site
if django.VERSION >= (6, 1):
    mailer = site.MAILERS["default"]
    told = mailer["BACKEND"], mailer["OPTIONS"]
else:
    names = {old: new for new, old in site._MAIL_SETTINGS.items()}
    told = site.EMAIL_BACKEND, {names[name]: getattr(site, name) for name in names if hasattr(site, name)}
print(json.dumps(told))
"""
    told = answer(program, **environment)
    assert told.returncode == 0, told.stderr
    backend, options = json.loads(told.stdout)
    return backend.split(".")[-2], options


@pytest.mark.parametrize(
    ("url", "backend", "options"),
    [
        ("consolemail://", "console", {}),
        ("filemail:///var/a%20b", "filebased", {"file_path": "/var/a b"}),
        (
            "smtp://mail.example",
            "smtp",
            {"host": "mail.example", "port": 25, "username": "", "password": "", "use_tls": False, "use_ssl": False},
        ),
        (
            "smtp+tls://me%40x:w%2Frd@mail.example",
            "smtp",
            {
                "host": "mail.example",
                "port": 587,
                "username": "me@x",
                "password": "w/rd",
                "use_tls": True,
                "use_ssl": False,
            },
        ),
        (
            "smtp+ssl://mail.example:4465",
            "smtp",
            {"host": "mail.example", "port": 4465, "username": "", "password": "", "use_tls": False, "use_ssl": True},
        ),
    ],
)
def test_mail_leaves_as_the_address_says(url: str, backend: str, options: dict[str, Any]) -> None:
    found = mailer(EMAIL_URL=url)

    assert found == (backend, options | ({"timeout": 10} if backend == "smtp" else {}))


@pytest.mark.parametrize(
    "url",
    ["mail.example", "smtp://", "smtp://mail.example:word", "filemail://", "filemail://here", "http://secret@x", "x"],
)
def test_an_address_of_mail_that_cannot_be_read_is_one_sentence_without_its_text(url: str) -> None:
    told = answer("import csplaybooks.settings", EMAIL_URL=url)

    assert told.returncode == 1
    assert "ImproperlyConfigured: EMAIL_URL cannot be read; it must be smtp://USER:PASSWORD@HOST:PORT" in told.stderr
    assert "secret" not in told.stderr


def test_notices_go_by_mail_where_mail_leaves() -> None:
    assert setting("CSPLAYBOOKS") == {}
    assert setting("CSPLAYBOOKS", EMAIL_URL="consolemail://") == {"NOTICES_BY_MAIL": True}
    off = setting("CSPLAYBOOKS", EMAIL_URL="consolemail://", CSPLAYBOOKS_NOTICES_BY_MAIL="false")
    assert off == {"NOTICES_BY_MAIL": False}
