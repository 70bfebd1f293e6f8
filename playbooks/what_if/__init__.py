"""What if: a draft asked about today's accounts and about the past, by the one evaluator; nothing is written.

`preview` says what publishing would come to, `openings_by_owner` how many episodes a week would have brought to whom,
`past_episodes` which episodes one trigger would have had in a period.
"""

from __future__ import annotations

from csplaybooks.playbooks.what_if.past import (
    AT_RUNS,
    Episode,
    Past,
    PeriodError,
    grid_between,
    past_episodes,
)
from csplaybooks.playbooks.what_if.preview import Candidate, Going, Preview, TriggerPreview, preview
from csplaybooks.playbooks.what_if.sight import Sight, draft_triggers
from csplaybooks.playbooks.what_if.summary import joining_of, numbers_of, what_if_summary
from csplaybooks.playbooks.what_if.weeks import OwnerWeeks, Weeks, openings_by_owner

__all__ = [
    "AT_RUNS",
    "Candidate",
    "Episode",
    "Going",
    "OwnerWeeks",
    "Past",
    "PeriodError",
    "Preview",
    "Sight",
    "TriggerPreview",
    "Weeks",
    "draft_triggers",
    "grid_between",
    "joining_of",
    "numbers_of",
    "openings_by_owner",
    "past_episodes",
    "preview",
    "what_if_summary",
]
