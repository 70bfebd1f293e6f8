"""The episodes that a trigger would have had over a past period, on a grid of moments that the asker states.

At each moment the whole set of accounts that meet the trigger is asked for, in one query; what differs from the moment
before begins an episode or ends one. So an episode is as sharp as the grid: what begins and ends between two moments is
not seen, and an episode that begins between them is dated by the second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from csplaybooks.conf import company_time_zone
from csplaybooks.playbooks.evaluator import Hit, TriggerVersion, evaluate
from csplaybooks.playbooks.measures import Known, uses_catalogue, uses_readiness
from csplaybooks.playbooks.models import Run
from csplaybooks.playbooks.reach import Forgotten
from csplaybooks.playbooks.runs import looked_at
from csplaybooks.playbooks.what_if.sight import Sight
from csplaybooks.signals.horizon import pruned_before

#: The most moments of one grid.
MOST_MOMENTS = 10_000

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
    is the evidence at the opening, a line for each condition. `from_start` says that it was there at the first moment
    already: it may have begun long before.
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


@dataclass(frozen=True)
class _Asked:
    """One moment of a grid: what is known there (None: there was no run yet, so nothing), and of whom it is asked."""

    at: datetime
    known: Known | None
    accounts: Sequence[int] | None = None


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
    looked at, so that the episodes are the recorded ones exactly (a few queries more a run).

    `sight` limits it to some accounts. Signals and readings from before the horizon may be gone: moments that would
    look there are left out, with a sentence in `notes`; raises `reach.Forgotten` where none is left, PeriodError for a
    period that is none.
    """
    notes: list[str] = []
    asked = list(_asked(trigger, start, end, step, known, notes))
    horizon = pruned_before()
    standing: dict[int, Episode] = {}
    ended: list[Episode] = []
    moments: list[tuple[datetime, int]] = []
    refusal: Forgotten | None = None
    for number, question in enumerate(asked, start=1):
        try:
            if known == "then" and horizon is not None and question.at < horizon:
                # Runs from before it may be gone, and with them what was known when.
                raise Forgotten(f"What was known before {_shown(horizon)} is pruned.")
            hits = _hits(trigger, question, sight)
        except Forgotten as error:
            if moments:
                raise
            refusal = error
            continue
        _note(question, hits, standing, ended, first=not moments)
        moments.append((question.at, len(hits)))
        if progress is not None:
            progress(number, len(asked))
    if refusal is not None and not moments:
        raise refusal
    if refusal is not None:
        notes.append(f"Answered from {_shown(moments[0][0])} on. {refusal}")
    episodes = sorted([*ended, *standing.values()], key=lambda episode: (episode.opened_at, episode.account_id))
    return Past(trigger.definition["key"], known, tuple(moments), tuple(episodes), tuple(notes))


def _hits(trigger: TriggerVersion, question: _Asked, sight: Sight) -> list[Hit]:
    if question.known is None:
        return []
    if question.accounts is None:
        return sight.hits(trigger, question.at, question.known)
    wanted = [pk for pk in question.accounts if sight.sees(pk)]
    return evaluate(trigger, question.at, question.known, wanted)


def _note(
    question: _Asked, hits: Sequence[Hit], standing: dict[int, Episode], ended: list[Episode], *, first: bool
) -> None:
    """Open and close episodes where a moment differs from the one before it."""
    matching = {hit.account_id for hit in hits}
    looked_at_there = standing.keys() if question.accounts is None else standing.keys() & set(question.accounts)
    for account_id in looked_at_there - matching:
        ended.append(replace(standing.pop(account_id), closed_at=question.at))
    for hit in hits:
        if hit.account_id not in standing:
            words = tuple(item["words"] for item in hit.evidence)
            standing[hit.account_id] = Episode(hit.account_id, question.at, None, words, from_start=first)


def _asked(
    trigger: TriggerVersion,
    start: datetime,
    end: datetime,
    step: timedelta | Literal["runs"],
    known: AsKnown,
    notes: list[str],
) -> Iterator[_Asked]:
    runs = None
    if step == AT_RUNS:
        if end < start:
            raise PeriodError(f"The period ends on {_shown(end)}, before it begins on {_shown(start)}.")
        runs = list(Run.objects.filter(moment__gte=start, moment__lte=end).order_by("pk"))
        moments = [run.moment for run in runs]
    else:
        moments = grid_between(start, end, step)
    if known == "now":
        today = Known.now()
        yield from (_Asked(at, today) for at in moments)
    elif runs is not None:
        knowledge = _Knowledge(trigger, notes)
        yield from (_Asked(run.moment, knowledge.of(run.pk, run.inputs), looked_at(run)) for run in runs)
    else:
        yield from _as_known_then(moments, _Knowledge(trigger, notes))


def _as_known_then(moments: Sequence[datetime], knowledge: _Knowledge) -> Iterator[_Asked]:
    """Each moment with what the last run up to it knew; three queries."""
    before = Run.objects.filter(moment__lte=moments[0]).order_by("-pk").values_list("pk", flat=True).first()
    runs = Run.objects.filter(moment__lte=moments[-1]).order_by("pk")
    if before is not None:
        runs = runs.filter(pk__gte=before)
    # Their moments never go back, so one pass over both finds the last run of each moment.
    marks: list[int | None] = []
    rows = runs.values_list("pk", "moment").iterator()
    following = next(rows, None)
    mark: int | None = None
    for at in moments:
        while following is not None and following[1] <= at:
            mark, following = following[0], next(rows, None)
        marks.append(mark)
    inputs = dict(
        Run.objects.filter(pk__in={mark for mark in marks if mark is not None}).order_by().values_list("pk", "inputs")
    )
    for at, mark in zip(moments, marks, strict=True):
        yield _Asked(at, None if mark is None else knowledge.of(mark, inputs[mark]))


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
        key = json.dumps(inputs, sort_keys=True)
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
