"""Look at the whole installation, and say what is wrong and what to do."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils import timezone

from csplaybooks.playbooks.doctor import Level, Report, examine
from csplaybooks.playbooks.management.pipes import let_go


class Command(BaseCommand):
    """See the module; the wall clock is read here alone."""

    help = (
        "Look at database, migrations, settings, schedules, clusters, broker and everything that waits; one line for "
        "each finding. Exits with 1 when anything is red."
    )
    # They are one of the findings; an error among them must not keep the others from being told.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How to tell it, and what counts as failed."""
        parser.add_argument("--json", action="store_true", help="Print one object of JSON.")
        parser.add_argument("--strict", action="store_true", help="Exit with 1 for warnings too.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Examine, tell, and answer by the exit status."""
        database = connections[DEFAULT_DB_ALIAS]
        if database.vendor == "postgresql":
            # This process asks once and ends: it need not wait for minutes for a machine that is not there.
            database.settings_dict.setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
        report = examine(now=timezone.now())
        try:
            if options["json"]:
                self.stdout.write(json.dumps(report.as_json()))
            else:
                self._tell(report)
            self.stdout.flush()
        except BrokenPipeError:
            # The exit status still tells.
            let_go(self.stdout)
        if report.level == Level.RED or (options["strict"] and report.level == Level.WARN):
            sys.exit(1)

    def _tell(self, report: Report) -> None:
        styles = {Level.OK: self.style.SUCCESS, Level.WARN: self.style.WARNING, Level.RED: self.style.ERROR}
        for finding in report.findings:
            # Padded before it is coloured: the codes of colours have a width of their own.
            self.stdout.write(f"{styles[finding.level](f'{finding.level:<4}')} {finding.name}: {finding.seen}")
            if finding.mend:
                self.stdout.write(f"     -> {finding.mend}")
        words = {Level.OK: "All is well.", Level.WARN: "Nothing is red.", Level.RED: "Something is red."}
        self.stdout.write(styles[report.level](words[report.level]))
