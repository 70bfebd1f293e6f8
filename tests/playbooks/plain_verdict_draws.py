"""Random worlds with what became of the matches in them, and the same written to the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.evaluator import TriggerVersion
from csplaybooks.playbooks.factories import PlaybookVersionFactory, RunFactory
from csplaybooks.playbooks.models import Match, MatchStep, Run
from tests.playbooks.plain_draws import Case, Draw, Question, cases, often
from tests.playbooks.plain_store import NOW
from tests.playbooks.plain_verdicts import RUN_AT, Book, PlainMatch, Step, View

_HELD_BY = st.sampled_from(["onboarding", "cooling", "crowded"])


@dataclass(frozen=True, repr=False)
class VerdictCase:
    """A case, and for each of its questions a book."""

    case: Case
    books: tuple[Book, ...]

    def __repr__(self) -> str:
        return "\n".join([repr(self.case), *(repr(book) for book in self.books)])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@st.composite
def _matches_of(draw: Draw, account: int) -> tuple[PlainMatch, ...]:
    """One or two episodes of an account, one after the other."""
    found = []
    opened = draw(st.sampled_from([1, 2, 3]))
    while opened <= 3:
        closed = draw(st.sampled_from([*range(opened + 1, 4), None]))
        steps: list[Step] = []
        state = "new"
        for run in range(opened, 4 if closed is None else closed):
            for in_run in (True, False):
                if (run == opened and in_run) or draw(st.booleans()):
                    state = draw(_next_state(state, in_run))
                    held_by = draw(_HELD_BY) if state == "held" else ""
                    steps.append(Step(run, in_run, _stored(state), held_by, state == "admitted"))
        if closed is not None:
            # What was let through has fired by then, which takes a play: here it waits for ever.
            if state == "admitted":
                closed = None
            else:
                steps.append(Step(closed, True, "expired" if state == "expired" else "ended"))
        found.append(PlainMatch(account, opened, closed, tuple(steps)))
        if closed is None:
            break
        opened = draw(st.sampled_from([*range(closed, 4), 4]))
    return tuple(found)


def _next_state(state: str, in_run: bool) -> st.SearchStrategy[str]:
    if state == "expired":
        return st.just(state)
    if state == "admitted":
        # A worker may find that the account has no room any more.
        return st.sampled_from(["admitted", "held"])
    if state == "queued":
        return st.sampled_from(["held", "admitted", "expired"])
    return st.sampled_from(["held", "queued", "admitted"])


def _stored(state: str) -> str:
    return "queued" if state == "admitted" else state


@st.composite
def books(draw: Draw, accounts: tuple[int, ...]) -> Book:
    """Matches of some accounts, some deleted or merged ones, and guards."""
    some = draw(st.lists(st.sampled_from(accounts), unique=True))
    limits = {"light_from": draw(st.sampled_from([1, 2, 30])), "proactive_from": 90, "strategic_from": 180}
    return Book(
        matches=tuple(match for account in sorted(some) for match in draw(_matches_of(account))),
        deleted={
            account: NOW - draw(st.sampled_from([0, 1, 2])) * timedelta(days=1)
            for account in draw(often([], besides=list(accounts[:2])))
        },
        merged=frozenset(draw(often([], besides=list(accounts[2:3])))),
        guards={
            "gone": {},
            "not_paying": draw(st.sampled_from(["off", {"allow": []}, {"allow": ["trial"]}])),
            "onboarding": draw(st.sampled_from(["off", {"days": 2}, {"days": 0}, {"days": 30}])),
            "tenure": draw(st.sampled_from(["off", limits])),
        },
        motion=draw(st.sampled_from(["cross_sell", "add_on"])),
    )


@st.composite
def verdict_cases(draw: Draw) -> VerdictCase:
    """A case with a book for each question."""
    case = draw(cases())
    return VerdictCase(case, tuple(draw(books(case.world.accounts)) for _ in case.questions))


class Shelf:
    """The playbook and the runs that all books share, written once."""

    def __init__(self) -> None:
        self.version = PlaybookVersionFactory()
        self.trigger = self.version.playbook.triggers.get()
        self.runs: dict[int, Run] = {pk: RunFactory(pk=pk, moment=moment) for pk, moment in RUN_AT.items()}

    def asked_of(self, question: Question, book: Book) -> TriggerVersion:
        """The trigger of a question, with the guards of a book."""
        definition = {"cooldown_days": 30, **question.definition}
        return TriggerVersion(self.trigger.pk, self.version.pk, definition, question.audience, book.guards, book.motion)

    def store(self, book: Book) -> None:
        """Write a book in place of the one before."""
        MatchStep.objects.all().delete()
        Match.objects.all().delete()
        Account.objects.update(deleted_at=None, merged_into=None)
        first = Account.objects.order_by("pk").first()
        for account, at in book.deleted.items():
            Account.objects.filter(pk=account).update(deleted_at=at)
        Account.objects.filter(pk__in=book.merged).update(merged_into=first)
        for match in book.matches:
            last = match.steps[-1]
            waits = last.state == "queued" and not last.admitted
            stored = Match.objects.create(
                trigger=self.trigger,
                version=self.version,
                account_id=match.account,
                opened_run_id=match.opened,
                opened_at=RUN_AT[match.opened],
                closed_run_id=match.closed,
                closed_at=RUN_AT[match.closed] if match.closed else None,
                state=last.state,
                held_by=last.held_by,
                admitted_run_id=match.admitted_by(last),
                queued_at=last.at if waits else None,
                waits_until=last.at + timedelta(days=14) if waits else None,
            )
            MatchStep.objects.bulk_create(
                MatchStep(
                    match=stored,
                    run_id=step.run,
                    in_run=step.in_run,
                    at=step.at,
                    state=step.state,
                    held_by=step.held_by,
                    admitted=step.admitted,
                )
                for step in match.steps
            )


def view_of(mark: int | None, number: int) -> View:
    """A run's where there is a mark; else the present and a past moment by turns."""
    return View(run=mark) if mark is not None else View(past=bool(number % 2))
