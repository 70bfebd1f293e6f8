"""Matches: what was found, what became of it, and the tray of those that could not be worked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest

from csplaybooks.admin_base import CappedPaginator, ReadOnlyAdmin, filled_filter, in_plain, lines_of, link_to, shown
from csplaybooks.playbooks.models import Match, PlayMatch
from csplaybooks.playbooks.pipeline.queue import retry_stuck
from csplaybooks.playbooks.pokes import poke

#: A filter of rows that are their own queue: the tray of those given up.
STUCK = ("stuck_at", filled_filter("work", filled="stuck", empty="not stuck"))


def in_words(evidence: Iterable[Mapping[str, Any]]) -> Any:
    """What was found, in plain words."""
    return lines_of(item.get("words", "") for item in evidence)


def trigger_in_words(match: Match) -> str:
    """The playbook and the trigger's key in plain words: `Seats nearly full: Seats above 80`."""
    return f"{match.trigger.playbook}: {in_plain(match.trigger.key)}"


class Retry:
    """Mix-in of a page of rows that are their own queue: those given up can be put back."""

    #: The permission of whoever may put rows back.
    work_permission = ""
    model: Any

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether the person may put rows back into their queue."""
        return request.user.has_perm(self.work_permission)

    @admin.action(description="Try again what is stuck", permissions=["retry"])
    def retry(self: Any, request: HttpRequest, queryset: Any) -> None:
        """Put rows of the tray back into their queue."""
        ids = list(queryset.stuck().values_list("pk", flat=True))
        done = retry_stuck(self.model, ids)
        if done:
            poke("work")
            self.message_user(request, f"{done} put back into the queue.", messages.SUCCESS)
        else:
            self.message_user(request, "None of these is stuck.", messages.WARNING)


@admin.register(Match)
class MatchAdmin(Retry, ReadOnlyAdmin):
    """Episodes in which an account met a trigger."""

    list_display = ("found_by", "account", "state", "opened_at", "closed_at", "guard", "held_until", "its_play")
    list_filter = ("state", "trigger", STUCK)
    follows = ("trigger__playbook", "account", "play__playbook", "play__account")
    search_fields = ("account__name",)
    search_help_text = "A part of the account's name."
    actions = ("retry",)
    work_permission = "csplaybooks_playbooks.change_match"
    ordering = ("-pk",)
    paginator = CappedPaginator
    fieldsets = (
        (None, {"fields": ("its_trigger", "account", "state", "found", "its_play", "fired_at")}),
        ("Episode", {"fields": ("opened_at", "closed_at", "version", "opened_run", "closed_run")}),
        ("Guards", {"fields": ("guard", "held_until", "held_reason", "ceiling")}),
        ("Work", {"fields": ("attempts", "last_error", "next_try_at", "stuck_at")}),
    )
    readonly_fields = ("attempts", "last_error", "next_try_at", "stuck_at")
    found_by = shown("Trigger", trigger_in_words, ordering="trigger")
    its_trigger = shown("Trigger", lambda match: link_to(match.trigger, trigger_in_words(match)))
    guard = shown("Held by", lambda match: in_plain(match.held_by), ordering="held_by")
    found = shown("What was found", lambda match: in_words(match.evidence))
    its_play = shown("Play", lambda match: link_to(match.play, f"play {match.play_id}"))


@admin.register(PlayMatch)
class PlayMatchAdmin(ReadOnlyAdmin):
    """Which matches led to which play."""

    list_display = ("match", "play", "folded", "at")
    list_filter = ("folded",)
    follows = ("match__trigger__playbook", "match__account", "play__playbook", "play__account")
    search_fields = ("play__account__name",)
    fields = ("match", "play", "folded", "at")
    ordering = ("-pk",)
    paginator = CappedPaginator
