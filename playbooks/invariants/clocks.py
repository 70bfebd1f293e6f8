"""Invariants of clocks: promised, following from intervals and calendar, with their events in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, ExpressionWrapper, F, IntegerField, Min, OuterRef, Q, QuerySet

from csplaybooks.playbooks.calendar_choice import NoDefaultCalendar
from csplaybooks.playbooks.clockwork import (
    calendars_of,
    choices_for,
    documents_of,
    due_if_ever,
    is_broken,
    pauses_of,
    promising_version,
    working_calendar,
)
from csplaybooks.playbooks.invariants.registry import Invariant, by_query
from csplaybooks.playbooks.models import Calendar, Clock, ClockEvent, Handoff, Interval, Play, Stage
from csplaybooks.playbooks.targets import targets_for


def _unowned_with_clocks() -> QuerySet[Any]:
    """Plays without an owner that are marked as having clocks."""
    return Play.objects.filter(clocks_started_at__isnull=False, stage=Stage.ROUTED)


def _closed_with_ticking_clocks() -> QuerySet[Any]:
    return Clock.objects.ticking().filter(play__stage=Stage.CLOSED)


def _breaches_unlike_events() -> QuerySet[Any]:
    """Clocks whose last breach and the event that tells of it are not both there, and alike."""
    events = ClockEvent.objects.filter(clock=OuterRef("pk"), kind=ClockEvent.Kind.BREACHED)
    alike = events.filter(due_at=OuterRef("breached_at"), noticed_at=OuterRef("noticed_at"))
    rows: QuerySet[Any] = Clock.objects.filter(
        (Q(breached_at__isnull=False) & (~Exists(alike) | Exists(events.filter(due_at__gt=OuterRef("breached_at")))))
        | (Q(breached_at__isnull=True) & Exists(events))
    )
    return rows


def _events_out_of_order() -> QuerySet[Any]:
    """Events that were noticed before they were due, and rungs that were climbed before their breach was noticed."""
    run = ExpressionWrapper(OuterRef("level") / ClockEvent.RUN, output_field=IntegerField())
    breach = ClockEvent.objects.filter(
        clock=OuterRef("clock"), kind=ClockEvent.Kind.BREACHED, level=run, noticed_at__lte=OuterRef("noticed_at")
    )
    rows: QuerySet[Any] = ClockEvent.objects.filter(
        Q(noticed_at__lt=F("due_at")) | (Q(kind=ClockEvent.Kind.ESCALATED) & ~Exists(breach))
    )
    return rows


def _offers_without_clock() -> QuerySet[Any]:
    """Offers whose clock is not there, is not of their play and time, or ticks after the answer, or not before it."""
    own = Clock.objects.filter(
        pk=OuterRef("clock"),
        play=OuterRef("play"),
        target=Clock.Target.HANDOFF_ACCEPTED,
        started_at=OuterRef("offered_at"),
    )
    ticking = Q(clock__in=Clock.objects.ticking().values("pk"))
    rows: QuerySet[Any] = Handoff.objects.all()
    return rows.exclude(
        Exists(own), Q(answer=Handoff.Answer.WAITING) & ticking | ~Q(answer=Handoff.Answer.WAITING) & ~ticking
    )


def _clocks_unlike_promises(limit: int, chunk: int) -> tuple[int, list[int], str]:
    """Plays that lack a clock their playbook promises for them, or have one running it does not; in chunks."""
    wrong: list[int] = []
    count = 0
    last = 0
    clocked = Play.objects.filter(clocks_started_at__isnull=False).order_by("pk")
    promising = clocked.only("pk", "recipe", "promises", "route", "segment", "stage")
    while plays := list(promising.filter(pk__gt=last)[:chunk]):
        last = plays[-1].pk
        documents = documents_of(plays)
        clocks: dict[int, list[tuple[str, str]]] = {}
        rows = Clock.objects.filter(play__in=[play.pk for play in plays]).values_list("play", "target", "state")
        for play_id, target, state in rows:
            clocks.setdefault(play_id, []).append((target, state))
        broken = [
            play.pk
            for play in plays
            if not _keeps_to(
                play,
                {t["target"] for t in targets_for(documents[promising_version(play)], play.route, play.segment)},
                clocks.get(play.pk, ()),
            )
        ]
        count += len(broken)
        wrong += broken[: limit - len(wrong)]
    return count, wrong, Play._meta.label


def _keeps_to(play: Play, promised: set[str], clocks: Iterable[tuple[str, str]]) -> bool:
    """Whether a play has the clocks it is promised: pairs of target and state."""
    # The clock of a hand-off comes and goes with offers; playbooks do not promise it when a play opens.
    own = [(target, state) for target, state in clocks if target != Clock.Target.HANDOFF_ACCEPTED]
    ended = {Clock.State.MET.value, Clock.State.MISSED.value, Clock.State.CANCELLED.value}
    # What is called off on an open play is not promised any more; closing calls off what is.
    there = {t for t, state in own if play.stage == Stage.CLOSED or state != Clock.State.CANCELLED}
    return promised <= there and {t for t, state in own if state not in ended} <= promised


def _clocks_unlike_intervals(limit: int, chunk: int) -> tuple[int, list[int], str]:
    """Clocks whose due time, breach or end does not follow from intervals and calendar; in chunks, in flat memory."""
    wrong: list[int] = []
    count = 0
    last = 0
    while clocks := list(Clock.objects.filter(pk__gt=last).order_by("pk")[:chunk]):
        last = clocks[-1].pk
        calendars = calendars_of(clocks)
        strayed = _in_other_hours(clocks)
        pauses = pauses_of(clock.play_id for clock in clocks)
        owned = dict(
            Interval.objects.filter(play__in={clock.play_id for clock in clocks}, owner__isnull=False)
            .order_by()
            .values("play")
            .annotate(first=Min("valid_from"))
            .values_list("play", "first")
        )
        offered = dict(Handoff.objects.filter(clock__in=clocks).values_list("clock", "offered_at"))
        edited = dict(Calendar.objects.filter(pk__in={pk for pk, _ in calendars}).values_list("pk", "updated_at"))
        for clock in clocks:
            is_offer = clock.target == Clock.Target.HANDOFF_ACCEPTED
            began = offered.get(clock.pk) if is_offer else owned.get(clock.play_id)
            calendar = working_calendar(clock, calendars)
            if clock.pk in strayed or not _follows(clock, calendar, pauses[clock.play_id], began, edited):
                count += 1
                wrong += [clock.pk][: limit - len(wrong)]
    return count, wrong, Clock._meta.label


def _in_other_hours(clocks: Iterable[Clock]) -> set[int]:
    """The clocks that tick in another calendar or zone than that of whoever has to keep them."""
    following = [
        clock
        for clock in clocks
        if clock.follows_owner and clock.done_at is None and not clock.is_stale and clock.hours == Clock.Hours.WORKING
    ]
    try:
        choices = choices_for(following)
    except NoDefaultCalendar:
        # They keep what they had: see `look_up`.
        return set()
    return {
        clock.pk
        for clock, choice in zip(following, choices, strict=True)
        if (clock.calendar_id, clock.zone) != (choice.calendar_id, choice.zone)
    }


def _follows(
    clock: Clock,
    calendar: Any,
    pauses: Any,
    began: datetime | None,
    edited: Mapping[int | None, datetime],
) -> bool:
    if clock.is_stale:
        return True  # it says of itself that it must be recomputed
    if clock.started_at != began:
        return False
    due = due_if_ever(calendar, clock.started_at, timedelta(seconds=clock.promised_seconds), pauses)
    # What happens at the very instant of the due time may come before the watcher or after it.
    if clock.done_at is not None:
        if clock.calendar_id in edited and edited[clock.calendar_id] >= clock.done_at:
            # What was kept or broken by the hours of its time stays so; at one instant the edit may come after the end.
            due = clock.due_at
        if clock.state == Clock.State.MISSED:
            return _is_excused_if(clock, False) and due is not None and due <= clock.done_at
        return _is_excused_if(clock, clock.breached_at is not None) and (due is None or clock.done_at <= due)
    if clock.due_at != due:
        return False
    stands = is_broken(clock, due)
    if not stands and due is not None and clock.next_event_at is None:
        return False  # nobody would see that it is broken
    runs_on = clock.breached_at is not None and not stands
    return _is_excused_if(clock, runs_on) and (clock.state == Clock.State.BREACHED) == stands


def _is_excused_if(clock: Clock, excused: bool) -> bool:
    """Whether a clock is excused where it is to be, and only there; what a person has excused is either way."""
    return bool(clock.excuse_reason) or (clock.excused_at is not None) == excused


INVARIANTS = (
    by_query("clocks_only_on_owned_plays", "A play without an owner has no clocks.", _unowned_with_clocks),
    by_query("closed_plays_have_no_ticking_clock", "No clock of a closed play ticks.", _closed_with_ticking_clocks),
    by_query("breaches_have_their_event", "A breach stands on its clock and as an event.", _breaches_unlike_events),
    by_query(
        "clock_events_in_order",
        "What happened on a clock was noticed when it was due or later, and rungs after the breach.",
        _events_out_of_order,
    ),
    by_query(
        "offers_have_their_clock",
        "Each offer has its clock, which ticks while it waits and no longer.",
        _offers_without_clock,
    ),
    Invariant(
        "plays_have_promised_clocks", "A play has the clocks that its playbook promises.", _clocks_unlike_promises
    ),
    Invariant(
        "clocks_agree_with_intervals",
        "A clock's due time, breach and end follow from intervals, and from the calendar of whoever owns the play.",
        _clocks_unlike_intervals,
    ),
)
