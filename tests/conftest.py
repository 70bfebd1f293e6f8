"""What all tests share: very little. Each test builds the rows that it reads."""

from __future__ import annotations

import os

import hypothesis
import pytest
from django.conf import settings

# No deadline: on a busy machine it measures the neighbours. CI asks the same questions each time, so that a change is
# judged by what it changed; new ones are looked for wherever people run the tests.
hypothesis.settings.register_profile(
    "csplaybooks", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("csplaybooks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``postgresql`` where the tests run on SQLite."""
    if settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
        return
    skip = pytest.mark.skip(reason="needs PostgreSQL")
    for item in items:
        if item.get_closest_marker("postgresql"):
            item.add_marker(skip)
