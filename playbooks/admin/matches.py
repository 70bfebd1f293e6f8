"""Matches: what was found, what became of it, and the tray of those that could not be worked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from csplaybooks.accounts.admin.record import story_of
from csplaybooks.accounts.admin.show import account_column
from csplaybooks.accounts.models import Account
from csplaybooks.admin_base import (
    BaseInline,
    CappedPaginator,
    ReadOnlyAdmin,
    by,
    filled_filter,
    in_plain,
    lines_of,
    link_to,
    see_also,
    shown,
)
from csplaybooks.playbooks.acts.trays import put_back
from csplaybooks.playbooks.admin.budget import QueueFilter, QueuePages
from csplaybooks.playbooks.guards import guards
from csplaybooks.playbooks.models import Match, MatchStep, Play, PlaybookVersion, PlayMatch, Run, Trigger
from csplaybooks.playbooks.quotes import readable

#: A filter of rows that are their own queue: the tray of those given up.
STUCK = ("stuck_at", filled_filter("work", filled="stuck", empty="not stuck"))


def in_words(evidence: Iterable[Mapping[str, Any]]) -> Any:
    """What was found, in plain words: of evidence as far as the person may read it."""
    return lines_of(item.get("words", "") for item in evidence)


class Evidence:
    """Mix-in of a page of rows with evidence: what of it the person may read."""

    found = shown("What was found", lambda row: in_words(row.evidence_seen))

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """The row, with its evidence as far as the person may read it."""
        row: Any = super().get_object(request, *args, **kwargs)  # type: ignore[misc]  # of the page it is mixed into
        if row is not None:
            row.evidence_seen = readable(request.user, row.evidence)
        return row


def trigger_in_words(trigger: Trigger) -> str:
    """The playbook and the trigger's key in plain words: `Seats nearly full: Seats above 80`."""
    return f"{trigger.playbook}: {in_plain(trigger.key)}"


def step_in_words(step: MatchStep) -> str:
    """What became of a match at a step: `Held by unhealthy`, `Queued`, `Let in from the queue`."""
    if step.state == Match.State.HELD:
        return f"Held by {in_plain(step.held_by).lower()}"
    return "Let in from the queue" if step.admitted else str(step.get_state_display())


def when_in_words(step: MatchStep) -> Any:
    """The run that took a step, or after which it was taken."""
    run = link_to(step.run)
    return run if step.in_run else format_html("after {}", run)


