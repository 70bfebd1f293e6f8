"""How an act says no, where it is not a `ValidationError` that names a field."""

from __future__ import annotations

from typing import Any


class Conflict(Exception):
    """Somebody else changed the row first: its version is not the one the caller had read."""

    def __init__(self, subject: Any, *, expected: int) -> None:
        self.subject = subject
        self.expected = expected
        super().__init__(f"{subject} has changed since version {expected}; read it again.")
