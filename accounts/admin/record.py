"""What was told, what was done, and what it came to in money. Nothing here is written by hand."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from csplaybooks.accounts.admin.show import account_column, amount_of, money
from csplaybooks.accounts.models import Account, Change, Movement, TimelineEntry
from csplaybooks.admin_base import (
    CappedPaginator,
    Export,
    ReadOnlyAdmin,
    by,
    filled_filter,
    in_plain,
    link_to,
    see_also,
    shown,
)
from csplaybooks.conf import csplaybooks_settings

#: The most accounts whose rows a search shows.
_MOST_FOUND = 100


def story_of(model: Any) -> None:
    """Link the pages of a table to what the timeline tells of the row, and who did it."""
    label = model._meta.label_lower
    see_also(model, TimelineEntry, lambda row: {"subject_type": label, "subject_id": row.pk}, "What was done")


class ByAccountAdmin(ReadOnlyAdmin):
    """The page of a long table: searched by how the account's name begins, which an index serves."""

    # Django shows a search box only where there are fields.
    search_fields = ("account__name",)
    search_help_text = "How the account's name begins."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows of the accounts found."""
        if not search_term.strip():
            return queryset, False
        accounts = Account.objects.visible_to(request.user).filter(name__istartswith=search_term.strip())
        return queryset.filter(account__in=list(accounts.values_list("pk", flat=True)[:_MOST_FOUND])), False


@admin.register(Change)
class ChangeAdmin(ByAccountAdmin):
    """The change log that feeds the runs."""

    list_display = ("__str__", "account_link", "recorded_at", "seen_by_run")
    list_filter = (("seen_by_run", filled_filter("evaluator", filled="seen by a run", empty="not seen yet")),)
    follows = ("account",)
    fields = ("kind", "account", "recorded_at", "ripens_from", "ripens_at", "seen_by_run")
    paginator = CappedPaginator
    sortable_by = ()
    account_link = shown("Account", lambda row: link_to(row.account) or "every account")


@admin.register(TimelineEntry)
class TimelineEntryAdmin(ByAccountAdmin):
    """The stories of accounts and of the vendor's own, the newest lines first."""

    on_front_page = True
    list_display = ("when", "account_link", "text", "who")
    when = shown("When", lambda row: row.at)
    who = shown("Who", lambda row: row.actor_label)
    list_display_links = ("text",)
    list_filter = (("account", filled_filter("story", filled="of an account", empty="of the catalogue and team")),)
    follows = ("account",)
    # In the order they were written down: an index serves it, whatever the length of the stories.
    ordering = ("-pk",)
    fields = ("account", "at", "recorded_at", "what", "text", "about", "who", "data")
    paginator = CappedPaginator
    sortable_by = ()
    account_link = shown("Account", lambda row: link_to(row.account))
    what = shown("Kind", lambda row: in_plain(row.kind))
    about = shown("About", lambda row: row.subject_label)


@admin.register(Movement)
class MovementAdmin(Export, ReadOnlyAdmin):
    """The lines of the revenue ledger."""

    on_front_page = True
    list_display = ("effective_on", "account_link", "product", "amount", "motion", "source", "external_id")
    list_filter = ("motion", "product")
    follows = ("account", "product")
    search_fields = ("account__name", "external_id__exact", "subscription__exact")
    search_help_text = "A part of the account's name, a whole id or a whole subscription id."
    ordering = ("-pk",)
    actions = ("export_csv",)
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
    account_link = account_column()
    amount = shown("Amount", lambda row: money(row.amount_minor), ordering="amount_minor")
    original_amount = shown(
        "Original amount", lambda row: money(row.original_amount_minor, row.original_currency or None)
    )
    exports = (
        ("Effective on", lambda row: row.effective_on),
        ("Account", lambda row: row.account.name),
        ("Product", lambda row: row.product and row.product.name),
        ("Subscription", lambda row: row.subscription),
        ("Amount", lambda row: amount_of(row.amount_minor)),
        ("Currency", lambda row: csplaybooks_settings.CURRENCY),
        ("Motion", lambda row: row.get_motion_display()),
        ("Source", lambda row: row.source),
        ("External id", lambda row: row.external_id),
        ("Recorded at", lambda row: row.recorded_at),
        ("Note", lambda row: row.note),
    )


see_also(Account, Movement, by("account"), "Revenue")
see_also(Account, TimelineEntry, by("account"), "Whole story")
see_also(Account, Change, by("account"), "Change log")
see_also(Movement, Movement, lambda row: {"reverses__id__exact": row.pk}, "Reversed by")
