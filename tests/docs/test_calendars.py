"""The code of docs/calendars.md, and the command that it shows."""

from __future__ import annotations

import re
import shlex

import pytest
from django.core.management import call_command

from csplaybooks.playbooks.factories import CalendarFactory
from csplaybooks.playbooks.holiday_source import source_version
from tests.docs.page import DOCS, blocks_of

BLOCKS = blocks_of((DOCS / "calendars.md").read_text())


def test_the_code_of_the_page_is_true() -> None:
    [code] = [block.text for block in BLOCKS if block.language == "python"]
    assert code.count("\nassert ") == 2
    exec(compile(code, "calendars.md", "exec"), {})  # noqa: S102 - our own page


@pytest.mark.django_db
def test_the_command_says_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    CalendarFactory()
    [shown] = [block.text for block in BLOCKS if block.language == "console"]
    asked, said = shown.splitlines()
    _, _, _, name, *words = shlex.split(asked)
    call_command(name, *words)
    # Another release of the library may know of other days; what is said of them stays.
    stands = re.sub(r"\d+ days", "N days", said).replace("0.109", source_version())
    assert re.sub(r"\d+ days", "N days", capsys.readouterr().out.strip()) == stands
