"""Episodes in which an account met a trigger, and the plays they led to."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import F, OuterRef, Q, Subquery

from csplaybooks.accounts.base import VisibleQuerySet
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.models.plays import Play, PlayPartQuerySet, Route
from csplaybooks.playbooks.models.recipes import PlaybookVersion, Trigger
from csplaybooks.playbooks.models.runs import Run
from csplaybooks.playbooks.models.work import Work, WorkQuerySet

#: The order of the queue: best expected value first, unknown last, then older run, then id. By the column: ordering by
#: the relation would follow the order of runs, which is newest first.
BY_VALUE: tuple[Any, ...] = (F("expected_value_minor").desc(nulls_last=True), "opened_run_id", "pk")


class MatchQuerySet(WorkQuerySet):
    """Matches, by who may see them and where they stand."""

    def visible_to(self, viewer: Any) -> Self:
        """Matches of own and pool accounts, and those that led to a play that the viewer sees.

        Like plays: seeing an account for the sake of one play does not open the others' matches.
        """
        from csplaybooks.accounts.visibility import scope_of

        scope = scope_of(viewer)
        if scope.everything:
            return self
        if scope.nothing:
            return self.none()
        accounts = Account.objects.in_scope(scope, through_doors=False).values("pk")
        return self.filter(Q(account__in=accounts) | Q(play__in=Play.objects.visible_to(viewer).values("pk")))

    def episode_open(self) -> Self:
        """Matches whose conditions still hold, as far as the last run saw."""
        return self.filter(closed_run__isnull=True)

    def unfired(self) -> Self:
        """Matches that may still become a play."""
        return self.filter(state__in=[Match.State.HELD, Match.State.QUEUED])

    def admitted(self) -> Self:
        """Matches for which there is room: a worker makes plays of them."""
        return self.filter(state=Match.State.QUEUED, admitted_run__isnull=False)

    def waiting(self) -> Self:
        """Matches that the guards let pass and that wait for room."""
        return self.filter(state=Match.State.QUEUED, admitted_run__isnull=True)

    def by_value(self) -> Self:
        """In the order of the queue: best expected value first, unknown last, then older run, then id."""
        return self.order_by(*BY_VALUE)

    def open_after(self, run_id: int) -> Self:
        """The episodes that stood open when the run with this id had finished."""
        return self.filter(Q(closed_run__isnull=True) | Q(closed_run__gt=run_id), opened_run__lte=run_id)


class Match(Work):
    """One episode: opened by the first run in which the conditions held, closed by the first in which they did not.

    It fires at most once. The evidence is what the conditions found when it opened.
    """

    class State(models.TextChoices):
        """What became of the episode; exactly one."""

        HELD = "held", "Held"
        QUEUED = "queued", "Queued"
        FIRED = "fired", "Fired"
        FOLDED = "folded", "Folded"
        EXPIRED = "expired", "Expired"
        ENDED = "ended", "Ended unfired"

    trigger = models.ForeignKey(Trigger, on_delete=models.PROTECT, related_name="matches")
    version = models.ForeignKey(PlaybookVersion, on_delete=models.PROTECT, related_name="+")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="matches", db_index=False)
    opened_run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    closed_run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    opened_at = models.DateTimeField(help_text="The moment of the run that opened it.")
    closed_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State)
    evidence = models.JSONField(default=list)
    held_by = models.CharField(max_length=50, blank=True, help_text="The guard that holds it.")
    held_until = models.DateTimeField(null=True, blank=True)
    held_reason = models.CharField(max_length=300, blank=True)
    ceiling = models.CharField(max_length=20, choices=Route, blank=True, help_text="Highest route allowed.")
    route = models.CharField(
        max_length=20, choices=Route, blank=True, help_text="How it would be worked, as of when the guards let it pass."
    )
    expected_amount_minor = models.BigIntegerField(
        null=True, blank=True, help_text="What it would add to monthly revenue, in minor units; null is unknown."
    )
    expected_value_minor = models.BigIntegerField(
        null=True, blank=True, help_text="That amount times the close rate; the queue's order. Unknown goes last."
    )
    queued_at = models.DateTimeField(null=True, blank=True, help_text="Since when it waits for room.")
    waits_until = models.DateTimeField(null=True, blank=True, help_text="When it expires, if there is no room by then.")
    admitted_run = models.ForeignKey(
        Run,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        help_text="The run, or the last one before the look at the queue, that let it become a play.",
    )
    play = models.ForeignKey(Play, on_delete=models.PROTECT, related_name="matches", null=True, blank=True)
    fired_at = models.DateTimeField(null=True, blank=True)

    objects = MatchQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "matches"
        ordering = ("-opened_at", "-pk")
        permissions = [("retry_match", "Can put a stuck match back to work")]
        indexes = [
            # The first worker of the pipeline: what there is room for. The oldest of them is asked for by the doctor.
            models.Index(
                fields=["opened_run", "id"],
                name="csp_match_admitted",
                condition=Q(state="queued", admitted_run__isnull=False),
            ),
            # What waits for room, and until when: asked by each sweep.
            models.Index(
                fields=["waits_until", "id"],
                name="csp_match_waiting",
                condition=Q(state="queued", admitted_run__isnull=True),
            ),
            # The guards look again at what they hold.
            models.Index(fields=["held_until"], name="csp_match_held", condition=Q(state="held")),
            # Cooldowns and the account page: an account's episodes of a trigger.
            models.Index(fields=["account", "trigger", "fired_at"], name="csp_match_account"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["trigger", "account"],
                condition=Q(closed_run__isnull=True),
                name="csp_match_one_open",
                violation_error_message="This account has an open match of this trigger already.",
            ),
            models.CheckConstraint(
                condition=Q(closed_run__isnull=True, closed_at__isnull=True)
                | Q(closed_run__isnull=False, closed_at__isnull=False),
                name="csp_match_closed_whole",
                violation_error_message="A closed match names its run and its moment.",
            ),
            models.CheckConstraint(
                condition=(
                    Q(state__in=["fired", "folded"], play__isnull=False, fired_at__isnull=False)
                    | (~Q(state__in=["fired", "folded"]) & Q(play__isnull=True, fired_at__isnull=True))
                ),
                name="csp_match_fired_has_play",
                violation_error_message="A fired or folded match has its play and its time, no other has.",
            ),
            models.CheckConstraint(
                condition=Q(closed_run__isnull=True) | ~Q(state__in=["held", "queued"]),
                name="csp_match_closed_not_waiting",
                violation_error_message="A match whose conditions no longer hold waits for nothing.",
            ),
            models.CheckConstraint(
                condition=~Q(state="held") | ~Q(held_by=""),
                name="csp_match_held_by_guard",
                violation_error_message="A held match names the guard that holds it.",
            ),
            models.CheckConstraint(
                condition=~Q(state="held") | Q(admitted_run__isnull=True, queued_at__isnull=True),
                name="csp_match_held_not_queued",
                violation_error_message="A held match stands in no queue, and nothing has let it in.",
            ),
            models.CheckConstraint(
                condition=~Q(state="queued")
                | Q(admitted_run__isnull=False)
                | Q(queued_at__isnull=False, waits_until__isnull=False),
                name="csp_match_waits_until",
                violation_error_message="A match that waits for room says since when, and until when.",
            ),
            models.CheckConstraint(
                condition=~Q(state="expired") | Q(admitted_run__isnull=True),
                name="csp_match_expired_not_admitted",
                violation_error_message="A match for which there was room does not expire.",
            ),
            models.CheckConstraint(
                condition=Q(closed_run__isnull=True) | Q(closed_run__gt=F("opened_run")),
                name="csp_match_closed_later",
                violation_error_message="A match is closed by a later run than the one that opened it.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.trigger} at {self.account}"


class MatchStepQuerySet(VisibleQuerySet):
    """Steps of matches, seen by whoever sees the match."""

    account_path = "match__account"

    def visible_to(self, viewer: Any) -> Self:
        """Only the steps of matches that `viewer` may see."""
        from csplaybooks.accounts.visibility import scope_of

        if scope_of(viewer).everything:
            return self
        return self.filter(match__in=Match.objects.visible_to(viewer).values("pk"))

    def last_after(self, run_id: int) -> Self:
        """The last step of each match when the run with this id had finished: what was said of it then."""
        upto = MatchStep.objects.filter(Q(run__lt=run_id) | Q(run=run_id, in_run=True), match=OuterRef("match"))
        last = upto.order_by("-pk").values("pk")[:1]
        return self.filter(pk=Subquery(last))


class MatchStep(models.Model):
    """One change of a match's state: what the guards, the budget, the pipeline or the evaluator made of it, and when.

    Written on change only, in the transaction that changes the match, so that what was said of it at any past run can
    be told. `run` is the newest run there was; `in_run` says that the change was part of it, and not of work after it.
    """

    match = models.ForeignKey(Match, on_delete=models.CASCADE, related_name="steps", db_index=False)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    in_run = models.BooleanField()
    at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=Match.State)
    admitted = models.BooleanField(default=False, help_text="It may become a play as soon as a worker comes by.")
    held_by = models.CharField(max_length=50, blank=True, help_text="The guard that held it.")
    held_until = models.DateTimeField(null=True, blank=True)
    held_reason = models.CharField(max_length=300, blank=True)
    ceiling = models.CharField(max_length=20, choices=Route, blank=True, help_text="Highest route allowed.")

    objects: Any = MatchStepQuerySet.as_manager()

    class Meta:
        ordering = ("match", "pk")
        indexes = [
            # The page of a match, and what was said of it at a run: its last step up to then.
            models.Index(fields=["match", "id"], name="csp_match_step"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="held") | ~Q(held_by=""),
                name="csp_match_step_held_by_guard",
                violation_error_message="A step that holds a match names the guard.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.match}: {self.state}"


class PlayMatch(models.Model):
    """A match that led to a play: the one that opened it, and those folded into it."""

    play = models.ForeignKey(Play, on_delete=models.CASCADE, related_name="play_matches")
    match = models.OneToOneField(Match, on_delete=models.PROTECT, related_name="play_match")
    folded = models.BooleanField(default=False)
    at = models.DateTimeField()

    objects: Any = PlayPartQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "play matches"
        ordering = ("play", "at")
        constraints = [
            models.UniqueConstraint(
                fields=["play"],
                condition=Q(folded=False),
                name="csp_play_match_one_opener",
                violation_error_message="A play is opened by one match.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.match} → play {self.play_id}"
