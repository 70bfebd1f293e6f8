"""The team as routing sees it: who is here, who stands in for whom, how much each carries, and who gets a play.

All of it is worked out in memory over people, who are few, from two queries. Nothing is written here: the workers and
acts that write lock the members first (`lock_team`), so that nobody who leaves, or takes work, at this moment is
overlooked, and count on with `give`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db.models import Count, IntegerField, OuterRef, Subquery
from django.db.models.functions import Coalesce

from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import AccountTeam, TeamMember
from csplaybooks.accounts.standing_in import absences_at
from csplaybooks.playbooks.models import Handoff, Play, Route
from csplaybooks.playbooks.route_rules import Routing

#: Who works the plays of accounts that are not theirs: the pools, by the role that makes a member belong to one.
CSM_POOL = "is_customer_success_manager"
AE_POOL = "is_account_executive"
MANAGER_POOL = "is_manager"

#: The pools as people call their members.
POOL_OF_NAME: Mapping[str, str] = {CSM_POOL: "CSMs", AE_POOL: "AEs", MANAGER_POOL: "managers"}

#: Routes that take a person's time.
HEAVY = tuple(route.value for route in Route if route.counts_toward_load)


def may_own(member: TeamMember, route: Route) -> bool:
    """Whether a member's roles let them own a play on this route.

    CSMs and managers own all; account executives those of the routes csm and sales; a digital desk those of automated
    routes.
    """
    if member.is_customer_success_manager or member.is_manager:
        return True
    return member.is_account_executive if route.counts_toward_load else member.is_digital_desk


def require_role(member: TeamMember, play_ids: Iterable[int], *, named: str = "owner") -> None:
    """Refuse to give plays to a member whose roles do not let them own such plays; see `require_roles`."""
    require_roles(dict.fromkeys(play_ids, member), named=named)


def require_roles(members: Mapping[int, TeamMember], *, named: str = "owner", owners_stay: bool = False) -> None:
    """Refuse to give plays (by id) to members whose roles do not let them own such plays; one query at most.

    With `owners_stay` whoever owns a play already is not asked again: they are given nothing. Raises ValidationError
    for the field `named`, naming the member, what they may own, and one of the plays.
    """
    narrow = [pk for pk, member in members.items() if not all(may_own(member, route) for route in Route)]
    if not narrow:
        return
    plays = Play.objects.filter(pk__in=narrow).select_related("account", "playbook").order_by("pk")
    for play in plays.defer("evidence", "amount_working", "playbook__draft"):
        member, route = members[play.pk], Route(play.route)
        if not may_own(member, route) and not (owners_stay and play.owner_id == member.pk):
            own = " and ".join(each.label for each in Route if may_own(member, each))
            who = "an account executive" if member.is_account_executive else "a digital desk"
            raise ValidationError(
                {named: f"{member} is {who}, and owns plays by {own} only: {play} goes by {route.label}."}
            )


def lock_team() -> None:
    """Lock all members until the transaction ends, in the order of their ids; one query.

    Whoever gives out work by loads holds this, and so does whoever leaves. It comes before any lock on plays, as in
    `assign_plays`. SQLite has one writer at a time, and nothing to lock.
    """
    list(TeamMember.objects.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))


@dataclass(frozen=True)
class Away:
    """That a member is away: until when (the last day), and who stands in, if anybody."""

    until: date
    stand_in: int | None


class Passed(NamedTuple):
    """Somebody who might have had a play and did not get it: as what they were asked, and why not."""

    member_id: int
    part: str
    why: str


#: Who was passed over, in the order in which they were asked; None where nobody wants to know.
Trail = list[Passed] | None


@dataclass
class People:
    """The team as it stands: who is here, who stands in for whom, and how much each carries.

    `load` counts open plays of routes that take a person's time: those they own, and those on offer to them. Loads only
    grow here, so a pool that was found full stays so (`full`). `names` and `leaders` know those who have left too.
    """

    members: Mapping[int, TeamMember]
    away: Mapping[int, Away]
    names: Mapping[int, str] = field(default_factory=dict)
    leaders: Mapping[int, int | None] = field(default_factory=dict)
    load: dict[int, int] = field(default_factory=dict)
    full: set[str] = field(default_factory=set)

    @classmethod
    def at(cls, now: datetime) -> People:
        """The team at a moment; two queries."""
        rows = list(_with_loads().order_by("pk"))
        return cls(
            members={member.pk: member for member in rows if member.is_active},
            away={
                member_id: Away(last_day, stand_in)
                for member_id, last_day, stand_in in absences_at(now).values_list("member", "last_day", "stand_in")
            },
            names={member.pk: member.name for member in rows},
            leaders={member.pk: member.manager_id for member in rows},
            load={member.pk: member.carried for member in rows if member.is_active},
        )

    def without(self, member_id: int) -> People:
        """The same team once a member has left it."""
        return replace(self, members={pk: member for pk, member in self.members.items() if pk != member_id})

    def chain(self, member_id: int | None) -> Iterator[int]:
        """The member, and those who stand in one for the other as far as they are away; a circle ends."""
        seen: set[int] = set()
        while member_id is not None and member_id not in seen:
            yield member_id
            if member_id in self.members and member_id not in self.away:
                return
            seen.add(member_id)
            member_id = self.away[member_id].stand_in if member_id in self.away else None

    def is_here(self, member_id: int) -> bool:
        """Whether a member works here, and is not away."""
        return member_id in self.members and member_id not in self.away

    def present(self, member_id: int | None) -> int | None:
        """The member, or whoever stands in for them; None when nobody is here."""
        return next((pk for pk in self.chain(member_id) if self.is_here(pk)), None)

    def has_room(self, member_id: int, route: Route) -> bool:
        """Whether one more play on this route fits under the member's cap."""
        return not route.counts_toward_load or self.load[member_id] < self.members[member_id].open_play_cap

    def fits(self, member_id: int, route: Route) -> bool:
        """Whether a member who is here may own a play on this route, and has room for it."""
        return may_own(self.members[member_id], route) and self.has_room(member_id, route)

    def why_not(self, member_id: int, route: Route) -> str:
        """Why a member gets no play on this route, in words; empty where they may have it."""
        if member_id not in self.members:
            return "has left"
        if member_id in self.away:
            return f"is away until {self.away[member_id].until}"
        if not may_own(self.members[member_id], route):
            return f"owns no plays by {route.label}"
        if not self.has_room(member_id, route):
            return f"carries {self.load[member_id]} of {self.members[member_id].open_play_cap}"
        return ""

    def pool(self, role: str) -> list[int]:
        """The members of a pool, here or not, by id."""
        return [pk for pk, member in self.members.items() if getattr(member, role) and member.takes_pool_work]

    def in_pool(self, member_id: int | None, role: str, route: Route) -> bool:
        """Whether a member belongs to a pool, and is here."""
        if member_id is None or not (member_id in self.members and self.is_here(member_id)):
            return False
        member = self.members[member_id]
        return getattr(member, role) and member.takes_pool_work and may_own(member, route)

    def least_loaded(self, role: str, route: Route, but: int | None = None) -> int | None:
        """The least loaded member of a pool who is here and has room; of equals the one who came first."""
        if route.counts_toward_load and role in self.full:
            return None
        fit = [pk for pk in self.pool(role) if pk not in self.away and self.fits(pk, route)]
        if not fit and route.counts_toward_load:
            self.full.add(role)
        return min((pk for pk in fit if pk != but), key=lambda pk: (self.load[pk], pk), default=None)

    def able(self) -> list[int]:
        """The members who are here, or have somebody here to stand in for them, with room for one more heavy play."""
        names = [*self.members, *(pk for pk in self.away if pk not in self.members)]
        here = ((pk, self.present(pk)) for pk in names)
        return [pk for pk, stands in here if stands is not None and self.has_room(stands, Route.CSM)]

    def may_ever_own(self, csm: int | None, executive: int | None, route: Route, owner: str = "csm") -> bool:
        """Whether anybody at all may own a play on this route, now or when they are back and have room."""
        own = (csm, executive) if route == Route.SALES or owner == "ae" else (csm,)
        return any(pk in self.members for pk in own) or bool(self.pool(pool_of(route, csm, owner)))

    def free_room(self, role: str) -> int | None:
        """How many plays more fit under the caps of a pool's members who are here; None where nobody belongs to it."""
        pool = self.pool(role)
        here = (pk for pk in pool if pk not in self.away)
        return sum(max(self.members[pk].open_play_cap - self.load[pk], 0) for pk in here) if pool else None

    def desk(self) -> int | None:
        """The digital desk; of several the one that came first."""
        return min((pk for pk, member in self.members.items() if member.is_digital_desk), default=None)

    def manager_above(self, member_id: int | None) -> int | None:
        """The nearest manager above a member who works here; None: nobody is."""
        seen: set[int] = set()
        while member_id is not None and member_id not in seen:
            seen.add(member_id)
            member_id = self.leaders.get(member_id)
            leader = self.members.get(member_id) if member_id is not None else None
            if leader is not None and leader.is_manager:
                return leader.pk
        return None


