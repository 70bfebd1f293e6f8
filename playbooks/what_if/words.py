"""Numbers in sentences."""

from __future__ import annotations


def how_many(number: int, one: str, several: str) -> str:
    """A number and what it counts: `1 play`, `1,234 plays`."""
    return f"{number:,} {one if number == 1 else several}"
