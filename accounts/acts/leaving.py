"""What becomes of the accounts, reports and absences of somebody who leaves the team."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F

from csplaybooks.accounts import hooks
from csplaybooks.accounts.acts.companies import set_team_role
from csplaybooks.accounts.acts.members import change_member
from csplaybooks.accounts.acts.record import require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.models import Absence, AccountTeam, TeamMember
from csplaybooks.accounts.standing_in import company_day

#: The role in the team that somebody needs to take over a part at an account.
_NEEDS = {AccountTeam.Role.CSM: "is_customer_success_manager", AccountTeam.Role.AE: "is_account_executive"}


@dataclass(frozen=True)
class Team:
    """What hangs on a member in the team, in numbers.

    `accounts_over` go to somebody else, `accounts_open` have nobody in that part from now on, until somebody is named;
    an account counts once for each part (CSM, AE). `reports` are led by the member's own manager from now on (by nobody
    where there is none), and `stand_ins` absences, from today on, have nobody who stands in.
    """

    accounts_over: int
    accounts_open: int
    reports: int
    stand_ins: int


def parts_of(member: TeamMember, now: datetime, to: TeamMember | None = None) -> Team:
    """What would become of what hangs on a member, if they left and `to` took over; three queries."""
    over = open_ = 0
    for role in AccountTeam.objects.current().filter(member=member).order_by().values_list("role", flat=True):
        if to is not None and getattr(to, _NEEDS[AccountTeam.Role(role)]):
            over += 1
        else:
            open_ += 1
    return Team(over, open_, TeamMember.objects.filter(manager=member).count(), _stood_in(member, now).count())


@transaction.atomic
def leave_the_team(*, member_id: int, now: datetime, actor: Any, to_id: int | None = None) -> Team:
    """Take a member out of the team: their accounts, reports and absences go on without them, and they stop working.

    `to_id` takes over the parts at accounts for which they have the role; the others end, and the account waits for
    somebody to be named. What waits for the member in the rooms above must have gone to others before, as with
    `change_member`, which this ends with; so must `actor` be somebody who may change them. Raises the model's
    DoesNotExist for a member that is not there.
    """
    require_aware(now=now)
    member = TeamMember.objects.select_for_update(no_key=True).get(pk=member_id)
    to = TeamMember.objects.active().get(pk=to_id) if to_id is not None else None
    team = parts_of(member, now, to)
    accounts: dict[str, list[int]] = defaultdict(list)
    rows = AccountTeam.objects.current().filter(member=member).order_by("account")
    for account_id, role in rows.values_list("account", "role"):
        accounts[role].append(account_id)
    for role, ids in accounts.items():
        heir = to.pk if to is not None and getattr(to, _NEEDS[AccountTeam.Role(role)]) else None
        set_team_role(account_ids=ids, role=role, member_id=heir, effective_at=now, now=now, actor=actor)
    _hand_reports(member, now, actor)
    stood_in = list(_stood_in(member, now).select_related("member"))
    _stood_in(member, now).update(stand_in=None, version=F("version") + 1, updated_at=now)
    write_timeline(
        timeline_entry(
            account_id=None,
            at=now,
            now=now,
            kind="absence_changed",
            text=f"Absence {absence}: stand in: none (was {member}), who has left the team",
            subject=absence,
            actor=actor,
        )
        for absence in stood_in
    )
    change_member(member_id=member_id, values={"is_active": False}, now=now, actor=actor)
    return team


def _stood_in(member: TeamMember, now: datetime) -> Any:
    """The absences, from today on, in which a member stands in."""
    return Absence.objects.filter(stand_in=member, last_day__gte=company_day(now)).order_by("pk")


def _hand_reports(member: TeamMember, now: datetime, actor: Any) -> None:
    """Let those whom a member leads be led by the member's own manager; a constant number of queries."""
    reports = list(TeamMember.objects.filter(manager=member).order_by("pk"))
    if not reports:
        return
    TeamMember.objects.filter(manager=member).update(
        manager=member.manager_id, version=F("version") + 1, updated_at=now
    )
    write_timeline(
        timeline_entry(
            account_id=None,
            at=now,
            now=now,
            kind="teammember_changed",
            text=f"Team member {report}: manager: {member.manager or 'none'} (was {member}), who has left the team",
            subject=report,
            actor=actor,
        )
        for report in reports
    )
    hooks.hours_moved.send(
        sender=TeamMember, members=TeamMember.objects.below([report.pk for report in reports]), now=now
    )
