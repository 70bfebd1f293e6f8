"""Ask everything that must hold over the whole database, and name the rows that break it."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from csplaybooks.playbooks.invariants import INVARIANTS, Invariant, Violation
from csplaybooks.playbooks.invariants.schema import inspect_table, tables
from csplaybooks.playbooks.management.pipes import CUT_SHORT, let_go

#: Rows that are looked at one by one are taken in chunks of so many.
CHUNK = 2000


class Command(BaseCommand):
    """See the module."""

    help = (
        "Ask all invariants over the whole database, then every constraint and reference of every table. Reads only. "
        "Exits with 1 when a row breaks any, and names it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How many rows are named, and how it is told."""
        parser.add_argument("--limit", type=int, default=10, help="The most rows named of each (default: %(default)s).")
        parser.add_argument("--json", action="store_true", help="Print one object of JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask one after the other, telling each as it is answered."""
        if options["limit"] < 1:
            raise CommandError("--limit must be at least 1.")
        try:
            broken = self._ask_all(options["limit"], as_json=options["json"])
            self.stdout.flush()
        except DatabaseError as error:
            message = f"The database refused: {error}. Where a table is missing: run manage.py migrate."
            raise CommandError(message) from error
        except BrokenPipeError:
            # Nobody waits for the rest, and whether all holds is not known.
            let_go(self.stdout)
            sys.exit(CUT_SHORT)
        if broken:
            sys.exit(1)

    def _ask_all(self, limit: int, *, as_json: bool) -> list[Violation]:
        """Ask and tell; answers what does not hold."""
        told = 0
        broken: list[Violation] = []
        for name, ask in _questions(limit):
            started = time.monotonic()
            found = list(ask())
            told += len(found)
            wrong = [violation for violation in found if violation.count]
            broken += wrong
            if not as_json:
                self._tell(name, wrong, time.monotonic() - started)
        if as_json:
            answer = {
                "status": "broken" if broken else "ok",
                "asked": told,
                "broken": [asdict(violation) for violation in broken],
            }
            self.stdout.write(json.dumps(answer))
        elif broken:
            self.stdout.write(self.style.ERROR(f"{len(broken)} of {told} do not hold."))
        else:
            self.stdout.write(self.style.SUCCESS(f"All {told} hold."))
        return broken

    def _tell(self, name: str, wrong: list[Violation], seconds: float) -> None:
        if not wrong:
            self.stdout.write(f"{self.style.SUCCESS('ok    ')} {name} ({seconds:.1f} s)")
        for violation in wrong:
            rows = f"{violation.count} row{'' if violation.count == 1 else 's'} of {violation.table}"
            self.stdout.write(
                f"{self.style.ERROR('broken')} {violation.invariant}: {rows} ({seconds:.1f} s). {violation.says}"
            )
            names = _names(violation)
            for pk in violation.examples:
                self.stdout.write(f"         id {pk}: {names.get(pk, 'gone since')}")
            if violation.count > len(violation.examples):
                self.stdout.write(f"         and {violation.count - len(violation.examples)} more (--limit)")
        self.stdout.flush()


def _questions(limit: int) -> Iterator[tuple[str, Callable[[], Iterable[Violation]]]]:
    """What is asked, a line of output each: the invariants, then each table for what it promises itself."""
    for invariant in INVARIANTS:
        yield invariant.name, partial(_inspect, invariant, limit)
    for model in tables():
        yield f"constraints and references of {model._meta.label}", partial(inspect_table, model, limit=limit)


def _inspect(invariant: Invariant, limit: int) -> list[Violation]:
    return [invariant.violation(limit=limit, chunk=CHUNK)]


def _names(violation: Violation) -> dict[int, str]:
    """What the rows are called, by id. A row in trouble may have lost what its name is made of."""
    rows = apps.get_model(violation.table)._base_manager.filter(pk__in=violation.examples)
    names = {}
    for row in rows:
        try:
            names[row.pk] = str(row)
        except Exception as error:  # noqa: BLE001 - its id tells enough
            names[row.pk] = f"(has no name: {type(error).__name__})"
    return names
