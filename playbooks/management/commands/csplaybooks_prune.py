"""Roll up by day and delete what lies before the retention, in batches: as often as you like, and end it at will."""

from __future__ import annotations

import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from csplaybooks.conf import company_time_zone, csplaybooks_settings
from csplaybooks.playbooks.acts.pruning import (
    prune_before,
    prune_next_batches,
    prune_next_events,
    prune_next_runs,
    prune_next_scores,
    prune_next_tasks,
    scores_before,
    spent_runs,
    spent_tasks,
)
from csplaybooks.playbooks.reach import needed_in_words, too_far
from csplaybooks.signals.acts.pruning import prune_refused_items, waiting
from csplaybooks.signals.horizon import midnight
from csplaybooks.signals.models import ScoreSnapshot

#: What a shell answers for a program that ctrl-C has ended.
INTERRUPTED = 130


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no day such as 2024-12-31") from None


def _at_least_one(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


class Command(BaseCommand):
    """See the module; the wall clock is read here alone."""

    help = (
        "Roll signals, readings and intake batches up by day and delete them where they lie further back than "
        "CSPLAYBOOKS['RETENTION_DAYS'], and delete runs, readiness scores of days, refused items and records of tasks "
        "that have had their time. It works in short transactions, beside everything else; the sweep does the same, a "
        "little each minute."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What is only looked at, and how much is done at most."""
        parser.add_argument("--dry-run", action="store_true", help="Say how much would go, and delete nothing.")
        parser.add_argument(
            "--until", type=_day, metavar="DAY", help="Leave this day and all after it, as in 2024-12-31."
        )
        parser.add_argument(
            "--days", type=_at_least_one, metavar="NUMBER", help="Stop after so many days with signals or readings."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Say how far back it goes, and go there."""
        try:
            self._go(options)
        except DatabaseError as error:
            said = " ".join(str(error).split())
            raise CommandError(
                f"The database refused: {said}. Where a table is missing: run manage.py migrate."
            ) from error

    def _go(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        before = prune_before(now)
        until = before if options["until"] is None else midnight(options["until"])
        for_ever = not csplaybooks_settings.RETENTION_DAYS
        if before is None and until is not None:
            self._say_what_is_kept_longer()
            why = "RETENTION_DAYS is 0, and all is kept for ever" if for_ever else "nothing may go, as told above"
            raise CommandError(f"--until {options['until']}: {why}.")
        if before is None and for_ever:
            self.stdout.write("RETENTION_DAYS is 0: signals, readings, intake batches and runs are kept for ever.")
        elif before is None:
            self.stdout.write("Signals, readings, intake batches and runs all stay for now.")
        elif until is None or until > before:
            raise CommandError(
                f"--until {options['until']}: signals and readings are kept from {_shown(before)} on, so the last day "
                f"that can be given is that one."
            )
        else:
            self.stdout.write(f"Signals and readings from before {_shown(until)} go.")
        self._say_what_is_kept_longer()
        if options["dry_run"]:
            self._count(now, until)
            return
        try:
            self._prune(now, until, options["days"])
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped by ctrl-C: what is done is done, and the rest waits for the next time.", returncode=INTERRUPTED
            ) from None

    def _say_what_is_kept_longer(self) -> None:
        for fault in too_far():
            self.stderr.write(f"{fault.version}: {fault.path} {fault.message}. Until then {needed_in_words()}.")

    def _count(self, now: datetime, until: datetime | None) -> None:
        found = waiting(now=now, before=until)
        lines = {
            "signals": found.signals,
            "readings": found.readings,
            "of them not told to a run yet, which stay": found.untold,
            "intake batches that hold nothing": found.batches,
            "runs without a match": spent_runs(until).count() if until else 0,
            "readiness scores": _scores(now, until),
            "refused items": found.refused_items,
            "records of tasks": spent_tasks(now).count(),
        }
        for name, count in lines.items():
            self.stdout.write(f"{count:>12,} {name}")
        self.stdout.write("Nothing was deleted.")

    def _prune(self, now: datetime, until: datetime | None, most_days: int | None) -> None:
        started = time.monotonic()
        rows = self._prune_events(now, until, most_days) if until else 0
        steps: dict[str, Callable[[], int]] = {
            "intake batches": lambda: prune_next_batches(now=now, until=until),
            "runs": lambda: prune_next_runs(now=now, until=until),
            "readiness scores": lambda: prune_next_scores(now=now, until=until),
            "refused items": lambda: prune_refused_items(now=now),
            "records of tasks": lambda: prune_next_tasks(now=now),
        }
        for name, step in steps.items():
            count = 0
            while pruned := step():
                count += pruned
            rows += count
            self.stdout.write(f"{name}: {count:,}")
        self.stdout.write(f"{rows:,} rows in {time.monotonic() - started:.1f} seconds")

    def _prune_events(self, now: datetime, until: datetime, most_days: int | None) -> int:
        """Prune signals and readings, with a line for each day; answers how many rows went."""
        rows = days = signals = readings = 0
        day: date | None = None
        began = time.monotonic()

        def tell() -> None:
            if day is not None:
                seconds = max(time.monotonic() - began, 0.001)
                self.stdout.write(
                    f"{day}: {signals:,} signals, {readings:,} readings, {(signals + readings) / seconds:,.0f} rows/s"
                )

        while (pruned := prune_next_events(now=now, until=until)) is not None:
            if pruned.day != day:
                tell()
                day, signals, readings, began = pruned.day, 0, 0, began if day is None else time.monotonic()
                days += 1
                if days == most_days:
                    until = min(until, midnight(day + timedelta(days=1)))
            signals += pruned.signals
            readings += pruned.readings
            rows += pruned.signals + pruned.readings
        tell()
        return rows


def _scores(now: datetime, until: datetime | None) -> int:
    before = scores_before(now, until)
    return 0 if before is None else int(ScoreSnapshot.objects.filter(day__lt=before).count())


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(company_time_zone()):%Y-%m-%d}"
