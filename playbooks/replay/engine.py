"""The engine of a replay: day by day it hands in what happened, and calls what the live system calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TypeVar

from csplaybooks.playbooks.models import Match
from csplaybooks.playbooks.pipeline.sweep import expire_plays, wake_plays, watch_all, work
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.replay.market import Market
from csplaybooks.playbooks.replay.record import Record, Row
from csplaybooks.playbooks.replay.report import Report, Tally, make_report
from csplaybooks.playbooks.replay.rules import Rules
from csplaybooks.playbooks.replay.scene import set_scene
from csplaybooks.playbooks.replay.team import Team
from csplaybooks.playbooks.runs import admit_waiting, judge_held, run_to_the_end
from csplaybooks.signals.intake import take_in_readings, take_in_signals
from csplaybooks.signals.intake.items import SIGNALS, read_item
from csplaybooks.signals.intake.values import Clock, Refusal
from csplaybooks.signals.intake.verdicts import Status

T = TypeVar("T")

#: The most items of one batch.
BATCH = 5000

#: After so many days on which nothing stirred the clock goes to the next thing that does: every window, the age of
#: every reading and every cooldown of an open episode has passed by then.
IDLE_DAYS = 91


@dataclass(frozen=True)
class Progress:
    """How far a replay has come: the day just done, the rows handed in of all, and the plays opened."""

    day: date
    rows: int
    of: int
    plays: int


def replay(record: Record, *, rules: Rules | None = None, progress: Callable[[Progress], None] | None = None) -> Report:
    """Replay a record into the default database, which must be migrated and without accounts.

    All moments come from the record: the same record and rules give the same report. Raises RecordError where the
    file can no longer be read.
    """
    with pokes_silenced():
        engine = Engine(record, rules or Rules())
        engine.run(progress)
        return engine.report()


class Engine:
    """One replay on its way."""

    def __init__(self, record: Record, rules: Rules) -> None:
        self._record = record
        self._rules = rules
        start = datetime.combine(record.first_day, time(), tzinfo=UTC)
        self._scene = set_scene(rules=rules, now=start)
        self._market = Market(self._scene, rules)
        self._team = Team(self._scene, rules, self._market)
        self._last_full: date | None = None
        self._stirred = record.first_day
        self.rows, self.derived, self.readings = Tally(), Tally(), Tally()
        self.days = 0

    def run(self, progress: Callable[[Progress], None] | None = None) -> None:
        """All days of the record."""
        upcoming = self._record.days()
        following = next(upcoming, None)
        day = self._record.first_day
        while day <= self._record.last_day:
            rows: list[Row] = []
            if following is not None and following[0] == day:
                rows = following[1]
                following = next(upcoming, None)
            self.tick(day, rows)
            self.days += 1
            if progress is not None:
                progress(Progress(day, self.rows.received, self._record.rows, self._team.opened))
            day = self._next_day(day, following[0] if following is not None else self._record.last_day)

    def tick(self, day: date, rows: Sequence[Row]) -> None:
        """One day, seen from its end."""
        now = datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)
        self._hand_in(rows, day, now)
        self._market.turn(day=day, now=now)
        self._team.act(day=day, now=now)
        if self._market.dirty or self._market.left or rows:
            self._stirred = day
        for items in _batches(self._market.readings(day=day, now=now)):
            self.readings.add(take_in_readings(items=items, now=now))
        self._market.billing.flush(now=now)
        self._market.rest()
        self._evaluate(day, now)

    def _hand_in(self, rows: Sequence[Row], day: date, now: datetime) -> None:
        if not rows:
            return
        self._meet(rows, day, now)
        derived = []
        for batch in _batches(rows):
            answer = take_in_signals(items=[row.item for row in batch], now=now)
            self.rows.add(answer)
            stored = [row for row, result in zip(batch, answer.results, strict=True) if result.status is Status.STORED]
            derived += self._market.take(stored, day=day, now=now)
        for items in _batches(derived):
            self.derived.add(take_in_signals(items=items, now=now))

    def _meet(self, rows: Sequence[Row], day: date, now: datetime) -> None:
        """Let the accounts and products in whom good rows name for the first time; a bad row makes none."""
        clock = Clock(now=now, latest=now)
        names, products = [], []
        for row in rows:
            if isinstance(row.item, str):
                continue
            product = row.item["properties"].get("product")
            is_new = product is not None and product not in self._scene.products
            if row.item["account"] in self._market.customers and not is_new:
                continue
            try:
                read_item(SIGNALS, SIGNALS.fields, row.item, clock)
            except Refusal:
                continue
            names.append(row.item["account"])
            if is_new:
                products.append(product)
        self._scene.add_products(products, price_minor=self._rules.prices.product, now=now)
        self._market.arrive(names, day=day, now=now)

    def _evaluate(self, day: date, now: datetime) -> None:
        """What the sweep does, at this moment."""
        full = self._last_full is None or (day - self._last_full).days >= self._rules.full_run_days
        if full:
            self._last_full = day
        run_to_the_end(now=now, full=full)
        judge_held(now=now)
        admit_waiting(now=now)
        if expire_plays(now=now):
            self._team.forget_closed()
        wake_plays(now=now)
        # What a poke does live: work where something is queued, and the sweep's look at all queues once in a while.
        if full or Match.objects.admitted().exists():
            work(now=now)
            self._team.take_up()
        watch_all(now=now)

    def _next_day(self, day: date, following: date) -> date:
        """The next day, or the next on which anything can happen where all has been still for long."""
        still = (day - self._stirred).days > IDLE_DAYS and not self._team.jobs and not self._market.window
        if not still or Match.objects.unfired().exists():
            return day + timedelta(days=1)
        due = self._market.next_due()
        return max(min(following, due or following), day + timedelta(days=1))

    def report(self) -> Report:
        """What the replay came to; asks every invariant."""
        return make_report(
            record=self._record,
            rules=self._rules,
            rows=self.rows,
            derived=self.derived,
            readings=self.readings,
            cross_sells=self._market.cross_sells,
            foreseen=self._team.foreseen,
            days=self.days,
        )


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
