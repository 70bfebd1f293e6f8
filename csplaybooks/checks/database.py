"""Checks of the database that our tables are in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Tags, register
from django.db import DEFAULT_DB_ALIAS, connections, router

from csplaybooks.checks.table import message

#: How long a writer should be ready to wait for another, in seconds; SQLite's own default is 5.
LEAST_SQLITE_TIMEOUT = 10
_SQLITE_DEFAULT_TIMEOUT = 5


def our_database() -> str:
    """The name in `DATABASES` of the database that our tables are in: where the site's routers send what we write."""
    try:
        model = apps.get_model("csplaybooks_accounts", "Account")
    except LookupError:
        # Told of as a missing app.
        return DEFAULT_DB_ALIAS
    alias: str = router.db_for_write(model)
    return alias


@register
def check_database(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Look at how the database of our tables is set up; no connection is made."""
    alias = our_database()
    database = connections[alias]
    options: Mapping[str, Any] = database.settings_dict.get("OPTIONS") or {}
    match database.vendor:
        case "postgresql":
            return _check_postgresql(alias, options)
        case "sqlite":
            return [] if _is_in_memory(database) else _check_sqlite(alias, options)
    return [
        message(
            "E007",
            f"The ENGINE of DATABASES[{alias!r}] is {database.settings_dict['ENGINE']}; csplaybooks runs on PostgreSQL "
            "and SQLite.",
            mend="Set it to django.db.backends.postgresql.",
        )
    ]


@register(Tags.database)
def check_journal(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Ask our database for its journal mode, which a SQLite file keeps; only where `databases` names it."""
    alias = our_database()
    if alias not in (databases or ()):
        return []
    database = connections[alias]
    if database.vendor != "sqlite" or _is_in_memory(database):
        return []
    with database.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        (mode,) = cursor.fetchone()
    if mode == "wal":
        return []
    return [
        message(
            "W003",
            f"The SQLite database of DATABASES[{alias!r}] is in journal mode {mode.upper()}: whoever reads waits for "
            "whoever writes, and the other way round.",
            mend='Add "init_command": "PRAGMA journal_mode=WAL" to its OPTIONS.',
        )
    ]


def _check_postgresql(alias: str, options: Mapping[str, Any]) -> list[CheckMessage]:
    if not options.get("pool"):
        return []
    return [
        message(
            "E012",
            f"DATABASES[{alias!r}] uses psycopg's connection pool: the worker processes of a qcluster inherit it, and "
            "most of their tasks never end.",
            mend='Take "pool" out of its OPTIONS and set "CONN_MAX_AGE": 60, at least for qcluster.',
        )
    ]


def _check_sqlite(alias: str, options: Mapping[str, Any]) -> list[CheckMessage]:
    messages = []
    # EXCLUSIVE takes the lock when it begins, too.
    if str(options.get("transaction_mode")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        messages.append(
            message(
                "W001",
                "On SQLite, transactions that read before they write fail with 'database is locked' when another "
                "process writes meanwhile, as web server and qcluster do.",
                mend=f'Set "OPTIONS": {{"transaction_mode": "IMMEDIATE"}} in DATABASES[{alias!r}].',
            )
        )
    timeout = options.get("timeout", _SQLITE_DEFAULT_TIMEOUT)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        messages.append(
            message(
                "E013",
                f"The timeout in OPTIONS of DATABASES[{alias!r}] must be a number of seconds, not "
                f"{type(timeout).__name__} ({timeout!r}): SQLite cannot be opened with it.",
                mend='Write it without quotes: "timeout": 20.',
            )
        )
    elif timeout < LEAST_SQLITE_TIMEOUT:
        messages.append(
            message(
                "W004",
                f"A writer gives up on the SQLite database of DATABASES[{alias!r}] after {timeout} seconds, with "
                "'database is locked'; a long transaction of another takes longer.",
                mend='Add "timeout": 20 to its OPTIONS.',
            )
        )
    return messages


def _is_in_memory(database: Any) -> bool:
    """Whether a SQLite database is seen by this process only: there is nobody to wait for."""
    return bool(database.is_in_memory_db())
