"""How old is too old."""

from __future__ import annotations

from datetime import timedelta

from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.acts.setup import SCHEDULES

#: Every how many minutes the schedule of full runs fires: none comes sooner, whatever the setting says.
_FULL_RUN_FIRES = next(minutes for name, _, minutes in SCHEDULES if name == "csplaybooks:run_full")


def heartbeat_limit() -> timedelta:
    """A heartbeat, a schedule or a task that waits for a worker, older than this, means that nobody is at work."""
    return timedelta(seconds=csplaybooks_settings.HEARTBEAT_SECONDS)


def waiting_limit() -> timedelta:
    """A row that waits for the pipeline longer than this is being passed by."""
    return timedelta(seconds=csplaybooks_settings.WAITING_SECONDS)


def full_run_limit() -> timedelta:
    """Three full runs should have come in this time."""
    return timedelta(minutes=3 * max(csplaybooks_settings.FULL_RUN_MINUTES, _FULL_RUN_FIRES))
