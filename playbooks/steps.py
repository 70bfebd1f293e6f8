"""Steps: what was said of a match, and when, written in the transaction that says it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from csplaybooks.playbooks.guards import Hold
from csplaybooks.playbooks.models import Match, MatchStep

#: What a step says, as the match says it; `admitted` is said beside it.
SAID = ("state", "held_by", "held_until", "held_reason", "ceiling")


#: The columns that a hold writes.
HELD_COLUMNS = (
    *("state", "held_by", "held_until", "held_reason"),
    *("admitted_run", "queued_at", "waits_until", "route", "expected_amount_minor", "expected_value_minor"),
)


def hold(match: Match, by: Hold) -> None:
    """Take a match out of the queue and hold it, in memory; what let it in is forgotten."""
    match.state = Match.State.HELD
    match.held_by, match.held_until, match.held_reason = by.guard, by.until, by.reason[:300]
    match.admitted_run_id = match.queued_at = match.waits_until = None
    match.route, match.expected_amount_minor, match.expected_value_minor = "", None, None


def let_pass(match: Match, at: datetime, patience: timedelta) -> None:
    """Put a match into the queue, in memory, from `at` on for so long; one that stands there keeps its place."""
    if match.state != Match.State.QUEUED:
        match.queued_at, match.waits_until, match.admitted_run_id = at, at + patience, None
    match.state = Match.State.QUEUED
    match.held_by, match.held_until, match.held_reason = "", None, ""


def said_of(match: Match) -> tuple[object, ...]:
    """What is said of a match: a step is written where this has changed."""
    return (is_let_in(match), *(getattr(match, name) for name in SAID))


def is_let_in(match: Match) -> bool:
    """Whether a match waits for nothing but a worker."""
    return match.state == Match.State.QUEUED and match.admitted_run_id is not None


def write_steps(matches: Iterable[Match], *, run_id: int, in_run: bool, at: datetime) -> None:
    """Write down what is now said of matches, whose rows the transaction has just written.

    `run_id` is the newest run there is, `in_run` whether that run says it (or what came after it). One statement for
    each 1,000 matches.
    """
    MatchStep.objects.bulk_create(
        [
            MatchStep(
                match_id=match.pk,
                run_id=run_id,
                in_run=in_run,
                at=at,
                admitted=is_let_in(match),
                **{name: getattr(match, name) for name in SAID},
            )
            for match in matches
        ],
        batch_size=1000,
    )
