"""`csplaybooks_playbooks`: what is in files goes into the database all or none, and comes back byte for byte."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from django.core.management import CommandError, call_command

from csplaybooks.playbooks.acts.recipes import LIBRARY, save_draft, set_playbook_active
from csplaybooks.playbooks.differences.publishing import SAME
from csplaybooks.playbooks.document import document_schema
from csplaybooks.playbooks.models import Playbook, PlaybookVersion
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.factories import MeterFactory
from tests.playbooks.inputs import NOW

TEXT = """\
key: seats
name: Seats
motion: seat_expansion
triggers:
  - key: full
    any:
      - all:
          - {measure: share_of_limit, meters: [seats], above: 80}
routes:
  - route: csm
targets:
  - {target: first_touch, hours: 8}
"""

pytestmark = pytest.mark.django_db


def run(*words: Any) -> tuple[int, list[str]]:
    """The exit status, and what was said, line by line."""
    said = io.StringIO()
    try:
        call_command("csplaybooks_playbooks", *map(str, words), stdout=said, stderr=said, no_color=True)
    except SystemExit as ended:
        return int(ended.code or 0), said.getvalue().splitlines()
    except CommandError as error:
        return error.returncode, [*said.getvalue().splitlines(), str(error)]
    return 0, said.getvalue().splitlines()


@pytest.fixture(autouse=True)
def meter(db: None) -> None:
    """The meter that the document speaks of."""
    MeterFactory(key="seats", max_age_days=30)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good file, in a directory of its own."""
    path = tmp_path / "recipes" / "seats.yaml"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


def stored() -> tuple[int, int]:
    """How many playbooks and versions there are."""
    return Playbook.objects.count(), PlaybookVersion.objects.count()


def test_files_are_checked_and_nothing_is_written(file: Path) -> None:
    assert run("check", file.parent) == (0, [f"{file}: fit to be published"])
    assert stored() == (0, 0)


def test_a_file_is_created_then_unchanged_then_updated(file: Path) -> None:
    assert run("apply", file) == (0, [f"{file}: seats: created, version 1"])
    assert run("apply", file) == (0, [f"{file}: seats: unchanged"])
    file.write_text(TEXT.replace("80", "90"))
    assert run("apply", file.parent) == (0, [f"{file}: seats: updated, version 2"])
    assert stored() == (1, 2)


def test_files_are_only_drafted_where_that_is_asked_for(file: Path) -> None:
    assert run("apply", file, "--draft") == (0, [f"{file}: seats: draft"])
    assert run("apply", file, "--draft") == (0, [f"{file}: seats: unchanged"])
    assert stored() == (1, 0)
    assert run("apply", file) == (0, [f"{file}: seats: created, version 1"])


def test_a_draft_of_somebody_gives_way_and_that_is_said(file: Path) -> None:
    run("apply", file)
    save_draft(text=TEXT + "expires_days: 3\n", now=NOW)
    assert run("apply", file) == (0, [f"{file}: seats: unchanged; the draft that was there gave way"])
    assert Playbook.objects.get().draft == TEXT


def test_what_looks_too_far_back_stays_a_draft_and_is_a_fault_to_the_check(file: Path, settings: Any) -> None:
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 20}
    status, (line, *_) = run("check", file)
    assert status == 1
    assert line.startswith(f"{file}: triggers/0/any/0/all/0/meters: looks 30 days back")
    status, (line,) = run("apply", file)
    assert status == 0
    assert line.startswith(f"{file}: seats: draft, to be published later: triggers/0/any/0/all/0/meters: looks 30 days")
    assert stored() == (1, 0)


ROUND_TRIPS = {
    "plain": TEXT.encode(),
    "carriage returns": TEXT.replace("\n", "\r\n").encode(),
    "both line ends": TEXT.replace("\n", "\r\n", 3).encode(),
    "no last line break": TEXT.rstrip("\n").encode(),
    "comments and blanks": ("# who wrote it\n\n" + TEXT + "\n# the end   \n\n\n").encode(),
    "beyond ASCII": TEXT.replace("name: Seats", "name: Plätze — 席 🪑  # ñ").encode(),
    "byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
}


