"""Kinds of event are edited here, events are looked at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from csplaybooks.accounts.admin.record import story_of
from csplaybooks.accounts.admin.show import account_column, quantity
from csplaybooks.accounts.admin.table import TableAdmin
from csplaybooks.accounts.models import Account, ApiToken
from csplaybooks.admin_base import (
    CappedPaginator,
    ReadOnlyAdmin,
    by,
    filled_filter,
    in_plain,
    link_to,
    see_also,
    shown,
)
from csplaybooks.signals.acts.catalogue import METER_TABLE, SIGNAL_TYPE_TABLE
from csplaybooks.signals.models import (
    IntakeBatch,
    IntakeDay,
    Meter,
    PrunedDay,
    Reading,
    ReadingDay,
    RefusedItem,
    Signal,
    SignalDay,
    SignalType,
    Source,
)


@admin.register(Source)
class SourceAdmin(ReadOnlyAdmin):
    """The systems that have sent events."""

    list_display = ("key", "first_seen_at")
    search_fields = ("key",)
    search_help_text = "A part of the key."
    fields = ("key", "first_seen_at")


@admin.register(SignalType)
class SignalTypeAdmin(TableAdmin):
    """The kinds of event."""

    table = SIGNAL_TYPE_TABLE
    list_display = ("name", "key", "strength")
    list_filter = ("strength",)
    search_fields = ("name", "key")
    search_help_text = "A part of the name or of the key."
    fields = ("key", "name", "strength", "description")
    # Senders and documents speak of it by this key.
    fixed_fields = ("key",)


@admin.register(Meter)
class MeterAdmin(TableAdmin):
    """The kinds of level."""

    table = METER_TABLE
    list_display = ("name", "key", "unit", "strength", "max_age_days")
    list_filter = ("strength",)
    search_fields = ("name", "key")
    search_help_text = "A part of the name or of the key."
    fields = ("key", "name", "unit", "strength", "max_age_days")
    fixed_fields = ("key",)


#: Where an event comes from, and what became of it: the last fields of its page.
_WHENCE = ("source", "external_id", "batch", "corrected", "is_void")
#: What becomes of what came in; the columns of a batch, and of the batches of a day.
_VERDICTS = ("stored", "duplicate", "conflict", "refused")


def _accounts_called(term: str, request: HttpRequest) -> list[int]:
    """The accounts that the person sees whose name begins so; not all where they are many.

    Asked for by itself, so that what is asked of a long table goes by an index of it.
    """
    accounts = Account.objects.visible_to(request.user).filter(name__istartswith=term)
    return list(accounts.values_list("pk", flat=True)[:100])


class EventAdmin(ReadOnlyAdmin):
    """Signals or readings: millions of rows, so every way through them is served by an index."""

    search_fields = ("external_id__exact",)
    search_help_text = "A whole event id, or how the account's name begins."
    # Newest stored first: that is the primary key, while no index serves the moment alone.
    ordering = ("-pk",)
    sortable_by = ()
    paginator = CappedPaginator

    on_front_page = True
    account_link = account_column()
    corrected = shown("Corrects", lambda row: link_to(row.corrects))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The events with this id in any source, and those of the accounts whose name begins so."""
        term = search_term.strip()
        if not term:
            return queryset, False
        # Each half of the condition by its own index.
        found = Q(source__in=list(Source.objects.values_list("pk", flat=True)), external_id=term)
        return queryset.filter(found | Q(account__in=_accounts_called(term, request))), False


@admin.register(Signal)
class SignalAdmin(EventAdmin):
    """Events at accounts."""

    list_display = ("type", "account_link", "occurred_at", "actor", "value", "source", "is_void")
    list_filter = ("type", "source", "is_void")
    follows = ("account", "type", "source")
    fields = ("account", "type", "occurred_at", "actor", "value", "properties", *_WHENCE)
    value = shown("Value", lambda row: quantity(row.value_milli))


@admin.register(Reading)
class ReadingAdmin(EventAdmin):
    """Levels at accounts."""

    list_display = ("meter", "account_link", "occurred_at", "used", "limit", "source", "is_void")
    list_filter = ("meter", "source", "is_void")
    follows = ("account", "meter", "source")
    fields = ("account", "meter", "occurred_at", "used", "limit", *_WHENCE)
    used = shown("Used", lambda row: quantity(row.used_milli))
    # Zero and none both mean that there is no limit.
    limit = shown("Limit", lambda row: quantity(row.limit_milli or None) or "no limit")


