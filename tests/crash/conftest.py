"""The marker of the tests that kill processes."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker ``crash``."""
    config.addinivalue_line("markers", "crash: starts processes and kills them with kill -9")