def load_of(member_id: int) -> int:
    """How many plays that take a person's time a member carries: open ones, and those on offer to them; one query."""
    carried: int = _with_loads().values_list("carried", flat=True).get(pk=member_id)
    return carried


def full_in_words(member: TeamMember, load: int) -> str:
    """That somebody has no room for a play of their own accord."""
    return f"{member} carries {load} of {member.open_play_cap}: close or give back one first"


def _with_loads() -> Any:
    """All members, each with how much they carry, as `carried`."""
    owned = Play.objects.open().filter(owner=OuterRef("pk"), route__in=HEAVY)
    offered = Handoff.objects.filter(offered_to=OuterRef("pk"), answer=Handoff.Answer.WAITING, play__route__in=HEAVY)
    return TeamMember.objects.annotate(carried=_counted(owned, "owner") + _counted(offered, "offered_to"))


def _counted(rows: Any, by: str) -> Any:
    """How many of `rows`, which refer to the row outside, there are."""
    number = rows.order_by().values(by).annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(number, output_field=IntegerField()), 0)


def pool_of(route: Route, csm: int | None, owner: str = "csm") -> str:
    """The pool that owns what the people of an account do not, by whose play it is.

    Account executives where sales has to go it alone.
    """
    if owner == "manager":
        return MANAGER_POOL
    return AE_POOL if owner == "ae" or (route == Route.SALES and csm is None) else CSM_POOL


