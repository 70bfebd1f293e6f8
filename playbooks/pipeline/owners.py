"""Owners: every routed play gets the one person accountable for it, or waits in the manager's tray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, Q

from csplaybooks.accounts.acts.record import timeline_entry, write_timeline
from csplaybooks.accounts.models import Absence, AccountTeam, TeamMember
from csplaybooks.conf import company_time_zone
from csplaybooks.playbooks.intervals import Move, move_plays
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Interval, Play, Route, Stage, State
from csplaybooks.playbooks.pipeline.queue import work_off


def unowned() -> Any:
    """The queue of this worker: routed plays that are not in the tray."""
    return Play.objects.filter(stage=Stage.ROUTED, tray_at__isnull=True)


def assign_owners(*, now: datetime, limit: int = 200) -> int:
    """Give routed plays an owner, oldest first; answers how many plays were taken from the queue.

    One worker at a time, under a lease: loads are counted once for the batch, and caps must hold.
    """
    if not unowned().workable_at(now).exists():
        return 0
    with holding("csplaybooks:owners", now):
        return work_off(unowned(), lambda ids: _assign(ids, now), now=now, order_by=("opened_at", "pk"), limit=limit)


@dataclass
class People:
    """The team as it stands: who is here, who stands in for whom, and how much each carries.

    Loads only grow here, so a pool that was found full stays so (`full`).
    """

    members: Mapping[int, TeamMember]
    stand_ins: Mapping[int, int | None]
    load: dict[int, int] = field(default_factory=dict)
    full: set[str] = field(default_factory=set)

    @classmethod
    def at(cls, now: datetime) -> People:
        """The team at a moment; two queries."""
        heavy = [route.value for route in Route if route.counts_toward_load]
        counted = TeamMember.objects.active().annotate(
            load=Count("plays", filter=~Q(plays__stage=Stage.CLOSED) & Q(plays__route__in=heavy))
        )
        members = {member.pk: member for member in counted}
        today = now.astimezone(company_time_zone()).date()
        away = Absence.objects.filter(first_day__lte=today, last_day__gte=today).order_by("pk")
        return cls(
            members=members,
            stand_ins=dict(away.values_list("member", "stand_in")),
            load={pk: member.load for pk, member in members.items()},
        )

    def present(self, member_id: int | None) -> int | None:
        """The member, or whoever stands in for them (chains are followed, loops end); None when nobody is here."""
        seen: set[int] = set()
        while member_id is not None and member_id not in seen:
            if member_id in self.members and member_id not in self.stand_ins:
                return member_id
            seen.add(member_id)
            member_id = self.stand_ins.get(member_id)
        return None

    def has_room(self, member_id: int, route: Route) -> bool:
        """Whether one more play on this route fits under the member's cap."""
        return not route.counts_toward_load or self.load[member_id] < self.members[member_id].open_play_cap

    def least_loaded(self, role: str, route: Route) -> int | None:
        """The least loaded member of a pool who is here and has room; of equals the one who came first."""
        if route.counts_toward_load and role in self.full:
            return None
        pool = [
            pk
            for pk, member in self.members.items()
            if getattr(member, role)
            and member.takes_pool_work
            and pk not in self.stand_ins
            and self.has_room(pk, route)
        ]
        if not pool and route.counts_toward_load:
            self.full.add(role)
        return min(pool, key=lambda pk: (self.load[pk], pk), default=None)

    def able(self) -> list[int]:
        """The members who are here, or have somebody here to stand in for them, with room for one more heavy play."""
        names = [*self.members, *(pk for pk in self.stand_ins if pk not in self.members)]
        here = ((pk, self.present(pk)) for pk in names)
        return [pk for pk, stands in here if stands is not None and self.has_room(stands, Route.CSM)]

    def may_ever_own(self, csm: int | None, executive: int | None, route: Route) -> bool:
        """Whether anybody at all may own a play on this route, now or when they are back and have room."""
        own = (csm, executive) if route == Route.SALES else (csm,)
        role = pool_of(route, csm)
        return any(pk in self.members for pk in own) or any(
            getattr(member, role) and member.takes_pool_work for member in self.members.values()
        )

    def free_room(self, role: str) -> int | None:
        """How many plays more fit under the caps of a pool's members who are here; None where nobody belongs to it."""
        pool = [pk for pk, member in self.members.items() if getattr(member, role) and member.takes_pool_work]
        here = (pk for pk in pool if pk not in self.stand_ins)
        return sum(max(self.members[pk].open_play_cap - self.load[pk], 0) for pk in here) if pool else None

    def desk(self) -> int | None:
        """The digital desk; of several the one that came first."""
        return min((pk for pk, member in self.members.items() if member.is_digital_desk), default=None)


#: Who works the plays of accounts that are not theirs: the pools, by the role that makes a member belong to one.
CSM_POOL = "is_customer_success_manager"
AE_POOL = "is_account_executive"


def pool_of(route: Route, csm: int | None) -> str:
    """The pool that owns what the people of an account do not: account executives where sales has to go it alone."""
    return AE_POOL if route == Route.SALES and csm is None else CSM_POOL


def choose_owner(route: Route, csm: int | None, executive: int | None, people: People) -> tuple[int | None, str]:
    """The owner of a play, with the reason in words; None is the tray.

    The account's own CSM, or their stand-in, or else for a sales route its AE; else for automated routes the digital
    desk; else the least loaded of the pool.
    """
    own = people.present(csm)
    if own is not None and people.has_room(own, route):
        return own, "the account's CSM" if own == csm else "stands in for the account's CSM"
    if route == Route.SALES:
        seller = people.present(executive)
        if seller is not None and people.has_room(seller, route):
            return seller, "the account's AE" if seller == executive else "stands in for the account's AE"
    if not route.counts_toward_load and (desk := people.desk()) is not None:
        return desk, "the digital desk"
    chosen = people.least_loaded(pool_of(route, csm), route)
    if chosen is not None:
        return chosen, "the least loaded of the pool"
    return None, "nobody is here and under their cap"


def team_of(accounts: Any) -> dict[tuple[int, str], int]:
    """The members who look after accounts (ids, or a query of them), by account and role. One query."""
    current = AccountTeam.objects.current().filter(account__in=accounts)
    return {(account, role): member for account, role, member in current.values_list("account", "role", "member")}


def _assign(play_ids: Sequence[int], now: datetime) -> None:
    plays = list(Play.objects.filter(pk__in=play_ids).select_related("account", "playbook").order_by("opened_at", "pk"))
    team = team_of({play.account_id for play in plays})
    people = People.at(now)
    moves: list[Move] = []
    entries = []
    tray: list[int] = []
    for play in plays:
        route = Route(play.route)
        owner_id, why = choose_owner(
            route,
            team.get((play.account_id, AccountTeam.Role.CSM)),
            team.get((play.account_id, AccountTeam.Role.AE)),
            people,
        )
        if owner_id is None:
            tray.append(play.pk)
            text = f"Waits for a manager to name an owner: {why}"
        else:
            if route.counts_toward_load:
                people.load[owner_id] += 1
            moves.append(Move(play.pk, Stage.OWNED, State.WORKING, owner_id, owner_id, Interval.HeldBy.MEMBER))
            text = f"{people.members[owner_id].name} owns it: {why}"
        entries.append(
            timeline_entry(account_id=play.account_id, at=now, now=now, kind="play_assigned", text=text, subject=play)
        )
    move_plays(moves, now)
    Play.objects.filter(pk__in=tray).update(tray_at=now, updated_at=now)
    write_timeline(entries)
