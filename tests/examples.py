"""How many examples hypothesis tries of a rule."""

from __future__ import annotations

from hypothesis import settings


def examples(count: int) -> int:
    """`count` examples, or as much less as the profile asks for: `--hypothesis-profile=brief` for a fourth."""
    return max(1, count * settings().max_examples // 100)
