"""The verdicts of all accounts at once: counted, listed, and kept by runs. Set-based, in a constant number of queries.

One query says how far everybody gets, with a line for each place where accounts fail and one for each account that
meets the conditions. These few are then told apart by their episodes, and by the guards where there is none yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count as CountRows
from django.db.models import QuerySet

from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.compiled import ask
from csplaybooks.playbooks.evaluator import TriggerVersion
from csplaybooks.playbooks.guards import Panel, Question
from csplaybooks.playbooks.guards.judging import Judgement
from csplaybooks.playbooks.measures import Known, Moment
from csplaybooks.playbooks.models import Run
from csplaybooks.playbooks.reach import require_guards_kept, require_kept
from csplaybooks.playbooks.verdicts.asked import Asked
from csplaybooks.playbooks.verdicts.episodes import episodes
from csplaybooks.playbooks.verdicts.kinds import Count, Kind, Verdict, as_counts
from csplaybooks.playbooks.verdicts.places import places, verdict_of, with_verdict
from csplaybooks.signals.acts.pruning.sums import these

#: Of so few accounts of a queryset the ids are handed to the measures, so that cost grows with them.
_MOST_LISTED = 2000

#: Which accounts are asked about: None for all, some ids, or a queryset such as what a viewer may see.
Accounts = Sequence[int] | QuerySet[Any] | None


@dataclass(frozen=True)
class Sorted:
    """How many accounts have each verdict, by its key, and the verdict of each account that meets the conditions."""

    counts: dict[str, int]
    holding: dict[int, Verdict]


@dataclass(frozen=True)
class Far:
    """How many accounts do not meet the conditions, by the key of their verdict, and the ids of those that do."""

    counts: dict[str, int]
    meeting: list[int]


def sort_out(trigger: TriggerVersion, asked: Asked, accounts: Accounts = None) -> Sorted:
    """The verdicts of all accounts under one trigger. Raises what the package says.

    One query over the accounts, one over the episodes (two of the past), and where accounts meet the conditions
    without an episode one for every 5,000 of them; one more for a queryset of accounts. Of verdicts that nobody has
    there is no count.
    """
    scope, ids = _scope(accounts)
    far = _how_far(trigger, asked, scope, ids)
    counts = dict(far.counts)
    holding = _of_those_who_meet(trigger, asked, far.meeting)
    for verdict in holding.values():
        counts[verdict.key] = counts.get(verdict.key, 0) + 1
    return Sorted(counts, holding)


def count_verdicts(trigger: TriggerVersion, asked: Asked, accounts: Accounts = None) -> list[Count]:
    """How many accounts have each verdict; they add up to all accounts asked about, deleted and merged ones too.

    As `sort_out`. The list is in the order in which things are asked, with zeros: see `as_counts`.
    """
    return as_counts(trigger, sort_out(trigger, asked, accounts).counts)


def accounts_of(trigger: TriggerVersion, asked: Asked, verdict: Verdict, accounts: Accounts = None) -> QuerySet[Any]:
    """The accounts with a verdict, as a queryset without an order: those that `count_verdicts` counts.

    Of those who do not meet the conditions it is one query, made when it is read; of the others it costs what
    `sort_out` costs at once. Raises what the package says.
    """
    if verdict.meets_the_conditions:
        holding = sort_out(trigger, asked, accounts).holding
        return these(Account, sorted(pk for pk, theirs in holding.items() if theirs == verdict))
    if verdict.kind == Kind.FAILED and verdict.key not in {count.key for count in as_counts(trigger, {})}:
        raise ValueError(f"the trigger {trigger.definition['key']} has no condition {verdict.key}")
    require_kept(trigger.definition, asked.moment, asked.known)
    scope, ids = _scope(accounts)
    moment = Moment(asked.moment, asked.known, None if ids is None else Ids(ids))
    rows: QuerySet[Any] = (
        scope.known_at(asked.known.mark).alias(**places(trigger, moment)).filter(with_verdict(trigger, verdict))
    )
    return rows


def how_far(trigger: TriggerVersion, asked: Asked, accounts: Accounts = None) -> Far:
    """How far everybody gets with the conditions; one query, and one more for a queryset of accounts.

    Raises what the package says, of measures.
    """
    scope, ids = _scope(accounts)
    return _how_far(trigger, asked, scope, ids)


def counts_of_run(run: Run, trigger: TriggerVersion, known: Known, far: Far) -> dict[str, int]:
    """How many accounts have each verdict at the end of a run, by key: for the run to keep, inside its transaction.

    `far` is what `how_far` answered in the run. Call it when the matches have been opened, judged and let through: they
    are taken as they stand, and no guard is asked again. One query.
    """
    asked = Asked(run.moment, known, newest=run.pk)
    counts = dict(far.counts)
    standing = episodes(asked, [trigger.trigger_id], None if len(far.meeting) > _MOST_LISTED else far.meeting)
    for account_id in far.meeting:
        verdict = standing[trigger.trigger_id, account_id].verdict(run.pk)
        counts[verdict.key] = counts.get(verdict.key, 0) + 1
    return counts


def sums_of_runs(runs: Iterable[Run], trigger_id: int) -> dict[str, int] | None:
    """What some runs kept of one trigger, added up: the parts of a round, or one full run.

    None where one of them kept nothing of it: the trigger was not evaluated there.
    """
    sums: dict[str, int] = {}
    for run in runs:
        kept = run.counts.get(str(trigger_id), {}).get("verdicts")
        if kept is None:
            return None
        for key, number in kept.items():
            sums[key] = sums.get(key, 0) + number
    return sums


def judge_new(
    trigger: TriggerVersion, asked: Asked, accounts: Collection[int], panel: Panel | None = None
) -> dict[int, Verdict]:
    """What the guards say of accounts that meet the conditions and have no episode: held, cooling, or queued."""
    if not accounts:
        return {}
    if panel is None:
        panel = panel_of([trigger], asked, accounts)
    verdicts = {}
    for account_id in accounts:
        hold = Judgement.of(panel.answers(account_id, trigger.trigger_id or None)).hold
        verdicts[account_id] = Verdict.held(hold.guard) if hold else Verdict(Kind.QUEUED)
    return verdicts


def panel_of(triggers: Sequence[TriggerVersion], asked: Asked, accounts: Collection[int]) -> Panel:
    """The guards of triggers of one version, for some accounts. One query for every 5,000 of them."""
    first = triggers[0]
    require_guards_kept(first.guards, asked.moment, asked.known)
    cooldowns = {each.trigger_id: each.definition["cooldown_days"] for each in triggers if not each.is_draft}
    question = Question(asked.moment, asked.known, first.motion, cooldowns, past=asked.past)
    return Panel(accounts, question, first.guards)


def _of_those_who_meet(trigger: TriggerVersion, asked: Asked, meeting: Sequence[int]) -> dict[int, Verdict]:
    standing: Mapping[tuple[int, int], Any] = {}
    if meeting and not trigger.is_draft:
        standing = episodes(asked, [trigger.trigger_id], None if len(meeting) > _MOST_LISTED else meeting)
    known = {
        account_id: standing[trigger.trigger_id, account_id].verdict(asked.newest)
        for account_id in meeting
        if (trigger.trigger_id, account_id) in standing
    }
    return known | judge_new(trigger, asked, [account_id for account_id in meeting if account_id not in known])


def _how_far(trigger: TriggerVersion, asked: Asked, scope: QuerySet[Any], ids: tuple[int, ...] | None) -> Far:
    require_kept(trigger.definition, asked.moment, asked.known)
    counts: dict[str, int] = {}
    meeting: list[int] = []
    if ids is not None and not ids:
        return Far(counts, meeting)

    def build(moment: Moment) -> tuple[QuerySet[Any, Any], list[str]]:
        found = places(trigger, moment)
        chosen: Any = scope if moment.accounts is None else Account.objects.filter(pk__in=moment.accounts)
        chosen = chosen.known_at(moment.known.mark)
        return chosen.order_by().values(**found).annotate(accounts=CountRows("pk")), list(found)

    moment = Moment(asked.moment, asked.known, ids)
    if ids is None and scope.query.where:
        # Whom a viewer sees stands in the text of the query: it is not kept.
        rows: Iterable[Mapping[str, Any]]
        query, names = build(moment)
        rows = query.iterator()
    else:
        rows, names = ask(build, trigger.definition, trigger.audience, moment, "places")
    for row in rows:
        verdict = verdict_of([row[name] for name in names])
        if isinstance(verdict, Verdict):
            counts[verdict.key] = counts.get(verdict.key, 0) + row["accounts"]
        else:
            meeting.append(verdict)
    return Far(counts, sorted(meeting))


def _scope(accounts: Accounts) -> tuple[Any, tuple[int, ...] | None]:
    """The accounts asked about, and their ids where these are given or few."""
    if accounts is None or (isinstance(accounts, QuerySet) and _is_all(accounts)):
        return Account.objects.all(), None
    if isinstance(accounts, QuerySet):
        ids = tuple(accounts.order_by().values_list("pk", flat=True)[: _MOST_LISTED + 1])
        if len(ids) > _MOST_LISTED:
            # As a subquery: joins of its own must not count an account twice.
            return Account.objects.filter(pk__in=accounts.order_by().values("pk")), None
    else:
        ids = tuple(sorted(set(accounts)))
    return Account.objects.filter(pk__in=Ids(ids)), ids


def _is_all(accounts: QuerySet[Any]) -> bool:
    query = accounts.query
    return not (query.where or query.is_sliced or query.combinator or query.is_empty())
