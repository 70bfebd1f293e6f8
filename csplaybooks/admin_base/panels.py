"""Panels of higher rooms on the page of a lower room's row.

A room says `panel(Account, "Readiness", readiness_panel, needs=ScoreSnapshot)`, and every page of an account shows what
`readiness_panel(account, request)` answers, to whoever may look at the table `needs`. A panel reads only what
`request.user` may see, in a number of queries that does not grow, and holds no form: it stands inside one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

#: What a panel shows of a row, as escaped HTML; None where there is nothing to show.
Render = Callable[[Any, HttpRequest], SafeString | None]


@dataclass(frozen=True)
class _Panel:
    heading: str
    render: Render
    needs: Any


_panels: dict[Any, list[_Panel]] = {}


def panel(of: Any, heading: str, render: Render, *, needs: Any) -> None:
    """Show a panel on the pages of the table `of`, in the order in which panels were added."""
    _panels.setdefault(of, []).append(_Panel(heading, render, needs))


def panels_of(row: Any, site: admin.AdminSite, request: HttpRequest) -> list[tuple[str, SafeString]]:
    """Heading and content of every panel of a row that the person may look at."""
    shown = []
    for each in _panels.get(type(row), ()):
        if site.is_registered(each.needs) and site.get_model_admin(each.needs).has_view_permission(request):
            content = each.render(row, request)
            if content:
                shown.append((each.heading, content))
    return shown
