"""Runs of the evaluator, and the leases that keep scheduled work single."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Q

from csplaybooks.accounts.base import OperationsQuerySet


class RoundQuerySet(OperationsQuerySet):
    """Rounds, by where they stand."""

    def unfinished(self) -> Self:
        """Rounds with accounts still to be looked at, the oldest first."""
        return self.filter(finished_at__isnull=True).order_by("pk")


class Round(models.Model):
    """One pass over all accounts, a part at a time, where they are too many for one run."""

    asked_at = models.DateTimeField(help_text="The moment of the run that asked for it.")
    after_account = models.BigIntegerField(default=0, help_text="Accounts up to this id have been looked at.")
    part_size = models.PositiveIntegerField(help_text="Accounts in a part; halved when one does not come to its end.")
    moved_at = models.DateTimeField(help_text="When its last part was finished.")
    poked_at = models.DateTimeField(null=True, blank=True, help_text="When a worker was asked for the next part.")
    attempts = models.PositiveIntegerField(default=0, help_text="How often the next part was begun.")
    finished_at = models.DateTimeField(null=True, blank=True)

    objects: Any = RoundQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = [
            # Each sweep asks for the oldest one that is not finished.
            models.Index(fields=["id"], name="csp_round_unfinished", condition=Q(finished_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"round {self.pk}"


class RunQuerySet(OperationsQuerySet):
    """Runs, in the order in which they were made."""

    def newest(self) -> Run | None:
        """The run with the greatest id."""
        newest: Run | None = self.order_by("-pk").first()
        return newest


class Run(models.Model):
    """One run of the evaluator. Its id is the mark: what it and the runs before it claimed is what it was told.

    Runs are made one at a time, under a lease, so that ids follow the order of commits.
    """

    class Kind(models.TextChoices):
        """Which accounts a run looks at."""

        CHANGED = "changed", "What changed"
        FULL = "full", "All accounts"
        PART = "part", "Part of a round over all accounts"

    kind = models.CharField(max_length=10, choices=Kind)
    moment = models.DateTimeField(help_text="The moment asked about.")
    versions = models.JSONField(default=dict, help_text="What was evaluated: trigger id to playbook version id.")
    inputs = models.JSONField(
        default=dict,
        help_text="What was used that is not dated truth: the ids of signal types and meters by key, the maximum age "
        "of each meter in days, the room that each pool had, and the close rates of playbooks.",
    )
    counts = models.JSONField(default=dict, help_text="By trigger: matched, opened, closed; both sums.")
    errors = models.JSONField(
        default=dict,
        blank=True,
        help_text="By playbook version: why it could not be evaluated; the others were. By `sum:` and trigger: why a "
        "sum does not close.",
    )
    accounts = models.PositiveIntegerField(default=0, help_text="How many accounts were looked at.")
    round = models.ForeignKey(
        Round,
        on_delete=models.PROTECT,
        related_name="runs",
        null=True,
        blank=True,
        help_text="The round it is a part of, or the one it asked for instead of looking at all accounts itself.",
    )
    first_account = models.BigIntegerField(null=True, blank=True, help_text="Of a part: the ids it looked at, from")
    last_account = models.BigIntegerField(null=True, blank=True, help_text="and up to.")
    finished_at = models.DateTimeField(null=True)

    objects: Any = RunQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        constraints = [
            models.CheckConstraint(
                condition=~Q(kind="part")
                | Q(round__isnull=False, first_account__isnull=False, last_account__isnull=False),
                name="csp_run_part_has_range",
                violation_error_message="A part names its round and its accounts.",
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk}"


class Lease(models.Model):
    """One row for each job that must not run twice at once; the row lock is the lease, the row its heartbeat.

    A lock dies with the process that held it, so nothing has to time out after `kill -9`.
    """

    name = models.CharField(max_length=100, unique=True)
    next_at = models.DateTimeField(null=True, blank=True, help_text="A scheduled job does nothing before this.")
    last_run_at = models.DateTimeField(null=True, blank=True)
    expected = models.PositiveIntegerField(default=0, help_text="How many rows were due when it last looked.")
    seen = models.PositiveIntegerField(default=0, help_text="How many of them it dealt with.")
    mark = models.BigIntegerField(
        null=True, blank=True, help_text="The last run whose news it has looked at; of jobs that follow the runs."
    )
    reached = models.BigIntegerField(
        null=True, blank=True, help_text="The last row of that run it has looked at; empty: it has seen them all."
    )

    objects: Any = OperationsQuerySet.as_manager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
