"""Acts on drafts of mails to customers: written when their step begins, read and mended by a person, sent or discarded.

A mail goes out as a delivery. What became of that is told by `settle_drafts`, in the transaction that writes it; the
contact and the step follow from there, by `csplaybooks.playbooks.pipeline.stepping`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.acts.record import acting_user, require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import Account, AccountFacts, Champion, Lifecycle
from csplaybooks.playbooks.acts.deliveries import Outgoing, queue_deliveries
from csplaybooks.playbooks.acts.moving import lock_in_order
from csplaybooks.playbooks.mail_texts import (
    MOST_IN_BODY,
    fill_in_body,
    fill_in_subject,
    subject_fault,
    unfinished,
)
from csplaybooks.playbooks.merge_values import address_of, letters_for
from csplaybooks.playbooks.models import Delivery, MailDraft, Play, PlayStep, Touch
from csplaybooks.playbooks.moves import Rights, allowed_q, refusal
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.route_rules import Routing
from csplaybooks.playbooks.step_texts import MAIL_ROLES
from csplaybooks.playbooks.stepwork import UNSENT
from csplaybooks.playbooks.suppression import suppressed_among

Answers = dict[int, str | None]
"""Draft id to None where an act was done, or to why it was not."""

#: The verb of the table of moves that says who may write to the customer, and where.
VERB = "step"


def write_drafts(steps: Sequence[PlayStep], now: datetime) -> list[MailDraft]:
    """Write the drafts of mail steps that have begun, and send those that go by themselves; constant queries.

    A mail goes to the first person with an address, in the order of roles that the step says, who has not left. One
    goes by itself where the step says so, nothing is left to mend, and its play is worked by the system: on a route
    that takes nobody's time, and after the first contact, unless the route leaves that to the system. To an account
    that has churned, or is there no more, none does. In the caller's transaction, which has claimed the plays.
    """
    plays = {
        play.pk: play
        for play in Play.objects.filter(pk__in=[step.play_id for step in steps]).select_related(
            "account", "owner__user", "product", "playbook"
        )
    }
    to = _recipients(steps, plays)
    letters = letters_for(list(plays.values()), to, now)
    drafts = []
    for step in steps:
        mail, person = step.settings["mail"], to.get(step.play_id)
        drafts.append(
            MailDraft(
                play=plays[step.play_id],
                step=step,
                champion=person,
                to_address="" if person is None else person.email,
                subject=fill_in_subject(mail["subject"], letters[step.play_id]),
                body=fill_in_body(mail["body"], letters[step.play_id]),
                automatic=bool(mail.get("automatic")),
                written_at=now,
                updated_at=now,
            )
        )
    MailDraft.objects.bulk_create(drafts)
    by_itself = [draft for draft in drafts if draft.automatic]
    if by_itself:
        touched = set(
            Touch.objects.filter(play__in=[draft.play_id for draft in by_itself], direction=Touch.Direction.OUT)
            .order_by()
            .values_list("play", flat=True)
        )
        gone = _gone({draft.play.account for draft in by_itself}, now)
        ready = [
            draft
            for draft in by_itself
            if draft.play.account_id not in gone and _goes_by_itself(draft.play, touched) and _unready(draft) is None
        ]
        _queue(ready, now, None)
    return drafts


def _gone(accounts: Collection[Account], now: datetime) -> set[int]:
    """Those of the accounts that a person has to judge first whether to write to, by id. One query."""
    there = {account.pk for account in accounts if account.deleted_at is None and account.merged_into_id is None}
    facts = AccountFacts.objects.holding_at(now).filter(account__in=Ids(sorted(there)), lifecycle=Lifecycle.CHURNED)
    return {account.pk for account in accounts} - there | set(facts.order_by().values_list("account", flat=True))


def _goes_by_itself(play: Play, touched: set[int]) -> bool:
    routing = Routing.of_play(play)
    return not routing.route.counts_toward_load and (routing.first_touch == "system" or play.pk in touched)


def _recipients(steps: Sequence[PlayStep], plays: Mapping[int, Play]) -> dict[int, Champion]:
    """Whom each play's mail goes to, by play id; who has nobody with an address is left out. One query."""
    accounts = {play.account_id for play in plays.values()}
    people: dict[int, list[Champion]] = {}
    there = Champion.objects.filter(account__in=accounts, left_on__isnull=True).exclude(email="").order_by("pk")
    for person in there:
        people.setdefault(person.account_id, []).append(person)
    chosen = {}
    for step in steps:
        roles = list(step.settings["mail"].get("to", MAIL_ROLES))
        fitting = [person for person in people.get(plays[step.play_id].account_id, ()) if person.role in roles]
        if fitting:
            chosen[step.play_id] = min(fitting, key=lambda person: (roles.index(person.role), person.pk))
    return chosen


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

    One that was suppressed or failed is a draft again. Where nothing differs nothing is written. Raises the model's
    DoesNotExist; Conflict when the draft's version is not `expected_version` (None: whatever it is); ValidationError,
    by field, for a text that cannot be sent as a mail, a person of another account, or one who has left, and where the
    draft is not theirs to edit.
    """
    require_aware(now=now)
    drafts, refused = _claimed([draft_id], now, actor)
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
    for name, value in wanted.items():
        setattr(draft, name, value)
    draft.state = MailDraft.State.DRAFT
    _save([draft], [*wanted, "state"], now)
    _tell([draft], "Draft of a mail changed", now, actor)
    return draft


@transaction.atomic
def send_drafts(
    *, draft_ids: Iterable[int], now: datetime, actor: Any, seen: Mapping[int, int] | None = None
) -> Answers:
    """Send drafts that a person has read; answers per id.

    They go to the address that their reader has now; answers come to the owner of the play. `seen` is the version of
    each draft as it was read: one that was changed since is not sent. One whose address is suppressed says so from now
    on, and does not go. What was sent before is not sent again.
    """
    require_aware(now=now)
    drafts, answers = _claimed(draft_ids, now, actor)
    ready = []
    for draft in drafts:
        if seen is not None and seen.get(draft.pk, draft.version) != draft.version:
            answers[draft.pk] = "somebody else has changed it: read it again"
        else:
            answers[draft.pk] = _closed(draft) or _unready(draft)
        if answers[draft.pk] is None:
            ready.append(draft)
    for draft in _queue(ready, now, actor):
        answers[draft.pk] = f"{draft.to_address} is suppressed: no mail goes there"
    return answers


@transaction.atomic
def discard_drafts(*, draft_ids: Iterable[int], now: datetime, actor: Any) -> Answers:
    """Throw drafts away that were not sent; answers per id. Their steps stay: they are done another way, or skipped."""
    require_aware(now=now)
    drafts, answers = _claimed(draft_ids, now, actor)
    answers |= {draft.pk: _closed(draft) for draft in drafts}
    gone = [draft for draft in drafts if answers[draft.pk] is None]
    for draft in gone:
        draft.state = MailDraft.State.DISCARDED
    _save(gone, ["state"], now)
    _tell(gone, "Draft of a mail discarded", now, actor)
    return answers


#: What the fate of a delivery makes of its draft; of other fates the last word is not spoken.
_FATES: Mapping[str, str] = {
    Delivery.State.SENT: MailDraft.State.SENT,
    Delivery.State.SUPPRESSED: MailDraft.State.SUPPRESSED,
    Delivery.State.CANCELLED: MailDraft.State.FAILED,
}


def settle_drafts(*, delivery_ids: Iterable[int], now: datetime) -> int:
    """Tell drafts what became of their mails; answers of how many. In the transaction that wrote it; safe twice.

    What was sent becomes a contact, and its step is done, by a worker soon after.
    """
    rows = MailDraft.objects.filter(delivery__in=list(delivery_ids), state=MailDraft.State.QUEUED)
    settled = list(rows.filter(delivery__state__in=list(_FATES)).select_related("delivery"))
    if not settled:
        return 0
    for draft in settled:
        draft.state = _FATES[draft.delivery.state]
        draft.sent_at = draft.delivery.sent_at if draft.state == MailDraft.State.SENT else None
    _save(settled, ["state", "sent_at"], now)
    poke("work")
    return len(settled)


def _claimed(draft_ids: Iterable[int], now: datetime, actor: Any) -> tuple[list[MailDraft], Answers]:
    """The drafts whose plays the actor may write to the customer of, claimed; and why not, of the others, by id."""
    wanted = list(dict.fromkeys(draft_ids))
    plays = dict(MailDraft.objects.filter(pk__in=wanted).values_list("pk", "play"))
    rights = Rights.of(actor, now)
    token = uuid.uuid4()
    lock_in_order(set(plays.values()))
    Play.objects.filter(allowed_q(VERB, rights), pk__in=set(plays.values())).update(claim=token)
    rows = MailDraft.objects.filter(pk__in=wanted, play__claim=token).select_related(
        "play__account", "play__playbook", "play__owner__user", "champion", "step"
    )
    drafts = {draft.pk: draft for draft in rows}
    others = (
        Play.objects.filter(pk__in=[play for pk, play in plays.items() if pk not in drafts])
        .with_step()
        .select_related("owner", "holder")
        .in_bulk()
    )
    refused: Answers = {
        pk: refusal(VERB, others[plays[pk]], rights) if plays.get(pk) in others else "there is no such draft"
        for pk in wanted
        if pk not in drafts
    }
    return [drafts[pk] for pk in wanted if pk in drafts], refused


def _closed(draft: MailDraft) -> str | None:
    """Why nothing can be done with a draft any more; None where something can."""
    if draft.state not in UNSENT:
        return (
            f"it is {draft.get_state_display().lower()} already"
            if draft.sent_at
            else (f"nothing can be done with it any more: {draft.get_state_display().lower()}")
        )
    if draft.step is not None and draft.step.state != PlayStep.State.CURRENT:
        return f"its step is over: {draft.step.get_state_display().lower()}"
    return None


def _unready(draft: MailDraft) -> str | None:
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


def _queue(drafts: Sequence[MailDraft], now: datetime, actor: Any) -> list[MailDraft]:
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
    _tell(going, "Mail on its way", now, actor)
    _tell(held, "Mail not sent, the address is suppressed", now, actor)
    return held


def _save(drafts: Sequence[MailDraft], fields: Sequence[str], now: datetime) -> None:
    for draft in drafts:
        draft.version += 1
        draft.updated_at = now
    MailDraft.objects.bulk_update(drafts, [*fields, "version", "updated_at"], batch_size=500)


def _tell(drafts: Iterable[MailDraft], what: str, now: datetime, actor: Any) -> None:
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
