"""How an act says no because somebody was first; every other no is a plain `ValidationError` that names its field."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError


class Conflict(ValidationError):
    """Somebody else changed the row first: its version is not the one the caller had read.

    Its `code` is `conflict`, by which callers that know nothing of acts can tell it from other refusals.
    """

    def __init__(self, subject: Any, *, expected: int) -> None:
        self.subject = subject
        self.expected = expected
        super().__init__(f"{subject} has changed since version {expected}; read it again.", code="conflict")
