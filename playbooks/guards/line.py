"""The line at each account: which matches stand in the queue there, and who of them came first.

What stands in the queue takes room at its account like a play, and keeps it against all that comes later, however much
that is worth: else the two would throw each other out at each asking.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.db.models import Exists, OuterRef

from csplaybooks.accounts.ids import Ids
from csplaybooks.playbooks.models import Match, Play

#: The line at so many accounts is read by one query.
_CHUNK = 5000

#: Where one stands in line. Who comes later compares as greater.
_Rank = tuple[Any, ...]


@dataclass
class Line:
    """Who stands in line at some accounts: what was let in first, then by since when it is queued, then by id.

    What has been given up, and what will fold into an open play, takes no room and stands in no line.
    """

    _ranks: dict[int, _Rank] = field(default_factory=dict)
    _by_account: dict[int, list[tuple[_Rank, str, int | None]]] = field(default_factory=dict)

    @classmethod
    def at(cls, accounts: Collection[int]) -> Line:
        """The line as it stands now; one query for every 5,000 accounts.

        Read it before the facts of the guards: what becomes a play meanwhile is then counted twice, and not missed.
        """
        line = cls()
        same = Play.objects.open().filter(account=OuterRef("account"), motion=OuterRef("version__playbook__motion"))
        queued = Match.objects.filter(~Exists(same), state=Match.State.QUEUED, stuck_at__isnull=True).order_by()
        rest = iter(sorted(accounts))
        while chunk := list(islice(rest, _CHUNK)):
            rows = queued.filter(account__in=Ids(chunk)).values_list(
                "pk", "account", "version__playbook__motion", "admitted_run", "queued_at", "opened_at"
            )
            for pk, account_id, motion, admitted_run, queued_at, opened_at in rows:
                rank = (admitted_run is None, queued_at or opened_at, pk)
                line._ranks[pk] = rank
                line._by_account.setdefault(account_id, []).append((rank, motion, pk))
        return line

    def in_order(self, matches: Iterable[Match]) -> list[Match]:
        """Matches in the order in which they are to be asked: those in line first, the others as they come."""
        return sorted(matches, key=lambda match: (0, self._ranks[match.pk]) if match.pk in self._ranks else (1,))

    def ahead_of(self, match: Match) -> frozenset[str]:
        """The motions of those who stand in line before a match: all of them, where it does not stand there itself."""
        own = self._ranks.get(match.pk)
        there = self._by_account.get(match.account_id, ())
        return frozenset(motion for rank, motion, _ in there if own is None or rank < own)

    def keep(self, match: Match, motion: str) -> None:
        """A match was let pass: it stays where it stands, or goes to the end."""
        if match.pk not in self._ranks:
            self._by_account.setdefault(match.account_id, []).append(((2,), motion, match.pk))

    def leave(self, match: Match) -> None:
        """A match is held: whoever comes behind it moves up."""
        if self._ranks.pop(match.pk, None) is not None:
            there = self._by_account[match.account_id]
            there[:] = [place for place in there if place[2] != match.pk]
