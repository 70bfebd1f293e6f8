"""Who reads the page, so that a link is offered only where it opens.

A column knows its row and not the request, so the pages keep the request until the answer is written. Whether a table
may be looked at is asked of its own page in the admin, the host's users among them: Django keeps a person's permissions
for as long as the request lives, so no link costs a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import AdminReadonlyField
from django.http import HttpRequest, HttpResponse


@dataclass(frozen=True)
class _Reader:
    site: admin.AdminSite
    request: HttpRequest


_reader: ContextVar[_Reader | None] = ContextVar("csplaybooks_reader", default=None)


def read_by(site: admin.AdminSite, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
    """What `view` answers to the request; links are for whoever sent it, until the answer is written."""
    _reader.set(_Reader(site, request))
    try:
        response = view()
    except BaseException:
        _reader.set(None)
        raise
    # A page is written after its view has answered; anything else is written by now.
    if hasattr(response, "add_post_render_callback"):
        response.add_post_render_callback(_read)
    else:
        _reader.set(None)
    return response


def _read(response: HttpResponse) -> None:
    _reader.set(None)


def may_open(model: Any) -> bool:
    """Whether the reader of the page may look at rows of a table; anybody, where no page is being read."""
    reader = _reader.get()
    if reader is None:
        return True
    if not reader.site.is_registered(model):
        return False
    return bool(reader.site.get_model_admin(model).has_view_or_change_permission(reader.request))


class LinkedParts:
    """A part of a form (all of it, an inline, a fieldset, a line) whose read-only relations link only where it opens.

    Stock Django links them to any table of the admin. Otherwise the part is as it was.
    """

    def __init__(self, part: Any) -> None:
        self._part = part

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    def __iter__(self) -> Iterator[Any]:
        for part in self._part:
            if isinstance(part, AdminReadonlyField):
                # An attribute of the one field, in front of the method of its class.
                part.get_admin_url = partial(_link_or_text, part.get_admin_url)  # type: ignore[method-assign]
                yield part
            else:
                yield LinkedParts(part) if hasattr(part, "__iter__") else part


def _link_or_text(link: Callable[[Any, Any], str], relation: Any, row: Any) -> str:
    return link(relation, row) if may_open(relation.model) else str(row)
