"""What all tests share: very little. Each test builds the rows that it reads."""

from __future__ import annotations

import os

import hypothesis
import pytest
from django.conf import settings

from tests.together import place_of, pytest_xdist_make_scheduler

__all__ = ["pytest_xdist_make_scheduler"]

# No deadline: on a busy machine it measures the neighbours. CI asks the same questions each time, so that a change is
# judged by what it changed; new ones are looked for wherever people run the tests.
hypothesis.settings.register_profile(
    "csplaybooks", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("csplaybooks")
# Where the same is asked in full on other versions: see `tests.examples`.
hypothesis.settings.register_profile("brief", hypothesis.settings.get_profile("csplaybooks"), max_examples=25)

#: Folders and files whose answers do not depend on the database. They are run on SQLite alone; what they read is asked
#: of PostgreSQL by the tests of the rooms.
ANY_DATABASE = (
    "tests/checks",
    "tests/deploy",
    "tests/docs",
    "tests/logs",
    "tests/meta/test_strangers.py",
    "tests/meta/test_writes.py",
    "tests/packaging",
    "tests/roles/test_links.py",
    "tests/roles/test_matrix.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what is marked ``postgresql`` on SQLite, and what asks nothing of the database on PostgreSQL.

    What takes long begins first, and groups stay together.
    """
    on_postgresql = settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql"
    needs_postgresql = pytest.mark.skip(reason="needs PostgreSQL")
    once = pytest.mark.skip(reason="the same on every database: run on SQLite")
    # Asked for by name they are run all the same.
    by_name = any(str(word).startswith("tests/") for word in config.invocation_params.args)
    for item in items:
        if not on_postgresql:
            if item.get_closest_marker("postgresql"):
                item.add_marker(needs_postgresql)
        elif not by_name and (item.get_closest_marker("any_database") or item.nodeid.startswith(ANY_DATABASE)):
            item.add_marker(once)
    items.sort(key=lambda item: place_of(item.nodeid))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Have known before a test begins what Django asks once in a process: content types, and what SQLite can do.

    Otherwise whoever counts queries counts these as well, or does not, as the tests before it have it.
    """
    if item.get_closest_marker("django_db") or {"db", "transactional_db"} & set(getattr(item, "fixturenames", ())):
        from django.apps import apps
        from django.contrib.contenttypes.models import ContentType
        from django.db import connection

        assert connection.features.supports_json_field
        ContentType.objects.get_for_models(*apps.get_models())
