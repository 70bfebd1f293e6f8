"""What publishing a draft would come to today: who matches, who is held and by what, who is free and for whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from csplaybooks.playbooks.acts.recipes import publishing_faults
from csplaybooks.playbooks.document import DocumentError
from csplaybooks.playbooks.evaluator import TriggerVersion
from csplaybooks.playbooks.guards import Admitted, Ceiling, Hold, Panel, Question
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Match, Play, Playbook, Route
from csplaybooks.playbooks.pipeline.amounts import Amount, Case, work_out_amounts
from csplaybooks.playbooks.route_rules import NO_FACTS, Routing, choose_route, facts_of
from csplaybooks.playbooks.what_if.owners import CHUNK, Share, chunks, staff
from csplaybooks.playbooks.what_if.sight import Sight, draft_triggers, identity_of
from csplaybooks.playbooks.what_if.words import how_many

#: Episodes that may still become a play: a new version's guards are asked about them again.
_WAITS = (Match.State.HELD, Match.State.QUEUED)

#: What was found at accounts, by trigger and account, whoever reads it.
_Evidence = Mapping[tuple[str, int], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Candidate:
    """An account that meets a trigger of the draft today, and what would become of it.

    `evidence` is what was found as far as the viewer may read it, `words` a line of it for each condition. `standing`
    is the state of the episode that is open at the account already ("": none is); one that has had its play, or its
    time, stays as it is. Of the others `hold` is the guard that holds it (None: it is free) and `ceiling` the lowest
    route allowed. The free have a route, with all that its rule says, an expected amount, and either an owner (None:
    nobody has room) or `folds`: the account has a play of this motion, or gets it from another trigger.
    """

    trigger: str
    account_id: int
    words: tuple[str, ...]
    evidence: Sequence[Mapping[str, Any]]
    standing: str = ""
    hold: Hold | None = None
    ceiling: Ceiling | None = None
    folds: bool = False
    route: Route | None = None
    routing: Routing | None = None
    amount: Amount | None = None
    owner_id: int | None = None
    owner_why: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether its episode has had its play, or its time, and so stays as it is."""
        return bool(self.standing) and self.standing not in _WAITS

    @property
    def is_free(self) -> bool:
        """Whether nothing would hold it."""
        return not self.is_settled and self.hold is None

    @property
    def opens_play(self) -> bool:
        """Whether it would become a play of its own."""
        return self.is_free and not self.folds


@dataclass(frozen=True)
class Going:
    """An episode that is open today and would be closed, because the draft does not find its account."""

    trigger: str
    account_id: int
    state: str


@dataclass(frozen=True)
class TriggerPreview:
    """What one trigger of the draft finds today, by account id."""

    key: str
    name: str
    candidates: tuple[Candidate, ...]
    going: tuple[Going, ...]

    @property
    def matched(self) -> int:
        """How many accounts meet it: the held, the free and the settled."""
        return len(self.candidates)

    @cached_property
    def held(self) -> tuple[Candidate, ...]:
        """Those that a guard would hold."""
        return tuple(candidate for candidate in self.candidates if candidate.hold is not None)

    @cached_property
    def free(self) -> tuple[Candidate, ...]:
        """Those that nothing would hold."""
        return tuple(candidate for candidate in self.candidates if candidate.is_free)

    @cached_property
    def settled(self) -> tuple[Candidate, ...]:
        """Those whose episode has had its play, or its time."""
        return tuple(candidate for candidate in self.candidates if candidate.is_settled)

    @cached_property
    def new(self) -> tuple[Candidate, ...]:
        """Those without an open episode of this trigger."""
        return tuple(candidate for candidate in self.candidates if not candidate.standing)


@dataclass(frozen=True)
class Preview:
    """A draft on today's accounts. `runs` is the number of the version that runs (None: none does).

    `retired` are the episodes of triggers that the draft has no more. `names` are those of all triggers, these too, by
    key. `shares` say whom the plays would go to.
    """

    document: Mapping[str, Any]
    now: datetime
    sight: Sight
    runs: int | None
    triggers: tuple[TriggerPreview, ...]
    retired: tuple[Going, ...]
    names: Mapping[str, str]
    shares: tuple[Share, ...]
    warnings: tuple[str, ...]

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """All, trigger by trigger."""
        return tuple(candidate for trigger in self.triggers for candidate in trigger.candidates)

    @cached_property
    def accounts(self) -> frozenset[int]:
        """The accounts that meet at least one trigger."""
        return frozenset(candidate.account_id for candidate in self.candidates)

    @property
    def where(self) -> str:
        """At how many accounts it matches, in words: `12 of 1,234 accounts, and 1 that is deleted or merged`."""
        gone = len(self.accounts & self.sight.gone)
        said = f"{len(self.accounts) - gone:,} of {self.sight.words}"
        return f"{said}, and {gone:,} that {'is' if gone == 1 else 'are'} deleted or merged" if gone else said

    @cached_property
    def going(self) -> tuple[Going, ...]:
        """All episodes that would be closed."""
        return (*(going for trigger in self.triggers for going in trigger.going), *self.retired)

    @cached_property
    def plays(self) -> tuple[Candidate, ...]:
        """Those that would become plays, the greatest expected amount first, the unknown last."""
        return tuple(_by_worth(candidate for candidate in self.candidates if candidate.opens_play))

    @cached_property
    def held_by(self) -> dict[str, int]:
        """How many each guard would hold, the most first."""
        return dict(Counter(each.hold.guard for each in self.candidates if each.hold is not None).most_common())

    @property
    def without_room(self) -> int:
        """How many plays nobody has room for."""
        return sum(share.plays for share in self.shares if share.member_id is None)

    @cached_property
    def joining(self) -> tuple[Candidate, ...]:
        """Those that are free and would join a play of this motion."""
        return tuple(candidate for candidate in self.candidates if candidate.is_free and candidate.folds)

    @property
    def amount_minor(self) -> int:
        """What the plays would add to monthly revenue together, in minor units, as far as it is known."""
        return sum(play.amount.minor or 0 for play in self.plays if play.amount is not None)


