"""The tables of the room `playbooks`."""

from __future__ import annotations

from csplaybooks.playbooks.models.calendars import (
    Calendar,
    CalendarBlock,
    CalendarDay,
    CalendarUse,
    HolidayImport,
)
from csplaybooks.playbooks.models.clocks import Clock, ClockEvent
from csplaybooks.playbooks.models.deliveries import Delivery, MailDraft, Suppression
from csplaybooks.playbooks.models.handoffs import Handoff
from csplaybooks.playbooks.models.matches import Match, MatchStep, PlayMatch
from csplaybooks.playbooks.models.notices import Notice, NoticeSettings
from csplaybooks.playbooks.models.plays import (
    Credit,
    Interval,
    Outcome,
    Pause,
    Play,
    PlayStep,
    Route,
    Stage,
    State,
    Touch,
)
from csplaybooks.playbooks.models.recipes import Playbook, PlaybookVersion, Trigger
from csplaybooks.playbooks.models.runs import Lease, Round, Run

__all__ = [
    "Calendar",
    "CalendarBlock",
    "CalendarDay",
    "CalendarUse",
    "Clock",
    "ClockEvent",
    "Credit",
    "Delivery",
    "Handoff",
    "HolidayImport",
    "Interval",
    "Lease",
    "MailDraft",
    "Match",
    "MatchStep",
    "Notice",
    "NoticeSettings",
    "Outcome",
    "Pause",
    "Play",
    "PlayMatch",
    "PlayStep",
    "Playbook",
    "PlaybookVersion",
    "Round",
    "Route",
    "Run",
    "Stage",
    "State",
    "Suppression",
    "Touch",
    "Trigger",
]
