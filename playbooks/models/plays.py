"""Plays, and everything that tells how one went: intervals, steps, touches, credits."""

from __future__ import annotations

import uuid
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils.timezone import localtime

from csplaybooks.accounts.base import Versioned, VisibleQuerySet
from csplaybooks.accounts.models import Account, Motion, Movement, Product, Segment, TeamMember
from csplaybooks.playbooks.models.recipes import Playbook, PlaybookVersion
from csplaybooks.playbooks.models.work import Work, WorkQuerySet
from csplaybooks.signals.models import Signal


class Route(models.TextChoices):
    """How a play is worked, from the lightest to the heaviest."""

    SELF_SERVE = "self_serve", "Self-serve"
    EMAIL = "email", "E-mail"
    CSM = "csm", "CSM conversation"
    SALES = "sales", "Sales outreach"

    @property
    def weight(self) -> int:
        """0 for the lightest; a ceiling allows routes of at most its own weight."""
        return list(Route).index(self)

    @property
    def counts_toward_load(self) -> bool:
        """Whether a play on this route takes a person's time, and so counts toward their cap."""
        return self not in (Route.SELF_SERVE, Route.EMAIL)


class Stage(models.TextChoices):
    """How far a play has come."""

    ROUTED = "routed", "Routed"
    OWNED = "owned", "Owned"
    RUNNING = "running", "Running"
    CLOSED = "closed", "Closed"


class State(models.TextChoices):
    """What is happening to a play inside its stage."""

    WORKING = "working", "Working"
    PAUSED = "paused", "Paused"
    OFFERED = "offered", "Offered"


class Outcome(models.TextChoices):
    """How a play ended."""

    WON = "won", "Won"
    LOST = "lost", "Lost"
    DECLINED = "declined", "Declined"
    EXPIRED = "expired", "Expired"
    WITHDRAWN = "withdrawn", "Withdrawn"


class PlayQuerySet(WorkQuerySet):
    """Plays, by who may see them and where they stand."""

    def visible_to(self, viewer: Any) -> Self:
        """Plays of own and pool accounts, and plays that the viewer or somebody below them owns, holds or was offered.

        So are those of whoever is away today and for whom the viewer stands in.
        Seeing one play of an account does not open the others: the doors of accounts are left out here.
        """
        from csplaybooks.accounts.visibility import scope_of

        scope = scope_of(viewer)
        if scope.everything:
            return self
        if scope.nothing:
            return self.none()
        accounts = Account.objects.in_scope(scope, through_doors=False).values("pk")
        return self.filter(Q(account__in=accounts) | Play.worked_by_q(scope.work))

    def open(self) -> Self:
        """Plays that are not closed."""
        return self.exclude(stage=Stage.CLOSED)

    def with_step(self) -> Self:
        """Plays that know whether they have a step to do now, as `has_step_to_do`."""
        return self.annotate(has_step_to_do=Exists(PlayStep.objects.filter(play=OuterRef("pk"), state="current")))


