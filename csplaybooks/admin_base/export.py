"""Lists as CSV files, for whoever works on in a spreadsheet."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

logger = logging.getLogger("csplaybooks.admin")

#: A cell that begins so is taken for a formula by spreadsheets.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

_CHUNK = 1000


class _Echo:
    """A file that keeps nothing: what is written is answered."""

    def write(self, value: str) -> str:
        return value


def cell(value: Any) -> str:
    """A value as a cell: nothing is empty, moments with their zone; words that a spreadsheet would run are defused."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int() | Decimal():
            # A number is no formula, whatever its sign.
            return str(value)
        case datetime():
            return timezone.localtime(value).isoformat(timespec="seconds")
        case date():
            return value.isoformat()
        case list():
            return cell(", ".join(str(item) for item in value))
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


class Export:
    """Mix-in of a page whose rows can be taken away as a CSV file; put `export_csv` among its `actions`.

    `exports` are headings, and what each answers for a row. Rows come from the page's own list, so nobody takes away
    what they do not see.
    """

    exports: Sequence[tuple[str, Callable[[Any], Any]]] = ()
    opts: Any

    @admin.action(description="Export the selected rows as CSV", permissions=["view"])
    def export_csv(self, request: HttpRequest, queryset: Any) -> StreamingHttpResponse:
        """All selected rows, oldest first, as a file that is written while it is read."""
        logger.info("%s exported by %s", self.opts.label, request.user)
        rows = queryset.order_by("pk").iterator(chunk_size=_CHUNK)
        return csv_file(
            str(self.opts.model_name),
            [heading for heading, _ in self.exports],
            ([read(row) for _, read in self.exports] for row in rows),
        )


def csv_file(kind: str, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> StreamingHttpResponse:
    """Rows as a file that is written while they are read; its name says what is in it, and the day."""
    return StreamingHttpResponse(
        _lines(headings, rows),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{kind}-{timezone.localdate():%Y-%m-%d}.csv"'},
    )


def _lines(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    # By this mark spreadsheets know that the file is UTF-8.
    yield "\ufeff" + writer.writerow([cell(heading) for heading in headings])
    for row in rows:
        yield writer.writerow([cell(value) for value in row])
