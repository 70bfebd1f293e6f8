"""Judging: what the guards of a version say of accounts, with all their facts fetched in one query."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import QuerySet

from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.compiled import answer
from csplaybooks.playbooks.guards.base import Answer, Ceiling, Hold, Question
from csplaybooks.playbooks.guards.line import Line
from csplaybooks.playbooks.guards.registry import OURS, switched_on
from csplaybooks.playbooks.measures import Moment
from csplaybooks.playbooks.models import Match


@dataclass(frozen=True)
class Judgement:
    """The guards' common answer for one match: what holds it (None: nothing), and the lowest ceiling."""

    hold: Hold | None
    ceiling: Ceiling | None

    @classmethod
    def of(cls, answers: Iterable[Answer]) -> Judgement:
        """Of answers in the order in which the guards are asked: the first hold wins, and ends the asking."""
        ceiling: Ceiling | None = None
        for said in answers:
            if isinstance(said, Hold):
                return cls(said, ceiling)
            if isinstance(said, Ceiling) and (ceiling is None or said.route.weight < ceiling.route.weight):
                ceiling = said
        return cls(None, ceiling)


#: What the columns of facts are called: those that our guards share, and those of each other guard.
_Names = tuple[dict[str, str], dict[str, dict[str, str]]]

#: The facts of so many accounts are fetched by one query.
_CHUNK = 5000

#: The motions let through at each account by one playbook that only might be.
Admitted = dict[int, set[str]]


class Panel:
    """The guards that a version has on, with what they have to know of some accounts.

    Making one takes one query for every 5,000 accounts; its answers take none. `settings` is the document's `guards`.
    Raises LookupError where a guard is on that is not registered.
    """

    def __init__(self, accounts: Collection[int], question: Question, settings: Mapping[str, Any]) -> None:
        self._question = question
        self._settings = settings
        self._active = switched_on(settings)
        keeps = all(guard.moment_is_a_parameter for guard in self._active)
        # What the facts may read of the question, beside the moment.
        parts = ("guards", settings, question.motion, sorted(question.cooldown_days), question.past)
        self._rows: dict[int, dict[str, Any]] = {}
        self._shared: dict[str, str] = {}
        self._own: dict[str, dict[str, str]] = {}
        ids = sorted(accounts)
        for start in range(0, len(ids), _CHUNK):
            moment = Moment(question.at, question.known, tuple(ids[start : start + _CHUNK]))
            rows, names = answer(self._facts, moment, parts, tuple(self._active) if keeps else None)
            self._shared, self._own = names
            self._rows.update((row["pk"], row) for row in rows)

    def _facts(self, moment: Moment) -> tuple[QuerySet[Any, Any], _Names]:
        """The query for the facts of accounts at a moment, and what its columns are called."""
        question = replace(self._question, at=moment.as_of, known=moment.known)
        # Under names of their own, because a fact may carry that of a column, or of another guard's.
        columns: dict[str, Any] = {}
        shared: dict[str, str] = {}
        own: dict[str, dict[str, str]] = {}
        for index, guard in enumerate(self._active):
            ours = guard.key in OURS
            names = shared if ours else own.setdefault(guard.key, {})
            for name, expression in guard.facts(question, self._settings[guard.key]).items():
                names[name] = f"guard_{name}" if ours else f"guard{index}_{name}"
                columns[names[name]] = expression
        return Account.objects.filter(pk__in=moment.accounts or ()).order_by().values("pk", **columns), (shared, own)

    def answers(self, account_id: int, trigger_id: int | None = None, admitted: Iterable[str] = ()) -> Iterable[Answer]:
        """What each guard says of an account, in the order in which they are asked.

        `trigger_id` is the trigger whose match is in question (None: of a draft, which has fired nowhere), `admitted`
        the motions of those who stand in line before it at the account.
        """
        facts = self._rows[account_id]
        row: dict[str, Any] = {name: facts[column] for name, column in self._shared.items()}
        row["trigger"] = trigger_id
        row["cooldown_days"] = self._question.cooldown_days.get(trigger_id, 0) if trigger_id is not None else 0
        row["admitted"] = frozenset(admitted)
        for guard in self._active:
            theirs = {name: facts[column] for name, column in self._own.get(guard.key, {}).items()}
            yield guard.answer(self._question, self._settings[guard.key], {**row, **theirs})

    def judge(self, account_id: int, trigger_id: int | None, admitted: Admitted) -> Judgement:
        """The guards' common answer, where nothing stands in line; what is let through is added to `admitted`."""
        judgement = Judgement.of(self.answers(account_id, trigger_id, admitted.get(account_id, ())))
        if judgement.hold is None:
            admitted.setdefault(account_id, set()).add(self._question.motion)
        return judgement

    def judge_match(self, match: Match, line: Line) -> Judgement:
        """The guards' common answer for a match, which then keeps its place in the line at its account, or leaves it.

        Ask in the order of `Line.in_order`.
        """
        judgement = Judgement.of(self.answers(match.account_id, match.trigger_id, line.ahead_of(match)))
        if judgement.hold:
            line.leave(match)
        else:
            line.keep(match, self._question.motion)
        return judgement


def judge_matches(
    matches: QuerySet[Any], question: Question, settings: Mapping[str, Any]
) -> Iterable[tuple[Match, Judgement]]:
    """Judge matches of one playbook version, in three queries for every 5,000 accounts: (match, judgement) pairs.

    `settings` is the document's `guards`. First come those who stand in line, then the others, oldest first.
    """
    rows = list(matches.order_by("pk"))
    accounts = {match.account_id for match in rows}
    line = Line.at(accounts)
    panel = Panel(accounts, question, settings)
    for match in line.in_order(rows):
        yield match, panel.judge_match(match, line)