@admin.register(IntakeBatch)
class IntakeBatchAdmin(ReadOnlyAdmin):
    """What came in, batch by batch, and what became of it."""

    list_display = ("__str__", "recorded_at", "token", *_VERDICTS, "seen_by_run")
    on_front_page = True
    list_filter = ("kind", ("seen_by_run", filled_filter("evaluator", filled="seen by a run", empty="not seen yet")))
    follows = ("token",)
    fields = ("kind", "recorded_at", "token", "received", *_VERDICTS, "pruned", "seen_by_run")
    sortable_by = ()
    paginator = CappedPaginator


@admin.register(RefusedItem)
class RefusedItemAdmin(ReadOnlyAdmin):
    """Items that were refused, with the reason."""

    on_front_page = True
    list_display = ("why", "field", "message", "batch_link", "index", "expires_at")
    list_display_links = ("why", "message")
    why = shown("Code", lambda item: in_plain(item.code))
    batch_link = shown("Batch", lambda item: link_to(item.batch))
    follows = ("batch",)
    search_fields = ("code__exact", "field__exact")
    search_help_text = "A whole code or field, such as unknown_account."
    fields = ("batch", "index", "code", "field", "message", "body", "expires_at")
    sortable_by = ()
    paginator = CappedPaginator


class DayAdmin(ReadOnlyAdmin):
    """Sums by day of what was pruned: as long as tables of events, and found in the same ways."""

    search_fields = ("account__name__istartswith",)
    search_help_text = "How the account's name begins."
    # Newest stored first: that is the primary key, while no index serves the day alone.
    ordering = ("-pk",)
    sortable_by = ()
    paginator = CappedPaginator

    account_link = account_column()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The sums of the accounts whose name begins so."""
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(account__in=_accounts_called(term, request)), False


@admin.register(SignalDay)
class SignalDayAdmin(DayAdmin):
    """What is left of pruned signals."""

    list_display = ("type", "account_link", "day", "count", "rows")
    list_filter = ("type",)
    follows = ("account", "type")
    fields = ("account", "type", "day", "count", "rows")


@admin.register(ReadingDay)
class ReadingDayAdmin(DayAdmin):
    """What is left of pruned readings."""

    list_display = ("meter", "account_link", "day", "last_used", "last_limit", "least", "greatest", "count")
    list_filter = ("meter",)
    follows = ("account", "meter")
    fields = (
        *("account", "meter", "day", "count", "rows", "last_at", "last_used", "last_limit"),
        *("least", "greatest", "least_limit", "greatest_limit"),
    )
    last_used = shown("Last used", lambda row: quantity(row.last_used_milli))
    # Zero and none both mean that there is no limit.
    last_limit = shown("Last limit", lambda row: quantity(row.last_limit_milli or None))
    least = shown("Least used", lambda row: quantity(row.least_used_milli))
    greatest = shown("Greatest used", lambda row: quantity(row.greatest_used_milli))
    least_limit = shown("Least limit", lambda row: quantity(row.least_limit_milli))
    greatest_limit = shown("Greatest limit", lambda row: quantity(row.greatest_limit_milli))


@admin.register(IntakeDay)
class IntakeDayAdmin(ReadOnlyAdmin):
    """What is left of pruned batches."""

    list_display = ("day", "kind", "batches", "received", *_VERDICTS)
    list_filter = ("kind",)
    fields = list_display
    date_hierarchy = "day"


@admin.register(PrunedDay)
class PrunedDayAdmin(ReadOnlyAdmin):
    """The days whose signals and readings were pruned; nothing is taken in from before the latest."""

    list_display = ("day", "before", "signals", "readings", "pruned_at")
    fields = list_display
    date_hierarchy = "day"


see_also(Account, Signal, by("account"))
see_also(Account, Reading, by("account"))
see_also(Account, SignalDay, by("account"), "Pruned signals")
see_also(Account, ReadingDay, by("account"), "Pruned readings")
see_also(ApiToken, IntakeBatch, by("token"), "What it sent")
see_also(Source, Signal, by("source"))
see_also(Source, Reading, by("source"))
see_also(SignalType, Signal, by("type"))
see_also(Meter, Reading, by("meter"))
see_also(Signal, Signal, by("corrects"), "Corrected by")
see_also(Reading, Reading, by("corrects"), "Corrected by")
see_also(IntakeBatch, Signal, lambda batch: by("batch")(batch) if batch.kind == IntakeBatch.Kind.SIGNALS else None)
see_also(IntakeBatch, Reading, lambda batch: by("batch")(batch) if batch.kind == IntakeBatch.Kind.READINGS else None)
see_also(IntakeBatch, RefusedItem, lambda batch: by("batch")(batch) if batch.refused else None)
story_of(SignalType)
story_of(Meter)
