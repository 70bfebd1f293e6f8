"""Whom plays would go to, worked out in memory: loads are counted on, and nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from csplaybooks.accounts.models import AccountTeam
from csplaybooks.playbooks.people import People, give
from csplaybooks.playbooks.route_rules import Routing

#: The facts of so many accounts are fetched by one query.
CHUNK = 5000


@dataclass(frozen=True)
class Share:
    """What one person would be given. `member_id` is None for the plays that nobody has room for.

    `heavy` of the `plays` count toward the cap; `load` plays do already.
    """

    member_id: int | None
    name: str
    plays: int
    heavy: int
    load: int
    cap: int

    @property
    def room(self) -> int:
        """How many plays that count toward the cap there is room for today."""
        return max(self.cap - self.load, 0)


@dataclass(frozen=True)
class Staffing:
    """Owners of plays, in the order in which these were given: member id (None: nobody has room) and why."""

    owners: list[tuple[int | None, str]]
    shares: list[Share]


def chunks(ids: Collection[int]) -> Iterator[list[int]]:
    """Ids in order, so many at a time as one query takes."""
    rest = iter(sorted(ids))
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def team_of(accounts: Collection[int]) -> dict[tuple[int, str], int]:
    """Who looks after accounts today: member id by account and role. One query for every 5,000 accounts."""
    return {
        (account_id, role): member_id
        for chunk in chunks(accounts)
        for account_id, role, member_id in AccountTeam.objects.current()
        .filter(account__in=chunk)
        .order_by()
        .values_list("account", "role", "member")
    }


def staff(plays: Sequence[tuple[int, Routing]], *, now: datetime) -> Staffing:
    """The owners that plays (account and routing) would find, the first first, as `assign_owners` would choose them.

    Two queries, and one for every 5,000 accounts. Shares are by name, with what nobody has room for at the end.
    """
    if not plays:
        return Staffing([], [])
    team = team_of({account_id for account_id, _ in plays})
    people = People.at(now)
    before = dict(people.load)
    owners: list[tuple[int | None, str]] = []
    given: dict[int | None, list[Routing]] = {}
    for account_id, routing in plays:
        csm = team.get((account_id, AccountTeam.Role.CSM))
        chosen = give(routing, csm, team.get((account_id, AccountTeam.Role.AE)), people)
        owners.append((chosen.owner_id, chosen.why))
        given.setdefault(chosen.owner_id, []).append(routing)
    return Staffing(owners, _shares(given, people, before))


def _shares(given: Mapping[int | None, Sequence[Routing]], people: People, before: Mapping[int, int]) -> list[Share]:
    shares = []
    for member_id, routings in given.items():
        heavy = sum(routing.route.counts_toward_load for routing in routings)
        if member_id is None:
            shares.append(Share(None, "Nobody has room", len(routings), heavy, 0, 0))
        else:
            member = people.members[member_id]
            shares.append(
                Share(member_id, member.name, len(routings), heavy, before[member_id], member.open_play_cap),
            )
    return sorted(shares, key=lambda share: (share.member_id is None, share.name, share.member_id or 0))
