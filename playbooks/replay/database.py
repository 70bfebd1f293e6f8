"""A database of its own for a replay, in the place of the default one while it lasts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, router
from django.db.utils import ConnectionHandler

from csplaybooks.accounts.models import Account, TeamMember

_SQLITE = "django.db.backends.sqlite3"
_POSTGRESQL = "django.db.backends.postgresql"


class DatabaseRefused(Exception):
    """The database cannot be used for a replay; the message says why."""


@contextmanager
def temporary_database() -> Iterator[None]:
    """An empty, migrated SQLite file as the default database; it is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="csplaybooks-replay-") as folder:
        # It is thrown away after a crash, so nothing has to be safe on disk.
        settings = _sqlite(str(Path(folder) / "replay.sqlite3"), synchronous="OFF")
        with _in_place_of_the_default(settings):
            _migrate()
            yield


@contextmanager
def named_database(name: str) -> Iterator[None]:
    """The database of a `postgres://` or `sqlite:///` URL, or a path, as the default one; migrated, and kept.

    Raises DatabaseRefused when it is the site's own, cannot be reached, or is not empty of accounts.
    """
    settings = settings_of(name)
    if _is_same(settings, connections[DEFAULT_DB_ALIAS].settings_dict):
        raise DatabaseRefused(f"{shown(name)} is the site's own database; a replay has one of its own.")
    with _in_place_of_the_default(settings):
        try:
            _require_empty(shown(name))
            _migrate()
        except DatabaseError as error:
            raise DatabaseRefused(f"{shown(name)} cannot be used: {error}".strip()) from error
        yield


def settings_of(name: str) -> dict[str, Any]:
    """Django's settings for a database that is named by its URL or path. Raises DatabaseRefused."""
    url = urlsplit(name)
    if name.startswith(("postgres://", "postgresql://")):
        try:
            port = url.port
        except ValueError as error:
            raise DatabaseRefused(f"{shown(name)} has no port that is a number.") from error
        return {
            "ENGINE": _POSTGRESQL,
            "NAME": unquote(url.path.lstrip("/")),
            "USER": unquote(url.username or ""),
            "PASSWORD": unquote(url.password or ""),
            "HOST": unquote(url.hostname or ""),
            "PORT": str(port or ""),
            "OPTIONS": dict(parse_qsl(url.query)),
        }
    if name.startswith("sqlite://"):
        # Three slashes and a relative path, or four and an absolute one.
        name = unquote(url.path.removeprefix("/"))
    elif len(url.scheme) > 1 or "://" in name:
        # One letter and a colon is a drive of Windows. ./a:b is a path.
        raise DatabaseRefused(f"{shown(name)}: give a path, or a URL that begins with sqlite:/// or postgres://.")
    path = Path(name)
    if not name or path.is_dir() or not path.parent.is_dir():
        raise DatabaseRefused(f"{name or 'An empty name'} is no place for a SQLite file.")
    return _sqlite(str(path), synchronous="NORMAL")


def shown(name: str) -> str:
    """A database's name as a message may show it: without its password."""
    url = urlsplit(name)
    return name if url.password is None else name.replace(f":{url.password}@", ":***@", 1)


def _sqlite(path: str, *, synchronous: str) -> dict[str, Any]:
    return {
        "ENGINE": _SQLITE,
        "NAME": path,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": f"PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous};",
        },
    }


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one["ENGINE"] != other["ENGINE"]:
        return False
    if one["ENGINE"] == _SQLITE:
        return os.path.realpath(str(one["NAME"])) == os.path.realpath(str(other["NAME"]))
    return all(str(one.get(key) or "") == str(other.get(key) or "") for key in ("NAME", "HOST", "PORT"))


@contextmanager
def _in_place_of_the_default(settings: dict[str, Any]) -> Iterator[None]:
    """Let this thread's default connection lead to another database."""
    if router.db_for_write(Account) != DEFAULT_DB_ALIAS:
        raise DatabaseRefused("A database router sends the accounts elsewhere; a replay needs them in the default one.")
    usual = connections[DEFAULT_DB_ALIAS]
    connection = ConnectionHandler({DEFAULT_DB_ALIAS: settings})[DEFAULT_DB_ALIAS]
    # With DEBUG every query would be explained and kept.
    connection.make_debug_cursor = connection.make_cursor  # type: ignore[assignment, method-assign]  # of this one
    connections[DEFAULT_DB_ALIAS] = connection
    try:
        yield
    finally:
        connections[DEFAULT_DB_ALIAS] = usual
        connection.close()


def _require_empty(name: str) -> None:
    tables = set(connections[DEFAULT_DB_ALIAS].introspection.table_names())
    if not tables:
        return
    if Account._meta.db_table not in tables:
        raise DatabaseRefused(f"{name} holds something else; a replay needs an empty database.")
    if Account.objects.exists() or TeamMember.objects.exists():
        raise DatabaseRefused(f"{name} is not empty: it has accounts or team members already.")


def _migrate() -> None:
    call_command("migrate", database=DEFAULT_DB_ALIAS, interactive=False, verbosity=0)
