"""The episodes that stood at the moment asked about, as they were then: the matches, and their steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import OuterRef, Q, Subquery

from csplaybooks.playbooks.models import Match, MatchStep
from csplaybooks.playbooks.verdicts.asked import Asked
from csplaybooks.playbooks.verdicts.kinds import Kind, Verdict

_STEP = ("state", "admitted", "held_by", "held_until", "held_reason", "ceiling")
_MATCH = ("pk", "trigger_id", "account_id", "version_id", "opened_at", "opened_run_id", "admitted_run_id")
_PLAY = ("play_id", "fired_at", "queued_at", "waits_until")


@dataclass(frozen=True)
class Episode:
    """A match as it stood at the moment asked about. `since` is when it opened.

    `admitted_run_id` is the run that let it through, None where none had by then. Also where that came later: `play_id`
    and `fired_at` are those of the play it led to (`folded`: into one that was open), `waits_until` is when it expires
    in the queue.
    """

    match_id: int
    trigger_id: int
    account_id: int
    version_id: int
    since: datetime
    opened_run_id: int
    state: str
    held_by: str
    held_until: datetime | None
    held_reason: str
    ceiling: str
    admitted_run_id: int | None
    play_id: int | None
    fired_at: datetime | None
    queued_at: datetime | None
    waits_until: datetime | None
    folded: bool = False

    def as_json(self) -> dict[str, Any]:
        """The episode as plain values; moments as ISO 8601 texts."""
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in vars(self).items()}

    def verdict(self, newest: int | None) -> Verdict:
        """The verdict where the conditions hold; `newest` is `Asked.newest`."""
        if self.state == Match.State.HELD:
            return Verdict.held(self.held_by)
        if self.state == Match.State.EXPIRED:
            return Verdict(Kind.EXPIRED)
        if self.state == Match.State.QUEUED and self.admitted_run_id is None:
            return Verdict(Kind.QUEUED)
        by_it = self.admitted_run_id is not None and self.admitted_run_id == newest
        return Verdict(Kind.FIRED if by_it else Kind.STILL_MATCHING)


def episodes(
    asked: Asked, trigger_ids: Collection[int], accounts: Sequence[int] | None = None
) -> dict[tuple[int, int], Episode]:
    """The episodes that stood, by trigger and account. One query of the present, two of the past; one more where what
    had been let in by then was taken back later.

    `accounts` limits them to some (None: all).
    """
    matches = _standing(asked).filter(trigger__in=trigger_ids).order_by()
    if accounts is not None:
        matches = matches.filter(account__in=accounts)
    rows = list(matches.values(*_MATCH, *_PLAY, *(name for name in _STEP if name != "admitted")))
    if asked.past and rows:
        rows = list(_as_they_were(asked, rows, matches))
    return {
        (row["trigger_id"], row["account_id"]): Episode(
            match_id=row.pop("pk"), since=row.pop("opened_at"), folded=row["state"] == Match.State.FOLDED, **row
        )
        for row in rows
    }


def _standing(asked: Asked) -> Any:
    if asked.run is not None:
        return Match.objects.open_after(asked.run.pk)
    if asked.past:
        ended = Q(closed_at__isnull=True) | Q(closed_at__gt=asked.moment)
        return Match.objects.filter(ended, opened_at__lte=asked.moment)
    return Match.objects.episode_open()


def _as_they_were(asked: Asked, rows: Sequence[dict[str, Any]], matches: Any) -> Iterator[dict[str, Any]]:
    """Matches as their last step left them that had been taken by then."""
    taken = MatchStep.objects.filter(match__in=matches.values("pk"))
    last_of_each = _last(asked, taken).order_by().values("match_id", "run_id", *_STEP)
    steps = {step["match_id"]: step for step in last_of_each}
    taken_back = []
    for row in rows:
        step = steps.get(row["pk"])
        if step is None:
            # It is from before steps were written.
            continue
        later = row["admitted_run_id"] is None or row["admitted_run_id"] > step["run_id"]
        if step["admitted"] and later:
            taken_back.append(row["pk"])
        elif not step["admitted"] and step["state"] not in (Match.State.FIRED, Match.State.FOLDED):
            row["admitted_run_id"] = None
        row.update({name: step[name] for name in _STEP if name != "admitted"})
    let_in = _let_in(asked, taken_back)
    for row in rows:
        yield row | {"admitted_run_id": let_in.get(row["pk"], row["admitted_run_id"])}


def _let_in(asked: Asked, match_ids: Sequence[int]) -> dict[int, int]:
    """The runs that had let matches in by then which were taken back later, by match: few, if any."""
    found: dict[int, int] = {}
    if not match_ids:
        return found
    steps = _taken(asked, MatchStep.objects.filter(match__in=match_ids)).order_by("match_id", "pk")
    for match_id, run_id, admitted in steps.values_list("match_id", "run_id", "admitted"):
        if admitted:
            found.setdefault(match_id, run_id)
        else:
            found.pop(match_id, None)
    return found


def _taken(asked: Asked, steps: Any) -> Any:
    """The steps that had been taken by then."""
    if asked.run is not None:
        return steps.filter(Q(run__lt=asked.run.pk) | Q(run=asked.run.pk, in_run=True))
    return steps.filter(at__lte=asked.moment)


def _last(asked: Asked, steps: Any) -> Any:
    """The last of them of each match."""
    of_the_match = _taken(asked, MatchStep.objects.filter(match=OuterRef("match"))).order_by("-pk")
    return steps.filter(pk=Subquery(of_the_match.values("pk")[:1]))
