"""How the environment sets the log of the site, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

PROGRAM = """
import logging
import django

django.setup()
logging.getLogger("mysite").debug("less")
logging.getLogger("mysite").info("hello")
logging.getLogger("mysite").warning("look out")
"""


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "SECRET_KEY": "for tests only",
            "DJANGO_SETTINGS_MODULE": "csplaybooks.settings",
            **environment,
        },
    )


def test_plain_lines_from_info_on_are_the_default() -> None:
    first, second = run().stderr.splitlines()
    assert first.endswith(" INFO mysite: hello")
    assert second.endswith(" WARNING mysite: look out")


def test_json_from_the_level_that_is_named() -> None:
    (line,) = run(LOG_FORMAT="json", LOG_LEVEL="WARNING").stderr.splitlines()
    document = json.loads(line)
    assert (document["level"], document["logger"], document["message"]) == ("WARNING", "mysite", "look out")


@pytest.mark.parametrize(
    ("variable", "word", "words"),
    [
        ("LOG_FORMAT", "xml", "plain, json"),
        ("LOG_LEVEL", "loud", "INFO, DEBUG, WARNING, ERROR, CRITICAL"),
    ],
)
def test_a_word_that_is_none_of_them(variable: str, word: str, words: str) -> None:
    answer = run(**{variable: word})
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1] == (
        f"django.core.exceptions.ImproperlyConfigured: {variable} is {word!r}; it must be one of {words}."
    )
