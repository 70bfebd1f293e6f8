"""A throwaway PostgreSQL server from the binaries that the machine has.

``python -m tests.postgres COMMAND ...`` starts one, runs the command with ``DATABASE_URL`` naming it, ends
it and answers with the command's exit status. Where there are no server binaries, nothing is run and the
status is 0; ``python -m tests.postgres`` alone tells about that, and fails with ``CI=true``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

USER = "csplaybooks"
START_SECONDS = 30


def find_binaries() -> Path | None:
    """Return the folder of the newest server binaries (Debian's place, else the PATH), or None."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if folders:
        return max(folders, key=lambda folder: float(folder.parent.name))
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


@contextlib.contextmanager
def throwaway_server(binaries: Path) -> Iterator[str]:
    """Yield the URL of a database on a new server, which is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="csplaybooks-postgres-"))
    try:
        password = secrets.token_hex(16)
        initialise(binaries, folder, password)
        with serve(binaries, folder, password) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_owner() -> dict[str, Any]:
    """How a program of the server is started: it refuses root, so as the user ``postgres`` when we are root."""
    if os.geteuid() != 0:
        return {}
    owner = pwd.getpwnam("postgres")
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def initialise(binaries: Path, folder: Path, password: str) -> None:
    """Make the data of a new server in ``folder``, which is there and empty."""
    as_owner = _as_owner()
    password_file = folder / "password"
    password_file.write_text(password)
    if as_owner:
        for path in (folder, password_file):
            os.chown(path, as_owner["user"], as_owner["group"])
    subprocess.run(
        [
            binaries / "initdb",
            *("--pgdata", folder / "data", "--username", USER, "--pwfile", password_file),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        ],
        check=True,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        **as_owner,
    )


@contextlib.contextmanager
def serve(binaries: Path, folder: Path, password: str, more_options: Mapping[str, str] | None = None) -> Iterator[str]:
    """Start the server whose data lie in ``folder``, and yield the URL of its database; it is ended afterwards.

    It listens on a free port of the loopback address only, and runs without fsync: its data can be made again.
    """
    port = free_port()
    options = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "max_connections": 200,
        **(more_options or {}),
    }
    log = folder / "log"
    with log.open("w") as log_file:
        server = subprocess.Popen(
            [
                binaries / "postgres",
                *("-D", folder / "data"),
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ],
            cwd=folder,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            # Out of the terminal's reach: on ctrl-C the tests end first, then the server.
            start_new_session=True,
            # When we are killed it ends as well: "fast", as below.
            preexec_fn=lambda: end_with_parent(signal.SIGINT),
            **_as_owner(),
        )
    try:
        _wait_until_ready(binaries, server, port, log)
        yield f"postgres://{USER}:{password}@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # "fast": sessions are cut off
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGQUIT)  # "immediate"
            server.wait()


def end_with_parent(number: int) -> None:
    """Ask Linux for a signal when the process that started this one dies, even of one that it cannot catch."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)


def free_port() -> int:
    """A port of the loopback address on which nobody listened a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(binaries: Path, server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and server.poll() is None:
        answer = subprocess.run(
            [binaries / "pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(port)], check=False
        )
        if answer.returncode == 0:
            return
        time.sleep(0.05)  # between two looks
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")


def run(command: list[str], database_url: str) -> int:
    """Run ``command`` with ``DATABASE_URL`` set, hand SIGTERM on to it, and return its exit status."""
    child = subprocess.Popen(command, env={**os.environ, "DATABASE_URL": database_url})
    # ctrl-C reaches the child from the terminal; here it must not cut the wait short.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    return child.wait()


def main(command: list[str]) -> int:
    """Run ``command`` against a server, or tell whether there can be one. Return the exit status."""
    binaries = find_binaries()
    if not command:
        if binaries is None:
            print("No PostgreSQL server binaries on this machine: the tests run on SQLite alone.")  # noqa: T201 - a command says it
            return 1 if os.environ.get("CI") == "true" else 0
        return 0
    if binaries is None:
        return 0
    with throwaway_server(binaries) as database_url:
        print("A throwaway PostgreSQL is up.", flush=True)  # noqa: T201 - as above
        return run(command, database_url)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
