"""What the rows of clocks mean: their targets, calendars and due times, and the next thing to happen.

A clock's times always follow from its play's intervals and owner; nothing here patches a due time.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from csplaybooks.accounts.ids import Ids
from csplaybooks.playbooks.business_time import BusinessCalendar, HorizonExceeded, due_at, moment_at_share
from csplaybooks.playbooks.calendar_choice import Choice, NoDefaultCalendar, calendar_values_in, choose_calendars
from csplaybooks.playbooks.ladder import Ladder
from csplaybooks.playbooks.models import (
    Calendar,
    Clock,
    ClockEvent,
    Handoff,
    Interval,
    Play,
    PlaybookVersion,
    State,
)
from csplaybooks.playbooks.targets import LAPSE_AFTER_HOURS

logger = logging.getLogger("csplaybooks.clocks")

Pauses = list[tuple[datetime, datetime | None]]
Calendars = Mapping[tuple[int, str], BusinessCalendar]
"""Calendars as values, by id and zone; the zone is empty where it is the calendar's own."""


def promising_version(play: Play) -> int:
    """The id of the version whose targets count for a play: that to which they were moved, or the play's own."""
    return play.promises_id or play.recipe_id


def documents_of(plays: Iterable[Play]) -> dict[int, Mapping[str, Any]]:
    """The documents whose targets count for plays, by the id of their version; one query."""
    versions = {promising_version(play) for play in plays}
    return dict(PlaybookVersion.objects.filter(pk__in=versions).values_list("pk", "document"))


@dataclass(frozen=True)
class Promise:
    """A target that is promised on a play from a moment on. `number` tells clocks of one play and target apart."""

    play: Play
    target: Mapping[str, Any]
    started_at: datetime
    number: int = 1


def new_clocks(promises: Iterable[Promise]) -> list[Clock]:
    """The clocks of promises, in their order, unsaved and without their times (see `set_times`); constant queries.

    They run in the calendar that their target names, or else in that of the play's owner. Raises NoDefaultCalendar
    where working hours count and no calendar does.
    """
    promises = list(promises)
    clocks = [
        Clock(
            play=promise.play,
            target=promise.target["target"],
            number=promise.number,
            started_at=promise.started_at,
        )
        for promise in promises
    ]
    set_targets(clocks, [promise.target for promise in promises])
    return clocks


def set_targets(clocks: Sequence[Clock], targets: Sequence[Mapping[str, Any]]) -> None:
    """Have clocks promise what targets say, each in its calendar, on the objects only; constant queries.

    Raises NoDefaultCalendar where working hours count and no calendar does.
    """
    keys = {target["calendar"] for target in targets if "calendar" in target}
    named = dict(Calendar.objects.filter(key__in=keys).values_list("key", "pk")) if keys else {}
    for clock, target in zip(clocks, targets, strict=True):
        clock.promised_seconds = round(target["hours"] * 3600)
        clock.hours = target["counting"]
        clock.warn_percents = list(target["warn_percents"])
        clock.escalation_waits = [round(hours * 3600) for hours in target["escalate_after_hours"]]
        # A version of long ago may name a calendar that is gone: then the owner's counts.
        clock.calendar_id, clock.zone = named.get(target.get("calendar", "")), ""
        clock.follows_owner = clock.calendar_id is None
    _follow_owners(clocks)


def _follow_owners(clocks: Iterable[Clock]) -> None:
    """Give clocks that follow whoever has to keep them that person's calendar and zone, on the objects only.

    Raises NoDefaultCalendar where no calendar counts for one of them.
    """
    following = [clock for clock in clocks if clock.follows_owner and clock.hours == Clock.Hours.WORKING]
    for clock, choice in zip(following, choices_for(following), strict=True):
        clock.calendar_id, clock.zone = choice.calendar_id, choice.zone


@dataclass(frozen=True)
class _Kept:
    """A promise as `choose_calendars` asks for it: of whom, at which account."""

    pk: int
    owner_id: int | None
    account_id: int


