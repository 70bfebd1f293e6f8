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

from csplaybooks.playbooks.management.pipes import CUT_SHORT

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
