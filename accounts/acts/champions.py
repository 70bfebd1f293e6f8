"""Acts on the people at accounts who matter to us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from csplaybooks.accounts.acts.checks import cleaned, found_by_id, require_not_later
from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.acts.record import record_changes, require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.models import Account, Champion, ChampionChange
from csplaybooks.conf import company_time_zone

#: Whoever comes in one of these roles is a new executive.
EXECUTIVE_ROLES = frozenset({Champion.Role.EXECUTIVE_SPONSOR, Champion.Role.ECONOMIC_BUYER})


@dataclass(frozen=True, kw_only=True)
class NewChampion:
    """A person at an account; `occurred_at` is when they came (None: now)."""

    account_id: int
    name: str
    email: str = ""
    title: str = ""
    role: str = Champion.Role.CHAMPION
    occurred_at: datetime | None = None


def add_champion(
    *,
    account_id: int,
    name: str,
    email: str = "",
    title: str = "",
    role: str = Champion.Role.CHAMPION,
    occurred_at: datetime | None = None,
    now: datetime,
    actor: Any,
) -> Champion:
    """Add one person; see `add_champions`."""
    item = NewChampion(account_id=account_id, name=name, email=email, title=title, role=role, occurred_at=occurred_at)
    return add_champions(items=[item], now=now, actor=actor)[0]


@transaction.atomic
def add_champions(*, items: Sequence[NewChampion], now: datetime, actor: Any) -> list[Champion]:
    """Add people who matter, each with the first line of their history; answers in the order of `items`.

    An economic buyer or executive sponsor counts as a new executive, anybody else as joined. Raises
    ValidationError for an unknown account or role, or a value that does not fit.
    """
    require_aware(now=now)
    for item in items:
        require_not_later(now, occurred_at=item.occurred_at or now)
    people = [
        cleaned(Champion, {"name": item.name, "email": item.email, "title": item.title, "role": item.role})
        for item in items
    ]
    accounts = found_by_id(Account.objects.all(), (item.account_id for item in items), field="account")
    champions = Champion.objects.bulk_create(
        Champion(account=accounts[item.account_id], updated_at=now, **values)
        for item, values in zip(items, people, strict=True)
    )
    changes = {
        change.account_id: change
        for change in record_changes(kind="champions", account_ids=[item.account_id for item in items], now=now)
    }
    kinds = [
        ChampionChange.Kind.NEW_EXECUTIVE if champion.role in EXECUTIVE_ROLES else ChampionChange.Kind.JOINED
        for champion in champions
    ]
    told = list(zip(items, champions, kinds, strict=True))
    ChampionChange.objects.bulk_create(
        ChampionChange(
            champion=champion,
            account_id=item.account_id,
            kind=kind,
            occurred_at=item.occurred_at or now,
            new_title=champion.title,
            new_role=champion.role,
            change=changes[item.account_id],
        )
        for item, champion, kind in told
    )
    write_timeline(
        timeline_entry(
            account_id=item.account_id,
            at=item.occurred_at or now,
            now=now,
            kind=f"champion_{kind}",
            text=_added_text(champion, kind),
            subject=champion,
            actor=actor,
        )
        for item, champion, kind in told
    )
    return champions


@transaction.atomic
def change_champion(
    *,
    champion_id: int,
    occurred_at: datetime,
    now: datetime,
    actor: Any,
    title: str | None = None,
    role: str | None = None,
    name: str | None = None,
    email: str | None = None,
    kind: str | None = None,
    expected_version: int | None = None,
) -> Champion:
    """Say what became of a champion at `occurred_at`; answers the champion as it stands.

    None leaves a value as it is. `kind` is a `ChampionChange.Kind`; None infers it: another role is role
    changed, only another title is promoted. `left` also notes the day, in the company time zone. Where
    nothing differs and no kind is given, nothing is written; where only the name or the e-mail address
    differs, the row is mended without a line of history, as no trigger asks about those.

    Raises Champion.DoesNotExist, Conflict when the row's version is not `expected_version` (None: whatever it
    is), ValidationError for a value that does not fit or a moment in the future.
    """
    require_not_later(now, occurred_at=occurred_at)
    given = {"title": title, "role": role, "name": name, "email": email}
    values = cleaned(Champion, {field: value for field, value in given.items() if value is not None})
    if kind is not None:
        kind = cleaned(ChampionChange, {"kind": kind})["kind"]
    champion: Champion = (
        Champion.objects.select_related("account").select_for_update(of=("self",), no_key=True).get(pk=champion_id)
    )
    if expected_version is not None and champion.version != expected_version:
        raise Conflict(champion, expected=expected_version)
    old_title, old_role = champion.title, champion.role
    differing = {field: value for field, value in values.items() if getattr(champion, field) != value}
    if kind is None:
        if "role" in differing:
            kind = ChampionChange.Kind.ROLE_CHANGED
        elif "title" in differing:
            kind = ChampionChange.Kind.PROMOTED
    if kind == ChampionChange.Kind.LEFT and champion.left_on is None:
        differing["left_on"] = occurred_at.astimezone(company_time_zone()).date()
    if not differing and kind is None:
        return champion
    read_version = champion.version
    for field, value in (differing | {"version": read_version + 1, "updated_at": now}).items():
        setattr(champion, field, value)
    # Where the database has no row locks, the version decides who was first.
    written = Champion.objects.filter(pk=champion_id, version=read_version).update(
        **differing, version=champion.version, updated_at=now
    )
    if not written:
        raise Conflict(champion, expected=read_version)
    if kind is not None:
        [change] = record_changes(kind="champions", account_ids=[champion.account_id], now=now)
        ChampionChange.objects.create(
            champion=champion,
            account_id=champion.account_id,
            kind=kind,
            occurred_at=occurred_at,
            old_title=old_title,
            new_title=champion.title,
            old_role=old_role,
            new_role=champion.role,
            change=change,
        )
    write_timeline(
        [
            timeline_entry(
                account_id=champion.account_id,
                at=occurred_at,
                now=now,
                kind="champion_mended" if kind is None else f"champion_{kind}",
                text=_changed_text(champion, kind, old_title=old_title, old_role=old_role),
                subject=champion,
                actor=actor,
            )
        ]
    )
    return champion


def _role_words(role: str) -> str:
    return str(Champion.Role(role).label).lower()


def _added_text(champion: Champion, kind: str) -> str:
    """Such as `New executive: Grace Hopper, CFO (economic buyer)`."""
    title = f", {champion.title}" if champion.title else ""
    said = "New executive" if kind == ChampionChange.Kind.NEW_EXECUTIVE else "Joined"
    return f"{said}: {champion.name}{title} ({_role_words(champion.role)})"


def _changed_text(champion: Champion, kind: str | None, *, old_title: str, old_role: str) -> str:
    """Such as `Ada Lovelace promoted: VP Analytics (was Director)`."""
    if kind is None:
        return f"Contact details of {champion.name} changed"
    parts = []
    if champion.title != old_title:
        parts.append(f"{champion.title or 'no title'} (was {old_title or 'unknown'})")
    if champion.role != old_role:
        parts.append(f"{_role_words(champion.role)} (was {_role_words(old_role)})")
    said = {
        ChampionChange.Kind.PROMOTED: f"{champion.name} promoted",
        ChampionChange.Kind.ROLE_CHANGED: f"{champion.name} changed role",
        ChampionChange.Kind.NEW_EXECUTIVE: f"New executive: {champion.name}",
        ChampionChange.Kind.JOINED: f"{champion.name} joined",
        ChampionChange.Kind.LEFT: f"{champion.name} left",
    }[ChampionChange.Kind(kind)]
    return f"{said}: {', '.join(parts)}" if parts else said