class TriggerFilter(admin.SimpleListFilter):
    """Matches by what found them."""

    title = "trigger"
    parameter_name = "trigger"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The triggers that the person may see, in plain words."""
        triggers = Trigger.objects.visible_to(request.user).select_related("playbook")
        words = ((str(trigger.pk), trigger_in_words(trigger)) for trigger in triggers.defer("playbook__draft"))
        return sorted(words, key=lambda choice: choice[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """The matches of the choice."""
        chosen = self.value()
        if chosen is None:
            return None
        # Nothing but what was offered: no number that a database cannot take, and no trigger out of sight.
        return queryset.filter(trigger=chosen) if chosen in dict(self.lookup_choices) else queryset.none()


class GuardFilter(admin.SimpleListFilter):
    """Matches by the guard that holds them."""

    title = "held by"
    parameter_name = "held_by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The guards, in the order in which they are asked."""
        return [(guard.key, in_plain(guard.key)) for guard in guards()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """The matches that it holds."""
        return queryset.filter(held_by=self.value()) if self.value() else None


class Retry:
    """Mix-in of a page of rows that are their own queue: those given up can be put back."""

    #: The permission of whoever may put rows back.
    retry_permission = ""
    model: Any

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether the person may put rows back into their queue."""
        return request.user.has_perm(self.retry_permission)

    @admin.action(description="Try again what is stuck", permissions=["retry"])
    def retry(self: Any, request: HttpRequest, queryset: Any) -> None:
        """Put rows of the tray back into their queue."""
        ids = list(queryset.values_list("pk", flat=True))
        if done := put_back(model=self.model, ids=ids, now=timezone.now(), actor=request.user):
            self.message_user(request, f"{done} put back into the queue.", messages.SUCCESS)
        else:
            self.message_user(request, "None of these is stuck.", messages.WARNING)


class StepInline(BaseInline):
    """What was said of the match, one step after the other."""

    model = MatchStep
    ordering = ("pk",)
    follows = ("match__trigger__playbook", "match__account", "run")
    fields = ("at", "what", "reason", "its_run")
    readonly_fields = fields
    verbose_name_plural = "steps"
    what = shown("What became of it", lambda step: step_in_words(step))
    reason = shown("Why", lambda step: step.held_reason)
    its_run = shown("When", lambda step: when_in_words(step))


@admin.register(Match)
class MatchAdmin(Evidence, Retry, QueuePages, ReadOnlyAdmin):
    """Episodes in which an account met a trigger."""

    on_front_page = True
    list_display = ("found_by", "account_link", "state", "opened_at", "guard", "its_play")
    list_filter = ("state", QueueFilter, GuardFilter, TriggerFilter, STUCK)
    follows = ("trigger__playbook", "account", "play__playbook", "play__account")
    search_fields = ("account__name",)
    search_help_text = "A part of the account's name."
    inlines = (StepInline,)
    actions = ("retry",)
    retry_permission = "csplaybooks_playbooks.retry_match"
    ordering = ("-pk",)
    paginator = CappedPaginator
    fieldsets = (
        (None, {"fields": ("its_trigger", "account", "state", "found", "its_play", "fired_at")}),
        ("Episode", {"fields": ("opened_at", "closed_at", "version", "opened_run", "closed_run")}),
        ("Guards", {"fields": ("guard", "held_until", "held_reason", "ceiling")}),
        ("Queue", {"fields": ("stands", "route", "amount", "worth", "queued_at", "waits_until", "admitted_run")}),
        ("Work", {"fields": ("attempts", "last_error", "next_try_at", "stuck_at")}),
    )
    readonly_fields = ("attempts", "last_error", "next_try_at", "stuck_at")
    account_link = account_column()
    found_by = shown("Trigger", lambda match: trigger_in_words(match.trigger), ordering="trigger")
    its_trigger = shown("Trigger", lambda match: link_to(match.trigger, trigger_in_words(match.trigger)))
    guard = shown("Held by", lambda match: in_plain(match.held_by), ordering="held_by")
    its_play = shown("Play", lambda match: link_to(match.play, f"play {match.play_id}"))


@admin.register(PlayMatch)
class PlayMatchAdmin(ReadOnlyAdmin):
    """Which matches led to which play."""

    list_display = ("match", "play", "folded", "at")
    list_filter = ("folded",)
    follows = ("match__trigger__playbook", "match__account", "play__playbook", "play__account")
    search_fields = ("play__account__name",)
    search_help_text = "A part of the account's name."
    fields = ("match", "play", "folded", "at")
    ordering = ("-pk",)
    paginator = CappedPaginator


@admin.register(MatchStep)
class MatchStepAdmin(ReadOnlyAdmin):
    """What became of matches, step by step, the newest first."""

    on_front_page = False
    list_display = ("match", "at", "what", "held_reason", "its_run")
    list_filter = ("state", "admitted", "in_run")
    follows = ("match__trigger__playbook", "match__account", "run")
    search_fields = ("match__account__name",)
    search_help_text = "A part of the account's name."
    fields = ("match", "at", "what", "held_until", "held_reason", "ceiling", "its_run")
    ordering = ("-pk",)
    paginator = CappedPaginator
    what = shown("What became of it", lambda step: step_in_words(step))
    its_run = shown("When", lambda step: when_in_words(step))


see_also(Account, Match, by("account"), first=True)
see_also(Trigger, Match, by("trigger"))
see_also(PlaybookVersion, Match, by("version"))
see_also(Run, Match, by("opened_run"), "Matches it opened")
see_also(Run, Match, by("closed_run"), "Matches it closed")
see_also(Match, MatchStep, by("match"), "Steps")
see_also(Run, MatchStep, by("run"), "Steps of matches in it, and until the next")
see_also(Play, Match, by("play"), "Matches that led to it")
story_of(Match)
