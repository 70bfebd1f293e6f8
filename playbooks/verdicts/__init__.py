"""Verdicts: for a trigger, an account and a moment exactly one answer. Over all accounts they add up to these.

| key | kind | the account |
| --- | --- | --- |
| `outside` | outside | is not in the audience |
| `failed:0:1` | failed | fails a condition: group 0's condition 1 here. Of several groups the one that got furthest, |
|            |        | with the most conditions met before its first that fails; of equals the first |
| `held:onboarding` | held | meets the conditions, and this guard holds it |
| `cooling` | cooling | is held by the guard of that name, until a date |
| `queued` | queued | meets the conditions, nothing holds it, and it has not been let through yet |
| `fired` | fired | was let through by the run asked about (of a moment: by the last run until then) |
| `still_matching` | still matching | was let through by an earlier run, and its episode stands |
| `expired` | expired | waited in the queue for too long, and its episode stands |

Whatever asks says when and knowing what with an `Asked`: `Asked.now(now)`, `Asked.at(moment)` (a past moment, with
today's knowledge) or `Asked.of_run(run)` (a past run, with what it knew). Then

- `asked.triggers()` are the triggers to ask: those that run, or those that ran then (of a moment: those that the last
  run until then evaluated, in its versions). Those of a draft are
  `TriggerVersion.of_draft(document)`; it has no episodes.
- `explain(triggers, asked, account_ids, viewer)` answers one account, or a few, in full and in words that the viewer
  may read.
- `count_verdicts(trigger, asked, accounts)` counts the verdicts, and `accounts_of(trigger, asked, verdict, accounts)`
  are the accounts behind one of these numbers: they cannot disagree. `accounts` is None for all, ids, or a queryset
  such as `Account.objects.visible_to(user)`.
- `sort_out(trigger, asked, accounts)` answers the same counts by key with the verdict of each account that meets the
  conditions: what a preview needs.
- `how_far(trigger, asked, accounts)` answers who meets the conditions, and where the others fail. Of it
  `counts_of_run(run, trigger, known, far)` makes what a full run, or a part of a round, keeps in its
  `counts[trigger id]["verdicts"]` at its very end: it asks no guard again. `sums_of_runs(runs, trigger_id)` adds up
  those of the parts of a round. `as_counts(trigger, kept)` makes of either the list that `count_verdicts` answers.

All of them raise `csplaybooks.playbooks.reach.Forgotten` where what they need was pruned (`explain` says it of the
trigger in question), KeyError for a measure and LookupError for a guard that is not registered.
"""

from __future__ import annotations

from csplaybooks.playbooks.verdicts.asked import EARLIEST, Asked
from csplaybooks.playbooks.verdicts.episodes import Episode
from csplaybooks.playbooks.verdicts.explaining import (
    MOST_EXPLAINED,
    AudienceAnswer,
    ConditionAnswer,
    Explanation,
    GroupAnswer,
    explain,
)
from csplaybooks.playbooks.verdicts.kinds import Count, Kind, Verdict, as_counts
from csplaybooks.playbooks.verdicts.sorting import (
    Far,
    Sorted,
    accounts_of,
    count_verdicts,
    counts_of_run,
    how_far,
    sort_out,
    sums_of_runs,
)

__all__ = [
    "EARLIEST",
    "MOST_EXPLAINED",
    "Asked",
    "AudienceAnswer",
    "ConditionAnswer",
    "Count",
    "Episode",
    "Explanation",
    "Far",
    "GroupAnswer",
    "Kind",
    "Sorted",
    "Verdict",
    "accounts_of",
    "as_counts",
    "count_verdicts",
    "counts_of_run",
    "explain",
    "how_far",
    "sort_out",
    "sums_of_runs",
]