#: What somebody is to an account.
THE_CSM, THE_AE, THE_MANAGER = "the account's CSM", "the account's AE", "the manager of the account's people"
THE_DESK = "the digital desk"
FROM_THE_POOL = "the least loaded of the pool"
NOBODY = "nobody is here and under their cap"
_STANDS_IN = "stands in for "


def choose_owner(
    routing: Routing, csm: int | None, executive: int | None, people: People, trail: Trail = None
) -> tuple[int | None, str]:
    """The owner of a play, with the reason in words; None is the tray.

    By default the account's own CSM, or their stand-in, or else for a sales route its AE; else for automated routes the
    digital desk; else the least loaded of the pool. A rule may say that it is the AE's, the desk's or a manager's.
    Whoever is passed over goes on the `trail`.
    """
    route, owner = routing.route, routing.owner
    if owner == "desk" and (desk := people.desk()) is not None:
        return desk, THE_DESK
    own: list[tuple[int | None, str]] = [(csm, THE_CSM)]
    if owner == "ae":
        own = [(executive, THE_AE)]
    elif owner == "manager":
        own = [(people.manager_above(csm) or people.manager_above(executive), THE_MANAGER)]
    elif route == Route.SALES:
        own.append((executive, THE_AE))
    for member_id, part in own:
        here = _own(member_id, part, route, people, trail)
        if here is not None:
            return here, part if here == member_id else f"{_STANDS_IN}{part}"
    if owner != "desk" and not route.counts_toward_load and owner == "csm" and (desk := people.desk()) is not None:
        return desk, THE_DESK
    chosen = people.least_loaded(pool_of(route, csm, owner), route)
    return (None, NOBODY) if chosen is None else (chosen, FROM_THE_POOL)


def _own(member_id: int | None, part: str, route: Route, people: People, trail: Trail) -> int | None:
    """Somebody of the account's own people, or whoever stands in for them, if the play fits them."""
    here = people.present(member_id)
    fits = here is not None and people.fits(here, route)
    if trail is not None:
        for pk in people.chain(member_id):
            if why := people.why_not(pk, route):
                trail.append(Passed(pk, part if pk == member_id else f"who stands in for {part}", why))
    return here if fits else None


