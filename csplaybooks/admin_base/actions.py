"""Actions of higher rooms on the list of a lower room's table.

A room says `row_action(TeamMember, leave, allowed=...)`, and the list of team members offers it to whoever it is
allowed to. So what concerns several rooms is offered where people look for it, and the lower room knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

#: What an action is: as a function among the `actions` of Django's own pages.
Action = Callable[[Any, HttpRequest, Any], Any]

#: Whether somebody may choose it, asked with the page and the request.
Allowed = Callable[[Any, HttpRequest], bool]

_actions: dict[Any, list[tuple[Action, Allowed]]] = {}


def row_action(of: Any, action: Action, *, allowed: Allowed) -> None:
    """Offer an action on the list of the table `of`, behind the table's own, to whoever it is `allowed` to."""
    _actions.setdefault(of, []).append((action, allowed))


def actions_of(page: Any, request: HttpRequest) -> list[Action]:
    """The actions that other rooms offer on a page to this person."""
    return [action for action, allowed in _actions.get(page.model, ()) if allowed(page, request)]
