"""``python -m bench [--accounts N] [--signals N] [--only NAME ...]``: measure, print the table, write the page."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bench.report import PAGE, Entry, table, write_page
from bench.seed import METERS, READINGS_OF_A_METER
from bench.server import KEPT, bench_server, seeded_seconds, start_over

PARTS = ("triggers", "sweep", "assignment", "clocks", "embedded", "intake", "latency", "calendar")
#: These leave thousands of plays: what comes after them starts with the data as they were.
CROWDED = ("sweep", "assignment", "clocks")
#: What needs no data: asked for alone, it is measured at once.
WITHOUT_DATA = ("calendar",)
#: On SQLite the data are a tenth.
EMBEDDED_SHARE = 10


def main() -> None:
    """Run the parts asked for. The page is written only when all have run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--signals", type=int, default=10_000_000)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--data", type=Path, default=KEPT, help="folder in which seeded data is kept")
    parser.add_argument("--page", type=Path, default=PAGE, help="file to write when all parts have run")
    chosen = parser.parse_args()
    if set(chosen.only) <= set(WITHOUT_DATA):
        for part in chosen.only:
            print(table(measure(part, "", chosen.accounts, chosen.signals)))
        return
    size = (chosen.accounts, chosen.signals)
    with bench_server(*size, chosen.data) as url:
        os.environ.update(DATABASE_URL=url, DJANGO_SETTINGS_MODULE="bench.settings")
        import django

        django.setup()
        from django.db import connections

        # Now: the files that name the data may be edited while it is measured.
        seeded_in = seeded_seconds(*size, chosen.data)
        entries: list[Entry] = []
        for part in PARTS:
            if part in chosen.only:
                print(f"Measuring: {part}", flush=True)
                measured = measure(part, url, chosen.accounts, chosen.signals)
                print(f"{table(measured)}\n", flush=True)
                entries += measured
                connections.close_all()
                if part in CROWDED:
                    start_over(url)
    if set(chosen.only) == set(PARTS):
        readings = chosen.accounts * len(METERS) * READINGS_OF_A_METER
        write_page(chosen.page, entries, *size, readings, seeded_in)
        print(f"Written to {chosen.page.name}.")


def measure(part: str, url: str, accounts: int, signals: int) -> list[Entry]:
    """One of `PARTS`. Django must be set up but for those `WITHOUT_DATA`: what is measured is imported only then."""
    from csplaybooks.playbooks.pokes import pokes_silenced

    match part:
        case "triggers":
            from bench.triggers import measure_triggers

            return measure_triggers(accounts)
        case "sweep":
            from bench.sweep import measure_sweep

            return measure_sweep(url, accounts)
        case "assignment":
            from bench.assignment import measure_assignment

            with pokes_silenced():
                return measure_assignment()
        case "clocks":
            from bench.clocks import measure_clocks

            with pokes_silenced():
                return measure_clocks()
        case "embedded":
            from bench.embedded import measure_embedded

            return measure_embedded(accounts // EMBEDDED_SHARE, signals // EMBEDDED_SHARE)
        case "intake":
            from bench.intake import measure_intake

            with pokes_silenced():
                return measure_intake(url)
        case "calendar":
            from bench.calendar import measure_calendar

            return measure_calendar()
        case _:
            from bench.latency import measure_latency

            return measure_latency(url)


if __name__ == "__main__":
    main()
