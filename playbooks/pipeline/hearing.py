"""What signals tell of plays: contacts that were made, prompts that were shown, features that were tried.

This worker follows the runs: a run claims what was told until then, one after the other, so that "all that the runs up
to this one claimed" leaves nothing out, however late a transaction with signals has committed.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Exists, Max, Min, OuterRef, Q

from csplaybooks.accounts.ids import Ids
from csplaybooks.playbooks.acts.touches import Contact, log_contacts, members_by_email, take_back_contacts
from csplaybooks.playbooks.contacts import (
    CONTACT_TYPES,
    SHOWN_TYPE,
    USED_TYPE,
    direction_of,
    play_named,
    prompt_is_first_touch,
)
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Lease, Play, PlayStep, Run, Touch
from csplaybooks.playbooks.pipeline.savepoints import together_or_each
from csplaybooks.playbooks.stepwork import look_again
from csplaybooks.signals.models import IntakeBatch, Signal

logger = logging.getLogger("csplaybooks.pipeline")

#: The lease of this worker; its mark is the last run whose news it has looked at, as far as it has `reached`.
LEASE = "csplaybooks:contacts"

#: So many signals are looked at in one transaction, of those that may be contacts or take one back.
BATCH = 500

#: The types of signals that may be contacts.
_HEARD = (*CONTACT_TYPES, SHOWN_TYPE)

#: A play's id, and from when to when it was open; None: it is still.
_Life = tuple[int, datetime, datetime | None]

#: The most characters of a note that a signal brings.
MOST_NOTE = 2_000


def hear_signals(*, now: datetime) -> int:
    """Look at the signals that runs have claimed since the last time; answers how many contacts and steps they were of.

    Safe twice, at once and after kill -9: the mark moves on in the transaction that writes, and a signal is a contact
    of a play once. However much one run has claimed, each transaction looks at a part of it.
    """
    heard = 0
    while (more := _hear_next(now)) is not None:
        heard += more
    return heard


def _hear_next(now: datetime) -> int | None:
    """Look at the next part of what a run has claimed; None where nothing is left, or somebody else is at it.

    One part of one run in each transaction: whoever is ended in the middle of many leaves what was heard by then.
    """
    newest = Run.objects.aggregate(newest=Max("pk"))["newest"]
    # Asked before the lease, so that a look with nothing to do takes no lock.
    if newest is None or Lease.objects.filter(name=LEASE, mark__gte=newest, reached__isnull=True).exists():
        return None
    with holding(LEASE, now, wait=False) as lease:
        if lease is None or (lease.mark is not None and lease.mark >= newest and lease.reached is None):
            return None
        batches = IntakeBatch.objects.filter(kind=IntakeBatch.Kind.SIGNALS)
        run = _next_run(batches, lease, newest)
        if run is None:
            Lease.objects.filter(pk=lease.pk).update(mark=newest, reached=None)
            return 0
        news = Signal.objects.filter(batch__in=batches.filter(seen_by_run=run).values("pk")).order_by()
        if lease.reached is not None:
            news = news.filter(pk__gt=lease.reached)
        reached = _end_of_part(news)
        heard = _hear(news if reached is None else news.filter(pk__lte=reached), now)
        Lease.objects.filter(pk=lease.pk).update(mark=run, reached=reached)
    return heard


def _next_run(batches: Any, lease: Lease, newest: int) -> int | None:
    """The run to go on with: that of which a part is left, or else the next with news, up to the newest."""
    if lease.reached is not None:
        return lease.mark
    claimed = batches.filter(seen_by_run__lte=newest)
    if lease.mark is not None:
        claimed = claimed.filter(seen_by_run__gt=lease.mark)
    first: int | None = claimed.aggregate(first=Min("seen_by_run"))["first"]
    return first


def _end_of_part(news: Any) -> int | None:
    """The last signal of the next part; None where it is the last part."""
    said = news.filter(Q(type__key__in=_HEARD) | Q(corrects__isnull=False)).order_by("pk").values_list("pk", flat=True)
    ends = list(said[BATCH - 1 : BATCH + 1])
    return ends[0] if len(ends) == 2 else None


def _hear(news: Any, now: datetime) -> int:
    earliest = Play.objects.open().order_by("opened_at").values_list("opened_at", flat=True).first()
    heard = _take_back(news, now)
    if earliest is not None:
        # Only an open play has a step to do.
        heard += look_again(_steps_told_of(news.filter(occurred_at__gte=earliest)))
    contacts = news.effective_at(None).filter(type__key__in=_HEARD)
    # However late they are told: of an account that had a play then, open still or closed since. Most had none.
    there = Play.objects.filter(account=OuterRef("account"), opened_at__lte=OuterRef("occurred_at")).filter(
        Q(closed_at__isnull=True) | Q(closed_at__gte=OuterRef("occurred_at"))
    )
    contacts = contacts.filter(Exists(there)).select_related("type", "source")
    return heard + _log(list(contacts.order_by("pk")), now)


def _take_back(news: Any, now: datetime) -> int:
    """Contacts of signals that were corrected, or did not happen, are none."""
    corrected = list(
        news.filter(corrects__isnull=False)
        .filter(Exists(Touch.objects.filter(signal=OuterRef("corrects"))))
        .values_list("corrects", flat=True)
    )
    return take_back_contacts(signal_ids=corrected, now=now) if corrected else 0


def _steps_told_of(told: Any) -> Any:
    """Prompts and trials that are to be done at accounts of which something was told that may end them."""
    here = told.filter(account=OuterRef("play__account"))
    waiting = PlayStep.objects.filter(state=PlayStep.State.CURRENT)
    prompts = waiting.filter(Exists(here.filter(type__key=SHOWN_TYPE)), kind=PlayStep.Kind.PROMPT)
    trials = waiting.filter(Exists(here.filter(type__key=USED_TYPE)), kind=PlayStep.Kind.TRIAL)
    ids = [*prompts.values_list("pk", flat=True), *trials.values_list("pk", flat=True)]
    return PlayStep.objects.filter(pk__in=Ids(sorted(ids)))


def _log(signals: Sequence[Signal], now: datetime) -> int:
    contacts = _contacts_of(signals)
    if not contacts:
        return 0
    return together_or_each(
        contacts,
        lambda some: _count(log_contacts(contacts=some, now=now)),
        of="contacts told by signals",
        logger=logger,
        # Whoever mends the signal may log the contact by hand.
        failed=lambda contact, error: logger.exception(
            "the contact of signal %s could not be written", contact.signal_id
        ),
    )


def _count(rows: Iterable[Touch | None]) -> int:
    return sum(row is not None for row in rows)


def _contacts_of(signals: Sequence[Signal]) -> list[Contact]:
    """What signals say of plays at their own accounts; three queries."""
    named = {signal.pk: play_named(signal.properties) for signal in signals}
    plays = Play.objects.filter(pk__in=Ids(sorted({pk for pk in named.values() if pk}))).in_bulk()
    lives = _lives(signal for signal in signals if named[signal.pk] is None)
    people = members_by_email(
        said for signal in signals if isinstance(said := signal.properties.get("member"), str) and said
    )
    contacts = []
    for signal in signals:
        play_id = named[signal.pk]
        if play_id is None:
            # A prompt says whose it is; what else was shown is no matter of ours.
            only = _open_then(lives, signal) if signal.type.key != SHOWN_TYPE else []
            play_id = only[0] if len(only) == 1 else 0
        elif play_id not in plays or plays[play_id].account_id != signal.account_id:
            continue
        if not play_id:
            continue
        if signal.type.key == SHOWN_TYPE:
            if prompt_is_first_touch(plays[play_id]):
                contacts.append(_contact(signal, play_id, Touch.Channel.PROMPT, Touch.Direction.OUT, None))
            continue
        kind = CONTACT_TYPES[signal.type.key]
        member = signal.properties.get("member")
        by = people.get(member.strip().lower()) if isinstance(member, str) else None
        contacts.append(_contact(signal, play_id, kind.channel, direction_of(kind, signal.properties), by))
    return contacts


def _lives(signals: Iterable[Signal]) -> dict[int, list[_Life]]:
    """The plays at the accounts of signals that were open when one of them occurred, by account; one query."""
    at = [(signal.occurred_at, signal.account_id) for signal in signals]
    if not at:
        return {}
    rows = Play.objects.filter(account__in=Ids(sorted({account for _, account in at})), opened_at__lte=max(at)[0])
    rows = rows.filter(Q(closed_at__isnull=True) | Q(closed_at__gte=min(at)[0])).order_by()
    lives: dict[int, list[_Life]] = defaultdict(list)
    for account, pk, opened_at, closed_at in rows.values_list("account", "pk", "opened_at", "closed_at"):
        lives[account].append((pk, opened_at, closed_at))
    return lives


def _open_then(lives: Mapping[int, Sequence[_Life]], signal: Signal) -> list[int]:
    """The plays of a signal's account that were open when it occurred."""
    at = signal.occurred_at
    return [
        pk
        for pk, opened_at, closed_at in lives.get(signal.account_id, ())
        if opened_at <= at and (closed_at is None or at <= closed_at)
    ]


def _contact(signal: Signal, play_id: int, channel: str, direction: str, member: int | None) -> Contact:
    note = signal.properties.get("note")
    return Contact(
        play_id=play_id,
        channel=channel,
        direction=direction,
        at=signal.occurred_at,
        origin=Touch.Origin.SIGNAL,
        by_member_id=member,
        note=note[:MOST_NOTE] if isinstance(note, str) else "",
        signal_id=signal.pk,
    )
