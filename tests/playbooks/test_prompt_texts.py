"""The prompt of a playbook document: what it may say, where its link may lead, and who needs one."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.factories import DRAFT
from csplaybooks.playbooks.prompt_texts import PLACEHOLDERS, fill_in_link

PROMPT = """\
prompt:
  title: Make room
  gain: Everybody you invite can start at once.
  action: Add seats
  link: {link}
"""
BARE = DRAFT.format(key="room", name="Room", motion="seat_expansion")


def document(link: str = "/seats", more: str = "", route: str = "self_serve") -> dict[str, Any]:
    """A document with a prompt, read."""
    text = BARE.replace("route: csm", f"route: {route}").replace("first_touch", "closed")
    return read_document(text + PROMPT.format(link=f"'{link}'") + more)


def errors_of(text: str) -> list[tuple[str, str]]:
    """What is said about a bad document."""
    with pytest.raises(DocumentError) as caught:
        read_document(text)
    return caught.value.errors


def test_a_prompt_can_be_dismissed_unless_it_says_otherwise() -> None:
    assert document()["prompt"] == {
        "title": "Make room",
        "gain": "Everybody you invite can start at once.",
        "action": "Add seats",
        "link": "/seats",
        "dismissible": True,
    }
    assert document(more="  dismissible: false\n")["prompt"]["dismissible"] is False


def test_a_self_serve_route_needs_a_prompt_and_others_may_have_one() -> None:
    routes = "routes:\n  - when: {segments: [small]}\n    route: self_serve\n  - route: csm\n"
    ((path, message),) = errors_of(BARE.replace("routes:\n  - route: csm\n", routes))
    assert path == "routes/0/route"
    assert message.startswith("a self_serve route needs a `prompt`")
    assert "prompt" not in read_document(BARE)
    # A guard may lower a play to self-serve.
    assert document(route="email")["prompt"]["title"] == "Make room"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  title: Make room\n", "", ("prompt", "title is missing")),
        ("Make room", "''", ("prompt/title", "is empty")),
        ("Make room", "'  '", ("prompt/title", "is empty")),
        ("Add seats", "x" * 61, ("prompt/action", "is longer than 60 characters")),
        ("  action:", "  lacks: much\n  action:", ("prompt", "lacks is unknown here; known are ")),
        ("'/seats'", "7", ("prompt/link", "7 is not text")),
        ("Everybody you invite can start at once.", "[]", ("prompt/gain", "[] is not text")),
    ],
)
def test_what_is_wrong_with_a_prompt_is_named(old: str, new: str, expected: tuple[str, str]) -> None:
    text = BARE + PROMPT.format(link="'/seats'")
    ((path, message),) = errors_of(text.replace(old, new))
    assert (path, message[: len(expected[1])]) == expected


@pytest.mark.parametrize(
    "link",
    [
        "/",
        "/seats?account={account}&offer={play}#{plan}",
        "https://app.example.com/{account}/{product}",
        "http://localhost:8000/upgrade",
        "HTTPS://app.example.com",
    ],
)
def test_links_lead_to_a_path_or_to_a_site(link: str) -> None:
    assert document(link)["prompt"]["link"] == link


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("javascript:alert(1)", "a link is an http or https address, or a path that begins with a slash"),
        ("ftp://example.com/", "a link is an http or https address, or a path that begins with a slash"),
        ("seats", "a link is an http or https address, or a path that begins with a slash"),
        ("https:///seats", "a link is an http or https address, or a path that begins with a slash"),
        ("https://[/seats", "a link is an http or https address, or a path that begins with a slash"),
        ("https://example.com:seats/", "a link is an http or https address, or a path that begins with a slash"),
        ("//example.com/seats", "a path begins with one slash and a name"),
        ("/{product}/seats", "a path begins with one slash and a name"),
        ("/{product}{plan}/seats", "a path begins with one slash and a name"),
        (r"/\example.com", "a link has no spaces, line breaks or backslashes"),
        ("/my seats", "a link has no spaces, line breaks or backslashes"),
        ("/seats\u2028", "a link has no spaces, line breaks or backslashes"),
        ("https://{account}.example.com/", "placeholders stand behind the host, never in it"),
        ("https://example.com:{play}/", "a link is an http or https address, or a path that begins with a slash"),
        ("{account}", "a link is an http or https address, or a path that begins with a slash"),
        ("/seats?{user}", "{user} is unknown in a link; known are {account}, {play}, {product}, {plan}"),
        ("/seats?{}", "{} is unknown in a link; known are {account}, {play}, {product}, {plan}"),
        ("/seats?{account", "a brace stands alone; known are {account}, {play}, {product}, {plan}"),
        ("/seats?{{account}}", "a brace stands alone; known are {account}, {play}, {product}, {plan}"),
    ],
)
def test_links_that_lead_elsewhere_are_refused(link: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        document(link)
    assert caught.value.errors == [("prompt/link", message)]


@given(st.fixed_dictionaries({name: st.text(st.characters(codec="utf-8")) for name in PLACEHOLDERS}))
def test_what_is_filled_in_stays_in_its_place(values: dict[str, str]) -> None:
    filled = fill_in_link("https://example.com/a/{account}/{product}?play={play}&plan={plan}#end", values)
    path, _, query = filled.removesuffix("#end").removeprefix("https://example.com/a/").partition("?")
    account, product = path.split("/")
    play, plan = query.split("&")
    found = (account, product, play.removeprefix("play="), plan.removeprefix("plan="))
    assert tuple(map(unquote, found)) == tuple(values[name] for name in ("account", "product", "play", "plan"))
