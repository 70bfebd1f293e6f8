"""The sender: every queued mail goes once, whatever dies meanwhile.

A mail is an effect that no transaction can take back. So each is claimed in a transaction that commits before anything
is sent, sent outside any, and finished in another by whoever holds the claim. Where the sender dies in between nobody
knows whether it went: it is `unclear`, and only a person sends it again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from csplaybooks.accounts.acts.record import write_timeline
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.acts.deliveries import SWITCHED_OFF, lines_of, tell_drafts
from csplaybooks.playbooks.models import Delivery, MailDraft, Play, PlayStep, Stage, State
from csplaybooks.playbooks.pipeline.post import Answer, Fate, OutOfReach, Post
from csplaybooks.playbooks.pipeline.queue import claim
from csplaybooks.playbooks.suppression import is_suppressed

logger = logging.getLogger("csplaybooks.sender")

#: How long a sender is taken to be alive. Longer than any task runs: one that is only slow must not be taken for dead.
CLAIMED_FOR = timedelta(minutes=10)

#: No mail is begun so many seconds after the first: what is left is for the next task, well before this one is ended.
SECONDS = 20.0

#: Why a mail to a customer is not sent that was put off until nobody wanted it any more.
OVER = "Its play was closed, or its step is over."

#: Each wait for the next try is so many times the one before it, which begins with `RETRY_SECONDS`.
PATIENCE = 5


def queued() -> Any:
    """Mails that wait to be sent. Those to the customers of paused plays are held until the plays go on."""
    paused = Play.objects.filter(pk=OuterRef("play"), state=State.PAUSED)
    held = Q(Exists(paused), kind=Delivery.Kind.DRAFT, stuck_at__isnull=True)
    return Delivery.objects.filter(~held, state=Delivery.State.QUEUED)


def of_the_dead(now: datetime) -> Any:
    """Mails whose sender has died: nobody knows whether they went."""
    return Delivery.objects.filter(state=Delivery.State.SENDING, claimed_until__lte=now)


def is_anything_to_send(now: datetime) -> bool:
    """Whether the sender has something to do. Two queries."""
    return bool(queued().workable_at(now).exists() or of_the_dead(now).exists())


def send_deliveries(*, now: datetime, limit: int = 200, clock: Callable[[], datetime] | None = None) -> int:
    """Send up to `limit` queued mails, the oldest first; answers how many went.

    Not to be called in a transaction. What was not taken is tried again, each time after a longer wait, and after
    `MAX_ATTEMPTS` stands in the tray; what was refused for good stands there at once, and of a mail to a customer goes
    back to whoever wrote it. Where the mail server cannot be reached nothing is claimed, and all wait.

    `clock` tells the moment at which each mail is handed over; without it that is `now` for all of them.
    """
    clock = clock or (lambda: now)
    give_up_on_the_dead(now)
    if not queued().workable_at(now).exists():
        return 0
    sent, end = 0, time.monotonic() + SECONDS
    try:
        post = Post()
    except OutOfReach as error:
        _note(error, now)
        return 0
    try:
        for _ in range(limit):
            if time.monotonic() >= end:
                break
            post.connect()
            # One may wait for its next try, or be taken, later than the first of them.
            delivery = _take_next(max(clock(), now))
            if delivery is None:
                break
            if delivery.state == Delivery.State.SENDING:
                answer = post.send(delivery)
                # Clocks of machines differ: nothing goes before it was queued.
                _finish(delivery, answer, max(clock(), delivery.queued_at))
                sent += answer.fate == Fate.SENT
    except OutOfReach as error:
        _note(error, now)
    finally:
        post.close()
    return sent


def give_up_on_the_dead(now: datetime) -> int:
    """Mails whose sender died are unclear from now on, and stand in the tray; answers how many."""
    if not of_the_dead(now).exists():
        return 0
    with transaction.atomic(durable=True):
        # The UPDATE first: of two who come at once one finds them. They are known by their time until the second.
        of_the_dead(now).update(
            state=Delivery.State.UNCLEAR, last_error="The sending was cut short: nobody knows whether it went."
        )
        dead = list(Delivery.objects.filter(state=Delivery.State.UNCLEAR, claimed_until__isnull=False))
        Delivery.objects.filter(pk__in=[row.pk for row in dead]).update(claimed_until=None)
        _tell(dead, now)
    return len(dead)


def _take_next(now: datetime) -> Delivery | None:
    """Claim the next mail, or decide that it is not to go; None where nothing waits. Committed when this answers."""
    with transaction.atomic(durable=True):
        ids = claim(queued(), now=now, order_by=("queued_at", "pk"), limit=1)
        if not ids:
            return None
        delivery: Delivery = Delivery.objects.select_related("member").get(pk=ids[0])
        if delivery.kind == Delivery.Kind.DRAFT and _is_over(delivery):
            delivery.state, delivery.last_error = Delivery.State.CANCELLED, OVER
        elif delivery.kind == Delivery.Kind.DRAFT and is_suppressed(delivery.to_address):
            delivery.state = Delivery.State.SUPPRESSED
        elif delivery.member is not None and not delivery.member.is_active:
            delivery.state = Delivery.State.CANCELLED
            delivery.last_error = f"{delivery.member} has left."
        elif delivery.kind != Delivery.Kind.DRAFT and not csplaybooks_settings.NOTICES_BY_MAIL:
            delivery.state = Delivery.State.CANCELLED
            delivery.last_error = SWITCHED_OFF
        else:
            delivery.state = Delivery.State.SENDING
            delivery.attempts += 1
            delivery.claimed_until = now + CLAIMED_FOR
        delivery.save(update_fields=["state", "attempts", "claimed_until", "last_error"])
        if delivery.state != Delivery.State.SENDING:
            _tell([delivery], now)
    return delivery


def _is_over(delivery: Delivery) -> bool:
    """Whether a mail to a customer is of a play that was closed, or of a step that is over, such as while the server
    put it off."""
    drafts = MailDraft.objects.filter(delivery=delivery.pk)
    over = Q(step__state__in=[PlayStep.State.DONE, PlayStep.State.SKIPPED])
    return bool(drafts.filter(Q(play__stage=Stage.CLOSED) | over).exists())


def _finish(delivery: Delivery, answer: Answer, now: datetime) -> None:
    """Write what became of a mail. Also of one that was taken for dead meanwhile, unless a person has put it back."""
    delivery.claimed_until = None
    delivery.last_error = answer.error
    match answer.fate:
        case Fate.SENT:
            delivery.state, delivery.sent_at, delivery.next_try_at = Delivery.State.SENT, now, None
        case Fate.UNCLEAR:
            delivery.state = Delivery.State.UNCLEAR
        case Fate.REFUSED if delivery.kind == Delivery.Kind.DRAFT:
            # Whoever wrote it writes to another address, or skips the step: nobody is to send this one again as well.
            delivery.state, delivery.next_try_at = Delivery.State.CANCELLED, None
        case Fate.REFUSED:
            delivery.state, delivery.stuck_at = Delivery.State.QUEUED, now
        case Fate.LATER:
            delivery.state = Delivery.State.QUEUED
            wait = csplaybooks_settings.RETRY_SECONDS * PATIENCE ** (delivery.attempts - 1)
            delivery.next_try_at = now + timedelta(seconds=wait)
            delivery.stuck_at = now if delivery.attempts >= csplaybooks_settings.MAX_ATTEMPTS else None
    held = [Delivery.State.SENDING, Delivery.State.UNCLEAR]
    with transaction.atomic(durable=True):
        done = Delivery.objects.filter(pk=delivery.pk, claim=delivery.claim, state__in=held).update(
            **{name: getattr(delivery, name) for name in _FINISHED}
        )
        if not done:
            logger.warning("mail %s was put back by a person while it was sent: %s", delivery.key, answer.fate.value)
        elif answer.fate == Fate.REFUSED:
            _tell([delivery], now, _refused)
        elif answer.fate != Fate.LATER or delivery.stuck_at is not None:
            _tell([delivery], now)


#: The columns that tell how a mail fared.
_FINISHED = ("state", "claimed_until", "sent_at", "last_error", "next_try_at", "stuck_at")


def _note(error: OutOfReach, now: datetime) -> None:
    """Leave word on the mail that waits longest why it does: the doctor reads it."""
    logger.warning("the mail server cannot be reached, and mails wait: %s", error)
    first = queued().workable_at(now).order_by("queued_at", "pk").values_list("pk", flat=True).first()
    queued().filter(pk=first).update(last_error=str(error)[:500])


def _said(delivery: Delivery) -> tuple[str, str]:
    """The kind of line, and how it begins."""
    match Delivery.State(delivery.state):
        case Delivery.State.SENT:
            return "mail_sent", "Mail sent"
        case Delivery.State.UNCLEAR:
            return "mail_unclear", "It is unclear whether a mail went"
        case Delivery.State.SUPPRESSED:
            return "mail_suppressed", "Mail not sent, the address is suppressed"
        case Delivery.State.CANCELLED:
            return "mail_cancelled", f"Mail not sent ({delivery.last_error.rstrip('.')})"
    return _refused(delivery)


def _refused(delivery: Delivery) -> tuple[str, str]:
    return "mail_failed", f"Mail could not be sent ({delivery.last_error.rstrip('.')})"


def _tell(deliveries: Sequence[Delivery], now: datetime, said: Callable[[Delivery], tuple[str, str]] = _said) -> None:
    """Tell on the timelines of their plays what became of mails, and their drafts. A constant number of queries."""
    write_timeline(lines_of(deliveries, said, now))
    tell_drafts(deliveries, now)
