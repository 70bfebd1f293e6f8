"""What lists are made of: filters in words, pages of long tables, choices that the person may see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property


def visible_rows(site: admin.AdminSite, model: Any, request: HttpRequest) -> Any:
    """The queryset of what a person may choose from in a table; all of them where it is a table of the host (users)."""
    from csplaybooks.admin_base.pages import BaseAdmin

    if site.is_registered(model):
        related_admin = site.get_model_admin(model)
        if isinstance(related_admin, BaseAdmin):
            return related_admin.get_queryset(request)
    rows = model._default_manager.all()
    return rows.visible_to(request.user) if hasattr(rows, "visible_to") else rows


def ids_among(opts: Any, texts: Iterable[str]) -> list[str]:
    """Those of some texts that could be the id of a row of a table: `abc` is none, and 23 digits fit no column."""
    column = opts.pk
    while column.remote_field is not None:
        column = column.target_field
    found = []
    for text in texts:
        try:
            column.run_validators(column.to_python(text))
        except ValidationError:
            continue
        found.append(text)
    return found


def filled_filter(title: str, *, filled: str, empty: str) -> type[admin.EmptyFieldListFilter]:
    """A filter by whether a column says anything, in the words given."""

    class Filled(admin.EmptyFieldListFilter):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.title = title

        def choices(self, changelist: Any) -> Any:
            """All, those where it is empty, those where it is filled."""
            for choice, words in zip(super().choices(changelist), (None, empty, filled), strict=True):
                yield {**choice, "display": words or choice["display"]}

    return Filled


class CappedPaginator(Paginator):
    """Pages of a table too long to be counted: it counts to `cap`, and shows no more than that.

    Whoever looks for an older row searches or filters.
    """

    cap = 10_000

    @cached_property
    def count(self) -> int:
        """The number of rows, at most `cap`."""
        rows: Any = self.object_list
        return int(rows[: self.cap].count())


class Rows(ChangeList):
    """The rows of a list, as an address asks for them."""

    def get_results(self, request: HttpRequest) -> None:
        """Count and fetch them. An address with a number that the database cannot hold finds nothing.

        Django sees to that in every comparison but `__in`, which SQLite refuses when it is asked.
        """
        try:
            super().get_results(request)
        except OverflowError:
            self.queryset = self.queryset.none()
            super().get_results(request)


class VisibleRelatedFilter(admin.RelatedFieldListFilter):
    """A filter by a related row, which offers only those that the person may see."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[Any, Any]]:
        """Ids and labels of the related rows."""
        rows = visible_rows(model_admin.admin_site, field.remote_field.model, request)
        return [(row.pk, str(row)) for row in rows]
