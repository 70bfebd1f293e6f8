"""The people at an account who matter, and the reviews held with them."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.timezone import localtime

from csplaybooks.accounts.base import PeriodQuerySet, PeriodRow, Versioned, VisibleQuerySet, period_constraints
from csplaybooks.accounts.models.catalogue import Product
from csplaybooks.accounts.models.company import Account
from csplaybooks.accounts.models.people import TeamMember


class Champion(Versioned):
    """A person at an account who matters to us."""

    class Role(models.TextChoices):
        """The part a person plays at their company, seen from ours."""

        CHAMPION = "champion", "Champion"
        ECONOMIC_BUYER = "economic_buyer", "Economic buyer"
        ADMIN = "admin", "Admin"
        EXECUTIVE_SPONSOR = "executive_sponsor", "Executive sponsor"
        USER = "user", "User"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="champions")
    name = models.CharField(max_length=200)
    email = models.EmailField(blank=True)
    title = models.CharField(max_length=200, blank=True)
    role = models.CharField(max_length=20, choices=Role, default=Role.CHAMPION)
    left_on = models.DateField(null=True, blank=True)

    objects: Any = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ("account", "name")

    def __str__(self) -> str:
        return f"{self.name} ({self.account})"


class ChampionChange(models.Model):
    """Something that happened to a champion; the rows of one champion are their dated history."""

    class Kind(models.TextChoices):
        """What happened."""

        JOINED = "joined", "Joined"
        PROMOTED = "promoted", "Promoted"
        ROLE_CHANGED = "role_changed", "Role changed"
        NEW_EXECUTIVE = "new_executive", "New executive"
        LEFT = "left", "Left"

    champion = models.ForeignKey(Champion, on_delete=models.CASCADE, related_name="changes")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_index=False)
    kind = models.CharField(max_length=20, choices=Kind)
    occurred_at = models.DateTimeField()
    old_title = models.CharField(max_length=200, blank=True)
    new_title = models.CharField(max_length=200, blank=True)
    old_role = models.CharField(max_length=20, choices=Champion.Role, blank=True)
    new_role = models.CharField(max_length=20, choices=Champion.Role)
    change = models.ForeignKey(
        "csplaybooks_accounts.Change", on_delete=models.PROTECT, related_name="+", editable=False
    )

    objects: Any = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ("-occurred_at", "-pk")
        indexes = [
            # The measure `champion_change`: what happened at an account inside a window.
            models.Index(fields=["account", "kind", "occurred_at"], name="csp_champion_change_account"),
        ]

    def __str__(self) -> str:
        return f"{self.champion}: {self.get_kind_display()}"


class Qbr(Versioned):
    """A quarterly business review and its outcome."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="qbrs", db_index=False)
    held_at = models.DateTimeField()
    led_by = models.ForeignKey(TeamMember, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    attendees = models.ManyToManyField(Champion, related_name="qbrs", blank=True)
    summary = models.TextField(blank=True)
    next_on = models.DateField(null=True, blank=True, verbose_name="next review on")

    objects: Any = VisibleQuerySet.as_manager()

    class Meta:
        verbose_name = "QBR"
        verbose_name_plural = "QBRs"
        ordering = ("-held_at", "-pk")
        indexes = [
            # The account page and the review programme: the last reviews of an account.
            models.Index(fields=["account", "-held_at"], name="csp_qbr_account_held"),
        ]

    def __str__(self) -> str:
        return f"QBR of {self.account} on {localtime(self.held_at):%Y-%m-%d}"


class Finding(Versioned):
    """Something a review brought up, or that was raised by hand; its status is kept in dated rows."""

    class Kind(models.TextChoices):
        """What sort of finding it is."""

        GAP = "gap", "Gap"
        GOAL = "goal", "Goal"
        RISK = "risk", "Risk"
        WIN = "win", "Win"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="findings", db_index=False)
    qbr = models.ForeignKey(Qbr, on_delete=models.CASCADE, related_name="findings", null=True, blank=True)
    kind = models.CharField(max_length=10, choices=Kind)
    text = models.TextField()
    product = models.ForeignKey(
        Product,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        help_text="For a gap: the product that fills it.",
    )

    objects: Any = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = [
            # The measures `open_gap` and the guard `unhealthy`: an account's gaps and risks.
            models.Index(fields=["account", "kind"], name="csp_finding_account_kind"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(product__isnull=True) | Q(kind="gap"),
                name="csp_finding_product_only_for_gap",
                violation_error_message="Only a gap names the product that fills it.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.text[:60]}"


class FindingStateQuerySet(PeriodQuerySet):
    """Statuses, seen by whoever sees the finding's account."""

    account_path = "finding__account"


class FindingState(PeriodRow):
    """The status of a finding over a period."""

    class Status(models.TextChoices):
        """Open until somebody settles it or lets it go."""

        OPEN = "open", "Open"
        SETTLED = "settled", "Settled"
        DROPPED = "dropped", "Dropped"

    finding = models.ForeignKey(Finding, on_delete=models.CASCADE, related_name="states")
    status = models.CharField(max_length=10, choices=Status)

    objects: Any = FindingStateQuerySet.as_manager()

    class Meta:
        ordering = ("finding", "valid_from")
        constraints = period_constraints("finding_state", ["finding"])

    def __str__(self) -> str:
        return f"{self.finding}: {self.get_status_display()}"