class Play(Versioned, Work):
    """One motion being worked for one account.

    `owner` is the one person accountable, `holder` who must act now. Stage, state, owner and holder repeat the open
    interval, so that lists need no join; only the act that writes intervals writes them.
    """

    class Origin(models.TextChoices):
        """What opened it."""

        MATCH = "match", "Trigger"
        HAND = "hand", "By hand"

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="plays", db_index=False)
    playbook = models.ForeignKey(Playbook, on_delete=models.PROTECT, related_name="plays")
    recipe = models.ForeignKey(
        PlaybookVersion, on_delete=models.PROTECT, related_name="plays", verbose_name="playbook version"
    )
    motion = models.CharField(max_length=20, choices=Motion)
    route = models.CharField(max_length=20, choices=Route)
    segment = models.CharField(
        max_length=20, choices=Segment, blank=True, help_text="The account's segment when the play opened."
    )
    routing = models.JSONField(
        default=dict, help_text="What the rule of its route says of owner, offer and first touch; frozen."
    )
    promises = models.ForeignKey(
        PlaybookVersion,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        help_text="The version whose targets it was moved to; empty: its own.",
    )
    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="+", null=True, blank=True, help_text="What to sell."
    )
    stage = models.CharField(max_length=10, choices=Stage, default=Stage.ROUTED)
    state = models.CharField(max_length=10, choices=State, default=State.WORKING)
    owner = models.ForeignKey(TeamMember, on_delete=models.PROTECT, related_name="plays", null=True, blank=True)
    holder = models.ForeignKey(TeamMember, on_delete=models.PROTECT, related_name="held_plays", null=True, blank=True)
    origin = models.CharField(max_length=10, choices=Origin, default=Origin.MATCH)
    reason = models.CharField(max_length=500, blank=True, help_text="Why it was opened by hand.")
    evidence = models.JSONField(default=list, help_text="What was found when it opened; frozen.")
    expected_amount_minor = models.BigIntegerField(
        null=True, blank=True, help_text="Expected monthly revenue in minor units; null is unknown."
    )
    amount_working = models.JSONField(default=dict, help_text="How the expected amount was worked out; frozen.")
    opened_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True, help_text="When a play that is still open lapses.")
    tray_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Since when it waits for a manager to name an owner."
    )
    clocks_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome, blank=True)
    outcome_reason = models.CharField(max_length=500, blank=True)

    objects = PlayQuerySet.as_manager()

    class Meta:
        ordering = ("-opened_at", "-pk")
        permissions = [
            ("assign_play", "Can say who owns a play"),
            ("retry_play", "Can put a stuck play back to work"),
        ]
        indexes = [
            # The second worker of the pipeline: plays without an owner.
            models.Index(fields=["opened_at"], name="csp_play_unowned", condition=Q(stage="routed")),
            # The third: owned plays without clocks.
            models.Index(
                fields=["opened_at"],
                name="csp_play_unclocked",
                condition=Q(clocks_started_at__isnull=True, stage__in=["owned", "running"]),
            ),
            # Load per owner, and a person's work.
            models.Index(fields=["owner", "route"], name="csp_play_owner_open", condition=~Q(stage="closed")),
            # The sweep closes plays whose time has run out.
            models.Index(fields=["expires_at"], name="csp_play_expires", condition=~Q(stage="closed")),
            # The API's list of an account's plays; incremental readers.
            models.Index(fields=["account", "-opened_at"], name="csp_play_account"),
            models.Index(fields=["updated_at", "id"], name="csp_play_updated"),
            # The tray: plays that wait for a manager, or for whoever takes them.
            models.Index(fields=["tray_at"], name="csp_play_tray", condition=Q(tray_at__isnull=False)),
            # The doctor: what failed, and waits for its next try or for somebody who mends it.
            models.Index(
                fields=["stuck_at"],
                name="csp_play_failed",
                condition=Q(attempts__gt=0) | Q(stuck_at__isnull=False),
            ),
            # Close rates: what closed in the year up to a moment.
            models.Index(fields=["closed_at"], name="csp_play_closed", condition=Q(stage="closed")),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "motion"],
                condition=~Q(stage="closed"),
                name="csp_play_one_open",
                violation_error_message="This account has an open play of this motion already.",
            ),
            models.CheckConstraint(
                condition=Q(stage="routed") | Q(owner__isnull=False) | Q(stage="closed", outcome="withdrawn"),
                name="csp_play_owned_has_owner",
                violation_error_message="A play has an owner from the stage owned on.",
            ),
            models.CheckConstraint(
                condition=(
                    (Q(stage="closed") & ~Q(outcome="") & Q(closed_at__isnull=False))
                    | (~Q(stage="closed") & Q(outcome="", closed_at__isnull=True))
                ),
                name="csp_play_closed_has_outcome",
                violation_error_message="A closed play has an outcome and a time, an open one neither.",
            ),
            models.CheckConstraint(
                condition=~Q(outcome="declined") | ~Q(outcome_reason=""),
                name="csp_play_declined_has_reason",
                violation_error_message="A declined play needs a reason.",
            ),
            models.CheckConstraint(
                condition=~Q(origin="hand") | ~Q(reason=""),
                name="csp_play_hand_has_reason",
                violation_error_message="A play opened by hand needs a reason.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.playbook} at {self.account}"

    @staticmethod
    def worked_by_q(members: frozenset[int]) -> Q:
        """Plays that one of these members owns or holds; a play on offer is held by whom it was offered to."""
        return Q(owner__in=members) | Q(holder__in=members)


class PlayPartQuerySet(VisibleQuerySet):
    """Rows that hang on a play: seen by whoever sees the play. Subclasses name the way to it in `play_path`."""

    play_path = "play"

    def visible_to(self, viewer: Any) -> Self:
        """Only the parts of plays that `viewer` may see."""
        from csplaybooks.accounts.visibility import scope_of

        if scope_of(viewer).everything:
            return self
        return self.filter(**{f"{self.play_path}__in": Play.objects.visible_to(viewer).values("pk")})


class PlayStep(models.Model):
    """A next step of a play, taken from its playbook when it opened. One after the other: one of them is current."""

    class Kind(models.TextChoices):
        """What there is to do."""

        TASK = "task", "Task"
        MAIL = "mail", "Mail draft"
        PROMPT = "prompt", "In-product prompt"
        WAIT = "wait", "Wait"
        TRIAL = "trial", "Trial of a feature"

    class State(models.TextChoices):
        """How far it is."""

        WAITING = "waiting", "Waiting for those before it"
        CURRENT = "current", "To do now"
        DONE = "done", "Done"
        SKIPPED = "skipped", "Skipped"

    play = models.ForeignKey(Play, on_delete=models.CASCADE, related_name="steps", db_index=False)
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=20, choices=Kind)
    text = models.TextField()
    settings = models.JSONField(default=dict, help_text="What the playbook says of it: hours, mail, feature; frozen.")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    began_at = models.DateTimeField(null=True, blank=True, help_text="When those before it were over.")
    due_at = models.DateTimeField(null=True, blank=True, help_text="By when it is to be done; when a wait is over.")
    done_at = models.DateTimeField(null=True, blank=True, help_text="When it was done, or skipped.")
    done_by = models.ForeignKey(TeamMember, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    note = models.CharField(max_length=500, blank=True, help_text="What came of it, or why it was skipped.")
    is_stale = models.BooleanField(
        default=False, editable=False, help_text="Something that it hangs on has changed: a worker looks at it again."
    )

    objects: Any = PlayPartQuerySet.as_manager()

    class Meta:
        ordering = ("play", "number")
        constraints = [
            models.UniqueConstraint(
                fields=["play", "number"],
                name="csp_play_step_number",
                violation_error_message="This play has a step of this number already.",
            ),
            models.UniqueConstraint(
                fields=["play"],
                condition=Q(state="current"),
                name="csp_play_step_one_current",
                violation_error_message="This play has a step to do already.",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["done", "skipped"], done_at__isnull=False)
                | (~Q(state__in=["done", "skipped"]) & Q(done_at__isnull=True)),
                name="csp_play_step_done_has_time",
                violation_error_message="A step that is over has its time, another none.",
            ),
            models.CheckConstraint(
                condition=~Q(state="current") | Q(began_at__isnull=False),
                name="csp_play_step_current_began",
                violation_error_message="A step to do has the time at which it began.",
            ),
        ]
        indexes = [
            # A person's day: what is to be done, the earliest first.
            models.Index(fields=["due_at"], name="csp_play_step_due", condition=Q(state="current")),
            # The worker of steps: what ends by itself when its time has come, what is to be looked at again, and plays
            # whose first step has not begun.
            models.Index(
                fields=["due_at"], name="csp_play_step_over", condition=Q(state="current", kind__in=["wait", "trial"])
            ),
            models.Index(fields=["play"], name="csp_play_step_stale", condition=Q(state="current", is_stale=True)),
            models.Index(fields=["play"], name="csp_play_step_first", condition=Q(state="waiting", number=1)),
        ]

    def __str__(self) -> str:
        return f"{self.number}. {self.text}"


