"""Acts on the kinds of signal and meter, and the starter catalogue: those that the starter playbooks speak of."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from csplaybooks.accounts.acts.checks import cleaned
from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.acts.record import actor_label, record_changes, require_aware
from csplaybooks.signals.models import Meter, SignalType, Strength

logger = logging.getLogger("csplaybooks.acts")

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


@transaction.atomic
def change_meter(
    *,
    meter_id: int,
    now: datetime,
    actor: Any,
    name: str | None = None,
    unit: str | None = None,
    strength: str | None = None,
    max_age_days: int | None = None,
    expected_version: int | None = None,
) -> Meter:
    """Change a meter; answers it as it stands. None leaves a value as it is; where nothing differs, nothing is written.

    Another maximum age decides anew which readings count, so it writes a change that names no account: any account
    may be touched. There is no timeline it could stand in, and who did it goes to the log.

    Raises Meter.DoesNotExist, Conflict when the row's version is not `expected_version` (None: whatever it is),
    ValidationError for a value that does not fit.
    """
    require_aware(now=now)
    given = {"name": name, "unit": unit, "strength": strength, "max_age_days": max_age_days}
    values = cleaned(Meter, {field: value for field, value in given.items() if value is not None})
    if not 1 <= values.get("max_age_days", 1) <= 3650:
        raise ValidationError({"max_age_days": "A meter's maximum age is one day to ten years."})
    meter: Meter = Meter.objects.select_for_update(no_key=True).get(pk=meter_id)
    if expected_version is not None and meter.version != expected_version:
        raise Conflict(meter, expected=expected_version)
    differing = {field: value for field, value in values.items() if getattr(meter, field) != value}
    if not differing:
        return meter
    read_version = meter.version
    for field, value in (differing | {"version": read_version + 1, "updated_at": now}).items():
        setattr(meter, field, value)
    # Where the database has no row locks, the version decides who was first.
    written = Meter.objects.filter(pk=meter_id, version=read_version).update(
        **differing, version=meter.version, updated_at=now
    )
    if not written:
        raise Conflict(meter, expected=read_version)
    if "max_age_days" in differing:
        record_changes(kind="meter_changed", account_ids=[None], now=now)
    logger.info("meter %s (%s) changed by %s", meter_id, ", ".join(sorted(differing)), actor_label(actor))
    return meter
