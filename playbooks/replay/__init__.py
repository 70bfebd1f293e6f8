"""Replay of an activity record: the live functions, fed from a file, on a virtual clock with a tick of one day."""

from __future__ import annotations

from csplaybooks.playbooks.replay.engine import Progress, replay
from csplaybooks.playbooks.replay.record import Record, RecordError, open_record
from csplaybooks.playbooks.replay.report import Report
from csplaybooks.playbooks.replay.rules import Rules

__all__ = ["Progress", "Record", "RecordError", "Report", "Rules", "open_record", "replay"]
