"""The admin of the room `playbooks`, one file for each kind of thing."""

from __future__ import annotations

from csplaybooks.playbooks.admin import (
    calendar_uses,
    calendars,
    clocks,
    deliveries,
    drafts,
    holidays,
    leaving,
    matches,
    notices,
    parts,
    plays,
    recipes,
    runs,
    verdicts,
)

__all__ = [
    "calendar_uses",
    "calendars",
    "clocks",
    "deliveries",
    "drafts",
    "holidays",
    "leaving",
    "matches",
    "notices",
    "parts",
    "plays",
    "recipes",
    "runs",
    "verdicts",
]
