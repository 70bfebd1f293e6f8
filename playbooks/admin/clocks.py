"""Promises on plays and what happened on them."""

from __future__ import annotations

from django.contrib import admin

from csplaybooks.admin_base import CappedPaginator, ReadOnlyAdmin, by, filled_filter, link_to, see_also, shown
from csplaybooks.playbooks.models import Clock, ClockEvent, Play

#: Above this many hours, whole days are told in days, where every hour counts: a working day is no 24 hours.
MOST_HOURS = 72


def promised(seconds: int, hours: str = Clock.Hours.WORKING) -> str:
    """How long was promised, such as `8 h`, `1 h 30 min` or, where every hour counts, `42 days`.

    `hours` is one of `Clock.Hours`: which time counts.
    """
    whole, minutes = divmod(seconds // 60, 60)
    if hours == Clock.Hours.WALL and not minutes and whole > MOST_HOURS and whole % 24 == 0:
        return f"{whole // 24:,} days"
    parts = [f"{whole:,} h"] * bool(whole or not minutes) + [f"{minutes} min"] * bool(minutes)
    return " ".join(parts)


@admin.register(Clock)
class ClockAdmin(ReadOnlyAdmin):
    """The promises on plays, and how each stands."""

    on_front_page = True
    list_display = ("target", "play_link", "state", "due_at", "promise")
    play_link = shown("Play", lambda clock: link_to(clock.play))
    list_filter = (
        "state",
        "target",
        "hours",
        ("breached_at", filled_filter("promise", filled="broken", empty="not broken")),
    )
    follows = ("play__playbook", "play__account")
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
        "warn_percents",
        "started_at",
        "due_at",
        "next_event_at",
        "is_stale",
        "done_at",
        "breached_at",
        "noticed_at",
        "excused_at",
    )
    ordering = ("-pk",)
    paginator = CappedPaginator
    promise = shown(
        "Promised within", lambda clock: promised(clock.promised_seconds, clock.hours), ordering="promised_seconds"
    )


@admin.register(ClockEvent)
class ClockEventAdmin(ReadOnlyAdmin):
    """Warnings, breaches and escalations."""

    list_display = ("__str__", "play", "due_at", "holder")
    list_filter = ("kind",)
    follows = ("clock__play__playbook", "clock__play__account", "holder")
    search_fields = ("clock__play__account__name",)
    search_help_text = "A part of the account's name."
    fields = ("clock", "play", "kind", "level", "due_at", "noticed_at", "holder")
    ordering = ("-pk",)
    paginator = CappedPaginator
    play = shown("Play", lambda event: link_to(event.clock.play))


see_also(Play, Clock, by("play"), "Promises")
see_also(Clock, ClockEvent, by("clock"), "Warnings, breaches and escalations")
