"""Shared bases of all tables: visible rows, versioned rows, marked inputs and period rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import Q


class VisibleQuerySet(models.QuerySet[Any]):
    """Rows that hang on an account: seen by whoever sees the account.

    Subclasses name the way to the account in `account_path`.
    """

    account_path = "account"

    def visible_to(self, viewer: Any) -> Self:
        """Only the rows that `viewer` (a user or an API token) may see; a stranger gets none."""
        from csplaybooks.accounts.models import Account
        from csplaybooks.accounts.visibility import scope_of

        scope = scope_of(viewer)
        if scope.everything:
            return self
        if scope.nothing:
            return self.none()
        accounts = Account.objects.in_scope(scope).values("pk")
        return self.filter(**{f"{self.account_path}__in": accounts})


class CatalogueQuerySet(models.QuerySet[Any]):
    """Rows that describe the vendor's own business: seen by every member of the team, by no stranger."""

    def visible_to(self, viewer: Any) -> Self:
        """All rows for team members, tokens and superusers; none for a stranger."""
        from csplaybooks.accounts.visibility import scope_of

        return self.none() if scope_of(viewer).nothing else self


class OperationsQuerySet(models.QuerySet[Any]):
    """Rows of the machinery (runs, leases, tokens): seen only by those who see everything."""

    def visible_to(self, viewer: Any) -> Self:
        """All rows for whoever sees everything, none for anybody else."""
        from csplaybooks.accounts.visibility import scope_of

        return self if scope_of(viewer).everything else self.none()


class Versioned(models.Model):
    """A row people and integrations edit: `version` guards against lost updates, `updated_at` feeds sync.

    Both are written explicitly by the acts, because bulk updates pass `auto_now` by.
    """

    version = models.PositiveIntegerField(default=1, editable=False)
    updated_at = models.DateTimeField(editable=False)

    class Meta:
        abstract = True


class MarkedQuerySet(OperationsQuerySet):
    """Rows that tell the evaluator something: changes and intake batches."""

    def unclaimed(self) -> Self:
        """Rows that no run has taken note of yet."""
        return self.filter(seen_by_run__isnull=True)

    def ripening(self, after: datetime, until: datetime) -> Self:
        """Rows with news dated ahead, some of which may take effect in `(after, until]`: between two runs' moments."""
        return self.filter(ripens_from__lte=until, ripens_at__gt=after)

    def not_known_at(self, mark: int) -> Self:
        """Rows that the run with id `mark` and those before it had not been told of.

        The evaluator excludes by this set instead of joining on its complement: on a live run it is nearly empty,
        whatever the history holds.
        """
        return self.filter(Q(seen_by_run__isnull=True) | Q(seen_by_run__gt=mark))


class Marked(models.Model):
    """A row written in the same transaction as the inputs it announces, and claimed by exactly one run.

    `seen_by_run` holds the id of the run, without a foreign key: runs live in a higher room.
    """

    seen_by_run = models.BigIntegerField(null=True, blank=True, editable=False)
    recorded_at = models.DateTimeField()
    ripens_from = models.DateTimeField(
        null=True, blank=True, help_text="When the first of its news that is dated ahead takes effect; null: none is."
    )
    ripens_at = models.DateTimeField(null=True, blank=True, help_text="When the last of it does.")

    class Meta:
        abstract = True


class PeriodQuerySet(VisibleQuerySet):
    """Dated truth: rows hold over `[valid_from, valid_to)` and carry the change that told us so."""

    def current(self) -> Self:
        """What holds now, without an end known, as far as we have been told."""
        return self.filter(valid_to__isnull=True, superseded_by__isnull=True)

    def holding_at(self, as_of: datetime, mark: int | None = None) -> Self:
        """The rows that held at `as_of`, as known at run `mark` (None: all that has been told until now)."""
        return self.filter(self.model.holding_q(as_of, mark))


class PeriodRow(models.Model):
    """One stretch of dated truth. Rows are never edited: an edit supersedes a row and adds new ones.

    Two axes: `[valid_from, valid_to)` is when it holds in the world, `change` .. `superseded_by` is when we held
    it for true. So that what was known at any run can be told exactly, late news included.
    """

    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)
    change = models.ForeignKey(
        "csplaybooks_accounts.Change", on_delete=models.PROTECT, related_name="+", editable=False
    )
    superseded_by = models.ForeignKey(
        "csplaybooks_accounts.Change",
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        editable=False,
    )

    class Meta:
        abstract = True

    @staticmethod
    def holding_q(as_of: datetime, mark: int | None) -> Q:
        """The condition behind `PeriodQuerySet.holding_at`, to be joined with others."""
        from csplaybooks.accounts.models import Change

        q = Q(valid_from__lte=as_of) & (Q(valid_to__isnull=True) | Q(valid_to__gt=as_of))
        if mark is None:
            return q & Q(superseded_by__isnull=True)
        unknown = Change.objects.not_known_at(mark).values("pk")
        return q & ~Q(change__in=unknown) & (Q(superseded_by__isnull=True) | Q(superseded_by__in=unknown))


def period_constraints(prefix: str, key: list[str]) -> list[models.BaseConstraint]:
    """The constraints of a period table: ends after it begins, one open row for each `key`."""
    return [
        models.CheckConstraint(
            condition=Q(valid_to__isnull=True) | Q(valid_to__gt=models.F("valid_from")),
            name=f"csp_{prefix}_ends_after_start",
            violation_error_message="A period must end after it begins.",
        ),
        models.UniqueConstraint(
            fields=key,
            condition=Q(valid_to__isnull=True, superseded_by__isnull=True),
            name=f"csp_{prefix}_one_current",
            violation_error_message="Only one period may be open at a time.",
        ),
    ]
