"""Guards: rules that hold a match back, or cap its route.

Asked in one fixed order; each answers pass, hold (with a reason, and until when if that is known) or ceiling (the
highest route allowed), with its reason in words. The first hold wins; of ceilings the lowest. All facts that the guards
of a playbook need for all accounts in question are fetched in one query; the judging itself asks the database nothing.
A host adds its own with `register`.
"""

from __future__ import annotations

from csplaybooks.playbooks.guards.base import ACCOUNT, Ceiling, Guard, Hold, Pass, Question
from csplaybooks.playbooks.guards.contact import DISMISSED_TYPE, BlackOut, Cooling, Crowded, Dismissed
from csplaybooks.playbooks.guards.judging import Admitted, Judgement, Panel, judge_matches
from csplaybooks.playbooks.guards.line import Line
from csplaybooks.playbooks.guards.registry import guards, register
from csplaybooks.playbooks.guards.standing import HEALTH_METER, Gone, NotPaying, Onboarding, Tenure, Unhealthy

__all__ = [
    "ACCOUNT",
    "DISMISSED_TYPE",
    "HEALTH_METER",
    "Admitted",
    "BlackOut",
    "Ceiling",
    "Cooling",
    "Crowded",
    "Dismissed",
    "Gone",
    "Guard",
    "Hold",
    "Judgement",
    "Line",
    "NotPaying",
    "Onboarding",
    "Panel",
    "Pass",
    "Question",
    "Tenure",
    "Unhealthy",
    "guards",
    "judge_matches",
    "register",
]
