"""Acts on mail: it is queued in the transaction of the act it tells of, put back into the queue, or called off.

Nothing is sent here: `csplaybooks.playbooks.pipeline.sender` does, outside any transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parseaddr
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.db import connection, transaction
from django.db.models import Q
from django.utils.crypto import salted_hmac

from csplaybooks.accounts.acts.record import require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.models import Delivery, Notice, Play, Stage
from csplaybooks.playbooks.pokes import poke


@dataclass(frozen=True)
class Outgoing:
    """One mail to be: `key` says what it is about (`draft:17`), and of each key there is one delivery for ever.

    `member_id` is whom of the team it goes to, `play_id` on whose timeline it is told once it has gone.
    """

    key: str
    kind: str
    to_address: str
    subject: str
    body: str
    member_id: int | None = None
    play_id: int | None = None
    reply_to: str = ""


def queue_deliveries(items: Iterable[Outgoing], now: datetime) -> dict[str, Delivery]:
    """Queue mails in the caller's transaction; answers the delivery of each key, whoever made it. Two queries.

    Keys that there are already are left as they are. The sender is asked to look once the transaction has committed.
    What came of a delivery is told in the transaction that writes it: a line on the timeline of its play, and for the
    kind `draft` by `csplaybooks.playbooks.acts.drafts.settle_drafts(delivery_ids=..., now=...)`.
    """
    require_aware(now=now)
    rows = {
        item.key: Delivery(
            key=item.key,
            kind=Delivery.Kind(item.kind),
            member_id=item.member_id,
            play_id=item.play_id,
            to_address=item.to_address,
            reply_to=item.reply_to,
            # A line break would begin another header.
            subject=" ".join(item.subject.split())[:300],
            body=item.body,
            message_id=message_id(item.key, now),
            queued_at=now,
        )
        for item in items
    }
    if not rows:
        return {}
    Delivery.objects.bulk_create(rows.values(), ignore_conflicts=True, batch_size=500)
    poke("deliver")
    return {delivery.key: delivery for delivery in Delivery.objects.filter(key__in=rows)}


def mail_from() -> str:
    """Whom our mails are from: `MAIL_FROM`, or else Django's `DEFAULT_FROM_EMAIL`."""
    return csplaybooks_settings.MAIL_FROM or django_settings.DEFAULT_FROM_EMAIL


def message_id(key: str, now: datetime) -> str:
    """The Message-ID of a mail, made once: mail servers take two with one id for one mail.

    So it is of this site and of this moment: another site with the same domain, or this one with an empty database,
    makes others.
    """
    domain = urlsplit(csplaybooks_settings.SITE_URL).hostname or parseaddr(mail_from())[1].rpartition("@")[2]
    name = salted_hmac("csplaybooks.deliveries", f"{key} {now.isoformat()}", algorithm="sha256").hexdigest()[:40]
    return f"<{name}@{domain or 'localhost'}>"


@transaction.atomic
def retry_deliveries(*, ids: Iterable[int], now: datetime, actor: Any = None) -> int:
    """Put mails that were given up, or of which it is unclear whether they went, back into the queue; answers how many.

    With all their attempts before them. What is unclear may come to its reader twice: that is for a person to judge.
    Mails to customers of plays that were closed since are left as they are.
    """
    stuck = Q(state=Delivery.State.QUEUED, stuck_at__isnull=False) | Q(state=Delivery.State.UNCLEAR)
    return _put(
        _of_open_plays(ids),
        stuck,
        lambda delivery: ("mail_retried", f"Put back into the queue ({delivery.last_error or 'no error told'})"),
        now,
        actor,
        # A sender that comes back from the dead does not know it any more.
        state=Delivery.State.QUEUED,
        claim=None,
        stuck_at=None,
        next_try_at=now,
        attempts=0,
        last_error="",
    )


@transaction.atomic
def call_off_deliveries(*, ids: Iterable[int], now: datetime, actor: Any = None) -> int:
    """Call off mails that have not gone: queued, given up or unclear; answers how many. What is under way goes on."""
    waiting = Q(state__in=[Delivery.State.QUEUED, Delivery.State.UNCLEAR])
    return _put(
        ids,
        waiting,
        lambda delivery: ("mail_cancelled", "Called off"),
        now,
        actor,
        state=Delivery.State.CANCELLED,
        stuck_at=None,
        next_try_at=None,
    )


#: What is said of a mail that was called off when it was unclear whether it went.
MAY_HAVE_GONE = "It is unclear whether it went before."

#: Why mails to the team are called off where a site does not want them any more.
SWITCHED_OFF = "Notices by mail are switched off."


@transaction.atomic
def call_off_team_mails(*, now: datetime, limit: int = 500) -> int:
    """Call off the next mails to the team that wait to be sent, given up ones among them; answers how many."""
    waiting = Q(state=Delivery.State.QUEUED) & ~Q(kind=Delivery.Kind.DRAFT)
    ids = Delivery.objects.filter(waiting).order_by("pk").values_list("pk", flat=True)[:limit]
    return _put(
        ids,
        waiting,
        lambda delivery: ("mail_cancelled", "Mail not sent, notices by mail are switched off"),
        now,
        None,
        state=Delivery.State.CANCELLED,
        stuck_at=None,
        next_try_at=None,
        last_error=SWITCHED_OFF,
    )


