"""Ask a playbook about today's accounts before it is published, and about a past period; nothing is written."""

from __future__ import annotations

import re
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from csplaybooks.accounts.models import Account
from csplaybooks.accounts.money import in_major_units
from csplaybooks.conf import company_time_zone, csplaybooks_settings
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.management.pipes import CUT_SHORT, let_go
from csplaybooks.playbooks.models import Playbook
from csplaybooks.playbooks.reach import Forgotten
from csplaybooks.playbooks.what_if import (
    Candidate,
    Past,
    PeriodError,
    Preview,
    draft_triggers,
    grid_between,
    joining_of,
    numbers_of,
    past_episodes,
    preview,
)
from csplaybooks.playbooks.what_if.owners import chunks
from csplaybooks.playbooks.what_if.past import AsKnown
from csplaybooks.signals.horizon import midnight

#: What a shell answers for a program that ctrl-C has ended.
INTERRUPTED = 130

_SPAN = re.compile(r"([1-9][0-9]{0,5})([dhm])")
#: Minutes in each unit of a step.
_SIZES = {"d": 24 * 60, "h": 60, "m": 1}

#: Nobody's records go back further.
_FIRST_DAY = date(2000, 1, 1)


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no day such as 2024-12-31") from None
    if day < _FIRST_DAY:
        raise ArgumentTypeError(f"{text!r} lies before {_FIRST_DAY}")
    return day


def _span(text: str) -> timedelta:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no step such as 1d, 6h or 30m")
    return timedelta(minutes=int(found[1]) * _SIZES[found[2]])


