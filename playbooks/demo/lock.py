"""One demo at a time on a database: the system's own lock, which ends with the process however that ends."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Held(Exception):
    """Another process holds the lock; the message is what that process wrote about itself."""


class Unavailable(Exception):
    """The lock file cannot be opened; the message says why."""


def lock_file_of(database: Mapping[str, Any]) -> Path:
    """The lock file of a database, by Django's settings for it.

    Beside a SQLite file; for any other database among the temporary files of this machine, by a name that tells nothing
    of it. The user and password do not count: two demos on one database are two, whoever signs in.
    """
    name = str(database["NAME"])
    is_file = database["ENGINE"] == "django.db.backends.sqlite3" and name != ":memory:" and not name.startswith("file:")
    # By its real name: a link to the file leads to the same lock.
    if is_file and (file := Path(name).resolve()).parent.is_dir():
        return file.with_name(f"{file.name}-demo.lock")
    words = "\n".join(str(database.get(key) or "") for key in ("ENGINE", "HOST", "PORT", "NAME"))
    return Path(tempfile.gettempdir()) / f"csplaybooks-demo-{hashlib.sha256(words.encode()).hexdigest()[:16]}.lock"


def mails_of(database: Mapping[str, Any]) -> Path:
    """The folder into which a demo on a database writes its mails, beside the lock file."""
    file = lock_file_of(database)
    return file.with_name(file.name.removesuffix(".lock") + "-mails")


@contextmanager
def held(file: Path, *, about: str) -> Iterator[None]:
    """Hold the lock of this file while it lasts, and leave in it one line about who does.

    Raises Held, with that line, when another process has it, and Unavailable when the file cannot be opened. The file
    stays: were it removed, one process could lock what another no longer finds.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Unavailable(f"{file} cannot be opened: {error.strerror}") from error
    # Programs that are started do not inherit the descriptor, so that the lock is this process's alone.
    with os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(opened.read(200).strip()) from None
        opened.truncate(0)
        opened.write(f"{about}\n")
        opened.flush()
        yield
