"""The weights: one document that says what each kind of signal weighs for each motion, and how long it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from csplaybooks.accounts.documents import check_schema, read_yaml
from csplaybooks.accounts.models import Motion
from csplaybooks.signals.models import ReadinessWeights, SignalType, Strength

#: The weights that a new site begins with.
STARTER = Path(__file__).resolve().parent / "starter.yaml"

#: How long one period of a kind of signal is, by its strength, in days.
PERIOD_DAYS: Mapping[str, int] = MappingProxyType(
    {Strength.STRONG.value: 14, Strength.MODERATE.value: 30, Strength.WEAK.value: 60}
)

#: What a signal counts in its first, second and third period, in quarters; after that it counts for nothing.
SHARES = (4, 2, 1)

#: Points are computed in whole quarters, so that every database comes to the same.
QUARTERS = 4

#: No score is higher.
FULL_SCORE = 100

#: How far back the longest window of any kind begins.
LONGEST_WINDOW = timedelta(days=max(PERIOD_DAYS.values()) * len(SHARES))

#: So many signals of a kind count where its line does not say how many.
AT_MOST = 10


@dataclass(frozen=True)
class Weight:
    """What one kind of signal weighs for a motion: `points` each, of the newest `at_most` signals."""

    points: int
    at_most: int


@dataclass(frozen=True)
class Weights:
    """A published version, ready for use: its id and number, what kinds weigh by motion and key, and their strengths.

    Strengths are those of the moment of publishing: a score can be computed again whatever they are today.
    """

    id: int
    number: int
    motions: Mapping[str, Mapping[str, Weight]]
    strengths: Mapping[str, str]

    @classmethod
    def of(cls, version: ReadinessWeights) -> Weights:
        """Those of a version."""
        motions = {
            motion: {key: Weight(line["weight"], line["at_most"]) for key, line in kinds.items()}
            for motion, kinds in version.document["motions"].items()
        }
        return cls(version.pk, version.number, motions, version.document["strengths"])

    @classmethod
    def in_force(cls) -> Weights | None:
        """Those of the newest version; None where none was published. One query."""
        version = ReadinessWeights.objects.in_force()
        return None if version is None else cls.of(version)

    @classmethod
    def by_id(cls, version_id: int) -> Weights:
        """Those of one version. One query. Raises ReadinessWeights.DoesNotExist."""
        return cls.of(ReadinessWeights.objects.get(pk=version_id))

    def period(self, key: str) -> timedelta:
        """How long one period of a kind of signal is."""
        return timedelta(days=PERIOD_DAYS[self.strengths[key]])


def weights_schema() -> dict[str, Any]:
    """The JSON schema of the document."""
    kinds = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 50,
        "additionalProperties": {
            "type": "object",
            "required": ["weight"],
            "properties": {
                # Above the score itself a weight says nothing more; below one a signal says nothing.
                "weight": {"type": "integer", "minimum": 1, "maximum": FULL_SCORE},
                "at_most": {"type": "integer", "minimum": 1, "maximum": 100},
            },
            "additionalProperties": False,
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "csplaybooks readiness weights",
        "type": "object",
        "required": ["motions"],
        "additionalProperties": False,
        "properties": {
            "motions": {
                "type": "object",
                "minProperties": 1,
                "properties": dict.fromkeys(Motion.values, kinds),
                "additionalProperties": False,
            }
        },
    }


def read_weights(text: str) -> dict[str, Any]:
    """Read and check a document of weights; answer it with everything that was left out filled in.

    Raises `DocumentError`, which names each place by its path, as in `motions/tier_upsell/login/weight`. Whether the
    kinds of signal it names exist is asked when it is published.
    """
    document = read_yaml(text, of="the weights")
    check_schema(document, weights_schema())
    for kinds in document["motions"].values():
        for line in kinds.values():
            line.setdefault("at_most", AT_MOST)
    return document


def kinds_named(document: Mapping[str, Any]) -> dict[str, str]:
    """The keys of the signal types that a document names, each with the first path that does."""
    named: dict[str, str] = {}
    for motion, kinds in document["motions"].items():
        for key in kinds:
            named.setdefault(key, f"motions/{motion}/{key}")
    return named


def strengths_now(keys: Mapping[str, str]) -> dict[str, str]:
    """The strengths that signal types have now, by key; those that there are. One query."""
    return dict(SignalType.objects.filter(key__in=keys).order_by("key").values_list("key", "strength"))