def chosen_in_words(why: str) -> str:
    """The reason of a choice as a sentence for whoever it fell on: `the routing chose the account's CSM`.

    What is no choice of the routing's, such as that somebody has left, is a sentence already.
    """
    part, *passed = why.split("; ")
    who = part.removeprefix(_STANDS_IN)
    if who not in (THE_CSM, THE_AE, THE_MANAGER, THE_DESK, FROM_THE_POOL):
        return why
    return "; ".join([f"the routing chose {'' if who == part else 'whoever '}{part}", *passed])


def is_offered(routing: Routing, owner_id: int, people: People) -> bool:
    """Whether a play is offered as soon as it has this owner: not where they sell themselves."""
    return routing.offer_to == "ae" and not people.members[owner_id].is_account_executive


def choose_receiver(
    routing: Routing, owner_id: int, executive: int | None, people: People, trail: Trail = None
) -> tuple[int | None, str]:
    """To whom a play is offered as soon as it has its owner, with the reason in words; None: to nobody.

    The account's AE, or their stand-in, or else the least loaded AE.
    """
    route = routing.route
    here = _own(executive, THE_AE, route, people, trail)
    if here is not None and people.members[here].is_account_executive and here != owner_id:
        return here, THE_AE if here == executive else f"stands in for {THE_AE}"
    chosen = people.least_loaded(AE_POOL, route, but=owner_id)
    return (None, NOBODY) if chosen is None else (chosen, "the least loaded AE")


@dataclass(frozen=True)
class Given:
    """Who gets a play: its owner (None: the tray), to whom it is offered at once (None: nobody), and why.

    `wanted_offer` says whether it is one to be offered at all. `passed` were asked before the owner, `passed_offer`
    before whoever it is offered to.
    """

    owner_id: int | None
    why: str
    receiver_id: int | None = None
    receiver_why: str = ""
    wanted_offer: bool = False
    passed: tuple[Passed, ...] = ()
    passed_offer: tuple[Passed, ...] = ()


def give(
    routing: Routing, csm: int | None, executive: int | None, people: People, *, offers: bool = True, told: bool = False
) -> Given:
    """Choose who gets a play, and count it to their loads. `told`: say too who was passed over.

    `offers` is False where the play has been offered in its time already.
    """
    trail: Trail = [] if told else None
    owner_id, why = choose_owner(routing, csm, executive, people, trail)
    passed = tuple(trail or ())
    if owner_id is None:
        return Given(None, why, passed=passed)
    heavy = routing.route.counts_toward_load
    if heavy:
        people.load[owner_id] += 1
    if not (offers and is_offered(routing, owner_id, people)):
        return Given(owner_id, why, passed=passed)
    trail = [] if told else None
    receiver_id, receiver_why = choose_receiver(routing, owner_id, executive, people, trail)
    if heavy and receiver_id is not None:
        people.load[receiver_id] += 1
    return Given(owner_id, why, receiver_id, receiver_why, True, passed, tuple(trail or ()))


def passed_in_words(passed: Iterable[Passed], people: People) -> str:
    """Who was passed over, as the end of a line of the timeline; empty where nobody was."""
    said = "; ".join(f"{people.names[each.member_id]}, {each.part}, {each.why}" for each in passed)
    return f"; {said}" if said else ""


def team_of(accounts: Any) -> dict[tuple[int, str], int]:
    """The members who look after accounts (ids, or a query of them), by account and role. One query."""
    current = AccountTeam.objects.current().filter(account__in=accounts).order_by()
    return {(account, role): member for account, role, member in current.values_list("account", "role", "member")}


#: Why a play stays with somebody to whom it was offered once.
ACCEPTED = "accepted it when it was offered"


def accepted_by(plays: Iterable[Play]) -> set[tuple[int, int]]:
    """Which plays were accepted by whom when they were offered, as pairs of ids; one query."""
    rows = Handoff.objects.filter(play__in=Ids([play.pk for play in plays]), answer=Handoff.Answer.ACCEPTED)
    return set(rows.order_by().values_list("play", "offered_to"))


def keeps(play: Play, accepted: set[tuple[int, int]], people: People) -> bool:
    """Whether a play stays with its owner whatever the routing says: they accepted it, are here and did not release it.

    Being away for some days does not count: whoever stands in does it meanwhile.
    """
    return play.owner_id in people.members and play.tray_at is None and (play.pk, play.owner_id) in accepted
