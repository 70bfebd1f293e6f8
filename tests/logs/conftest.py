"""What the site would write, read back."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from typing import Any

import pytest

from csplaybooks.logs import ContextFilter
from csplaybooks.settings import LOGGING


class Written:
    """A handler of the root logger with the site's filter and one of its formatters."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self._stream = io.StringIO()
        self.handler = logging.StreamHandler(self._stream)
        self.handler.addFilter(ContextFilter())
        self.handler.setFormatter(formatter)

    @property
    def text(self) -> str:
        """All that was written."""
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its lines, each of which must be a JSON object."""
        return [json.loads(line) for line in self.text.splitlines()]

    def of(self, logger: str) -> list[dict[str, Any]]:
        """The lines of one logger."""
        return [line for line in self.lines if line["logger"] == logger]


def site_formatter(name: str) -> logging.Formatter:
    """A formatter as the site's settings make it."""
    configurator = logging.config.DictConfigurator(LOGGING)
    formatter: logging.Formatter = configurator.configure_formatter(configurator.config["formatters"][name])
    return formatter


@pytest.fixture
def written(monkeypatch):
    """Everything that is logged while the test runs, from DEBUG on, as JSON."""
    lines = Written(site_formatter("json"))
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.DEBUG)
    for name in ("django", "django.server", "csplaybooks"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    for logger in (root, *map(logging.getLogger, logging.Logger.manager.loggerDict)):
        # Whether a level is on is remembered.
        logger._cache.clear()  # type: ignore[attr-defined]  # Logger.setLevel clears it in the same way
    root.addHandler(lines.handler)
    yield lines
    root.removeHandler(lines.handler)
    for logger in (root, *map(logging.getLogger, logging.Logger.manager.loggerDict)):
        logger._cache.clear()  # type: ignore[attr-defined]  # as above
