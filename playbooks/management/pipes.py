"""What becomes of a command whose output nobody reads any more, as behind `head`."""

from __future__ import annotations

import os
from typing import Any

#: How a shell tells of a program that a closed pipe has ended (128 + SIGPIPE).
CUT_SHORT = 141


def let_go(stream: Any) -> None:
    """After a BrokenPipeError: send what is still to come nowhere, or Python complains of it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
