"""Measures over what an account holds: plans and products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import Exists, OuterRef, Q, Subquery

from csplaybooks.accounts.models import Entitlement
from csplaybooks.playbooks.measures.base import Compiled, Measure, Moment
from csplaybooks.playbooks.measures.lists import TextList, few_of

_KEYS: Mapping[str, Any] = {
    "type": "array",
    "items": {"type": "string", "minLength": 1},
    "minItems": 1,
    "maxItems": 50,
    "uniqueItems": True,
}


class _Held(Measure):
    """The account holds one of some things, or with `held: false` none of them."""

    takes_threshold = False
    strength = None
    treats = "nothing held fails, and with `held: false` holds"
    moment_is_a_parameter = True
    #: What is held: a reference of `Entitlement`. Its plural is the setting with the keys.
    thing: ClassVar[str]

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        held = Entitlement.objects.holding_at(moment.as_of, moment.known.mark).filter(
            **{f"{self.thing}__key__in": settings[f"{self.thing}s"]}
        )
        own = held.filter(account=OuterRef("pk"))
        asked = held if moment.accounts is None else held.filter(account__in=moment.accounts)
        name = f"{self.thing}__name"
        return Compiled(
            holds=Q(pk__in=asked.order_by().values("account")) if settings.get("held", True) else ~Q(Exists(own)),
            # Not by the thing's own name: what evidence calls `product` is what a play would sell.
            found={"holds": Subquery(own.order_by(name, "pk").values(name)[:1])},
        )

    def explain(self, settings: Mapping[str, Any], moment: Moment) -> Mapping[str, Any]:
        """See `Measure.explain`: beside it the names of all that is held."""
        held = Entitlement.objects.holding_at(moment.as_of, moment.known.mark).order_by()
        own = held.filter(**{"account": OuterRef("pk"), f"{self.thing}__isnull": False}).values("account")
        names = Subquery(own.annotate(names=TextList(f"{self.thing}__name")).values("names"))
        return {**self.compile(settings, moment).found, "all_held": names}

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        keys = settings[f"{self.thing}s"]
        wanted = " or ".join(keys) if settings.get("held", True) else f"none of {', '.join(keys)}"
        if found["holds"] or "all_held" not in found:
            return f"holds {found['holds'] or 'none of these'}, needed {wanted}"
        # What is held instead tells a wrong plan from no plan at all.
        return f"holds {few_of(found['all_held'] or []) or f'no {self.thing}'}, needed {wanted}"


class PlanHeld(_Held):
    """The account holds one of some plans, or with `held: false` none of them."""

    key = "plan_held"
    settings_schema: ClassVar[dict[str, Any]] = {"plans": _KEYS, "held": {"type": "boolean"}}
    required = ("plans",)
    thing = "plan"


class ProductHeld(_Held):
    """The account holds one of some products, or with `held: false` none of them."""

    key = "product_held"
    settings_schema: ClassVar[dict[str, Any]] = {"products": _KEYS, "held": {"type": "boolean"}}
    required = ("products",)
    thing = "product"