def choices_for(clocks: Sequence[Clock]) -> list[Choice]:
    """The calendar and zone of whoever has to keep each of these promises, in their order; constant queries.

    That is the owner of the play; of an offer whoever was asked. Raises NoDefaultCalendar where no calendar counts.
    """
    if not clocks:
        return []
    # As they stand: whoever calls may have just moved them.
    wanted = Play.objects.filter(pk__in=Ids(sorted({clock.play_id for clock in clocks})))
    plays = {pk: people for pk, *people in wanted.order_by().values_list("pk", "owner_id", "holder_id", "account_id")}
    offers = [clock.pk for clock in clocks if clock.target == Clock.Target.HANDOFF_ACCEPTED and clock.pk is not None]
    asked = dict(Handoff.objects.filter(clock__in=Ids(offers)).values_list("clock", "offered_to")) if offers else {}
    kept = []
    for index, clock in enumerate(clocks):
        owner_id, holder_id, account_id = plays[clock.play_id]
        if clock.target == Clock.Target.HANDOFF_ACCEPTED:
            # One that has no row yet is of an offer just made: its play is held by whoever is asked.
            owner_id = asked.get(clock.pk, holder_id)
        kept.append(_Kept(index, owner_id, account_id))
    choices = choose_calendars(kept)
    return [choices[promise.pk] for promise in kept]


def calendars_of(clocks: Iterable[Clock]) -> Calendars:
    """The calendars in which clocks run; at most three queries.

    Raises `business_time.CalendarError` for rows that make no calendar.
    """
    return calendar_values_in((clock.calendar_id, clock.zone) for clock in clocks if clock.calendar_id is not None)


def lapses_after(target: Mapping[str, Any]) -> timedelta:
    """For how long nobody may leave an offer unanswered that is made by a target, in the target's hours."""
    return timedelta(hours=target.get("lapse_after_hours", max(LAPSE_AFTER_HOURS, target["hours"])))


def pauses_of(play_ids: Iterable[int]) -> dict[int, Pauses]:
    """The paused stretches of plays, by play id; one query. A lasting pause ends at None."""
    paused: dict[int, Pauses] = defaultdict(list)
    wanted = Ids(sorted(set(play_ids)))
    rows = Interval.objects.filter(play__in=wanted, state=State.PAUSED).order_by("play_id", "seq")
    for play_id, valid_from, valid_to in rows.values_list("play", "valid_from", "valid_to"):
        paused[play_id].append((valid_from, valid_to))
    return paused


@dataclass(frozen=True)
class Due:
    """One event of a clock: what, at which level, and when it is due."""

    kind: ClockEvent.Kind
    level: int
    at: datetime

    @property
    def step(self) -> int:
        """The per cent of a warning, the number of a rung; see `ClockEvent`."""
        return self.level % ClockEvent.RUN


def promise(clock: Clock) -> timedelta:
    """How long was promised."""
    return timedelta(seconds=clock.promised_seconds)


def working_calendar(clock: Clock, calendars: Calendars) -> BusinessCalendar | None:
    """The calendar that counts for a clock; None where every hour counts."""
    if clock.hours == Clock.Hours.WALL or clock.calendar_id is None:
        return None
    return calendars[clock.calendar_id, clock.zone]


def schedule(
    clock: Clock, calendar: BusinessCalendar | None, pauses: Pauses, written: Iterable[tuple[str, int]] = ()
) -> list[Due]:
    """Everything that will happen on a clock if nobody acts, in order; short while a pause lasts.

    Warnings at their shares of the promise, the breach when it is due, and the rungs of the ladder after it, in
    hours of the same kind. What stands `written` says in which run it is: where the due time lies behind the written
    breach it runs once more, and is warned of what comes after that breach; else the ladder of that breach goes on.
    Where a person has excused it, nobody is told any more: only the breach is left. What the calendar opens too little
    for is left out, as if it never came: no act on a play fails for the sake of a calendar, and the doctor tells of
    such promises.
    """
    due = due_if_ever(calendar, clock.started_at, promise(clock), pauses)
    breaches = sum(kind == ClockEvent.Kind.BREACHED for kind, _ in written)
    stands = is_broken(clock, due)
    run = breaches - 1 if stands and breaches else breaches
    events: list[Due] = []
    for percent in () if stands or clock.excuse_reason else sorted(clock.warn_percents):
        try:
            at = moment_at_share(calendar, clock.started_at, promise(clock), percent, pauses)
        except HorizonExceeded:
            break
        if at is not None and (clock.breached_at is None or at > clock.breached_at):
            events.append(Due(ClockEvent.Kind.WARNED, run * ClockEvent.RUN + percent, at))
    if due is not None:
        events.append(Due(ClockEvent.Kind.BREACHED, run, due))
        ladder = () if clock.excuse_reason else clock.escalation_waits
        for rung, wait in enumerate(ladder, start=1):
            at = due_if_ever(calendar, clock.started_at, promise(clock) + timedelta(seconds=wait), pauses)
            if at is not None:
                events.append(Due(ClockEvent.Kind.ESCALATED, run * ClockEvent.RUN + rung, max(at, due)))
    return events


