"""A page of the documentation, read as its readers do: code blocks and tables, in their order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"

_FENCE = re.compile(r"^```(.*)$")


@dataclass(frozen=True)
class Block:
    """A code block: its language, whatever else stands behind that, its lines, and the paragraph before it."""

    language: str
    mark: str
    text: str
    before: str


@dataclass(frozen=True)
class Table:
    """A table: its header, its rows, and the paragraph before it."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    before: str


def blocks_of(text: str) -> list[Block]:
    """The code blocks of a page, in their order."""
    return [part for part in parts_of(text) if isinstance(part, Block)]


def parts_of(text: str) -> list[Block | Table]:
    """The code blocks and tables of a page, in their order."""
    found: list[Block | Table] = []
    lines = text.splitlines()
    paragraph: list[str] = []
    before = ""
    at = 0
    while at < len(lines):
        line = lines[at]
        if fence := _FENCE.match(line):
            before = " ".join(paragraph) or before
            end = lines.index("```", at + 1)
            language, _, mark = fence[1].partition(" ")
            found.append(Block(language, mark, "\n".join(lines[at + 1 : end]) + "\n", before))
            paragraph, before, at = [], "", end + 1
            continue
        if line.startswith("|"):
            before = " ".join(paragraph) or before
            end = next(n for n in range(at, len(lines) + 1) if n == len(lines) or not lines[n].startswith("|"))
            rows = [tuple(cell.strip() for cell in row.strip().strip("|").split("|")) for row in lines[at:end]]
            found.append(Table(rows[0], tuple(rows[2:]), before))
            paragraph, before, at = [], "", end
            continue
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            before, paragraph = " ".join(paragraph), []
        at += 1
    return found
