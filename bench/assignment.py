"""Assignment: 5,000 plays over 50 people under their caps, and as many for sales, half of them offered on at once.

Half of the accounts have a CSM of their own, the others go to the least loaded of a pool. Plays, accounts and the
people who work them are its own: it needs nothing of what was seeded.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import perf_counter

from django.db.models import Count, F

from bench.report import Entry
from csplaybooks.accounts.acts.companies import set_team_role
from csplaybooks.accounts.models import Account, TeamMember
from csplaybooks.playbooks.acts.calendars import WeekHours, make_calendar
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.intervals import open_first_intervals
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import Calendar, Handoff, Play, PlaybookVersion
from csplaybooks.playbooks.pipeline.owners import assign_owners, unowned

SECTION = "Assignment of plays to owners"
PLAYS = 5_000
PEOPLE = 50
#: With this cap there is room for them all, and not much more.
CAP = 110

#: A Wednesday, in working hours.
MOMENT = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
WEEK = timedelta(days=7)

DRAFT = """\
key: bench_{route}
name: Assigned by {route}
motion: {motion}
triggers: [{{key: gap, any: [{{all: [{{measure: open_gap}}]}}]}}]
routes: [{{route: {route}}}]
targets: [{{target: first_touch, hours: 8}}]
"""


def measure_assignment() -> list[Entry]:
    """Assign plays that are made for it: conversations, then plays for sales with their offers."""
    # Whoever else is there takes no pool work meanwhile.
    TeamMember.objects.update(takes_pool_work=False)
    people, sellers = _people("CSM", "is_customer_success_manager"), _people("AE", "is_account_executive")
    if not Calendar.objects.filter(is_default=True).exists():
        week = [WeekHours(day, 9 * 60, 17 * 60) for day in range(5)]
        make_calendar(
            values={"key": "bench_office", "name": "Office", "zone": "UTC", "is_default": True},
            week=week,
            now=MOMENT - WEEK,
            actor=None,
        )
    accounts = _accounts(people)
    entries = [_measured(f"{PLAYS:,} plays over {PEOPLE} people", accounts, "csm", "service")]
    TeamMember.objects.filter(pk__in=[member.pk for member in people]).update(open_play_cap=2 * CAP)
    what = f"{PLAYS:,} plays for sales: half over the CSMs and offered at once, half over {PEOPLE} AEs"
    entries.append(_measured(what, accounts, "sales", "cross_sell"))
    if Handoff.objects.filter(offered_to__in=sellers).count() != PLAYS // 2:
        raise SystemExit("Not every play for sales at an account with a CSM was offered.")
    over = TeamMember.objects.annotate(carried=Count("plays")).filter(carried__gt=F("open_play_cap"))
    if over.exists() or unowned().exists() or Play.objects.filter(tray_at__isnull=False).exists():
        raise SystemExit("A cap was overshot, or a play was not assigned.")
    if wrong := [violation for violation in violations() if violation.count and "interval" in violation.invariant]:
        raise SystemExit(f"The plays that were assigned are wrong: {wrong}")
    return entries


def _measured(what: str, accounts: list[Account], route: str, motion: str) -> Entry:
    _plays(accounts, _version(route, motion), route)
    began = perf_counter()
    taken = 0
    while batch := assign_owners(now=MOMENT):
        taken += batch
    took = perf_counter() - began
    if taken != PLAYS:
        raise SystemExit(f"Of {PLAYS:,} plays {taken:,} were assigned.")
    return Entry(SECTION, what, took, "s", note=f"{PLAYS / took:,.0f} plays a second")


def _people(name: str, role: str) -> list[TeamMember]:
    rows = [
        TeamMember(
            name=f"Bench {name} {number}",
            **{"is_customer_success_manager": False, role: True},
            open_play_cap=CAP,
            updated_at=MOMENT - WEEK,
        )
        for number in range(PEOPLE)
    ]
    return TeamMember.objects.bulk_create(rows)


def _accounts(people: list[TeamMember]) -> list[Account]:
    accounts = Account.objects.bulk_create(
        [
            Account(name=f"Assigned {number}", created_at=MOMENT - WEEK, updated_at=MOMENT - WEEK)
            for number in range(PLAYS)
        ],
        batch_size=1000,
    )
    for number, member in enumerate(people):
        ids = [account.pk for account in accounts[: PLAYS // 2][number::PEOPLE]]
        since = MOMENT - WEEK
        set_team_role(account_ids=ids, role="csm", member_id=member.pk, effective_at=since, now=since, actor=None)
    return accounts


def _version(route: str, motion: str) -> PlaybookVersion:
    playbook = save_draft(text=DRAFT.format(route=route, motion=motion), now=MOMENT - WEEK)
    version = publish_playbook(playbook_id=playbook.pk, now=MOMENT - WEEK).version
    if version is None:
        raise SystemExit("The playbook of the benchmark cannot be published.")
    return version


def _plays(accounts: list[Account], version: PlaybookVersion, route: str) -> None:
    plays = Play.objects.bulk_create(
        [
            Play(
                account=account,
                playbook_id=version.playbook_id,
                recipe=version,
                motion=version.playbook.motion,
                route=route,
                opened_at=MOMENT,
                updated_at=MOMENT,
            )
            for account in accounts
        ],
        batch_size=1000,
    )
    open_first_intervals(plays, MOMENT)