def is_broken(clock: Clock, due: datetime | None) -> bool:
    """Whether the breach that stands written counts, where the promise is due at `due` (None: it is not).

    It does not while the due time lies behind it: then the clock runs on to that.
    """
    return clock.breached_at is not None and due is not None and due <= clock.breached_at


def due_if_ever(
    calendar: BusinessCalendar | None, start: datetime, duration: timedelta, pauses: Pauses | None = None
) -> datetime | None:
    """When a length of open time has run; None while a pause lasts, and where the calendar opens too little for it."""
    try:
        return due_at(calendar, start, duration, pauses or ())
    except HorizonExceeded:
        return None


def outstanding(events: Sequence[Due], written: Iterable[tuple[str, int]]) -> list[Due]:
    """The events that have not been written yet, in order."""
    done = set(written)
    return sorted((event for event in events if (event.kind, event.level) not in done), key=lambda event: event.at)


def set_times(
    clock: Clock,
    calendar: BusinessCalendar | None,
    pauses: Pauses,
    written: Iterable[tuple[str, int]],
    now: datetime,
) -> None:
    """Compute the clock's `due_at`, `next_event_at`, state and excuse anew, on the object only; it must still tick.

    A written breach stays; while the due time lies behind it, it is excused, and the clock runs on.
    """
    written = set(written)
    set_times_by(clock, schedule(clock, calendar, pauses, written), pauses, written, now)


def set_times_by(
    clock: Clock, events: Sequence[Due], pauses: Pauses, written: Iterable[tuple[str, int]], now: datetime
) -> None:
    """As `set_times`, by what `schedule` has answered already."""
    breach = next((event.at for event in events if event.kind == ClockEvent.Kind.BREACHED), None)
    waiting = outstanding(events, written)
    clock.due_at = breach
    clock.next_event_at = waiting[0].at if waiting else None
    stands = is_broken(clock, breach)
    if stands:
        clock.state = Clock.State.BREACHED
    else:
        lasting = any(end is None for _, end in pauses)
        clock.state = Clock.State.PAUSED if lasting and breach is None else Clock.State.RUNNING
    _excuse(clock, clock.breached_at is not None and not stands, now)
    clock.is_stale = False


def _excuse(clock: Clock, excused: bool, now: datetime) -> None:
    """Have the written breach excused, or not; what a person has excused stays so."""
    if not clock.excuse_reason:
        clock.excused_at = (clock.excused_at or now) if excused else None


def written_events(clock_ids: Iterable[int]) -> dict[int, set[tuple[str, int]]]:
    """The events that stand written on clocks, by clock id; one query."""
    written: dict[int, set[tuple[str, int]]] = defaultdict(set)
    wanted = Ids(sorted(set(clock_ids)))
    rows = ClockEvent.objects.filter(clock__in=wanted).order_by().values_list("clock", "kind", "level")
    for clock_id, kind, level in rows:
        written[clock_id].add((kind, level))
    return written


def finish(clock: Clock, at: datetime, now: datetime) -> ClockEvent | None:
    """The promise was kept at `at`: met, or missed where it was due before that.

    On the object only, whose times must be fresh. Answers the event, unsaved and without a holder, of a breach that
    the watcher had not come by to see, so that it is never lost. A written breach stays; where the promise was kept by
    the time that it is due, moved later meanwhile or only told of late, it is excused and the promise is met.
    """
    # A contact made before somebody owned the play keeps the promise the moment it begins.
    at = max(at, clock.started_at)
    unseen = breach_unseen(clock, at, now)
    _end(clock, Clock.State.MET, at, now)
    return unseen


