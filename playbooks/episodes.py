"""Episodes: what one run of the evaluator writes for the accounts it looks at, and what the guards say to it.

Everything here happens inside the transaction of a run, under its lease.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Case, CharField, F, Value, When

from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.budget import look_at_queue, value
from csplaybooks.playbooks.close_rates import CloseRates
from csplaybooks.playbooks.document import QUEUE_DAYS
from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate, running_versions
from csplaybooks.playbooks.guards import Line, Panel, Question
from csplaybooks.playbooks.measures import Known, uses_catalogue, uses_readiness
from csplaybooks.playbooks.models import Match, PlaybookVersion, Run
from csplaybooks.playbooks.models.matches import MatchQuerySet
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.steps import HELD_COLUMNS, SAID, hold, let_pass, said_of, write_steps
from csplaybooks.playbooks.sums import count_up
from csplaybooks.playbooks.trouble import is_database_trouble
from csplaybooks.playbooks.verdicts import Asked, Far, how_far

logger = logging.getLogger("csplaybooks.runs")


@dataclass(frozen=True)
class RunReport:
    """What a run did; counts over all triggers."""

    run_id: int
    accounts: int
    matched: int
    opened: int
    closed: int


def finish_run(run: Run, accounts: Sequence[int] | None, now: datetime) -> RunReport:
    """Ask every trigger about `accounts` (None: all), write the episodes that changed, and finish the run's row.

    What the guards let pass becomes a play as far as there is room (`csplaybooks.playbooks.budget`); then the sums are
    drawn (`csplaybooks.playbooks.sums`).

    `run` is the newest row, with kind, round and moment set; it is saved whole. A playbook that cannot be evaluated
    keeps its matches as they were and stands in the run's `errors`; the others go on.
    """
    versions = running_versions()
    asked = [trigger.definition for _, triggers in versions for trigger in triggers]
    known = Known.now(
        mark=run.pk,
        catalogue=any(uses_catalogue(definition) for definition in asked),
        readiness=any(uses_readiness(definition) for definition in asked),
    )
    counts: dict[str, dict[str, Any]] = {}
    looked: dict[int, Far] = {}
    passed: set[int] = set()
    rates = CloseRates(run.moment)
    standing = _standing(accounts)
    for version, triggers in versions:
        open_ids = {t.trigger_id: standing.pop(t.trigger_id, {}) for t in triggers}
        try:
            with transaction.atomic():
                counts.update(_run_version(version, triggers, run, known, accounts, open_ids, passed, rates, looked))
        except Exception as error:
            if is_database_trouble(error):
                # Not the playbook's fault: the whole run is rolled back, and its inputs stay unclaimed.
                raise
            logger.exception("%s could not be evaluated", version)
            run.errors[str(version.pk)] = f"{type(error).__name__}: {error}"[:500]
            continue
        run.versions.update({str(trigger.trigger_id): trigger.version_id for trigger in triggers})
    # What is left are episodes of triggers that no running version has any more.
    retired = [match.pk for matches in standing.values() for match in matches.values()]
    _close(retired, run)
    look = look_at_queue(at=run.moment, run_id=run.pk, in_run=True, judged=passed)
    run.inputs = {**known.as_json(), "capacities": dict(look.capacities), "close_rates": rates.as_json()}
    run.accounts = Account.objects.known_at(run.pk).count() if accounts is None else len(accounts)
    count_up(run, versions, counts, known, accounts, looked)
    run.counts = counts
    run.finished_at = now
    run.save(
        update_fields=["kind", "moment", "round", "versions", "inputs", "counts", "errors", "accounts", "finished_at"]
    )
    if Match.objects.admitted().exists():
        poke("work")
    return RunReport(
        run_id=run.pk,
        accounts=run.accounts,
        matched=sum(count["matched"] for count in counts.values()),
        opened=sum(count["opened"] for count in counts.values()),
        closed=len(retired) + sum(count["closed"] for count in counts.values()),
    )


def _in_scope(matches: MatchQuerySet, accounts: Sequence[int] | None) -> MatchQuerySet:
    return matches if accounts is None else matches.filter(account__in=Ids(accounts))


class Standing(NamedTuple):
    """An open episode: its match, and whether it may still fire."""

    pk: int
    waits: bool


def _standing(accounts: Sequence[int] | None) -> dict[int, dict[int, Standing]]:
    """The open episodes in scope, by trigger and account. One query."""
    standing: dict[int, dict[int, Standing]] = {}
    rows = _in_scope(Match.objects.episode_open(), accounts).order_by()
    for trigger_id, account_id, pk, state in rows.values_list("trigger", "account", "pk", "state"):
        waits = state in (Match.State.HELD, Match.State.QUEUED)
        standing.setdefault(trigger_id, {})[account_id] = Standing(pk, waits)
    return standing


def _run_version(
    version: PlaybookVersion,
    triggers: Sequence[TriggerVersion],
    run: Run,
    known: Known,
    accounts: Sequence[int] | None,
    standing: Mapping[int, Mapping[int, Standing]],
    passed: set[int],
    rates: CloseRates,
    looked: dict[int, Far],
) -> dict[str, dict[str, Any]]:
    """Write the episodes of one version and ask its guards; answers the counts by trigger id.

    Where the run looks at all accounts or a part of them, how far everybody got is added to `looked`, by trigger id.
    """
    counts: dict[str, dict[str, Any]] = {}
    fresh: list[Match] = []
    for trigger in triggers:
        before = standing[trigger.trigger_id]
        opened, counts[str(trigger.trigger_id)] = _find(trigger, run, known, accounts, before, looked)
        fresh += opened
    if fresh or any(match.waits for matches in standing.values() for match in matches.values()):
        court = Court(run.moment, known, passed, rates, run_id=run.pk, in_run=True)
        judge(version, triggers, court, _in_scope(Match.objects.all(), accounts), fresh)
    return counts


def _find(
    trigger: TriggerVersion,
    run: Run,
    known: Known,
    accounts: Sequence[int] | None,
    standing: Mapping[int, Standing],
    looked: dict[int, Far],
) -> tuple[list[Match], dict[str, Any]]:
    """Close the episodes of one trigger that are over; `standing` are the open ones, by account.

    Answers the new ones, not saved and still to be judged, and the counts.
    """
    asked: Sequence[int] | None = accounts
    if run.kind != Run.Kind.CHANGED:
        # Who meets the conditions is asked together with where the others fail, and what was found only of the new.
        far = looked[trigger.trigger_id] = how_far(trigger, Asked(run.moment, known, newest=run.pk), accounts)
        asked = [account_id for account_id in far.meeting if account_id not in standing]
    hits = evaluate(trigger, run.moment, known, asked)
    matching = {hit.account_id for hit in hits} if run.kind == Run.Kind.CHANGED else set(far.meeting)
    gone = [match.pk for account_id, match in standing.items() if account_id not in matching]
    _close(gone, run)
    fresh = [
        Match(
            trigger_id=trigger.trigger_id,
            version_id=trigger.version_id,
            account_id=hit.account_id,
            opened_run=run,
            opened_at=run.moment,
            state="",
            evidence=hit.evidence,
        )
        for hit in hits
        if hit.account_id not in standing
    ]
    return fresh, {"matched": len(matching), "opened": len(fresh), "closed": len(gone)}


def _close(match_ids: Sequence[int], run: Run) -> None:
    for start in range(0, len(match_ids), 5000):
        chunk = Match.objects.filter(pk__in=match_ids[start : start + 5000])
        # One statement: a match that becomes a play at this very moment stays fired, one that waits ends unfired.
        chunk.update(
            closed_run=run,
            closed_at=run.moment,
            state=Case(
                When(state__in=[Match.State.HELD, Match.State.QUEUED], then=Value(Match.State.ENDED.value)),
                default=F("state"),
                output_field=CharField(),
            ),
        )
        # Only now, closed at last: none of them had ended before.
        ended = chunk.filter(state=Match.State.ENDED).only(*SAID, "admitted_run").order_by("pk")
        write_steps(ended, run_id=run.pk, in_run=True, at=run.moment)


@dataclass(frozen=True)
class Court:
    """What the guards are asked with: at which moment, knowing what, in a run or between two.

    The ids of what they let pass are added to `passed`. `run_id` is the newest run, `in_run` whether the guards are
    asked by it.
    """

    moment: datetime
    known: Known
    passed: set[int]
    rates: CloseRates
    run_id: int
    in_run: bool


def judge(
    version: PlaybookVersion,
    triggers: Sequence[TriggerVersion],
    court: Court,
    matches: MatchQuerySet,
    fresh: Sequence[Match] = (),
) -> int:
    """Ask the guards about the unfired ones among `matches` of one version, and about `fresh` ones, not yet saved.

    Writes what has changed, and its steps. What is let pass stands in the queue with its route and value; whether there
    is room for it is another question. Those who stand there already are asked first, and take room at their account
    before all who come now. A constant number of queries for every 2,000 matches. Answers how many are free.
    """
    cooldowns: Mapping[int, int] = {t.trigger_id: t.definition["cooldown_days"] for t in triggers}
    waiting = matches.unfired().filter(trigger__in=list(cooldowns)).order_by("pk")
    rows = [*waiting, *fresh]
    before = {match.pk: (said_of(match), _written(match)) for match in rows if match.pk}
    question = Question(court.moment, court.known, version.document["motion"], cooldowns)
    accounts = {match.account_id for match in rows}
    line = Line.at(accounts)
    panel = Panel(accounts, question, version.document["guards"])
    free = []
    for match in line.in_order(rows):
        judgement = panel.judge_match(match, line)
        match.ceiling = judgement.ceiling.route if judgement.ceiling else ""
        if judgement.hold:
            hold(match, judgement.hold)
        else:
            free.append(match)
    _queue(free, version, court)
    Match.objects.bulk_create(fresh, batch_size=1000)
    changed = [match for match in rows if match.pk in before and before[match.pk][1] != _written(match)]
    # Conditional on the match still waiting: one that fired in between is left as it is.
    Match.objects.unfired().bulk_update(changed, _COLUMNS, batch_size=500)
    told = [match for match in changed if before[match.pk][0] != said_of(match)]
    write_steps([*_unfired_of(told), *fresh], run_id=court.run_id, in_run=court.in_run, at=court.moment)
    # At last: of a version that fails nothing is written, and so nothing is passed.
    court.passed.update(match.pk for match in free)
    return len(free)


#: What judging writes of a match.
_COLUMNS = ("ceiling", *HELD_COLUMNS)


def _written(match: Match) -> tuple[object, ...]:
    return tuple(getattr(match, "admitted_run_id" if name == "admitted_run" else name) for name in _COLUMNS)


def _queue(matches: Sequence[Match], version: PlaybookVersion, court: Court) -> None:
    """Put matches into the queue, in memory, with route and value; those that stand there keep their place."""
    for match in matches:
        let_pass(match, court.moment, timedelta(days=version.document.get("queue_days", QUEUE_DAYS)))
    value(matches, version, court.moment, court.rates)


def _unfired_of(matches: Sequence[Match]) -> list[Match]:
    """Those among matches that have not fired meanwhile: their rows are locked by the UPDATE that wrote them."""
    waiting: set[int] = set()
    for start in range(0, len(matches), 5000):
        chunk = [match.pk for match in matches[start : start + 5000]]
        waiting.update(Match.objects.unfired().filter(pk__in=chunk).values_list("pk", flat=True))
    return [match for match in matches if match.pk in waiting]
