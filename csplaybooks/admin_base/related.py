"""Ways from the page of a row to the rows that belong to it, whichever room keeps them.

A room says `see_also(Account, Play, by("account"))`, and every page of an account links to the list of its plays. So a
lower room's page leads to a higher room's rows without knowing them. The links ask the database nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst

#: What a list is asked for, given a row: lookups and their values, or None where there is nothing to see.
Query = Callable[[Any], Mapping[str, Any] | None]


@dataclass(frozen=True)
class _Way:
    listed: Any
    query: Query
    heading: str


_ways: dict[Any, list[_Way]] = {}


def see_also(of: Any, listed: Any, query: Query, heading: str = "", *, first: bool = False) -> None:
    """Link the pages of the table `of` to rows of the table `listed`.

    `heading` is what the link says; the name of the listed table where it is empty. A query for `pk` alone leads to
    that row's own page. `first` puts the link before those that other rooms have added.
    """
    ways = _ways.setdefault(of, [])
    way = _Way(listed, query, heading or capfirst(str(listed._meta.verbose_name_plural)))
    ways.insert(0 if first else len(ways), way)


def by(column: str) -> Query:
    """The rows whose relation `column` is this row."""
    return lambda row: {f"{column}__id__exact": row.pk}


def one(column: str) -> Query:
    """The one row whose id stands in this row's `column`."""
    return lambda row: None if getattr(row, column) is None else {"pk": getattr(row, column)}


def links_from(row: Any, site: admin.AdminSite, request: HttpRequest) -> list[tuple[str, str]]:
    """Heading and address of every list that belongs to a row and that the person may look at."""
    links = []
    for way in _ways.get(type(row), ()):
        if not site.is_registered(way.listed) or not site.get_model_admin(way.listed).has_view_permission(request):
            continue
        query = way.query(row)
        if query is None:
            continue
        name = f"admin:{way.listed._meta.app_label}_{way.listed._meta.model_name}"
        if set(query) == {"pk"}:
            address = reverse(f"{name}_change", args=[query["pk"]], current_app=site.name)
        else:
            address = f"{reverse(f'{name}_changelist', current_app=site.name)}?{urlencode(query)}"
        links.append((way.heading, address))
    return links
