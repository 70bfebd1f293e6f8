"""When the steps of plays are due, and what becomes of them when their play moves.

Due times always follow from the play's intervals and the owner's calendar, as those of clocks do; nothing here patches
one. Called in the transactions of the acts that write steps and intervals, which have claimed the plays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce, Greatest

from csplaybooks.accounts.acts.record import write_timeline
from csplaybooks.accounts.ids import Ids
from csplaybooks.playbooks.acts.deliveries import lines_of, take_out
from csplaybooks.playbooks.business_time import CalendarError, HorizonExceeded, due_at
from csplaybooks.playbooks.calendar_choice import NoDefaultCalendar, calendar_values_in, choose_calendars
from csplaybooks.playbooks.clockwork import pauses_of
from csplaybooks.playbooks.models import Clock, Delivery, MailDraft, Play, PlayStep
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.step_texts import lasts

#: Why what was left of a closed play's steps is not done.
CLOSED = "The play is closed."

#: How the line begins that tells of a mail which was queued when its play was closed.
_NOT_SENT = "Mail not sent: the play was closed"

#: Kinds of step that something else than a person may end: a worker looks whether it has.
_ANSWERED = (PlayStep.Kind.MAIL, PlayStep.Kind.PROMPT, PlayStep.Kind.TRIAL)

#: The drafts that can be sent: nothing of them is on its way.
UNSENT = (MailDraft.State.DRAFT, MailDraft.State.SUPPRESSED, MailDraft.State.FAILED)

#: The drafts that a person has to do something with, before or instead of sending them.
LEFT = (*UNSENT, MailDraft.State.UNCLEAR)


def set_due(steps: Sequence[PlayStep], plays: Mapping[int, Any]) -> None:
    """Compute `due_at` of steps that have begun anew, on the objects only; a constant number of queries.

    `plays` have `pk`, `owner_id` and `account_id`, by id. None where a step is due at no time, while its play is paused
    without an end, and where no calendar can tell.
    """
    spans = {step.pk: lasts(step.kind, step.settings) for step in steps}
    timed = [step for step in steps if spans[step.pk][0] is not None]
    for step in steps:
        step.due_at = None
    if not timed:
        return
    paused = pauses_of(step.play_id for step in timed)
    hours = _hours({step.play_id for step in timed if spans[step.pk][1]}, plays)
    for step in timed:
        span, in_working_hours = spans[step.pk]
        if span is None or step.began_at is None or (in_working_hours and step.play_id not in hours):
            continue
        calendar = hours[step.play_id] if in_working_hours else None
        try:
            step.due_at = due_at(calendar, step.began_at, span, paused[step.play_id])
        except HorizonExceeded:
            step.due_at = None


def _hours(play_ids: Collection[int], plays: Mapping[int, Any]) -> dict[int, Any]:
    """The hours that count on plays; who has none that could be told is left out."""
    if not play_ids:
        return {}
    try:
        choices = choose_calendars([plays[pk] for pk in sorted(play_ids)])
        values = calendar_values_in((choice.calendar_id, choice.zone) for choice in choices.values())
    except (NoDefaultCalendar, CalendarError):
        # An act on a play never fails for the sake of a due date.
        return {}
    return {pk: values[choice.calendar_id, choice.zone] for pk, choice in choices.items()}


def follow_moves(moved: Collection[int], closed: Collection[int], now: datetime) -> None:
    """Plays have moved: what is to be done on those open is due anew, what is left of those closed is not done.

    One query where the plays that moved have no step to do, two where plays were closed.
    """
    if moved:
        _due_anew(moved)
    if closed:
        left = PlayStep.objects.filter(play__in=closed, state__in=[PlayStep.State.WAITING, PlayStep.State.CURRENT])
        # Clocks of machines differ: nothing is over before it began.
        over = Greatest(Coalesce(F("began_at"), Value(now)), Value(now))
        left.update(state=PlayStep.State.SKIPPED, done_at=over, note=CLOSED, is_stale=False)
        _call_off_mail(closed, now)


def _due_anew(play_ids: Collection[int]) -> None:
    # Locked, so that a mark that somebody sets meanwhile is not written over.
    current = PlayStep.objects.filter(play__in=play_ids, state=PlayStep.State.CURRENT)
    steps = list(current.select_for_update(no_key=True).order_by("pk"))
    if not steps:
        return
    plays = Play.objects.filter(pk__in=[step.play_id for step in steps]).only("pk", "owner", "account").in_bulk()
    set_due(steps, plays)
    for step in steps:
        # What was told while a play was paused is looked at now.
        step.is_stale = step.is_stale or step.kind in _ANSWERED
    save_steps(steps, ["due_at", "is_stale"])


def save_steps(steps: Iterable[PlayStep], fields: Sequence[str]) -> None:
    """Save what was computed of steps that were read under the claim of their plays."""
    PlayStep.objects.bulk_update(steps, fields, batch_size=500)


def hours_changed(plays: Q) -> int:
    """Working hours have changed of plays (a condition over `play`, an empty one is all): what is due in them is due
    anew, by the next look; answers of how many steps."""
    # Those that are due at no time too: there may have been no calendar that could tell.
    marked = look_again(PlayStep.objects.filter(plays, settings__counting=Clock.Hours.WORKING))
    if marked:
        poke("work")
    return marked


def look_again(steps: Any) -> int:
    """Have a worker look at these steps (a queryset) again, those that are to be done now; answers how many.

    Those that are marked already too: a worker that looks at one now takes the mark off when it has finished, and has
    not seen what is told here. They are locked first, in the order in which workers and acts lock them.
    """
    current = PlayStep.objects.filter(state=PlayStep.State.CURRENT)
    wanted = current.filter(pk__in=steps.order_by().values("pk")).select_for_update(no_key=True).order_by("pk")
    ids = list(wanted.values_list("pk", flat=True))
    return int(current.filter(pk__in=Ids(ids)).update(is_stale=True)) if ids else 0


def _call_off_mail(play_ids: Collection[int], now: datetime) -> None:
    """Discard the drafts of plays, and call off what is queued and not under way yet; their timelines tell of that."""
    discard_mail(MailDraft.objects.filter(play__in=play_ids), now, states=[*LEFT, MailDraft.State.QUEUED], why=CLOSED)


def discard_mail(drafts: Any, now: datetime, *, states: Collection[str] = LEFT, why: str = "") -> None:
    """Discard drafts (a queryset) in these states, and call their mails off, so that none goes later as well.

    What is being sent stays as it is. Timelines tell of mails that waited to be sent when their plays were closed. One
    query where there are none.
    """
    rows = list(drafts.filter(state__in=states).order_by("pk").values_list("pk", "state", "delivery"))
    if not rows:
        return
    waited = [delivery for _, state, delivery in rows if state == MailDraft.State.QUEUED and delivery is not None]
    off = take_out([delivery for _, _, delivery in rows if delivery is not None], why)
    if told := [delivery for delivery in waited if delivery in off]:
        mails = Delivery.objects.filter(pk__in=told)
        write_timeline(lines_of(mails, lambda delivery: ("mail_cancelled", _NOT_SENT), now))
    gone = [pk for pk, _, delivery in rows if delivery is None or delivery in off]
    MailDraft.objects.filter(pk__in=gone).update(
        state=MailDraft.State.DISCARDED, version=F("version") + 1, updated_at=now
    )
