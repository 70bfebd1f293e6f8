"""How offers from one to another went: by pair, by time and by outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet, TextChoices

from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.business_time import BusinessCalendar, HorizonExceeded, elapsed
from csplaybooks.playbooks.calendar_choice import calendar_values_in
from csplaybooks.playbooks.models import Clock, Handoff
from csplaybooks.playbooks.reports.periods import Every, Part, ReportError, checked_period, parts_of
from csplaybooks.playbooks.reports.plays_asked import WhichPlays

#: A report reads at most so many offers: their times are put in order to find the middle one.
MOST_OFFERS = 100_000

#: At most so many refusals are told, the newest.
MOST_REFUSALS = 200

_MICROSECOND = timedelta(microseconds=1)

#: What the receiver said: only then it took them a time to answer.
_ANSWERED = frozenset({Handoff.Answer.ACCEPTED, Handoff.Answer.REFUSED})

#: What a report reads of an offer.
_READ = (
    *("offered_by", "offered_to", "offered_at", "answer", "answered_at"),
    *("clock__state", "clock__excused_at", "clock__hours", "clock__calendar", "clock__zone"),
)


class Pairing(TextChoices):
    """Which sides of offers are told apart."""

    PAIR = "pair", "Both sides"
    BY = "by", "Who offered"
    TO = "to", "To whom"
    ALL = "all", "All together"


class Kept(TextChoices):
    """What became of the promise to answer. Each offer is in one of them."""

    KEPT = "kept", "In time"
    MISSED = "missed", "Late"
    EXCUSED = "excused", "Late, excused"
    CALLED_OFF = "called_off", "Called off"
    TICKING = "ticking", "Still time"
    NOT_PROMISED = "not_promised", "Nothing promised"


@dataclass(frozen=True)
class OfferLine:
    """The offers of one line; `answers` and `kept` add up to `offered`, whose keys are `Handoff.Answer` and `Kept`.

    Times are microseconds from the offer to its acceptance or refusal: `median` and `most` (90 of 100 took at most so
    long) on the wall, `working_*` in the working hours of the offer's own clock; None where there is none to measure.
    `part` is the key of a week or month, None where these are not told apart; names are empty for a side that is not.
    """

    part: str | None
    by_id: int | None
    by_name: str
    to_id: int | None
    to_name: str
    offered: int
    answers: dict[str, int]
    kept: dict[str, int]
    median: int | None
    most: int | None
    working_median: int | None
    working_most: int | None


@dataclass(frozen=True)
class Refusal:
    """Why one offer was refused."""

    offer_id: int
    play_id: int
    by_name: str
    to_name: str
    at: datetime
    reason: str


@dataclass(frozen=True)
class HandoffReport:
    """The offers made in `[since, until)`: `lines` by time and then the most first, `total` over all of them.

    `parts` are the weeks or months that were told apart; only those in which something was offered have lines.
    `refusals` are the newest `MOST_REFUSALS` of the `refused`.
    """

    since: datetime
    until: datetime
    parts: tuple[Part, ...]
    lines: tuple[OfferLine, ...]
    total: OfferLine
    refusals: tuple[Refusal, ...]

    @property
    def refused(self) -> int:
        """How many offers were refused."""
        return self.total.answers[Handoff.Answer.REFUSED]


@dataclass
class _Heap:
    """The offers of one line, while they are read."""

    answers: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    wall: list[int] = field(default_factory=list)
    working: list[int] = field(default_factory=list)


def handoff_report(
    *,
    viewer: Any,
    since: datetime,
    until: datetime,
    now: datetime,
    pairing: Pairing = Pairing.PAIR,
    every: Every | None = None,
    which: WhichPlays | None = None,
    by_id: int | None = None,
    to_id: int | None = None,
) -> HandoffReport:
    """How the offers made in `[since, until)` went that `viewer` may see, by sides and, with `every`, by week or month.

    `which` narrows the plays, `by_id` and `to_id` the sides. At most eight queries. Raises ReportError for a period
    that is none, has too many weeks, or has more than `MOST_OFFERS` offers.
    """
    since, until = checked_period(since, until, now)
    parts = parts_of(since, until, every) if every is not None else ()
    offers = Handoff.objects.visible_to(viewer).filter(offered_at__gte=since, offered_at__lt=until)
    if which is not None:
        offers = offers.filter(which.q("play__"))
    sides = {name: pk for name, pk in (("offered_by", by_id), ("offered_to", to_id)) if pk is not None}
    offers = offers.filter(**sides)
    rows = list(offers.order_by("offered_at", "pk").values_list(*_READ)[: MOST_OFFERS + 1])
    if len(rows) > MOST_OFFERS:
        raise ReportError("since", f"These are more than {MOST_OFFERS:,} offers: ask for a shorter period.")
    calendars = calendar_values_in({(calendar_id, zone) for *_, calendar_id, zone in rows if calendar_id is not None})
    heaps, whole = _heaps(rows, pairing, parts, calendars)
    names = _names(rows)
    order = {part.key: number for number, part in enumerate(parts)}
    lines = [_line(*key, heap, names) for key, heap in heaps.items()]
    lines.sort(key=lambda line: (order.get(line.part or "", 0), -line.offered, line.by_name, line.to_name))
    total = _line(None, None, None, whole, names)
    refusals = _refusals(offers) if whole.answers[Handoff.Answer.REFUSED] else ()
    return HandoffReport(since, until, parts, tuple(lines), total, tuple(refusals))


def percentile(values: Sequence[int], percent: int) -> int | None:
    """The value below which `percent` per cent of `values` lie, between two of them in proportion; None of none.

    As PostgreSQL's `percentile_cont`, in whole numbers, rounded down. `values` are in order.
    """
    if not values:
        return None
    place, rest = divmod((len(values) - 1) * percent, 100)
    if not rest:
        return values[place]
    return values[place] + (values[place + 1] - values[place]) * rest // 100


def _heaps(
    rows: Iterable[tuple[Any, ...]],
    pairing: Pairing,
    parts: Sequence[Part],
    calendars: dict[tuple[int, str], BusinessCalendar],
) -> tuple[dict[tuple[str | None, int | None, int | None], _Heap], _Heap]:
    """The offers by line, and all together; rows come in the order of their offers."""
    heaps: dict[tuple[str | None, int | None, int | None], _Heap] = {}
    whole = _Heap()
    place = 0
    for by_id, to_id, offered_at, answer, answered_at, state, excused_at, hours, calendar_id, zone in rows:
        while parts and offered_at >= parts[place].ends:
            place += 1
        key = (
            parts[place].key if parts else None,
            by_id if pairing in (Pairing.PAIR, Pairing.BY) else None,
            to_id if pairing in (Pairing.PAIR, Pairing.TO) else None,
        )
        kept = _kept(state, excused_at)
        wall = (answered_at - offered_at) // _MICROSECOND if answer in _ANSWERED else None
        working = None
        if wall is not None and hours == Clock.Hours.WORKING:
            working = _working(calendars.get((calendar_id, zone)), offered_at, answered_at)
        for heap in (heaps.setdefault(key, _Heap()), whole):
            heap.answers[answer] += 1
            heap.kept[kept] += 1
            if wall is not None:
                heap.wall.append(wall)
            if working is not None:
                heap.working.append(working)
    return heaps, whole


def _working(calendar: BusinessCalendar | None, start: datetime, end: datetime) -> int | None:
    if calendar is None:
        return None
    try:
        return elapsed(calendar, start, end) // _MICROSECOND
    except HorizonExceeded:
        return None


def _kept(state: str | None, excused_at: datetime | None) -> Kept:
    """What became of a promise, by its clock."""
    if state is None:
        return Kept.NOT_PROMISED
    if excused_at is not None:
        return Kept.EXCUSED
    match state:
        case Clock.State.MET:
            return Kept.KEPT
        case Clock.State.MISSED | Clock.State.BREACHED:
            return Kept.MISSED
        case Clock.State.CANCELLED:
            return Kept.CALLED_OFF
    return Kept.TICKING


def _names(rows: Iterable[tuple[Any, ...]]) -> dict[int | None, str]:
    """The names of everybody on either side; one query: these are people, not customers."""
    people = {pk for row in rows for pk in row[:2]}
    return dict(TeamMember.objects.order_by().values_list("pk", "name")) if people else {}


def _line(
    part: str | None, by_id: int | None, to_id: int | None, heap: _Heap, names: dict[int | None, str]
) -> OfferLine:
    wall, working = sorted(heap.wall), sorted(heap.working)
    return OfferLine(
        part=part,
        by_id=by_id,
        by_name=names.get(by_id, ""),
        to_id=to_id,
        to_name=names.get(to_id, ""),
        offered=sum(heap.answers.values()),
        answers={answer.value: heap.answers[answer] for answer in Handoff.Answer},
        kept={kept.value: heap.kept[kept] for kept in Kept},
        median=percentile(wall, 50),
        most=percentile(wall, 90),
        working_median=percentile(working, 50),
        working_most=percentile(working, 90),
    )


def _refusals(offers: QuerySet[Any]) -> list[Refusal]:
    """The newest refusals, with their reasons."""
    rows = offers.filter(answer=Handoff.Answer.REFUSED).order_by("-answered_at", "-pk")
    read = rows.values_list("pk", "play", "offered_by__name", "offered_to__name", "answered_at", "reason")
    return [Refusal(*row) for row in read[:MOST_REFUSALS]]
