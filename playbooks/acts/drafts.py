"""Acts on drafts of mails to customers: read and mended by a person, sent, taken back or discarded.

They are written by `csplaybooks.playbooks.acts.drafting` when their step begins. A mail goes out as a delivery. What
became of that is told by `settle_drafts`, in the transaction that writes it; the contact and the step follow from
there, by `csplaybooks.playbooks.pipeline.stepping`. A draft that could not be sent, or of which it is unclear whether
it went, is in the hands of whoever works the play: what they do with it calls the old mail off in the same act.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.acts.record import acting_user, require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.models import Champion
from csplaybooks.playbooks.acts.deliveries import Outgoing, queue_deliveries, take_out
from csplaybooks.playbooks.acts.moving import lock_in_order
from csplaybooks.playbooks.acts.notices import tell_unsent
from csplaybooks.playbooks.mail_texts import MOST_IN_BODY, subject_fault, unfinished
from csplaybooks.playbooks.merge_values import address_of
from csplaybooks.playbooks.models import Delivery, MailDraft, Play, PlayStep, Stage
from csplaybooks.playbooks.moves import MOVES, Rights, allowed_q, refusal
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.stepwork import LEFT, UNSENT
from csplaybooks.playbooks.suppression import suppressed_among

Answers = dict[int, str | None]
"""Draft id to None where an act was done, or to why it was not."""

#: The verb of the table of moves that says who may write to the customer, and where.
VERB = "step"

#: What is said where a mail went, or may have gone, while somebody dealt with its draft.
GONE = "it is being sent, or went meanwhile: look again"


@transaction.atomic
def edit_draft(
    *,
    draft_id: int,
    subject: str,
    body: str,
    champion_id: int | None,
    now: datetime,
    actor: Any,
    expected_version: int | None = None,
) -> MailDraft:
    """Give a draft another text, or another person at the account whom it goes to; answers it as it stands.

    One that was suppressed or failed is a draft again, and a mail of it that was given up is called off. Where nothing
    differs nothing is written. Raises the model's
    DoesNotExist; Conflict when the draft's version is not `expected_version` (None: whatever it is); ValidationError,
    by field, for a text that cannot be sent as a mail, a person of another account, or one who has left, and where the
    draft is not theirs to edit.
    """
    require_aware(now=now)
    drafts, refused = _claimed([draft_id], now, actor, "Change")
    if not MailDraft.objects.filter(pk=draft_id).exists():
        raise MailDraft.DoesNotExist(f"there is no draft {draft_id}")
    if not drafts:
        raise ValidationError(refused[draft_id] or "")
    (draft,) = drafts
    if expected_version is not None and draft.version != expected_version:
        raise Conflict(draft, expected=expected_version)
    if (why := _closed(draft)) is not None:
        raise ValidationError(why)
    person = _person(draft, champion_id)
    subject, body = subject.strip(), body.replace("\r\n", "\n").strip()
    _check_text(subject, body)
    wanted = {
        "subject": subject,
        "body": body,
        "champion": person,
        "to_address": "" if person is None else person.email,
    }
    if draft.state == MailDraft.State.DRAFT and all(getattr(draft, name) == value for name, value in wanted.items()):
        return draft
    if not _called_off(drafts):
        raise ValidationError(GONE)
    for name, value in wanted.items():
        setattr(draft, name, value)
    draft.state = MailDraft.State.DRAFT
    _save([draft], [*wanted, "state"], now)
    tell_of([draft], "Draft of a mail changed", now, actor)
    return draft


@transaction.atomic
def send_drafts(
    *, draft_ids: Iterable[int], now: datetime, actor: Any, seen: Mapping[int, int] | None = None
) -> Answers:
    """Send drafts that a person has read; answers per id.

    They go to the address that their reader has now; answers come to the owner of the play. `seen` is the version of
    each draft as it was read: one that was changed since, or not read, is not sent. One whose address is suppressed
    says so from now on, and does not go. What was sent before is not sent again; a mail that was given up is called
    off.
    """
    require_aware(now=now)
    drafts, answers = _claimed(draft_ids, now, actor, "Send")
    for draft in drafts:
        answers[draft.pk] = _closed(draft) or _unread(draft, seen) or unready(draft)
    ready = _called_off([draft for draft in drafts if answers[draft.pk] is None])
    answers |= {draft.pk: GONE for draft in drafts if answers[draft.pk] is None and draft not in ready}
    for draft in put_on_their_way(ready, now, actor):
        answers[draft.pk] = f"{draft.to_address} is suppressed: no mail goes there"
    return answers


@transaction.atomic
def discard_drafts(*, draft_ids: Iterable[int], now: datetime, actor: Any) -> Answers:
    """Throw drafts away that were not sent; answers per id. Their steps stay: they are done another way, or skipped.

    Mails of theirs that were given up, or are unclear, are called off.
    """
    require_aware(now=now)
    drafts, answers = _claimed(draft_ids, now, actor, "Discard")
    answers |= {draft.pk: _closed(draft, LEFT) for draft in drafts}
    gone = _called_off([draft for draft in drafts if answers[draft.pk] is None])
    answers |= {draft.pk: GONE for draft in drafts if answers[draft.pk] is None and draft not in gone}
    for draft in gone:
        draft.state = MailDraft.State.DISCARDED
    _save(gone, ["state"], now)
    tell_of(gone, "Draft of a mail discarded", now, actor)
    return answers


@transaction.atomic
def take_back_drafts(*, draft_ids: Iterable[int], now: datetime, actor: Any, unclear: bool = False) -> Answers:
    """Have the drafts again of mails that wait to be sent, or with `unclear` of those that may have gone; per id.

    Their mails are called off, so that none goes later as well: they are read, mended and sent anew, or discarded. Also
    while their plays are paused. What is being sent goes on.
    """
    require_aware(now=now)
    drafts, answers = _claimed(draft_ids, now, actor, "Write anew" if unclear else "Do not send", also="resume")
    state = MailDraft.State.UNCLEAR if unclear else MailDraft.State.QUEUED
    for draft in drafts:
        if draft.state != state:
            answers[draft.pk] = f"it is {_stands(draft)}" if draft.state in _GONE else _not_on_its_way(draft, unclear)
        else:
            answers[draft.pk] = None
    back = _called_off([draft for draft in drafts if answers[draft.pk] is None])
    answers |= {draft.pk: GONE for draft in drafts if answers[draft.pk] is None and draft not in back}
    for draft in back:
        draft.state, draft.sent_by = MailDraft.State.DRAFT, None
    _save(back, ["state", "sent_by"], now)
    tell_of(back, "Mail to be written anew, it may have gone before" if unclear else "Mail not sent", now, actor)
    return answers


def settle_drafts(*, delivery_ids: Iterable[int], now: datetime, actor: Any = None) -> int:
    """Tell drafts what became of their mails; answers of how many. In the transaction that wrote it; safe twice.

    What was sent becomes a contact, and its step is done, by a worker soon after. What was not is told to whoever works
    the play; of a step that is over it is discarded.
    """
    waiting = [MailDraft.State.QUEUED, MailDraft.State.FAILED, MailDraft.State.UNCLEAR]
    rows = MailDraft.objects.filter(delivery__in=list(delivery_ids), state__in=waiting).select_related(
        "delivery", "step", "play__account", "play__playbook"
    )
    settled = [draft for draft in rows.order_by("pk") if _fate(draft) != draft.state]
    if not settled:
        return 0
    for draft in settled:
        draft.state = _fate(draft)
        draft.sent_at = draft.delivery.sent_at if draft.state == MailDraft.State.SENT else None
    _save(settled, ["state", "sent_at"], now)
    poke("work")
    tell_unsent(
        {
            # A mail that was put back may come to the same end again.
            f"draft:{draft.pk}:{draft.version}": (draft.play, _not_gone(draft))
            for draft in settled
            if draft.state in LEFT
        },
        now=now,
        actor=actor,
    )
    return len(settled)


def _fate(draft: MailDraft) -> str:
    """What its delivery makes of a draft; one that did not go, of a step that is over, is discarded."""
    delivery = draft.delivery
    if delivery is None or delivery.state == Delivery.State.SENDING:
        return draft.state
    if delivery.state == Delivery.State.QUEUED:
        state = MailDraft.State.QUEUED if delivery.stuck_at is None else MailDraft.State.FAILED
    else:
        state = _FATES[delivery.state]
    over = draft.play.stage == Stage.CLOSED or (draft.step is not None and draft.step.state != PlayStep.State.CURRENT)
    # What may have gone stays so: its sender may come back and tell.
    return MailDraft.State.DISCARDED if over and state in UNSENT else state


#: What the fate of a delivery makes of its draft, where the last word is spoken.
_FATES: Mapping[str, MailDraft.State] = {
    Delivery.State.SENT: MailDraft.State.SENT,
    Delivery.State.SUPPRESSED: MailDraft.State.SUPPRESSED,
    Delivery.State.CANCELLED: MailDraft.State.FAILED,
    Delivery.State.UNCLEAR: MailDraft.State.UNCLEAR,
}


def _not_gone(draft: MailDraft) -> str:
    """What whoever works the play is told of a mail that did not go, or may not have."""
    why = "" if draft.delivery is None else draft.delivery.last_error.rstrip(".")
    said = f"The mail to {draft.to_address} did not go"
    if draft.state == MailDraft.State.UNCLEAR:
        said = f"It is unclear whether the mail to {draft.to_address} went"
    elif draft.state == MailDraft.State.SUPPRESSED:
        why = "the address is suppressed"
    return f"{said}{f' ({why})' if why else ''}: {draft.play}"


def _claimed(
    draft_ids: Iterable[int], now: datetime, actor: Any, asked: str, *, also: str = ""
) -> tuple[list[MailDraft], Answers]:
    """The drafts whose plays the actor may write to the customer of, claimed; and why not, of the others, by id.

    `asked` is the name of the act as its button says it; `also` is a verb whose places and people count as well.
    """
    wanted = list(dict.fromkeys(draft_ids))
    plays = dict(MailDraft.objects.filter(pk__in=wanted).values_list("pk", "play"))
    rights = Rights.of(actor, now)
    token = uuid.uuid4()
    lock_in_order(set(plays.values()))
    allowed = allowed_q(VERB, rights) | allowed_q(also, rights) if also else allowed_q(VERB, rights)
    Play.objects.filter(allowed, pk__in=set(plays.values())).update(claim=token)
    rows = MailDraft.objects.filter(pk__in=wanted).select_related(
        "play__account", "play__playbook", "play__owner__user", "champion", "step"
    )
    found = {draft.pk: draft for draft in rows}
    drafts = {pk: draft for pk, draft in found.items() if draft.play.claim == token}
    others = (
        Play.objects.filter(pk__in=[play for pk, play in plays.items() if pk not in drafts])
        .with_step()
        .select_related("owner", "holder")
        .in_bulk()
    )
    refused: Answers = dict.fromkeys(wanted, "there is no such draft")
    for pk, play_id in plays.items():
        if play_id in others:
            play, draft = others[play_id], found.get(pk)
            if draft is not None and draft.state in _GONE and rights.has(VERB, play):
                # Whoever pressed twice: that the play has moved on by it is no answer.
                refused[pk] = f"it is {_stands(draft)} already"
            else:
                refused[pk] = asked + refusal(VERB, play, rights).removeprefix(MOVES[VERB].label)
    return [drafts[pk] for pk in wanted if pk in drafts], {pk: refused[pk] for pk in wanted if pk not in drafts}


#: The drafts whose mail is under way, or has come.
_GONE = (MailDraft.State.QUEUED, MailDraft.State.SENT)


def _stands(draft: MailDraft) -> str:
    """How far a draft is, in the middle of a sentence."""
    return str(draft.get_state_display()).lower()


def _closed(draft: MailDraft, open_states: Sequence[str] = UNSENT) -> str | None:
    """Why nothing can be done with a draft any more, or not yet; None where something can."""
    if draft.step is not None and draft.step.state != PlayStep.State.CURRENT and draft.state in LEFT:
        return f"its step is over: {draft.step.get_state_display().lower()}"
    if draft.state in open_states:
        return None
    if draft.state in _GONE:
        return f"it is {_stands(draft)} already"
    if draft.state == MailDraft.State.UNCLEAR:
        return "it is unclear whether it went: choose to write it anew, or skip the step"
    return f"nothing can be done with it any more: {_stands(draft)}"


def _not_on_its_way(draft: MailDraft, unclear: bool) -> str:
    """Why a draft cannot be taken back."""
    return f"it is not {'unclear whether it went' if unclear else 'on its way'}: {_stands(draft)}"


def _unread(draft: MailDraft, seen: Mapping[int, int] | None) -> str | None:
    """Why a draft is not what somebody has read, where that is asked."""
    if seen is None or seen.get(draft.pk) == draft.version:
        return None
    return "somebody else has changed it: read it again" if draft.pk in seen else "read it first: it was not shown"


def _called_off(drafts: Sequence[MailDraft]) -> list[MailDraft]:
    """Call off what was queued of drafts before; answers those of which nothing can go any more by that."""
    off = take_out([draft.delivery_id for draft in drafts if draft.delivery_id is not None])
    return [draft for draft in drafts if draft.delivery_id is None or draft.delivery_id in off]


def unready(draft: MailDraft) -> str | None:
    """What is to be mended on a draft before it can be sent; None where nothing is."""
    person = draft.champion
    if person is None:
        return "choose whom it goes to"
    if person.left_on is not None:
        return f"{person.name} has left: choose whom it goes to"
    if not person.email:
        return f"{person.name} has no e-mail address"
    if fault := subject_fault(draft.subject):
        return f"the subject {fault}"
    if not draft.body.strip():
        return "the body is empty"
    if gaps := unfinished(draft.subject, draft.body):
        return f"mend what is missing first: {', '.join(gaps)}"
    return None


def _person(draft: MailDraft, champion_id: int | None) -> Champion | None:
    """Whom a draft is to go to: somebody at the account who is there."""
    if champion_id is None:
        return None
    person: Champion | None = Champion.objects.filter(pk=champion_id, account=draft.play.account_id).first()
    if person is None:
        raise ValidationError({"champion": "There is no such person at this account."})
    if person.left_on is not None:
        raise ValidationError({"champion": f"{person.name} has left."})
    if not person.email:
        raise ValidationError({"champion": f"{person.name} has no e-mail address."})
    return person


def _check_text(subject: str, body: str) -> None:
    errors = {}
    if fault := subject_fault(subject):
        errors["subject"] = f"The subject {fault}."
    if not body:
        errors["body"] = "The body is empty."
    elif len(body) > MOST_IN_BODY:
        errors["body"] = f"At most {MOST_IN_BODY} characters, not {len(body)}."
    elif "\0" in body:
        errors["body"] = "A NUL character cannot be sent."
    if errors:
        raise ValidationError(errors)


def put_on_their_way(drafts: Sequence[MailDraft], now: datetime, actor: Any) -> list[MailDraft]:
    """Put drafts that are ready on their way; answers those that do not go, as their address is suppressed."""
    if not drafts:
        return []
    for draft in drafts:
        # As it is today: whoever is ready has somebody to go to.
        draft.to_address = "" if draft.champion is None else draft.champion.email
        draft.sent_by = acting_user(actor)
    suppressed = suppressed_among(draft.to_address for draft in drafts)
    held = [draft for draft in drafts if draft.to_address in suppressed]
    going = [draft for draft in drafts if draft.to_address not in suppressed]
    keys = {draft.pk: f"draft:{draft.pk}:{draft.version}" for draft in going}
    deliveries = queue_deliveries(
        [
            Outgoing(
                key=keys[draft.pk],
                kind=Delivery.Kind.DRAFT,
                to_address=draft.to_address,
                subject=draft.subject,
                body=draft.body,
                play_id=draft.play_id,
                reply_to=address_of(draft.play.owner),
            )
            for draft in going
        ],
        now,
    )
    for draft in going:
        draft.state, draft.delivery = MailDraft.State.QUEUED, deliveries[keys[draft.pk]]
    for draft in held:
        draft.state = MailDraft.State.SUPPRESSED
    _save(drafts, ["state", "delivery", "to_address", "sent_by"], now)
    tell_of(going, "Mail on its way", now, actor)
    tell_of(held, "Mail not sent, the address is suppressed", now, actor)
    return held


def _save(drafts: Sequence[MailDraft], fields: Sequence[str], now: datetime) -> None:
    for draft in drafts:
        draft.version += 1
        draft.updated_at = now
    MailDraft.objects.bulk_update(drafts, [*fields, "version", "updated_at"], batch_size=500)


def tell_of(drafts: Iterable[MailDraft], what: str, now: datetime, actor: Any) -> None:
    write_timeline(
        [
            timeline_entry(
                account_id=draft.play.account_id,
                at=now,
                now=now,
                kind="play_mail",
                text=f"{draft.play.playbook.name}: {what}: {draft.subject}",
                subject=draft.play,
                actor=actor,
            )
            for draft in drafts
        ]
    )
