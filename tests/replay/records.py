"""Small activity records, written by the tests that read them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

HEADER = ("occurred_at", "account", "user", "product", "area", "files_changed")

#: A Monday.
START = datetime(2024, 1, 1, tzinfo=UTC)

Cells = Sequence[str]


def at(day: int, hour: int = 10) -> str:
    """An hour of a day of the record, the first being 0."""
    return (START + timedelta(days=day, hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ")


def write(path: Path, rows: Iterable[Cells], header: Cells = HEADER) -> Path:
    """A plain CSV with these rows."""
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(header)
        lines.writerows(rows)
    return path


def story() -> list[Cells]:
    """Fifty days of two customers.

    acme has 4 users, so that it licenses 5 seats on day 27. On day 31 three more come, and all of them stay. Of what
    globex holds, beta is new to it on day 40. Five rows are bad, each in its own way.
    """
    rows: list[Cells] = []
    for day in range(50):
        users = 4 if day < 31 else 7
        rows += [(at(day), "acme", f"ann-{n}", "alpha", "core", "1") for n in range(users)]
        if day % 5 == 0:
            rows.append((at(day, 12), "globex", "gus", "beta", f"area-{day}", "2"))
        if day == 40:
            rows.append((at(day, 15), "acme", "ann-0", "beta", "core", "3"))
    rows.insert(3, ("2024-01-01T10:00:00", "no-zone", "nat", "alpha", "core", "1"))
    rows.insert(30, (at(5), "no-number", "nat", "alpha", "core", "many"))
    rows.insert(40, (at(5), "", "nat", "alpha", "core", "1"))
    rows.insert(50, (at(9), "acme", "ann-0"))
    rows.append(("never", "acme", "ann-0", "alpha", "core", "1"))
    return rows


#: How many rows of the story are bad.
BAD = 5