def call_off(clock: Clock, now: datetime) -> ClockEvent | None:
    """The promise is not waited for any more: cancelled, or missed where it was broken by then. See `finish`."""
    # Clocks of machines differ: nothing ends before it began.
    at = max(now, clock.started_at)
    unseen = breach_unseen(clock, at, now)
    _end(clock, Clock.State.CANCELLED, at, now)
    return unseen


def breach_unseen(clock: Clock, at: datetime, now: datetime) -> ClockEvent | None:
    """Write a breach that was due before `at` on the clock, where none stands, and answer its event.

    Its level is that of a first breach, or 1 where there was one already: `write_unseen` finds which it is.
    """
    due = clock.due_at
    if due is None or due >= at or is_broken(clock, due):
        return None
    level = 0 if clock.breached_at is None else 1
    # Who did it late may have looked at the clock later than whoever writes it down.
    clock.breached_at, clock.noticed_at = due, max(now, at)
    return ClockEvent(
        clock=clock,
        kind=ClockEvent.Kind.BREACHED,
        level=level,
        due_at=due,
        noticed_at=clock.noticed_at,
    )


def _is_late(clock: Clock, at: datetime) -> bool:
    return clock.due_at is not None and clock.due_at < at


def _end(clock: Clock, unless_late: Clock.State, at: datetime, now: datetime) -> None:
    is_late = _is_late(clock, at)
    # In time, and broken all the same: it was moved, or the watcher was quicker than whoever told of it.
    _excuse(clock, clock.breached_at is not None and not is_late, now)
    clock.state = Clock.State.MISSED if is_late else unless_late
    clock.done_at = at
    clock.next_event_at = None


def mark_stale(clocks: Any) -> int:
    """Mark those of these clocks (a queryset) that tick to be computed anew; answers how many.

    They are locked first, in the order in which acts on plays lock them: an UPDATE takes them as it finds them.
    """
    ids = Clock.objects.ticking().filter(pk__in=clocks.order_by().values("pk")).order_by("pk")
    wanted = list(ids.select_for_update(no_key=True).values_list("pk", flat=True))
    return Clock.objects.ticking().filter(pk__in=Ids(wanted)).update(is_stale=True) if wanted else 0


def lapse_times(offers: Iterable[Handoff]) -> dict[int, datetime | None]:
    """When offers lapse that nobody answers, by their id: in the hours of their clocks, as these stand now.

    Those whose calendar opens too little for it are left out.
    """
    offers = list(offers)
    clocks = {offer.pk: offer.clock for offer in offers if offer.clock is not None}
    try:
        _follow_owners(clocks.values())
    except NoDefaultCalendar:
        logger.warning("no calendar is the default: offers keep those that they have")
    calendars = calendars_of(clocks.values())
    times: dict[int, datetime | None] = {}
    for offer in offers:
        if (clock := clocks.get(offer.pk)) is not None:
            lapse = timedelta(seconds=offer.lapse_seconds)
            at = due_if_ever(working_calendar(clock, calendars), clock.started_at, lapse)
            if at is not None:
                times[offer.pk] = at
    return times


def set_lapses(offers: Iterable[Handoff]) -> None:
    """Compute anew when offers that wait lapse, and save it; a constant number of queries.

    Where their calendar opens too little for it, they lapse when they would have.
    """
    offers = list(offers)
    if not offers:
        return
    times = lapse_times(offers)
    for offer in offers:
        offer.expires_at = times.get(offer.pk, offer.expires_at)
    Handoff.objects.filter(answer=Handoff.Answer.WAITING).bulk_update(offers, ["expires_at"], batch_size=500)


#: What a target says of a clock.
TARGETED = ("promised_seconds", "hours", "calendar", "zone", "follows_owner", "warn_percents", "escalation_waits")
#: What is computed of a clock.
COMPUTED = ("calendar", "zone", "due_at", "next_event_at", "state", "is_stale", "excused_at")


