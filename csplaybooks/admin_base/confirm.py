"""The page between choosing an action that cannot be taken back and doing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse

#: The most rows that the page names one by one.
MOST_NAMED = 100

TEMPLATE = "csplaybooks/admin/confirm.html"


def is_answered(request: HttpRequest) -> bool:
    """Whether the page that asks was sent, and not the list."""
    return "perform" in request.POST


def page_of(page: Any, row: Any) -> str:
    """The address of the page of a row."""
    name = f"admin:{page.opts.app_label}_{page.opts.model_name}_change"
    return reverse(name, args=[row.pk], current_app=page.admin_site.name)


def list_of(page: Any) -> str:
    """The address of the list of a page's rows."""
    name = f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist"
    return reverse(name, current_app=page.admin_site.name)


def confirmed(
    page: Any,
    request: HttpRequest,
    queryset: Any,
    *,
    label: str,
    warning: str,
    form: Any = None,
    details: Callable[[Any], Sequence[str]] | None = None,
    carried: Callable[[Any], Mapping[str, Any]] | None = None,
    about: Any = None,
    action: str | None = None,
) -> TemplateResponse | None:
    """None where the person has said yes; before that the page that asks them.

    `label` stands on its button, `warning` says what cannot be taken back. It is sent to the same list, with the same
    choice of rows. A `form` asks for what the action needs; bind it to what was sent where `is_answered` is true. As
    long as something is wrong on it, it is asked again. `details` answers the lines that are told of a row below its
    name, and `carried` what the answer brings back of it, such as the version that was read; both only of rows that are
    named. A page that is `about` one row stands below the page of that row, and leads back there; with an `action` it
    asks on that row's page for what is then sent to the list, as if the row were ticked there.
    """
    if is_answered(request) and (form is None or form.is_valid()):
        return None
    rows = list(queryset[: MOST_NAMED + 1])
    context = {
        **page.admin_site.each_context(request),
        "title": label if about is None else f"{label}: {about}",
        "opts": page.opts,
        "label": label,
        "warning": warning,
        "form": form,
        "rows": [(row, details(row) if details else ()) for row in rows[:MOST_NAMED]],
        "carried": [pair for row in rows[:MOST_NAMED] if carried for pair in carried(row).items()],
        "more": len(rows) > MOST_NAMED,
        "sent_to": list_of(page) if action else "",
        "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME) if action is None else [about.pk],
        "checkbox": ACTION_CHECKBOX_NAME,
        "action": request.POST.get("action", "") if action is None else action,
        "select_across": request.POST.get("select_across", "0"),
        "about": about,
        "whence": request.get_full_path() if about is None else page_of(page, about),
    }
    request.current_app = page.admin_site.name
    return TemplateResponse(request, TEMPLATE, context)
