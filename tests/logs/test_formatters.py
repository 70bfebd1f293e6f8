"""What a line of the log looks like, for people and for programs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csplaybooks.logs import ContextFilter, JsonFormatter, answering_request, evaluating, name_context
from tests.logs.conftest import site_formatter


def record_of(message: str = "hello", *arguments: object, name: str = "mysite", **attributes: Any) -> logging.LogRecord:
    record = logging.LogRecord(name, logging.INFO, __file__, 1, message, arguments, attributes.pop("exc_info", None))
    vars(record).update(attributes)
    return record


def fault() -> Any:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        return sys.exc_info()


def test_json_has_every_member():
    record = record_of("hello %s", "you", created=datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC).timestamp())
    assert json.loads(JsonFormatter().format(record)) == {
        "time": "2026-11-22T12:00:00.250000+00:00",
        "level": "INFO",
        "logger": "mysite",
        "message": "hello you",
        "request_id": None,
        "task": None,
        "task_id": None,
        "run": None,
        "exception": None,
    }


def test_json_names_what_the_record_comes_from():
    with answering_request("abc"), evaluating(17):
        document = json.loads(JsonFormatter().format(record_of()))
    assert (document["request_id"], document["run"]) == ("abc", "17")


def test_json_has_the_traceback_in_one_line():
    text = JsonFormatter().format(record_of(exc_info=fault()))
    assert "\n" not in text
    exception = json.loads(text)["exception"]
    assert exception.startswith("Traceback (most recent call last):\n")
    assert exception.endswith("ValueError: two\nlines")


def test_json_adds_fields_and_nothing_else():
    record = record_of(
        fields={"status": 200, "when": datetime(2026, 1, 1, tzinfo=UTC), "logger": "forged"}, request="!"
    )
    document = json.loads(JsonFormatter().format(record))
    assert (document["status"], document["when"]) == (200, "2026-01-01 00:00:00+00:00")
    assert document["logger"] == "mysite"
    assert "request" not in document


@given(text=st.text(), value=st.one_of(st.text(), st.binary(), st.floats(), st.none()))
def test_json_is_one_line_of_ascii_whatever_is_logged(text, value):
    line = JsonFormatter().format(record_of("%s", text, fields={"value": value}))
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == text


def test_plain_shows_what_is_known():
    plain = site_formatter("plain")
    assert plain.format(record_of()).endswith(" INFO mysite: hello")
    with answering_request("abc"):
        assert plain.format(record_of()).endswith(" INFO mysite [request abc]: hello")
        with evaluating(17):
            assert plain.format(record_of()).endswith(" INFO mysite [request abc, run 17]: hello")
    assert plain.format(record_of(task="csplaybooks:work")).endswith(" INFO mysite [task csplaybooks:work]: hello")


def test_a_message_cannot_forge_a_line():
    plain = site_formatter("plain")
    record = record_of("token made by %s", "Bob\r\n2026-11-22 ERROR root: forged\x1b[31m\x85\u2028\u2029\t!")
    assert plain.format(record).endswith(
        r" INFO mysite: token made by Bob\r\n2026-11-22 ERROR root: forged\x1b[31m\x85\u2028\u2029\t!"
    )
    # Another handler gets it as it was said.
    assert json.loads(JsonFormatter().format(record))["message"] == record.getMessage()
    assert record.message == record.getMessage()
    assert plain.format(record_of(task="a\nb")).endswith(r" INFO mysite [task a\nb]: hello")


@given(text=st.text())
def test_plain_is_one_line_whatever_is_logged_and_a_traceback_keeps_its_own(text):
    plain = site_formatter("plain")
    line = plain.format(record_of("%s", text))
    assert len(line.splitlines()) == 1
    first, second, *_, last = plain.format(record_of("%s", text, exc_info=fault())).splitlines()
    assert first.partition(" INFO ")[2] == line.partition(" INFO ")[2]
    assert (second, last) == ("Traceback (most recent call last):", "lines")


@pytest.mark.parametrize("name", ["plain", "json"])
def test_refusals_have_no_traceback_and_stay_whole_for_others(name):
    formatter = site_formatter(name)
    record = record_of(name="django.request", exc_info=fault(), levelno=logging.WARNING)
    assert "Traceback" not in formatter.format(record)
    assert record.exc_info is not None
    record.levelno = logging.ERROR
    assert "Traceback" in formatter.format(record)


def test_a_record_keeps_what_it_was_told_first():
    """As with a queue between: another thread formats what one thread has logged."""
    record = record_of()
    with answering_request("abc"):
        assert ContextFilter().filter(record)
    with answering_request("other"):
        name_context(record)
        assert json.loads(JsonFormatter().format(record))["request_id"] == "abc"
