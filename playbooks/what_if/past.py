"""The episodes that a trigger would have had over a past period, on a grid of moments that the asker states.

At each moment the whole set of accounts that meet the trigger is asked for, in one query; what differs from the moment
before begins an episode or ends one. So an episode is as sharp as the grid: what begins and ends between two moments is
not seen, and an episode that begins between them is dated by the second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from csplaybooks.conf import company_time_zone
from csplaybooks.playbooks.evaluator import Hit, TriggerVersion, evaluate
from csplaybooks.playbooks.measures import Known, uses_catalogue, uses_readiness
from csplaybooks.playbooks.models import Run
from csplaybooks.playbooks.reach import Forgotten
from csplaybooks.playbooks.runs import looked_at
from csplaybooks.playbooks.what_if.sight import Sight
from csplaybooks.playbooks.what_if.words import how_many
from csplaybooks.signals.horizon import pruned_before

#: The most moments of one grid, and the most runs.
MOST_MOMENTS = 10_000

#: What runs knew is read for so many moments at a time.
_AT_A_TIME = 500

#: Of what a run kept, what is knowledge: the rest, such as the room of pools, differs from run to run.
_KNOWN_FIELDS = frozenset(field.name for field in fields(Known))

#: In place of a step: the moments of the recorded runs.
AT_RUNS: Final = "runs"

#: Whether a past moment is asked about with what is known today, or with what was known then.
AsKnown = Literal["now", "then"]

#: Is told after each moment how many are done, and of how many.
Progress = Callable[[int, int], None]

_EVERYBODY = Sight(None, frozenset(), 0)


class PeriodError(ValueError):
    """A period or a grid that cannot be asked about, in one sentence."""


@dataclass(frozen=True)
class Episode:
    """One stretch in which an account met the trigger, as the grid saw it.

    `closed_at` is the first moment at which it did not any more; None: it did at the last moment asked about. `words`
    is the evidence at the opening, a line for each condition. `from_start` says that it was there when the account was
    first looked at: it may have begun long before.
    """

    account_id: int
    opened_at: datetime
    closed_at: datetime | None
    words: tuple[str, ...]
    from_start: bool = False


@dataclass(frozen=True)
class Past:
    """The episodes of one trigger over a period, in the order in which they opened, of equals by account.

    `moments` are those that were answered, each with how many accounts met the trigger. `notes` say in sentences what
    was cut or taken otherwise than asked.
    """

    trigger: str
    known: AsKnown
    moments: tuple[tuple[datetime, int], ...]
    episodes: tuple[Episode, ...]
    notes: tuple[str, ...] = ()

    @property
    def opened(self) -> tuple[Episode, ...]:
        """The episodes that opened inside the period, without those that were there at its first moment."""
        return tuple(episode for episode in self.episodes if not episode.from_start)

    @property
    def asked(self) -> str:
        """How often it was asked, in words: `asked 7 times`."""
        return f"asked {how_many(len(self.moments), 'time', 'times')}"

    @property
    def words(self) -> str:
        """How many episodes there were: `2 episodes opened, 1 was there at the start, 2 last`."""
        there = len(self.episodes) - len(self.opened)
        last = sum(episode.closed_at is None for episode in self.episodes)
        return (
            f"{how_many(len(self.opened), 'episode', 'episodes')} opened, "
            f"{how_many(there, 'was', 'were')} there at the start, {how_many(last, 'lasts', 'last')}"
        )


@dataclass(frozen=True)
class _Asked:
    """One moment of a grid: what is known there (None: there was no run yet, so nothing).

    With `run` it is asked of the accounts that this run looked at, else of all.
    """

    at: datetime
    known: Known | None
    run: Run | None = None


class _Episodes:
    """The episodes so far, as far as `sight` may read of them. `nothing_before` says that nothing can have stood before
    the first moment."""

    def __init__(self, sight: Sight, *, nothing_before: bool) -> None:
        self._sight = sight
        self._standing: dict[int, Episode] = {}
        self._ended: list[Episode] = []
        #: Whom a moment has looked at; None: everybody, so that whoever comes up now is new.
        self._seen: set[int] | None = None if nothing_before else set()

    def note(self, at: datetime, accounts: Sequence[int] | None, hits: Sequence[Hit]) -> None:
        """Open and close episodes where a moment, that looked at `accounts` (None: all), differs from what stands."""
        matching = {hit.account_id for hit in hits}
        looked_at_there = self._standing.keys() if accounts is None else self._standing.keys() & set(accounts)
        for account_id in looked_at_there - matching:
            self._ended.append(replace(self._standing.pop(account_id), closed_at=at))
        for hit in hits:
            if hit.account_id not in self._standing:
                words = tuple(item["words"] for item in self._sight.evidence(hit))
                from_start = self._seen is not None and hit.account_id not in self._seen
                self._standing[hit.account_id] = Episode(hit.account_id, at, None, words, from_start=from_start)
        if accounts is None:
            self._seen = None
        elif self._seen is not None:
            self._seen.update(accounts)

    def forget(self) -> None:
        """Moments before the first one were left out: what stood there nobody can tell."""
        self._seen = set()

    def all(self) -> tuple[Episode, ...]:
        """In the order in which they opened, of equals by account."""
        episodes = [*self._ended, *self._standing.values()]
        return tuple(sorted(episodes, key=lambda episode: (episode.opened_at, episode.account_id)))


def grid_between(start: datetime, end: datetime, step: timedelta) -> list[datetime]:
    """The moments `start`, `start + step` and so on, up to and with `end`. Raises PeriodError."""
    if step <= timedelta():
        raise PeriodError("The step between two moments must be longer than nothing, such as 1d or 6h.")
    if end < start:
        raise PeriodError(f"The period ends on {_shown(end)}, before it begins on {_shown(start)}.")
    count = (end - start) // step + 1
    if count > MOST_MOMENTS:
        raise PeriodError(
            f"The period has {count:,} moments, and at most {MOST_MOMENTS:,} are asked about: take a longer step or a "
            "shorter period."
        )
    return [start + number * step for number in range(count)]


def past_episodes(
    trigger: TriggerVersion,
    *,
    start: datetime,
    end: datetime,
    step: timedelta | Literal["runs"],
    known: AsKnown = "now",
    sight: Sight = _EVERYBODY,
    progress: Progress | None = None,
) -> Past:
    """The episodes that `trigger` would have had from `start` to `end`, looked at every `step`; one query a moment.

    With `known="now"` all that is known today counts, late arrivals and corrections too. With `known="then"` only what
    the last run up to each moment had been told, with the catalogue as it was then; before the first run there is
    nothing. `step=AT_RUNS` is the grid of the recorded runs; with `known="then"` each looks at the accounts that it
    looked at, so that the episodes are the recorded ones exactly (a few queries more a run). Only the beginning of
    those that stood before `start` is not seen: whoever meets the trigger when a run of the period first looks at them
    counts as there from the start, unless a run of the period has looked at everybody by then, or no run was before it.

    `sight` limits it to some accounts, and to what its viewer may read. Signals and readings from before the horizon
    may be gone: moments that would look there are left out, with a sentence in `notes`; raises `reach.Forgotten` where
    none is left, PeriodError for a period that is none, or has too many moments.
    """
    notes: list[str] = []
    count, asked = _asked(trigger, start, end, step, known, notes)
    horizon = pruned_before()
    # Once something was pruned, runs before the period may be gone too.
    as_runs_saw = step == AT_RUNS and known == "then" and horizon is None
    nothing_before = as_runs_saw and not Run.objects.filter(moment__lt=start).exists()
    episodes = _Episodes(sight, nothing_before=nothing_before)
    moments: list[tuple[datetime, int]] = []
    refusal: Forgotten | None = None
    for number, question in enumerate(asked, start=1):
        try:
            if known == "then" and horizon is not None and question.at < horizon:
                # Runs from before it may be gone, and with them what was known when.
                raise Forgotten(f"What was known before {_shown(horizon)} is pruned.")
            accounts = None if question.run is None else looked_at(question.run)
            hits = _hits(trigger, question, accounts, sight)
        except Forgotten as error:
            if moments:
                raise
            refusal = error
            episodes.forget()
            continue
        episodes.note(question.at, accounts, hits)
        moments.append((question.at, len(hits)))
        if progress is not None:
            progress(number, count)
    if refusal is not None and not moments:
        raise refusal
    if refusal is not None:
        notes.append(f"Answered from {_shown(moments[0][0])} on. {refusal}")
    return Past(trigger.definition["key"], known, tuple(moments), episodes.all(), tuple(notes))


def _hits(trigger: TriggerVersion, question: _Asked, accounts: Sequence[int] | None, sight: Sight) -> list[Hit]:
    if question.known is None:
        return []
    if accounts is None:
        return sight.hits(trigger, question.at, question.known)
    wanted = [pk for pk in accounts if sight.sees(pk)]
    return evaluate(trigger, question.at, question.known, wanted)


def _asked(
    trigger: TriggerVersion,
    start: datetime,
    end: datetime,
    step: timedelta | Literal["runs"],
    known: AsKnown,
    notes: list[str],
) -> tuple[int, Iterator[_Asked]]:
    """How many moments there are, and the moments, read as they are asked for."""
    if step == AT_RUNS:
        runs = _runs_between(start, end)
        if known == "then":
            marks = list(runs.values_list("pk", flat=True))
            return len(marks), _at_runs(marks, _Knowledge(trigger, notes))
        moments = list(runs.values_list("moment", flat=True))
    else:
        moments = grid_between(start, end, step)
        if known == "then":
            return len(moments), _as_known_then(moments, _Knowledge(trigger, notes))
    today = Known.now()
    return len(moments), (_Asked(at, today) for at in moments)


def _runs_between(start: datetime, end: datetime) -> Any:
    """The recorded runs of a period, the earliest first. Raises PeriodError."""
    if end < start:
        raise PeriodError(f"The period ends on {_shown(end)}, before it begins on {_shown(start)}.")
    runs = Run.objects.filter(moment__gte=start, moment__lte=end).order_by("pk")
    count = runs.count()
    if count > MOST_MOMENTS:
        raise PeriodError(
            f"The period has {count:,} runs, and at most {MOST_MOMENTS:,} are asked about: take a shorter period."
        )
    return runs


def _at_runs(marks: Sequence[int], knowledge: _Knowledge) -> Iterator[_Asked]:
    """The moments of runs, each with what it knew; one query for every 500."""
    for first in range(0, len(marks), _AT_A_TIME):
        for run in Run.objects.filter(pk__in=marks[first : first + _AT_A_TIME]).order_by("pk"):
            yield _Asked(run.moment, knowledge.of(run.pk, run.inputs), run)


def _as_known_then(moments: Sequence[datetime], knowledge: _Knowledge) -> Iterator[_Asked]:
    """Each moment with what the last run up to it knew; one query, and two for every 500 moments."""
    mark = Run.objects.filter(moment__lte=moments[0]).order_by("-pk").values_list("pk", flat=True).first()
    for first in range(0, len(moments), _AT_A_TIME):
        here = moments[first : first + _AT_A_TIME]
        runs = Run.objects.filter(moment__lte=here[-1]).order_by("pk")
        if mark is not None:
            runs = runs.filter(pk__gte=mark)
        # Their moments never go back, so one pass over both finds the last run of each moment.
        marks: list[int | None] = []
        rows = runs.values_list("pk", "moment").iterator()
        following = next(rows, None)
        for at in here:
            while following is not None and following[1] <= at:
                mark, following = following[0], next(rows, None)
            marks.append(mark)
        wanted = {mark for mark in marks if mark is not None}
        inputs = dict(Run.objects.filter(pk__in=wanted).order_by().values_list("pk", "inputs"))
        for at, known_by in zip(here, marks, strict=True):
            yield _Asked(at, None if known_by is None else knowledge.of(known_by, inputs[known_by]))


class _Knowledge:
    """What runs knew; runs that used the same share it."""

    def __init__(self, trigger: TriggerVersion, notes: list[str]) -> None:
        self._trigger = trigger
        self._notes = notes
        self._by_inputs: dict[str, Known] = {}

    def of(self, mark: int, inputs: dict[str, object]) -> Known:
        """What the run with the id `mark` knew.

        A run keeps only what its own triggers ask for: what this one asks for beyond that is taken as it is today.
        """
        kept = {name: value for name, value in inputs.items() if name in _KNOWN_FIELDS}
        key = json.dumps(kept, sort_keys=True)
        if key not in self._by_inputs:
            known = Known.from_json(mark, inputs)
            if "catalogue" not in inputs and uses_catalogue(self._trigger.definition):
                known = replace(known, catalogue=Known.now(readiness=False).catalogue)
                self._note("plans and features")
            if "readiness" not in inputs and uses_readiness(self._trigger.definition):
                known = replace(known, readiness=Known.now(catalogue=False).readiness)
                self._note("weights of readiness")
            self._by_inputs[key] = known
        return replace(self._by_inputs[key], mark=mark)

    def _note(self, what: str) -> None:
        said = f"Runs of that time kept no {what}, because none of their triggers asked for them: today's are used."
        if said not in self._notes:
            self._notes.append(said)


def _shown(at: datetime) -> str:
    return f"{at.astimezone(company_time_zone()):%Y-%m-%d %H:%M}"
