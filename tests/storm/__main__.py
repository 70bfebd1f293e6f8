"""``python -m tests.storm --plays 10000 --broker orm|redis``: a storm on a throwaway PostgreSQL.

Prints how it goes and what was looked at. Exit status 1: something is wrong; 2: there can be no storm here.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import secrets
import signal
import sys
import tempfile
from pathlib import Path

from tests import postgres, redis
from tests.postgres import end_with_parent


def main() -> int:
    """Prepare, let it storm, look at what is left; answers the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--plays", type=int, default=10_000, help="how many plays (default: 10000)")
    parser.add_argument("--broker", choices=["orm", "redis"], default="orm", help="what hands out tasks")
    parser.add_argument("--seed", type=int, default=7, help="of the lots (default: 7)")
    parser.add_argument("--keep", type=Path, help="keep logs, journals and mails in this new folder")
    chosen = parser.parse_args()
    # As ctrl-C does it, so that nothing is left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_with_parent(signal.SIGTERM)
    with contextlib.ExitStack() as stack:
        database_url, redis_url = _services(stack, chosen.broker)
        if not database_url:
            return 2
        os.environ.update(
            DATABASE_URL=database_url,
            SECRET_KEY=secrets.token_urlsafe(50),
            DJANGO_SETTINGS_MODULE="tests.storm.settings",
            LOG_LEVEL="WARNING",
        )
        os.environ.pop("REDIS_URL", None)
        if redis_url:
            os.environ["REDIS_URL"] = redis_url
        folder = chosen.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="csplaybooks-storm-")))
        folder.mkdir(exist_ok=True)
        return _storm(folder, chosen.plays, chosen.seed, chosen.broker, redis_url)


def _services(stack: contextlib.ExitStack, broker: str) -> tuple[str, str]:
    """The addresses of a PostgreSQL, and of a Redis where one is wanted; empty where this machine has none."""
    binaries, binary = postgres.find_binaries(), redis.find_binary()
    if binaries is None or (broker == "redis" and binary is None):
        _say("It wants PostgreSQL, and Redis for --broker redis (on Debian: apt-get install postgresql redis-server).")
        return "", ""
    url = stack.enter_context(postgres.throwaway_server(binaries))
    if broker == "orm":
        return url, ""
    assert binary is not None
    return url, stack.enter_context(redis.throwaway_redis(binary)).url


def _storm(folder: Path, plays: int, seed: int, broker: str, redis_url: str) -> int:
    import django
    from django.core.management import call_command

    django.setup()
    from tests.storm.report import faults_of, table
    from tests.storm.storm import Storm

    call_command("migrate", verbosity=0, interactive=False)
    storm = Storm(folder, plays, seed=seed, redis_url=redis_url, say=_say)
    _say(f"A storm of {storm.weather.plays:,} plays on PostgreSQL, tasks by {broker}.")
    weather = storm.run()
    from tests.storm.checks import check_all

    checks = check_all(storm)
    for line in table(weather, checks):
        _say(line)
    _say(f"Memory of the supervisor at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB.")
    faults = faults_of(checks)
    for fault in faults:
        _say(fault)
    return 1 if faults else 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command says it


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
