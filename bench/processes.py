"""Servers of the site, each in a process group of its own, ended with the benchmark."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def process(*command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command with more environment; its whole group is killed afterwards."""
    running = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "bench.settings", **environment},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


@contextlib.contextmanager
def gunicorn(url: str, port: int, **environment: str) -> Iterator[None]:
    """One web process of the site on a database; yields when it answers."""
    command = (
        "gunicorn",
        "csplaybooks.wsgi",
        "--bind",
        f"127.0.0.1:{port}",
        "--timeout",
        "600",
        "--log-level",
        "error",
    )
    with process(*command, DATABASE_URL=url, **environment):
        wait_for_port(port)
        yield


@contextlib.contextmanager
def cluster(url: str, **environment: str) -> Iterator[None]:
    """One qcluster on a database."""
    with process("django", "qcluster", DATABASE_URL=url, **environment):
        yield


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """The URL of a throwaway Redis that keeps nothing on disk."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise SystemExit("make bench needs redis-server (Debian: apt-get install redis-server).")
    port = free_port()
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    running = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        running.kill()
        running.wait()


def wait_for_port(port: int, seconds: float = 60) -> None:
    """Wait until something listens."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > give_up:
                raise SystemExit(f"Nothing listens on port {port} after {seconds} seconds.") from None
            time.sleep(0.05)  # between two looks
        else:
            return
