"""Playbooks as files: check them, see what they would change, apply them, and write back what runs."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.playbooks.acts.recipes import Applied, apply_playbooks, publishing_faults
from csplaybooks.playbooks.differences import changes_by
from csplaybooks.playbooks.document import DocumentError, document_schema
from csplaybooks.playbooks.files import Fault, in_the_way, read_files, read_texts, shown, write_file
from csplaybooks.playbooks.management.pipes import CUT_SHORT, let_go
from csplaybooks.playbooks.models import Playbook

#: What `diff` answers, as diff(1) does: applying the files would change something; they cannot be applied.
DIFFERENT, TROUBLE = 1, 2

#: What writes: it is done to the end, whoever has stopped reading what is said of it.
WRITES = ("apply", "export")


class Command(BaseCommand):
    """See the module; the wall clock is read here alone."""

    help = "Check playbook files, show what they would change, apply them all or none, and write back what runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One word for each thing to do, with its own arguments."""
        todo = parser.add_subparsers(dest="todo", required=True, metavar="WHAT")
        check = todo.add_parser("check", help="Say every fault of files, and write nothing. Exits with 1 for any.")
        diff = todo.add_parser(
            "diff",
            help="Say in words what applying files would change of what runs. Exits with 0 for nothing, 1 for "
            "something, 2 where a file cannot be used.",
        )
        apply = todo.add_parser("apply", help="Draft and publish files, all or none.")
        apply.add_argument("--draft", action="store_true", help="Only draft them.")
        for each in (check, diff, apply):
            each.add_argument(
                "paths", nargs="+", metavar="PATH", help="A file, or a directory: the .yaml and .yml files right in it."
            )
        export = todo.add_parser("export", help="Write published texts to files, byte for byte, each as KEY.yaml.")
        export.add_argument("keys", nargs="*", metavar="KEY", help="Of these playbooks; without, of all.")
        export.add_argument("--directory", metavar="DIR", help="Where to; of one playbook it may be left out: printed.")
        export.add_argument("--drafts", action="store_true", help="The drafts, and not what is published.")
        export.add_argument("--force", action="store_true", help="Write over files that hold something else.")
        todo.add_parser("schema", help="Print the JSON schema of a playbook document, for editors.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what was asked, telling each file as it is done."""
        todo: dict[str, Callable[[dict[str, Any]], int]] = {
            "check": self._check,
            "diff": self._diff,
            "apply": self._apply,
            "export": self._export,
            "schema": self._schema,
        }
        self.writes = options["todo"] in WRITES
        try:
            status = todo[options["todo"]](options)
            self.stdout.flush()
        except BrokenPipeError:
            let_go(self.stdout)
            sys.exit(CUT_SHORT)
        except DatabaseError as error:
            said = " ".join(str(error).split())
            raise CommandError(
                f"The database refused: {said}. Where a table is missing: run manage.py migrate.", returncode=TROUBLE
            ) from error
        if status:
            sys.exit(status)

    def _check(self, options: dict[str, Any]) -> int:
        texts, faults = read_files(options["paths"])
        documents, of_texts = read_texts(texts)
        self._tell_faults(faults + of_texts)
        playbooks = _by_key(document["key"] for document in documents.values())
        now = timezone.now()
        bad = len({place.split(": ")[0] for place, _ in faults + of_texts})
        for name, document in documents.items():
            found = publishing_faults(document, playbooks.get(document["key"]), now=now)
            self._tell_faults([(f"{name}: {path}" if path else name, message) for path, message in found])
            bad += bool(found)
            if not found:
                self._say(f"{name}: {self.style.SUCCESS('fit to be published')}")
        if bad:
            self._say(self.style.ERROR(f"{_files(bad)} cannot be published."))
        return 1 if bad else 0

    def _diff(self, options: dict[str, Any]) -> int:
        texts, faults = read_files(options["paths"])
        documents, of_texts = read_texts(texts)
        self._tell_faults(faults + of_texts)
        keys = {document["key"] for document in documents.values()}
        playbooks = _by_key(keys)
        changed = False
        for name, document in documents.items():
            playbook = playbooks.get(document["key"])
            published = None if playbook is None else playbook.published
            changes = changes_by(published, texts[name], document)
            changed = changed or bool(changes)
            rests = " (switched off)" if playbook is not None and not playbook.is_active else ""
            self._say(f"{name}: {document['key']}{rests}{'' if changes else ': what is published'}")
            for line in changes:
                self._say(f"  {line}")
        for key in Playbook.objects.running().exclude(key__in=keys).order_by("key").values_list("key", flat=True):
            self._say(f"{key} runs, and none of these files is it; applying them leaves it alone.")
        if faults or of_texts:
            return TROUBLE
        return DIFFERENT if changed else 0

    def _apply(self, options: dict[str, Any]) -> int:
        texts, faults = read_files(options["paths"])
        if faults:
            # What can be read is looked at all the same: people mend all of it at once.
            self._tell_faults(faults + read_texts(texts)[1])
            raise CommandError("Nothing was changed.")
        try:
            apply_playbooks(texts=texts, now=timezone.now(), publish=not options["draft"], tell=self._tell_applied)
        except DocumentError as error:
            self._tell_faults(error.errors)
            raise CommandError("Nothing was changed.") from error
        except Conflict as error:
            raise CommandError(f"{' '.join(error.messages)} Nothing was changed; run this again.") from error
        return 0

    def _tell_applied(self, answer: Applied) -> None:
        line = f"{answer.name}: {answer.playbook.key}: {answer.verdict}"
        if answer.version is not None and answer.verdict != "unchanged":
            line += f", version {answer.version.number}"
        if answer.why:
            line += f", to be published later: {answer.why}"
        if answer.redrafted:
            line += "; the draft that was there gave way"
        self._say(line)

    def _export(self, options: dict[str, Any]) -> int:
        if options["directory"] is None and len(options["keys"]) != 1:
            raise CommandError("Say where to with --directory, or name the one playbook to print.")
        texts = self._texts(options["keys"], drafts=options["drafts"])
        if options["directory"] is None:
            self._print(texts[options["keys"][0]])
            return 0
        directory = Path(options["directory"])
        files = {directory / f"{key}.yaml": text for key, text in texts.items()}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if not options["force"] and (others := in_the_way(files)):
                names = ", ".join(shown(path) for path in others)
                raise CommandError(
                    f"These hold something else: {names}. Nothing was written; --force writes over them."
                )
            for path, text in files.items():
                self._say(f"{shown(path)}: {'written' if write_file(path, text) else 'unchanged'}")
        except OSError as error:
            where = shown(Path(error.filename or directory))
            raise CommandError(f"{where} cannot be written: {error.strerror}.") from error
        return 0

    def _texts(self, keys: list[str], *, drafts: bool) -> dict[str, str]:
        """What is to be written, by key."""
        playbooks = Playbook.objects.select_related("published").order_by("key")
        if keys:
            playbooks = playbooks.filter(key__in=keys)
        found = {playbook.key: playbook for playbook in playbooks}
        if missing := [key for key in dict.fromkeys(keys) if key not in found]:
            raise CommandError(f"There is no playbook {' and no '.join(missing)}.")
        texts = {
            key: playbook.draft if drafts else playbook.published and playbook.published.source
            for key, playbook in found.items()
        }
        unpublished = [key for key, text in texts.items() if text is None]
        if keys and unpublished:
            raise CommandError(f"Not published yet: {', '.join(unpublished)}. --drafts takes the drafts.")
        for key in unpublished:
            self.stderr.write(f"{key} is not published yet, and was left out; --drafts takes the drafts.")
        return {key: text for key, text in texts.items() if text is not None}

    def _schema(self, options: dict[str, Any]) -> int:
        self._say(json.dumps(document_schema(), indent=2, ensure_ascii=False))
        return 0

    def _print(self, text: str) -> None:
        """A text as it is, whatever the terminal takes for text and for the end of a line."""
        raw = getattr(self.stdout, "buffer", None)
        if raw is None:
            self.stdout.write(text, ending="")
            return
        self.stdout.flush()
        raw.write(text.encode())
        raw.flush()

    def _tell_faults(self, faults: Iterable[Fault]) -> None:
        for place, message in faults:
            # A name in a document may hold a line break; a fault is one line.
            self._say(" ".join(f"{place}: {message}".split()))

    def _say(self, line: str) -> None:
        try:
            self.stdout.write(line)
            self.stdout.flush()
        except BrokenPipeError:
            if not self.writes:
                raise
            let_go(self.stdout)


def _by_key(keys: Iterable[str]) -> Mapping[str, Playbook]:
    """The playbooks that there are of these keys, with what is published."""
    return {
        playbook.key: playbook for playbook in Playbook.objects.filter(key__in=set(keys)).select_related("published")
    }


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"
