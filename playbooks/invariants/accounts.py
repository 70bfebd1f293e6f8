"""Invariants of accounts: dated truth, what they hold, the ledger, the timeline."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.models import DateTimeField, Exists, F, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from csplaybooks.accounts.acts.dated import layout_of
from csplaybooks.accounts.models import (
    Account,
    AccountFacts,
    AccountTeam,
    Entitlement,
    Finding,
    FindingState,
    Movement,
    PlanLimit,
    TimelineEntry,
)
from csplaybooks.playbooks.invariants.registry import Invariant, by_query
from csplaybooks.playbooks.models import Play

#: Later than anything: where a period without end ends.
NEVER = Value(datetime(9999, 1, 1, tzinfo=UTC), output_field=DateTimeField())


def _overlapping(model: Any) -> QuerySet[Any]:
    """Periods of one subject that hold at the same time, as far as we have been told."""
    key = {name: OuterRef(name) for name in layout_of(model).key}
    standing = model.objects.filter(superseded_by__isnull=True)
    other = standing.filter(
        Q(valid_to__isnull=True) | Q(valid_to__gt=OuterRef("valid_from")),
        valid_from__lt=Coalesce(OuterRef("valid_to"), NEVER),
        **key,
    )
    rows: QuerySet[Any] = standing.filter(Exists(other.exclude(pk=OuterRef("pk"))))
    return rows


def _periods(name: str, noun: str, model: Any) -> Invariant:
    return by_query(f"{name}_do_not_overlap", f"One period of {noun} holds at a time.", lambda: _overlapping(model))


def _findings_without_status() -> QuerySet[Any]:
    rows: QuerySet[Any] = Finding.objects.exclude(Exists(FindingState.objects.current().filter(finding=OuterRef("pk"))))
    return rows


def _plans_of_other_products() -> QuerySet[Any]:
    rows: QuerySet[Any] = Entitlement.objects.filter(plan__isnull=False, superseded_by__isnull=True)
    return rows.exclude(plan__product=F("product"))


def _reversals_that_are_not() -> QuerySet[Any]:
    """Reversing lines that are not the exact opposite of a line of the same account."""
    rows: QuerySet[Any] = Movement.objects.filter(reverses__isnull=False)
    return rows.exclude(reverses__amount_minor=-F("amount_minor"), reverses__account=F("account"))


def _ledger_unlike_held() -> QuerySet[Any]:
    """Accounts with a ledger whose lines do not add up to the MRR of what they hold; the future of both included."""
    lines = Movement.objects.filter(account=OuterRef("pk")).order_by().values("account")
    held = Entitlement.objects.current().filter(account=OuterRef("pk")).order_by().values("account")
    return Account.objects.annotate(
        ledger_minor=Subquery(lines.annotate(total=Sum("amount_minor")).values("total")),
        held_minor=Coalesce(Subquery(held.annotate(total=Sum("mrr_minor")).values("total")), 0),
    ).filter(~Q(ledger_minor=F("held_minor")), ledger_minor__isnull=False)


def _stories_of_other_plays() -> QuerySet[Any]:
    """Lines about a play that is not there, or is one of another account."""
    told = Play.objects.filter(pk=OuterRef("subject_id"), account=OuterRef("account"))
    rows: QuerySet[Any] = TimelineEntry.objects.filter(subject_type=Play._meta.label_lower)
    return rows.exclude(Exists(told))


INVARIANTS = (
    _periods("facts", "an account's facts", AccountFacts),
    _periods("team_roles", "a role at an account", AccountTeam),
    _periods("entitlements", "a subscription line", Entitlement),
    _periods("plan_limits", "a limit of a plan", PlanLimit),
    _periods("finding_states", "a finding's status", FindingState),
    by_query("findings_have_status", "A finding has a status that holds.", _findings_without_status),
    by_query("plans_of_held_products", "What is held is a plan of its product.", _plans_of_other_products),
    by_query(
        "reversals_are_opposite",
        "A line that takes another back is its exact opposite, at the same account.",
        _reversals_that_are_not,
    ),
    by_query(
        "ledger_equals_held",
        "Where an account has a ledger, its lines add up to the MRR of what the account holds.",
        _ledger_unlike_held,
    ),
    by_query(
        "timeline_tells_of_its_plays",
        "A line of an account about a play is about one of the account's plays.",
        _stories_of_other_plays,
    ),
)
