"""Steps: what begins, and what ends without a person.

The plays are the queue: those with an owner whose first step has not begun, those with a wait or a trial whose time has
come, those on whose step something was told, and those of which a mail was sent that is no contact yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from django.db.models import Max, Min, TextField, Value
from django.db.models.functions import Coalesce

from csplaybooks.accounts.acts.record import timeline_entry, write_timeline
from csplaybooks.accounts.ids import Ids
from csplaybooks.playbooks.acts.steps import begin_steps, end_steps
from csplaybooks.playbooks.acts.touches import Contact, log_contacts
from csplaybooks.playbooks.calendar_choice import calendars_at_rest
from csplaybooks.playbooks.contacts import SHOWN_TYPE, USED_TYPE
from csplaybooks.playbooks.measures.properties import PropertyText
from csplaybooks.playbooks.models import Calendar, Interval, MailDraft, Play, PlayStep, Stage, State, Touch
from csplaybooks.playbooks.pipeline.queue import work_off
from csplaybooks.playbooks.prompts import PROPERTY, prompt_id
from csplaybooks.playbooks.stepwork import save_steps, set_due
from csplaybooks.signals.models import Signal

_WORKED = [Stage.OWNED, Stage.RUNNING]

#: What lasts a time, and is over then.
_LASTING = [PlayStep.Kind.WAIT, PlayStep.Kind.TRIAL]


def queues(now: datetime) -> Iterator[Any]:
    """The plays that wait for this worker, by what they wait for; each is found by a small index of its own.

    While a calendar is being edited, those on which something was told wait for the end of that.
    """
    steps, plays = PlayStep.objects.order_by(), Play.objects.all()
    untold = MailDraft.objects.filter(state=MailDraft.State.SENT, touch__isnull=True).order_by()
    yield plays.filter(pk__in=untold.values("play"))
    worked = plays.filter(stage__in=_WORKED)
    # While a play is paused nothing begins, and nothing ends.
    going = worked.exclude(state=State.PAUSED)
    first = steps.filter(state=PlayStep.State.WAITING, number=1)
    yield going.filter(pk__in=first.values("play"))
    over = steps.filter(state=PlayStep.State.CURRENT, kind__in=_LASTING, due_at__lte=now)
    yield going.filter(pk__in=over.values("play"))
    stale = steps.filter(state=PlayStep.State.CURRENT, is_stale=True)
    if stale.exists() and _no_calendar_is_edited():
        yield worked.filter(pk__in=stale.values("play"))


def _no_calendar_is_edited() -> bool:
    return len(calendars_at_rest()) == Calendar.objects.count()


def work_steps(*, now: datetime, limit: int = 200) -> int:
    """Look at the steps of plays that wait for it; answers how many plays were looked at. Safe twice, and at once."""
    return sum(
        work_off(queue, lambda ids: _look(ids, now), now=now, order_by=("opened_at", "pk"), limit=limit)
        for queue in queues(now)
    )


def _look(play_ids: Sequence[int], now: datetime) -> None:
    """Do all that there is to do by itself on the steps of plays; a constant number of queries."""
    # Before anything is read that they hang on: who tells of something more marks them when this has finished. And
    # before clocks, as in all acts.
    current = PlayStep.objects.filter(play__in=play_ids, state=PlayStep.State.CURRENT)
    list(current.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    _tell_sent(play_ids, now)
    plays = (
        Play.objects.filter(pk__in=play_ids, stage__in=_WORKED).select_related("account", "playbook", "owner").in_bulk()
    )
    steps = list(
        PlayStep.objects.filter(play__in=plays, state=PlayStep.State.CURRENT).select_related("draft").order_by("pk")
    )
    ended = _over(steps, plays, now)
    over = [step for step in steps if step.pk in ended]
    for step in over:
        step.note = _NOTES.get(ended[step.pk].why, step.note)
    end_steps(over, PlayStep.State.DONE, {pk: end.at for pk, end in ended.items()}, now)
    write_timeline([_line(step, plays[step.play_id], ended[step.pk], now) for step in over])
    # While a play is paused the customer is left alone: nothing begins.
    going = {pk: play for pk, play in plays.items() if play.state != State.PAUSED}
    begin_steps(going, now, began=_owned_from(set(going) - {step.play_id for step in steps}))


def _owned_from(play_ids: set[int]) -> dict[int, datetime]:
    """Since when plays have an owner: their first step begins then, however late this worker came. One query."""
    if not play_ids:
        return {}
    fresh = PlayStep.objects.filter(play__in=play_ids, number=1, state=PlayStep.State.WAITING).values("play")
    rows = Interval.objects.filter(play__in=fresh, owner__isnull=False).order_by().values("play")
    return dict(rows.annotate(first=Min("valid_from")).values_list("play", "first"))


def _tell_sent(play_ids: Sequence[int], now: datetime) -> None:
    """Mails that were sent become contacts, at the time at which they were; once each."""
    drafts = list(
        MailDraft.objects.filter(play__in=play_ids, state=MailDraft.State.SENT, touch__isnull=True)
        .select_related("play")
        .order_by("pk")
    )
    if not drafts:
        return
    members = _members([draft.sent_by_id for draft in drafts if draft.sent_by_id is not None])
    touches = log_contacts(
        contacts=[
            Contact(
                play_id=draft.play_id,
                channel=Touch.Channel.EMAIL,
                direction=Touch.Direction.OUT,
                # It was asked for while the play was open.
                at=max(draft.play.opened_at, min(draft.sent_at, draft.play.closed_at or draft.sent_at)),
                origin=Touch.Origin.DRAFT,
                by_member_id=members.get(draft.sent_by_id),
                note=draft.subject,
            )
            for draft in drafts
        ],
        now=now,
    )
    for draft, touch in zip(drafts, touches, strict=True):
        draft.touch = touch
    MailDraft.objects.bulk_update([draft for draft in drafts if draft.touch is not None], ["touch"], batch_size=500)


def _members(user_ids: Sequence[int]) -> Mapping[int | None, int]:
    from csplaybooks.accounts.models import TeamMember

    return dict(TeamMember.objects.filter(user__in=user_ids).values_list("user", "pk")) if user_ids else {}


class Why(Enum):
    """Why a step is over without a person; its value is how the timeline says it."""

    TIME = "is over"
    USED = "ended, the feature was used"
    #: Of a trial, which something else might have ended.
    TIME_UP = "ended, its time is over"
    SHOWN = "was shown"
    SENT = "was sent"


#: What is noted on a step that might have ended another way.
_NOTES: Mapping[Why, str] = {
    Why.USED: "The feature was used.",
    Why.TIME_UP: "Its time is over.",
    Why.SHOWN: "The prompt was shown.",
}


@dataclass(frozen=True)
class End:
    """When a step was over, and why."""

    at: datetime
    why: Why


def _over(steps: Sequence[PlayStep], plays: Mapping[int, Play], now: datetime) -> dict[int, End]:
    """Which of the steps to be done are over, since when and why; the others are looked at until something is told.

    When what lasts is over is computed anew first: its calendar may have been edited.
    """
    # Asked before the hours are read, of steps that are locked: an edit that begins from now on marks them afterwards.
    unsettled = any(step.is_stale for step in steps) and not _no_calendar_is_edited()
    set_due(steps, plays)
    shown, used = _shown(steps, plays), _used(steps)
    ended: dict[int, End] = {}
    for step in steps:
        step.is_stale = step.is_stale and unsettled
        if plays[step.play_id].state == State.PAUSED:
            continue
        told, why = shown.get(step.pk), Why.SHOWN
        if step.kind == PlayStep.Kind.MAIL:
            draft = getattr(step, "draft", None)
            told, why = draft.sent_at if draft is not None and draft.state == MailDraft.State.SENT else None, Why.SENT
        elif step.pk in used:
            told, why = used[step.pk], Why.USED
        elif step.kind in _LASTING and step.due_at is not None and step.due_at <= now:
            told, why = step.due_at, Why.TIME_UP if step.kind == PlayStep.Kind.TRIAL else Why.TIME
        if told is not None and step.began_at is not None:
            # Clocks of machines differ: nothing is over before it began, or later than now.
            ended[step.pk] = End(max(step.began_at, min(told, now)), why)
    save_steps(steps, ["due_at", "is_stale"])
    return ended


def _shown(steps: Sequence[PlayStep], plays: Mapping[int, Play]) -> dict[int, datetime]:
    """Since when prompts have been shown, by the ids of their steps; one query where there are any."""
    prompts = {prompt_id(step.play_id): step for step in steps if step.kind == PlayStep.Kind.PROMPT}
    if not prompts:
        return {}
    asked = [plays[step.play_id] for step in prompts.values()]
    rows = (
        Signal.objects.effective_at(None)
        .filter(account__in=Ids(sorted({play.account_id for play in asked})), type__key=SHOWN_TYPE)
        .filter(occurred_at__gte=min(play.opened_at for play in asked))
        .annotate(named=Coalesce(PropertyText(PROPERTY), Value(""), output_field=TextField()))
        .filter(named__in=list(prompts))
        .order_by()
        .values("named", "account")
        .annotate(first=Min("occurred_at"))
    )
    return {
        step.pk: row["first"]
        for row in rows
        if (step := prompts[row["named"]]) and plays[step.play_id].account_id == row["account"]
    }


def _used(steps: Sequence[PlayStep]) -> dict[int, datetime]:
    """When features on trial were last used since then, by the ids of steps; one query where there are any."""
    trials = [step for step in steps if step.kind == PlayStep.Kind.TRIAL and step.settings.get("feature")]
    if not trials:
        return {}
    accounts = dict(Play.objects.filter(pk__in=[step.play_id for step in trials]).values_list("pk", "account"))
    rows = (
        Signal.objects.effective_at(None)
        .filter(account__in=Ids(sorted(set(accounts.values()))), type__key=USED_TYPE)
        .filter(occurred_at__gte=min(step.began_at for step in trials if step.began_at is not None))
        .annotate(named=Coalesce(PropertyText("feature"), Value(""), output_field=TextField()))
        .filter(named__in={step.settings["feature"] for step in trials})
        .order_by()
        .values("named", "account")
        .annotate(last=Max("occurred_at"))
    )
    last = {(row["account"], row["named"]): row["last"] for row in rows}
    found = {step.pk: last.get((accounts[step.play_id], step.settings["feature"])) for step in trials}
    return {step.pk: at for step in trials if (at := found[step.pk]) is not None and at >= step.began_at}


def _line(step: PlayStep, play: Play, end: End, now: datetime) -> Any:
    return timeline_entry(
        account_id=play.account_id,
        at=end.at,
        now=now,
        kind="play_step",
        text=f"{play.playbook.name}: Step {step.number} {end.why.value}: {step.text[:100]}",
        subject=play,
    )
