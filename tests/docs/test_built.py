"""The built pages: no warning, nothing fetched from elsewhere, every link within them leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.page import DOCS

pytest.importorskip("sphinx", reason="the tools of the documentation are not installed")


class _Reader(HTMLParser):
    """Notes what a browser would fetch by itself, where links lead, and what can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: set[str] = set()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.images: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag begins."""
        said = dict(attrs)
        self.anchors.update(value for name in ("id", "name") if (value := said.get(name)))
        self.fetched.update(value for name in ("src", "srcset", "data", "poster") if (value := said.get(name)))
        if tag == "link" and (said.get("rel") or "") not in ("index", "search", "next", "prev", "author", "copyright"):
            self.fetched.add(said.get("href") or "")
        if tag == "a" and (link := said.get("href")):
            self.links.add(link)
        if tag == "img":
            self.images.append(said)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built as `make docs` does, where a warning is an error."""
    out = tmp_path_factory.mktemp("docs")
    build = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-d", out / "doctrees", DOCS, out / "html"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    return out / "html"


def pages_in(built: Path) -> dict[Path, _Reader]:
    """All pages, read."""
    pages = {file: _Reader(file.read_text()) for file in sorted(built.rglob("*.html"))}
    assert len(pages) > 10
    return pages


def test_nothing_is_fetched_from_elsewhere(built: Path) -> None:
    for file, page in pages_in(built).items():
        assert page.fetched, file.name
        for address in page.fetched:
            parts = urlsplit(address)
            assert (parts.scheme, parts.netloc) in (("", ""), ("data", "")), f"{file.name} fetches {address}"
            if parts.path and not parts.scheme:
                assert (file.parent / unquote(parts.path)).is_file(), f"{file.name}: there is no {address}"
    for style in [*built.rglob("*.css"), *built.rglob("*.svg")]:
        for address in re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", style.read_text()):
            assert not re.match("(https?:)?//", "".join(address)), f"{style.name} fetches {address}"


def test_links_within_the_pages_lead_somewhere(built: Path) -> None:
    pages = pages_in(built)
    broken = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            known = pages[target].anchors if target in pages else frozenset()
            if not target.is_file() or (parts.fragment and target in pages and parts.fragment not in known):
                broken.append(f"{file.name}: {link}")
    assert broken == []


def test_every_page_is_in_the_contents_and_the_drawing_has_words(built: Path) -> None:
    pages = pages_in(built)
    contents = {urlsplit(link).path for link in pages[built / "index.html"].links}
    assert {f"{page.stem}.html" for page in DOCS.glob("*.md")} - {"index.html"} <= contents
    (drawing,) = pages[built / "concepts.html"].images
    assert len(drawing["alt"] or "") > 40
    drawn = (DOCS / "_static" / "pipeline.svg").read_text()
    assert "<title" in drawn
    assert "<desc" in drawn
    assert "prefers-color-scheme: dark" in drawn
