"""The table: printed, and written into the docs."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import django

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmark.md"


@dataclass(frozen=True)
class Entry:
    """One line: what was done, what it took, what it is measured against, and what that took.

    `took` and `against` are in `unit`: seconds, or items a second where `more_is_better`.
    """

    section: str
    what: str
    took: float
    unit: str
    against_what: str = ""
    against: float | None = None
    more_is_better: bool = False
    note: str = ""

    @property
    def ratio(self) -> str:
        """How many times the time of the rival it took; below 1 is faster than the rival."""
        if self.against is None:
            return ""
        times = self.against / self.took if self.more_is_better else self.took / self.against
        return f"{times:.2f}"


def best_of(runs: int, act: Callable[[], Any]) -> tuple[float, Any]:
    """The median of the seconds that `act` took, once warm, and its last answer."""
    act()
    taken = []
    for _ in range(runs):
        began = perf_counter()
        answer = act()
        taken.append(perf_counter() - began)
    return median(taken), answer


def side_by_side(ours: Callable[[], Any], rival: Callable[[], Any]) -> tuple[float, float, Any]:
    """The median seconds of both, taken by turns once warm, so that a busy moment hits both; and our last answer.

    What is slow is asked fewer times.
    """
    began = perf_counter()
    answer = ours()
    rival()
    slow = perf_counter() - began
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(3 if slow > 2 else 5):
        for act, times in zip((ours, rival), taken, strict=True):
            began = perf_counter()
            act()
            times.append(perf_counter() - began)
    return median(taken[0]), median(taken[1]), answer


def number(value: float, unit: str) -> str:
    """A figure with three digits that say something."""
    if unit == "s" and value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def table(entries: Sequence[Entry]) -> str:
    """All entries as Markdown, a table for each section."""
    lines: list[str] = []
    section = ""
    for entry in entries:
        if entry.section != section:
            section = entry.section
            lines += [
                "",
                f"## {section}",
                "",
                "| what | took | against | took | times |",
                "| --- | --: | --- | --: | --: |",
            ]
        against = number(entry.against, entry.unit) if entry.against is not None else ""
        what = f"{entry.what} ({entry.note})" if entry.note else entry.what
        lines.append(
            f"| {what} | {number(entry.took, entry.unit)} | {entry.against_what} | {against} | {entry.ratio} |"
        )
    return "\n".join(lines).strip()


def machine() -> str:
    """Where the figures were taken."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, Django {django.__version__}, "
        "PostgreSQL without fsync"
    )


def write_page(page: Path, entries: Sequence[Entry], accounts: int, signals: int, readings: int, seconds: int) -> None:
    """Write the page of the docs."""
    page.write_text(
        f"""# Benchmark

Written by `make bench`. Compare ratios, not seconds: each line and its rival were taken in one run, on the same data
and the same machine ({machine()}).
The database holds {accounts:,} accounts, {signals:,} signals of a year and {readings:,} readings; it was seeded in
{seconds} seconds by SQL, and is kept for the next run. "Times" is how many times the rival's time was needed; below 1
is faster than the rival. Seconds are the median of several runs, warm.

The SQL written by hand (`bench/by_hand/`) is what a person would write who knows the tables. It gives the same accounts
with the same found values, and the same verdict counts: the benchmark ends where they differ. Ours puts what it found
into words where somebody reads it.

{table(entries)}
"""
    )
