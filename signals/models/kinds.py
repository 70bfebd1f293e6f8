"""Where events come from, and the kinds of event and level there are."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from csplaybooks.accounts.base import CatalogueQuerySet, Versioned


class Strength(models.TextChoices):
    """How much a kind of signal says about readiness to grow."""

    STRONG = "strong", "Strong"
    MODERATE = "moderate", "Moderate"
    WEAK = "weak", "Weak"


class Source(models.Model):
    """A system that sends events. Event ids are unique within it. Registered by the first event it sends."""

    key = models.CharField(max_length=100, unique=True)
    first_seen_at = models.DateTimeField()

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key


class SignalType(Versioned):
    """A kind of event, such as `feature_gate_hit`."""

    key = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    strength = models.CharField(max_length=10, choices=Strength, default=Strength.MODERATE)
    description = models.TextField(blank=True)

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.name


class Meter(Versioned):
    """A kind of level, such as seats or health. A reading older than `max_age_days` is treated as missing."""

    key = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    unit = models.CharField(max_length=50, blank=True)
    strength = models.CharField(max_length=10, choices=Strength, default=Strength.STRONG)
    max_age_days = models.PositiveIntegerField(default=35)

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("key",)
        constraints = [
            models.CheckConstraint(
                condition=Q(max_age_days__gte=1, max_age_days__lte=3650),
                name="csp_meter_max_age_positive",
                violation_error_message="A meter's maximum age is one day to ten years.",
            ),
        ]

    def __str__(self) -> str:
        return self.name
