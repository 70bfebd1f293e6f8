"""Which tests stay together in one process, and which begin first, where several run them (`-n 2`).

xdist has a mark for groups, `xdist_group`, and writes it into the id of a test. Since pytest 9.2 that id cannot be
changed, and the marks do nothing, without a word. And what it has begin first is what has the most tests, not what
takes longest. So the groups stand here, by the beginnings of the ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

#: Tests that share something costly or get into each other's way, by the beginnings of their ids. Each group is run by
#: one process, and the groups are the first to begin, in this order.
TOGETHER = {
    # One build of a release, and the environments that it is installed into.
    "release": (
        "tests/docs/test_start_site.py",
        "tests/host_site/",
        "tests/deploy/test_container.py",
        "tests/packaging/test_wheel.py",
    ),
    # Programs that want the machine to themselves.
    "programs": (
        "tests/crash/test_storm.py",
        "tests/cluster/",
        "tests/demo/test_command.py",
    ),
    # One sample company.
    "grown up": ("tests/demo/test_grown_up.py",),
    # 100,000 rows and more, made once for each of the two: one at a time.
    "plans": (
        "tests/playbooks/test_plans.py",
        "tests/retention/test_plans.py",
    ),
    # One record, replayed.
    "replay": ("tests/replay/test_replay.py",),
    # One build of the pages.
    "docs": ("tests/docs/test_built.py",),
}

#: Tests that take ten seconds and more: one of them at the very end would keep one process busy, and the others idle.
FIRST = (
    "tests/crash/test_clusters.py",
    "tests/operations/test_stalled_clusters.py",
    "tests/roles/test_matrix.py",
    "tests/playbooks/test_plays_in_any_order.py",
    "tests/demo/test_company.py",
    "tests/docs/test_extending.py",
    "tests/deploy/test_units.py",
    "tests/bench/",
    "tests/roles/test_links.py",
    "tests/replay/",
    "tests/retention/test_properties.py",
    "tests/meta/test_strangers.py",
)

_GROUPS = [(beginning, name) for name, beginnings in TOGETHER.items() for beginning in beginnings]
_ORDER = [beginning for beginning, _ in _GROUPS] + list(FIRST)


def group_of(test: str) -> str:
    """The name of the group to which a test belongs, by its id; a test that is in none is one by itself."""
    return next((name for beginning, name in _GROUPS if test.startswith(beginning)), test)


def place_of(test: str) -> int:
    """Where a test is to begin among the others, by its id: a sort key. Those with the same may begin in any order."""
    return next((place for place, beginning in enumerate(_ORDER) if test.startswith(beginning)), len(_ORDER))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Hand out whole groups, in the order of the tests. None where `--dist` asks for another way of xdist's own."""
    if config.getoption("dist") not in ("load", "loadgroup"):
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        """Hands out the groups above; which of the tests are one is asked by `_split_scope`."""

        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    # In the order of the collection, which conftest.py has made; not by the number of tests.
    config.option.loadscopereorder = False
    return ByGroup(config, log)
