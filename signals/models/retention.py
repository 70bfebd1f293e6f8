"""What is left of signals, readings and batches once they are pruned: sums by day, and how far pruning has come.

Days are those of the company time zone. Sums only ever grow: each batch of pruning adds to them in the transaction
that deletes the rows.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from csplaybooks.accounts.base import OperationsQuerySet, VisibleQuerySet
from csplaybooks.accounts.models import Account
from csplaybooks.signals.models.intake import IntakeBatch
from csplaybooks.signals.models.kinds import Meter, SignalType


class SignalDay(models.Model):
    """The pruned signals of one type at one account on one day.

    `count` is how many things happened: a signal that was corrected counts once, as its last correction says, and a
    void one not at all. `rows` is how many rows went, corrected ones and corrections too.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="signal_days", db_index=False)
    type = models.ForeignKey(SignalType, on_delete=models.PROTECT, related_name="+", db_index=False)
    day = models.DateField()
    rows = models.PositiveIntegerField()
    count = models.PositiveIntegerField()

    objects: Any = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = [
            # A type over time at all accounts; and whether a kind of signal may be deleted.
            models.Index(fields=["type", "day"], name="csp_signal_day_type"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "type", "day"],
                name="csp_signal_day_unique",
                violation_error_message="There is a sum of this day already.",
            ),
            models.CheckConstraint(
                condition=Q(rows__gte=1, count__lte=F("rows")),
                name="csp_signal_day_counts",
                violation_error_message="No more signals count than there were rows, and there was one.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} on {self.day}: {self.count}"


class ReadingDay(models.Model):
    """The pruned readings of one meter at one account on one day; amounts in thousandths.

    `count` is how many readings counted, `rows` how many rows went, corrected ones and corrections too. The last
    reading is whole: when it was, how much was used, and against which limit (null: none). The greatest and the least
    are over all that counted. Where nothing counted, all of these are null.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="reading_days", db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    day = models.DateField()
    rows = models.PositiveIntegerField()
    count = models.PositiveIntegerField()
    last_at = models.DateTimeField(null=True, blank=True)
    last_row = models.BigIntegerField(
        null=True, blank=True, help_text="Which row was the last: of two at one instant, the one stored later."
    )
    last_used_milli = models.BigIntegerField(null=True, blank=True)
    last_limit_milli = models.BigIntegerField(null=True, blank=True)
    greatest_used_milli = models.BigIntegerField(null=True, blank=True)
    least_used_milli = models.BigIntegerField(null=True, blank=True)
    greatest_limit_milli = models.BigIntegerField(null=True, blank=True)
    least_limit_milli = models.BigIntegerField(null=True, blank=True)

    objects: Any = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = [
            # A meter over time at all accounts; and whether a meter may be deleted.
            models.Index(fields=["meter", "day"], name="csp_reading_day_meter"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "meter", "day"],
                name="csp_reading_day_unique",
                violation_error_message="There is a sum of this day already.",
            ),
            models.CheckConstraint(
                condition=Q(rows__gte=1, count__lte=F("rows")),
                name="csp_reading_day_counts",
                violation_error_message="No more readings count than there were rows, and there was one.",
            ),
            models.CheckConstraint(
                condition=Q(
                    count=0,
                    last_at__isnull=True,
                    last_row__isnull=True,
                    last_used_milli__isnull=True,
                    greatest_used_milli__isnull=True,
                    least_used_milli__isnull=True,
                )
                | Q(
                    count__gte=1,
                    last_at__isnull=False,
                    last_row__isnull=False,
                    last_used_milli__isnull=False,
                    greatest_used_milli__gte=F("least_used_milli"),
                ),
                name="csp_reading_day_has_last",
                violation_error_message="A day with readings has a last, a greatest and a least one; others have none.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.meter} on {self.day}: {self.count}"


class IntakeDay(models.Model):
    """The pruned intake batches that came in on one day. What was received is still the sum of the verdicts."""

    kind = models.CharField(max_length=10, choices=IntakeBatch.Kind)
    day = models.DateField()
    batches = models.PositiveBigIntegerField()
    received = models.PositiveBigIntegerField()
    stored = models.PositiveBigIntegerField()
    duplicate = models.PositiveBigIntegerField()
    conflict = models.PositiveBigIntegerField()
    refused = models.PositiveBigIntegerField()

    objects: Any = OperationsQuerySet.as_manager()

    class Meta:
        ordering = ("-day", "kind")
        constraints = [
            models.UniqueConstraint(
                fields=["day", "kind"],
                name="csp_intake_day_unique",
                violation_error_message="There is a sum of this day already.",
            ),
            models.CheckConstraint(
                condition=Q(received=F("stored") + F("duplicate") + F("conflict") + F("refused")),
                name="csp_intake_day_adds_up",
                violation_error_message="What was received must be the sum of the verdicts.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.day}: {self.received}"


class PrunedDay(models.Model):
    """A day whose signals and readings are pruned, or are being. The greatest `before` is the horizon.

    What occurred before the horizon may be gone: intake refuses it, because its duplicates can no longer be told, and
    the evaluator does not look there. Written in the transaction that deletes the first rows of the day.
    """

    day = models.DateField(unique=True)
    before = models.DateTimeField(help_text="The end of the day: what occurred before this may be gone.")
    signals = models.PositiveIntegerField(help_text="How many rows went with this day.")
    readings = models.PositiveIntegerField(help_text="How many rows went with this day.")
    pruned_at = models.DateTimeField(help_text="When the last of them went.")

    objects: Any = OperationsQuerySet.as_manager()

    class Meta:
        ordering = ("-day",)
        indexes = [
            # Every batch of intake, and every run, asks for the horizon.
            models.Index(fields=["before"], name="csp_pruned_before"),
        ]

    def __str__(self) -> str:
        return f"{self.day}"
