"""The episodes that stood at the moment asked about, as they were then: the matches, and their steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import OuterRef, Q, Subquery

from csplaybooks.accounts.ids import Ids
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
    and `fired_at` are those of the play it led to (`folded`: into one that was open). `queued_at` is since when it
    waits in the queue, `waits_until` when it expires there; None where it was taken out of it since, with what was
    planned then.
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
    stood in the queue or had been let in by then was taken out of it later.

    `accounts` limits them to some (None: all).
    """
    matches = _standing(asked).filter(trigger__in=trigger_ids).order_by()
    if accounts is not None:
        matches = matches.filter(account__in=Ids(sorted(accounts)))
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
    last_of_each = _last(asked, taken).order_by().values("match_id", "run_id", "at", *_STEP)
    steps = {step["match_id"]: step for step in last_of_each}
    taken_back: set[int] = set()
    taken_out: set[int] = set()
    for row in rows:
        step = steps.get(row["pk"])
        if step is None:
            # It is from before steps were written.
            continue
        later = row["admitted_run_id"] is None or row["admitted_run_id"] > step["run_id"]
        if step["admitted"] and later:
            taken_back.add(row["pk"])
        elif not step["admitted"] and step["state"] not in (Match.State.FIRED, Match.State.FOLDED):
            row["admitted_run_id"] = None
        row.update({name: step[name] for name in _STEP if name != "admitted"})
        if step["state"] == Match.State.HELD:
            row["queued_at"] = row["waits_until"] = None
        elif step["state"] == Match.State.QUEUED and (row["queued_at"] is None or row["queued_at"] > step["at"]):
            # The row tells of a later stay in the queue, or of none.
            row["waits_until"] = None
            taken_out.add(row["pk"])
    let_in, queued_at = _earlier_stays(asked, taken_back | taken_out)
    for row in rows:
        if row["pk"] in taken_back:
            row["admitted_run_id"] = let_in.get(row["pk"], row["admitted_run_id"])
        if row["pk"] in taken_out:
            row["queued_at"] = queued_at[row["pk"]]
        yield row


def _earlier_stays(asked: Asked, match_ids: Collection[int]) -> tuple[dict[int, int], dict[int, datetime]]:
    """Of matches that were taken out of the queue later: the runs that had let them in by then, and since when they
    stood there, by match. Few, if any."""
    let_in: dict[int, int] = {}
    queued_at: dict[int, datetime] = {}
    if not match_ids:
        return let_in, queued_at
    steps = _taken(asked, MatchStep.objects.filter(match__in=match_ids)).order_by("match_id", "pk")
    for match_id, run_id, at, state, admitted in steps.values_list("match_id", "run_id", "at", "state", "admitted"):
        if admitted:
            let_in.setdefault(match_id, run_id)
        else:
            let_in.pop(match_id, None)
        if state == Match.State.QUEUED:
            queued_at.setdefault(match_id, at)
        else:
            queued_at.pop(match_id, None)
    return let_in, queued_at


def _taken(asked: Asked, steps: Any) -> Any:
    """The steps that had been taken by then."""
    if asked.run is not None:
        return steps.filter(Q(run__lt=asked.run.pk) | Q(run=asked.run.pk, in_run=True))
    return steps.filter(at__lte=asked.moment)


def _last(asked: Asked, steps: Any) -> Any:
    """The last of them of each match."""
    of_the_match = _taken(asked, MatchStep.objects.filter(match=OuterRef("match"))).order_by("-pk")
    return steps.filter(pk=Subquery(of_the_match.values("pk")[:1]))
