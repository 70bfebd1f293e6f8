"""``python -m bench [--accounts N] [--signals N] [--only NAME ...]``: measure, print the table, write the page."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bench.report import PAGE, Entry, table, write_page
from bench.seed import METERS, READINGS_OF_A_METER
from bench.server import KEPT, bench_server, seeded_seconds

# The round last: it leaves thousands of plays to be opened.
PARTS = ("triggers", "intake", "latency", "round")


def main() -> None:
    """Run the parts asked for. The page is written only when all have run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--signals", type=int, default=10_000_000)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--data", type=Path, default=KEPT, help="folder in which seeded data is kept")
    parser.add_argument("--page", type=Path, default=PAGE, help="file to write when all parts have run")
    chosen = parser.parse_args()
    size = (chosen.accounts, chosen.signals)
    with bench_server(*size, chosen.data) as url:
        os.environ.update(DATABASE_URL=url, DJANGO_SETTINGS_MODULE="bench.settings")
        import django

        django.setup()
        from csplaybooks.playbooks.pokes import pokes_silenced

        entries: list[Entry] = []
        for part in PARTS:
            if part not in chosen.only:
                continue
            print(f"Measuring: {part}", flush=True)
            if part == "latency":
                from bench.latency import measure_latency

                entries += measure_latency(url)
                continue
            with pokes_silenced():
                if part == "triggers":
                    from bench.triggers import measure_triggers

                    entries += measure_triggers(chosen.accounts)
                elif part == "round":
                    from bench.triggers import measure_round

                    entries += measure_round(chosen.accounts)
                else:
                    from bench.intake import measure_intake

                    entries += measure_intake(url)
        from django.db import connections

        connections.close_all()
    print(table(entries))
    if set(chosen.only) == set(PARTS):
        readings = chosen.accounts * len(METERS) * READINGS_OF_A_METER
        write_page(chosen.page, entries, *size, readings, seeded_seconds(*size, chosen.data))
        print(f"\nWritten to {chosen.page.name}.")


if __name__ == "__main__":
    main()