class Command(BaseCommand):
    """See the module; the wall clock is read here alone."""

    help = (
        "Show what publishing a playbook would come to today: matches, held, free, whom the plays would go to, and "
        "what changes against what runs. With --from and --to also the episodes it would have had. Reads only."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The document, the period, and how much is told."""
        parser.add_argument("file", nargs="?", type=Path, help="A playbook document in YAML.")
        parser.add_argument("--playbook", metavar="KEY", help="In place of a file: what runs of this playbook.")
        parser.add_argument("--draft", action="store_true", help="With --playbook: its draft, not what runs.")
        parser.add_argument(
            "--from", dest="start", type=_day, metavar="DAY", help="The first day of a past period, as in 2024-12-31."
        )
        parser.add_argument(
            "--to", dest="end", type=_day, metavar="DAY", help="Its last day, included (default: until now)."
        )
        parser.add_argument(
            "--every", type=_span, metavar="STEP", help="How often it is asked about: 1d (the default), 6h, 30m."
        )
        parser.add_argument(
            "--as-known",
            choices=["now", "then"],
            help="With what is known now (the default), or with what had been told by each moment.",
        )
        parser.add_argument("--accounts", action="store_true", help="Name the accounts, with what was found.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read the document, show the preview, then the past where it was asked for."""
        self._started = time.monotonic()
        try:
            self._go(options, timezone.now())
            self.stdout.flush()
        except DocumentError as error:
            raise CommandError(f"{self._called(options)}: {error}") from error
        except (Forgotten, PeriodError) as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            said = " ".join(str(error).split())
            raise CommandError(
                f"The database refused: {said}. Where a table is missing: run manage.py migrate."
            ) from error
        except KeyboardInterrupt:
            self._end_line()
            raise CommandError("Stopped by ctrl-C: nothing was changed.", returncode=INTERRUPTED) from None
        except BrokenPipeError:
            let_go(self.stdout)
            sys.exit(CUT_SHORT)

    def _called(self, options: dict[str, Any]) -> str:
        return str(options["file"] or options["playbook"])

    def _go(self, options: dict[str, Any], now: datetime) -> None:
        period = self._period(options, now)
        document = self._document(options)
        answer = preview(document, now=now)
        self._tell_preview(answer)
        if options["accounts"]:
            self._tell_accounts(answer)
        if period is not None:
            for trigger in draft_triggers(document)[1]:
                start, end, step = period
                known: AsKnown = options["as_known"] or "now"
                past = past_episodes(
                    trigger, start=start, end=end, step=step, known=known, progress=self._tell_progress
                )
                self._end_line()
                self._tell_past(past, step, with_accounts=options["accounts"])

    def _document(self, options: dict[str, Any]) -> dict[str, Any]:
        file, key = options["file"], options["playbook"]
        if (file is None) == (key is None):
            raise CommandError("Name a file, or a playbook by --playbook KEY: one of the two.")
        if file is not None:
            if options["draft"]:
                raise CommandError("--draft goes with --playbook KEY: a file is a draft anyway.")
            try:
                return read_document(file.read_text(encoding="utf-8"))
            except OSError as error:
                raise CommandError(f"{file}: {error.strerror or error}.") from error
            except UnicodeDecodeError as error:
                raise CommandError(f"{file}: this is no text in UTF-8 (byte {error.start}).") from error
        playbook = Playbook.objects.select_related("published").filter(key=key).first()
        if playbook is None:
            there = ", ".join(Playbook.objects.order_by("key").values_list("key", flat=True))
            raise CommandError(f"--playbook {key}: there is none of this key. There are: {there or 'none'}.")
        if options["draft"]:
            return read_document(playbook.draft)
        if playbook.published is None:
            raise CommandError(f"--playbook {key}: nothing of it is published yet: add --draft.")
        # Read again: what is registered and filled in today counts, as it would if it were published today.
        return read_document(playbook.published.source)

    def _period(self, options: dict[str, Any], now: datetime) -> tuple[datetime, datetime, timedelta] | None:
        given = [name for name in ("end", "every", "as_known") if options[name] is not None]
        if options["start"] is None:
            if given:
                raise CommandError("--to, --every and --as-known tell of a past period: add --from DAY.")
            return None
        if options["end"] is not None and options["end"] < options["start"]:
            raise CommandError(f"--to {options['end']} lies before --from {options['start']}.")
        start = midnight(options["start"])
        if start > now:
            raise CommandError(f"--from {options['start']}: this day is still to come.")
        today = now.astimezone(company_time_zone()).date()
        last = options["end"]
        end = now if last is None or last >= today else midnight(last + timedelta(days=1))
        step = options["every"] or timedelta(days=1)
        # What is wrong with it is said before anything is asked.
        grid_between(start, end, step)
        return start, end, step

    def _tell_preview(self, answer: Preview) -> None:
        document = answer.document
        runs = "nothing of it runs" if answer.runs is None else f"version {answer.runs} runs"
        self.stdout.write(f"{document['name']} ({document['key']}), asked about {answer.sight.words}; {runs}.")
        for warning in answer.warnings:
            self.stdout.write(self.style.WARNING(f"Warning: {warning}"))
        headings = ("trigger", "matches", "held", "free", "stay", "new", "would end")
        self._table(headings, numbers_of(answer, {}))
        self.stdout.write(f"Matches at {answer.where}.")
        self._table(("held by", "matches"), list(answer.held_by.items()))
        self.stdout.write(
            f"Plays that would be opened: {len(answer.plays):,}, worth {_money(answer.amount_minor)} a month where "
            f"that is known{joining_of(answer)}."
        )
        self._table(
            ("would go to", "plays", "that count", "carries", "cap"),
            [
                (share.name, share.plays, share.heavy, *((share.load, share.cap) if share.member_id else ("", "")))
                for share in answer.shares
            ],
        )

    def _tell_accounts(self, answer: Preview) -> None:
        names = _names(answer.accounts | {going.account_id for going in answer.going})
        self._table(
            ("account", "trigger", "what becomes of it", "evidence"),
            [(names[each.account_id], each.trigger, _fate(each), "; ".join(each.words)) for each in answer.candidates]
            + [(names[going.account_id], going.trigger, "would end", "") for going in answer.going],
        )

    def _tell_past(self, past: Past, step: timedelta, *, with_accounts: bool) -> None:
        for note in past.notes:
            self.stdout.write(self.style.WARNING(f"Warning: {note}"))
        self.stdout.write(
            f"{past.trigger} from {_shown(past.moments[0][0])} to {_shown(past.moments[-1][0])}, "
            f"{past.asked}, every {_step(step)}, as known {past.known}: {past.words}."
        )
        if with_accounts:
            names = _names({episode.account_id for episode in past.episodes})
            self._table(
                ("account", "opened", "closed", "evidence"),
                [
                    (
                        names[episode.account_id],
                        f"{'before ' if episode.from_start else ''}{_shown(episode.opened_at)}",
                        _shown(episode.closed_at) if episode.closed_at else "lasts",
                        "; ".join(episode.words),
                    )
                    for episode in past.episodes
                ],
            )

    def _table(self, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Columns in line, numbers to the right; nothing where there are no rows."""
        if not rows:
            return
        cells = [
            list(headings),
            *([f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows),
        ]
        widths = [max(len(line[n]) for line in cells) for n in range(len(headings))]
        for number, line in enumerate(cells):
            numeric = [number > 0 and isinstance(cell, int) for cell in (rows[number - 1] if number else line)]
            told = [
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, numeric, strict=True)
            ]
            self.stdout.write("  " + "  ".join(told).rstrip())

    def _tell_progress(self, done: int, of: int) -> None:
        """On one line of a terminal, on lines of their own elsewhere; about once a second, and not of short ones."""
        if time.monotonic() - self._started < 1:
            return
        self._started = time.monotonic()
        self.stderr.write(f"{done:,} of {of:,} moments ", style_func=str, ending="\r" if self.stderr.isatty() else "\n")
        self.stderr.flush()

    def _end_line(self) -> None:
        if self.stderr.isatty():
            self.stderr.write("")


def _names(ids: Iterable[int]) -> dict[int, str]:
    return {
        pk: name
        for chunk in chunks(set(ids))
        for pk, name in Account.objects.filter(pk__in=chunk).order_by().values_list("pk", "name")
    }


def _fate(each: Candidate) -> str:
    """What would become of a candidate, in words."""
    if each.is_settled:
        return f"stays {each.standing}"
    if each.hold is not None:
        return f"held by {each.hold.guard}: {each.hold.reason}"
    if each.folds:
        return "free: joins the open play"
    route = "" if each.route is None else each.route.label
    amount = _money(each.amount.minor) if each.amount is not None and each.amount.minor is not None else "unknown"
    return f"free: {route}, {amount}; {each.owner_why}"


def _money(minor: int) -> str:
    return f"{in_major_units(minor, csplaybooks_settings.CURRENCY):,f} {csplaybooks_settings.CURRENCY}"


def _step(step: timedelta) -> str:
    """A step as it is given: 1d, 6h, 30m."""
    minutes = int(step.total_seconds()) // 60
    return next(f"{minutes // size}{unit}" for unit, size in _SIZES.items() if minutes % size == 0)


def _shown(at: datetime) -> str:
    return f"{at.astimezone(company_time_zone()):%Y-%m-%d %H:%M}"
