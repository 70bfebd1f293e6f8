"""The answer to a batch: a verdict for each item, and their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from csplaybooks.api.problems import plain_text


class Status(StrEnum):
    """What became of an item."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The verdict on the item at `index`, from 0. Refusals have all texts, conflicts a message."""

    index: int
    status: Status
    code: str = ""
    field: str = ""
    message: str = ""

    def as_document(self) -> dict[str, Any]:
        """The verdict as the API answers it."""
        document: dict[str, Any] = {"index": self.index, "status": self.status.value}
        if self.status is Status.REFUSED:
            document["code"] = self.code
            document["field"] = plain_text(self.field)
        if self.message:
            document["message"] = plain_text(self.message)
        return document


@dataclass(frozen=True, slots=True)
class IntakeAnswer:
    """What became of a batch: `received` is the sum of the other counts; `results` in the order of items."""

    received: int
    stored: int
    duplicate: int
    conflict: int
    refused: int
    results: Sequence[ItemResult]

    @classmethod
    def of(cls, results: Sequence[ItemResult]) -> Self:
        """The answer that these verdicts add up to."""
        counts = Counter(result.status for result in results)
        return cls(
            received=len(results),
            stored=counts[Status.STORED],
            duplicate=counts[Status.DUPLICATE],
            conflict=counts[Status.CONFLICT],
            refused=counts[Status.REFUSED],
            results=results,
        )

    def as_document(self) -> dict[str, Any]:
        """The answer as the API gives it."""
        return {
            "received": self.received,
            "stored": self.stored,
            "duplicate": self.duplicate,
            "conflict": self.conflict,
            "refused": self.refused,
            "results": [result.as_document() for result in self.results],
        }
