"""The revenue ledger: append-only lines of recurring revenue."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from csplaybooks.accounts.base import VisibleQuerySet
from csplaybooks.accounts.models.catalogue import Product
from csplaybooks.accounts.models.company import Account


class Motion(models.TextChoices):
    """How revenue grows."""

    SEAT_EXPANSION = "seat_expansion", "Seat expansion"
    TIER_UPSELL = "tier_upsell", "Tier upsell"
    CROSS_SELL = "cross_sell", "Cross-sell"
    USAGE_GROWTH = "usage_growth", "Usage growth"
    ADD_ON = "add_on", "Add-on"
    ANNUAL_COMMITMENT = "annual_commitment", "Annual commitment"
    SERVICE = "service", "Service"


class Movement(models.Model):
    """One line of the ledger: a signed change of an account's MRR. Never edited; a correction is a reversing line."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="movements", db_index=False)
    source = models.CharField(max_length=100)
    external_id = models.CharField(max_length=200)
    subscription = models.CharField(max_length=200, blank=True)
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    amount_minor = models.BigIntegerField(help_text="Signed, in minor units of the reporting currency.")
    original_currency = models.CharField(max_length=3, blank=True)
    original_amount_minor = models.BigIntegerField(null=True, blank=True)
    motion = models.CharField(max_length=20, choices=Motion, blank=True)
    effective_on = models.DateField()
    recorded_at = models.DateTimeField()
    reverses = models.OneToOneField("self", on_delete=models.PROTECT, related_name="reversed_by", null=True, blank=True)
    note = models.CharField(max_length=500, blank=True)

    objects: Any = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ("effective_on", "pk")
        indexes = [
            # Every figure of the ledger: an account's lines up to a day.
            models.Index(fields=["account", "effective_on"], name="csp_movement_account_day"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["source", "external_id"],
                name="csp_movement_unique",
                violation_error_message="This line is in the ledger already.",
            ),
            models.CheckConstraint(
                condition=Q(reverses__isnull=True) | ~Q(reverses=F("id")),
                name="csp_movement_not_its_own_reversal",
                violation_error_message="A line cannot reverse itself.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account} {self.effective_on} {self.amount_minor}"
