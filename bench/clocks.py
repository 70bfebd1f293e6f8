"""The watch of clocks: 100,000 open ones of which 5,000 are due, all of them recomputed, and a look that finds nothing.

Plays, clocks and the people who work them are its own: it needs nothing of what was seeded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter
from typing import Any

from django.db import connection

from bench.report import Entry
from csplaybooks.accounts.models import Account, TeamMember, TimelineEntry
from csplaybooks.playbooks.acts.calendars import WeekHours, change_calendar, make_calendar
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.clockwork import Promise, calendars_of, new_clocks, schedule, set_times, working_calendar
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import Calendar, Clock, ClockEvent, Interval, Play, PlaybookVersion, Stage
from csplaybooks.playbooks.pipeline.sweep import watch_all
from csplaybooks.playbooks.targets import targets_for

SECTION = "The watch of clocks"
PLAYS = 50_000
#: So many plays break a promise at each of the moments that are measured.
DUE = 5_000
LOOKS = 3
IDLE_LOOKS = 30
PEOPLE = 50

#: A Wednesday, in working hours; each look comes half an hour after the one before.
MOMENT = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
EVERY = timedelta(minutes=30)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)

DRAFT = """\
key: bench_clocks
name: Clocks
motion: service
triggers: [{key: gap, any: [{all: [{measure: open_gap}]}]}]
routes: [{route: csm}]
targets:
  - {target: first_touch, hours: 8}
  - {target: closed, hours: 400}
"""


def measure_clocks() -> list[Entry]:
    """Watch, on clocks that are made for it."""
    made = _clocks()
    entries = []
    looks = []
    for number in range(LOOKS):
        now = MOMENT + number * EVERY
        began = perf_counter()
        seen = watch_all(now=now)
        looks.append(perf_counter() - began)
        _check(seen, now)
    entries.append(
        Entry(SECTION, f"{DUE:,} of {made:,} are due: broken, escalated, told and written", median(looks), "s")
    )
    now = MOMENT + LOOKS * EVERY - timedelta(minutes=1)
    idle = [_seconds(lambda: watch_all(now=now)) for _ in range(IDLE_LOOKS)]
    entries.append(Entry(SECTION, "A look that finds nothing due", median(idle), "s", note=f"slowest {_ms(max(idle))}"))
    entries.append(_edited(made, now))
    if wrong := [violation for violation in violations() if violation.count and "clock" in violation.invariant]:
        raise SystemExit(f"The clocks that were measured are wrong: {wrong}")
    return entries


def _edited(made: int, now: datetime) -> Entry:
    """The office closes half an hour later: every clock is computed anew."""
    calendar = Calendar.objects.get(is_default=True)
    week = [WeekHours(block.weekday, block.start_minute, block.end_minute + 30) for block in calendar.blocks.all()]
    change_calendar(calendar_id=calendar.pk, values={}, week=week, now=now, actor=None)
    began = perf_counter()
    seen = watch_all(now=now)
    took = perf_counter() - began
    if seen != made:
        raise SystemExit(f"Of {made:,} clocks {seen:,} were recomputed.")
    return Entry(SECTION, "Its calendar is edited: all of them recomputed", took, "s")


def _check(seen: int, now: datetime) -> None:
    """All that was due was written, once."""
    events = ClockEvent.objects.filter(noticed_at=now)
    written = [events.filter(kind=kind, due_at=now).count() for kind in ("breached", "escalated")]
    lines = TimelineEntry.objects.filter(recorded_at=now, kind="clock_escalated").count()
    if (seen, written, lines) != (DUE, [DUE, DUE], DUE):
        raise SystemExit(f"{DUE:,} were due; seen: {seen:,}, written: {written}, on the timeline: {lines:,}.")


def _seconds(act: Callable[[], Any]) -> float:
    began = perf_counter()
    act()
    return perf_counter() - began


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _clocks() -> int:
    """Write plays with their clocks, as they stand a moment before the first look; answers how many clocks."""
    _office()
    version = _playbook()
    people = _people()
    accounts = Account.objects.bulk_create(
        [
            Account(name=f"Clocked {number}", created_at=MOMENT - WEEK, updated_at=MOMENT - WEEK)
            for number in range(PLAYS)
        ],
        batch_size=5000,
    )
    plays = [
        Play(
            account=account,
            playbook=version.playbook,
            recipe=version,
            motion=version.playbook.motion,
            route="csm",
            stage=Stage.OWNED,
            owner=people[number % PEOPLE],
            holder=people[number % PEOPLE],
            opened_at=_opened(number),
            clocks_started_at=_opened(number),
            updated_at=_opened(number),
        )
        for number, account in enumerate(accounts)
    ]
    Play.objects.bulk_create(plays, batch_size=5000)
    Interval.objects.bulk_create(
        [
            Interval(
                play=play,
                seq=0,
                owner_id=play.owner_id,
                holder_id=play.holder_id,
                held_by=Interval.HeldBy.MEMBER,
                stage=play.stage,
                state=play.state,
                valid_from=play.opened_at,
            )
            for play in plays
        ],
        batch_size=5000,
    )
    made = _running(plays, version)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return made


def _opened(number: int) -> datetime:
    """When a play was opened: a working day before the look at which it is late, or this morning."""
    look = number // DUE
    # Of those of this morning half of what is promised is not used up when the last look comes.
    return MOMENT - DAY + look * EVERY if look < LOOKS else MOMENT - timedelta(hours=2, minutes=30)


def _running(plays: Sequence[Play], version: PlaybookVersion) -> int:
    """Write the clocks of plays, and the warnings that are due on them before the first look; answers how many."""
    targets = targets_for(version.document, "csm", "")
    clocks = new_clocks(Promise(play, target, play.opened_at) for play in plays for target in targets)
    calendars = calendars_of(clocks)
    warnings = []
    for clock in clocks:
        calendar = working_calendar(clock, calendars)
        earlier = [event for event in schedule(clock, calendar, []) if event.at < MOMENT]
        warnings += [
            ClockEvent(clock=clock, kind=event.kind, level=event.level, due_at=event.at, noticed_at=event.at)
            for event in earlier
        ]
        set_times(clock, calendar, [], [(event.kind, event.level) for event in earlier], MOMENT)
    Clock.objects.bulk_create(clocks, batch_size=5000)
    ClockEvent.objects.bulk_create(warnings, batch_size=5000)
    return len(clocks)


def _office() -> None:
    """The default calendar: Monday to Friday, nine to five."""
    make_calendar(
        values={"key": "bench", "name": "Bench", "zone": "UTC", "is_default": True},
        week=[WeekHours(weekday, 9 * 60, 17 * 60) for weekday in range(5)],
        now=MOMENT - WEEK,
        actor=None,
    )


def _playbook() -> PlaybookVersion:
    draft = save_draft(text=DRAFT, now=MOMENT - WEEK)
    return publish_playbook(playbook_id=draft.pk, now=MOMENT - WEEK).version


def _people() -> list[TeamMember]:
    """Who works the plays, each below a manager."""
    values = {"updated_at": MOMENT - WEEK, "takes_pool_work": False}
    managers = TeamMember.objects.bulk_create(
        [TeamMember(name=f"Clock manager {number}", is_manager=True, **values) for number in range(PEOPLE // 10)]
    )
    return TeamMember.objects.bulk_create(
        [
            TeamMember(
                name=f"Clock watcher {number}",
                email=f"watcher-{number}@example.com",
                is_customer_success_manager=True,
                manager=managers[number % len(managers)],
                **values,
            )
            for number in range(PEOPLE)
        ]
    )
