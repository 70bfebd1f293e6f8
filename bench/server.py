"""PostgreSQL for the benchmark: seeded once, kept in a git-ignored folder, copied for each run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.postgres import find_binaries, initialise, serve

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".bench"

#: What a server of one's own would be given on a small machine.
OPTIONS = {
    "shared_buffers": "2GB",
    "work_mem": "64MB",
    "maintenance_work_mem": "1GB",
    "effective_cache_size": "6GB",
    "random_page_cost": "1.1",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "jit": "off",
}
PASSWORD = "bench"  # noqa: S105 - of a throwaway server on the loopback address
SEED = "seeded"
WORK = "work"


def seed_key(accounts: int, signals: int) -> str:
    """Names the data: another size, another seeding or another schema is other data."""
    digest = hashlib.sha256(f"{accounts} {signals}".encode())
    files = [
        *sorted(ROOT.glob("bench/seed*.py")),
        *sorted(ROOT.glob("*/migrations/0*.py")),
        *sorted(ROOT.glob("playbooks/library/*")),
    ]
    for file in files:
        digest.update(file.read_bytes())
    return f"{accounts}-{signals}-{digest.hexdigest()[:10]}"


@contextlib.contextmanager
def bench_server(accounts: int, signals: int, kept: Path = KEPT) -> Iterator[str]:
    """Yield the URL of a fresh copy of the seeded database; the first time it is seeded, which takes minutes."""
    binaries = find_binaries()
    if binaries is None:
        raise SystemExit("make bench needs the server binaries of PostgreSQL (Debian: apt-get install postgresql).")
    folder = kept / seed_key(accounts, signals)
    done = folder / "seeded"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        initialise(binaries, folder, PASSWORD)
    with serve(binaries, folder, PASSWORD, OPTIONS) as url:
        if not done.exists():
            began = time.monotonic()
            print(f"Seeding {accounts:,} accounts and {signals:,} signals.", flush=True)
            _statement(binaries, url, f"CREATE DATABASE {SEED}")
            environment = {
                **os.environ,
                "DATABASE_URL": database(url, SEED),
                "DJANGO_SETTINGS_MODULE": "bench.settings",
            }
            for module in (["django", "migrate", "--verbosity", "0"], ["bench.seed", str(accounts), str(signals)]):
                subprocess.run([sys.executable, "-m", *module], check=True, cwd=ROOT, env=environment)
            done.write_text(f"{time.monotonic() - began:.0f}")
            print(f"Seeded in {time.monotonic() - began:.0f} seconds; the next runs start from here.", flush=True)
        start_over(url)
        try:
            yield database(url, WORK)
        finally:
            _statement(binaries, url, f"DROP DATABASE IF EXISTS {WORK} WITH (FORCE)")


def start_over(url: str) -> None:
    """Copy the seeded database anew; `url` is that of any database on the server."""
    binaries = find_binaries()
    assert binaries is not None
    server = database(url, "postgres")
    _statement(binaries, server, f"DROP DATABASE IF EXISTS {WORK} WITH (FORCE)")
    # By files: the copy of the seeded data takes seconds. The copy starts out as cold or warm as the disk cache is.
    _statement(binaries, server, f"CREATE DATABASE {WORK} TEMPLATE {SEED} STRATEGY FILE_COPY")


def seeded_seconds(accounts: int, signals: int, kept: Path = KEPT) -> int:
    """How long the seeding took."""
    return int((kept / seed_key(accounts, signals) / "seeded").read_text())


def database(url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return f"{url.rsplit('/', 1)[0]}/{name}"


def _statement(binaries: Path, url: str, statement: str) -> None:
    subprocess.run(
        [binaries / "psql", "--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", url, "-c", statement], check=True
    )
