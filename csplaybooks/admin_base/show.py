"""Values and rows as people read them: links, small tables, moments, and columns made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.functional import lazy
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from csplaybooks.admin_base.reader import may_open


def link_to(row: Any, text: str | None = None) -> SafeString | str | None:
    """A link to a row's own page, or only its text to whoever may not look at the table; None for no row."""
    if row is None:
        return None
    words = str(row) if text is None else text
    if not may_open(type(row)):
        return words
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', url, words)


def table_of(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> SafeString | str:
    """A small table for a read-only field; cells are escaped. Where all headings are empty it has no head."""
    body = format_html_join(
        "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows)
    )
    if not body:
        return "-"
    if not any(headings):
        return format_html("<table><tbody>{}</tbody></table>", body)
    head = format_html_join("", "<th>{}</th>", ((heading,) for heading in headings))
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def lines_of(items: Iterable[Any]) -> SafeString:
    """Lines for a read-only field; they are escaped."""
    return format_html_join(SafeString("<br>"), "{}", ((item,) for item in items))


def in_plain(key: str) -> str:
    """A key as people write it: `not_paying` is `Not paying`."""
    return capfirst(key.replace("_", " "))


def moment(at: datetime | None) -> str:
    """A moment in the time zone of the page, as the admin writes it elsewhere."""
    return "-" if at is None else formats.date_format(timezone.localtime(at), "DATETIME_FORMAT")


def _with_zone(words: Any) -> str:
    zone = f"Time zone: {timezone.get_current_timezone_name()}."
    return f"{words} {zone}" if words else zone


#: The help text of a field that takes a moment, with the time zone of the page on which it is read.
with_zone: Callable[[Any], Any] = lazy(_with_zone, str)


def shown(description: str, read: Callable[[Any], Any], *, ordering: Any = None, boolean: bool | None = None) -> Any:
    """A column or read-only field of a page, as a class attribute: what `read` answers for a row.

    Nothing is shown as a dash, a moment in the time zone of the page.
    """

    @admin.display(description=description, ordering=ordering, boolean=boolean)
    def column(row: Any) -> Any:
        value = read(row)
        if isinstance(value, datetime):
            return moment(value)
        return "-" if value is None or value == "" else value

    return staticmethod(column)
