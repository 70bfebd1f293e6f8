"""The whole library swept over all accounts, and news of a thousand of them, in a process of its own: its memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

if __name__ == "__main__":
    import django

    django.setup()

from bench.report import Entry
from bench.seed import MOMENT

ROOT = Path(__file__).resolve().parent.parent
SECTION = "All triggers of the starter library over all accounts"
#: So many accounts does a batch of news touch, and so many batches are taken in, one after the other.
TOUCHED = 1000
BATCHES = 3


def measure_sweep(url: str, accounts: int) -> list[Entry]:
    """Two sweeps, then batches of news, by a process that does nothing else."""
    answer = subprocess.run(
        [sys.executable, "-m", "bench.sweep", str(accounts)],
        check=True,
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "bench.settings"},
        stdout=subprocess.PIPE,
    )
    told: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    entries = [Entry(SECTION, "The first round", told["first"], "s", note=f"opens {told['opened']:,} episodes")]
    if told["parts"]:
        # Where one run is enough, there are no parts.
        longest = max(told["parts"])
        entries.append(Entry(SECTION, "The longest of its parts", longest, "s", note=f"of {len(told['parts'])}"))
    round_again = "the round an hour later"
    entries += [
        Entry(SECTION, round_again.capitalize(), told["again"], "s", "the first round", told["first"]),
        Entry(SECTION, f"News of {told['touched']:,} accounts: taken in", told["taken_in"], "s"),
        Entry(
            section=SECTION,
            what=f"News of {told['touched']:,} accounts: all triggers evaluated",
            took=told["evaluated"],
            unit="s",
            against_what=round_again,
            against=told["again"],
        ),
        Entry(SECTION, "Most memory of the process that did all this", told["memory"], "MiB", note=told["before"]),
        Entry(
            section="Readiness scores of all accounts for all motions",
            what="the snapshot of a day",
            took=told["scored"],
            unit="s",
            note=f"{told['kept']:,} scores above 0",
        ),
    ]
    return entries


def _memory() -> float:
    """The most memory that this process has ever had, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # What the system counts in the other way begins with what the process had that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def _measure(accounts: int) -> dict[str, Any]:
    from csplaybooks.playbooks.models import Match, Run
    from csplaybooks.playbooks.pokes import pokes_silenced
    from csplaybooks.playbooks.runs import run_triggers
    from csplaybooks.signals.acts.readiness import snapshot_scores

    before = _memory()
    with pokes_silenced():
        first, parts = _round(MOMENT)
        opened = Match.objects.count()
        again, _ = _round(MOMENT + timedelta(hours=1))
        runs = []
        for batch in range(BATCHES):
            at = MOMENT + timedelta(hours=1, minutes=1 + batch)
            began = perf_counter()
            touched = _news(accounts, batch, at)
            taken_in = perf_counter() - began
            began = perf_counter()
            report = run_triggers(now=at)
            runs.append((perf_counter() - began, taken_in))
            if report is None or report.accounts != touched:
                raise SystemExit(f"News of {touched:,} accounts, and the run looked at others: {report}.")
    if faults := [run for run in Run.objects.all() if run.errors]:
        raise SystemExit(f"A run has errors: {faults[0].errors}")
    evaluated, taken_in = sorted(runs)[len(runs) // 2]
    began = perf_counter()
    kept = snapshot_scores(now=MOMENT)
    scored = perf_counter() - began
    return {
        **{"first": first, "parts": parts, "opened": opened, "again": again},
        **{"touched": touched, "taken_in": taken_in, "evaluated": evaluated},
        **{"kept": kept, "scored": scored},
        **{"memory": _memory(), "before": f"{before:.0f} MiB of it before the first round"},
    }


def _round(at: Any) -> tuple[float, list[float]]:
    """Seconds of a full run, or of the round that takes its place, and of each of its parts."""
    from csplaybooks.playbooks.rounds import run_next_part
    from csplaybooks.playbooks.runs import run_triggers

    began = perf_counter()
    run_triggers(now=at, full=True)
    parts = []
    while True:
        part_began = perf_counter()
        if run_next_part(now=at) is None:
            break
        parts.append(perf_counter() - part_began)
    return perf_counter() - began, parts


def _news(accounts: int, batch: int, at: Any) -> int:
    """Take in a signal of each of a thousand accounts, spread over all; answers of how many.

    Their ids are even: of these none was deleted or merged away.
    """
    from csplaybooks.signals.intake import take_in_signals

    step = max(2, accounts // TOUCHED // 2 * 2)
    named = range(2 + 2 * batch % step, accounts + 1, step)[:TOUCHED]
    answer = take_in_signals(
        items=[
            {
                **{"source": "product", "external_id": f"news-{batch}-{account}", "account": f"account-{account}"},
                **{"type": "feature_used" if account % 4 else "feature_gate_hit", "occurred_at": at.isoformat()},
                "properties": {"feature": "reports"},
            }
            for account in named
        ],
        now=at,
    )
    if answer.stored != len(named):
        raise SystemExit(f"Of {len(named):,} items of news {answer.stored:,} were stored.")
    return len(named)


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]))))
