"""The doctor's questions about the schedules that poke the pipeline."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from csplaybooks.playbooks.acts.setup import SCHEDULES
from csplaybooks.playbooks.doctor.findings import RESTART, SET_CLOCKS, SET_UP, Finding, Level, Look, in_words
from csplaybooks.playbooks.doctor.limits import heartbeat_limit
from csplaybooks.playbooks.heartbeats import CLOCKS_APART


def ours(look: Look) -> Iterator[Finding]:
    """Whether the schedules of `csplaybooks_setup` are there as it makes them, and fire; one query."""
    from django_q.models import Schedule

    rows: dict[str, list[Any]] = {}
    for row in Schedule.objects.filter(name__in=[name for name, _, _ in SCHEDULES]):
        rows.setdefault(row.name, []).append(row)
    clean = True
    for name, function, minutes in SCHEDULES:
        for finding in _of(look, name, rows.get(name, []), (function, Schedule.MINUTES, minutes)):
            clean = False
            yield finding
    if clean:
        yield Finding("schedules", Level.OK, f"all {len(SCHEDULES)} are there and fire")


def _of(look: Look, name: str, rows: list[Any], wanted: tuple[Any, ...]) -> Iterator[Finding]:
    if not rows:
        yield Finding("schedules", Level.RED, f"There is no schedule {name}.", SET_UP)
        return
    if len(rows) > 1:
        ids = ", ".join(str(row.pk) for row in rows)
        mend = "Delete all but one of them in the admin, under scheduled tasks."
        yield Finding("schedules", Level.WARN, f"There are {len(rows)} schedules {name} (ids {ids}).", mend)
    row = rows[0]
    if (row.func, row.schedule_type, row.minutes) != wanted or row.args or row.kwargs:
        yield Finding("schedules", Level.WARN, f"The schedule {name} is not as it was made.", SET_UP)
    if row.repeats == 0 or row.next_run is None:
        seen = f"The schedule {name} has ended: it does not fire any more."
        yield Finding("schedules", Level.RED, seen, SET_UP if row.repeats == 0 else "Delete it, then: " + SET_UP)
    elif look.age(row.next_run) > heartbeat_limit():
        yield Finding(
            "schedules",
            Level.RED,
            f"The schedule {name} should have fired {in_words(look.age(row.next_run))} ago: no cluster runs, or its "
            "sentinel, which fires schedules, is dead, or an unreadable schedule stops them all.",
            RESTART,
        )
    elif (ahead := row.next_run - look.now) > timedelta(minutes=wanted[-1]) + CLOCKS_APART:
        # A machine whose clock ran ahead has fired it.
        seen = f"The schedule {name} fires every {wanted[-1]} minutes, but next in {in_words(ahead)}, not before."
        yield Finding("schedules", Level.RED, seen, f"{SET_CLOCKS} Then set its next run to now in the admin.")


def readable(look: Look) -> Iterator[Finding]:
    """Whether every schedule can be read, those of the site among them: one that cannot stops all of them."""
    from django_q.models import Schedule

    clean = True
    for row in Schedule.objects.exclude(repeats=0).iterator():
        if complaint := _complaint(row):
            clean = False
            yield Finding(
                "readable_schedules",
                Level.RED,
                f"The schedule {row.name or row.func!r} (id {row.pk}) cannot be read: {complaint}. When it is due, no "
                "schedule fires any more.",
                "Mend or delete it in the admin, under scheduled tasks.",
            )
    if clean:
        yield Finding("readable_schedules", Level.OK, "all schedules can be read")


def _complaint(row: Any) -> str:
    """What makes a row that django-q2's scheduler cannot get past; empty where nothing does."""
    if row.args:
        try:
            ast.literal_eval(row.args)
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            return f"its arguments are no Python literal: {row.args[:100]!r}"
    if row.kwargs:
        try:
            if not isinstance(ast.literal_eval(row.kwargs), dict):
                return f"its keyword arguments are no dict: {row.kwargs[:100]!r}"
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            pass  # Read as `name=value, ...` then, and as none where that fails.
    if row.next_run is not None and row.schedule_type != row.ONCE:
        try:
            row.calculate_next_run(row.next_run)
        except Exception as error:  # noqa: BLE001 - whatever it is, the scheduler would meet it too
            return f"its next time cannot be computed ({type(error).__name__}: {error})"
    return ""
