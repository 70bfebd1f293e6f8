"""The frozen table of moves: which act is possible in which stage and state of a play, and for whom."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.db.models import Q

from csplaybooks.accounts.visibility import scope_of
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
        "offer": _places(_WORKED, State.WORKING),
        "accept": _places(_WORKED, State.OFFERED),
        "refuse": _places(_WORKED, State.OFFERED),
        "take_back": _places(_WORKED, State.OFFERED),
        "lapse": _places(_WORKED, State.OFFERED),
        "win": _places(_WORKED, State.WORKING, State.PAUSED),
        "lose": _places(_WORKED, State.WORKING, State.PAUSED),
        "decline": _places(_WORKED, State.WORKING, State.PAUSED),
        "expire": _places(_WORKED, State.WORKING, State.PAUSED, State.OFFERED),
        # What is on offer is taken back first: whoever it was offered to refuses it, and says why.
        "withdraw": _places(_OPEN, State.WORKING, State.PAUSED),
    }
)


#: The sides of an offer: an act that is for one of them alone, or for somebody above them, to the fields of the play
#: that name who that is. Whoever sees everything may do these too, and so may the system.
SIDES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"offer": ("owner", "holder"), "accept": ("holder",), "refuse": ("holder",), "take_back": ("owner",)}
)

#: What happens by itself when its time has come: nobody is told that they could do it.
BY_ITSELF = frozenset({"expire", "lapse"})


def allowed_q(verb: str, actor: Any = None) -> Q:
    """The condition, over plays, under which an act may be done by a person; None is the system."""
    allowed = Q(pk__in=[])
    for stage, state in sorted(MOVES[verb]):
        allowed |= Q(stage=stage, state=state)
    if actor is None or verb not in SIDES:
        return allowed
    scope = scope_of(actor)
    if scope.everything:
        return allowed
    theirs = Q(pk__in=[])
    for side in SIDES[verb]:
        theirs |= Q(**{f"{side}__in": scope.members})
    return allowed & theirs


def possible(play: Play, actor: Any = None) -> list[str]:
    """The acts that a person may do on a play as it stands; None is the system, which may do them all."""
    here = [verb for verb, places in MOVES.items() if (play.stage, play.state) in places]
    if actor is None:
        return here
    return [verb for verb in here if verb not in BY_ITSELF and _is_for(verb, play, actor)]


def refusal(verb: str, play: Play | None, actor: Any = None) -> str:
    """Why an act was not done on a play, naming what is possible instead."""
    if play is None:
        return "there is no such play"
    where = play.get_stage_display().lower()
    if play.stage != Stage.CLOSED:
        where += f" and {play.get_state_display().lower()}"
    instead = ", ".join(name.replace("_", " ") for name in possible(play, actor)) or "nothing any more"
    if (play.stage, play.state) in MOVES[verb] and not _is_for(verb, play, actor):
        sides = dict.fromkeys(str(person) for side in SIDES[verb] if (person := getattr(play, side)) is not None)
        why = f"that is for {' or '.join(sides)}, or somebody above them"
    else:
        why = f"the play is {where}"
    return f"{verb.replace('_', ' ')} is not possible: {why}; possible: {instead}"


def _is_for(verb: str, play: Play, actor: Any) -> bool:
    if actor is None or verb not in SIDES:
        return True
    scope = scope_of(actor)
    return scope.everything or any(getattr(play, f"{side}_id") in scope.members for side in SIDES[verb])
