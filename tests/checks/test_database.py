"""Bad settings of the database give one clear message each."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.db.utils import ConnectionHandler

from csplaybooks.checks import check_database, check_journal, database

SQLITE = "django.db.backends.sqlite3"
POSTGRESQL = "django.db.backends.postgresql"
GOOD = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL"}


@pytest.fixture
def lent(monkeypatch, tmp_path, django_db_blocker):
    """Puts a database with the engine and options given in the place of the default one."""
    handlers = []

    def lend(engine: str, options: dict[str, Any], name: str = str(tmp_path / "lent.sqlite3")) -> ConnectionHandler:
        handler = ConnectionHandler({"default": {"ENGINE": engine, "NAME": name, "OPTIONS": options}})
        monkeypatch.setattr(database, "connections", handler)
        handlers.append(handler)
        return handler

    # It is none of the tests' own.
    with django_db_blocker.unblock():
        yield lend
        for handler in handlers:
            handler.close_all()


def test_the_sites_own_database_gives_none():
    assert check_database() == []


@pytest.mark.parametrize(
    ("engine", "options", "name"),
    [
        (SQLITE, GOOD, "here.sqlite3"),
        (SQLITE, {**GOOD, "transaction_mode": "immediate"}, "here.sqlite3"),
        (SQLITE, {**GOOD, "transaction_mode": "EXCLUSIVE"}, "here.sqlite3"),
        (SQLITE, {**GOOD, "timeout": 10}, "here.sqlite3"),
        # Nobody else sees it.
        (SQLITE, {}, ":memory:"),
        (POSTGRESQL, {}, "here"),
        (POSTGRESQL, {"pool": False}, "here"),
    ],
)
def test_good_databases_give_none(lent, engine, options, name):
    lent(engine, options, name)
    assert check_database() == []


@pytest.mark.parametrize(
    ("engine", "options", "number", "named", "mend"),
    [
        (SQLITE, {"timeout": 20}, "W001", "database is locked", '"transaction_mode": "IMMEDIATE"'),
        (SQLITE, {**GOOD, "transaction_mode": None}, "W001", "database is locked", "IMMEDIATE"),
        (SQLITE, {**GOOD, "transaction_mode": "DEFERRED"}, "W001", "database is locked", "IMMEDIATE"),
        (SQLITE, {"transaction_mode": "IMMEDIATE"}, "W004", "after 5 seconds", '"timeout": 20'),
        (SQLITE, {**GOOD, "timeout": 0.1}, "W004", "after 0.1 seconds", '"timeout": 20'),
        (SQLITE, {**GOOD, "timeout": "20"}, "E013", "not str ('20')", 'without quotes: "timeout": 20'),
        (SQLITE, {**GOOD, "timeout": None}, "E013", "not NoneType", '"timeout": 20'),
        (POSTGRESQL, {"pool": True}, "E012", "connection pool", 'Take "pool" out'),
        (POSTGRESQL, {"pool": {"min_size": 2}}, "E012", "connection pool", 'Take "pool" out'),
        ("django.db.backends.dummy", {}, "E007", "ENGINE of DATABASES['default']", POSTGRESQL),
    ],
)
def test_each_bad_setting_gives_one_message(lent, engine, options, number, named, mend):
    lent(engine, options)
    (message,) = check_database()
    assert message.id == f"csplaybooks.{number}"
    assert named in message.msg
    assert "DATABASES['default']" in message.msg + (message.hint or "")
    assert mend in (message.hint or "")


class Elsewhere:
    """The router of a host that keeps our tables in a database of their own."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "ours" if model._meta.app_label.startswith("csplaybooks_") else None


def test_the_database_that_is_asked_is_the_one_of_our_tables(settings, monkeypatch, tmp_path, django_db_blocker):
    settings.DATABASE_ROUTERS = ["tests.checks.test_database.Elsewhere"]
    handler = ConnectionHandler(
        {
            "default": {"ENGINE": "django.db.backends.dummy"},
            "ours": {"ENGINE": SQLITE, "NAME": str(tmp_path / "ours.sqlite3"), "OPTIONS": {"timeout": 20}},
        }
    )
    monkeypatch.setattr(database, "connections", handler)
    with django_db_blocker.unblock():
        (message,) = check_database()
        assert (message.id, "DATABASES['ours']" in (message.hint or "")) == ("csplaybooks.W001", True)
        assert check_journal(databases=["default"]) == []
        (message,) = check_journal(databases=["default", "ours"])
        assert (message.id, "DATABASES['ours']" in message.msg) == ("csplaybooks.W003", True)
        handler.close_all()


def test_a_site_without_our_apps_is_asked_about_its_default_database(monkeypatch):
    def missing(*names: str) -> None:
        raise LookupError

    monkeypatch.setattr("csplaybooks.checks.database.apps.get_model", missing)
    assert database.our_database() == "default"


def test_the_journal_is_asked_for_only_where_a_connection_is_allowed(lent):
    handler = lent(SQLITE, {})
    assert check_journal() == check_journal(databases=[]) == check_journal(databases=["other"]) == []
    assert handler["default"].connection is None

    (message,) = check_journal(databases=["default"])

    assert message.id == "csplaybooks.W003"
    assert "journal mode DELETE" in message.msg
    assert "PRAGMA journal_mode=WAL" in (message.hint or "")


def test_a_file_that_was_put_into_wal_stays_in_it(lent):
    lent(SQLITE, GOOD)
    assert check_journal(databases=["default"]) == []
    # Whoever opens it later need not say so.
    lent(SQLITE, {})
    assert check_journal(databases=["default"]) == []


def test_other_journals_are_none_of_ours(lent):
    lent(SQLITE, {}, ":memory:")
    assert check_journal(databases=["default"]) == []
    lent(POSTGRESQL, {})
    assert check_journal(databases=["default"]) == []


@pytest.mark.django_db
def test_the_sites_own_database_passes_where_a_connection_is_allowed():
    found = run_checks(databases=["default"])
    assert [message.id for message in found if (message.id or "").startswith("csplaybooks.")] == []
