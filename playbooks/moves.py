"""The frozen table of moves: which act is possible in which stage and state of a play."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from django.db.models import Q

from csplaybooks.playbooks.models import Play, Stage, State

_Where = frozenset[tuple[Stage, State]]


def _places(stages: tuple[Stage, ...], *states: State) -> _Where:
    return frozenset((stage, state) for stage in stages for state in states)


_WORKED = (Stage.OWNED, Stage.RUNNING)
_OPEN = (Stage.ROUTED, *_WORKED)

#: Act to the places (stage, state) from which it may be done.
MOVES: Mapping[str, _Where] = MappingProxyType(
    {
        "assign": _places(_OPEN, State.WORKING) | _places(_WORKED, State.PAUSED),
        "start": _places((Stage.OWNED,), State.WORKING),
        "touch": _places(_WORKED, State.WORKING, State.PAUSED, State.OFFERED),
        "pause": _places(_WORKED, State.WORKING),
        "resume": _places(_WORKED, State.PAUSED),
        "win": _places(_WORKED, State.WORKING, State.PAUSED),
        "lose": _places(_WORKED, State.WORKING, State.PAUSED),
        "decline": _places(_WORKED, State.WORKING, State.PAUSED),
        "expire": _places(_WORKED, State.WORKING, State.PAUSED, State.OFFERED),
        "withdraw": _places(_OPEN, State.WORKING, State.PAUSED, State.OFFERED),
    }
)


def allowed_q(verb: str) -> Q:
    """The condition, over plays, under which an act may be done."""
    allowed = Q(pk__in=[])
    for stage, state in sorted(MOVES[verb]):
        allowed |= Q(stage=stage, state=state)
    return allowed


def possible(play: Play) -> list[str]:
    """The acts that are possible on a play as it stands."""
    return [verb for verb, places in MOVES.items() if (play.stage, play.state) in places]


def refusal(verb: str, play: Play | None) -> str:
    """Why an act was not done on a play, naming what is possible instead."""
    if play is None:
        return "there is no such play"
    where = play.get_stage_display().lower()
    if play.stage != Stage.CLOSED:
        where += f" and {play.get_state_display().lower()}"
    instead = ", ".join(possible(play)) or "nothing any more"
    return f"{verb} is not possible: the play is {where}; possible: {instead}"
