"""The table of messages is whole, and each message comes from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.checks import ERROR, INFO, WARNING, Tags
from django.core.checks.registry import registry

from csplaybooks import checks
from csplaybooks.checks.table import WHAT_IS_WRONG, message

FOLDER = Path(checks.__file__).parent
TESTS = Path(__file__).parent


def numbers_in(*files: Path) -> set[str]:
    return {number for file in files for number in re.findall(r'"([EWI]\d{3})"', file.read_text())}


def test_every_message_is_given_and_tested():
    numbers = {name.removeprefix("csplaybooks.") for name in WHAT_IS_WRONG}
    assert numbers_in(*FOLDER.glob("*.py")) == numbers
    tested = {name for file in TESTS.glob("test_*.py") for name in re.findall(r"[EWI]\d{3}", file.read_text())}
    assert numbers - tested == set()


def test_a_message_has_the_level_of_its_id_and_its_mend():
    found = [message(number, "It is wrong.", mend="Mend it.") for number in ("E001", "W001", "I001")]
    assert [one.level for one in found] == [ERROR, WARNING, INFO]
    assert {one.hint for one in found} == {"Mend it."}


def test_a_message_that_is_not_in_the_table():
    with pytest.raises(LookupError, match=r"csplaybooks\.E999"):
        message("E999", "It is wrong.", mend="Mend it.")


def test_all_are_registered():
    assert {getattr(checks, name) for name in checks.__all__} <= set(registry.get_checks())
    # Connects, so it runs only where that is allowed.
    assert Tags.database in checks.check_journal.tags
