"""What is sold, and what an account holds of it."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from csplaybooks.accounts.base import CatalogueQuerySet, PeriodQuerySet, PeriodRow, Versioned, period_constraints
from csplaybooks.accounts.models.company import Account


class Product(Versioned):
    """Something sold: the base product with its plans, or a product beside it."""

    key = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    is_base = models.BooleanField(default=False, help_text="Sold in plans (tiers); others are sold beside it.")
    list_price_minor = models.BigIntegerField(
        null=True, blank=True, help_text="Monthly list price in minor units of the reporting currency."
    )

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(
                condition=Q(list_price_minor__isnull=True) | Q(list_price_minor__gte=0),
                name="csp_product_price_not_negative",
                violation_error_message="A price cannot be negative.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Plan(Versioned):
    """A tier of a product: its rank, its prices and the tier that follows it."""

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="plans", db_index=False)
    key = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    rank = models.PositiveIntegerField(help_text="1 is the lowest tier.")
    price_minor = models.BigIntegerField(default=0, help_text="Monthly base price in minor units.")
    seat_price_minor = models.BigIntegerField(default=0, help_text="Monthly price of a seat in minor units.")
    next_plan = models.ForeignKey("self", on_delete=models.SET_NULL, related_name="+", null=True, blank=True)

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("product", "rank")
        constraints = [
            models.UniqueConstraint(
                fields=["product", "rank"],
                name="csp_plan_rank_unique",
                violation_error_message="Another plan of this product has this rank.",
            ),
            models.CheckConstraint(
                condition=Q(price_minor__gte=0, seat_price_minor__gte=0),
                name="csp_plan_prices_not_negative",
                violation_error_message="A price cannot be negative.",
            ),
            models.CheckConstraint(
                condition=Q(next_plan__isnull=True) | ~Q(next_plan=F("id")),
                name="csp_plan_not_its_own_next",
                violation_error_message="A plan cannot follow itself.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PlanLimit(PeriodRow):
    """How much of a meter a plan includes, over a period; thousandths, null is no limit."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="limits")
    meter_key = models.SlugField(max_length=100, help_text="The key of the meter; meters live in the room above.")
    limit_milli = models.BigIntegerField(null=True, blank=True)

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("plan", "meter_key", "valid_from")
        constraints = period_constraints("plan_limit", ["plan", "meter_key"])

    def __str__(self) -> str:
        return f"{self.plan}: {self.meter_key}"


class Feature(Versioned):
    """A feature of a product, gated by a least plan. Signals name it by its key."""

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="features")
    key = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    least_plan = models.ForeignKey(Plan, on_delete=models.SET_NULL, related_name="features", null=True, blank=True)
    area = models.CharField(
        max_length=100, blank=True, help_text="The part of the product that it belongs to, such as reporting."
    )

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("product", "name")

    def __str__(self) -> str:
        return self.name


class Entitlement(PeriodRow):
    """What an account holds over a period, by subscription: product, plan, quantity, MRR, term."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="entitlements", db_index=False)
    subscription = models.CharField(max_length=200, help_text="The billing system's id of the subscription line.")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    quantity = models.PositiveIntegerField(default=1, help_text="Seats or units.")
    mrr_minor = models.BigIntegerField(default=0, help_text="Monthly recurring revenue in minor units.")
    term_months = models.PositiveIntegerField(default=12)

    objects: Any = PeriodQuerySet.as_manager()

    class Meta:
        ordering = ("account", "product", "valid_from")
        indexes = [
            # The evaluator and amount rules: what an account holds at a moment.
            models.Index(fields=["account", "product", "valid_from"], name="csp_entitlement_account"),
        ]
        constraints = [
            *period_constraints("entitlement", ["account", "subscription"]),
            models.CheckConstraint(
                condition=Q(mrr_minor__gte=0),
                name="csp_entitlement_mrr_not_negative",
                violation_error_message="MRR cannot be negative.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.product}"
