"""What the routing says of a play that would be opened at one account now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from csplaybooks.accounts.models import AccountTeam
from csplaybooks.playbooks.document import read_document
from csplaybooks.playbooks.models import Play, Playbook, Route
from csplaybooks.playbooks.people import (
    AE_POOL,
    POOL_OF_NAME,
    Given,
    Passed,
    People,
    choose_owner,
    choose_receiver,
    is_offered,
    pool_of,
    team_of,
)
from csplaybooks.playbooks.pipeline.amounts import Amount, Case, work_out_amounts
from csplaybooks.playbooks.route_rules import NO_FACTS, RouteFacts, Routing, choose_route, facts_of, misfit_in_words


@dataclass(frozen=True)
class Recipe:
    """A playbook as it is asked about: its document, and the number of the version (None: its draft)."""

    key: str
    name: str
    version: int | None
    document: Mapping[str, Any]


@dataclass(frozen=True)
class RuleAnswer:
    """What one route rule says: whether it fits the account, and why not. The first that fits decides (`decides`)."""

    number: int
    route: Route
    fits: bool
    decides: bool
    why: str


@dataclass(frozen=True)
class Asked:
    """A member who was asked before somebody else got it: as what, and why they do not get it."""

    member_id: int
    name: str
    part: str
    why: str


@dataclass(frozen=True)
class DryRun:
    """What would become of a play of a playbook at an account now; nothing is written.

    `ceiling` is the highest route allowed that was asked about ("": any). `owner_id` None is the tray; `passed` are
    those who come before the owner, with the rest of the pool where the choice came down to it. `offer_to_id` is to
    whom it would be offered at once, `offered` whether it is one to be offered at all. `has_open_play`: there is an
    open play of this motion, to which a match would be added instead.
    """

    account_id: int
    recipe: Recipe
    facts: RouteFacts
    amount: Amount
    ceiling: str
    rules: tuple[RuleAnswer, ...]
    routing: Routing
    expires_days: int
    owner_id: int | None
    owner: str
    why: str
    passed: tuple[Asked, ...]
    offered: bool
    offer_to_id: int | None
    offer_to: str
    offer_why: str
    offer_passed: tuple[Asked, ...]
    has_open_play: bool

    def as_json(self) -> dict[str, Any]:
        """All of it, for the API and for files; see the documentation."""
        return {
            "playbook": self.recipe.key,
            "playbook_version": self.recipe.version,
            "facts": {
                "segment": self.facts.segment,
                "region": self.facts.region,
                "tags": sorted(self.facts.tags),
                "amount_minor": self.amount.minor,
            },
            "ceiling": self.ceiling or None,
            "rules": [
                {
                    "number": rule.number,
                    "route": rule.route.value,
                    "fits": rule.fits,
                    "decides": rule.decides,
                    "why": rule.why,
                }
                for rule in self.rules
            ],
            "route": self.routing.route.value,
            "rule": self.routing.rule,
            "first_touch": self.routing.first_touch,
            "claim": self.routing.claim,
            "expires_days": self.expires_days,
            "owner": None if self.owner_id is None else {"id": self.owner_id, "name": self.owner},
            "why": self.why,
            "passed": [_as_json(each) for each in self.passed],
            "offer_to": None if self.offer_to_id is None else {"id": self.offer_to_id, "name": self.offer_to},
            "offer_why": self.offer_why,
            "offer_passed": [_as_json(each) for each in self.offer_passed],
            "has_open_play": self.has_open_play,
        }


def _as_json(asked: Asked) -> dict[str, Any]:
    return {"id": asked.member_id, "name": asked.name, "part": asked.part, "why": asked.why}


def recipes_of(playbooks: Iterable[Playbook], *, draft: bool = False) -> list[Recipe]:
    """Playbooks as they run, or as they are drafted; those that were never published are left out, or else.

    Raises `DocumentError` for a draft that cannot be read.
    """
    if draft:
        return [Recipe(each.key, each.name, None, read_document(each.draft)) for each in playbooks]
    return [
        Recipe(each.key, each.name, each.published.number, each.published.document)
        for each in playbooks
        if each.published is not None
    ]


def dry_run(account_id: int, recipe: Recipe, *, now: datetime, ceiling: str = "") -> DryRun:
    """What the routing would say of a play of one playbook at an account; see `dry_runs`."""
    (answer,) = dry_runs(account_id, [recipe], now=now, ceiling=ceiling)
    return answer


def dry_runs(account_id: int, recipes: Sequence[Recipe], *, now: datetime, ceiling: str = "") -> list[DryRun]:
    """What the routing would say of a play of each of these playbooks at an account, were it opened alone.

    Seven queries, however many playbooks are asked about. `ceiling` is the highest route that guards would allow.
    """
    facts = facts_of([account_id], now).get(account_id, NO_FACTS)
    team = team_of([account_id])
    amounts = work_out_amounts([Case(account_id, each.document["amount"], ()) for each in recipes], now)
    open_motions = set(Play.objects.open().filter(account=account_id).order_by().values_list("motion", flat=True))
    people = People.at(now)
    return [
        _answer(account_id, recipe, facts, amount, ceiling, team, people, recipe.document["motion"] in open_motions)
        for recipe, amount in zip(recipes, amounts, strict=True)
    ]


def _answer(
    account_id: int,
    recipe: Recipe,
    facts: RouteFacts,
    amount: Amount,
    ceiling: str,
    team: Mapping[tuple[int, str], int],
    people: People,
    has_open_play: bool,
) -> DryRun:
    csm, executive = (team.get((account_id, role)) for role in (AccountTeam.Role.CSM, AccountTeam.Role.AE))
    rules = recipe.document["routes"]
    routing = choose_route(rules, facts, amount.minor, ceiling)
    given = _given(routing, csm, executive, people)
    pool = pool_of(routing.route, csm, routing.owner)
    return DryRun(
        account_id=account_id,
        recipe=recipe,
        facts=facts,
        amount=amount,
        ceiling=ceiling,
        rules=tuple(_rules(rules, facts, amount.minor, routing)),
        routing=routing,
        expires_days=routing.expires_days or recipe.document["expires_days"],
        owner_id=given.owner_id,
        owner="" if given.owner_id is None else people.names[given.owner_id],
        why=given.why,
        passed=_asked(given.passed, given.owner_id, given.why, pool, routing, people),
        offered=given.wanted_offer,
        offer_to_id=given.receiver_id,
        offer_to="" if given.receiver_id is None else people.names[given.receiver_id],
        offer_why=given.receiver_why,
        offer_passed=(
            _asked(given.passed_offer, given.receiver_id, given.receiver_why, AE_POOL, routing, people)
            if given.wanted_offer
            else ()
        ),
        has_open_play=has_open_play,
    )


def _given(routing: Routing, csm: int | None, executive: int | None, people: People) -> Given:
    """Who would get it, as `give` has it, without counting it to anybody: each playbook is asked about alone."""
    passed: list[Passed] = []
    owner_id, why = choose_owner(routing, csm, executive, people, passed)
    if owner_id is None or not is_offered(routing, owner_id, people):
        return Given(owner_id, why, passed=tuple(passed))
    passed_offer: list[Passed] = []
    receiver_id, receiver_why = choose_receiver(routing, owner_id, executive, people, passed_offer)
    return Given(owner_id, why, receiver_id, receiver_why, True, tuple(passed), tuple(passed_offer))


def _rules(
    rules: Sequence[Mapping[str, Any]], facts: RouteFacts, amount_minor: int | None, routing: Routing
) -> Iterable[RuleAnswer]:
    """Every rule, with why it does not fit, or that one before it decides; and what a ceiling does to it."""
    first: int | None = None
    for number, rule in enumerate(rules, start=1):
        route = Route(rule["route"])
        misfit = misfit_in_words(rule["when"], facts, amount_minor) if "when" in rule else ""
        why = misfit
        if not misfit and first is not None:
            why = f"rule {first} fits before it"
        elif not misfit:
            first = number
            why = f"a guard allows {routing.route.label} at most" if routing.lowered_from is not None else "it fits"
        if routing.rule == number and number != first:
            why = f"the first with the route that a guard allows: {route.label}"
        yield RuleAnswer(number, route, not misfit, routing.rule == number, why)


def _asked(
    passed: Iterable[Passed], chosen: int | None, why: str, role: str, routing: Routing, people: People
) -> tuple[Asked, ...]:
    """Who was passed over, and the rest of the pool where nobody else was left to ask."""
    asked = [Asked(each.member_id, people.names[each.member_id], each.part, each.why) for each in passed]
    if chosen is not None and not why.startswith("the least loaded"):
        return tuple(asked)
    told = {each.member_id for each in asked} | {chosen}
    for pk in sorted(people.pool(role), key=lambda pk: (people.load[pk], pk)):
        if pk not in told:
            member = people.members[pk]
            carries = f"carries {people.load[pk]} of {member.open_play_cap}"
            asked.append(
                Asked(
                    pk,
                    member.name,
                    f"of the pool of {POOL_OF_NAME[role]}",
                    people.why_not(pk, routing.route) or f"{carries}: no less than who is chosen",
                )
            )
    return tuple(asked)
