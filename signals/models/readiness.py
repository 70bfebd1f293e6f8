"""How ready accounts are to grow: what each kind of signal weighs, in versions, and the score of each day."""

from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q, Subquery

from csplaybooks.accounts.base import CatalogueQuerySet, VisibleQuerySet
from csplaybooks.accounts.models import Account, Motion


class ReadinessWeightsQuerySet(CatalogueQuerySet):
    """Versions of the weights, by whether they are in force."""

    def in_force(self) -> ReadinessWeights | None:
        """The version that counts: the newest. None where none was published."""
        newest: ReadinessWeights | None = self.order_by("-number").first()
        return newest

    def with_newest(self) -> Self:
        """Versions that know the number of the newest one, as `newest`."""
        newest = ReadinessWeights._base_manager.order_by("-number").values("number")[:1]
        return self.annotate(newest=Subquery(newest))


class ReadinessWeights(models.Model):
    """What each kind of signal weighs for each motion: one published document, immutable.

    Scores of past days, and runs that asked for a score, point at their version; so none is ever deleted.
    """

    number = models.PositiveIntegerField(unique=True)
    source = models.TextField(help_text="The YAML text as it was published, byte for byte.")
    document = models.JSONField(
        help_text="The same document, read and checked, with the strength that each kind of signal had then."
    )
    published_at = models.DateTimeField()
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, related_name="+", null=True, blank=True
    )

    objects: Any = ReadinessWeightsQuerySet.as_manager()

    class Meta:
        verbose_name = "version of the readiness weights"
        verbose_name_plural = "versions of the readiness weights"
        ordering = ("-number",)
        constraints = [
            models.CheckConstraint(
                condition=Q(number__gte=1),
                name="csp_readiness_weights_from_one",
                violation_error_message="Versions are counted from 1.",
            ),
        ]

    def __str__(self) -> str:
        return f"readiness weights v{self.number}"


class ScoreSnapshot(models.Model):
    """How ready an account was for a motion when a day began, in the company time zone. Scores of zero have no row.

    It is the score of the first instant of the day, as far as was known when the row was written.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="scores", db_index=False)
    motion = models.CharField(max_length=20, choices=Motion)
    day = models.DateField()
    score = models.PositiveSmallIntegerField(help_text="1 to 100.")
    weights = models.ForeignKey(ReadinessWeights, on_delete=models.PROTECT, related_name="+")

    objects: Any = VisibleQuerySet.as_manager()

    class Meta:
        verbose_name = "readiness score"
        ordering = ("-pk",)
        indexes = [
            # The pruning of old days; and all accounts on one day.
            models.Index(fields=["day", "motion"], name="csp_score_day"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "motion", "day"],
                name="csp_score_unique",
                violation_error_message="There is a score of this day already.",
            ),
            models.CheckConstraint(
                condition=Q(score__gte=1, score__lte=100),
                name="csp_score_in_range",
                violation_error_message="A score is 1 to 100; for zero there is no row.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_motion_display()} on {self.day}: {self.score}"
