"""Customer companies: accounts, the ids other systems know them by, and what is true of them when."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils.timezone import localtime

from csplaybooks.accounts.base import PeriodQuerySet, PeriodRow, Versioned, VisibleQuerySet, period_constraints
from csplaybooks.accounts.models.people import TeamMember


class Segment(models.TextChoices):
    """How large a customer is, and so how it is worked."""

    SMALL = "small", "Small business"
    MID_MARKET = "mid_market", "Mid-market"
    ENTERPRISE = "enterprise", "Enterprise"


class Lifecycle(models.TextChoices):
    """Where a customer stands with the vendor."""

    FREE = "free", "Free"
    TRIAL = "trial", "Trial"
    PAYING = "paying", "Paying"
    CHURNED = "churned", "Churned"


#: The kind of the change that tells of a new account.
CREATED = "account_created"


class AccountQuerySet(models.QuerySet[Any]):
    """Accounts, by who may see them, and by when they were known."""

    def known_at(self, mark: int | None) -> Self:
        """Accounts that run `mark` and those before it had been told of; None is all there are."""
        if mark is None:
            return self
        from csplaybooks.accounts.models.record import Change

        unheard = Change.objects.not_known_at(mark).filter(kind=CREATED, account__isnull=False)
        return self.exclude(pk__in=unheard.values("account"))

    def visible_to(self, viewer: Any) -> Self:
        """Own and pool accounts for a CSM, the team's for a manager, all for a superuser, none for a stranger."""
        from csplaybooks.accounts.visibility import scope_of

        return self.in_scope(scope_of(viewer))

    def own_of(self, viewer: Any) -> Self:
        """Own and pool accounts, and those of everybody below: without what is seen for the sake of one play."""
        from csplaybooks.accounts.visibility import scope_of

        return self.in_scope(scope_of(viewer), through_doors=False)

    def in_scope(self, scope: Any, *, through_doors: bool = True) -> Self:
        """The accounts inside a scope; see `csplaybooks.accounts.visibility.Scope`.

        `through_doors` adds the accounts that higher rooms let a member see, such as those of plays offered to them.
        """
        from csplaybooks.accounts.visibility import account_doors

        if scope.everything:
            return self
        if scope.accounts is not None:
            return self.filter(pk__in=scope.accounts)
        if scope.nothing:
            return self.none()
        team = AccountTeam.objects.current()
        allowed = Q(pk__in=team.filter(member__in=scope.members).values("account"))
        if through_doors:
            for door in account_doors:
                allowed |= Q(pk__in=door(scope.work))
        if scope.pool:
            # The pool: accounts without a CSM.
            allowed |= ~Q(Exists(team.filter(account=OuterRef("pk"), role=AccountTeam.Role.CSM)))
        return self.filter(allowed)


class Account(Versioned):
    """A customer company."""

    name = models.CharField(max_length=200)
    parent = models.ForeignKey("self", on_delete=models.PROTECT, related_name="children", null=True, blank=True)
    merged_into = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="+", null=True, blank=True, editable=False
    )
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(editable=False)

    objects = AccountQuerySet.as_manager()

    class Meta:
        ordering = ("name", "pk")
        indexes = [
            # Lists and the search box: by name.
            models.Index(fields=["name"], name="csp_account_name"),
            # Incremental readers: rows in the order they changed.
            models.Index(fields=["updated_at", "id"], name="csp_account_updated"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(merged_into__isnull=True) | ~Q(merged_into=F("id")),
                name="csp_account_not_merged_into_itself",
                violation_error_message="An account cannot be merged into itself.",
            ),
            models.CheckConstraint(
                condition=Q(parent__isnull=True) | ~Q(parent=F("id")),
                name="csp_account_not_own_parent",
                violation_error_message="An account cannot be its own parent.",
            ),
        ]
        permissions = [("view_everything", "Can see every account, whoever owns it")]

    def __str__(self) -> str:
        return self.name


class AccountIdentity(models.Model):
    """An id by which another system knows an account: many to one account, unique for each source."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="identities")
    source = models.CharField(max_length=100, help_text="The system that uses this id, such as crm or product.")
    external_id = models.CharField(max_length=200)

    objects: Any = VisibleQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "account identities"
        ordering = ("source", "external_id")
        indexes = [
            # Intake looks accounts up by external id alone, where the item names no source.
            models.Index(fields=["external_id"], name="csp_identity_external_id"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["source", "external_id"],
                name="csp_identity_unique",
                violation_error_message="Another account is already known by this id in this source.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source}:{self.external_id}"


class AccountFacts(PeriodRow):
    """What is true of an account over a period: lifecycle, segment, dates, head-count. Unknown facts are null."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="facts", db_index=False)
    lifecycle = models.CharField(max_length=20, choices=Lifecycle, default=Lifecycle.PAYING)
    segment = models.CharField(max_length=20, choices=Segment, blank=True)
    region = models.CharField(max_length=50, blank=True)
    tags = models.JSONField(default=list, blank=True)
    customer_since = models.DateField(null=True, blank=True)
    activated_on = models.DateField(null=True, blank=True)
    renewal_on = models.DateField(null=True, blank=True)
    head_count = models.PositiveIntegerField(null=True, blank=True)

    objects: Any = PeriodQuerySet.as_manager()

    #: The facts themselves, in the order forms and exports show them.
    FACTS = (
        "lifecycle",
        "segment",
        "region",
        "tags",
        "customer_since",
        "activated_on",
        "renewal_on",
        "head_count",
    )

    class Meta:
        verbose_name_plural = "account facts"
        ordering = ("account", "valid_from", "pk")
        indexes = [
            # The evaluator and its guards: the facts of an account at a moment.
            models.Index(fields=["account", "valid_from"], name="csp_facts_account_from"),
        ]
        constraints = period_constraints("facts", ["account"])

    def __str__(self) -> str:
        return f"{self.account} from {localtime(self.valid_from):%Y-%m-%d}"


class AccountTeam(PeriodRow):
    """Who looks after an account, by role, over a period."""

    class Role(models.TextChoices):
        """The part a member plays at an account."""

        CSM = "csm", "Customer success manager"
        AE = "ae", "Account executive"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="team")
    role = models.CharField(max_length=10, choices=Role)
    member = models.ForeignKey(TeamMember, on_delete=models.PROTECT, related_name="account_roles")

    objects: Any = PeriodQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "account team"
        ordering = ("account", "role", "valid_from")
        # Routing and visibility, who has this role at this account now, go by the index of the one open period.
        constraints = period_constraints("team", ["account", "role"])

    def __str__(self) -> str:
        return f"{self.member} as {self.get_role_display()} of {self.account}"
