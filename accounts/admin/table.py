"""The page of a table that the shared acts write."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest

from csplaybooks.accounts.acts.rows import Table, change_row, delete_rows, make_row
from csplaybooks.admin_base import OPENED_VERSION, ActAdmin


class TableAdmin(ActAdmin):
    """Rows that are made, changed and deleted by the acts of `csplaybooks.accounts.acts.rows`."""

    #: What may be written.
    table: Table[Any]
    deletable = True

    def values(self, form: Any) -> dict[str, Any]:
        """What was filled in; fields that the person may only look at are not among them."""
        return {name: form.cleaned_data[name] for name in self.table.fields if name in form.cleaned_data}

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Make the row."""
        return make_row(table=self.table, values=self.values(form), now=now, actor=request.user)

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Change the row."""
        return change_row(
            table=self.table,
            row_id=form.instance.pk,
            values=self.values(form),
            expected_version=form.cleaned_data[OPENED_VERSION],
            now=now,
            actor=request.user,
        )

    def delete_by_act(self, request: HttpRequest, rows: list[Any], now: datetime) -> None:
        """Delete rows that nothing points at."""
        delete_rows(table=self.table, row_ids=[row.pk for row in rows], now=now, actor=request.user)
