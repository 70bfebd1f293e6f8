"""Hand-offs: a play offered by one member to another, and what came of it."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import F, Q

from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.models.plays import Play, PlayPartQuerySet


class HandoffQuerySet(PlayPartQuerySet):
    """Offers, seen by whoever sees the play, and by both sides and those above them, whatever came of it."""

    def visible_to(self, viewer: Any) -> Self:
        """Only the offers that `viewer` may see."""
        from csplaybooks.accounts.visibility import scope_of

        scope = scope_of(viewer)
        if scope.everything:
            return self
        theirs = Q(offered_by__in=scope.work) | Q(offered_to__in=scope.work)
        return self.filter(Q(play__in=Play.objects.visible_to(viewer).values("pk")) | theirs)


class Handoff(models.Model):
    """A play offered from one member to another, and what came of it."""

    class Answer(models.TextChoices):
        """What became of an offer."""

        WAITING = "waiting", "Waiting"
        ACCEPTED = "accepted", "Accepted"
        REFUSED = "refused", "Refused"
        TAKEN_BACK = "taken_back", "Taken back"
        EXPIRED = "expired", "Expired"

    play = models.ForeignKey(Play, on_delete=models.CASCADE, related_name="handoffs")
    offered_by = models.ForeignKey(TeamMember, on_delete=models.PROTECT, related_name="+")
    offered_to = models.ForeignKey(TeamMember, on_delete=models.PROTECT, related_name="+")
    offered_at = models.DateTimeField()
    clock = models.OneToOneField(
        "csplaybooks_playbooks.Clock", on_delete=models.CASCADE, related_name="handoff", null=True, blank=True
    )
    lapse_seconds = models.PositiveIntegerField(
        default=0, help_text="How long nobody may leave it unanswered, in the hours of its clock."
    )
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="When an offer that still waits lapses; follows from its clock's calendar."
    )
    answer = models.CharField(max_length=10, choices=Answer, default=Answer.WAITING)
    answered_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    context = models.JSONField(default=dict, help_text="What was handed over in words; frozen.")

    objects: Any = HandoffQuerySet.as_manager()

    class Meta:
        verbose_name = "hand-off"
        ordering = ("-offered_at", "-pk")
        indexes = [
            # The sweep ends offers that nobody has answered in time.
            models.Index(fields=["expires_at"], name="csp_handoff_expires", condition=Q(answer="waiting")),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["play"],
                condition=Q(answer="waiting"),
                name="csp_handoff_one_waiting",
                violation_error_message="This play is on offer already.",
            ),
            models.CheckConstraint(
                condition=~Q(offered_by=F("offered_to")),
                name="csp_handoff_to_another",
                violation_error_message="A play is offered to somebody else.",
            ),
            models.CheckConstraint(
                condition=Q(answer="waiting", answered_at__isnull=True)
                | (~Q(answer="waiting") & Q(answered_at__isnull=False)),
                name="csp_handoff_answer_has_time",
                violation_error_message="An answered offer has the time of its answer.",
            ),
            models.CheckConstraint(
                condition=~Q(answer="refused") | ~Q(reason=""),
                name="csp_handoff_refused_has_reason",
                violation_error_message="A refusal needs a reason.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.offered_by} → {self.offered_to}"
