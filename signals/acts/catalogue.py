"""The starter catalogue: the kinds of signal and meter that the starter playbooks speak of."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from csplaybooks.signals.models import Meter, SignalType, Strength

#: Key, name, strength.
SIGNAL_TYPES = (
    ("feature_gate_hit", "Feature gate hit", Strength.STRONG),
    ("user_added", "User added", Strength.STRONG),
    ("invite_refused", "Invite refused at the seat limit", Strength.STRONG),
    ("feature_used", "Feature used", Strength.MODERATE),
    ("report_run", "Report run", Strength.MODERATE),
    ("login", "Login", Strength.MODERATE),
    ("support_ticket", "Support ticket", Strength.MODERATE),
    ("first_value", "First value reached", Strength.MODERATE),
    ("prompt_shown", "Prompt shown", Strength.WEAK),
    ("prompt_dismissed", "Prompt dismissed", Strength.WEAK),
    ("upgrade_started", "Upgrade started", Strength.STRONG),
    ("upgrade_done", "Upgrade done", Strength.STRONG),
    ("funding_announced", "Funding announced", Strength.WEAK),
    ("hiring_announced", "Hiring announced", Strength.WEAK),
)

#: Key, name, unit, maximum age of a reading in days.
METERS = (
    ("seats", "Seats", "seats", 35),
    ("active_users", "Active users", "users", 35),
    ("api_calls", "API calls", "calls a month", 35),
    ("storage", "Storage", "GB", 35),
    ("health", "Health", "of 100", 35),
    ("nps", "Net promoter score", "points", 180),
)


def load_starter_catalogue(*, now: datetime) -> int:
    """Add the kinds that are missing; what is there already stays as it is. Answers how many were added."""
    with transaction.atomic():
        before = SignalType.objects.count() + Meter.objects.count()
        SignalType.objects.bulk_create(
            [SignalType(key=key, name=name, strength=strength, updated_at=now) for key, name, strength in SIGNAL_TYPES],
            ignore_conflicts=True,
        )
        Meter.objects.bulk_create(
            [
                Meter(key=key, name=name, unit=unit, max_age_days=max_age_days, updated_at=now)
                for key, name, unit, max_age_days in METERS
            ],
            ignore_conflicts=True,
        )
        return SignalType.objects.count() + Meter.objects.count() - before
