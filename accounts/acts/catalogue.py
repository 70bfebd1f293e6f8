"""What may be written in the catalogue of what is sold; by the acts in `csplaybooks.accounts.acts.rows`."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db.models import Q

from csplaybooks.accounts.acts.rows import Table
from csplaybooks.accounts.models import Feature, Plan, Product


def _leads_upwards(plan: Plan) -> None:
    """Plans that follow each other are tiers of one product, each higher than the one before: so nothing goes round."""
    following = plan.next_plan
    if following is not None and (following.product_id != plan.product_id or following.rank <= plan.rank):
        raise ValidationError({"next_plan": "The next plan is a higher tier of the same product."})
    wrong = Q(rank__gte=plan.rank) | ~Q(product=plan.product_id)
    before = None if plan.pk is None else Plan.objects.filter(wrong, next_plan=plan).first()
    if before is not None:
        raise ValidationError(
            {"rank": f"{before} leads to this plan, so it must be a higher tier of the same product."}
        )


PRODUCTS = Table(model=Product, fields=("key", "name", "is_base", "list_price_minor"))

#: Prices hold from the moment on in which they are written; what was expected of a play is frozen on it. How much of a
#: meter a plan includes is dated: `csplaybooks.accounts.acts.set_plan_limits`.
PLANS = Table(
    model=Plan,
    fields=("product", "key", "name", "rank", "price_minor", "seat_price_minor", "next_plan"),
    tells=dict.fromkeys(("product", "rank", "next_plan"), "plan_changed"),
    rule=_leads_upwards,
)

#: What triggers ask of features and plans holds from the run on that is told of it; runs keep what they used.
FEATURES = Table(
    model=Feature,
    fields=("product", "key", "name", "least_plan", "area"),
    tells=dict.fromkeys(("product", "least_plan", "area"), "feature_changed"),
)
