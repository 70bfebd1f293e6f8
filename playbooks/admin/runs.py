"""Runs of the evaluator and the leases of scheduled work."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from csplaybooks.accounts.models import Change
from csplaybooks.admin_base import (
    CappedPaginator,
    ReadOnlyAdmin,
    filled_filter,
    link_to,
    moment,
    one,
    see_also,
    shown,
    table_of,
)
from csplaybooks.playbooks.admin.budget import budget_of, queue_in_words
from csplaybooks.playbooks.admin.sums import counts_in_words, verdicts_in_words
from csplaybooks.playbooks.models import Lease, Round, Run
from csplaybooks.signals.models import IntakeBatch


class FailedFilter(admin.SimpleListFilter):
    """Runs in which a playbook could not be evaluated, and the others."""

    title = "errors"
    parameter_name = "errors"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The choices."""
        return [("some", "with errors"), ("none", "without errors")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The runs of the choice."""
        if self.value() == "some":
            return queryset.exclude(errors={})
        if self.value() == "none":
            return queryset.filter(errors={})
        return queryset


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Runs of the evaluator, the newest first."""

    on_front_page = True
    list_display = ("__str__", "kind", "moment", "accounts", "failed", "finished_at")
    list_filter = ("kind", FailedFilter, ("finished_at", filled_filter("end", filled="finished", empty="not finished")))
    fields = (
        *("kind", "moment", "accounts", "round_link", "first_account", "last_account"),
        *("counted", "verdicts", "room", "errors", "versions", "inputs", "finished_at"),
    )
    sortable_by = ()
    paginator = CappedPaginator
    failed = shown("Errors", lambda run: len(run.errors) or None)
    counted = shown("Episodes of the accounts it looked at", counts_in_words)
    verdicts = shown("Verdicts", verdicts_in_words)
    room = shown("Room there was", budget_of)
    round_link = shown("Round", lambda run: link_to(run.round))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list; above it stands what waits for room."""
        return super().changelist_view(request, {**(extra_context or {}), "subtitle": queue_in_words(request.user)})


@admin.register(Round)
class RoundAdmin(ReadOnlyAdmin):
    """Passes over all accounts in parts, the newest first."""

    list_display = ("__str__", "asked_at", "after_account", "attempts", "moved_at", "finished_at")
    list_filter = (("finished_at", filled_filter("end", filled="finished", empty="not finished")),)
    fields = ("asked_at", "after_account", "part_size", "attempts", "poked_at", "moved_at", "finished_at", "parts")
    sortable_by = ()
    parts = shown(
        "Runs",
        lambda row: table_of(
            ("Run", "Kind", "Accounts", "Moment"),
            (
                (link_to(run), run.get_kind_display(), run.accounts, moment(run.moment))
                for run in row.runs.order_by("-pk")[:50]
            ),
        ),
    )


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    """Jobs that must not run twice at once, and when each last ran."""

    list_display = ("name", "last_run_at", "next_at", "expected", "seen")
    search_fields = ("name",)
    search_help_text = "A part of the name."
    fields = ("name", "last_run_at", "next_at", "expected", "seen")


see_also(Run, Change, lambda run: {"seen_by_run": run.pk}, "Changes it took note of")
see_also(Run, IntakeBatch, lambda run: {"seen_by_run": run.pk}, "Batches it took note of")
see_also(Change, Run, one("seen_by_run"), "The run that took note of it")
see_also(IntakeBatch, Run, one("seen_by_run"), "The run that took note of it")
