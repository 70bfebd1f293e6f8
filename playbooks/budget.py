"""The attention budget: which of the matches that the guards let pass become plays now, and which wait for room.

A pool's free room decides how many. The best expected value goes first, then the older run, then the id; the rest stay
queued, for all to see, and expire. What takes nobody's time (self-serve, e-mail) and what will fold into a play needs
no room. Where nobody belongs to a pool there is no budget: nothing waits for nobody, and the play goes to the tray.

Everything here happens under the lease of runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from csplaybooks.accounts.acts.record import timeline_entry, write_timeline
from csplaybooks.accounts.models import AccountTeam
from csplaybooks.playbooks.close_rates import CloseRates
from csplaybooks.playbooks.models import Match, Play, PlaybookVersion, Route
from csplaybooks.playbooks.models.matches import MatchQuerySet
from csplaybooks.playbooks.pipeline.amounts import Case, work_out_amounts
from csplaybooks.playbooks.pipeline.opening import choose_route, segments_of
from csplaybooks.playbooks.pipeline.owners import AE_POOL, CSM_POOL, People, choose_owner, pool_of, team_of, unowned
from csplaybooks.playbooks.steps import write_steps

#: So many matches are valued, or written, by one statement.
_CHUNK = 2000

#: The pools as a run keeps them, and as people call them.
POOLS: Mapping[str, str] = {CSM_POOL: "csm", AE_POOL: "ae"}
POOL_NAMES: Mapping[str, str] = {"csm": "customer success managers", "ae": "account executives"}


@dataclass(frozen=True)
class Look:
    """What a look at the queue came to.

    `capacities` are the places that were free before it, by pool (None: nobody belongs to it); empty where nothing
    waited, and so nobody was counted.
    """

    admitted: int = 0
    expired: int = 0
    capacities: Mapping[str, int | None] = field(default_factory=dict)


def value(matches: Sequence[Match], current: PlaybookVersion, at: datetime, rates: CloseRates) -> None:
    """Work out the route, amount and value of matches of one playbook, in memory; three queries for every 2,000.

    By the version that opened each, as a play of it will be; `current` is the one that is in force.
    """
    versions = {current.pk: current}
    if missing := {match.version_id for match in matches} - versions.keys():
        versions.update(PlaybookVersion.objects.in_bulk(missing))
    for start in range(0, len(matches), _CHUNK):
        chunk = matches[start : start + _CHUNK]
        documents = [versions[match.version_id].document for match in chunk]
        amounts = work_out_amounts(
            [
                Case(match.account_id, document["amount"], match.evidence)
                for match, document in zip(chunk, documents, strict=True)
            ],
            at,
        )
        segments = segments_of({match.account_id for match in chunk}, at)
        for match, document, amount in zip(chunk, documents, amounts, strict=True):
            segment = segments.get(match.account_id, "")
            match.route = choose_route(document["routes"], segment, amount.minor, match.ceiling).value
            match.expected_amount_minor = amount.minor
            match.expected_value_minor = rates.of(current.playbook_id, current.document).of(amount.minor)


def look_at_queue(*, at: datetime, run_id: int, in_run: bool) -> Look:
    """Let in the best of what waits, as far as there is room, and let expire what has waited too long.

    A constant number of queries, and only one where nothing waits. `run_id` is the newest run, `in_run` whether this is
    part of it.
    """
    if not Match.objects.waiting().exists():
        return Look()
    expired = _expire(at, run_id, in_run)
    waiting = list(Match.objects.waiting().by_value().defer("evidence"))
    if not waiting:
        return Look(expired=expired)
    room = Room.at(at)
    capacities = {POOLS[role]: room.people.free_room(role) for role in POOLS}
    let_in = [match for match in waiting if room.takes(match)]
    for match in let_in:
        match.admitted_run_id = run_id
    for start in range(0, len(let_in), _CHUNK):
        chunk = let_in[start : start + _CHUNK]
        # Nobody else moves what waits: it takes the lease of runs.
        Match.objects.waiting().filter(pk__in=[match.pk for match in chunk]).update(admitted_run=run_id)
    write_steps(let_in, run_id=run_id, in_run=in_run, at=at)
    return Look(len(let_in), expired, capacities)


@dataclass
class Room:
    """Who has room for one more play, with all that has been promised and is not theirs yet."""

    people: People
    team: Mapping[tuple[int, str], int]
    motions: Mapping[int, str]
    #: The accounts and motions that have a play, or will have one as soon as a worker comes by.
    taken: set[tuple[int, str]]

    @classmethod
    def at(cls, moment: datetime) -> Room:
        """The room at a moment, before anything more is let in; seven queries.

        They follow the way that a match goes (let in, play without an owner, somebody's load): what moves on meanwhile
        is counted twice, until the next look, and nothing is missed.
        """
        queued: MatchQuerySet = Match.objects.filter(state=Match.State.QUEUED)
        # What was given up comes by again when a person says so, and takes its chance then.
        coming = list(
            Match.objects.admitted().filter(stuck_at__isnull=True).by_value().values_list("account", "version", "route")
        )
        versions = PlaybookVersion.objects.filter(pk__in=queued.order_by().values("version"))
        motions = dict(versions.values_list("pk", "document__motion"))
        open_plays = Play.objects.open().filter(account__in=queued.order_by().values("account")).order_by()
        taken = set(open_plays.values_list("account", "motion"))
        routed = list(unowned().order_by("opened_at", "pk").values_list("account", "route"))
        team = team_of(queued.order_by().values("account")) | team_of(unowned().order_by().values("account"))
        room = cls(People.at(moment), team, motions, taken)
        for account_id, route in routed:
            room._promise(account_id, Route(route))
        for account_id, version_id, route in coming:
            # It has been let in: who would own it may have got other plays since.
            room._let_in(account_id, motions[version_id], _route(route))
            room.taken.add((account_id, motions[version_id]))
        return room

    def takes(self, match: Match) -> bool:
        """Whether a match may become a play; its room is promised to it then."""
        return self._let_in(match.account_id, self.motions[match.version_id], _route(match.route))

    def _let_in(self, account_id: int, motion: str, route: Route) -> bool:
        folds = (account_id, motion) in self.taken
        if not (folds or not route.counts_toward_load or self._promise(account_id, route)):
            return False
        self.taken.add((account_id, motion))
        return True

    def _promise(self, account_id: int, route: Route) -> bool:
        """Count a play to whoever would own it; True as well where nobody ever could."""
        csm = self.team.get((account_id, AccountTeam.Role.CSM))
        executive = self.team.get((account_id, AccountTeam.Role.AE))
        owner, _ = choose_owner(route, csm, executive, self.people)
        if owner is None:
            return not self.people.may_ever_own(csm, executive, route)
        if route.counts_toward_load:
            self.people.load[owner] += 1
        return True


def _route(route: str) -> Route:
    """The route of a match in the queue; one from before there was a queue says none, and may take anybody's time."""
    return Route(route or Route.CSM)


def _expire(at: datetime, run_id: int, in_run: bool) -> int:
    """Let expire what has waited until its last moment; answers how many. Their episodes go on, and fire no more."""
    late = Match.objects.waiting().filter(waits_until__lte=at).order_by("pk").defer("evidence")
    rows: list[Any] = list(late.select_related("account", "trigger__playbook"))
    if not rows:
        return 0
    for match in rows:
        match.state = Match.State.EXPIRED
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        Match.objects.waiting().filter(pk__in=[match.pk for match in chunk]).update(state=Match.State.EXPIRED)
    write_steps(rows, run_id=run_id, in_run=in_run, at=at)
    write_timeline(
        timeline_entry(
            account_id=match.account_id,
            at=at,
            now=at,
            kind="match_expired",
            text=f"{match.trigger.playbook} matched, and expired: nobody had room for it since "
            f"{match.queued_at:%Y-%m-%d}",
            subject=match,
            data={"trigger": match.trigger_id, "match": match.pk},
        )
        for match in rows
    )
    return len(rows)


def places() -> dict[int, int]:
    """The places of all matches that wait, by id, the next to be let in first; one query."""
    waiting = Match.objects.waiting().by_value().values_list("pk", flat=True)
    return {pk: place for place, pk in enumerate(waiting, start=1)}


def waiting_by_pool(at: datetime) -> dict[str, tuple[int, int | None]]:
    """By pool that has matches waiting for it: how many, and how much room it has (None: nobody belongs to it)."""
    waiting = list(Match.objects.waiting().order_by().values_list("account", "route"))
    if not waiting:
        return {}
    room = Room.at(at)
    numbers: dict[str, int] = {}
    for account_id, route in waiting:
        pool = pool_of(_route(route), room.team.get((account_id, AccountTeam.Role.CSM)))
        numbers[pool] = numbers.get(pool, 0) + 1
    return {POOLS[pool]: (numbers[pool], room.people.free_room(pool)) for pool in POOLS if pool in numbers}
