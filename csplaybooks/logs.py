"""Log records that name what they come from, and how the stand-alone site writes them.

Each record that passes `ContextFilter` (or one of the formatters) is told:

| attribute | what it holds | where there is none |
| --- | --- | --- |
| `request_id` | the id that `RequestIdMiddleware` took from the request, or made | `-` |
| `task`, `task_id` | name and id of the django-q2 task that a worker is at | `-` |
| `run` | number of the evaluation run that is under way | `-` |

Nothing of it is handed on with a poke, which carries nothing. From a request to what it caused the way goes by numbers:
the request's lines name the intake batch, and the run's lines the batches that it claimed.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, NamedTuple

#: The attribute of Django's request on which the middleware leaves its id.
REQUEST_ATTRIBUTE = "csplaybooks_request_id"

#: How the characters that end a line or steer a terminal are written instead: Unicode's control characters, and its
#: separators of lines and paragraphs.
_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)}

#: Stands for what is not known, where a line must show something.
NONE = "-"


class _Task(NamedTuple):
    name: str
    id: str


# Context variables: each thread, and each request under ASGI, has its own.
_request_id: ContextVar[str] = ContextVar("csplaybooks_request_id", default=NONE)
_task: ContextVar[_Task | None] = ContextVar("csplaybooks_task", default=None)
_run: ContextVar[str] = ContextVar("csplaybooks_run", default=NONE)


def current_request_id() -> str | None:
    """The id of the request that is being answered here; None outside of requests, and without the middleware."""
    request_id = _request_id.get()
    return None if request_id == NONE else request_id


@contextmanager
def answering_request(request_id: str) -> Iterator[None]:
    """Inside, records name this request."""
    token = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(token)


@contextmanager
def evaluating(run_id: int) -> Iterator[None]:
    """Inside, records name this evaluation run."""
    token = _run.set(str(run_id))
    try:
        yield
    finally:
        _run.reset(token)


def connect_tasks() -> None:
    """Let records of django-q2's workers name their task; called once, when the apps are ready."""
    from django_q.signals import post_execute_in_worker, pre_execute

    pre_execute.connect(_task_begins, dispatch_uid="csplaybooks.logs")
    post_execute_in_worker.connect(_task_ends, dispatch_uid="csplaybooks.logs")


def _task_begins(*, task: Mapping[str, Any], **kwargs: Any) -> None:
    _task.set(_Task(str(task.get("name", NONE)), str(task.get("id", NONE))))


def _task_ends(**kwargs: Any) -> None:
    _task.set(None)


def name_context(record: logging.LogRecord) -> None:
    """Put on a record what it comes from. What stands there already stays: another thread may format it later."""
    task = _task.get() or _Task(NONE, NONE)
    # Django tells of refusals and faults after the middleware, with the request on the record.
    request_id = getattr(getattr(record, "request", None), REQUEST_ATTRIBUTE, None) or _request_id.get()
    known = {"request_id": request_id, "task": task.name, "task_id": task.id, "run": _run.get()}
    for name, value in known.items():
        if not hasattr(record, name):
            setattr(record, name, value)


class ContextFilter(logging.Filter):
    """Lets every record through, and names on it what it comes from. Belongs on handlers: theirs see all records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        name_context(record)
        return True


class PlainFormatter(logging.Formatter):
    """Lines for people. A format may use `{context}`: ` [request ...]` and the like, empty where nothing is known.

    A request that was refused is one line, without the traceback of the refusal: these are the warnings of
    `django.request` (403, 404 and the like) and all of `django.security.DisallowedHost`. What others send is no fault
    of ours. Faults (500) keep their traceback.

    A message is one line, whatever was put into it: control characters are written as `\\n` and the like, so that
    nobody forges a line. Tracebacks keep their lines.

    Times are in UTC, as in JSON, whatever zone the site shows times in.
    """

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        record = _without_refusal(record)
        name_context(record)
        parts = [f"{name} {getattr(record, name)}" for name in ("task", "run") if getattr(record, name) != NONE]
        if record.request_id != NONE:  # type: ignore[attr-defined]  # put there by name_context
            parts.insert(0, f"request {record.request_id}")  # type: ignore[attr-defined]  # as above
        record.context = f" [{', '.join(parts)}]" if parts else ""
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line of the record, before any traceback."""
        record = copy.copy(record)  # Other handlers write the message in their own way.
        record.message = record.message.translate(_CONTROLS)
        record.context = str(getattr(record, "context", "")).translate(_CONTROLS)
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One JSON object per line, in ASCII, for programs.

    | member | what it holds |
    | --- | --- |
    | `time` | when, in UTC, as ISO 8601 with microseconds |
    | `level`, `logger`, `message` | as everywhere |
    | `request_id` | of the request, or null |
    | `task`, `task_id`, `run` | of the worker's task and of the evaluation run, or null |
    | `exception` | the traceback as text, or null (refused requests bring none, see `PlainFormatter`) |

    A record with a mapping `fields` (`extra={"fields": {...}}`) adds its members after these. Nothing else that hangs
    on a record is written: a request may hold secrets.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        record = _without_refusal(record)
        name_context(record)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        exception = record.exc_text or ""
        if record.stack_info:
            exception = "\n".join(filter(None, (exception, self.formatStack(record.stack_info))))
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("request_id", "task", "task_id", "run"):
            value = getattr(record, name)
            document[name] = None if value == NONE else value
        document["exception"] = exception or None
        fields = getattr(record, "fields", None)
        if isinstance(fields, Mapping):
            document |= {str(name): value for name, value in fields.items() if str(name) not in document}
        return json.dumps(document, default=str)


def _without_refusal(record: logging.LogRecord) -> logging.LogRecord:
    """The record, or for a refused request a copy of it without the traceback: other handlers may want to know more."""
    if _is_refusal(record) and (record.exc_info or record.exc_text):
        record = copy.copy(record)
        record.exc_info = record.exc_text = None
    return record


def _is_refusal(record: logging.LogRecord) -> bool:
    if record.name == "django.request":
        return record.levelno < logging.ERROR
    return record.name == "django.security.DisallowedHost"
