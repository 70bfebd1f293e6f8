"""The one place that moves plays: it closes the open interval, adds the next, and writes the play to match.

Callers are acts. They have claimed their plays by a conditional UPDATE in the same transaction, so that nobody else
moves them meanwhile; a second mover would fail on the unique sequence number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import BigIntegerField, Case, F, OuterRef, Subquery, Value, When
from django.db.models.functions import Coalesce, Greatest

from csplaybooks.playbooks.models import Clock, Interval, Outcome, Play, Stage, State
from csplaybooks.playbooks.stepwork import follow_moves


@dataclass(frozen=True)
class Move:
    """Where a play goes. The stage `closed` ends its last interval; a holder of None is the tray or the customer."""

    play_id: int
    stage: Stage
    state: State
    owner_id: int | None
    holder_id: int | None
    held_by: str
    outcome: str = ""
    outcome_reason: str = ""


def open_first_intervals(plays: Sequence[Play], at: datetime) -> None:
    """The first interval of new plays: routed, in the tray, from the moment they opened."""
    Interval.objects.bulk_create(
        [
            Interval(
                play_id=play.pk,
                seq=0,
                held_by=Interval.HeldBy.TRAY,
                stage=Stage.ROUTED,
                state=State.WORKING,
                valid_from=at,
            )
            for play in plays
        ]
    )


def move_plays(moves: Sequence[Move], at: datetime) -> dict[int, datetime]:
    """Move plays at `at`, or, where that is later, at the start of their open interval or when a promise ended last.

    Clocks of machines differ, and people wait for each other: a pause must not begin before a contact that was written
    while somebody waited to pause. A constant number of queries. Answers the moment each play really moved, by play id.
    Raises RuntimeError when a play has no open interval: it is closed, or its intervals are broken.
    """
    if not moves:
        return {}
    by_play = {move.play_id: move for move in moves}
    over = Clock.objects.filter(play=OuterRef("play"), done_at__isnull=False).order_by("-done_at").values("done_at")
    # The latest of what stands there already.
    latest = Greatest(F("valid_from"), Coalesce(Subquery(over[:1]), F("valid_from")))
    rows = Interval.objects.filter(play__in=by_play, valid_to__isnull=True).annotate(latest=latest)
    standing = {interval.play_id: interval for interval in rows}
    if missing := sorted(set(by_play) - set(standing)):
        raise RuntimeError(f"plays without an open interval: {missing[:10]}")
    moments = {play_id: max(at, interval.latest) for play_id, interval in standing.items()}
    later = [interval.pk for play_id, interval in standing.items() if moments[play_id] > at]
    open_rows = Interval.objects.filter(pk__in=[interval.pk for interval in standing.values()], valid_to__isnull=True)
    closed = open_rows.exclude(pk__in=later).update(valid_to=at)
    closed += open_rows.filter(pk__in=later).update(valid_to=latest)
    if closed != len(moves):
        raise RuntimeError("another act moved these plays first")
    Interval.objects.bulk_create(
        [
            Interval(
                play_id=move.play_id,
                seq=standing[move.play_id].seq + 1,
                owner_id=move.owner_id,
                holder_id=move.holder_id,
                held_by=move.held_by,
                stage=move.stage,
                state=move.state,
                valid_from=moments[move.play_id],
            )
            for move in moves
            if move.stage != Stage.CLOSED
        ]
    )
    _write_plays(moves, moments, at)
    ended = [move.play_id for move in moves if move.stage == Stage.CLOSED]
    follow_moves([move.play_id for move in moves if move.stage != Stage.CLOSED], ended, at)
    return moments


def _write_plays(moves: Sequence[Move], moments: dict[int, datetime], now: datetime) -> None:
    # Moves of one act mostly go the same way: one UPDATE for each different way, not one for each play, nor for each of
    # the people who get them.
    ways: dict[tuple[Any, ...], list[Move]] = {}
    for move in moves:
        closed_at = moments[move.play_id] if move.stage == Stage.CLOSED else None
        way = (move.stage, move.state, move.outcome, move.outcome_reason, closed_at)
        ways.setdefault(way, []).append(move)
    for (stage, state, outcome, reason, closed_at), same in ways.items():
        Play.objects.filter(pk__in=[move.play_id for move in same]).update(
            stage=stage,
            state=state,
            owner_id=_each((move.play_id, move.owner_id) for move in same),
            holder_id=_each((move.play_id, move.holder_id) for move in same),
            outcome=Outcome(outcome) if outcome else "",
            outcome_reason=reason,
            closed_at=closed_at,
            # Whoever waits in the tray is worked on by somebody now; what stands there stays until then.
            tray_at=F("tray_at") if state == State.WORKING and stage != Stage.CLOSED else None,
            version=F("version") + 1,
            updated_at=now,
        )


def _each(pairs: Iterable[tuple[int, int | None]]) -> Any:
    """A member for each play, for an UPDATE: the one, where it is the same for all."""
    plays: dict[int | None, list[int]] = {}
    for play_id, member_id in pairs:
        plays.setdefault(member_id, []).append(play_id)
    if len(plays) == 1:
        (member_id,) = plays
        return member_id
    return Case(
        *(When(pk__in=ids, then=Value(member_id)) for member_id, ids in plays.items() if member_id is not None),
        default=None,
        output_field=BigIntegerField(null=True),
    )