@pytest.mark.parametrize("data", ROUND_TRIPS.values(), ids=ROUND_TRIPS)
@pytest.mark.parametrize("drafts", [False, True])
def test_what_is_applied_is_exported_byte_for_byte(file: Path, tmp_path: Path, data: bytes, drafts: bool) -> None:
    file.write_bytes(data)
    assert run("apply", file, *["--draft"] * drafts)[0] == 0
    assert run("export", "--directory", tmp_path / "new" / "place", *["--drafts"] * drafts)[0] == 0
    written = tmp_path / "new" / "place" / "seats.yaml"
    assert written.read_bytes() == data
    assert [path.name for path in written.parent.iterdir()] == ["seats.yaml"]
    assert run("diff", written)[0] == int(drafts)
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    call_command("csplaybooks_playbooks", "export", "seats", *["--drafts"] * drafts, stdout=printed)
    assert printed.buffer.getvalue() == data


def test_the_library_goes_in_and_out(tmp_path: Path) -> None:
    load_starter_catalogue(now=NOW)
    assert run("apply", LIBRARY)[0] == 0
    status, lines = run("export", "--directory", tmp_path)
    assert (status, len(lines)) == (0, len(list(LIBRARY.glob("*.yaml"))))
    for path in LIBRARY.glob("*.yaml"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert run("diff", tmp_path)[0] == 0


def test_an_export_writes_over_nothing_else_unless_told(file: Path, tmp_path: Path) -> None:
    run("apply", file)
    other = tmp_path / "more.yaml"
    other.write_text(TEXT.replace("key: seats", "key: more"))
    run("apply", other)
    file.write_text("something else")
    status, (line,) = run("export", "--directory", file.parent)
    assert status == 1
    assert line == f"These hold something else: {file}. Nothing was written; --force writes over them."
    assert [path.name for path in file.parent.iterdir()] == ["seats.yaml"]
    status, lines = run("export", "--directory", file.parent, "--force")
    assert (status, lines) == (0, [f"{file.parent / 'more.yaml'}: written", f"{file}: written"])
    assert file.read_text() == TEXT
    assert run("export", "seats", "--directory", file.parent) == (0, [f"{file}: unchanged"])


def test_what_cannot_be_exported_is_said(file: Path, tmp_path: Path) -> None:
    run("apply", file, "--draft")
    assert run("export") == (1, ["Say where to with --directory, or name the one playbook to print."])
    assert run("export", "mars") == (1, ["There is no playbook mars."])
    assert run("export", "seats") == (1, ["Not published yet: seats. --drafts takes the drafts."])
    assert run("export", "--directory", tmp_path) == (
        0,
        ["seats is not published yet, and was left out; --drafts takes the drafts."],
    )
    (line,) = run("export", "seats", "--drafts", "--directory", file)[1]
    assert line == f"{file} cannot be written: File exists."


def test_the_difference_is_told_in_words(file: Path) -> None:
    assert run("diff", file) == (1, [f"{file}: seats", "  It is new: nothing of it runs yet."])
    run("apply", file)
    assert run("diff", file) == (0, [f"{file}: seats: what is published"])
    file.write_text(TEXT.replace("80", "90").replace("hours: 8", "hours: 4"))
    assert run("diff", file) == (
        1,
        [
            f"{file}: seats",
            "  Trigger “full”, share of limit (seats): above 80 → above 90 %",
            "  Target first touch: hours 8 → 4",
        ],
    )
    file.write_text("# why\n" + TEXT)
    assert run("diff", file) == (1, [f"{file}: seats", f"  {SAME}"])
    assert stored() == (1, 1)


def test_what_runs_and_is_in_no_file_is_listed(file: Path, tmp_path: Path) -> None:
    run("apply", file)
    more, off = tmp_path / "more.yaml", tmp_path / "off.yaml"
    for path in (more, off):
        path.write_text(TEXT.replace("key: seats", f"key: {path.stem}"))
        run("apply", path)
    set_playbook_active(playbook_id=Playbook.objects.get(key="off").pk, active=False, now=NOW)
    left = "seats runs, and none of these files is it; applying them leaves it alone."
    assert run("diff", tmp_path) == (
        0,
        [f"{more}: more: what is published", f"{off}: off (switched off): what is published", left],
    )


def test_a_difference_that_cannot_be_told_is_trouble(file: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("key: [")
    status, lines = run("diff", tmp_path / "bad.yaml", file)
    assert status == 2
    assert lines[0].startswith(f"{tmp_path / 'bad.yaml'}: line 1")
    assert lines[1:] == [f"{file}: seats", "  It is new: nothing of it runs yet."]


def _bombed() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    return "\n".join(lines).encode()


_MANY = "[" + ",".join(["{measure: season}"] * 10_000) + "]"
BAD = {
    "unknown key": (TEXT.encode() + b"colour: red\n", "colour is unknown here; known are key"),
    "line break in a key": (TEXT.encode() + b'"co\\nlour": red\n', "co lour is unknown here"),
    "alias bomb": (_bombed(), "aliases are not allowed"),
    "ten thousand conditions": (
        TEXT.replace(
            "all:\n          - {measure: share_of_limit, meters: [seats], above: 80}", f"all: {_MANY}"
        ).encode(),
        "triggers/0/any/0/all: has 10000 entries, and at most 10 are possible",
    ),
    "not UTF-8": (TEXT.replace("name: Seats", "name: Pl\xe4tze").encode("latin-1"), "is not UTF-8: the byte 0xe4 at"),
    "too long": (b"#" * 5_000_000, "the document is longer than 200,000 characters"),
    "empty": (b"", "is a mapping of names to values"),
    "NUL": (TEXT.encode() + b"\0", "holds a NUL character"),
}


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("todo", ["check", "diff", "apply"])
def test_a_bad_file_is_one_clear_line_and_nothing_is_written(file: Path, todo: str, data: bytes, message: str) -> None:
    bad = file.parent / "bad.yaml"
    bad.write_bytes(data)
    started = time.process_time()
    status, lines = run(todo, file.parent)
    assert time.process_time() - started < 5
    assert status == {"check": 1, "diff": 2, "apply": 1}[todo]
    (line,) = (line for line in lines if line.startswith(f"{bad}: "))
    assert message in line
    assert stored() == (0, 0)
    if todo == "apply":
        assert lines == [line, "Nothing was changed."]


@pytest.mark.parametrize("todo", ["check", "diff", "apply"])
def test_files_that_are_not_there_and_keys_that_stand_twice(file: Path, tmp_path: Path, todo: str) -> None:
    empty, missing, again = tmp_path / "empty", tmp_path / "none.yaml", tmp_path / "twice.yaml"
    empty.mkdir()
    (empty / "notes.txt").write_text("no playbook")
    again.write_text(TEXT)
    status, lines = run(todo, file, empty, missing, again)
    assert status == {"check": 1, "diff": 2, "apply": 1}[todo]
    assert lines[:3] == [
        f"{empty}: the directory holds no file that ends in .yaml or .yml",
        f"{missing}: there is no such file",
        f"{again}: key: the key seats stands in {file} too",
    ]
    assert stored() == (0, 0)


def test_a_fault_that_only_the_database_knows_takes_all_back(file: Path) -> None:
    bad, worse = file.parent / "a.yaml", file.parent / "z.yaml"
    bad.write_text(TEXT.replace("key: seats", "key: a").replace("[seats]", "[mars]"))
    worse.write_text(TEXT.replace("key: seats", "key: z").replace("[seats]", "[venus, seats]"))
    faults = [
        f"{bad}: triggers/0/any/0/all/0/meters: there is no meter mars",
        f"{worse}: triggers/0/any/0/all/0/meters: there is no meter venus",
    ]
    assert run("check", file.parent) == (
        1,
        [faults[0], f"{file}: fit to be published", faults[1], "2 files cannot be published."],
    )
    assert run("apply", file.parent) == (1, [*faults, "Nothing was changed."])
    assert stored() == (0, 0)
    bad.unlink()
    worse.unlink()
    run("apply", file)
    file.write_text(TEXT.replace("seat_expansion", "add_on"))
    motion = f"{file}: motion: the motion of a published playbook stays: seat_expansion; make a new playbook"
    assert run("check", file)[1][0] == motion
    assert run("apply", file) == (1, [motion, "Nothing was changed."])


def test_a_file_that_is_named_twice_is_one(file: Path) -> None:
    assert run("check", file, file.parent, file) == (0, [f"{file}: fit to be published"])


def test_the_schema_is_printed_for_editors() -> None:
    status, lines = run("schema")
    assert status == 0
    schema = json.loads("\n".join(lines))
    assert schema == document_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(TEXT), schema)


@pytest.mark.parametrize("files", [1, 6])
def test_the_difference_takes_the_same_few_queries_however_many_files(
    file: Path, files: int, django_assert_max_num_queries: Any
) -> None:
    for number in range(files):
        (file.parent / f"{number}.yaml").write_text(TEXT.replace("key: seats", f"key: s{number}"))
    run("apply", file.parent)
    with django_assert_max_num_queries(2):
        assert run("diff", file.parent)[0] == 0
