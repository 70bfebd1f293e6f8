"""What plays are made of, each in a list of its own. All of it is written by acts."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import admin

from csplaybooks.accounts.admin.show import money
from csplaybooks.admin_base import CappedPaginator, ReadOnlyAdmin, filled_filter, shown
from csplaybooks.playbooks.models import Credit, Handoff, Interval, Pause, PlayStep, Touch

#: What the label of a play reads.
_PLAY = ("play__playbook", "play__account")


class PartAdmin(ReadOnlyAdmin):
    """Rows that hang on a play, the newest first."""

    follows: Sequence[str] = _PLAY
    search_fields = ("play__account__name",)
    search_help_text = "A part of the account's name."
    ordering = ("-pk",)
    paginator = CappedPaginator


@admin.register(PlayStep)
class PlayStepAdmin(PartAdmin):
    """The next steps of plays."""

    list_display = ("play", "number", "kind", "text", "done_at", "done_by")
    list_filter = ("kind", ("done_at", filled_filter("progress", filled="done", empty="to do")))
    follows = (*_PLAY, "done_by")
    fields = ("play", "number", "kind", "text", "done_at", "done_by")


@admin.register(Interval)
class IntervalAdmin(PartAdmin):
    """Whose time it was, stretch by stretch."""

    list_display = ("play", "seq", "stage", "state", "owner", "holder", "held_by", "valid_from", "valid_to")
    list_filter = ("stage", "state", "held_by")
    follows = (*_PLAY, "owner", "holder")
    fields = ("play", "seq", "stage", "state", "owner", "holder", "held_by", "valid_from", "valid_to")


@admin.register(Pause)
class PauseAdmin(PartAdmin):
    """Why plays were paused."""

    list_display = ("play", "reason", "wakes_at")
    list_filter = (("wakes_at", filled_filter("end", filled="has a date", empty="until resumed")),)
    fields = ("play", "interval", "reason", "wakes_at")


@admin.register(Touch)
class TouchAdmin(PartAdmin):
    """Contacts made on plays."""

    list_display = ("play", "channel", "direction", "by_member", "at", "note")
    list_filter = ("channel", "direction", "by_member")
    follows = (*_PLAY, "by_member")
    fields = ("play", "account", "channel", "direction", "by_member", "at", "note")


@admin.register(Handoff)
class HandoffAdmin(PartAdmin):
    """Plays offered by one member to another."""

    list_display = ("play", "offered_by", "offered_to", "answer", "offered_at", "answered_at")
    list_filter = ("answer", "offered_to")
    follows = (*_PLAY, "offered_by", "offered_to")
    fields = (
        "play",
        "offered_by",
        "offered_to",
        "offered_at",
        "expires_at",
        "answer",
        "answered_at",
        "reason",
        "context",
    )


@admin.register(Credit)
class CreditAdmin(PartAdmin):
    """Which play won which line of the ledger."""

    list_display = ("play", "movement", "amount", "credited_at", "credited_by")
    follows = (*_PLAY, "movement__account", "credited_by")
    fields = ("play", "movement", "amount", "credited_at", "credited_by")
    amount = shown("Amount", lambda credit: money(credit.amount_minor), ordering="amount_minor")
