"""The load of a draft by owner and week: how many episodes the last weeks would have opened, and for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from csplaybooks.accounts.models import AccountTeam, TeamMember
from csplaybooks.playbooks.models import Route
from csplaybooks.playbooks.what_if.owners import team_of
from csplaybooks.playbooks.what_if.past import Past, Progress, past_episodes
from csplaybooks.playbooks.what_if.sight import Sight, draft_triggers

DAY = timedelta(days=1)
WEEK = 7 * DAY


@dataclass(frozen=True)
class OwnerWeeks:
    """The episodes of one person's accounts, week by week. `member_id` is None for accounts without a CSM (or AE)."""

    member_id: int | None
    name: str
    opened: tuple[int, ...]

    @property
    def total(self) -> int:
        """Of all weeks."""
        return sum(self.opened)


@dataclass(frozen=True)
class Weeks:
    """Episodes by owner and week. `ends` are the ends of the weeks: each is `(end - 7 days, end]`.

    `moments` is how often each trigger was asked; `notes` say in sentences what was cut.
    """

    ends: tuple[datetime, ...]
    owners: tuple[OwnerWeeks, ...]
    moments: int
    notes: tuple[str, ...]

    @property
    def totals(self) -> tuple[int, ...]:
        """Of all owners, week by week."""
        return tuple(sum(owner.opened[number] for owner in self.owners) for number in range(len(self.ends)))


def openings_by_owner(
    document: Mapping[str, Any],
    *,
    now: datetime,
    weeks: int = 8,
    viewer: Any = None,
    progress: Progress | None = None,
) -> Weeks:
    """How many episodes a document's triggers would have opened in each of the last `weeks` weeks, by owner.

    Asked once a day, with what is known today; so one query for each day and trigger. The owner is the account's CSM of
    today; without one, where a route of the playbook is sales, its AE; else the pool. Guards and cooldowns are not
    asked. What was there at the start is nobody's week, accounts that are deleted or merged are left out, and weeks
    that look behind the horizon are cut, with a sentence. Raises `reach.Forgotten` where that is all of them.
    """
    sight = Sight.of(viewer)
    _, triggers = draft_triggers(document)
    days = 7 * weeks
    start = now - days * DAY
    pasts: list[Past] = []
    for number, trigger in enumerate(triggers):

        def tell(done: int, of: int, before: int = number) -> None:
            if progress is not None:
                progress(before * of + done, len(triggers) * of)

        pasts.append(past_episodes(trigger, start=start, end=now, step=DAY, sight=sight, progress=tell))
    answered_from = max(past.moments[0][0] for past in pasts)
    ends = tuple(end for number in range(weeks) if (end := now - (weeks - 1 - number) * WEEK) - WEEK >= answered_from)
    opened: dict[int, list[int]] = {}
    for past in pasts:
        for episode in past.opened:
            # An opening belongs to the week whose end is the first at or after it.
            week = next((number for number, end in enumerate(ends) if end - WEEK < episode.opened_at <= end), None)
            if week is not None and episode.account_id not in sight.gone:
                opened.setdefault(episode.account_id, [0] * len(ends))[week] += 1
    notes = tuple(dict.fromkeys(note for past in pasts for note in past.notes))
    sells = any(rule["route"] == Route.SALES for rule in document["routes"])
    return Weeks(ends, _by_owner(opened, len(ends), sells=sells), len(pasts[0].moments), notes)


def _by_owner(opened: Mapping[int, list[int]], weeks: int, *, sells: bool) -> tuple[OwnerWeeks, ...]:
    team = team_of(opened)
    names = dict(TeamMember.objects.order_by().values_list("pk", "name"))
    sums: dict[int | None, list[int]] = {}
    for account_id, counts in opened.items():
        owner = team.get((account_id, AccountTeam.Role.CSM))
        if owner is None and sells:
            owner = team.get((account_id, AccountTeam.Role.AE))
        line = sums.setdefault(owner, [0] * weeks)
        for number, count in enumerate(counts):
            line[number] += count
    rows = [OwnerWeeks(pk, "The pool" if pk is None else names[pk], tuple(line)) for pk, line in sums.items()]
    return tuple(sorted(rows, key=lambda row: (row.member_id is None, row.name, row.member_id or 0)))
