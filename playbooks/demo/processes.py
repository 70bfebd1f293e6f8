"""Programs that run beside each other and end together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

#: How long programs may take to end by themselves, in seconds, before they are killed.
GRACE = 15.0
#: Seconds between two looks at whether they still run.
_POLL = 0.1


class Programs:
    """Child programs, each in a process group of its own, so that it and all it started can be ended together.

    They do not get the terminal's ctrl-C: whoever holds this object ends them by `stop`.
    """

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._beside: set[str] = set()

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str], *, beside: bool = False) -> None:
        """Start a program; what it says goes to our standard error. Without one `beside`, the others go on."""
        if beside:
            self._beside.add(name)
        self._running[name] = subprocess.Popen(  # noqa: S603 - the commands are our own
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )

    def pids(self) -> list[int]:
        """The process ids of the programs, which are also those of their groups."""
        return [program.pid for program in self._running.values()]

    def ended(self) -> str | None:
        """Which program has ended by itself, in words; None while all run that are needed."""
        for name, program in self._running.items():
            if name not in self._beside and (code := program.poll()) is not None:
                return f"{name} ended by itself ({f'signal {-code}' if code < 0 else f'exit status {code}'})"
        return None

    def stop(self, *, hurry: Callable[[], bool]) -> None:
        """End all programs and whatever they started: ask, wait for `GRACE` or until `hurry`, then kill the rest.

        Only the program itself is asked, because it knows in which order its own have to end.
        """
        for program in self._running.values():
            if program.poll() is None:
                program.terminate()
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and not hurry():
            if all(program.poll() is not None for program in self._running.values()):
                break
            time.sleep(_POLL)
        for program in self._running.values():
            _signal_group(program.pid, signal.SIGKILL)
            program.wait()
        # What was killed is gone once its group is; nobody may be left when we say that all has ended.
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and any(_signal_group(p.pid, 0) for p in self._running.values()):
            time.sleep(_POLL)
        self._running.clear()


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group (0 only looks); False when nobody is in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        # macOS says "not permitted" of a group in which all have ended.
        return False
    return True


def _end_with_parent() -> None:
    """Ask Linux to end this program when the one that started it dies, even of a signal it cannot catch."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
