"""What is sold, as a run used it: the plans and features of the catalogue, which are not dated.

A run keeps it in its row when one of its triggers asks for it (`Measure.uses_catalogue`), in few bytes: features that
are alike in product, least plan and area stand together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from csplaybooks.accounts.models import Feature, Plan


@dataclass(frozen=True)
class SoldPlan:
    """A plan: its key, the product it is a tier of, its rank there, and the plan that follows it. Rows by their ids."""

    key: str
    product: int
    rank: int
    next_plan: int | None


@dataclass(frozen=True)
class SoldFeature:
    """A feature: its product, the least plan that opens it (None: any), and its area ("": none). Rows by their ids."""

    product: int
    least_plan: int | None
    area: str


@dataclass(frozen=True)
class Catalogue:
    """Plans by id and features by key, at one moment. An empty one says that nothing is sold."""

    plans: Mapping[int, SoldPlan] = field(default_factory=dict)
    features: Mapping[str, SoldFeature] = field(default_factory=dict)

    @classmethod
    def now(cls) -> Catalogue:
        """What is sold today; two queries."""
        # Features first: a plan that is made meanwhile cannot be missing then.
        features = Feature.objects.order_by("pk").values_list("key", "product_id", "least_plan_id", "area")
        rows = [(key, SoldFeature(*values)) for key, *values in features]
        plans = Plan.objects.order_by("pk").values_list("pk", "key", "product_id", "rank", "next_plan_id")
        return cls(plans={pk: SoldPlan(*values) for pk, *values in plans}, features=dict(rows))

    def as_json(self) -> dict[str, Any]:
        """What a run keeps of it; `from_json` makes it whole again. In lists, as JSON has no numbers for names."""
        return self._as_json

    @cached_property
    def _as_json(self) -> dict[str, Any]:
        alike: dict[tuple[int, int | None, str], list[str]] = {}
        for key, feature in sorted(self.features.items()):
            alike.setdefault((feature.product, feature.least_plan, feature.area), []).append(key)
        return {
            "plans": [
                [pk, plan.key, plan.product, plan.rank, plan.next_plan] for pk, plan in sorted(self.plans.items())
            ],
            "features": [[*what, keys] for what, keys in alike.items()],
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Catalogue:
        """What `as_json` made."""
        return cls(
            plans={pk: SoldPlan(*values) for pk, *values in kept["plans"]},
            features={key: SoldFeature(*values) for *values, keys in kept["features"] for key in keys},
        )

    def at_least(self, plan_id: int) -> list[int]:
        """A plan and the higher tiers of its product: whoever holds one of them has what the plan opens."""
        plan = self.plans[plan_id]
        return [pk for pk, other in self.plans.items() if other.product == plan.product and other.rank >= plan.rank]

    def opened_by(self) -> dict[tuple[int, int | None], list[str]]:
        """The keys of features by product and least plan, sorted; a plan that is gone is none."""
        opened: dict[tuple[int, int | None], list[str]] = {}
        for key, feature in sorted(self.features.items()):
            least = feature.least_plan if feature.least_plan in self.plans else None
            opened.setdefault((feature.product, least), []).append(key)
        return opened

    def areas(self) -> dict[str, str]:
        """The area of each feature that has one, by the feature's key."""
        return {key: feature.area for key, feature in sorted(self.features.items()) if feature.area}
