"""The admin of the room `signals`. Importing it registers everything."""

from __future__ import annotations

from csplaybooks.signals.admin import events, readiness

__all__ = ["events", "readiness"]
