"""Signals (something happened at an instant) and readings (how much there was at an instant)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import Exists, OuterRef, Q, Subquery
from django.db.models.lookups import IsNull
from django.utils.timezone import localtime

from csplaybooks.accounts.base import VisibleQuerySet
from csplaybooks.accounts.models import Account
from csplaybooks.signals.models.intake import IntakeBatch
from csplaybooks.signals.models.kinds import Meter, SignalType, Source

#: The largest amount of a reading or value of a signal, either way. Comparisons multiply thousandths by per cents of
#: up to 1,000, and must stay inside 64 bits.
LARGEST_NUMBER = 9 * 10**12


class EventQuerySet(VisibleQuerySet):
    """Signals or readings, as they counted at some moment to somebody who had been told some of them."""

    def told_at(self, mark: int | None) -> Self:
        """Rows that run `mark` and those before it had been told of; None is everything stored."""
        if mark is None:
            return self
        return self.exclude(batch__in=IntakeBatch.objects.not_known_at(mark).values("pk"))

    def effective_at(self, mark: int | None) -> Self:
        """Rows that count: told of, not void, and not replaced by a correction that was told of."""
        # "is not null" lets the partial index of corrections serve, which is nearly empty.
        corrections = self.model.objects.filter(corrects=OuterRef("pk"), corrects__isnull=False).told_at(mark)
        return self.told_at(mark).filter(~Exists(corrections), is_void=False)

    def effective_one_by_one_at(self, mark: int | None) -> Self:
        """The same rows, for a subquery on the few rows of one account: each correction is looked up by itself.

        Of the NOT EXISTS above PostgreSQL makes a join, and where that stands inside a subquery it reads all
        corrections there ever were for each account asked about.
        """
        corrections = self.model.objects.filter(corrects=OuterRef("pk"), corrects__isnull=False).told_at(mark)
        correction = Subquery(corrections.order_by().values("pk")[:1])
        return self.told_at(mark).filter(IsNull(correction, True), is_void=False)

    def in_window(self, after: datetime, until: datetime) -> Self:
        """Rows with `after < occurred_at <= until`."""
        return self.filter(occurred_at__gt=after, occurred_at__lte=until)


class Event(models.Model):
    """What signals and readings share: who sent it, its id there, when it happened, and how it came to be corrected.

    A correction is a whole new row that names the row it replaces; a void one says that it did not happen. Rows are
    never edited, so that what was known at any run can be told.
    """

    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="+", db_index=False)
    external_id = models.CharField(max_length=200)
    occurred_at = models.DateTimeField()
    batch = models.ForeignKey(IntakeBatch, on_delete=models.PROTECT, related_name="+")
    body_hash = models.BinaryField(max_length=32, help_text="SHA-256 of the item: tells a duplicate from a conflict.")
    is_void = models.BooleanField(default=False)

    class Meta:
        abstract = True


def event_constraints(noun: str) -> list[models.BaseConstraint]:
    """The constraints of a table of events: each id once in its source, each row corrected once at most.

    `noun` says what a row is, `signal` or `reading`, in the constraints' names and words.
    """
    return [
        models.UniqueConstraint(
            fields=["source", "external_id"],
            name=f"csp_{noun}_unique",
            violation_error_message=f"This source has sent a {noun} with this id before.",
        ),
        models.UniqueConstraint(
            fields=["corrects"],
            condition=Q(corrects__isnull=False),
            name=f"csp_{noun}_corrected_once",
            violation_error_message=f"This {noun} was corrected already: correct the correction.",
        ),
        models.CheckConstraint(
            condition=Q(is_void=False) | Q(corrects__isnull=False),
            name=f"csp_{noun}_void_corrects",
            violation_error_message=f"Only a correction can say that a {noun} did not happen.",
        ),
    ]


class Signal(Event):
    """One event: something that happened at an account."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="signals", db_index=False)
    type = models.ForeignKey(SignalType, on_delete=models.PROTECT, related_name="+", db_index=False)
    actor = models.CharField(max_length=200, blank=True)
    value_milli = models.BigIntegerField(default=1000, help_text="In thousandths; 1 unless the item says otherwise.")
    properties = models.JSONField(default=dict, blank=True)
    # Its index is the partial one below: nearly all rows correct nothing.
    corrects = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="corrected_by", null=True, blank=True, db_index=False
    )

    objects: Any = EventQuerySet.as_manager()

    class Meta:
        ordering = ("-occurred_at", "-pk")
        indexes = [
            # The evaluator over some accounts, and the account page: one account's events of a type in a window.
            models.Index(fields=["account", "type", "occurred_at"], name="csp_signal_account_type"),
            # The evaluator over all accounts: a type's events in a window, grouped by account. And the pruning: the
            # oldest event of each type.
            models.Index(fields=["type", "occurred_at", "account"], name="csp_signal_type_time"),
        ]
        constraints = event_constraints("signal")

    def __str__(self) -> str:
        return f"{self.type} at {localtime(self.occurred_at):%Y-%m-%d %H:%M}"


class Reading(Event):
    """One level of one meter at an instant; integers in thousandths. A limit of null or zero is no limit."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="readings", db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    used_milli = models.BigIntegerField()
    limit_milli = models.BigIntegerField(null=True, blank=True)
    # Its index is the partial one below: nearly all rows correct nothing.
    corrects = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="corrected_by", null=True, blank=True, db_index=False
    )

    objects: Any = EventQuerySet.as_manager()

    class Meta:
        ordering = ("-occurred_at", "-pk")
        indexes = [
            # The evaluator and the account page: the latest reading of a meter at an account.
            models.Index(fields=["account", "meter", "-occurred_at", "-id"], name="csp_reading_latest"),
            # The pruning: the oldest reading of each meter; and whether a meter may be deleted.
            models.Index(fields=["meter", "occurred_at"], name="csp_reading_meter_time"),
        ]
        constraints = [
            *event_constraints("reading"),
            models.CheckConstraint(
                condition=Q(limit_milli__isnull=True) | Q(limit_milli__gte=0),
                name="csp_reading_limit_not_negative",
                violation_error_message="A limit cannot be negative.",
            ),
            models.CheckConstraint(
                condition=Q(used_milli__gte=-LARGEST_NUMBER * 1000, used_milli__lte=LARGEST_NUMBER * 1000)
                & (Q(limit_milli__isnull=True) | Q(limit_milli__lte=LARGEST_NUMBER * 1000)),
                name="csp_reading_in_range",
                violation_error_message="A reading and its limit are at most nine million million, either way.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.meter} at {localtime(self.occurred_at):%Y-%m-%d %H:%M}"
