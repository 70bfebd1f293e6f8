"""The acts of the room `accounts`: whoever changes its tables does it through one of these.

Each act is keyword-only, owns its transaction, and writes what it did to the timeline and what it changed to
the change log. `now` is the present moment, aware of its zone; `actor` is a user, an API token, or None for
the system.
"""

from __future__ import annotations

from csplaybooks.accounts.acts.champions import NewChampion, add_champion, add_champions, change_champion
from csplaybooks.accounts.acts.companies import (
    NewAccount,
    NewIdentity,
    add_identities,
    create_accounts,
    rename_account,
    set_facts,
    set_team_role,
)
from csplaybooks.accounts.acts.dated import PeriodResult, PeriodWrite, Verdict, set_periods
from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.acts.holdings import (
    NewEntitlement,
    NewPlanLimit,
    end_entitlements,
    set_entitlements,
    set_plan_limits,
)
from csplaybooks.accounts.acts.ledger import LineVerdict, NewMovement, record_movements
from csplaybooks.accounts.acts.members import (
    add_absence,
    add_member,
    change_absence,
    change_member,
    delete_absences,
    delete_members,
)
from csplaybooks.accounts.acts.record import record_changes, timeline_entry, write_timeline
from csplaybooks.accounts.acts.reviews import NewFinding, add_findings, log_qbr, mend_qbr, set_finding_status
from csplaybooks.accounts.acts.rows import Table, change_row, delete_rows, make_row
from csplaybooks.accounts.acts.tokens import make_token, revoke_tokens

__all__ = [
    "Conflict",
    "LineVerdict",
    "NewAccount",
    "NewChampion",
    "NewEntitlement",
    "NewFinding",
    "NewIdentity",
    "NewMovement",
    "NewPlanLimit",
    "PeriodResult",
    "PeriodWrite",
    "Table",
    "Verdict",
    "add_absence",
    "add_champion",
    "add_champions",
    "add_findings",
    "add_identities",
    "add_member",
    "change_absence",
    "change_champion",
    "change_member",
    "change_row",
    "create_accounts",
    "delete_absences",
    "delete_members",
    "delete_rows",
    "end_entitlements",
    "log_qbr",
    "make_row",
    "make_token",
    "mend_qbr",
    "record_changes",
    "record_movements",
    "rename_account",
    "revoke_tokens",
    "set_entitlements",
    "set_facts",
    "set_finding_status",
    "set_periods",
    "set_plan_limits",
    "set_team_role",
    "timeline_entry",
    "write_timeline",
]
