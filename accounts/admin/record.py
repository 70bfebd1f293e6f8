"""What was told, what was done, and what it came to in money. Nothing here is written by hand."""

from __future__ import annotations

from django.contrib import admin

from csplaybooks.accounts.admin.show import money
from csplaybooks.accounts.models import Change, Movement, TimelineEntry
from csplaybooks.admin_base import CappedPaginator, ReadOnlyAdmin, filled_filter, shown


@admin.register(Change)
class ChangeAdmin(ReadOnlyAdmin):
    """The change log that feeds the runs."""

    list_display = ("__str__", "account", "recorded_at", "seen_by_run")
    list_filter = (("seen_by_run", filled_filter("evaluator", filled="seen by a run", empty="not seen yet")),)
    follows = ("account",)
    fields = ("kind", "account", "recorded_at", "seen_by_run")
    paginator = CappedPaginator
    sortable_by = ()


@admin.register(TimelineEntry)
class TimelineEntryAdmin(ReadOnlyAdmin):
    """The stories of accounts, the newest lines first."""

    list_display = ("at", "account", "text", "actor_label")
    list_display_links = ("text",)
    follows = ("account",)
    # In the order they were written down: an index serves it, whatever the length of the stories.
    ordering = ("-pk",)
    fields = ("account", "at", "recorded_at", "kind", "text", "subject_type", "subject_label", "actor_label", "data")
    paginator = CappedPaginator
    sortable_by = ()


@admin.register(Movement)
class MovementAdmin(ReadOnlyAdmin):
    """The lines of the revenue ledger."""

    list_display = ("effective_on", "account", "product", "amount", "motion", "source", "external_id")
    list_filter = ("motion", "product")
    follows = ("account", "product")
    search_fields = ("account__name", "external_id__exact", "subscription__exact")
    search_help_text = "A part of the account's name, a whole id or a whole subscription id."
    ordering = ("-pk",)
    fields = (
        "account",
        "effective_on",
        "product",
        "subscription",
        "amount",
        "original_amount",
        "motion",
        "source",
        "external_id",
        "recorded_at",
        "reverses",
        "note",
    )
    paginator = CappedPaginator
    amount = shown("Amount", lambda row: money(row.amount_minor), ordering="amount_minor")
    original_amount = shown(
        "Original amount", lambda row: money(row.original_amount_minor, row.original_currency or None)
    )
