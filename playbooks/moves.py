"""The frozen table of moves: who may do what with a play, in which stage and state.

One table answers everywhere: the acts claim their plays by it (`allowed_q`), the buttons of the admin and `can` of the
API read it (`possible`), and a refusal names what it leaves (`refusal`). `docs/moves.md` shows it.

A move depends on where the play stands, and on what the person has to do with it. Which plays they see is no matter of
this table: whoever calls an act gives it plays that the person sees. Nor is their permission asked by acts; pages and
endpoints ask for it, as everywhere, and `possible` names nothing for which it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import Any

from django.db.models import Exists, OuterRef, Q

from csplaybooks.accounts.models import ApiToken, TeamMember
from csplaybooks.accounts.standing_in import stands_in_for
from csplaybooks.accounts.visibility import scope_of
from csplaybooks.playbooks.models import Play, PlayStep, Route, Stage, State
from csplaybooks.playbooks.people import HEAVY, full_in_words, load_of, may_own

_Where = frozenset[tuple[Stage, State]]


class Relation(Enum):
    """What a person has to do with a play; its value is how a refusal names it.

    The sides, owner and holder, are that person, whoever stands in for them while they are away, and whoever is above
    them as a manager.
    """

    OWNER = "whoever owns it"
    HOLDER = "whoever holds it"
    #: Nobody owns it, so it is no matter of a side: anybody who sees it.
    NOBODYS = "whoever sees it, while nobody owns it"
    SEES = "whoever sees it"
    #: Somebody of the team, for themselves: one who sees it, may own plays on its route, and has room under their cap.
    MAY_OWN = "whoever of the team sees it and may own a play on its route"


@dataclass(frozen=True)
class Extra:
    """A condition beside stage and state: over plays in SQL, on a play in Python, and what a refusal says of a play."""

    q: Q
    holds: Callable[[Play], bool]
    else_: Callable[[Play], str]


@dataclass(frozen=True)
class Verb:
    """One move: its name for people, whence it goes, for whom, and with which of the permissions on plays.

    `extras` are conditions beside stage and state, all of which must hold. `who` is empty for what happens by itself
    when its time has come.
    """

    label: str
    places: _Where
    who: tuple[Relation, ...] = ()
    permission: str = "change_play"
    extras: tuple[Extra, ...] = ()


def _places(stages: tuple[Stage, ...], *states: State) -> _Where:
    return frozenset((stage, state) for stage in stages for state in states)


_WORKED = (Stage.OWNED, Stage.RUNNING)
_OPEN = (Stage.ROUTED, *_WORKED)

_OWNER, _HOLDER, _NOBODYS = Relation.OWNER, Relation.HOLDER, Relation.NOBODYS

_WAITS_FOR_AN_OWNER = Extra(
    Q(owner__isnull=True) | Q(tray_at__isnull=False),
    lambda play: play.owner_id is None or play.tray_at is not None,
    lambda play: f"{play.owner} owns it",
)
_MAY_BE_CLAIMED = Extra(
    Q(routing__claim__isnull=True) | Q(routing__claim=True),
    lambda play: play.routing.get("claim", True) is True,
    lambda play: "its playbook lets nobody claim it: a manager assigns it",
)
_NOT_IN_THE_TRAY = Extra(
    Q(tray_at__isnull=True), lambda play: play.tray_at is None, lambda play: "it stands in the tray already"
)


def _has_a_step(play: Play) -> bool:
    # Told beforehand where there are many plays; see `PlayQuerySet.with_step`.
    told = vars(play).get("has_step_to_do")
    return bool(play.steps.filter(state=PlayStep.State.CURRENT).exists() if told is None else told)


_HAS_A_STEP = Extra(
    Q(Exists(PlayStep.objects.filter(play=OuterRef("pk"), state=PlayStep.State.CURRENT))),
    _has_a_step,
    lambda play: "it has no step to do now",
)

#: Each act, by its name.
MOVES: Mapping[str, Verb] = MappingProxyType(
    {
        "assign": Verb(
            "Assign",
            _places(_OPEN, State.WORKING) | _places(_WORKED, State.PAUSED),
            (Relation.SEES,),
            permission="assign_play",
        ),
        "claim": Verb(
            "Claim", _places(_OPEN, State.WORKING), (Relation.MAY_OWN,), extras=(_WAITS_FOR_AN_OWNER, _MAY_BE_CLAIMED)
        ),
        "release": Verb("Release", _places(_WORKED, State.WORKING), (_OWNER,), extras=(_NOT_IN_THE_TRAY,)),
        "start": Verb("Start", _places((Stage.OWNED,), State.WORKING), (_OWNER, _HOLDER)),
        # A colleague who was on the call logs it too.
        "touch": Verb("Log a contact", _places(_WORKED, State.WORKING, State.PAUSED, State.OFFERED), (Relation.SEES,)),
        "pause": Verb("Pause", _places(_WORKED, State.WORKING), (_OWNER, _HOLDER)),
        "resume": Verb("Resume", _places(_WORKED, State.PAUSED), (_OWNER, _HOLDER)),
        "offer": Verb("Offer", _places(_WORKED, State.WORKING), (_OWNER, _HOLDER)),
        "accept": Verb("Accept the offer", _places(_WORKED, State.OFFERED), (_HOLDER,)),
        "refuse": Verb("Refuse the offer", _places(_WORKED, State.OFFERED), (_HOLDER,)),
        "take_back": Verb("Take back", _places(_WORKED, State.OFFERED), (_OWNER,)),
        "lapse": Verb("Lapse", _places(_WORKED, State.OFFERED)),
        "step": Verb(
            "Step done", _places(_WORKED, State.WORKING, State.OFFERED), (_OWNER, _HOLDER), extras=(_HAS_A_STEP,)
        ),
        "skip_step": Verb(
            "Skip the step", _places(_WORKED, State.WORKING, State.OFFERED), (_OWNER, _HOLDER), extras=(_HAS_A_STEP,)
        ),
        "win": Verb("Mark as won", _places(_WORKED, State.WORKING, State.PAUSED), (_OWNER, _HOLDER)),
        "lose": Verb("Mark as lost", _places(_WORKED, State.WORKING, State.PAUSED), (_OWNER, _HOLDER)),
        "decline": Verb("Decline", _places(_WORKED, State.WORKING, State.PAUSED), (_OWNER, _HOLDER)),
        "expire": Verb("Expire", _places(_WORKED, State.WORKING, State.PAUSED, State.OFFERED)),
        # What is on offer is taken back first: whoever it was offered to refuses it, and says why.
        "withdraw": Verb(
            "Withdraw", _places(_OPEN, State.WORKING) | _places(_WORKED, State.PAUSED), (_OWNER, _HOLDER, _NOBODYS)
        ),
    }
)

#: What happens by itself when its time has come: nobody is told that they could do it.
BY_ITSELF = frozenset(verb for verb, row in MOVES.items() if not row.who)

#: The fields of a play that name the person of a side.
SIDES: Mapping[Relation, str] = MappingProxyType({_OWNER: "owner", _HOLDER: "holder"})


@dataclass(frozen=True)
class Rights:
    """What somebody may do with plays, at a moment.

    `members` are those for whose side they act: themselves, everybody below them, and whom they stand in for. `routes`
    are those on which they may own plays themselves, as the `member` that they are.
    """

    actor: Any = None
    everything: bool = False
    members: frozenset[int] = field(default_factory=frozenset)
    routes: frozenset[str] = field(default_factory=frozenset)
    member: TeamMember | None = None

    @classmethod
    def of(cls, actor: Any, now: datetime) -> Rights:
        """The rights of a user or an API token; None is the system, which may do everything.

        A token does what the system does, but for what happens by itself, with the plays that it sees. At most three
        queries, one where the scope of the user is known.
        """
        if actor is None:
            return SYSTEM
        scope = scope_of(actor)
        if isinstance(actor, ApiToken):
            return cls(actor, everything=True)
        member = _member_of(actor)
        members = scope.members
        if not scope.everything and member is not None:
            members |= stands_in_for(member.pk, now)
        return cls(
            actor,
            everything=scope.everything,
            members=members,
            routes=frozenset(route.value for route in Route if member is not None and may_own(member, route)),
            member=member,
        )

    @cached_property
    def load(self) -> int:
        """How much they carry; one query, asked once, where it is in question whether they have room for a play."""
        return 0 if self.member is None else load_of(self.member.pk)

    @property
    def is_full(self) -> bool:
        """Whether they have no room for one more play that takes their time; as `load`."""
        return self.member is not None and self.load >= self.member.open_play_cap

    @property
    def is_system(self) -> bool:
        """Whether nobody acts."""
        return self.actor is None

    @cached_property
    def permitted(self) -> frozenset[str]:
        """The verbs for which the permission is there; of a token its scope."""
        if self.is_system:
            return frozenset(MOVES)
        if isinstance(self.actor, ApiToken):
            return frozenset(MOVES) if self.actor.has_scope("plays:write") else frozenset()
        label = Play._meta.app_label
        held = {name for name in _PERMISSIONS if self.actor.has_perm(f"{label}.{name}")}
        return frozenset(verb for verb, row in MOVES.items() if row.permission in held)

    def q(self, verb: str) -> Q:
        """The condition, over plays that they see, under which a verb is theirs by relation."""
        who = MOVES[verb].who
        if self.is_system:
            return _ANY
        if not who:
            return _NONE
        if Relation.MAY_OWN in who:
            mine = Q(route__in=self.routes)
            # To take one's own play out of the tray takes no room.
            return mine & (~Q(route__in=HEAVY) | Q(owner=self.member)) if self.is_full else mine
        if self.everything or Relation.SEES in who:
            return _ANY
        theirs = _NONE
        for relation in who:
            if relation is Relation.NOBODYS:
                theirs |= Q(owner__isnull=True)
            else:
                theirs |= Q(**{f"{SIDES[relation]}__in": self.members})
        return theirs

    def has(self, verb: str, play: Play) -> bool:
        """Whether a verb is theirs by relation, on a play that they see; as `q` says it."""
        who = MOVES[verb].who
        if self.is_system:
            return True
        if not who:
            return False
        if Relation.MAY_OWN in who:
            return play.route in self.routes and not self._overloads(play)
        if self.everything or Relation.SEES in who:
            return True
        return any(
            play.owner_id is None
            if relation is Relation.NOBODYS
            else getattr(play, f"{SIDES[relation]}_id") in self.members
            for relation in who
        )

    def _overloads(self, play: Play) -> bool:
        """Whether they have no room to own a play."""
        theirs = self.member is not None and play.owner_id == self.member.pk
        return play.route in HEAVY and not theirs and self.is_full


SYSTEM = Rights()

_PERMISSIONS = frozenset(row.permission for row in MOVES.values())
_ANY = Q()
_NONE = Q(pk__in=[])


def _member_of(user: Any) -> TeamMember | None:
    if user.pk is None or not user.is_active:
        return None
    return TeamMember.objects.active().filter(user=user.pk).first()


def stands_right_q(verb: str) -> Q:
    """The condition, over plays, under which they stand where an act is done."""
    row = MOVES[verb]
    here = _NONE
    for stage, state in sorted(row.places):
        here |= Q(stage=stage, state=state)
    for extra in row.extras:
        here &= extra.q
    return here


def stands_right(verb: str, play: Play) -> bool:
    """Whether a play stands where an act is done; as `stands_right_q` says it."""
    row = MOVES[verb]
    return (play.stage, play.state) in row.places and all(extra.holds(play) for extra in row.extras)


def allowed_q(verb: str, rights: Rights = SYSTEM) -> Q:
    """The condition, over plays that somebody sees, under which they may do an act."""
    return stands_right_q(verb) & rights.q(verb)


def possible(play: Play, rights: Rights = SYSTEM) -> list[str]:
    """The acts that somebody may do on a play that they see, as it stands; those of the system are all there are."""
    return [verb for verb in MOVES if stands_right(verb, play) and rights.has(verb, play) and verb in rights.permitted]


def refusal(verb: str, play: Play | None, rights: Rights = SYSTEM, *, why: str = "") -> str:
    """Why an act was not done on a play, naming what is possible instead.

    `why` is a reason beside the table, where there is one. The play needs its owner and holder at hand.
    """
    if play is None:
        return "there is no such play"
    verbs = [name for name in possible(play, rights) if not (why and name == verb)]
    instead = ", ".join(MOVES[name].label for name in verbs) or "nothing any more"
    return f"{MOVES[verb].label} is not possible: {why or _why(verb, play, rights)}; possible: {instead}"


def _why(verb: str, play: Play, rights: Rights) -> str:
    row = MOVES[verb]
    if (play.stage, play.state) not in row.places:
        where = play.get_stage_display().lower()
        if play.stage != Stage.CLOSED:
            where += f" and {play.get_state_display().lower()}"
        return f"the play is {where}"
    for extra in row.extras:
        if not extra.holds(play):
            return extra.else_(play)
    if rights.has(verb, play):
        # It was possible when it was read again: somebody else was first, and has gone on since.
        return "somebody else was first"
    if not row.who:
        return "that happens by itself when its time has come"
    if Relation.MAY_OWN in row.who and play.route in rights.routes and rights.member is not None:
        return full_in_words(rights.member, rights.load)
    people = dict.fromkeys(
        str(person) for relation in row.who if relation in SIDES and (person := getattr(play, SIDES[relation]))
    )
    if not people:
        return f"that is for {' or '.join(relation.value for relation in row.who)}"
    return f"that is for {' or '.join(people)}, whoever stands in for them, or somebody above them"