class Interval(models.Model):
    """One stretch of a play's life with one owner, holder, stage and state; `[valid_from, valid_to)`.

    The stretches tile the play from its opening to its close, and are the only source of elapsed time. Written only
    by the one act that closes the open one and adds the next.
    """

    class HeldBy(models.TextChoices):
        """What sort of holder the stretch had: blame goes to the holder."""

        MEMBER = "member", "Team member"
        TRAY = "tray", "Tray"
        CUSTOMER = "customer", "Customer"

    play = models.ForeignKey(Play, on_delete=models.CASCADE, related_name="intervals", db_index=False)
    seq = models.PositiveIntegerField(verbose_name="No.")
    owner = models.ForeignKey(TeamMember, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    holder = models.ForeignKey(TeamMember, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    held_by = models.CharField(max_length=10, choices=HeldBy)
    stage = models.CharField(max_length=10, choices=Stage)
    state = models.CharField(max_length=10, choices=State)
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)

    objects: Any = PlayPartQuerySet.as_manager()

    class Meta:
        ordering = ("play", "seq")
        constraints = [
            models.UniqueConstraint(
                fields=["play", "seq"],
                name="csp_interval_seq",
                violation_error_message="Another act moved this play first.",
            ),
            models.UniqueConstraint(
                fields=["play"],
                condition=Q(valid_to__isnull=True),
                name="csp_interval_one_open",
                violation_error_message="A play has one open interval.",
            ),
            models.CheckConstraint(
                condition=Q(valid_to__isnull=True) | Q(valid_to__gte=F("valid_from")),
                name="csp_interval_not_backwards",
                violation_error_message="An interval cannot end before it begins.",
            ),
            models.CheckConstraint(
                condition=Q(held_by="member", holder__isnull=False) | (~Q(held_by="member") & Q(holder__isnull=True)),
                name="csp_interval_holder",
                violation_error_message="A holder is named exactly where a team member holds.",
            ),
            models.CheckConstraint(
                condition=Q(stage__in=["owned", "running"], owner__isnull=False) | Q(stage="routed"),
                name="csp_interval_owner",
                violation_error_message="An interval has an owner from the stage owned on.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.play_id}/{self.seq}: {self.stage} {self.state}"


class Pause(models.Model):
    """Why a play was paused, and when it wakes; the time itself is in the interval."""

    play = models.ForeignKey(Play, on_delete=models.CASCADE, related_name="pauses")
    interval = models.OneToOneField(Interval, on_delete=models.CASCADE, related_name="pause")
    reason = models.CharField(max_length=500)
    wakes_at = models.DateTimeField(null=True, blank=True)

    objects: Any = PlayPartQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = [
            # The sweep wakes plays whose date has come.
            models.Index(fields=["wakes_at"], name="csp_pause_wakes", condition=Q(wakes_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.reason


class Touch(models.Model):
    """One contact made, in or out, by a person or by the system."""

    class Channel(models.TextChoices):
        """By what means."""

        EMAIL = "email", "E-mail"
        CALL = "call", "Call"
        MEETING = "meeting", "Meeting"
        PROMPT = "prompt", "In-product prompt"
        OTHER = "other", "Other"

    class Direction(models.TextChoices):
        """Who turned to whom."""

        OUT = "out", "To the customer"
        IN = "in", "From the customer"

    class Origin(models.TextChoices):
        """How we know of it."""

        HAND = "hand", "Logged by a person"
        DRAFT = "draft", "A draft was sent"
        SIGNAL = "signal", "A signal told"

    play = models.ForeignKey(Play, on_delete=models.CASCADE, related_name="touches")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="touches", db_index=False)
    channel = models.CharField(max_length=10, choices=Channel)
    direction = models.CharField(max_length=5, choices=Direction, default=Direction.OUT)
    by_member = models.ForeignKey(
        TeamMember, on_delete=models.PROTECT, related_name="+", null=True, blank=True, help_text="Empty: the system."
    )
    at = models.DateTimeField()
    origin = models.CharField(max_length=10, choices=Origin, default=Origin.HAND)
    signal = models.ForeignKey(Signal, on_delete=models.SET_NULL, related_name="+", null=True, blank=True)
    note = models.TextField(blank=True)

    objects: Any = PlayPartQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "touches"
        ordering = ("-at", "-pk")
        indexes = [
            # The guard `crowded`: contacts with an account inside a window.
            models.Index(fields=["account", "at"], name="csp_touch_account_at"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["play", "signal"],
                condition=Q(signal__isnull=False),
                name="csp_touch_signal_once",
                violation_error_message="This signal is a contact of this play already.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} on {localtime(self.at):%Y-%m-%d %H:%M}"


class Credit(models.Model):
    """The link that says which play won a line of the ledger."""

    play = models.ForeignKey(Play, on_delete=models.PROTECT, related_name="credits")
    movement = models.OneToOneField(Movement, on_delete=models.PROTECT, related_name="credit")
    amount_minor = models.BigIntegerField()
    credited_at = models.DateTimeField()
    credited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, related_name="+", null=True, blank=True
    )

    objects: Any = PlayPartQuerySet.as_manager()

    class Meta:
        ordering = ("-credited_at", "-pk")

    def __str__(self) -> str:
        return f"{self.play}: {self.amount_minor}"