def preview(document: Mapping[str, Any], *, now: datetime, viewer: Any = None) -> Preview:
    """What a document (as `read_document` answers it) would come to if it were published at `now`; nothing is written.

    One evaluation per trigger; guards, amounts, routes and owners by a fixed number of queries for every 5,000
    accounts. A `viewer` gets all of it about the accounts that they see, None about all. An episode that is open
    already is judged anew where it still waits, and is left alone where it has had its play, as in the first run after
    publishing. Owners are those that there would be if all were let through at once, the greatest expected amount
    first.

    Raises `DocumentError` with all that keeps it from being published: a name that is not in the catalogue, a window
    that looks further back than signals and readings are kept, another motion than what was published before.
    """
    playbook, triggers = draft_triggers(document)
    if errors := publishing_faults(document, playbook, now=now):
        raise DocumentError(errors)
    sight = Sight.of(viewer)
    in_force = playbook.published if playbook is not None and playbook.is_active else None
    standing, retired = _standing(playbook, triggers, sight)
    known = Known.now()
    found: list[list[Candidate]] = []
    whole: dict[tuple[str, int], Sequence[Mapping[str, Any]]] = {}
    for trigger in triggers:
        key, states = trigger.definition["key"], standing.get(trigger.trigger_id, {})
        candidates = []
        for hit in sight.hits(trigger, now, known):
            evidence = sight.evidence(hit)
            words = tuple(item["words"] for item in evidence)
            standing_as = states.get(hit.account_id, "")
            candidates.append(Candidate(key, hit.account_id, words, evidence, standing=standing_as))
            whole[key, hit.account_id] = hit.evidence
        found.append(candidates)
    judged = _judge(document, triggers, found, now, known)
    worked_out, shares = _work_out(document, judged, whole, now)
    previews = tuple(
        TriggerPreview(
            trigger.definition["key"],
            _name(trigger.definition),
            tuple(candidates),
            _going(trigger, standing.get(trigger.trigger_id, {}), candidates),
        )
        for trigger, candidates in zip(triggers, worked_out, strict=True)
    )
    answer = Preview(
        document=document,
        now=now,
        sight=sight,
        runs=None if in_force is None else in_force.number,
        triggers=previews,
        retired=tuple(retired),
        names=_names(document, playbook, retired),
        shares=tuple(shares),
        warnings=(),
    )
    return replace(answer, warnings=tuple(_warnings(answer)))


def _standing(
    playbook: Playbook | None, triggers: Sequence[TriggerVersion], sight: Sight
) -> tuple[dict[int, dict[int, str]], list[Going]]:
    """The states of open episodes by trigger and account, and those of triggers that the draft has no more. A query."""
    if playbook is None:
        return {}, []
    ours = {trigger.trigger_id for trigger in triggers}
    standing: dict[int, dict[int, str]] = {}
    retired: list[Going] = []
    rows = Match.objects.episode_open().filter(trigger__playbook=playbook).order_by("trigger", "account_id")
    for trigger_id, key, account_id, state in rows.values_list("trigger", "trigger__key", "account", "state"):
        if not sight.sees(account_id):
            continue
        if trigger_id in ours:
            standing.setdefault(trigger_id, {})[account_id] = state
        else:
            retired.append(Going(key, account_id, state))
    return standing, retired


def _name(definition: Mapping[str, Any]) -> str:
    """What people call a trigger: its name, or its key in plain words."""
    key: str = definition["key"]
    return str(definition.get("name") or key.replace("_", " ").capitalize())


def _names(document: Mapping[str, Any], playbook: Playbook | None, retired: Iterable[Going]) -> dict[str, str]:
    published = playbook.published if playbook is not None else None
    # The later ones count: what the draft calls a trigger, else what runs, else its key.
    told = [
        *({"key": going.trigger} for going in retired),
        *(published.document["triggers"] if published is not None else ()),
        *document["triggers"],
    ]
    return {definition["key"]: _name(definition) for definition in told}


