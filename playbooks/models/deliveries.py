"""What leaves the house by mail: deliveries, the drafts that people send, and who is never written to."""

from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from csplaybooks.accounts.base import CatalogueQuerySet, OperationsQuerySet, Versioned
from csplaybooks.accounts.models import Champion, TeamMember
from csplaybooks.playbooks.models.plays import Play, PlayPartQuerySet, PlayStep, Touch
from csplaybooks.playbooks.models.work import Work, WorkQuerySet


# The stubs take the managers of the two for different methods.
class DeliveryQuerySet(WorkQuerySet, OperationsQuerySet):  # type: ignore[override]
    """Deliveries, by how far they are. Only who sees everything sees them: drafts and notices have their own rows."""

    def visible_to(self, viewer: Any) -> Self:
        """All rows for whoever sees everything, none for anybody else."""
        return OperationsQuerySet.visible_to(self, viewer)


class Delivery(Work):
    """One mail to one address, as a row that is its own queue.

    It is claimed (`sending`, one more attempt) in a transaction that commits before anything is sent, and finished by
    whoever holds the claim. Whose sender died in between, or whose connection broke, is `unclear`: it may have gone, so
    it is never sent again by itself; it stands in the tray.
    """

    class Kind(models.TextChoices):
        """What it carries."""

        NOTICE = "notice", "Notice"
        DIGEST = "digest", "Daily digest"
        DRAFT = "draft", "Mail to a customer"

    class State(models.TextChoices):
        """How far it is."""

        QUEUED = "queued", "Queued"
        SENDING = "sending", "Being sent"
        SENT = "sent", "Sent"
        UNCLEAR = "unclear", "Unclear whether it went"
        SUPPRESSED = "suppressed", "Not sent: the address is suppressed"
        CANCELLED = "cancelled", "Called off"

    key = models.CharField(max_length=200, unique=True, help_text="What it is about: of each there is one.")
    kind = models.CharField(max_length=10, choices=Kind)
    member = models.ForeignKey(TeamMember, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    play = models.ForeignKey(Play, on_delete=models.CASCADE, related_name="deliveries", null=True, blank=True)
    to_address = models.EmailField()
    reply_to = models.EmailField(blank=True)
    subject = models.CharField(max_length=300)
    body = models.TextField()
    message_id = models.CharField(max_length=200, unique=True, help_text="The same at each attempt.")
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    queued_at = models.DateTimeField()
    claimed_until = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Until when whoever sends it is taken to be alive."
    )
    sent_at = models.DateTimeField(null=True, blank=True)

    objects: Any = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ("-queued_at", "-pk")
        permissions = [("retry_delivery", "Can send again what was given up")]
        indexes = [
            # The sender: what waits to be sent, the oldest first.
            models.Index(fields=["queued_at"], name="csp_delivery_queued", condition=Q(state="queued")),
            # The sweep: whose sender died.
            models.Index(fields=["claimed_until"], name="csp_delivery_sending", condition=Q(state="sending")),
            # The tray, and the digest of whom they were for.
            models.Index(fields=["id"], name="csp_delivery_unclear", condition=Q(state="unclear")),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="sent", sent_at__isnull=False) | (~Q(state="sent") & Q(sent_at__isnull=True)),
                name="csp_delivery_sent_has_time",
                violation_error_message="What was sent has its time, another none.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} to {self.to_address}: {self.subject}"


class MailDraft(Versioned):
    """A mail to a customer that a person reads and sends; automatic only where the playbook says so."""

    class State(models.TextChoices):
        """How far it is."""

        DRAFT = "draft", "Draft"
        QUEUED = "queued", "On its way"
        SENT = "sent", "Sent"
        SUPPRESSED = "suppressed", "Not sent: the address is suppressed"
        FAILED = "failed", "Could not be sent"
        UNCLEAR = "unclear", "Unclear whether it went"
        DISCARDED = "discarded", "Discarded"

    play = models.ForeignKey(Play, on_delete=models.CASCADE, related_name="drafts")
    step = models.OneToOneField(PlayStep, on_delete=models.CASCADE, related_name="draft", null=True, blank=True)
    champion = models.ForeignKey(Champion, on_delete=models.SET_NULL, related_name="+", null=True, blank=True)
    to_address = models.EmailField(blank=True)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    automatic = models.BooleanField(default=False, help_text="Sent without anybody reading it: the playbook says so.")
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    written_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    sent_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, related_name="+", null=True, blank=True
    )
    delivery = models.OneToOneField(Delivery, on_delete=models.PROTECT, related_name="draft", null=True, blank=True)
    touch = models.OneToOneField(
        Touch,
        on_delete=models.SET_NULL,
        related_name="draft",
        null=True,
        blank=True,
        help_text="The contact that it was, once it was sent.",
    )

    objects: Any = PlayPartQuerySet.as_manager()

    class Meta:
        ordering = ("-written_at", "-pk")
        permissions = [("send_maildraft", "Can send mail to customers")]
        indexes = [
            # What is on its way, to be told how it went.
            models.Index(fields=["id"], name="csp_draft_queued", condition=Q(state="queued")),
            # The digest of whoever works the play: what did not go, or may not have.
            models.Index(fields=["play"], name="csp_draft_unsent", condition=Q(state__in=["failed", "unclear"])),
            # The worker of steps: what was sent, and is no contact of its play yet.
            models.Index(fields=["play"], name="csp_draft_untold", condition=Q(state="sent", touch__isnull=True)),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="sent", sent_at__isnull=False) | (~Q(state="sent") & Q(sent_at__isnull=True)),
                name="csp_draft_sent_has_time",
                violation_error_message="What was sent has its time, another none.",
            ),
        ]

    def __str__(self) -> str:
        return self.subject


class Suppression(Versioned):
    """An address, or with `@example.com` all of a domain, that no mail to customers goes to."""

    class Source(models.TextChoices):
        """How we know."""

        HAND = "hand", "By hand"
        UNSUBSCRIBED = "unsubscribed", "They asked for it"
        BOUNCED = "bounced", "Mail came back"
        COMPLAINED = "complained", "They complained"

    address = models.CharField(max_length=254, help_text="An address, or @ and a domain. Capitals do not matter.")
    source = models.CharField(max_length=20, choices=Source, default=Source.HAND)
    reason = models.CharField(max_length=500, blank=True)
    added_at = models.DateTimeField(editable=False)

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("address",)
        constraints = [
            models.UniqueConstraint(
                Lower("address"),
                name="csp_suppression_address",
                violation_error_message="This address is suppressed already.",
            ),
        ]

    def __str__(self) -> str:
        return self.address
