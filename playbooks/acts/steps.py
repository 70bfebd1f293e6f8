"""Acts on the steps of plays, which are done one after the other.

The first begins when the play has its owner, each other one when the one before it is done or skipped. A person does
and skips them; a wait is over by itself, a prompt is done when it was shown, a trial when the feature was used or its
time is over, and a mail when it was sent: `csplaybooks.playbooks.pipeline.stepping` sees to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, Q

from csplaybooks.accounts.acts.record import acting_user, require_aware
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.acts.drafting import write_drafts
from csplaybooks.playbooks.acts.moving import Answers, Seen, act_on_plays, choice, finish_clocks, words
from csplaybooks.playbooks.intervals import Move
from csplaybooks.playbooks.models import Clock, Interval, MailDraft, Play, PlayStep, Stage, State, Touch
from csplaybooks.playbooks.moves import Rights, allowed_q
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.step_texts import lasts
from csplaybooks.playbooks.stepwork import discard_mail, save_steps, set_due

#: Why the step of a play cannot be finished by a person.
ON_ITS_WAY = "the mail of this step is on its way: wait until it has gone, or say on its page not to send it"

#: Steps that something else may have ended before they began, or ends as soon as somebody looks.
_LOOKED_AT = (PlayStep.Kind.PROMPT, PlayStep.Kind.TRIAL)


def _is_looked_at(step: PlayStep) -> bool:
    """Whether a worker looks at a step as soon as it has begun: so it is where working hours count too, as whoever
    edits a calendar at this very moment does not see it."""
    span, in_working_hours = lasts(step.kind, step.settings)
    return step.kind in _LOOKED_AT or (span is not None and in_working_hours)


def finish_steps(
    *,
    play_ids: Iterable[int],
    now: datetime,
    note: str = "",
    skip: bool = False,
    contact: str = "",
    actor: Any = None,
    seen: Seen = None,
) -> Answers:
    """Do, or with `skip` skip, the step that is to be done on plays; the next one begins. Answers per play id.

    For who owns or holds the play, stands in for them, or is above them. A draft of a mail that was not sent, or may
    not have gone, is discarded, and its mail called off: it went out another way, or not at all. `contact` is the
    channel by which whoever did the step was in contact with the customer: it is logged as a contact, made now, which
    stops the clock of the first touch. Raises ValidationError where a step is skipped without a reason, and for a
    channel that there is not.
    """
    require_aware(now=now)
    if contact:
        contact = choice(Touch.Channel, "contact", contact)
    note = words("note", note, "Say why it is skipped." if skip else None)
    verb = "skip_step" if skip else "step"
    wanted = list(dict.fromkeys(play_ids))
    state = PlayStep.State.SKIPPED if skip else PlayStep.State.DONE
    member = _member_of(actor)
    finished: dict[int, PlayStep] = {}

    def move(play: Play) -> Move | None:
        if not contact or play.stage != Stage.OWNED:
            return None
        return Move(play.pk, Stage.RUNNING, State(play.state), play.owner_id, play.holder_id, Interval.HeldBy.MEMBER)

    def after(plays: Sequence[Play]) -> None:
        current = PlayStep.objects.filter(play__in=plays, state=PlayStep.State.CURRENT)
        # Locked before clocks, and before mails are called off, as in all acts.
        steps = list(current.select_for_update(no_key=True).order_by("pk"))
        if contact:
            _log(plays, contact, member, note, now)
        finished.update((step.play_id, step) for step in steps)
        for step in steps:
            step.done_by_id, step.note = member, note
        # Clocks of machines differ, and people wait for each other: nothing is over before it began.
        over = {step.pk: max(now, step.began_at or now) for step in steps}
        end_steps(steps, state, over, now)
        begin_steps({play.pk: play for play in plays}, now, began={step.play_id: over[step.pk] for step in steps})

    def text(play: Play) -> str:
        step = finished[play.pk]
        line = f"Step {step.number} {'skipped' if skip else 'done'}: {_short(step.text)}"
        line += f" ({note})" if note else ""
        return line + (f"; contact logged: {Touch.Channel(contact).label}" if contact else "")

    sending = PlayStep.objects.filter(
        play=OuterRef("pk"), state=PlayStep.State.CURRENT, draft__state=MailDraft.State.QUEUED
    )
    answers = act_on_plays(verb, wanted, move, text, now, actor, after=after, only=~Q(Exists(sending)), seen=seen)
    refused = [pk for pk, why in answers.items() if why is not None]
    return answers | dict.fromkeys(_with_mail_on_its_way(verb, refused, actor, now), ON_ITS_WAY)


def _log(plays: Sequence[Play], channel: str, member: int | None, note: str, now: datetime) -> None:
    """Write down that the customer was contacted, on plays that the caller has claimed; their first touch was made."""
    # Clocks of machines differ: no contact lies before its play was opened.
    at = {play.pk: max(play.opened_at, now) for play in plays}
    Touch.objects.bulk_create(
        [
            Touch(
                play=play,
                account_id=play.account_id,
                channel=channel,
                direction=Touch.Direction.OUT,
                by_member_id=member,
                at=at[play.pk],
                note=note,
            )
            for play in plays
        ]
    )
    finish_clocks(plays, Clock.Target.FIRST_TOUCH, at, now)


def _member_of(actor: Any) -> int | None:
    """The member of the team who acts; None where nobody or a token does."""
    user = acting_user(actor)
    if user is None or user.pk is None:
        return None
    return TeamMember.objects.filter(user=user.pk).values_list("pk", flat=True).first()


def _with_mail_on_its_way(verb: str, play_ids: Sequence[int], actor: Any, now: datetime) -> list[int]:
    """Those of the plays whose step might be finished, if its mail were not on its way."""
    if not play_ids:
        return []
    sending = PlayStep.objects.filter(state=PlayStep.State.CURRENT, draft__state=MailDraft.State.QUEUED)
    plays = Play.objects.filter(allowed_q(verb, Rights.of(actor, now)), pk__in=play_ids)
    return list(plays.filter(pk__in=sending.values("play")).values_list("pk", flat=True))


def end_steps(steps: Sequence[PlayStep], state: str, at: Mapping[int, datetime], now: datetime) -> None:
    """Steps that are to be done now are over, each at its moment; drafts that were not sent are discarded, and mails of
    theirs that were given up or are unclear called off.

    In the caller's transaction, which has claimed their plays.
    """
    if not steps:
        return
    for step in steps:
        # Clocks of machines differ: nothing is over before it began.
        step.done_at = max(at[step.pk], step.began_at or at[step.pk])
        step.state, step.is_stale = state, False
    save_steps(steps, ["state", "done_at", "done_by", "note", "is_stale"])
    # Whoever has the step before on their page must not do the next one by it.
    Play.objects.filter(pk__in=[step.play_id for step in steps]).update(version=F("version") + 1, updated_at=now)
    mails = [step.pk for step in steps if step.kind == PlayStep.Kind.MAIL]
    if mails:
        discard_mail(MailDraft.objects.filter(step__in=mails), now)


def begin_steps(
    plays: Mapping[int, Play], now: datetime, *, began: Mapping[int, datetime] | None = None
) -> list[PlayStep]:
    """Begin the next step of plays that have none to do; answers those that began. A constant number of queries.

    `plays` are by id, with their account and owner at hand, open, and claimed by the caller. `began` says of some when
    their step began, for all others that is now. The draft of a mail is written.
    """
    rows = PlayStep.objects.filter(
        play__in=list(plays), state__in=[PlayStep.State.WAITING, PlayStep.State.CURRENT]
    ).order_by("play", "number")
    first: dict[int, PlayStep] = {}
    busy = set()
    for step in rows:
        if step.state == PlayStep.State.CURRENT:
            busy.add(step.play_id)
        first.setdefault(step.play_id, step)
    steps = [step for play_id, step in first.items() if play_id not in busy]
    if not steps:
        return []
    for step in steps:
        step.state = PlayStep.State.CURRENT
        step.began_at = (began or {}).get(step.play_id, now)
        step.is_stale = _is_looked_at(step)
    set_due(steps, plays)
    save_steps(steps, ["state", "began_at", "due_at", "is_stale"])
    if any(step.is_stale for step in steps):
        poke("work")
    mails = [step for step in steps if "mail" in step.settings]
    if mails:
        write_drafts(mails, now)
    return steps


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:99]}…"
