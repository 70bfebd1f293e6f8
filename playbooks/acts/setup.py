"""What every site needs before it can work: roles, a calendar, catalogue, weights, starter library, schedules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from csplaybooks.accounts.documents import DocumentError
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.acts.recipes import Loaded, load_library
from csplaybooks.playbooks.acts.roles import make_groups
from csplaybooks.playbooks.models import Calendar, CalendarBlock, Playbook
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.acts.readiness import load_starter_weights

#: Name of the schedule, the task it pokes, and every how many minutes.
SCHEDULES = (
    ("csplaybooks:sweep", "csplaybooks.playbooks.tasks.sweep", 1),
    ("csplaybooks:run_full", "csplaybooks.playbooks.tasks.run_full", 10),
)


@dataclass(frozen=True)
class SetUp:
    """What `set_up` made; all zero when everything was there.

    `drafts` are the starter playbooks that it did not publish, as (key, why): signals and readings are not kept for as
    long as they look back. `no_weights` says why it did not publish the starter weights of readiness.
    """

    groups: int
    grants: int
    calendars: int
    kinds: int
    playbooks: int
    schedules: int
    drafts: tuple[tuple[str, str], ...] = ()
    weights: int = 0
    no_weights: str = ""


def set_up(*, now: datetime, schedules: bool = True) -> SetUp:
    """Make what is missing; what is there stays as people left it. Safe to call again at any time.

    Raises `PermissionsMissing` where the tables have not been migrated to the end.
    """
    with transaction.atomic():
        groups, grants = make_groups()
        calendars = int(_default_calendar(now))
        kinds = load_starter_catalogue(now=now)
        weights, no_weights = _weights(now)
        library = Loaded([], []) if Playbook.objects.exists() else load_library(now=now)
        scheduled = _schedules(now) if schedules else 0
    return SetUp(
        groups, grants, calendars, kinds, len(library.published), scheduled, tuple(library.drafts), weights, no_weights
    )


def _default_calendar(now: datetime) -> bool:
    """Monday to Friday, 09:00 to 17:00 in the company time zone, where no calendar is the default yet."""
    if Calendar.objects.filter(is_default=True).exists():
        return False
    calendar = Calendar.objects.create(
        key="default", name="Working week", zone=csplaybooks_settings.TIME_ZONE, is_default=True, updated_at=now
    )
    CalendarBlock.objects.bulk_create(
        [
            CalendarBlock(calendar=calendar, weekday=weekday, start_minute=9 * 60, end_minute=17 * 60)
            for weekday in range(5)
        ]
    )
    return True


def _weights(now: datetime) -> tuple[int, str]:
    """Publish the starter weights where there are none: how many versions, and why none where they cannot be."""
    try:
        return int(load_starter_weights(now=now) is not None), ""
    except DocumentError as error:
        # Each of them says the same: signals are kept for too short a time.
        path, why = error.errors[0]
        return 0, f"{path}: {why}; {len(error.errors)} in all"


def _schedules(now: datetime) -> int:
    # Without arguments and of the type minutes only: one unreadable schedule stops all of them.
    from django_q.models import Schedule

    made = 0
    for name, function, minutes in SCHEDULES:
        _, created = Schedule.objects.update_or_create(
            name=name,
            defaults={
                "func": function,
                "schedule_type": Schedule.MINUTES,
                "minutes": minutes,
                "repeats": -1,
                "args": None,
                "kwargs": None,
                "hook": None,
            },
            create_defaults={
                "func": function,
                "schedule_type": Schedule.MINUTES,
                "minutes": minutes,
                "repeats": -1,
                "next_run": now,
            },
        )
        made += created
    return made
