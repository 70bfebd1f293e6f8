"""What must hold over the whole database, beyond what one row's constraints can say.

Each invariant is one query for the rows that break it; none may find any. The replay, the
end-to-end test and the crash tests all ask these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from csplaybooks.playbooks.business_time import due_at
from csplaybooks.playbooks.clockwork import calendar_values, pauses_of, targets_for, working_calendar
from csplaybooks.playbooks.models import Calendar, Clock, Interval, Match, Play, PlaybookVersion, Stage
from csplaybooks.signals.models import IntakeBatch, Reading, RefusedItem, Signal


@dataclass(frozen=True)
class Violation:
    """How many rows break an invariant, and the ids of some of them."""

    invariant: str
    count: int
    examples: list[int]


def _batches_that_do_not_add_up() -> QuerySet[Any]:
    return IntakeBatch.objects.exclude(received=F("stored") + F("duplicate") + F("conflict") + F("refused"))


def _batches_with_other_rows() -> QuerySet[Any]:
    """Batches whose count of stored items is not the number of rows that carry them."""
    rows = []
    for model in (Signal, Reading):
        counted = model.objects.filter(batch=OuterRef("pk")).order_by().values("batch").annotate(n=Count("pk"))
        rows.append(Coalesce(counted.values("n"), 0))
    return IntakeBatch.objects.annotate(rows=rows[0] + rows[1]).exclude(rows=F("stored"))


def _batches_with_other_refusals() -> QuerySet[Any]:
    counted = RefusedItem.objects.filter(batch=OuterRef("pk")).order_by().values("batch").annotate(n=Count("pk"))
    # Refused items are pruned in time; there are never more of them than were refused.
    return IntakeBatch.objects.annotate(rows=Coalesce(counted.values("n"), 0)).filter(rows__gt=F("refused"))


def _open_plays_without_owner() -> QuerySet[Any]:
    return Play.objects.filter(stage__in=[Stage.OWNED, Stage.RUNNING], owner__isnull=True)


def _open_twice() -> QuerySet[Any]:
    other = Play.objects.open().filter(account=OuterRef("account"), motion=OuterRef("motion"))
    return Play.objects.open().filter(Exists(other.exclude(pk=OuterRef("pk"))))


def _intervals_with_gaps() -> QuerySet[Any]:
    """Intervals that do not begin exactly where the one before them ends."""
    before = Interval.objects.filter(play=OuterRef("play"), seq=OuterRef("seq") - 1, valid_to=OuterRef("valid_from"))
    return Interval.objects.filter(seq__gt=0).exclude(Exists(before))


def _plays_not_tiled() -> QuerySet[Any]:
    """Plays whose intervals do not reach from opening to close (or to now, where they are open)."""
    open_interval = Interval.objects.filter(play=OuterRef("pk"), valid_to__isnull=True)
    return Play.objects.annotate(
        first_from=Min("intervals__valid_from"), last_to=Max("intervals__valid_to"), has_open=Exists(open_interval)
    ).exclude(
        Q(first_from=F("opened_at"))
        & (Q(stage=Stage.CLOSED, has_open=False, last_to=F("closed_at")) | (~Q(stage=Stage.CLOSED) & Q(has_open=True)))
    )


def _plays_unlike_their_interval() -> QuerySet[Any]:
    """Open plays whose stage, state, owner or holder is not that of their open interval."""
    same = Interval.objects.filter(
        Q(owner=OuterRef("owner")) | Q(owner__isnull=True, play__owner__isnull=True),
        Q(holder=OuterRef("holder")) | Q(holder__isnull=True, play__holder__isnull=True),
        play=OuterRef("pk"),
        valid_to__isnull=True,
        stage=OuterRef("stage"),
        state=OuterRef("state"),
    )
    return Play.objects.open().exclude(Exists(same))


def _sums_unlike_elapsed() -> QuerySet[Any]:
    """Closed plays whose intervals do not add up to the time from opening to close."""
    summed: QuerySet[Any] = Play.objects.filter(stage=Stage.CLOSED).annotate(
        total=Sum(F("intervals__valid_to") - F("intervals__valid_from"))
    )
    return summed.exclude(total=F("closed_at") - F("opened_at"))


def _fired_without_play() -> QuerySet[Any]:
    return Match.objects.filter(state__in=[Match.State.FIRED, Match.State.FOLDED]).exclude(
        play_match__play=F("play"), play__account=F("account")
    )


def _unowned_with_clocks() -> QuerySet[Any]:
    """Plays without an owner that are marked as having clocks."""
    return Play.objects.filter(clocks_started_at__isnull=False, stage=Stage.ROUTED)


def _closed_with_ticking_clocks() -> QuerySet[Any]:
    return Clock.objects.ticking().filter(play__stage=Stage.CLOSED)


_QUERIES: dict[str, Callable[[], QuerySet[Any]]] = {
    "batches_add_up": _batches_that_do_not_add_up,
    "batches_have_their_rows": _batches_with_other_rows,
    "refusals_are_counted": _batches_with_other_refusals,
    "owned_plays_have_owner": _open_plays_without_owner,
    "one_open_play_per_motion": _open_twice,
    "intervals_without_gap": _intervals_with_gaps,
    "intervals_tile_plays": _plays_not_tiled,
    "plays_agree_with_intervals": _plays_unlike_their_interval,
    "intervals_sum_to_elapsed": _sums_unlike_elapsed,
    "fired_matches_have_play": _fired_without_play,
    "clocks_only_on_owned_plays": _unowned_with_clocks,
    "closed_plays_have_no_ticking_clock": _closed_with_ticking_clocks,
}


def violations(*, chunk: int = 2000) -> list[Violation]:
    """Ask every invariant over the whole database: one entry for each, in a fixed order, with count 0 if it holds."""
    found = []
    for name, query in _QUERIES.items():
        rows = query()
        count = rows.count()
        found.append(Violation(name, count, list(rows.values_list("pk", flat=True)[:10]) if count else []))
    found.append(_clocks_unlike_promises(chunk))
    found.append(_clocks_unlike_intervals(chunk))
    return found


def _clocks_unlike_promises(chunk: int) -> Violation:
    """Plays that lack a clock their playbook promises for their route, or have one it does not; in chunks."""
    wrong: list[int] = []
    count = 0
    last = 0
    promised: dict[tuple[int, str], set[str]] = {}
    clocked = Play.objects.filter(clocks_started_at__isnull=False).order_by("pk")
    while plays := list(clocked.filter(pk__gt=last).values_list("pk", "recipe", "route")[:chunk]):
        last = plays[-1][0]
        unknown = {(recipe, route) for _, recipe, route in plays} - promised.keys()
        documents = dict(
            PlaybookVersion.objects.filter(pk__in={recipe for recipe, _ in unknown}).values_list("pk", "document")
        )
        promised.update({key: {t["target"] for t in targets_for(documents[key[0]], key[1])} for key in unknown})
        running: dict[int, set[str]] = {}
        for play_id, target in Clock.objects.filter(play__in=[pk for pk, *_ in plays]).values_list("play", "target"):
            running.setdefault(play_id, set()).add(target)
        # The clock of a hand-off comes and goes with offers; playbooks do not promise it when a play opens.
        extra = {Clock.Target.HANDOFF_ACCEPTED.value}
        broken = [
            pk for pk, recipe, route in plays if running.get(pk, set()) - extra != promised[recipe, route] - extra
        ]
        count += len(broken)
        wrong += broken[:10]
    return Violation("plays_have_promised_clocks", count, wrong[:10])


def _clocks_unlike_intervals(chunk: int) -> Violation:
    """Clocks whose due time, breach or end does not follow from intervals and calendar; in chunks, in flat memory."""
    wrong: list[int] = []
    count = 0
    last = 0
    while clocks := list(Clock.objects.filter(pk__gt=last).order_by("pk")[:chunk]):
        last = clocks[-1].pk
        calendars = calendar_values(clock.calendar_id for clock in clocks if clock.calendar_id is not None)
        pauses = pauses_of(clock.play_id for clock in clocks)
        owned = dict(
            Interval.objects.filter(play__in={clock.play_id for clock in clocks}, owner__isnull=False)
            .order_by()
            .values("play")
            .annotate(first=Min("valid_from"))
            .values_list("play", "first")
        )
        edited = dict(Calendar.objects.filter(pk__in=calendars).values_list("pk", "updated_at"))
        for clock in clocks:
            if not _follows(clock, working_calendar(clock, calendars), pauses[clock.play_id], owned, edited):
                count += 1
                wrong.append(clock.pk)
    return Violation("clocks_agree_with_intervals", count, wrong[:10])


def _follows(
    clock: Clock, calendar: Any, pauses: Any, owned: Mapping[int, datetime], edited: Mapping[int | None, datetime]
) -> bool:
    if clock.is_stale:
        return True  # it says of itself that it must be recomputed
    if clock.started_at != owned.get(clock.play_id):
        return False
    excused = clock.excused_at is not None
    due = due_at(calendar, clock.started_at, timedelta(seconds=clock.promised_seconds), pauses)
    # What happens at the very instant of the due time may come before the watcher or after it.
    if clock.done_at is not None:
        if clock.calendar_id in edited and edited[clock.calendar_id] > clock.done_at:
            # What was kept or broken by the hours of its time stays so.
            due = clock.due_at
        if clock.state == Clock.State.MISSED:
            return excused or (due is not None and due <= clock.done_at)
        return (clock.breached_at is None or excused) and (due is None or clock.done_at <= due)
    if clock.due_at != due:
        return False
    if clock.state == Clock.State.BREACHED:
        # A constraint sees to it that a breach has its time.
        return excused or (due is not None and clock.breached_at is not None and due <= clock.breached_at)
    return clock.breached_at is None
