"""What every act writes beside its rows: the change that tells the evaluator, the timeline people read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import models

from csplaybooks.accounts import hooks
from csplaybooks.accounts.models import ApiToken, Change, TimelineEntry
from csplaybooks.conf import company_time_zone

#: Who acted, when nobody did.
SYSTEM = "system"


def require_aware(**moments: datetime | None) -> None:
    """Raise ValueError for a moment without a time zone: it names no instant."""
    for name, moment in moments.items():
        if moment is not None and moment.utcoffset() is None:
            raise ValueError(f"{name} needs a time zone: {moment!r}")


def actor_label(actor: Any) -> str:
    """Who did it, in words: a user's name, a token's name, `system` for None."""
    if actor is None:
        return SYSTEM
    if isinstance(actor, ApiToken):
        return f"token {actor.name}"[:200]
    # Django asks no user model of a site's own for a full name.
    full_name = getattr(actor, "get_full_name", str)
    return str(full_name() or actor.get_username())[:200]


def acting_user(actor: Any) -> Any:
    """The user to point at, or None where nobody or a token acted."""
    return None if actor is None or isinstance(actor, ApiToken) else actor


def record_changes(
    *,
    kind: str,
    account_ids: Iterable[int | None],
    now: datetime,
    effective: Mapping[int | None, Iterable[datetime]] | None = None,
) -> list[Change]:
    """Write one change for each different account (None: every account may be touched), in the order given.

    `effective` gives the moments at which news about an account takes effect: the evaluator looks at it again when
    those that lie ahead of `now` have come. Each such moment but the first is announced by a change of its own, which
    is not among the answers.

    Tells the evaluator once, by `hooks.inputs_arrived`. Call it inside the transaction that writes the
    inputs, so that a run never sees the one without the other. No accounts: nothing is written and nobody is
    told.
    """
    require_aware(now=now)
    changes, later = [], []
    for account_id in dict.fromkeys(account_ids):
        ahead = _ahead((effective or {}).get(account_id, ()), now)
        changes.append(_change(kind, account_id, now, ahead[0] if ahead else None))
        later += [_change(kind, account_id, now, moment) for moment in ahead[1:]]
    written = Change.objects.bulk_create([*changes, *later])[: len(changes)]
    if written:
        hooks.inputs_arrived.send(sender=Change, kind=kind)
    return list(written)


def _ahead(moments: Iterable[datetime], now: datetime) -> list[datetime]:
    return sorted({moment for moment in moments if moment > now})


def _change(kind: str, account_id: int | None, now: datetime, ripens: datetime | None) -> Change:
    # One moment a change: the evaluator is told exactly when to look again, and not that it may be any time between.
    return Change(kind=kind, account_id=account_id, recorded_at=now, ripens_from=ripens, ripens_at=ripens)


def expect_news(changes: Iterable[Change], effective: Mapping[int | None, Iterable[datetime]], now: datetime) -> None:
    """Tell changes that are written already of news that takes effect ahead of `now`; a query or two for each that has.

    For acts that write their change first: nearly always there is none.
    """
    later = []
    for change in changes:
        if ahead := _ahead(effective.get(change.account_id, ()), now):
            Change.objects.filter(pk=change.pk).update(ripens_from=ahead[0], ripens_at=ahead[0])
            later += [_change(change.kind, change.account_id, now, moment) for moment in ahead[1:]]
    Change.objects.bulk_create(later)


def timeline_entry(
    *,
    account_id: int | None,
    at: datetime,
    now: datetime,
    kind: str,
    text: str,
    subject: models.Model | None = None,
    actor: Any = None,
    data: dict[str, Any] | None = None,
) -> TimelineEntry:
    """One line of an account's story, not saved yet: hand it to `write_timeline` with the others of the act.

    Without an account (None) it tells of the vendor's own: its catalogue, its calendars, its team.
    `at` is when it happened, `now` when it is written down. The subject may live in any room: it is kept as
    type, id and label.
    """
    require_aware(at=at, now=now)
    return TimelineEntry(
        account_id=account_id,
        at=at,
        recorded_at=now,
        kind=kind,
        text=text,
        subject_type="" if subject is None else subject._meta.label_lower,
        subject_id=None if subject is None else subject.pk,
        subject_label="" if subject is None else str(subject)[:200],
        actor=acting_user(actor),
        actor_label=actor_label(actor),
        data=data or {},
    )


def when_from(effective_at: datetime, now: datetime) -> str:
    """The end of a line about the future: the day from which it holds. Empty for what holds already."""
    return f", from {effective_at.astimezone(company_time_zone()):%Y-%m-%d} on" if effective_at > now else ""


def write_timeline(entries: Iterable[TimelineEntry]) -> list[TimelineEntry]:
    """Write the lines of one act, in its transaction."""
    return list(TimelineEntry.objects.bulk_create(entries))
