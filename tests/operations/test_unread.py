"""Commands whose reader has seen enough, as `head` has, end without a word of complaint."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from django.core.management import call_command

from csplaybooks.playbooks.factories import DRAFT
from csplaybooks.playbooks.management.pipes import CUT_SHORT
from csplaybooks.playbooks.models import Playbook

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def unread() -> Iterator[IO[str]]:
    """Where to write, with nobody who reads. That it can be closed afterwards shows that nothing is left to send."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        yield stream


@pytest.mark.django_db
@pytest.mark.parametrize("words", [(), ("--json",)])
def test_the_check_ends_where_it_is(unread: IO[str], words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("csplaybooks_check", *words, stdout=unread)

    assert ended.value.code == CUT_SHORT


@pytest.mark.django_db
def test_reading_playbooks_ends_where_it_is(unread: IO[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("csplaybooks_playbooks", "schema", stdout=unread)

    assert ended.value.code == CUT_SHORT


@pytest.mark.django_db
def test_writing_playbooks_goes_on_to_the_end(unread: IO[str], tmp_path: Path) -> None:
    keys = ["first", "second"]
    for key in keys:
        (tmp_path / f"{key}.yaml").write_text(DRAFT.format(key=key, name=key, motion="seat_expansion"))

    call_command("csplaybooks_playbooks", "apply", "--draft", str(tmp_path), stdout=unread)

    assert sorted(Playbook.objects.values_list("key", flat=True)) == keys


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_the_doctor_still_answers_by_its_exit_status(unread: IO[str], words: tuple[str, ...], tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "manage.py", "csplaybooks_doctor", *words],
        cwd=CHECKOUT,
        check=False,
        stdout=unread,
        stderr=subprocess.PIPE,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "SECRET_KEY": "for tests only",
            # Without tables, which is red.
            "DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3",
        },
    )

    assert (answer.returncode, answer.stderr) == (1, "")
