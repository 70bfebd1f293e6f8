"""The virtual team of a replay: it touches, pauses, wins and loses its plays by the stated rules, through the acts."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from csplaybooks.accounts.models import Motion
from csplaybooks.playbooks.acts.plays import assign_plays, close_plays, log_touch, pause_plays
from csplaybooks.playbooks.business_time import due_at
from csplaybooks.playbooks.models import Outcome, Play, Route, Touch
from csplaybooks.playbooks.replay.customers import Customer
from csplaybooks.playbooks.replay.market import Market
from csplaybooks.playbooks.replay.rules import Rules
from csplaybooks.playbooks.replay.scene import Scene

_CHANNELS = {
    Route.SELF_SERVE: Touch.Channel.PROMPT,
    Route.EMAIL: Touch.Channel.EMAIL,
    Route.CSM: Touch.Channel.CALL,
    Route.SALES: Touch.Channel.MEETING,
}


@dataclass(slots=True, eq=False)
class Job:
    """One open play as the team sees it.

    `number` counts the plays from 1. `product` is by its text in the record; `gates` were hit before the touch.
    """

    play_id: int
    number: int
    customer: Customer
    motion: str
    route: Route
    product: str | None
    owner_id: int | None
    opened_at: datetime
    is_touched: bool = False
    gates: int = 0
    paused_until: datetime | None = None


class Team:
    """The open plays, and what is to be done on them."""

    def __init__(self, scene: Scene, rules: Rules, market: Market) -> None:
        self.jobs: dict[int, Job] = {}
        self.opened = 0
        #: Cross-sells that happened while a play for that product was open.
        self.foreseen = 0
        self._scene = scene
        self._rule = rules.work
        self._market = market
        self._touches: list[tuple[datetime, int]] = []
        self._tray: list[Job] = []
        self._by_people = 0
        self._last_play = 0

    def take_up(self) -> None:
        """Take up the plays that were opened since, in the order of their ids."""
        products = {product.pk: text for text, product in self._scene.products.items()}
        fresh = Play.objects.filter(pk__gt=self._last_play).order_by("pk")
        columns = ("pk", "account", "motion", "route", "product", "owner", "opened_at")
        for play_id, account_id, motion, route, product_id, owner_id, opened_at in fresh.values_list(*columns):
            self.opened += 1
            job = Job(
                play_id,
                self.opened,
                self._market.by_pk[account_id],
                motion,
                Route(route),
                products.get(product_id),
                owner_id,
                opened_at,
            )
            self._last_play = play_id
            self.jobs[play_id] = job
            if owner_id is None:
                self._tray.append(job)
            else:
                self._plan(job, opened_at)

    def _plan(self, job: Job, start: datetime) -> None:
        """Lay down when the first touch is made: so many working hours from `start`, by the delays in turn."""
        delays = self._rule.delays
        hours = 0 if job.route == Route.SELF_SERVE else delays[(job.number - 1) % len(delays)]
        at = due_at(self._scene.calendar, start, timedelta(hours=hours))
        heapq.heappush(self._touches, (at or start, job.play_id))

    def act(self, *, day: date, now: datetime) -> None:
        """Everything the team does on a day."""
        self._empty_tray(now)
        self._touch(now)
        self._close(day, now)

    def forget_closed(self) -> None:
        """Let go of plays that somebody else has closed."""
        still = set(Play.objects.open().values_list("pk", flat=True))
        self.jobs = {play_id: job for play_id, job in self.jobs.items() if play_id in still}

    def _empty_tray(self, now: datetime) -> None:
        """What nobody had room for the manager takes, at the next tick."""
        tray = [job for job in self._tray if job.play_id in self.jobs]
        self._tray = []
        if tray:
            play_ids = [job.play_id for job in tray]
            assign_plays(play_ids=play_ids, owner_id=self._scene.manager_id, now=now)
            for job in tray:
                job.owner_id = self._scene.manager_id
                self._plan(job, now)

    def _touch(self, now: datetime) -> None:
        while self._touches and self._touches[0][0] <= now:
            at, play_id = heapq.heappop(self._touches)
            job = self.jobs.get(play_id)
            if job is None:
                continue
            by_system = job.route == Route.SELF_SERVE
            log_touch(
                play_ids=[play_id],
                channel=_CHANNELS[job.route],
                at=at,
                by_member_id=None if by_system else job.owner_id,
                now=now,
            )
            job.is_touched = True
            job.gates = job.customer.gates
            if job.route.counts_toward_load:
                self._by_people += 1
                if self._by_people % self._rule.pause_every == 0:
                    job.paused_until = now + timedelta(days=self._rule.pause_days)
                    pause_plays(
                        play_ids=[play_id], reason="The customer asks for time", wakes_at=job.paused_until, now=now
                    )

    def _close(self, day: date, now: datetime) -> None:
        decided: dict[tuple[Outcome, str], list[int]] = defaultdict(list)
        for job in self.jobs.values():
            if (end := self._outcome(job, day, now)) is not None:
                decided[end].append(job.play_id)
        for (outcome, reason), play_ids in decided.items():
            answers = close_plays(play_ids=play_ids, outcome=outcome, reason=reason, now=now)
            for play_id in (play_id for play_id, refused in answers.items() if refused is None):
                job = self.jobs.pop(play_id)
                if outcome == Outcome.WON:
                    self.foreseen += job.motion == Motion.CROSS_SELL
                    if (job.customer, job.motion) not in self._market.bought:
                        self._market.win(job.customer, job.motion, day=day, now=now)

    def _outcome(self, job: Job, day: date, now: datetime) -> tuple[Outcome, str] | None:
        """What becomes of a play today; None where it goes on."""
        customer = job.customer
        if job.owner_id is None:
            return None
        if customer in self._market.left:
            return Outcome.LOST, "did not renew"
        if job.motion == Motion.CROSS_SELL:
            # The row in the product is the purchase, whether anybody had spoken to them or not.
            return (Outcome.WON, "first row in the product") if job.product in customer.held else None
        if not job.is_touched or (job.paused_until is not None and job.paused_until > now):
            return None
        if (customer, job.motion) in self._market.bought:
            return Outcome.WON, "bought at the renewal"
        if job.motion == Motion.SEAT_EXPANSION:
            return self._growth(customer.above_since, customer.active_users, customer.licence, day)
        if job.motion == Motion.USAGE_GROWTH:
            return self._growth(customer.over_since, customer.rows, customer.allowance, day)
        if customer.gates - job.gates >= self._rule.gates and customer.plan < len(self._scene.plans) - 1:
            return Outcome.WON, f"{self._rule.gates} more gate hits"
        return (Outcome.LOST, "nobody is active") if not customer.rows else None

    def _growth(self, since: date | None, used: int, limit: int | None, day: date) -> tuple[Outcome, str] | None:
        if since is not None and (day - since).days + 1 >= self._rule.lasting_days:
            return Outcome.WON, f"above the limit for {self._rule.lasting_days} days"
        if limit is not None and used * 2 < limit:
            return Outcome.LOST, "use fell below half of the limit"
        return None
