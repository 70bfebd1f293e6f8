"""Promises and their running measure."""

from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from csplaybooks.playbooks.models.calendars import Calendar
from csplaybooks.playbooks.models.plays import Play, PlayPartQuerySet


class ClockQuerySet(PlayPartQuerySet):
    """Clocks, by whether they tick."""

    def ticking(self) -> Self:
        """Clocks whose promise is neither kept nor called off."""
        return self.filter(state__in=[Clock.State.RUNNING, Clock.State.PAUSED, Clock.State.BREACHED])


class Clock(models.Model):
    """One SLA promise on one play. `due_at` follows from the intervals and the calendar; it is never patched.

    A written breach stays; `breached_at` is the last one. `excused_at` says that a manager has excused it: then with a
    reason, and for good. Without one it says that the due time lies behind the breach (another owner, calendar or
    target): then the clock runs on, and is broken again once that passes. It is cleared when the due time comes back.
    """

    class Target(models.TextChoices):
        """What was promised."""

        FIRST_TOUCH = "first_touch", "First touch"
        HANDOFF_ACCEPTED = "handoff_accepted", "Hand-off accepted"
        CLOSED = "closed", "Close"

    class Hours(models.TextChoices):
        """Which time counts."""

        WORKING = "working", "Working hours of the calendar"
        WALL = "wall", "Every hour"

    class State(models.TextChoices):
        """How the promise stands."""

        RUNNING = "running", "Running"
        PAUSED = "paused", "Paused"
        BREACHED = "breached", "Breached, still open"
        MET = "met", "Met"
        MISSED = "missed", "Done late"
        CANCELLED = "cancelled", "Called off"

    play = models.ForeignKey(Play, on_delete=models.CASCADE, related_name="clocks", db_index=False)
    target = models.CharField(max_length=20, choices=Target)
    number = models.PositiveIntegerField(default=1, help_text="Counts the offers of one play.")
    promised_seconds = models.PositiveIntegerField()
    hours = models.CharField(max_length=10, choices=Hours)
    calendar = models.ForeignKey(Calendar, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    zone = models.CharField(
        max_length=60, blank=True, help_text="The time zone of whoever owns the play; empty: the calendar's own."
    )
    follows_owner = models.BooleanField(
        default=True, help_text="Whether another owner brings another calendar: not where the playbook names one."
    )
    warn_percents = models.JSONField(default=list, blank=True, help_text="At which shares of the promise to warn.")
    escalation_waits = models.JSONField(
        default=list, blank=True, help_text="Seconds after the breach at which each rung of the ladder is climbed."
    )
    started_at = models.DateTimeField()
    due_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Empty while the play is paused, or where the calendar never opens long enough.",
    )
    next_event_at = models.DateTimeField(
        null=True, blank=True, help_text="When the next warning, breach or rung of the ladder is due."
    )
    is_stale = models.BooleanField(
        default=False,
        verbose_name="to be worked out anew",
        help_text="Its hours, owner or calendar have changed: its times follow within a minute.",
    )
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    done_at = models.DateTimeField(null=True, blank=True)
    breached_at = models.DateTimeField(
        null=True, blank=True, help_text="The due time that was missed; the last one, where there were several."
    )
    noticed_at = models.DateTimeField(null=True, blank=True, help_text="When the breach was seen.")
    excused_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when the breach does not count: by a later due time, or by a manager."
    )
    excused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        related_name="+",
        null=True,
        blank=True,
        help_text="Empty where the due time was moved later.",
    )
    excuse_reason = models.CharField(
        max_length=500, blank=True, help_text="Why a manager has excused it; empty where the due time was moved later."
    )

    objects = ClockQuerySet.as_manager()

    class Meta:
        ordering = ("play", "target", "number")
        permissions = [("excuse_clock", "Can excuse a broken promise")]
        indexes = [
            # The watcher: what is due to be warned of, breached or escalated.
            models.Index(
                fields=["next_event_at"], name="csp_clock_next_event", condition=Q(next_event_at__isnull=False)
            ),
            # The watcher: what must be recomputed first.
            models.Index(fields=["id"], name="csp_clock_stale", condition=Q(is_stale=True)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["play", "target", "number"],
                name="csp_clock_unique",
                violation_error_message="This play has this clock already.",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["met", "missed", "cancelled"], done_at__isnull=False)
                | Q(state__in=["running", "paused", "breached"], done_at__isnull=True),
                name="csp_clock_done_has_time",
                violation_error_message="A finished clock has its time, a ticking one none.",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["met", "missed", "cancelled"], next_event_at__isnull=True)
                | ~Q(state__in=["met", "missed", "cancelled"]),
                name="csp_clock_done_waits_for_nothing",
                violation_error_message="A finished clock has no next event.",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["breached", "missed"]) | Q(breached_at__isnull=False),
                name="csp_clock_breach_has_time",
                violation_error_message="A breached clock names the due time that was missed.",
            ),
            models.CheckConstraint(
                condition=Q(breached_at__isnull=True, noticed_at__isnull=True)
                | Q(breached_at__isnull=False, noticed_at__isnull=False),
                name="csp_clock_breach_noticed",
                violation_error_message="A breach has the time it was due and the time it was noticed.",
            ),
            models.CheckConstraint(
                condition=~Q(hours="working") | Q(calendar__isnull=False),
                name="csp_clock_working_has_calendar",
                violation_error_message="Working hours need a calendar.",
            ),
            models.CheckConstraint(
                condition=Q(breached_at__isnull=False, excused_at__isnull=False)
                | Q(excused_at__isnull=True, excused_by__isnull=True, excuse_reason=""),
                name="csp_clock_excused_breach",
                violation_error_message="An excuse has its time, and there is a breach to excuse.",
            ),
            models.CheckConstraint(
                condition=Q(excused_by__isnull=True) | ~Q(excuse_reason=""),
                name="csp_clock_excused_with_reason",
                violation_error_message="Whoever excuses a breach gives a reason.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_target_display()} of {self.play}"


class ClockEventQuerySet(PlayPartQuerySet):
    """Events, seen by whoever sees the clock's play."""

    play_path = "clock__play"


class ClockEvent(models.Model):
    """Something that happened on a clock; each kind and level once.

    A clock that has been broken and whose due time then was moved later runs once more. In its run number n, from 0 on,
    the breach has level n, a warning or rung the level n * `RUN` + its per cent or number.
    """

    #: What lies between the levels of one run and those of the next: more than any per cent or rung.
    RUN = 100

    class Kind(models.TextChoices):
        """What happened."""

        WARNED = "warned", "Warned"
        BREACHED = "breached", "Breached"
        ESCALATED = "escalated", "Escalated"

    clock = models.ForeignKey(Clock, on_delete=models.CASCADE, related_name="events", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind)
    level = models.PositiveSmallIntegerField(
        default=0,
        help_text="The per cent of a warning, the rung of an escalation, and 100 more for each breach before it; of a "
        "breach how many there were before it.",
    )
    due_at = models.DateTimeField(help_text="When it should have been seen.")
    noticed_at = models.DateTimeField(help_text="When it was seen.")
    holder = models.ForeignKey(
        "csplaybooks_accounts.TeamMember",
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        help_text="Who held the play then.",
    )
    told = models.ForeignKey(
        "csplaybooks_accounts.TeamMember",
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        help_text="On which rung of the ladder it stands: who is to know of it.",
    )

    objects: Any = ClockEventQuerySet.as_manager()

    class Meta:
        ordering = ("clock", "due_at", "pk")
        constraints = [
            models.UniqueConstraint(
                fields=["clock", "kind", "level"],
                name="csp_clock_event_once",
                violation_error_message="This happened on this clock already.",
            ),
        ]

    def __str__(self) -> str:
        said = f"{self.get_kind_display()} {self.step or ''}".strip()
        return f"{said}, due time {self.run + 1}" if self.run else said

    @property
    def run(self) -> int:
        """How many breaches stood written when it happened; its own not counted."""
        return self.level if self.kind == self.Kind.BREACHED else self.level // self.RUN

    @property
    def step(self) -> int:
        """The per cent of a warning, the number of a rung; 0 for a breach."""
        return 0 if self.kind == self.Kind.BREACHED else self.level % self.RUN
