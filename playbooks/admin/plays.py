"""Plays: opened by hand on a form, worked by actions, looked at with everything that tells how they went."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Exists, OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils import formats, timezone
from django.utils.html import format_html

from csplaybooks.accounts.admin.record import story_of
from csplaybooks.accounts.admin.show import amount_of, money
from csplaybooks.accounts.models import Account, TeamMember, TimelineEntry
from csplaybooks.admin_base import (
    ActAdmin,
    ActForm,
    BaseInline,
    CappedPaginator,
    Export,
    by,
    filled_filter,
    link_to,
    moment,
    see_also,
    shown,
    table_of,
)
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.acts.plays import open_play_by_hand
from csplaybooks.playbooks.admin.assign_again import assign_by_routing
from csplaybooks.playbooks.admin.clocks import promised
from csplaybooks.playbooks.admin.drafts import DraftInline
from csplaybooks.playbooks.admin.matches import STUCK, Evidence, Retry
from csplaybooks.playbooks.admin.play_acts import PLAY_ACTS, as_action, buttons
from csplaybooks.playbooks.admin.whose_time import WhoseTimePage
from csplaybooks.playbooks.models import (
    Clock,
    Handoff,
    Interval,
    Pause,
    Play,
    Playbook,
    PlaybookVersion,
    PlayStep,
    Stage,
    State,
    Touch,
)

#: How many lines of its story a play's page shows.
LATEST = 50


#: How a play fares as a piece of work: shown where it stands in the tray, or something has failed.
_WORK = ("tray_at", "attempts", "last_error", "next_try_at", "stuck_at")


class PlayForm(ActForm):
    """A play opened by hand, with the reason."""

    reason = forms.CharField(
        max_length=500,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="Why you open it by hand: it stands on the play.",
    )

    class Meta:
        model = Play
        fields = ("account", "playbook", "reason")


def _stands(play: Play) -> str:
    """The stage, with the state where there is something to say: `Running, paused`."""
    stage = play.get_stage_display()
    if play.stage == Stage.CLOSED or play.state == State.WORKING:
        return stage
    return f"{stage}, {play.get_state_display().lower()}"


def _next_due(play: Any) -> Any:
    """When the promise that is due next falls due; one that is overdue in words."""
    due: datetime | None = play.next_due_at
    if due is None or due > timezone.now():
        return due
    return format_html("<strong>overdue since {}</strong>", formats.date_format(timezone.localtime(due), "DATE_FORMAT"))


class ClockInline(BaseInline):
    """What was promised."""

    model = Clock
    fields = ("target", "state", "promise", "hours", "started_at", "due_at", "breached_at", "excused_at", "done_at")
    readonly_fields = ("promise",)
    promise = shown("Promised within", lambda clock: promised(clock.promised_seconds, clock.hours))
    show_change_link = True


class StepInline(BaseInline):
    """What to do next."""

    model = PlayStep
    follows = ("done_by",)
    fields = ("number", "kind", "text", "state", "due_at", "done_at", "done_by", "note")
    ordering = ("number",)


class TouchInline(BaseInline):
    """Contacts made."""

    model = Touch
    follows = ("by_member",)
    fields = ("at", "channel", "direction", "by_member", "origin", "note")


class HandoffInline(BaseInline):
    """Offers to others."""

    model = Handoff
    follows = ("offered_by", "offered_to")
    fields = ("offered_by", "offered_to", "offered_at", "answer", "answered_at", "reason")


class IntervalInline(BaseInline):
    """Whose time it was."""

    model = Interval
    follows = ("owner", "holder")
    fields = ("seq", "stage", "state", "owner", "holder", "held_by", "valid_from", "valid_to")
    ordering = ("seq",)


@admin.register(Play)
class PlayAdmin(WhoseTimePage, Export, Evidence, Retry, ActAdmin):
    """Plays. They move by acts alone, so the page of a play is read-only."""

    form = PlayForm
    # As much as fits beside the filters; the rest is on the page of the play.
    list_display = ("next_due", "playbook", "account_link", "amount", "stands", "owner")
    list_display_links = ("next_due", "playbook")
    list_filter = (
        "stage",
        "state",
        "motion",
        "route",
        "outcome",
        "playbook",
        "owner",
        ("tray_at", filled_filter("tray", filled="waits for a manager", empty="not in the tray")),
        STUCK,
    )
    follows = ("playbook", "account", "owner", "holder")
    search_fields = ("account__name", "account__identities__external_id__exact")
    search_help_text = "A part of the account's name, or an external id."
    autocomplete_fields = ("account",)
    paginator = CappedPaginator
    inlines = (ClockInline, StepInline, DraftInline, TouchInline, HandoffInline, IntervalInline)
    actions = (*(as_action(act) for act in PLAY_ACTS), assign_by_routing, "retry", "export_csv")
    retry_permission = "csplaybooks_playbooks.retry_play"
    change_form_template = "csplaybooks/admin/play_change_form.html"

    # Who worked a play sees it after its close, but the account no longer: a link would lead nowhere.
    account_link = shown(
        "Account",
        lambda play: link_to(play.account) if play.account_seen else str(play.account),
        ordering="account__name",
    )
    stands = shown("Stage", _stands, ordering="stage")
    amount = shown("Worth", lambda play: money(play.expected_amount_minor), ordering="expected_amount_minor")
    working = shown("How it was worked out", lambda play: play.amount_working.get("words"))
    next_due = shown("Next due", _next_due, ordering="next_due_at")
    waits_for = shown("Waiting for", lambda play: play.pause.reason)
    wakes_at = shown("Wakes at", lambda play: play.pause.wakes_at or "when somebody resumes it")
    exports = (
        ("Play", lambda play: play.pk),
        ("Playbook", lambda play: play.playbook.name),
        ("Account", lambda play: play.account.name),
        ("Motion", lambda play: play.get_motion_display()),
        ("Route", lambda play: play.get_route_display()),
        ("Stage", lambda play: play.get_stage_display()),
        ("State", lambda play: play.get_state_display()),
        ("Owner", lambda play: play.owner and play.owner.name),
        ("Holder", lambda play: play.holder and play.holder.name),
        ("Expected amount", lambda play: amount_of(play.expected_amount_minor)),
        ("Currency", lambda play: csplaybooks_settings.CURRENCY),
        ("Next promise due", lambda play: play.next_due_at),
        ("Opened at", lambda play: play.opened_at),
        ("Closed at", lambda play: play.closed_at),
        ("Outcome", lambda play: play.get_outcome_display()),
        ("Reason of the outcome", lambda play: play.outcome_reason),
    )

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """The three things a person says to open a play, or all that is known of one."""
        if obj is None:
            return [(None, {"fields": ["account", "playbook", "reason"]})]
        reads_story = request.user.has_perm("csplaybooks_accounts.view_timelineentry")
        paused = ["waits_for", "wakes_at"] if obj.pause is not None else []
        return [
            (
                None,
                {"fields": ["account_link", "playbook", "recipe", "motion", "route", "product", "origin", "reason"]},
            ),
            ("Why", {"fields": ["found", "amount", "working"]}),
            ("Where it stands", {"fields": ["stage", "state", *paused, "owner", "holder", "opened_at", "expires_at"]}),
            ("How it ended", {"fields": ["outcome", "outcome_reason", "closed_at"]}),
            *([("Story", {"fields": ["story"]})] if reads_story else []),
            *([("Work", {"fields": list(_WORK)})] if any(getattr(obj, name) for name in _WORK) else []),
        ]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Plays with the promise that is due next; the long texts of playbooks stay where they are."""
        due = Clock.objects.ticking().filter(play=OuterRef("pk"), due_at__isnull=False).order_by("due_at")
        return (
            super()
            .get_queryset(request)
            .defer("playbook__draft")
            .annotate(
                next_due_at=Subquery(due.values("due_at")[:1]),
                account_seen=Exists(Account.objects.visible_to(request.user).filter(pk=OuterRef("account"))),
            )
        )

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        """A play that is not there yet has no parts."""
        return [] if obj is None else super().get_inlines(request, obj)

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Only published playbooks can be opened."""
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "playbook":
            field.queryset = field.queryset.filter(published__isnull=False)
        return field

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never on the form; plays move by acts."""
        return False

    def has_work_permission(self, request: HttpRequest) -> bool:
        """Whether the person may act on the plays that they see."""
        return request.user.has_perm("csplaybooks_playbooks.change_play")

    def has_assign_permission(self, request: HttpRequest) -> bool:
        """Whether the person may say who owns the plays that they see."""
        return request.user.has_perm("csplaybooks_playbooks.assign_play")

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Open the play."""
        data = form.cleaned_data
        return open_play_by_hand(
            account_id=data["account"].pk,
            playbook_id=data["playbook"].pk,
            reason=data["reason"],
            now=now,
            actor=request.user,
        )

    def render_change_form(self, request: Any, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """The page, with a button for each act that is possible."""
        play = context.get("original")
        if play is not None:
            context |= buttons(self, request, play)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """The play, with its pause while it lasts; and its lines of the account's story, fetched when shown."""
        play: Any = super().get_object(request, *args, **kwargs)
        if play is not None:
            readable = TimelineEntry.objects.visible_to(request.user)
            play.story_seen = readable.filter(subject_type=play._meta.label_lower, subject_id=play.pk)
            pauses = Pause.objects.filter(play=play, interval__valid_to__isnull=True)
            play.pause = pauses.first() if play.state == State.PAUSED else None
        return play

    @admin.display(description="Story")
    def story(self, play: Any) -> Any:
        """The newest lines of the account's story that are about this play."""
        entries = play.story_seen[:LATEST]
        return table_of(
            ("When", "What", "Who"), ((moment(entry.at), entry.text, entry.actor_label) for entry in entries)
        )


see_also(Account, Play, by("account"), first=True)
see_also(Playbook, Play, by("playbook"))
see_also(PlaybookVersion, Play, by("recipe"))
see_also(TeamMember, Play, by("owner"), "Plays they own", first=True)
see_also(TeamMember, Play, by("holder"), "Plays they hold")
story_of(Play)
