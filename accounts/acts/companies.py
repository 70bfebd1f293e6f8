"""Acts on customer companies: new ones, what is true of them, who looks after them, what others call them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q

from csplaybooks.accounts import hooks
from csplaybooks.accounts.acts.checks import cleaned, found_by_id, require_not_later
from csplaybooks.accounts.acts.dated import PeriodResult, PeriodWrite, Verdict, set_periods
from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.acts.record import (
    record_changes,
    require_aware,
    timeline_entry,
    when_from,
    write_timeline,
)
from csplaybooks.accounts.models import Account, AccountFacts, AccountIdentity, AccountTeam, TeamMember
from csplaybooks.accounts.models.company import CREATED

#: The dates of an account lie between these days, both included.
EARLIEST, LATEST = date(1900, 1, 1), date(2199, 12, 31)


@dataclass(frozen=True, kw_only=True)
class NewAccount:
    """A customer company to be created.

    `identities` are pairs of source and external id; `facts` some of `AccountFacts.FACTS`, which hold from
    `valid_from` on (None: from now).
    """

    name: str
    identities: Sequence[tuple[str, str]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    valid_from: datetime | None = None
    parent_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class NewIdentity:
    """An id by which another system knows an account."""

    account_id: int
    source: str
    external_id: str


@transaction.atomic
def create_accounts(*, items: Sequence[NewAccount], now: datetime, actor: Any) -> list[Account]:
    """Create accounts with their identities and first facts; answers in the order of `items`.

    Raises ValueError for an unknown fact, ValidationError for a value that does not fit, an unknown parent or
    an identity that is taken (by another account or inside `items`).
    """
    require_aware(now=now)
    if not items:
        return []
    facts = [_clean_facts(item.facts) for item in items]
    for item in items:
        cleaned(Account, {"name": item.name})
    found_by_id(Account.objects.all(), (item.parent_id for item in items), field="parent")
    accounts = Account.objects.bulk_create(
        Account(name=item.name, parent_id=item.parent_id, created_at=now, updated_at=now) for item in items
    )
    pairs = list(zip(items, accounts, strict=True))
    _write_identities(
        NewIdentity(account_id=account.pk, source=source, external_id=external_id)
        for item, account in pairs
        for source, external_id in item.identities
    )
    changes = record_changes(kind=CREATED, account_ids=[account.pk for account in accounts], now=now)
    set_periods(
        model=AccountFacts,
        writes=[
            PeriodWrite(
                key={"account_id": account.pk},
                values=values,
                effective_at=item.valid_from or now,
                account_id=account.pk,
            )
            for (item, account), values in zip(pairs, facts, strict=True)
        ],
        kind=CREATED,
        now=now,
        changes=changes,
    )
    write_timeline(
        timeline_entry(
            account_id=account.pk,
            at=now,
            now=now,
            kind=CREATED,
            text="Account created",
            subject=account,
            actor=actor,
        )
        for account in accounts
    )
    return accounts


@transaction.atomic
def rename_account(
    *, account_id: int, name: str, now: datetime, actor: Any, expected_version: int | None = None
) -> Account:
    """Give an account another name; answers it as it stands. No trigger asks about names, so there is no change.

    The same name writes nothing. Raises Account.DoesNotExist, Conflict when the account's version is not
    `expected_version` (None: whatever it is), ValidationError for a name that does not fit.
    """
    require_aware(now=now)
    name = cleaned(Account, {"name": name})["name"]
    account: Account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    if expected_version is not None and account.version != expected_version:
        raise Conflict(account, expected=expected_version)
    if account.name == name:
        return account
    before, read_version = account.name, account.version
    account.name, account.version, account.updated_at = name, read_version + 1, now
    # Where the database has no row locks, the version decides who was first.
    unchanged = Account.objects.filter(pk=account_id, version=read_version)
    if not unchanged.update(name=name, version=account.version, updated_at=now):
        raise Conflict(account, expected=read_version)
    write_timeline(
        [
            timeline_entry(
                account_id=account.pk,
                at=now,
                now=now,
                kind="account_renamed",
                text=f"Renamed: {name} (was {before})",
                subject=account,
                actor=actor,
            )
        ]
    )
    return account


@transaction.atomic
def set_facts(
    *,
    account_ids: Iterable[int],
    facts: Mapping[str, Any],
    effective_at: datetime,
    now: datetime,
    actor: Any,
) -> dict[int, Verdict]:
    """Say what is true of these accounts from `effective_at` on; facts not named are carried on.

    Late news holds until the moment from which the same fact was known to be another; see `set_periods`.
    Answers by account. Raises ValueError for a name that is no fact, ValidationError for a value that does
    not fit or an unknown account.
    """
    values = _clean_facts(facts)
    ids = list(dict.fromkeys(account_ids))
    results = set_periods(
        model=AccountFacts,
        writes=[
            PeriodWrite(key={"account_id": pk}, values=values, effective_at=effective_at, account_id=pk) for pk in ids
        ],
        kind="facts",
        now=now,
        by_field=True,
    )
    told = {pk: result for pk, result in zip(ids, results, strict=True) if result.verdict != Verdict.UNCHANGED}
    _touch_accounts(told, now)
    if moved := frozenset(pk for pk, result in told.items() if _region(result.before) != _region(result.after)):
        hooks.regions_moved.send(sender=AccountFacts, accounts=moved)
    write_timeline(
        timeline_entry(
            account_id=pk,
            at=min(effective_at, now),
            now=now,
            kind="facts_changed",
            text=_facts_text(result, values) + when_from(effective_at, now),
            actor=actor,
        )
        for pk, result in told.items()
    )
    return {pk: result.verdict for pk, result in zip(ids, results, strict=True)}


@transaction.atomic
def set_team_role(
    *,
    account_ids: Iterable[int],
    role: str,
    member_id: int | None,
    effective_at: datetime,
    now: datetime,
    actor: Any,
) -> dict[int, Verdict]:
    """Give a role at these accounts to a team member, or to nobody (None), from `effective_at` on.

    Answers by account. Raises ValidationError for an unknown role or account, a member that is unknown or not
    active, or a moment in the future: routing and visibility ask who it is now.
    """
    require_not_later(now, effective_at=effective_at)
    cleaned(AccountTeam, {"role": role})
    found_by_id(TeamMember.objects.active(), [member_id], field="member")
    ids = list(dict.fromkeys(account_ids))
    results = set_periods(
        model=AccountTeam,
        writes=[
            PeriodWrite(
                key={"account_id": pk, "role": role},
                values=None if member_id is None else {"member_id": member_id},
                effective_at=effective_at,
                account_id=pk,
            )
            for pk in ids
        ],
        kind="team",
        now=now,
    )
    told = {pk: result for pk, result in zip(ids, results, strict=True) if result.verdict != Verdict.UNCHANGED}
    _touch_accounts(told, now)
    names = found_by_id(
        TeamMember.objects.all(),
        (values["member_id"] for result in told.values() for values in (result.before, result.after) if values),
        field="member",
    )

    def named(values: Mapping[str, Any] | None) -> str:
        return "nobody" if values is None else str(names[values["member_id"]])

    write_timeline(
        timeline_entry(
            account_id=pk,
            at=effective_at,
            now=now,
            kind="team_changed",
            text=f"{AccountTeam.Role(role).label}: {named(result.after)} (was {named(result.before)})",
            subject=None if result.after is None else names[result.after["member_id"]],
            actor=actor,
        )
        for pk, result in told.items()
    )
    return {pk: result.verdict for pk, result in zip(ids, results, strict=True)}


@transaction.atomic
def add_identities(*, items: Sequence[NewIdentity], now: datetime, actor: Any) -> list[AccountIdentity]:
    """Let accounts be known by further ids; answers in the order of `items`.

    An id that the account has already is answered as it stands. No trigger asks about ids, so there is no
    change. Raises ValidationError for an id that another account has, or an unknown account.
    """
    require_aware(now=now)
    found_by_id(Account.objects.all(), (item.account_id for item in items), field="account")
    rows, fresh = _write_identities(items)
    _touch_accounts({row.account_id for row in fresh}, now)
    write_timeline(
        timeline_entry(
            account_id=row.account_id,
            at=now,
            now=now,
            kind="identity_added",
            text=f"Known as {row.external_id} in {row.source}",
            subject=row,
            actor=actor,
        )
        for row in fresh
    )
    return rows


def _write_identities(items: Iterable[NewIdentity]) -> tuple[list[AccountIdentity], list[AccountIdentity]]:
    """All rows in the order of `items`, and those of them that are new."""
    wanted = list(items)
    if not wanted:
        return [], []
    held: dict[tuple[str, str], AccountIdentity] = {
        (row.source, row.external_id): row
        for row in AccountIdentity.objects.filter(
            Q(external_id__in={item.external_id for item in wanted}),
            source__in={item.source for item in wanted},
        )
    }
    fresh: list[AccountIdentity] = []
    for item in wanted:
        pair = (item.source, item.external_id)
        if pair not in held:
            values = cleaned(AccountIdentity, {"source": item.source, "external_id": item.external_id})
            held[pair] = AccountIdentity(account_id=item.account_id, **values)
            fresh.append(held[pair])
        elif held[pair].account_id != item.account_id:
            raise ValidationError(
                {"identities": f"Another account is already known as {item.external_id} in {item.source}."}
            )
    AccountIdentity.objects.bulk_create(fresh)
    return [held[item.source, item.external_id] for item in wanted], fresh


def _clean_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := [name for name in facts if name not in AccountFacts.FACTS]:
        raise ValueError(f"No such fact: {', '.join(unknown)}; there are {', '.join(AccountFacts.FACTS)}.")
    values = cleaned(AccountFacts, facts)
    tags = values.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValidationError({"tags": "Tags are a list of words."})
    for name, value in values.items():
        if isinstance(value, date) and not EARLIEST <= value <= LATEST:
            # One day far out would stop whoever counts on from it.
            raise ValidationError(
                {name: f"{value} is not between {EARLIEST} and {LATEST}: leave it empty where it is unknown."}
            )
    return values


def _touch_accounts(account_ids: Iterable[int], now: datetime) -> None:
    """What readers see of these accounts has changed."""
    if ids := list(account_ids):
        Account.objects.filter(pk__in=ids).update(version=F("version") + 1, updated_at=now)


def _region(facts: Mapping[str, Any] | None) -> str:
    return facts["region"] if facts else ""


def _facts_text(result: PeriodResult, named: Mapping[str, Any]) -> str:
    """What changed, such as `Segment: Enterprise (was Mid-market); region: emea (was unknown)`."""
    before = result.before or {}
    after = result.after or {}
    parts = []
    for name in AccountFacts.FACTS:
        if name in named and (not before or before[name] != after[name]):
            fact: Any = AccountFacts._meta.get_field(name)
            was = f" (was {_fact_words(name, before[name])})" if before else ""
            parts.append(f"{fact.verbose_name}: {_fact_words(name, after[name])}{was}")
    text = "; ".join(parts) or "facts known"
    return text[0].upper() + text[1:]


def _fact_words(name: str, value: Any) -> str:
    """A fact as people say it."""
    if value in (None, "", []):
        return "none" if name == "tags" else "unknown"
    if isinstance(value, list):
        return ", ".join(value)
    fact: Any = AccountFacts._meta.get_field(name)
    return str(dict(fact.flatchoices).get(value, value))
