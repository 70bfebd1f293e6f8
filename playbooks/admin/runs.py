"""Runs of the evaluator and the leases of scheduled work."""

from __future__ import annotations

from django.contrib import admin

from csplaybooks.admin_base import CappedPaginator, ReadOnlyAdmin, filled_filter
from csplaybooks.playbooks.models import Lease, Run


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Runs of the evaluator, the newest first."""

    list_display = ("__str__", "kind", "moment", "accounts", "finished_at")
    list_filter = ("kind", ("finished_at", filled_filter("end", filled="finished", empty="not finished")))
    fields = ("kind", "moment", "accounts", "counts", "versions", "inputs", "finished_at")
    sortable_by = ()
    paginator = CappedPaginator


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    """Jobs that must not run twice at once, and when each last ran."""

    list_display = ("name", "last_run_at", "next_at", "expected", "seen")
    search_fields = ("name",)
    fields = ("name", "last_run_at", "next_at", "expected", "seen")
