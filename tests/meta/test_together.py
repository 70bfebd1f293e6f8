"""Groups of tests are handed out whole, and what takes long begins first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.release import CHECKOUT
from tests.together import FIRST, TOGETHER, group_of, place_of, pytest_xdist_make_scheduler

BEGINNINGS = [*(one for beginnings in TOGETHER.values() for one in beginnings), *FIRST]


class Worker:
    """A process that runs what it is told, and tells what that was."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.told: list[int] = []

    def send_runtest_some(self, numbers: list[int]) -> None:
        """Run these."""
        self.told += numbers

    def shutdown(self) -> None:
        """There is no more to come."""
        self.shutting_down = True


def handed_out(tests: list[str]) -> list[list[str]]:
    """What each of two workers runs of the tests, where each takes as long."""
    options = SimpleNamespace(dist="load", loadscopereorder=True)
    asked: Any = SimpleNamespace(
        option=options, getoption=lambda name: getattr(options, name), getvalue=lambda name: ["popen", "popen"]
    )
    scheduler: Any = pytest_xdist_make_scheduler(asked, SimpleNamespace(loadscopesched=lambda *words: None))
    workers = [Worker("gw0"), Worker("gw1")]
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, tests)
    scheduler.schedule()
    ran: list[list[str]] = [[], []]
    while sum(map(len, ran)) < len(tests):
        for one, worker in enumerate(workers):
            for number in worker.told[len(ran[one]) :][:1]:
                ran[one].append(tests[number])
                scheduler.mark_test_complete(worker, number)
    return ran


def test_a_group_stays_in_one_process_whatever_lies_between() -> None:
    group = TOGETHER["release"]
    tests = [f"tests/any/test_{number}.py::test_{number}" for number in range(20)]
    tests[3:3] = [f"{group[0]}::test_a", f"{group[1]}test_site.py::test_b[1]"]
    tests += [f"{group[-1]}::test_c", f"{TOGETHER['plans'][0]}::test_d"]

    ran = handed_out(sorted(tests, key=place_of))

    assert sorted(ran[0] + ran[1]) == sorted(tests)
    assert min(len(one) for one in ran) > 5
    (by_one,) = [one for one in ran if any(group_of(test) == "release" for test in one)]
    assert [group_of(test) for test in by_one[:3]] == ["release"] * 3


def test_what_takes_long_begins_first() -> None:
    tests = ["tests/accounts/test_rows.py::test_a", f"{FIRST[0]}::test_b", f"{TOGETHER['plans'][1]}::test_c[x@y]"]
    assert sorted(tests, key=place_of) == tests[::-1]


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_whatever_is_named_is_there(beginning: str) -> None:
    path = CHECKOUT / beginning
    assert path.is_dir() if beginning.endswith("/") else path.is_file()


def test_nothing_is_named_twice() -> None:
    assert len(BEGINNINGS) == len(set(BEGINNINGS))
