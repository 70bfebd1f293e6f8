"""Kill a function before every statement that writes, and before and after every commit.

``python -m tests.crash.dying FUNCTION`` (dotted path), its keyword arguments as JSON on standard input. The
function is called in a forked process that kills itself (``SIGKILL``) at the first of these points, then in
another that does at the second, and so on, until one gets through. Prints, as JSON, how many were killed.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent

#: More points than any of the functions has.
MOST_DEATHS = 500


def site_environment(**more: str) -> dict[str, str]:
    """The environment in which a program started by a test meets the database of this test."""
    from urllib.parse import quote

    from django.conf import settings
    from django.db import connection

    database = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{database['NAME']}"
    else:
        user, password = quote(database["USER"], safe=""), quote(database["PASSWORD"], safe="")
        url = f"postgres://{user}:{password}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    return {
        **environment,
        "DJANGO_SETTINGS_MODULE": "tests.crash.settings",
        "DATABASE_URL": url,
        "SECRET_KEY": settings.SECRET_KEY,
        **more,
    }


def die_everywhere(function: str, **arguments: Any) -> int:
    """Call a function until it has been killed at every point; answers how often it was."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.dying", function],
        input=json.dumps(arguments, default=datetime.isoformat),
        env=site_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    deaths: int = json.loads(done.stdout.splitlines()[-1])
    return deaths


class _Executioner:
    """Lets so many points pass, then kills this process."""

    def __init__(self, passes: int) -> None:
        self.passes = passes

    def point(self) -> None:
        if self.passes == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passes -= 1

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: Any, context: Any) -> Any:
        # Before a SELECT the database stands as it did before the statement ahead of it.
        if not str(sql).startswith("SELECT"):
            self.point()
        return execute(sql, params, many, context)


def _die_at(number: int, function: Callable[..., object], arguments: dict[str, Any]) -> bool:
    """Whether a process that calls the function was killed at its point `number` (from 0)."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _call(function, arguments, _Executioner(number))
            status = 0
        except BaseException:  # noqa: BLE001 - nothing may get past the end of this process
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"the function failed when it was to be killed at point {number}")
    return False


def _call(function: Callable[..., object], arguments: dict[str, Any], executioner: _Executioner) -> None:
    from django.db import connection
    from django.db.backends.base.base import BaseDatabaseWrapper

    commit = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]  # private: the stubs leave it out

    def deadly_commit(wrapper: Any) -> None:
        executioner.point()
        commit(wrapper)
        executioner.point()

    BaseDatabaseWrapper._commit = deadly_commit  # type: ignore[attr-defined]  # as above
    with connection.execute_wrapper(executioner):
        function(**arguments)


def main() -> None:
    """See the module."""
    import django
    from django.utils.module_loading import import_string

    django.setup()
    function = import_string(sys.argv[1])
    arguments = json.load(sys.stdin)
    if "now" in arguments:
        arguments["now"] = datetime.fromisoformat(arguments["now"])
    for number in itertools.count():
        if number > MOST_DEATHS:
            sys.exit("the function never gets through")
        if not _die_at(number, function, arguments):
            print(json.dumps(number))  # noqa: T201 - its answer to the test
            return


if __name__ == "__main__":
    main()
