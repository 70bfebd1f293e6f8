"""A throwaway Redis server from the binary that the machine has."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.postgres import end_with_parent, free_port

START_SECONDS = 30


def find_binary() -> str | None:
    """The path of the server, or None."""
    return shutil.which("redis-server")


def require_binary() -> str:
    """The path of the server; where there is none the test is skipped, and fails with ``CI=true``."""
    binary = find_binary()
    if binary is None:
        reason = "No redis-server on this machine (on Debian: apt-get install redis-server)."
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return binary


class Redis:
    """A server on a free port of the loopback address, which keeps nothing on disk; it can be killed and come back."""

    def __init__(self, binary: str) -> None:
        self._binary = binary
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        """Start it, empty, on the same port; returns when it answers."""
        self._server = subprocess.Popen(
            [
                self._binary,
                *("--bind", "127.0.0.1", "--port", str(self._port)),
                *("--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"),
            ],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: end_with_parent(signal.SIGTERM),
        )
        give_up = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > give_up:
                self.kill()
                raise RuntimeError("redis-server did not start.")
            time.sleep(0.05)  # between two looks

    def kill(self) -> None:
        """Kill it with all that it holds."""
        self._server.kill()
        self._server.wait()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False


@contextlib.contextmanager
def throwaway_redis(binary: str) -> Iterator[Redis]:
    """Yield a new server, which is gone afterwards."""
    server = Redis(binary)
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def pokes_by_redis() -> Iterator[Redis]:
    """Yield a new server to which the pokes of this process go; skips or fails the test where there is none."""
    from django_q.conf import Conf

    with throwaway_redis(require_binary()) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Conf, "ORM", None)
        patch.setattr(Conf, "REDIS", server.url)
        yield server
