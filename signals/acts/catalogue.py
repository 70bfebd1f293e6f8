"""What may be written of the kinds of signal and meter, and the starter catalogue that starter playbooks name."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from csplaybooks.accounts.acts.record import timeline_entry, write_timeline
from csplaybooks.accounts.acts.rows import Table, change_row
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.signals.models import Meter, SignalType, Strength

SIGNAL_TYPE_TABLE = Table(model=SignalType, fields=("key", "name", "strength", "description"))


def _age_in_range(meter: Meter) -> None:
    if not 1 <= meter.max_age_days <= 3650:
        raise ValidationError({"max_age_days": "A meter's maximum age is one day to ten years."})
    kept = csplaybooks_settings.RETENTION_DAYS
    if kept and meter.max_age_days > kept:
        raise ValidationError({"max_age_days": f"Readings are kept for {kept} days (RETENTION_DAYS), and no longer."})


METER_TABLE = Table(
    model=Meter,
    fields=("key", "name", "unit", "strength", "max_age_days"),
    tells={"max_age_days": "meter_changed"},
    rule=_age_in_range,
)

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
    ("email_sent", "E-mail sent", Strength.WEAK),
    ("email_received", "E-mail received", Strength.WEAK),
    ("call_logged", "Call logged", Strength.WEAK),
    ("meeting_held", "Meeting held", Strength.WEAK),
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
    """Add the kinds that are missing; what is there already stays as it is. Answers how many were added.

    No meter is given a maximum age beyond `RETENTION_DAYS`, which a person could not give it either.
    """
    kept = csplaybooks_settings.RETENTION_DAYS
    with transaction.atomic():
        before = SignalType.objects.count() + Meter.objects.count()
        SignalType.objects.bulk_create(
            [SignalType(key=key, name=name, strength=strength, updated_at=now) for key, name, strength in SIGNAL_TYPES],
            ignore_conflicts=True,
        )
        Meter.objects.bulk_create(
            [
                Meter(
                    key=key, name=name, unit=unit, max_age_days=min(max_age_days, kept or max_age_days), updated_at=now
                )
                for key, name, unit, max_age_days in METERS
            ],
            ignore_conflicts=True,
        )
        added = SignalType.objects.count() + Meter.objects.count() - before
        if added:
            text = f"Starter catalogue loaded: {added} kinds of signal and meter"
            write_timeline([timeline_entry(account_id=None, at=now, now=now, kind="catalogue_loaded", text=text)])
    return added


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
    may be touched.

    Raises Meter.DoesNotExist, Conflict when the row's version is not `expected_version` (None: whatever it is),
    ValidationError for a value that does not fit.
    """
    given = {"name": name, "unit": unit, "strength": strength, "max_age_days": max_age_days}
    return change_row(
        table=METER_TABLE,
        row_id=meter_id,
        values={field: value for field, value in given.items() if value is not None},
        now=now,
        actor=actor,
        expected_version=expected_version,
    )
