"""Intake: batches come in, each item gets a verdict, and nothing is lost or stored twice."""

from __future__ import annotations

from csplaybooks.signals.intake.act import take_in_readings, take_in_signals
from csplaybooks.signals.intake.verdicts import IntakeAnswer, ItemResult, Status

__all__ = ["IntakeAnswer", "ItemResult", "Status", "take_in_readings", "take_in_signals"]
