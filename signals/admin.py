"""The admin of the room `signals`: kinds of event are edited, events are looked at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.admin.show import quantity
from csplaybooks.accounts.models import Account
from csplaybooks.admin_base import (
    LOST_UPDATE,
    OPENED_VERSION,
    CappedPaginator,
    ReadOnlyAdmin,
    VersionedAdmin,
    filled_filter,
    link_to,
    shown,
)
from csplaybooks.signals.acts.catalogue import change_meter
from csplaybooks.signals.models import IntakeBatch, Meter, Reading, RefusedItem, Signal, SignalType, Source


@admin.register(Source)
class SourceAdmin(ReadOnlyAdmin):
    """The systems that have sent events."""

    list_display = ("key", "first_seen_at")
    search_fields = ("key",)
    fields = ("key", "first_seen_at")


@admin.register(SignalType)
class SignalTypeAdmin(VersionedAdmin):
    """The kinds of event."""

    list_display = ("name", "key", "strength")
    list_filter = ("strength",)
    search_fields = ("name", "key")
    fields = ("key", "name", "strength", "description")
    # Senders and documents speak of it by this key.
    fixed_fields = ("key",)
    deletable = True


@admin.register(Meter)
class MeterAdmin(VersionedAdmin):
    """The kinds of level."""

    list_display = ("name", "key", "unit", "strength", "max_age_days")
    list_filter = ("strength",)
    search_fields = ("name", "key")
    fields = ("key", "name", "unit", "strength", "max_age_days")
    fixed_fields = ("key",)
    deletable = True

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write a new meter, which has no readings yet; change one by its act, which tells the evaluator."""
        if not change:
            super().save_model(request, obj, form, change)
            return
        data = form.cleaned_data
        try:
            meter = change_meter(
                meter_id=obj.pk,
                **{name: data[name] for name in ("name", "unit", "strength", "max_age_days")},
                expected_version=data[OPENED_VERSION],
                now=timezone.now(),
                actor=request.user,
            )
        except Conflict as conflict:
            raise ValidationError(LOST_UPDATE) from conflict
        vars(obj).update(vars(meter))


class EventAdmin(ReadOnlyAdmin):
    """Signals or readings: millions of rows, so every way through them is served by an index."""

    search_fields = ("external_id__exact",)
    search_help_text = "A whole event id, or how the account's name begins."
    # Newest stored first: that is the primary key, while no index serves the moment alone.
    ordering = ("-pk",)
    sortable_by = ()
    paginator = CappedPaginator

    corrected = shown("Corrects", lambda row: link_to(row.corrects))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The events with this id in any source, and those of the accounts whose name begins so."""
        term = search_term.strip()
        if not term:
            return queryset, False
        # Asked for first, so that each half of the condition goes by its own index.
        accounts = Account.objects.visible_to(request.user).filter(name__istartswith=term).values_list("pk", flat=True)
        found = Q(source__in=list(Source.objects.values_list("pk", flat=True)), external_id=term)
        return queryset.filter(found | Q(account__in=list(accounts[:100]))), False


@admin.register(Signal)
class SignalAdmin(EventAdmin):
    """Events at accounts."""

    list_display = ("type", "account", "occurred_at", "actor", "value", "source", "is_void")
    list_filter = ("type", "source", "is_void")
    follows = ("account", "type", "source")
    fields = (
        "account",
        "type",
        "occurred_at",
        "actor",
        "value",
        "properties",
        "source",
        "external_id",
        "batch",
        "corrected",
        "is_void",
    )
    value = shown("Value", lambda row: quantity(row.value_milli))


@admin.register(Reading)
class ReadingAdmin(EventAdmin):
    """Levels at accounts."""

    list_display = ("meter", "account", "occurred_at", "used", "limit", "source", "is_void")
    list_filter = ("meter", "source", "is_void")
    follows = ("account", "meter", "source")
    fields = (
        "account",
        "meter",
        "occurred_at",
        "used",
        "limit",
        "source",
        "external_id",
        "batch",
        "corrected",
        "is_void",
    )
    used = shown("Used", lambda row: quantity(row.used_milli))
    # Zero and none both mean that there is no limit.
    limit = shown("Limit", lambda row: quantity(row.limit_milli or None) or "no limit")


@admin.register(IntakeBatch)
class IntakeBatchAdmin(ReadOnlyAdmin):
    """What came in, batch by batch, and what became of it."""

    list_display = (
        "__str__",
        "recorded_at",
        "token",
        "stored",
        "duplicate",
        "conflict",
        "refused",
        "seen_by_run",
    )
    list_filter = ("kind", ("seen_by_run", filled_filter("evaluator", filled="seen by a run", empty="not seen yet")))
    follows = ("token",)
    fields = (
        "kind",
        "recorded_at",
        "token",
        "received",
        "stored",
        "duplicate",
        "conflict",
        "refused",
        "seen_by_run",
    )
    sortable_by = ()
    paginator = CappedPaginator


@admin.register(RefusedItem)
class RefusedItemAdmin(ReadOnlyAdmin):
    """Items that were refused, with the reason."""

    list_display = ("code", "field", "message", "batch", "index", "expires_at")
    list_display_links = ("code", "message")
    follows = ("batch",)
    search_fields = ("code__exact", "field__exact")
    search_help_text = "A whole code or field, such as unknown_account."
    fields = ("batch", "index", "code", "field", "message", "body", "expires_at")
    sortable_by = ()
    paginator = CappedPaginator
