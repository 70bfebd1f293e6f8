"""What came in: one row for each batch, with counts that add up, and the items that were refused."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from csplaybooks.accounts.base import Marked, MarkedQuerySet, OperationsQuerySet
from csplaybooks.accounts.models import ApiToken


class IntakeBatch(Marked):
    """One request's worth of signals or readings. Its counts add up: received is the sum of the verdicts.

    Of what was `stored`, `pruned` rows have been rolled up by day and deleted since; the others are there.
    """

    class Kind(models.TextChoices):
        """What the batch holds."""

        SIGNALS = "signals", "Signals"
        READINGS = "readings", "Readings"

    kind = models.CharField(max_length=10, choices=Kind)
    token = models.ForeignKey(ApiToken, on_delete=models.SET_NULL, related_name="+", null=True, blank=True)
    received = models.PositiveIntegerField()
    stored = models.PositiveIntegerField()
    duplicate = models.PositiveIntegerField()
    conflict = models.PositiveIntegerField()
    refused = models.PositiveIntegerField()
    pruned = models.PositiveIntegerField(
        default=0, db_default=0, editable=False, help_text="How many of those stored have been rolled up and deleted."
    )

    objects: Any = MarkedQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "intake batches"
        ordering = ("-pk",)
        indexes = [
            # A run claims what no run has seen; nearly always a handful of rows.
            models.Index(fields=["id"], name="csp_batch_unclaimed", condition=Q(seen_by_run__isnull=True)),
            # What a run (and those after it) was told: replays, and the scope of a run.
            models.Index(fields=["seen_by_run"], name="csp_batch_seen_by_run"),
            # A run looks again at the accounts of batches whose time has come; few senders' clocks run ahead.
            models.Index(fields=["ripens_at"], name="csp_batch_ripens", condition=Q(ripens_at__isnull=False)),
            # The pruning of batches that hold nothing any more, once a minute.
            models.Index(fields=["recorded_at"], name="csp_batch_spent", condition=Q(pruned=F("stored"))),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(received=F("stored") + F("duplicate") + F("conflict") + F("refused")),
                name="csp_batch_adds_up",
                violation_error_message="What was received must be the sum of the verdicts.",
            ),
            models.CheckConstraint(
                condition=Q(pruned__lte=F("stored")),
                name="csp_batch_pruned_was_stored",
                violation_error_message="No more can be pruned than was stored.",
            ),
        ]

    def __str__(self) -> str:
        return f"batch {self.pk}: {self.received} {self.kind}"


class RefusedItem(models.Model):
    """An item that was refused, with the reason; kept until `expires_at` so that nothing is lost unseen."""

    batch = models.ForeignKey(IntakeBatch, on_delete=models.CASCADE, related_name="refused_items")
    index = models.PositiveIntegerField(help_text="Where the item stood in its batch, from 0.")
    code = models.CharField(max_length=50)
    field = models.CharField(max_length=100, blank=True)
    message = models.CharField(max_length=500)
    body = models.JSONField(null=True)
    expires_at = models.DateTimeField()

    objects: Any = OperationsQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = [
            # The pruning of items past their time, once a minute, those past it longest first.
            models.Index(fields=["expires_at"], name="csp_refused_expires"),
        ]

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
