"""The doctor's questions about the database, its tables and the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from django.core.checks import ERROR, WARNING, CheckMessage, run_checks
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from csplaybooks.playbooks.doctor.findings import MIGRATE, Finding, Level, Look

#: The apps whose tables the pipeline cannot do without; what their migrations depend on comes with them.
APPS = ("csplaybooks_accounts", "csplaybooks_signals", "csplaybooks_playbooks", "django_q")

Migration = tuple[str, str]


def reachable(look: Look) -> Iterator[Finding]:
    """Whether the database answers."""
    connection = connections[DEFAULT_DB_ALIAS]
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        yield unreachable(error)
        return
    yield Finding("database", Level.OK, f"{connection.display_name} answers")


def unreachable(error: Error) -> Finding:
    """The finding of a database that does not answer."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return Finding(
        "database",
        Level.RED,
        f"The database does not answer: {said}",
        "Start it, or mend DATABASES['default'] (stand-alone: DATABASE_URL); nothing else can be told meanwhile.",
    )


@dataclass(frozen=True)
class _OnDisk:
    """The migrations that the code of this process brings."""

    #: What the tables of `APPS` need, and what else there is, each with what it replaces.
    needed: Mapping[Migration, frozenset[Migration]]
    others: Mapping[Migration, frozenset[Migration]]
    #: Every name that the code knows, squashed or not.
    known: frozenset[Migration]


@cache
def _on_disk() -> _OnDisk:
    # Read once: the code of a running process does not change, whatever becomes of its files.
    loader = MigrationLoader(None, ignore_no_migrations=True)
    graph = loader.graph
    needed = {step for app in APPS for leaf in graph.leaf_nodes(app) for step in graph.forwards_plan(leaf)}
    replaces = {step: frozenset(migration.replaces) for step, migration in graph.nodes.items() if migration}
    known = frozenset(loader.disk_migrations).union(*replaces.values())
    return _OnDisk(
        needed={step: replaced for step, replaced in replaces.items() if step in needed},
        others={step: replaced for step, replaced in replaces.items() if step not in needed},
        known=known,
    )


def migrations(look: Look) -> Iterator[Finding]:
    """Whether the tables are those of the code; two queries."""
    applied = set(MigrationRecorder(connections[DEFAULT_DB_ALIAS]).applied_migrations())
    disk = _on_disk()
    missing = _missing(disk.needed, applied)
    if missing:
        yield Finding("migrations", Level.RED, f"Not applied: {_names(missing)}", MIGRATE)
    unknown = {step for step in applied - disk.known if step[0] in APPS}
    if unknown:
        yield Finding(
            "migrations",
            Level.WARN,
            f"Applied, but not known to this code: {_names(unknown)}",
            "This process runs older code than the database is for: deploy the code that belongs to it.",
        )
    # The site's own apps are the site's own matter.
    if others := _missing(disk.others, applied):
        yield Finding("migrations", Level.WARN, f"Not applied, of other apps: {_names(others)}", MIGRATE)
    if not missing and not unknown and not others:
        yield Finding("migrations", Level.OK, "all are applied")


def _missing(steps: Mapping[Migration, frozenset[Migration]], applied: set[Migration]) -> set[Migration]:
    return {
        step
        for step, replaced in steps.items()
        # A squashed one is applied where all that it replaces are.
        if step not in applied and not (replaced and replaced <= applied)
    }


def _names(steps: set[Migration]) -> str:
    names = [".".join(step) for step in sorted(steps)]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def system_checks(look: Look) -> Iterator[Finding]:
    """What Django's system checks say, those of the plugin among them."""
    messages = [message for message in run_checks() if not message.is_silenced()]
    errors = [message for message in messages if message.level >= ERROR]
    warnings = [message for message in messages if WARNING <= message.level < ERROR]
    for level, found in ((Level.RED, errors), (Level.WARN, warnings)):
        if found:
            noun = "error" if level == Level.RED else "warning"
            seen = f"{len(found)} {noun}{'' if len(found) == 1 else 's'}: {'; '.join(map(_short, found[:3]))}"
            yield Finding("system_checks", level, seen, "`manage.py check` tells each in full, with its mend.")
    if not errors and not warnings:
        yield Finding("system_checks", Level.OK, "nothing to say")


def _short(message: CheckMessage) -> str:
    return f"{message.id}: {str(message.msg).splitlines()[0][:160]}"
