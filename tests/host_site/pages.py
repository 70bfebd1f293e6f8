"""A visitor of a real site: keeps cookies, reads the forms of a page, fills them in and sends them."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import Message
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import Any

SECONDS = 30


@dataclass(frozen=True)
class Page:
    """What came back."""

    status: int
    address: str
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def form(self, marker: str) -> list[tuple[str, str]]:
        """What a browser would send of the form whose id is `marker`, if nobody touched it."""
        reader = _FormReader(marker)
        reader.feed(self.text)
        assert reader.fields, f"no form {marker} at {self.address}:\n{self.text}"
        return reader.fields


class _FormReader(HTMLParser):
    """Collects the fields of one form; buttons are not among them."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self.fields: list[tuple[str, str]] = []
        self._marker = marker
        self._inside = False
        self._select: str | None = None
        self._chosen: list[str] = []
        self._first: str | None = None
        self._several = False
        self._area: str | None = None
        self._words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A field begins, or stands there."""
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = said.get("id") == self._marker
        if not self._inside or "disabled" in said:
            return
        name, kind = said.get("name"), said.get("type", "text")
        if tag == "input" and name and kind not in ("submit", "button", "file", "image", "reset"):
            if kind not in ("checkbox", "radio") or "checked" in said:
                self.fields.append((name, said.get("value", "on" if kind == "checkbox" else "")))
        elif tag == "select" and name:
            self._select, self._chosen, self._first, self._several = name, [], None, "multiple" in said
        elif tag == "option" and self._select:
            self._first = said.get("value", "") if self._first is None else self._first
            if "selected" in said:
                self._chosen.append(said.get("value", ""))
        elif tag == "textarea" and name:
            self._area, self._words = name, ""

    def handle_data(self, data: str) -> None:
        """Text in a text area."""
        if self._area:
            self._words += data

    def handle_endtag(self, tag: str) -> None:
        """A field ends."""
        if tag == "form":
            self._inside = False
        elif tag == "select" and self._select:
            if not self._chosen and not self._several and self._first is not None:
                self._chosen = [self._first]
            self.fields += [(self._select, value) for value in self._chosen]
            self._select = None
        elif tag == "textarea" and self._area:
            self.fields.append((self._area, self._words.removeprefix("\n")))
            self._area = None


class Visitor:
    """Somebody with a browser, or a program with a token."""

    def __init__(self, site: str) -> None:
        self.site = site
        # No proxy between us and the loopback address.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
        )

    def ask(self, address: str, body: bytes | None = None, **headers: str) -> Page:
        """GET, or POST where there is a body; follows redirects. An error is a page too."""
        request = urllib.request.Request(  # noqa: S310 - the test's own site
            urllib.parse.urljoin(self.site, address),
            data=body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        try:
            answer = self._opener.open(request, timeout=SECONDS)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return Page(answer.status, answer.url, answer.headers, answer.read())

    def send(self, address: str, data: Any, token: str) -> Page:
        """POST JSON, with a token."""
        return self.ask(
            address, json.dumps(data).encode(), Content_Type="application/json", Authorization=f"Token {token}"
        )

    def fill_in(self, address: str, marker: str, **values: str | list[str]) -> Page:
        """Open the page at `address`, fill these values in on its form, send it; answers the page that follows."""
        page = self.ask(address)
        assert page.status == 200, f"{page.status} at {address}:\n{page.text}"
        fields = [(name, value) for name, value in page.form(marker) if name not in values]
        for name, value in values.items():
            fields += [(name, one) for one in ([value] if isinstance(value, str) else value)]
        return self.ask(
            page.address,
            urllib.parse.urlencode(fields).encode(),
            Content_Type="application/x-www-form-urlencoded",
            Referer=page.address,
        )
