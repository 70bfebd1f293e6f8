"""Episodes: what one run of the evaluator writes for the accounts it looks at, and what the guards say to it.

Everything here happens inside the transaction of a run, under its lease.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Case, CharField, F, Value, When

from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate
from csplaybooks.playbooks.guards import Admitted, Question, judge_matches
from csplaybooks.playbooks.measures import Known, uses_catalogue
from csplaybooks.playbooks.models import Match, Playbook, PlaybookVersion, Run
from csplaybooks.playbooks.models.matches import MatchQuerySet
from csplaybooks.playbooks.pokes import poke

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

    `run` is the newest row, with kind, round and moment set; it is saved whole. A playbook that cannot be evaluated
    keeps its matches as they were and stands in the run's `errors`; the others go on.
    """
    versions = running_versions()
    asked = [trigger.definition for _, triggers in versions for trigger in triggers]
    known = Known.now(mark=run.pk, catalogue=any(uses_catalogue(definition) for definition in asked))
    counts: dict[str, dict[str, int]] = {}
    admitted: Admitted = {}
    standing = _standing(accounts)
    for version, triggers in versions:
        open_ids = {t.trigger_id: standing.pop(t.trigger_id, {}) for t in triggers}
        try:
            with transaction.atomic():
                counts.update(_run_version(version, triggers, run, known, accounts, open_ids, admitted))
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
    run.inputs = known.as_json()
    run.counts = counts
    run.accounts = Account.objects.count() if accounts is None else len(accounts)
    run.finished_at = now
    run.save(
        update_fields=["kind", "moment", "round", "versions", "inputs", "counts", "errors", "accounts", "finished_at"]
    )
    if Match.objects.filter(state=Match.State.QUEUED).exists():
        poke("work")
    return RunReport(
        run_id=run.pk,
        accounts=run.accounts,
        matched=sum(count["matched"] for count in counts.values()),
        opened=sum(count["opened"] for count in counts.values()),
        closed=len(retired) + sum(count["closed"] for count in counts.values()),
    )


def is_database_trouble(error: Exception) -> bool:
    """Whether an error is a passing one of the database (a deadlock, a lock, a lost connection), and not of a query.

    A query that is too slow or too large is an OperationalError as well, and would fail again in every run.
    """
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError):
        return False
    code = getattr(error.__cause__, "sqlstate", None)
    if code is not None:
        # Connection exceptions, transaction rollbacks, lock not available, the server shutting down.
        return code[:2] in ("08", "40") or code in ("55P03", "57P01", "57P02", "57P03")
    return any(word in str(error).lower() for word in ("locked", "deadlock", "disk", "connection"))


def running_versions() -> list[tuple[PlaybookVersion, list[TriggerVersion]]]:
    """The published versions of all running playbooks with their triggers; two queries."""
    playbooks = Playbook.objects.running().select_related("published").prefetch_related("triggers").order_by("pk")
    return [
        (playbook.published, TriggerVersion.of(playbook.published, {t.key: t.pk for t in playbook.triggers.all()}))
        for playbook in playbooks
    ]


def _in_scope(matches: MatchQuerySet, accounts: Sequence[int] | None) -> MatchQuerySet:
    return matches if accounts is None else matches.filter(account__in=accounts)


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
    admitted: Admitted,
) -> dict[str, dict[str, int]]:
    """Write the episodes of one version and ask its guards; answers the counts by trigger id."""
    counts = {
        str(trigger.trigger_id): _write_episodes(trigger, run, known, accounts, standing[trigger.trigger_id])
        for trigger in triggers
    }
    opened = any(count["opened"] for count in counts.values())
    if opened or any(match.waits for matches in standing.values() for match in matches.values()):
        judge(version, triggers, run.moment, known, _in_scope(Match.objects.all(), accounts), admitted)
    return counts


def _write_episodes(
    trigger: TriggerVersion, run: Run, known: Known, accounts: Sequence[int] | None, standing: Mapping[int, Standing]
) -> dict[str, int]:
    """Open and close episodes of one trigger where they changed; `standing` are the open ones, by account."""
    hits = {hit.account_id: hit for hit in evaluate(trigger, run.moment, known, accounts)}
    fresh = [hit for account_id, hit in hits.items() if account_id not in standing]
    gone = [match.pk for account_id, match in standing.items() if account_id not in hits]
    Match.objects.bulk_create(
        [
            Match(
                trigger_id=trigger.trigger_id,
                version_id=trigger.version_id,
                account_id=hit.account_id,
                opened_run=run,
                opened_at=run.moment,
                # The guards are asked in the same transaction, before anybody can see the row.
                state=Match.State.QUEUED,
                evidence=hit.evidence,
            )
            for hit in fresh
        ],
        batch_size=1000,
    )
    _close(gone, run)
    return {"matched": len(hits), "opened": len(fresh), "closed": len(gone)}


def _close(match_ids: Sequence[int], run: Run) -> None:
    # One statement: a match that becomes a play at this very moment stays fired, one that waits ends unfired.
    for start in range(0, len(match_ids), 5000):
        Match.objects.filter(pk__in=match_ids[start : start + 5000]).update(
            closed_run=run,
            closed_at=run.moment,
            state=Case(
                When(state__in=[Match.State.HELD, Match.State.QUEUED], then=Value(Match.State.ENDED.value)),
                default=F("state"),
                output_field=CharField(),
            ),
        )


def judge(
    version: PlaybookVersion,
    triggers: Sequence[TriggerVersion],
    moment: datetime,
    known: Known,
    matches: MatchQuerySet,
    admitted: Admitted,
) -> int:
    """Ask the guards about the unfired matches of one version; two queries and one update. Answers how many are free.

    `admitted` goes from version to version of a run: what was let through at an account takes its room.
    """
    waiting = matches.unfired().filter(trigger__in=[trigger.trigger_id for trigger in triggers])
    cooldowns: Mapping[int, int] = {t.trigger_id: t.definition["cooldown_days"] for t in triggers}
    question = Question(moment, known, version.document["motion"], cooldowns)
    changed = []
    freed = 0
    for match, judgement in judge_matches(waiting, question, version.document["guards"], admitted):
        before = (match.state, match.held_by, match.held_until, match.held_reason, match.ceiling)
        hold = judgement.hold
        match.state = Match.State.HELD if hold else Match.State.QUEUED
        match.held_by = hold.guard if hold else ""
        match.held_until = hold.until if hold else None
        match.held_reason = hold.reason[:300] if hold else ""
        match.ceiling = judgement.ceiling.route if judgement.ceiling else ""
        if before != (match.state, match.held_by, match.held_until, match.held_reason, match.ceiling):
            changed.append(match)
        freed += not hold
    # Conditional on the match still waiting: one that fired in between is left as it is.
    Match.objects.unfired().bulk_update(
        changed, ["state", "held_by", "held_until", "held_reason", "ceiling"], batch_size=500
    )
    return freed
