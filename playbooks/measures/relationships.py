"""Measures over the people at an account and the reviews held with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import Exists, OuterRef, Q, Subquery

from csplaybooks.accounts.models import ChampionChange, Change, Entitlement, Finding, FindingState
from csplaybooks.playbooks.measures.base import Compiled, Measure, Moment


class OpenGap(Measure):
    """An open finding of kind gap that names a product the account does not hold."""

    key = "open_gap"
    treats = "held products fill no gap"
    moment_is_a_parameter = True
    settings_schema: ClassVar[dict[str, Any]] = {
        "products": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 50}
    }
    takes_threshold = False

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        mark = moment.known.mark
        gaps = Finding.objects.filter(
            Exists(
                FindingState.objects.holding_at(moment.as_of, mark).filter(
                    finding=OuterRef("pk"), status=FindingState.Status.OPEN
                )
            ),
            ~Exists(
                Entitlement.objects.holding_at(moment.as_of, mark).filter(
                    account=OuterRef("account"), product=OuterRef("product")
                )
            ),
            kind=Finding.Kind.GAP,
            product__isnull=False,
        )
        if products := settings.get("products"):
            gaps = gaps.filter(product__key__in=products)
        asked = gaps if moment.accounts is None else gaps.filter(account__in=moment.accounts)
        own = gaps.filter(account=OuterRef("pk")).order_by("pk")
        return Compiled(
            holds=Q(pk__in=asked.order_by().values("account")),
            found={
                "finding": Subquery(own.values("pk")[:1]),
                "text": Subquery(own.values("text")[:1]),
                "product": Subquery(own.values("product__key")[:1]),
                "product_name": Subquery(own.values("product__name")[:1]),
            },
        )

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        if found["finding"] is None:
            return "no open gap that a product not held would fill"
        return f"a review cited a gap that {found['product_name']} fills: {found['text'][:120]}"


class ChampionChanged(Measure):
    """A champion's change of one of some kinds in a window `(as_of - window_days, as_of]`."""

    key = "champion_change"
    treats = "none in the window fails"
    moment_is_a_parameter = True
    settings_schema = {
        "kinds": {
            "type": "array",
            "items": {"enum": list(ChampionChange.Kind.values)},
            "minItems": 1,
            "uniqueItems": True,
        },
        "window_days": {"type": "integer", "minimum": 1, "maximum": 730},
    }
    required = ("kinds", "window_days")
    takes_threshold = False

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        changes = ChampionChange.objects.filter(
            kind__in=settings["kinds"],
            occurred_at__gt=moment.as_of - timedelta(days=settings["window_days"]),
            occurred_at__lte=moment.as_of,
        )
        if moment.known.mark is not None:
            changes = changes.exclude(change__in=Change.objects.not_known_at(moment.known.mark).values("pk"))
        asked = changes if moment.accounts is None else changes.filter(account__in=moment.accounts)
        own = changes.filter(account=OuterRef("pk")).order_by("-occurred_at", "-pk")
        return Compiled(
            holds=Q(pk__in=asked.order_by().values("account")),
            found={
                "champion": Subquery(own.values("champion__name")[:1]),
                "kind": Subquery(own.values("kind")[:1]),
                "new_title": Subquery(own.values("new_title")[:1]),
                "at": Subquery(own.values("occurred_at")[:1]),
            },
        )

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        if found["champion"] is None:
            return f"no champion changed in {settings['window_days']} days"
        title = f" to {found['new_title']}" if found["new_title"] else ""
        return f"{found['champion']}: {ChampionChange.Kind(found['kind']).label.lower()}{title}"
