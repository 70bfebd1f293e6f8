"""Using a page of the admin as a person does: open the form, fill some of it in, send it."""

from __future__ import annotations

from typing import Any

from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse


def url(model: Any, page: str, *args: Any) -> str:
    """The address of a page of a table."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def opened(client: Client, address: str) -> dict[str, Any]:
    """What a browser would send if nothing were changed on the form at `address`."""
    context = client.get(address).context
    form = context["adminform"].form
    inlines = [inline.formset for inline in context["inline_admin_formsets"]]
    sent: dict[str, Any] = {}
    for part in [form, *(formset.management_form for formset in inlines), *(f for s in inlines for f in s.forms)]:
        for name in part.fields:
            field = part[name]
            _put(sent, field.html_name, field.field.widget, field.value())
    return sent


def _put(sent: dict[str, Any], name: str, widget: Any, value: Any) -> None:
    while hasattr(widget, "widget"):
        widget = widget.widget
    if hasattr(widget, "widgets"):
        for suffix, part, each in zip(widget.widgets_names, widget.widgets, widget.decompress(value), strict=True):
            _put(sent, f"{name}{suffix}", part, each)
        return
    if getattr(widget, "input_type", "") == "checkbox" and not getattr(widget, "allow_multiple_selected", False):
        if value:
            sent[name] = "on"
        return
    if getattr(widget, "allow_multiple_selected", False):
        sent[name] = [str(getattr(each, "pk", each)) for each in value or ()]
        return
    value = widget.format_value(value)
    if isinstance(value, list):
        value = value[0] if value else ""
    sent[name] = "" if value is None else value


def send(client: Client, address: str, /, **values: Any) -> Any:
    """Open the form at `address`, change some of its values, send it; answers the response."""
    data = opened(client, address) | values
    return client.post(address, {name: value for name, value in data.items() if value is not None})


def faults(response: Any) -> dict[str, list[str]]:
    """What is said to be wrong on the form that was shown again, by field (`__all__`: the whole)."""
    assert response.status_code == 200, response.headers.get("Location")
    said = {name: list(errors) for name, errors in response.context["adminform"].form.errors.items()}
    for inline in response.context["inline_admin_formsets"]:
        for each in inline.formset.errors:
            said |= {name: list(errors) for name, errors in each.items()}
    return said


def act(client: Client, model: Any, action: str, rows: Any, **values: Any) -> Any:
    """Choose rows on the list and send an action."""
    data = {"action": action, "_selected_action": [row.pk for row in rows], "index": 0, **values}
    return client.post(url(model, "changelist"), data)


def told(response: Any) -> list[str]:
    """What was said in answer to this request; the next page shows it."""
    storage: Any = get_messages(response.wsgi_request)
    return [str(message) for message in storage._queued_messages]