def _going(trigger: TriggerVersion, standing: Mapping[int, str], candidates: Iterable[Candidate]) -> tuple[Going, ...]:
    found = {candidate.account_id for candidate in candidates}
    key = trigger.definition["key"]
    return tuple(Going(key, pk, state) for pk, state in sorted(standing.items()) if pk not in found)


def _judge(
    document: Mapping[str, Any],
    triggers: Sequence[TriggerVersion],
    found: Sequence[Sequence[Candidate]],
    now: datetime,
    known: Known,
) -> list[list[Candidate]]:
    """Ask the guards about all that are not settled, in the order in which a run would."""
    asked = {candidate.account_id for candidates in found for candidate in candidates if not candidate.is_settled}
    cooldowns = {pk: t.definition["cooldown_days"] for t in triggers if (pk := identity_of(t)) is not None}
    panel = Panel(asked, Question(now, known, document["motion"], cooldowns), document["guards"])
    has_play = _with_play_of(document["motion"], asked)
    admitted: Admitted = {}
    judged: list[list[Candidate]] = []
    for trigger, candidates in zip(triggers, found, strict=True):
        after: list[Candidate] = []
        for candidate in candidates:
            if not candidate.is_settled:
                pk = candidate.account_id
                judgement = panel.judge(pk, identity_of(trigger), admitted)
                folds = judgement.hold is None and pk in has_play
                if judgement.hold is None:
                    has_play.add(pk)
                candidate = replace(candidate, hold=judgement.hold, ceiling=judgement.ceiling, folds=folds)
            after.append(candidate)
        judged.append(after)
    return judged


def _with_play_of(motion: str, accounts: Iterable[int]) -> set[int]:
    """The accounts that have an open play of a motion."""
    return {
        account_id
        for chunk in chunks(set(accounts))
        for account_id in Play.objects.open()
        .filter(motion=motion, account__in=chunk)
        .order_by()
        .values_list("account", flat=True)
    }


def _work_out(
    document: Mapping[str, Any], judged: Sequence[Sequence[Candidate]], whole: _Evidence, now: datetime
) -> tuple[list[list[Candidate]], list[Share]]:
    """Give amount and route to the free, and owners to those that would become plays."""
    free = [candidate for candidates in judged for candidate in candidates if candidate.is_free]
    amounts = _amounts(document, free, whole, now)
    facts = facts_of({candidate.account_id for candidate in free}, now)
    routed: dict[tuple[str, int], Candidate] = {}
    for candidate, amount in zip(free, amounts, strict=True):
        ceiling = candidate.ceiling.route if candidate.ceiling else ""
        routing = choose_route(document["routes"], facts.get(candidate.account_id, NO_FACTS), amount.minor, ceiling)
        routed[candidate.trigger, candidate.account_id] = replace(
            candidate, amount=amount, route=routing.route, routing=routing
        )
    plays = _by_worth(candidate for candidate in routed.values() if candidate.opens_play)
    staffing = staff([(play.account_id, play.routing) for play in plays if play.routing is not None], now=now)
    for play, (owner_id, why) in zip(plays, staffing.owners, strict=True):
        routed[play.trigger, play.account_id] = replace(play, owner_id=owner_id, owner_why=why)
    worked_out = [
        [routed.get((candidate.trigger, candidate.account_id), candidate) for candidate in candidates]
        for candidates in judged
    ]
    return worked_out, staffing.shares


def _amounts(document: Mapping[str, Any], free: Sequence[Candidate], whole: _Evidence, now: datetime) -> list[Amount]:
    # By all that was found: what a play is worth does not depend on who looks.
    cases = [Case(each.account_id, document["amount"], whole[each.trigger, each.account_id]) for each in free]
    return [
        amount
        for start in range(0, len(cases), CHUNK)
        for amount in work_out_amounts(cases[start : start + CHUNK], now)
    ]


def _by_worth(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The greatest expected amount first, the unknown last, of equals by account."""

    def worth(candidate: Candidate) -> tuple[bool, int, int, str]:
        minor = candidate.amount.minor if candidate.amount is not None else None
        return minor is None, -(minor or 0), candidate.account_id, candidate.trigger

    return sorted(candidates, key=worth)


def _warnings(answer: Preview) -> Iterable[str]:
    """What somebody should know before the draft is published, in sentences."""
    population, gone = answer.sight.population, answer.sight.gone
    for trigger in answer.triggers:
        there = sum(candidate.account_id not in gone for candidate in trigger.candidates)
        if not there:
            yield f"“{trigger.name}” matches nobody of the {answer.sight.words} today: look at its conditions."
        elif there * 2 > population:
            share = there * 100 // population
            yield (
                f"“{trigger.name}” matches {there:,} of the {answer.sight.words}, {share} %: that is more than half. A "
                "trigger should pick out the few where something happens now: narrow its conditions or the audience."
            )
    if answer.without_room:
        room = len(answer.plays) - answer.without_room
        plays = how_many(len(answer.plays), "play", "plays")
        yield (
            f"{plays} would be opened at once, and the team has room for {room:,} of them: "
            f"{answer.without_room:,} would wait, because nobody is here and under their cap."
        )
