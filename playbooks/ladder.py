"""The ladder: who is told of what happens on a clock, first whoever works the play, then their managers one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.models import ClockEvent


@dataclass(frozen=True)
class Ladder:
    """Who leads whom: for each member who leads them, and who of all is there and a manager."""

    leader: Mapping[int, int | None]
    managers: frozenset[int]

    @classmethod
    def of_the_team(cls) -> Self:
        """As the team stands; one query: these are people, not customers."""
        rows = list(TeamMember.objects.order_by().values_list("pk", "manager_id", "is_active", "is_manager"))
        return cls(
            {pk: leader for pk, leader, _, _ in rows},
            frozenset(pk for pk, _, is_active, is_manager in rows if is_active and is_manager),
        )

    def managers_above(self, member_id: int | None) -> list[int]:
        """The managers above a member who are there, the nearest first; empty for nobody (None)."""
        above: list[int] = []
        passed: set[int] = set()
        while member_id is not None and member_id not in passed:
            passed.add(member_id)
            member_id = self.leader.get(member_id)
            if member_id in self.managers and member_id not in passed:
                above.append(member_id)
        return above

    def told(self, kind: str, level: int, *, holder_id: int | None, owner_id: int | None) -> int | None:
        """Who is to know of an event of a clock (`ClockEvent.Kind`): a member's id, None where nobody is there.

        A warning and a breach are for the holder of the play, or its owner where no member holds it. Rung n is for the
        n-th manager above that person who is there, and for the one at the top where the ladder has more rungs.
        """
        works_it = owner_id if holder_id is None else holder_id
        if kind != ClockEvent.Kind.ESCALATED:
            return works_it
        above = self.managers_above(works_it)
        return above[min(level, len(above)) - 1] if above else None
