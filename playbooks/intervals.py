"""The one place that moves plays: it closes the open interval, adds the next, and writes the play to match.

Callers are acts. They have claimed their plays by a conditional UPDATE in the same transaction, so that nobody else
moves them meanwhile; a second mover would fail on the unique sequence number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F

from csplaybooks.playbooks.models import Interval, Outcome, Play, Stage, State


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
    """Move plays at `at`, or at the start of their open interval where that is later (clocks of machines differ).

    A constant number of queries. Answers the moment each play really moved, by play id. Raises RuntimeError when a
    play has no open interval: it is closed, or its intervals are broken.
    """
    if not moves:
        return {}
    by_play = {move.play_id: move for move in moves}
    standing = {
        interval.play_id: interval for interval in Interval.objects.filter(play__in=by_play, valid_to__isnull=True)
    }
    if missing := sorted(set(by_play) - set(standing)):
        raise RuntimeError(f"plays without an open interval: {missing[:10]}")
    open_rows = Interval.objects.filter(pk__in=[interval.pk for interval in standing.values()], valid_to__isnull=True)
    closed = open_rows.filter(valid_from__lte=at).update(valid_to=at)
    closed += open_rows.filter(valid_from__gt=at).update(valid_to=F("valid_from"))
    if closed != len(moves):
        raise RuntimeError("another act moved these plays first")
    moments = {play_id: max(at, interval.valid_from) for play_id, interval in standing.items()}
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
    return moments


def _write_plays(moves: Sequence[Move], moments: dict[int, datetime], now: datetime) -> None:
    # Moves of one act mostly go the same way: one UPDATE for each different way, not one for each play.
    ways: dict[tuple[Any, ...], list[int]] = {}
    for move in moves:
        way = (
            move.stage,
            move.state,
            move.owner_id,
            move.holder_id,
            move.outcome,
            move.outcome_reason,
            moments[move.play_id] if move.stage == Stage.CLOSED else None,
        )
        ways.setdefault(way, []).append(move.play_id)
    for (stage, state, owner_id, holder_id, outcome, reason, closed_at), play_ids in ways.items():
        Play.objects.filter(pk__in=play_ids).update(
            stage=stage,
            state=state,
            owner_id=owner_id,
            holder_id=holder_id,
            outcome=Outcome(outcome) if outcome else "",
            outcome_reason=reason,
            closed_at=closed_at,
            # Whoever waits in the tray is worked on by somebody now; what stands there stays until then.
            tray_at=F("tray_at") if state == State.WORKING and stage != Stage.CLOSED else None,
            version=F("version") + 1,
            updated_at=now,
        )
