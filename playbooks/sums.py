"""The two sums of a run, drawn over the accounts that it looked at, never mixed.

Over episodes: all there ever were of a trigger = fired + folded + held + queued + expired + ended unfired. Over
accounts, where a run looked at all of them or at a part: all of them = the sum of the verdicts. Where one does not
close, the run says so in its `errors`, under `sum:` and the id of the trigger, and `csplaybooks_doctor` is red.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Count, Q

from csplaybooks.accounts.ids import Ids
from csplaybooks.playbooks.evaluator import TriggerVersion
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Match, PlaybookVersion, Run
from csplaybooks.playbooks.trouble import is_database_trouble
from csplaybooks.playbooks.verdicts import Far, counts_of_run

logger = logging.getLogger("csplaybooks.runs")

#: How the key of such an error begins; those of playbooks that could not be evaluated are ids of versions.
SUM = "sum:"

#: The states, in the order of the sum.
STATES = (
    Match.State.FIRED,
    Match.State.FOLDED,
    Match.State.HELD,
    Match.State.QUEUED,
    Match.State.EXPIRED,
    Match.State.ENDED,
)


def count_up(
    run: Run,
    versions: Sequence[tuple[PlaybookVersion, Sequence[TriggerVersion]]],
    counts: dict[str, dict[str, Any]],
    known: Known,
    accounts: Sequence[int] | None,
    looked: Mapping[int, Far],
) -> None:
    """Add both sums to the counts of each trigger that was evaluated, and what does not close to the run's errors.

    `counts` are by trigger id. `accounts` are those the run looked at (None: all); `run.accounts` says how many they
    are. `looked` tells how far they got, where the run looked at all accounts or at a part of them. One query, and one
    for each trigger in `looked`.
    """
    episodes = count_episodes(run, accounts)
    nothing = dict.fromkeys(("all", "linked", "standing", "opened", "closed", *(state.value for state in STATES)), 0)
    faults: dict[str, list[str]] = {}
    for key in dict.fromkeys([*map(str, episodes), *counts]):
        row, told = episodes.get(int(key), nothing), counts.get(key)
        faults[key] = list(_faults_of_episodes(row, told))
        if told is not None:
            told["episodes"] = {"all": row["all"], **{state.value: row[state.value] for state in STATES}}
    for trigger in (trigger for _, triggers in versions for trigger in triggers):
        key = str(trigger.trigger_id)
        if key in counts and trigger.trigger_id in looked:
            faults[key].extend(_count_verdicts(run, trigger, counts[key], known, looked[trigger.trigger_id]))
    for key, sentences in faults.items():
        if sentences:
            run.errors[f"{SUM}{key}"] = f"trigger {key}: {'; '.join(sentences)}"[:500]
            logger.error("%s: a sum of trigger %s does not close: %s", run, key, "; ".join(sentences))


def count_episodes(run: Run, accounts: Sequence[int] | None) -> dict[int, dict[str, int]]:
    """By trigger: all episodes of some accounts, by state, with links to plays, still open, and what the run did. One
    query, so that what fires at this moment is counted whole or not at all.
    """
    rows = Match.objects.all() if accounts is None else Match.objects.filter(account__in=Ids(accounts))
    counted = (
        rows.order_by()
        .values("trigger")
        .annotate(
            all=Count("pk"),
            linked=Count("play_match"),
            standing=Count("pk", filter=Q(closed_run__isnull=True)),
            opened=Count("pk", filter=Q(opened_run=run)),
            closed=Count("pk", filter=Q(closed_run=run)),
            **{state.value: Count("pk", filter=Q(state=state)) for state in STATES},
        )
    )
    return {row.pop("trigger"): row for row in counted}


def _faults_of_episodes(row: Mapping[str, int], told: Mapping[str, Any] | None) -> Iterator[str]:
    parts = [f"{row[state.value]:,} {state.label.lower()}" for state in STATES]
    if row["all"] != sum(row[state.value] for state in STATES):
        yield f"{row['all']:,} episodes are not {' + '.join(parts)}"
    if row["linked"] != row[Match.State.FIRED.value] + row[Match.State.FOLDED.value]:
        yield f"{row['linked']:,} links to plays are not {parts[0]} + {parts[1]}"
    if told is None:
        return
    for name, rows, what in (
        ("opened", row["opened"], "opened"),
        ("closed", row["closed"], "closed"),
        ("matched", row["standing"], "matched"),
    ):
        if told[name] != rows:
            yield f"it {what} {told[name]:,}, and {rows:,} rows say so"


def _count_verdicts(run: Run, trigger: TriggerVersion, told: dict[str, Any], known: Known, far: Far) -> Iterator[str]:
    """Add the verdicts of one trigger to what is told of it; answers what is wrong with them."""
    try:
        with transaction.atomic():
            verdicts = counts_of_run(run, trigger, known, far)
    except Exception as error:
        # Whatever goes wrong is told in the run's errors; a passing trouble of the database rolls it back.
        if is_database_trouble(error):
            raise
        logger.exception("the verdicts of %s could not be counted", trigger.definition["key"])
        yield f"its verdicts could not be counted: {type(error).__name__}: {error}"
        return
    told["verdicts"] = verdicts
    if sum(verdicts.values()) != run.accounts:
        yield f"{sum(verdicts.values()):,} verdicts are not the {run.accounts:,} accounts that it looked at"
