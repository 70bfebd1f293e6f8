"""The tables of the room `accounts`, one file for each kind of thing."""

from __future__ import annotations

from csplaybooks.accounts.models.access import ApiToken, IdempotencyKey
from csplaybooks.accounts.models.catalogue import Entitlement, Feature, Plan, PlanLimit, Product
from csplaybooks.accounts.models.company import (
    Account,
    AccountFacts,
    AccountIdentity,
    AccountTeam,
    Lifecycle,
    Segment,
)
from csplaybooks.accounts.models.ledger import Motion, Movement
from csplaybooks.accounts.models.people import Absence, TeamMember
from csplaybooks.accounts.models.record import Change, TimelineEntry
from csplaybooks.accounts.models.relationship import (
    Champion,
    ChampionChange,
    Finding,
    FindingState,
    Qbr,
)

__all__ = [
    "Absence",
    "Account",
    "AccountFacts",
    "AccountIdentity",
    "AccountTeam",
    "ApiToken",
    "Champion",
    "ChampionChange",
    "Change",
    "Entitlement",
    "Feature",
    "Finding",
    "FindingState",
    "IdempotencyKey",
    "Lifecycle",
    "Motion",
    "Movement",
    "Plan",
    "PlanLimit",
    "Product",
    "Qbr",
    "Segment",
    "TeamMember",
    "TimelineEntry",
]
