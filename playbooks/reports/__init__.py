"""Reports over plays: whose time it was, and how offers from one to another went.

A report is worked out anew whenever it is asked for, from intervals and offers alone, in a number of queries that does
not grow, over what the viewer may see. Pages, files and endpoints show the same.
"""

from __future__ import annotations

from csplaybooks.playbooks.reports.handoffs import (
    MOST_OFFERS,
    MOST_REFUSALS,
    HandoffReport,
    Kept,
    OfferLine,
    Pairing,
    Refusal,
    handoff_report,
)
from csplaybooks.playbooks.reports.periods import (
    MOST_PARTS,
    Every,
    Part,
    ReportError,
    checked_period,
    parts_of,
)
from csplaybooks.playbooks.reports.plays_asked import WhichPlays
from csplaybooks.playbooks.reports.teams import teams_of_members
from csplaybooks.playbooks.reports.whose_time import (
    Behind,
    Cut,
    TimeLine,
    WhoseTime,
    time_of_play,
    whose_time,
)

__all__ = [
    "MOST_OFFERS",
    "MOST_PARTS",
    "MOST_REFUSALS",
    "Behind",
    "Cut",
    "Every",
    "HandoffReport",
    "Kept",
    "OfferLine",
    "Pairing",
    "Part",
    "Refusal",
    "ReportError",
    "TimeLine",
    "WhichPlays",
    "WhoseTime",
    "checked_period",
    "handoff_report",
    "parts_of",
    "teams_of_members",
    "time_of_play",
    "whose_time",
]
