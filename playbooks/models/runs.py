"""Runs of the evaluator, and the leases that keep scheduled work single."""

from __future__ import annotations

from typing import Any

from django.db import models

from csplaybooks.accounts.base import OperationsQuerySet


class Run(models.Model):
    """One run of the evaluator. Its id is the mark: what it and the runs before it claimed is what it was told.

    Runs are made one at a time, under a lease, so that ids follow the order of commits.
    """

    class Kind(models.TextChoices):
        """Which accounts a run looks at."""

        CHANGED = "changed", "What changed"
        FULL = "full", "All accounts"

    kind = models.CharField(max_length=10, choices=Kind)
    moment = models.DateTimeField(help_text="The moment asked about.")
    versions = models.JSONField(default=dict, help_text="What was evaluated: trigger id to playbook version id.")
    inputs = models.JSONField(
        default=dict,
        help_text="What was used that is not dated truth: the ids of signal types and meters by key, and the maximum "
        "age of each meter in days.",
    )
    counts = models.JSONField(default=dict, help_text="By trigger: matched, opened, closed.")
    errors = models.JSONField(
        default=dict, blank=True, help_text="By playbook version: why it could not be evaluated; the others were."
    )
    accounts = models.PositiveIntegerField(default=0, help_text="How many accounts were looked at.")
    finished_at = models.DateTimeField(null=True)

    objects: Any = OperationsQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)

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

    objects: Any = OperationsQuerySet.as_manager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
