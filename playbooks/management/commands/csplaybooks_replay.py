"""Replay an activity record through the whole system, in a database of its own, on a virtual clock."""

from __future__ import annotations

import json
import logging
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from csplaybooks.playbooks.replay import Progress, RecordError, Rules, open_record, replay
from csplaybooks.playbooks.replay.database import DatabaseRefused, named_database, temporary_database
from csplaybooks.playbooks.replay.rules import LicenceRule

#: What a shell answers for a program that ctrl-C has ended.
INTERRUPTED = 130


class Command(BaseCommand):
    """See the module; the wall clock is read here alone: what lies in the future, and how long it took."""

    help = (
        "Replay an activity record (CSV with occurred_at, account, user, product, area and size or files_changed; "
        "plain or gzip) in a database of its own, and report what came of it."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The file, where to, and the licence rule."""
        rule = LicenceRule()
        parser.add_argument("file", type=Path)
        parser.add_argument("--json", action="store_true", help="End with the figures as one line of JSON.")
        parser.add_argument(
            "--database",
            metavar="URL-or-path",
            help="An empty database that is kept: a path of SQLite, sqlite:///... or postgres://... "
            "(default: a temporary file, removed at the end).",
        )
        parser.add_argument(
            "--licence-minimum", type=int, default=rule.minimum, help="Least seats (default: %(default)s)."
        )
        parser.add_argument(
            "--licence-headroom",
            type=int,
            default=rule.headroom_percent,
            metavar="PERCENT",
            help="Seats above the active users when a licence is bought (default: %(default)s).",
        )
        parser.add_argument(
            "--licence-step", type=int, default=rule.step, help="Seats come in such blocks (default: %(default)s)."
        )
        parser.add_argument(
            "--licence-after",
            type=int,
            default=rule.after_days,
            metavar="DAYS",
            help="When the first licence is bought (default: %(default)s).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Look the file over, replay it, report."""
        started = time.monotonic()
        try:
            rules = Rules(
                licence=LicenceRule(
                    minimum=options["licence_minimum"],
                    headroom_percent=options["licence_headroom"],
                    step=options["licence_step"],
                    after_days=options["licence_after"],
                )
            )
        except ValueError as error:
            raise CommandError(str(error)) from error
        place = temporary_database() if options["database"] is None else named_database(options["database"])
        try:
            record = open_record(options["file"], present=timezone.now())
            with _quiet_logs(), place:
                report = replay(record, rules=rules, progress=self._teller(started))
        except (RecordError, DatabaseRefused) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self._end_line()
            left = "nothing is kept" if options["database"] is None else "the database holds what was done until then"
            raise CommandError(f"Stopped by ctrl-C: {left}.", returncode=INTERRUPTED) from None
        self._end_line()
        measured = {"seconds": round(time.monotonic() - started, 1), "peak_mb": peak_mb()}
        self.stdout.write(report.as_text())
        self.stdout.write(f"{measured['seconds']} seconds, at most {measured['peak_mb']} MB")
        if options["json"]:
            self.stdout.write(json.dumps({**report.as_document(), **measured}))
        if report.broken:
            raise CommandError(f"Broken: {', '.join(report.broken)}.")

    def _teller(self, started: float) -> Callable[[Progress], None]:
        """Tell progress about once a second: on one line of a terminal, on lines of their own elsewhere."""
        told = started
        end = "\r" if self.stderr.isatty() else "\n"

        def tell(progress: Progress) -> None:
            nonlocal told
            if time.monotonic() - told < 1:
                return
            told = time.monotonic()
            share = 100 * progress.rows // progress.of
            self.stderr.write(
                f"{progress.day}  {progress.rows:,} of {progress.of:,} rows  {share} %  {progress.plays:,} plays ",
                style_func=str,
                ending=end,
            )
            self.stderr.flush()

        return tell

    def _end_line(self) -> None:
        if self.stderr.isatty():
            self.stderr.write("")


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Every run writes a line to the log; a replay has thousands of them."""
    logger = logging.getLogger("csplaybooks")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def peak_mb() -> float | None:
    """The most memory that this process has had, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, the others kilobytes.
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)
