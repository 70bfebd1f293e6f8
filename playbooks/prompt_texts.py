"""The prompt of a playbook document: what the product shows to a customer who is to help themselves, and its link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from csplaybooks.playbooks.models import Route

#: What a link may hold in braces.
PLACEHOLDERS = ("account", "play", "product", "plan")

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
#: White space and control characters; and the backslash, which browsers read as a slash.
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f\\]")


def _line(longest: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": longest}


#: The part of the document's JSON schema.
PROMPT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["title", "gain", "action", "link"],
    "properties": {
        "title": _line(120),
        "gain": _line(500),
        "action": _line(60),
        "link": _line(1000),
        "dismissible": {"type": "boolean"},
    },
}


def fill_in_prompt(prompt: dict[str, Any]) -> None:
    """Write what a prompt leaves out into it: it can be dismissed."""
    prompt.setdefault("dismissible", True)


def prompt_errors(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What the schema cannot say of a document's prompt: the path of each fault, and what is wrong."""
    prompt = document.get("prompt")
    if prompt is None:
        for index, rule in enumerate(document["routes"]):
            if rule["route"] == Route.SELF_SERVE:
                yield (
                    f"routes/{index}/route",
                    "a self_serve route needs a `prompt`: what the product shows then (title, gain, action, link)",
                )
                return
        return
    for name in ("title", "gain", "action"):
        if not prompt[name].strip():
            yield f"prompt/{name}", "is empty"
    if fault := _link_fault(prompt["link"]):
        yield "prompt/link", fault


def _link_fault(link: str) -> str | None:
    """What is wrong with the template of a link; None when nothing is."""
    if _UNFIT.search(link):
        return "a link has no spaces, line breaks or backslashes"
    for name in _PLACEHOLDER.findall(link):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            return f"{{{name[:60]}}} is unknown in a link; known are {known}"
    plain = _PLACEHOLDER.sub("", link)
    if "{" in plain or "}" in plain:
        return "a brace stands alone; known are " + ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
    if link.startswith("/"):
        # What is filled in may be nothing, and `//host` leads to another site.
        return "a path begins with one slash and a name" if plain.startswith("//") else None
    try:
        parts = urlsplit(link)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        return "a link is an http or https address, or a path that begins with a slash"
    if _PLACEHOLDER.search(parts.netloc):
        return "placeholders stand behind the host, never in it"
    return None


def fill_in_link(template: str, values: Mapping[str, str]) -> str:
    """The link with each placeholder's value in its place, quoted whole: it adds no path, query or fragment.

    `values` has all of `PLACEHOLDERS`.
    """
    return _PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=""), template)
