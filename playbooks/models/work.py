"""The columns of a row that is its own queue."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q

from csplaybooks.accounts.base import VisibleQuerySet


class WorkQuerySet(VisibleQuerySet):
    """Rows that are worked in batches by whoever claims them."""

    def workable_at(self, now: datetime) -> Self:
        """Rows not waiting for a later try and not given up."""
        return self.filter(Q(next_try_at__isnull=True) | Q(next_try_at__lte=now), stuck_at__isnull=True)

    def stuck(self) -> Self:
        """Rows given up after their last attempt: the tray with the retry button."""
        return self.filter(stuck_at__isnull=False)


class Work(models.Model):
    """How a row fared as a piece of work: attempts, the last error, when it is tried next, when it was given up.

    `claim` names the act that last took the row, so that a conditional UPDATE can be read back.
    """

    claim = models.UUIDField(null=True, blank=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    last_error = models.CharField(max_length=500, blank=True, editable=False)
    next_try_at = models.DateTimeField(null=True, blank=True, editable=False)
    stuck_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True
