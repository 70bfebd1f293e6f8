"""What members of the team are told, and how they want to be told."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Q

from csplaybooks.accounts.base import Versioned, VisibleQuerySet
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.models.clocks import ClockEvent
from csplaybooks.playbooks.models.deliveries import Delivery
from csplaybooks.playbooks.models.handoffs import Handoff
from csplaybooks.playbooks.models.plays import Play


class MembersOwnQuerySet(VisibleQuerySet):
    """Rows of one member: seen by them, by whoever leads them, and by whoever sees everything."""

    def visible_to(self, viewer: Any) -> Self:
        """Only the rows of members whose work `viewer` sees."""
        from csplaybooks.accounts.visibility import scope_of

        scope = scope_of(viewer)
        return self if scope.everything else self.filter(member__in=scope.members)


class Notice(models.Model):
    """One thing that one member is told, once: by a mail at once, in the daily digest, or only here."""

    class Kind(models.TextChoices):
        """What it tells."""

        ASSIGNED = "assigned", "A play is yours"
        WARNED = "warned", "A promise runs out"
        BREACHED = "breached", "A promise was missed"
        ESCALATED = "escalated", "A missed promise of your team"
        OFFERED = "offered", "A play is offered to you"
        REFUSED = "refused", "An offer was refused, or nobody answered it"
        UNSENT = "unsent", "A mail to a customer did not go"

    class Way(models.TextChoices):
        """How it is told."""

        NOW = "now", "By mail at once"
        DIGEST = "digest", "In the daily digest"
        OFF = "off", "Not by mail"

    key = models.CharField(max_length=200, unique=True, help_text="What it tells whom: of each there is one.")
    member = models.ForeignKey(TeamMember, on_delete=models.CASCADE, related_name="notices", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind)
    play = models.ForeignKey(Play, on_delete=models.CASCADE, related_name="notices")
    event = models.ForeignKey(ClockEvent, on_delete=models.CASCADE, related_name="+", null=True, blank=True)
    handoff = models.ForeignKey(Handoff, on_delete=models.CASCADE, related_name="+", null=True, blank=True)
    text = models.CharField(max_length=500)
    at = models.DateTimeField()
    way = models.CharField(max_length=10, choices=Way)
    delivery = models.ForeignKey(
        Delivery, on_delete=models.PROTECT, related_name="notices", null=True, blank=True, help_text="Its mail."
    )

    objects: Any = MembersOwnQuerySet.as_manager()

    class Meta:
        ordering = ("-at", "-pk")
        indexes = [
            # A member's notices, the newest first.
            models.Index(fields=["member", "-at"], name="csp_notice_member"),
            # What waits for the digest.
            models.Index(
                fields=["member", "at"], name="csp_notice_digest", condition=Q(way="digest", delivery__isnull=True)
            ),
            # What waits for its mail.
            models.Index(fields=["id"], name="csp_notice_now", condition=Q(way="now", delivery__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.text

    @property
    def has_lapsed(self) -> bool:
        """Whether it tells of an offer that nobody answered, rather than of one that was refused. Reads the offer."""
        offer = self.handoff if self.kind == self.Kind.REFUSED else None
        return offer is not None and offer.answer == Handoff.Answer.EXPIRED

    @property
    def heading(self) -> str:
        """What it tells, in a few words: its kind, where that is one thing only."""
        if self.kind != self.Kind.REFUSED:
            return str(self.Kind(self.kind).label)
        return "Nobody answered an offer" if self.has_lapsed else "An offer was refused"


class NoticeSettings(Versioned):
    """How a member wants to be told of what; who has no row is told as the defaults say."""

    member = models.OneToOneField(TeamMember, on_delete=models.CASCADE, related_name="notice_settings")
    assigned = models.CharField(max_length=10, choices=Notice.Way, default=Notice.Way.NOW)
    warned = models.CharField(max_length=10, choices=Notice.Way, default=Notice.Way.DIGEST)
    breached = models.CharField(max_length=10, choices=Notice.Way, default=Notice.Way.NOW)
    escalated = models.CharField(max_length=10, choices=Notice.Way, default=Notice.Way.NOW)
    offered = models.CharField(max_length=10, choices=Notice.Way, default=Notice.Way.NOW)
    refused = models.CharField(max_length=10, choices=Notice.Way, default=Notice.Way.NOW)
    unsent = models.CharField(max_length=10, choices=Notice.Way, default=Notice.Way.NOW)
    digest = models.BooleanField(default=True, help_text="Whether the daily digest comes at all.")
    digest_minute = models.PositiveSmallIntegerField(
        default=8 * 60, help_text="When it comes: minutes since midnight, in the member's time zone."
    )
    digest_on = models.DateField(
        null=True, blank=True, editable=False, help_text="The last day whose digest was put on its way."
    )

    objects: Any = MembersOwnQuerySet.as_manager()

    class Meta:
        verbose_name = "notice settings"
        verbose_name_plural = "notice settings"
        ordering = ("member",)
        constraints = [
            models.CheckConstraint(
                condition=Q(digest_minute__lt=1440),
                name="csp_notice_settings_minute",
                violation_error_message="A day has the minutes 0 to 1439.",
            ),
        ]

    def __str__(self) -> str:
        return f"Notices to {self.member}"
