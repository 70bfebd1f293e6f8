"""Readiness: how ready an account is for a motion, as a number from 0 to 100 of which every point can be traced.

A signal counts whole in its first period, half in its second, a quarter in its third, and then no more; how long a
period is says the strength of its kind. What a signal weighs is said by published weights (`weights`); `scores` asks
for all accounts or some, `trace` for the points behind one account's scores.
"""

from __future__ import annotations

from csplaybooks.signals.readiness.scoring import Forgotten, accounts_at, readiness_of, scores, scoring
from csplaybooks.signals.readiness.trace import Counted, MotionTrace, Step, TypeTrace, in_points, trace
from csplaybooks.signals.readiness.weights import FULL_SCORE, LONGEST_WINDOW, PERIOD_DAYS, SHARES, Weight, Weights

__all__ = [
    "FULL_SCORE",
    "LONGEST_WINDOW",
    "PERIOD_DAYS",
    "SHARES",
    "Counted",
    "Forgotten",
    "MotionTrace",
    "Step",
    "TypeTrace",
    "Weight",
    "Weights",
    "accounts_at",
    "in_points",
    "readiness_of",
    "scores",
    "scoring",
    "trace",
]
