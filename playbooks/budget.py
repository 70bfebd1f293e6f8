"""The attention budget: which of the matches that the guards let pass become plays now, and which wait for room.

A pool's free room decides how many. The best expected value goes first, then the older run, then the id; the rest stay
queued, for all to see, and expire. What takes nobody's time (self-serve, e-mail) and what will fold into a play needs
no room. Where nobody belongs to a pool there is no budget: nothing waits for nobody, and the play goes to the tray.

Everything here happens under the lease of runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from django.db.models import Exists, OuterRef

from csplaybooks.accounts.acts.record import timeline_entry, write_timeline
from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import AccountTeam
from csplaybooks.playbooks.asking_again import Answers, ask_again
from csplaybooks.playbooks.close_rates import CloseRates
from csplaybooks.playbooks.measures.base import day_of
from csplaybooks.playbooks.models import Match, Play, PlaybookVersion, Route
from csplaybooks.playbooks.people import AE_POOL, CSM_POOL, MANAGER_POOL, People, give, pool_of, team_of
from csplaybooks.playbooks.pipeline.amounts import Case, work_out_amounts
from csplaybooks.playbooks.pipeline.owners import unowned
from csplaybooks.playbooks.route_rules import NO_FACTS, Routing, choose_route, facts_of
from csplaybooks.playbooks.steps import HELD_COLUMNS, write_steps

#: So many matches are valued, or written, by one statement.
_CHUNK = 2000

#: So many of the queue are read at a time, while there is room.
_READ = 500

#: The pools as a run keeps them, and as people call them.
POOLS: Mapping[str, str] = {CSM_POOL: "csm", AE_POOL: "ae"}
POOL_NAMES: Mapping[str, str] = {"csm": "customer success managers", "ae": "account executives", "manager": "managers"}


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
        facts = facts_of({match.account_id for match in chunk}, at)
        for match, document, amount in zip(chunk, documents, amounts, strict=True):
            known = facts.get(match.account_id, NO_FACTS)
            match.route = choose_route(document["routes"], known, amount.minor, match.ceiling).route.value
            match.expected_amount_minor = amount.minor
            match.expected_value_minor = rates.of(current.playbook_id, current.document).of(amount.minor)


def look_at_queue(*, at: datetime, run_id: int, in_run: bool, judged: Collection[int] = ()) -> Look:
    """Let in the best of what waits, as far as there is room, and let expire what has waited too long.

    Nothing is let in that the guards do not let pass at this very moment: what they refuse is held. `judged` are the
    ids of matches that they have just let pass. `run_id` is the newest run, `in_run` whether this is part of it.

    A constant number of queries for every 500 matches among which room is given away, and only one where nothing waits.
    """
    if not Match.objects.waiting().exists():
        return Look()
    expired = _expire(at, run_id, in_run)
    if expired and not Match.objects.waiting().exists():
        return Look(expired=expired)
    room = Room.at(at)
    capacities = {POOLS[role]: room.people.free_room(role) for role in POOLS}
    let_in = _waiting(room.choose())
    answers = _ask([match for match in let_in if match.pk not in judged], at, run_id, in_run)
    lowered = answers.lowered
    if answers.refused or answers.failed:
        # The room goes to what may have it: now all that waits is asked, so that this is enough.
        done = {match.pk for match in let_in}.union(judged)
        waiting = Match.objects.waiting().by_value().defer("evidence").iterator()
        rest = _ask([match for match in waiting if match.pk not in done], at, run_id, in_run)
        lowered += rest.lowered
        let_in = _waiting(Room.at(at).choose({match.pk for match in (*answers.failed, *rest.failed)}))
    for match in let_in:
        match.admitted_run_id = run_id
    for start in range(0, len(let_in), _CHUNK):
        chunk = let_in[start : start + _CHUNK]
        # Nobody else moves what waits: it takes the lease of runs.
        Match.objects.waiting().filter(pk__in=[match.pk for match in chunk]).update(admitted_run=run_id)
    coming = {match.pk for match in let_in}
    still_waiting = [match for match in lowered if match.pk not in coming]
    write_steps([*still_waiting, *let_in], run_id=run_id, in_run=in_run, at=at)
    return Look(len(let_in), expired, capacities)


def _waiting(ids: Sequence[int]) -> list[Match]:
    """Matches by id, the best value first."""
    rows: list[Match] = []
    for start in range(0, len(ids), _CHUNK):
        rows += Match.objects.waiting().filter(pk__in=ids[start : start + _CHUNK]).by_value().defer("evidence")
    return rows


def _ask(matches: Sequence[Match], at: datetime, run_id: int, in_run: bool) -> Answers:
    """Ask the guards about matches that wait, hold what they refuse, and save what has become of the ceilings."""
    # Between runs by all that was told, claimed or not: nothing goes to an account that has left a moment ago.
    answers = ask_again(matches, at=at, mark=run_id if in_run else None, strict=False)
    Match.objects.waiting().bulk_update(answers.lowered, ["ceiling", "route"], batch_size=_CHUNK)
    Match.objects.waiting().bulk_update(answers.refused, ["ceiling", *HELD_COLUMNS], batch_size=500)
    write_steps(answers.refused, run_id=run_id, in_run=in_run, at=at)
    return answers


#: What is read of a match to find out whether there is room for it.
_PLACE = ("pk", "account", "version__playbook__motion", "route", "version")
_Place = tuple[int, int, str, str, int]


@dataclass
class Room:
    """Who has room for one more play, with all that has been promised and is not theirs yet."""

    people: People
    team: dict[tuple[int, str], int] = field(default_factory=dict)
    #: The accounts and motions that have a play, or will have one as soon as a worker comes by.
    taken: set[tuple[int, str]] = field(default_factory=set)
    #: The route rules of the versions that opened what waits.
    rules: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @classmethod
    def at(cls, moment: datetime) -> Room:
        """The room at a moment, before anything more is let in; seven queries.

        They follow the way that a match goes (let in, play without an owner, somebody's load): what moves on meanwhile
        is counted twice, until the next look, and nothing is missed.
        """
        # What was given up comes by again when a person says so, and takes its chance then.
        coming = list(Match.objects.admitted().filter(stuck_at__isnull=True).by_value().values_list(*_PLACE))
        routed = list(unowned().order_by("opened_at", "pk").values_list("account", "route", "routing"))
        room = cls(People.at(moment), rules=rules_of_waiting())
        room.learn({account_id for account_id, _, _ in routed}.union(place[1] for place in coming))
        for account_id, route, frozen in routed:
            room._promise(account_id, Routing.read(route, frozen))
        for _, account_id, motion, route, version_id in coming:
            # It has been let in: who would own it may have got other plays since.
            room._let_in(account_id, motion, room.routing(version_id, route))
            room.taken.add((account_id, motion))
        return room

    def learn(self, accounts: Collection[int]) -> None:
        """Who looks after accounts, and which plays are open there; two queries."""
        if accounts:
            ids = Ids(sorted(accounts))
            self.team.update(team_of(ids))
            self.taken.update(Play.objects.open().filter(account__in=ids).order_by().values_list("account", "motion"))

    def choose(self, without: Collection[int] = ()) -> list[int]:
        """The ids of the waiting matches there is room for, whose room is promised to them then.

        The best value first, as far as people have room: in the end only those are read that need none, or may find it
        elsewhere. `without` are matches that cannot be let in. Three queries for every 500 matches that are read.
        """
        chosen: dict[int, int] = {}
        if self.people.free_room(CSM_POOL) != 0:
            for chunk in _chunks(Match.objects.waiting().by_value().values_list(*_PLACE).iterator(chunk_size=_READ)):
                self._take(chunk, without, chosen)
                if self.people.free_room(CSM_POOL) == 0:
                    break
            else:
                return list(chosen)
        for chunk in _chunks(self._besides_the_pool(chosen)):
            self._take(chunk, without, chosen)
        return list(chosen)

    def _take(self, places: Sequence[_Place], without: Collection[int], chosen: dict[int, int]) -> None:
        """Add those of some matches that may become a play to what is chosen: account ids by match id."""
        self.learn({place[1] for place in places})
        for pk, account_id, motion, route, version_id in places:
            if pk in chosen or pk in without:
                continue
            if self._let_in(account_id, motion, self.routing(version_id, route)):
                chosen[pk] = account_id

    def _besides_the_pool(self, chosen: Mapping[int, int]) -> Iterable[_Place]:
        """The waiting matches, best value first, that may find room although the pool of CSMs is full.

        They take nobody's time, or fold, or their account's own people have room, or the pool of AEs has. Two queries.
        """
        waiting = Match.objects.waiting().order_by()
        light = [route.value for route in Route if not route.counts_toward_load]
        motion = {"account": OuterRef("account"), "motion": OuterRef("version__playbook__motion")}
        coming = Match.objects.admitted().filter(
            account=OuterRef("account"), version__playbook__motion=OuterRef("version__playbook__motion")
        )
        here = AccountTeam.objects.current().filter(account=OuterRef("account"))
        ways = [
            waiting.filter(route__in=light),
            waiting.filter(Exists(Play.objects.open().filter(**motion))),
            waiting.filter(Exists(coming)),
            waiting.filter(Exists(here.filter(member__in=self.people.able()))),
        ]
        if self.people.free_room(AE_POOL) != 0:
            ways.append(waiting.filter(~Exists(here.filter(role=AccountTeam.Role.CSM)), route=Route.SALES))
        # What a rule gives to AEs or managers does not wait for CSMs.
        others_own = [
            pk for pk, rules in self.rules.items() if any(rule.get("owner", "csm") != "csm" for rule in rules)
        ]
        if others_own:
            ways.append(waiting.filter(version__in=others_own))
        first, *others = (way.values_list("account", flat=True) for way in ways)
        # All that waits at these accounts: what is heavy may fold into what is light.
        # Without an order, or Django 6.1 looks for the table's own in what is selected.
        accounts = Ids(sorted({*first.union(*others).order_by(), *chosen.values()}))
        rows: Iterable[_Place] = waiting.filter(account__in=accounts).by_value().values_list(*_PLACE)
        return rows if accounts.ids else ()

    def routing(self, version_id: int, route: str) -> Routing:
        """How a play of a version goes on a route: as the first of its rules says that has it."""
        wanted = _route(route)
        rules = enumerate(self.rules.get(version_id, ()), start=1)
        number, rule = next(
            ((n, rule) for n, rule in rules if rule["route"] == wanted), (None, {"route": wanted.value})
        )
        return Routing.of(rule, number)

    def _let_in(self, account_id: int, motion: str, routing: Routing) -> bool:
        folds = (account_id, motion) in self.taken
        if not (folds or not routing.route.counts_toward_load or self._promise(account_id, routing)):
            return False
        self.taken.add((account_id, motion))
        return True

    def _promise(self, account_id: int, routing: Routing) -> bool:
        """Count a play to whoever would own it, and be offered it; True as well where nobody ever could own it."""
        csm = self.team.get((account_id, AccountTeam.Role.CSM))
        executive = self.team.get((account_id, AccountTeam.Role.AE))
        if give(routing, csm, executive, self.people).owner_id is not None:
            return True
        return not self.people.may_ever_own(csm, executive, routing.route, routing.owner)


def rules_of_waiting() -> dict[int, Sequence[Mapping[str, Any]]]:
    """The route rules of all versions that opened matches in the queue; one query."""
    queued = Match.objects.filter(state=Match.State.QUEUED).order_by().values("version")
    versions = PlaybookVersion.objects.filter(pk__in=queued).order_by()
    return dict(versions.values_list("pk", "document__routes"))


def _chunks(rows: Iterable[_Place]) -> Iterator[list[_Place]]:
    rest = iter(rows)
    while chunk := list(islice(rest, _READ)):
        yield chunk


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
            f"{day_of(match.queued_at)}",
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
    waiting = list(Match.objects.waiting().order_by().values_list("account", "route", "version"))
    if not waiting:
        return {}
    room = Room.at(at)
    room.learn({account_id for account_id, _, _ in waiting})
    numbers: dict[str, int] = {}
    for account_id, route, version_id in waiting:
        routing = room.routing(version_id, route)
        pool = pool_of(routing.route, room.team.get((account_id, AccountTeam.Role.CSM)), routing.owner)
        numbers[pool] = numbers.get(pool, 0) + 1
    names = {**POOLS, MANAGER_POOL: "manager"}
    return {name: (numbers[pool], room.people.free_room(pool)) for pool, name in names.items() if pool in numbers}