def _put(
    ids: Iterable[int],
    which: Q,
    said: Callable[[Delivery], tuple[str, str]],
    now: datetime,
    actor: Any,
    **values: Any,
) -> int:
    require_aware(now=now)
    rows = Delivery.objects.filter(which, pk__in=list(ids))
    # Plays before mails, as in all acts: whoever works one may be writing its mail anew.
    _lock_plays(rows.filter(kind=Delivery.Kind.DRAFT))
    # Locked, so that of two people at once one does it.
    deliveries = list(rows.select_for_update(no_key=True).order_by("pk"))
    if not deliveries:
        return 0
    lines = lines_of(deliveries, said, now, actor)
    done: int = Delivery.objects.filter(which, pk__in=[row.pk for row in deliveries]).update(**values)
    write_timeline(lines)
    tell_drafts(deliveries, now, actor)
    poke("deliver")
    return done


def _of_open_plays(ids: Iterable[int]) -> list[int]:
    """Deliveries without the mails to customers whose plays are closed; their plays stay as they are meanwhile."""
    wanted = Delivery.objects.filter(pk__in=list(ids))
    _lock_plays(wanted.filter(kind=Delivery.Kind.DRAFT))
    over = Q(kind=Delivery.Kind.DRAFT, play__stage=Stage.CLOSED)
    return list(wanted.exclude(over).order_by().values_list("pk", flat=True))


def _lock_plays(deliveries: Any) -> None:
    """Lock the plays of deliveries (a queryset), in the order of their ids; nothing on SQLite, which has one writer."""
    if connection.features.has_select_for_update:
        plays = Play.objects.filter(pk__in=deliveries.order_by().values("play")).order_by("pk")
        no_key = connection.features.has_select_for_no_key_update
        list(plays.select_for_update(no_key=no_key).values_list("pk", flat=True))


def take_out(ids: Iterable[int], why: str = "") -> set[int]:
    """Call off mails in the caller's transaction, which tells of it; answers those that can never go any more.

    Queued, given up or unclear: what is being sent, or was, is in none. `why` stands on those queued, and with a word
    of what is unclear on those. The caller has claimed their plays. Three queries or four, none where there are no ids.
    """
    wanted = list(ids)
    if not wanted:
        return set()
    waiting = Delivery.objects.filter(pk__in=wanted, state__in=[Delivery.State.QUEUED, Delivery.State.UNCLEAR])
    states = dict(waiting.select_for_update(no_key=True).order_by("pk").values_list("pk", "state"))
    for state, said in ((Delivery.State.QUEUED, why), (Delivery.State.UNCLEAR, f"{why} {MAY_HAVE_GONE}".strip())):
        if those := [pk for pk, stood in states.items() if stood == state]:
            # By their own column: what a sender has claimed meanwhile goes.
            Delivery.objects.filter(pk__in=those, state=state).update(
                state=Delivery.State.CANCELLED,
                stuck_at=None,
                next_try_at=None,
                **({"last_error": said} if said else {}),
            )
    never = [Delivery.State.CANCELLED, Delivery.State.SUPPRESSED]
    return set(Delivery.objects.filter(pk__in=wanted, state__in=never).values_list("pk", flat=True))


def tell_drafts(deliveries: Sequence[Delivery], now: datetime, actor: Any = None) -> None:
    """Tell drafts what has become of their mails, in the transaction that writes it."""
    if drafts := [delivery.pk for delivery in deliveries if delivery.kind == Delivery.Kind.DRAFT]:
        # Drafts know of deliveries, not the other way round.
        from csplaybooks.playbooks.acts.drafts import settle_drafts

        settle_drafts(delivery_ids=drafts, now=now, actor=actor)


def lines_of(
    deliveries: Iterable[Delivery], said: Callable[[Delivery], tuple[str, str]], now: datetime, actor: Any = None
) -> list[TimelineEntry]:
    """A line for each play that mails tell of, to be written; two queries.

    `said` answers the kind of the line and how it begins, of a delivery.
    """
    by_id = {delivery.pk: delivery for delivery in deliveries}
    large = ("play__evidence", "play__amount_working", "play__playbook__draft")
    rows = Delivery.objects.filter(pk__in=by_id).select_related("member", "play__account", "play__playbook")
    loaded = {row.pk: row for row in rows.defer("body", *large)}
    told = [(row, row.play, row.subject) for row in loaded.values() if row.play is not None]
    notices = Notice.objects.filter(delivery__in=by_id).select_related("play__account", "play__playbook")
    told += [(loaded[notice.delivery_id], notice.play, notice.text) for notice in notices.defer(*large).order_by("pk")]
    entries = []
    for row, play, what in told:
        kind, how = said(by_id[row.pk])
        entries.append(
            timeline_entry(
                account_id=play.account_id,
                at=now,
                now=now,
                kind=kind,
                text=f"{how}: to {row.member or row.to_address}: {what}",
                subject=play,
                actor=actor,
            )
        )
    return entries
