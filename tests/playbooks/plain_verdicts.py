"""Verdicts once more: plain, slow, and read off the documentation, for one account at a time, over a plain world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.playbooks import plain
from tests.playbooks.plain_store import DAY, HOUR, NOW
from tests.playbooks.plain_world import Asked, World, fact

#: The moments of the runs 1, 2 and 3.
RUN_AT = {1: NOW - 3 * DAY, 2: NOW - 2 * DAY, 3: NOW - DAY}


@dataclass(frozen=True)
class Step:
    """What became of a match in a run, or after it and before the next."""

    run: int
    in_run: bool
    state: str
    held_by: str = ""
    admitted: bool = False

    @property
    def at(self) -> datetime:
        """When."""
        return RUN_AT[self.run] + (timedelta() if self.in_run else HOUR)


@dataclass(frozen=True)
class PlainMatch:
    """One episode: the runs that opened and closed it, and its steps in order."""

    account: int
    opened: int
    closed: int | None
    steps: tuple[Step, ...]

    def admitted_by(self, seen: Step) -> int | None:
        """The run that had let it through when a step was the last one: the first since it was last not let through."""
        run = None
        for step in self.steps[: self.steps.index(seen) + 1]:
            run = (run or step.run) if step.admitted else None
        return run


@dataclass(frozen=True)
class Book:
    """What is known beside a world: the matches of the trigger, who was deleted when or merged away, and the guards."""

    matches: tuple[PlainMatch, ...] = ()
    deleted: Mapping[int, datetime] = field(default_factory=dict)
    merged: frozenset[int] = frozenset()
    guards: Mapping[str, Any] = field(default_factory=dict)
    motion: str = "cross_sell"


@dataclass(frozen=True)
class View:
    """From where one looks: the present, a past moment, or a run by its number."""

    run: int | None = None
    past: bool = False

    def newest(self, at: datetime) -> int | None:
        """The last run there was."""
        if self.run is not None:
            return self.run
        return max((run for run, moment in RUN_AT.items() if not self.past or moment <= at), default=None)

    def last_step(self, match: PlainMatch, at: datetime) -> Step | None:
        """The last step that can be seen of a match that stands; None where it does not stand."""
        if self.run is not None:
            stands = match.opened <= self.run and (match.closed is None or match.closed > self.run)
            seen = [step for step in match.steps if step.run < self.run or (step.run == self.run and step.in_run)]
        elif self.past:
            stands = RUN_AT[match.opened] <= at and (match.closed is None or RUN_AT[match.closed] > at)
            seen = [step for step in match.steps if step.at <= at]
        else:
            stands, seen = match.closed is None, list(match.steps)
        return seen[-1] if stands else None


def verdict(
    world: World, account: int, definition: Mapping[str, Any], audience: Mapping[str, Any], asked: Asked, book: Book,
    view: View,
) -> str:  # fmt: skip
    """The key of the one verdict."""
    if not plain.in_audience(world, account, audience, asked):
        return "outside"
    met = []
    for group in definition["any"]:
        answers = [plain.condition(world, account, settings, asked)[0] for settings in group["all"]]
        met.append(answers.index(False) if False in answers else None)
    if None not in met:
        furthest = max(range(len(met)), key=lambda g: (met[g], -g))
        return f"failed:{furthest}:{met[furthest]}"
    for match in book.matches:
        step = view.last_step(match, asked.as_of) if match.account == account else None
        if step is not None:
            return _of_episode(match, step, view.newest(asked.as_of))
    return _by_guards(world, account, asked, book, view)


def _of_episode(match: PlainMatch, step: Step, newest: int | None) -> str:
    if step.state == "held":
        return "cooling" if step.held_by == "cooling" else f"held:{step.held_by}"
    if step.state == "expired" or not step.admitted:
        return step.state
    return "fired" if match.admitted_by(step) == newest else "still_matching"


def _by_guards(world: World, account: int, asked: Asked, book: Book, view: View) -> str:
    on = {key: given for key, given in book.guards.items() if given != "off"}
    lifecycle = fact(world, account, "lifecycle", asked)
    deleted = book.deleted.get(account)
    past = view.past or view.run is not None
    if (deleted is not None and not (past and deleted > asked.as_of)) or account in book.merged:
        return "held:gone"
    if "not_paying" in on and lifecycle not in ("paying", *on["not_paying"]["allow"]):
        return "held:not_paying"
    if "onboarding" in on:
        activated = fact(world, account, "activated_on", asked)
        if activated is None or (asked.today - activated).days < max(on["onboarding"]["days"], 0):
            return "held:onboarding"
    if "tenure" in on and book.motion == "cross_sell":
        since = fact(world, account, "customer_since", asked)
        if since is None or (asked.today - since).days < on["tenure"]["light_from"]:
            return "held:tenure"
    return "queued"