def recompute(clocks: Sequence[Clock], now: datetime) -> None:
    """Compute clocks anew from intervals, owners and calendars and save them; they tick, and are locked.

    Where they are of offers that wait, and run in another calendar now, these lapse by it too. A constant number of
    queries.
    """
    if not clocks:
        return
    facts = look_up(clocks)
    for clock in clocks:
        facts.apply(clock, facts.schedule(clock), now)
    save_clocks(clocks, COMPUTED)
    set_lapses(facts.offers_moved())


@dataclass(frozen=True)
class Facts:
    """What the times of clocks follow from: calendars, pauses by play, events written by clock.

    `moved` are the clocks, by id, that run in another calendar or zone than they did.
    """

    calendars: Calendars
    pauses: Mapping[int, Pauses]
    written: Mapping[int, set[tuple[str, int]]]
    moved: Mapping[int, Clock]

    def schedule(self, clock: Clock) -> list[Due]:
        """Everything that will happen on a clock; see `schedule`."""
        calendar = working_calendar(clock, self.calendars)
        return schedule(clock, calendar, self.pauses[clock.play_id], self.written[clock.pk])

    def apply(self, clock: Clock, events: Sequence[Due], now: datetime) -> None:
        """Set the times of a clock by what `schedule` has answered; see `set_times`."""
        set_times_by(clock, events, self.pauses[clock.play_id], self.written[clock.pk], now)
        # Whoever edits its new calendar at this very moment does not see that it runs in it: it is looked at again.
        clock.is_stale = clock.pk in self.moved

    def offers_moved(self) -> list[Handoff]:
        """The offers that wait, of the clocks that have moved; a query where there can be any."""
        clocks = [clock.pk for clock in self.moved.values() if clock.target == Clock.Target.HANDOFF_ACCEPTED]
        if not clocks:
            return []
        waiting = Handoff.objects.filter(answer=Handoff.Answer.WAITING, clock__in=clocks)
        return list(waiting.select_related("clock"))


def look_up(clocks: Sequence[Clock]) -> Facts:
    """What the times of clocks follow from; a constant number of queries.

    Clocks that follow the owner of their play are given the owner's calendar, on the objects only; where none counts
    any more, they keep what they have.
    """
    before = {clock.pk: (clock.calendar_id, clock.zone) for clock in clocks}
    try:
        _follow_owners(clocks)
    except NoDefaultCalendar:
        # Nobody can delete it by an act; a promise that was made stands all the same.
        logger.warning("no calendar is the default: clocks keep those that they have")
    return Facts(
        calendars_of(clocks),
        pauses_of(clock.play_id for clock in clocks),
        written_events(clock.pk for clock in clocks),
        {clock.pk: clock for clock in clocks if (clock.calendar_id, clock.zone) != before[clock.pk]},
    )


def save_clocks(clocks: Sequence[Clock], fields: Sequence[str]) -> None:
    """Save these fields of clocks that are there and locked, in one statement for each thousand."""
    # An UPDATE would spell out a CASE of all rows for each field, which takes several times as long.
    Clock.objects.bulk_create(
        clocks, batch_size=1000, update_conflicts=True, unique_fields=["pk"], update_fields=fields
    )


def write_unseen(breaches: Iterable[ClockEvent | None], plays: Iterable[Play]) -> list[ClockEvent]:
    """Write breaches that nobody had come by to see, as `finish` and `call_off` answer them; answers those to tell of.

    `plays` are theirs, as they stood: whoever held one then is named, and is to know of it. Where a person has excused
    the promise, nobody is.
    """
    events = [event for event in breaches if event is not None]
    if not events:
        return []
    standing = {play.pk: play for play in plays}
    ladder = Ladder.of_the_team()
    again = [event.clock_id for event in events if event.level]
    before = written_events(again) if again else {}
    for event in events:
        if event.level:
            event.level = sum(kind == ClockEvent.Kind.BREACHED for kind, _ in before[event.clock_id])
        play = standing[event.clock.play_id]
        event.holder_id = play.holder_id
        if not event.clock.excuse_reason:
            event.told_id = ladder.told(event.kind, 0, holder_id=play.holder_id, owner_id=play.owner_id)
    ClockEvent.objects.bulk_create(events)
    return [event for event in events if not event.clock.excuse_reason]
