"""Promises on plays and what happened on them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from csplaybooks.admin_base import (
    CappedPaginator,
    ReadOnlyAdmin,
    by,
    confirmed,
    filled_filter,
    is_answered,
    link_to,
    see_also,
    shown,
)
from csplaybooks.playbooks.acts.clocks import excuse_breaches
from csplaybooks.playbooks.models import Clock, ClockEvent, Play

#: Above this many hours, whole days are told in days, where every hour counts: a working day is no 24 hours.
MOST_HOURS = 72

#: The most clocks that are excused at once, and the most refusals that are told one by one.
MOST_CLOCKS = 1000
MOST_REFUSALS = 20


def promised(seconds: int, hours: str = Clock.Hours.WORKING) -> str:
    """How long was promised, such as `8 h`, `1 h 30 min` or, where every hour counts, `42 days`.

    `hours` is one of `Clock.Hours`: which time counts.
    """
    whole, minutes = divmod(seconds // 60, 60)
    if hours == Clock.Hours.WALL and not minutes and whole > MOST_HOURS and whole % 24 == 0:
        return f"{whole // 24:,} days"
    parts = [f"{whole:,} h"] * bool(whole or not minutes) + [f"{minutes} min"] * bool(minutes)
    return " ".join(parts)


def excuse_in_words(clock: Clock) -> str | None:
    """Why a breach does not count, where it does not."""
    if clock.excuse_reason:
        return clock.excuse_reason
    if clock.excused_at is None:
        return None
    return "By a later due time" if clock.done_at is None else "It ended by the time that it was due then"


class ExcuseForm(forms.Form):
    """Why a broken promise is excused."""

    reason = forms.CharField(max_length=500, help_text="It stands on the timeline, and on the clock.")


@admin.register(Clock)
class ClockAdmin(ReadOnlyAdmin):
    """The promises on plays, and how each stands. To excuse one that was broken is an action."""

    on_front_page = True
    actions = ("excuse",)
    list_display = ("target", "play_link", "state", "due_at", "promise", "excuse_words")
    play_link = shown("Play", lambda clock: link_to(clock.play))
    list_filter = (
        "state",
        "target",
        "hours",
        ("breached_at", filled_filter("promise", filled="broken", empty="not broken")),
        ("excused_at", filled_filter("excuse", filled="excused", empty="not excused")),
    )
    follows = ("play__playbook", "play__account", "calendar", "excused_by")
    search_fields = ("play__account__name",)
    search_help_text = "A part of the account's name."
    fields = (
        "play",
        "target",
        "number",
        "state",
        "promise",
        "hours",
        "calendar",
        "zone",
        "follows_owner",
        "warn_percents",
        "ladder",
        "started_at",
        "due_at",
        "next_event_at",
        "is_stale",
        "done_at",
        "breached_at",
        "noticed_at",
        "excused_at",
        "excused_by",
        "excuse_reason",
    )
    ordering = ("-pk",)
    paginator = CappedPaginator
    excuse_words = shown("Excuse", excuse_in_words)
    promise = shown(
        "Promised within", lambda clock: promised(clock.promised_seconds, clock.hours), ordering="promised_seconds"
    )
    ladder = shown(
        "Ladder, after the breach",
        lambda clock: ", ".join(promised(seconds, clock.hours) for seconds in clock.escalation_waits),
    )

    def has_excuse_permission(self, request: HttpRequest) -> bool:
        """Whether the person may excuse the broken promises that they see."""
        return request.user.has_perm("csplaybooks_playbooks.excuse_clock")

    @admin.action(description="Excuse the selected broken promises", permissions=["excuse"])
    def excuse(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Excuse breaches, once the person has said why; tells of each that there was nothing to excuse on."""
        clocks = {clock.pk: clock for clock in queryset[: MOST_CLOCKS + 1]}
        if len(clocks) > MOST_CLOCKS:
            self.message_user(request, f"Choose at most {MOST_CLOCKS:,} clocks at once.", messages.ERROR)
            return None
        form = ExcuseForm(request.POST if is_answered(request) else None)
        asked = confirmed(
            self,
            request,
            queryset,
            label="Excuse",
            warning="The breach stays written and the promise broken; who reads it sees why. Nobody is told any more, "
            "also where its due time is moved and missed again.",
            form=form,
        )
        if asked:
            return asked
        answers = excuse_breaches(
            clock_ids=clocks, reason=form.cleaned_data["reason"], now=timezone.now(), actor=request.user
        )
        refused = {pk: why for pk, why in answers.items() if why is not None}
        if done := len(answers) - len(refused):
            excused = "1 broken promise was" if done == 1 else f"{done:,} broken promises were"
            self.message_user(request, f"{excused} excused.", messages.SUCCESS)
        for pk, why in list(refused.items())[:MOST_REFUSALS]:
            self.message_user(request, f"{clocks[pk]}: {why}", messages.WARNING)
        if (more := len(refused) - MOST_REFUSALS) > 0:
            self.message_user(request, f"{more:,} more were not excused.", messages.WARNING)
        return None


@admin.register(ClockEvent)
class ClockEventAdmin(ReadOnlyAdmin):
    """Warnings, breaches and escalations."""

    list_display = ("__str__", "play", "due_at", "holder", "told")
    list_filter = ("kind",)
    follows = ("clock__play__playbook", "clock__play__account", "holder", "told")
    search_fields = ("clock__play__account__name",)
    search_help_text = "A part of the account's name."
    fields = ("clock", "play", "what", "due_at", "noticed_at", "holder", "told")
    what = shown("What happened", str)
    ordering = ("-pk",)
    paginator = CappedPaginator
    play = shown("Play", lambda event: link_to(event.clock.play))


see_also(Play, Clock, by("play"), "Promises")
see_also(Clock, ClockEvent, by("clock"), "Warnings, breaches and escalations")
