"""What was done and what was told: the change log that feeds runs, and the timeline people read."""

from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from csplaybooks.accounts.base import Marked, MarkedQuerySet, VisibleQuerySet
from csplaybooks.accounts.models.company import Account


class Change(Marked):
    """One act that changed something a trigger can ask about; written in the act's own transaction.

    An account of None means that every account may be touched (a catalogue change).
    """

    kind = models.CharField(max_length=50)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", null=True, blank=True)

    objects: Any = MarkedQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = [
            # A run claims what no run has seen; nearly always a handful of rows.
            models.Index(fields=["id"], name="csp_change_unclaimed", condition=Q(seen_by_run__isnull=True)),
            # What a run (and those after it) was told: replays, and the scope of a run.
            models.Index(fields=["seen_by_run", "account"], name="csp_change_seen_by_run"),
            # A run looks again at the accounts of changes whose time has come; few are dated ahead.
            models.Index(fields=["ripens_at"], name="csp_change_ripens", condition=Q(ripens_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"


class TimelineQuerySet(VisibleQuerySet):
    """Lines of the stories of accounts, by who may read them."""

    def visible_to(self, viewer: Any) -> Self:
        """All lines of the viewer's own accounts, and every line about a guarded subject that they see.

        Of an account that they came to through a door: the lines that are not about a guarded subject. So who
        works one play of an account does not read of the others. Lines of no account tell of the vendor's own
        catalogue and team: members of the team read them.
        """
        from csplaybooks.accounts.visibility import scope_of, subject_doors

        scope = scope_of(viewer)
        if scope.everything:
            return self
        if scope.nothing:
            return self.none()
        own = Account.objects.in_scope(scope, through_doors=False).values("pk")
        entered = Account.objects.in_scope(scope).values("pk")
        readable = Q(account__in=own) | (Q(account__in=entered) & ~Q(subject_type__in=list(subject_doors)))
        if scope.members:
            readable |= Q(account__isnull=True) & ~Q(subject_type__in=list(subject_doors))
        for subject_type, door in subject_doors.items():
            readable |= Q(subject_type=subject_type, subject_id__in=door(viewer))
        return self.filter(readable)


class TimelineEntry(models.Model):
    """One line of an account's story. Append-only. Names its subject by type, id and label, in whatever room.

    An account of None means the vendor's own: a product, a calendar, a playbook, a token, somebody of the team.
    """

    account = models.ForeignKey(
        Account, on_delete=models.CASCADE, related_name="timeline", null=True, blank=True, db_index=False
    )
    at = models.DateTimeField(help_text="When it happened.")
    recorded_at = models.DateTimeField(help_text="When it was written down.")
    kind = models.CharField(max_length=50)
    text = models.TextField()
    subject_type = models.CharField(max_length=50, blank=True)
    subject_id = models.BigIntegerField(null=True, blank=True)
    subject_label = models.CharField(max_length=200, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, related_name="+", null=True, blank=True
    )
    actor_label = models.CharField(max_length=200, blank=True, help_text="Who did it, in words; system when nobody.")
    data = models.JSONField(default=dict, blank=True)

    objects: Any = TimelineQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "timeline entries"
        ordering = ("-at", "-pk")
        indexes = [
            # The account page: the newest entries of an account.
            models.Index(fields=["account", "-at", "-id"], name="csp_timeline_account"),
            # A play's own story.
            models.Index(fields=["subject_type", "subject_id"], name="csp_timeline_subject"),
        ]

    def __str__(self) -> str:
        return self.text
