"""The admin of the room `playbooks`, one file for each kind of thing."""

from __future__ import annotations

from csplaybooks.playbooks.admin import calendars, clocks, matches, parts, plays, recipes, runs, verdicts

__all__ = ["calendars", "clocks", "matches", "parts", "plays", "recipes", "runs", "verdicts"]
