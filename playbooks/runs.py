"""Runs of the evaluator: claim what was told, ask every trigger, write episodes where something changed.

A run is one transaction under one lease, so runs follow each other and a run that dies leaves nothing. Its id is the
mark: "known at run r" is what runs up to r had claimed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Case, CharField, F, Max, Q, Value, When

from csplaybooks.accounts.base import MarkedQuerySet
from csplaybooks.accounts.models import Account, Change
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate
from csplaybooks.playbooks.guards import Admitted, Crowded, Question, judge_matches
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Match, Playbook, PlaybookVersion, Run, Trigger
from csplaybooks.playbooks.models.matches import MatchQuerySet
from csplaybooks.playbooks.pokes import poke
from csplaybooks.signals.models import IntakeBatch, Reading, Signal

logger = logging.getLogger("csplaybooks.runs")

#: More changed accounts than this, and the run looks at all of them: an `IN` list is no longer the cheaper way.
#: SQLite takes fewer parameters in a statement, and the ids stand in it several times.
MOST_CHANGED_ACCOUNTS = {True: 20_000, False: 2_000}


@dataclass(frozen=True)
class RunReport:
    """What a run did; counts over all triggers."""

    run_id: int
    accounts: int
    matched: int
    opened: int
    closed: int


def run_triggers(*, now: datetime, full: bool = False) -> RunReport | None:
    """Run the evaluator over what changed since the last run, or in full over all accounts.

    Answers None when nothing changed. Safe twice and at once: runs wait for each other, and what one has claimed the
    next does not see. `now` becomes the run's moment, but never before the moment of the run before it, nor before
    what it has claimed was told: while a run waits for the one before it, more comes in. A playbook
    that cannot be evaluated keeps its matches as they were and stands in the run's `errors`; the others go on.
    """
    if not full and not _anything_new(_last_run(), now):
        # Asked before the lease as well, so that idle pokes take no lock.
        return None
    with holding("csplaybooks:run", now):
        last = _last_run()
        if not full and not _anything_new(last, now):
            return None
        run = Run.objects.create(kind=Run.Kind.FULL if full else Run.Kind.CHANGED, moment=now)
        moments = [now, last.moment] if last else [now]
        tolerance = timedelta(seconds=csplaybooks_settings.INTAKE_FUTURE_TOLERANCE_SECONDS)
        for inputs in (IntakeBatch.objects, Change.objects):
            inputs.unclaimed().update(seen_by_run=run.pk)
            told = inputs.filter(seen_by_run=run.pk).aggregate(latest=Max("recorded_at"))["latest"]
            # No further ahead than a sender's clock may run: one machine's wrong clock must not pin all runs.
            moments += [min(told, now + tolerance)] if told else []
        run.moment = max(moments)
        accounts = None if full else changed_accounts(run)
        if accounts is None:
            run.kind = Run.Kind.FULL
        known = Known.now(mark=run.pk)
        counts: dict[str, dict[str, int]] = {}
        admitted: Admitted = {}
        standing = _standing(accounts)
        for version, triggers in _running_versions():
            open_ids = {t.trigger_id: standing.pop(t.trigger_id, {}) for t in triggers}
            try:
                with transaction.atomic():
                    counts.update(_run_version(version, triggers, run, known, accounts, open_ids, admitted))
            except Exception as error:
                if _is_database_trouble(error):
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
        run.save(update_fields=["kind", "moment", "versions", "inputs", "counts", "errors", "accounts", "finished_at"])
        if Match.objects.filter(state=Match.State.QUEUED).exists():
            poke("work")
        report = RunReport(
            run_id=run.pk,
            accounts=run.accounts,
            matched=sum(count["matched"] for count in counts.values()),
            opened=sum(count["opened"] for count in counts.values()),
            closed=len(retired) + sum(count["closed"] for count in counts.values()),
        )
    logger.info("%s", report)
    return report


def _last_run() -> Run | None:
    last: Run | None = Run.objects.order_by("-pk").first()
    return last


def _is_database_trouble(error: Exception) -> bool:
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


def _anything_new(last: Run | None, now: datetime) -> bool:
    if Change.objects.unclaimed().exists() or IntakeBatch.objects.unclaimed().filter(stored__gt=0).exists():
        return True
    return last is not None and any(
        inputs.ripening(last.moment, now).filter(seen_by_run__isnull=False).exists()
        for inputs in (Change.objects, IntakeBatch.objects)
    )


def changed_accounts(run: Run) -> list[int] | None:
    """The accounts that a run has news of; None where that is all of them, or too many to list.

    News is what the run has claimed, and what earlier runs had claimed too soon: it was dated ahead of their moment.
    """
    last = Run.objects.filter(pk__lt=run.pk).order_by("-pk").first()

    def news_of(inputs: MarkedQuerySet) -> MarkedQuerySet:
        claimed = Q(seen_by_run=run.pk)
        if last is None:
            return inputs.filter(claimed)
        # Ids first: nearly always there is none, and the question stays the plain one.
        ripe = inputs.ripening(last.moment, run.moment).filter(seen_by_run__lt=run.pk)
        ids = list(ripe.values_list("pk", flat=True))
        return inputs.filter(claimed | Q(pk__in=ids) if ids else claimed)

    changes = news_of(Change.objects.all())
    if changes.filter(account__isnull=True).exists():
        return None
    most = MOST_CHANGED_ACCOUNTS[connection.vendor == "postgresql"]
    batches = news_of(IntakeBatch.objects.all()).values("pk")
    ids: set[int] = set(changes.order_by().values_list("account", flat=True).distinct())
    for events in (Signal.objects.filter(batch__in=batches), Reading.objects.filter(batch__in=batches)):
        ids.update(events.order_by().values_list("account", flat=True).distinct()[: most + 1])
    return sorted(ids) if len(ids) <= most else None


def replay_run(run: Run) -> dict[int, list[int]]:
    """Ask again what a run asked, with its moment, its mark and its versions: account ids by trigger id.

    Equals `matches_after(run)` exactly, whatever has arrived since.
    """
    known = Known.from_json(run.pk, run.inputs)
    accounts = None if run.kind == Run.Kind.FULL else changed_accounts(run)
    versions = PlaybookVersion.objects.in_bulk(set(run.versions.values()))
    keys = dict(Trigger.objects.filter(pk__in=run.versions).values_list("pk", "key"))
    answers: dict[int, list[int]] = {}
    for trigger_id, version_id in run.versions.items():
        ids = {keys[int(trigger_id)]: int(trigger_id)}
        document = versions[version_id].document
        definition = next(item for item in document["triggers"] if item["key"] == keys[int(trigger_id)])
        trigger = TriggerVersion(ids[definition["key"]], version_id, definition, document["audience"])
        answers[int(trigger_id)] = [hit.account_id for hit in evaluate(trigger, run.moment, known, accounts)]
    return answers


def matches_after(run: Run) -> dict[int, list[int]]:
    """The episodes that stood open after a run, over the accounts it looked at: account ids by trigger id."""
    accounts = None if run.kind == Run.Kind.FULL else changed_accounts(run)
    open_then = Match.objects.open_after(run.pk).filter(trigger__in=run.versions)
    if accounts is not None:
        open_then = open_then.filter(account__in=accounts)
    answers: dict[int, list[int]] = {int(trigger_id): [] for trigger_id in run.versions}
    for trigger_id, account_id in open_then.order_by("account_id").values_list("trigger", "account"):
        answers[trigger_id].append(account_id)
    return answers


def judge_held(*, now: datetime) -> int:
    """Ask the guards again about held matches whose time has come; answers how many were freed.

    What is held for want of room at its account is asked each time: nobody tells when a play closes.
    """
    held = Match.objects.filter(
        Q(held_until__lte=now) | Q(held_by=Crowded.key, held_until__isnull=True), state=Match.State.HELD
    )
    if not held.exists():
        return 0
    with holding("csplaybooks:run", now):
        last = _last_run()
        if last is None:
            return 0
        known = Known.now(mark=last.pk)
        asked = set(held.order_by().values_list("trigger", flat=True).distinct())
        freed = 0
        admitted: Admitted = {}
        for version, triggers in _running_versions():
            if asked & {trigger.trigger_id for trigger in triggers}:
                try:
                    with transaction.atomic():
                        freed += _judge(version, triggers, max(now, last.moment), known, held, admitted)
                except Exception as error:
                    if _is_database_trouble(error):
                        raise
                    logger.exception("the guards of %s could not be asked", version)
        if freed:
            poke("work")
        return freed


def _running_versions() -> list[tuple[PlaybookVersion, list[TriggerVersion]]]:
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
        _judge(version, triggers, run.moment, known, _in_scope(Match.objects.all(), accounts), admitted)
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


def _judge(
    version: PlaybookVersion,
    triggers: Sequence[TriggerVersion],
    moment: datetime,
    known: Known,
    matches: MatchQuerySet,
    admitted: Admitted,
) -> int:
    """Ask the guards about the unfired matches of one version; one query and one update. Answers how many are free.

    `admitted` goes from version to version of a run: what was let through at an account takes its room.
    """
    waiting = matches.unfired().filter(trigger__in=[trigger.trigger_id for trigger in triggers])
    question = Question(moment, known, version.document["motion"])
    cooldowns: Mapping[int, int] = {t.trigger_id: t.definition["cooldown_days"] for t in triggers}
    changed = []
    freed = 0
    for match, judgement in judge_matches(waiting, question, version.document["guards"], cooldowns, admitted):
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
