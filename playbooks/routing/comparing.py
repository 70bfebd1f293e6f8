"""Open plays held against the routing: what it would say of them now, and where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import AccountTeam
from csplaybooks.playbooks.models import Play, Playbook, Route
from csplaybooks.playbooks.people import (
    ACCEPTED,
    FROM_THE_POOL,
    People,
    accepted_by,
    choose_owner,
    keeps,
    pool_of,
    team_of,
)
from csplaybooks.playbooks.route_rules import NO_FACTS, Routing, choose_route, facts_of


@dataclass(frozen=True)
class Difference:
    """An open play of which the routing would say something else now; ids None are nobody (the tray)."""

    play_id: int
    account_id: int
    account: str
    playbook: str
    route: Route
    route_then: Route
    owner_id: int | None
    owner: str
    owner_then_id: int | None
    owner_then: str
    why: str

    @property
    def moves(self) -> bool:
        """Whether somebody else would own it."""
        return self.owner_id != self.owner_then_id


@dataclass(frozen=True)
class Comparison:
    """How many open plays there are, whose they would be and on which route, and those that differ, oldest first.

    `owners` counts plays by the name of who would own them ("": nobody has room), now and then.
    """

    plays: int
    routes: Mapping[Route, tuple[int, int]]
    owners: Mapping[str, tuple[int, int]]
    differences: tuple[Difference, ...]

    @property
    def same(self) -> int:
        """How many plays are as the routing has them."""
        return self.plays - len(self.differences)


def compare(plays: Any, *, now: datetime, documents: Mapping[int, Mapping[str, Any]] | None = None) -> Comparison:
    """What the routing would say of open plays (a queryset) now, were they all opened anew, the oldest first.

    By what runs, or by `documents` for the playbooks (ids) that have one there. The facts and the team are those of
    today, the amount that of the play, and a route that a guard lowered stays as low. Who was given a play by the pool
    and still belongs to it with room keeps it, and so does whoever accepted an offer (see `keeps`). Seven queries,
    however many plays there are.
    """
    rows = list(plays.open().select_related("account").only(*_READ, "account__name").order_by("opened_at", "pk"))
    there = {play.account_id for play in rows}
    facts, team = facts_of(there, now), team_of(Ids(sorted(there)))
    asked = Playbook.objects.filter(pk__in={play.playbook_id for play in rows})
    recipes = {
        pk: (name, routes) for pk, name, routes in asked.values_list("pk", "name", "published__document__routes")
    }
    rules = {pk: (documents or {}).get(pk, {}).get("routes", routes) for pk, (_, routes) in recipes.items()}
    accepted = accepted_by(rows)
    people = People.at(now)
    kept = {play.pk for play in rows if keeps(play, accepted, people)}
    for play in rows:
        if play.pk not in kept and play.owner_id in people.load and Route(play.route).counts_toward_load:
            people.load[play.owner_id] -= 1
    routes_now, routes_then = Counter[Route](), Counter[Route]()
    owners_now, owners_then = Counter[str](), Counter[str]()
    differences = []
    for play in rows:
        frozen = Routing.of_play(play)
        ceiling = frozen.route.value if frozen.lowered_from is not None else ""
        known = facts.get(play.account_id, NO_FACTS)
        routing = choose_route(rules[play.playbook_id], known, play.expected_amount_minor, ceiling)
        owner_id, why = (play.owner_id, ACCEPTED) if play.pk in kept else _owner(play, routing, team, people)
        if play.pk not in kept and owner_id in people.load and routing.route.counts_toward_load:
            people.load[owner_id] += 1
        owner, owner_then = _name(people, play.owner_id), _name(people, owner_id)
        routes_now[frozen.route] += 1
        routes_then[routing.route] += 1
        owners_now[owner] += 1
        owners_then[owner_then] += 1
        if frozen.route != routing.route or play.owner_id != owner_id:
            differences.append(
                Difference(
                    play_id=play.pk,
                    account_id=play.account_id,
                    account=play.account.name,
                    playbook=recipes[play.playbook_id][0],
                    route=frozen.route,
                    route_then=routing.route,
                    owner_id=play.owner_id,
                    owner=owner,
                    owner_then_id=owner_id,
                    owner_then=owner_then,
                    why=why,
                )
            )
    return Comparison(
        plays=len(rows),
        routes={
            route: (routes_now[route], routes_then[route]) for route in Route if routes_now[route] or routes_then[route]
        },
        owners={
            name: (owners_now[name], owners_then[name])
            for name in sorted({*owners_now, *owners_then}, key=lambda name: (not name, name))
        },
        differences=tuple(differences),
    )


#: What is read of a play.
_READ = ("account", "playbook", "route", "routing", "owner", "expected_amount_minor", "opened_at", "tray_at")


def _owner(
    play: Play,
    routing: Routing,
    team: Mapping[tuple[int, str], int],
    people: People,
) -> tuple[int | None, str]:
    """Who would own a play: whoever has it now, where the routing is content with them."""
    owner_id = play.owner_id
    csm, executive = (team.get((play.account_id, role)) for role in (AccountTeam.Role.CSM, AccountTeam.Role.AE))
    chosen, why = choose_owner(routing, csm, executive, people)
    role = pool_of(routing.route, csm, routing.owner)
    if (
        why == FROM_THE_POOL
        and owner_id is not None
        and people.in_pool(owner_id, role, routing.route)
        and people.has_room(owner_id, routing.route)
    ):
        return owner_id, "of the pool, with room"
    return chosen, why


def _name(people: People, member_id: int | None) -> str:
    return "" if member_id is None else people.names[member_id]
