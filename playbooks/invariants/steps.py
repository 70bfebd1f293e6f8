"""Invariants of the steps of plays, and of the mails and contacts that belong to them."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from csplaybooks.playbooks.invariants.registry import by_query
from csplaybooks.playbooks.models import Delivery, MailDraft, PlayStep, Stage, Touch

_OPEN = [PlayStep.State.WAITING, PlayStep.State.CURRENT]
_OVER = [PlayStep.State.DONE, PlayStep.State.SKIPPED]


def _two_to_do() -> QuerySet[Any]:
    other = PlayStep.objects.filter(play=OuterRef("play"), state=PlayStep.State.CURRENT).exclude(pk=OuterRef("pk"))
    rows: QuerySet[Any] = PlayStep.objects.filter(Exists(other), state=PlayStep.State.CURRENT)
    return rows


def _out_of_turn() -> QuerySet[Any]:
    """Steps that have begun, or are over, before one that stands in front of them."""
    before = PlayStep.objects.filter(play=OuterRef("play"), number__lt=OuterRef("number"), state__in=_OPEN)
    begun = Q(state=PlayStep.State.CURRENT) | Q(state__in=_OVER, began_at__isnull=False)
    rows: QuerySet[Any] = PlayStep.objects.filter(begun, Exists(before))
    return rows


def _waiting_for_nothing() -> QuerySet[Any]:
    """Steps whose turn it is, and that have not begun: the one before them is over, and none is to be done."""
    before = PlayStep.objects.filter(play=OuterRef("play"), number=OuterRef("number") - 1, state__in=_OVER)
    rows: QuerySet[Any] = PlayStep.objects.filter(Exists(before), state=PlayStep.State.WAITING)
    return rows


def _over_before_they_began() -> QuerySet[Any]:
    rows: QuerySet[Any] = PlayStep.objects.filter(state=PlayStep.State.DONE, done_at__lt=F("began_at"))
    return rows


def _left_on_closed_plays() -> QuerySet[Any]:
    rows: QuerySet[Any] = PlayStep.objects.filter(play__stage=Stage.CLOSED, state__in=_OPEN)
    return rows


def _sent_without_mail() -> QuerySet[Any]:
    """Drafts that were sent, and whose mail was not; or on their way without one."""
    rows: QuerySet[Any] = MailDraft.objects.filter(state__in=[MailDraft.State.SENT, MailDraft.State.QUEUED])
    return rows.filter(
        Q(delivery__isnull=True) | (Q(state=MailDraft.State.SENT) & ~Q(delivery__state=Delivery.State.SENT))
    )


def _touched_otherwise() -> QuerySet[Any]:
    """Drafts that are a contact and were not sent, or a contact of another play."""
    rows: QuerySet[Any] = MailDraft.objects.filter(touch__isnull=False)
    return rows.filter(~Q(state=MailDraft.State.SENT) | ~Q(touch__play=F("play")) | ~Q(touch__origin="draft"))


def _contacts_of_no_draft() -> QuerySet[Any]:
    rows: QuerySet[Any] = Touch.objects.filter(origin=Touch.Origin.DRAFT)
    return rows.exclude(Exists(MailDraft.objects.filter(touch=OuterRef("pk"), state=MailDraft.State.SENT)))


def _drafts_left_over() -> QuerySet[Any]:
    """Drafts that could still be sent, of steps that are over."""
    unsent = [MailDraft.State.DRAFT, MailDraft.State.SUPPRESSED, MailDraft.State.FAILED]
    rows: QuerySet[Any] = MailDraft.objects.filter(state__in=unsent, step__state__in=_OVER)
    return rows


def _prompted_twice() -> QuerySet[Any]:
    """Contacts by a prompt that a signal told, of plays that have two of them."""
    rows: QuerySet[Any] = Touch.objects.filter(origin=Touch.Origin.SIGNAL, channel=Touch.Channel.PROMPT)
    twice = rows.order_by().values("play").annotate(told=Count("pk")).filter(told__gt=1)
    return rows.filter(play__in=twice.values("play"))


INVARIANTS = (
    by_query("one_step_to_do", "A play has one step to do.", _two_to_do),
    by_query("steps_in_order", "A step begins when those before it are over.", _out_of_turn),
    by_query("next_step_begins", "When a step is over, the next one begins.", _waiting_for_nothing),
    by_query("steps_end_after_they_begin", "A step is done after it began.", _over_before_they_began),
    by_query("closed_plays_have_no_steps_left", "A closed play has no step left to do.", _left_on_closed_plays),
    by_query("sent_drafts_have_mail", "A draft that was sent has its mail, and that has gone.", _sent_without_mail),
    by_query("drafts_are_their_own_contacts", "Only a sent draft is a contact of its play.", _touched_otherwise),
    by_query("contacts_by_draft_have_it", "A contact by a draft has the draft that was sent.", _contacts_of_no_draft),
    by_query("no_draft_of_a_step_that_is_over", "A draft that was not sent is of a step to do.", _drafts_left_over),
    by_query("one_contact_by_prompt", "Of the prompts shown of a play the first is a contact.", _prompted_twice),
)
