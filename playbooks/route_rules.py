"""The route rules of a playbook document: for which accounts a play goes which way, and whose play it is then.

They are asked in order, and the first that fits decides. What it says is frozen on the play (`Play.routing`), so that
another version of the playbook changes nothing about plays that are open. Versions published before a key was there
lack it: what is left out means what `defaults_of` says, as it does in a document.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import AccountFacts, Segment
from csplaybooks.accounts.money import in_major_units
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.measures.facts import TAGS
from csplaybooks.playbooks.models import Play, Route

#: Whose play it is: the account's CSM, its AE, the digital desk, or a manager.
OWNERS = ("csm", "ae", "desk", "manager")

#: Who makes the first contact.
FIRST_TOUCHES = ("person", "system")

#: To whom a play is offered as soon as it has its owner.
OFFER_TO = ("ae", "nobody")

_MINOR = {"type": "integer", "minimum": 0, "maximum": 10**12}

#: The part of the document's JSON schema.
ROUTES_SCHEMA: Mapping[str, Any] = MappingProxyType(
    {
        "type": "array",
        "minItems": 1,
        "maxItems": 20,
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["route"],
            "properties": {
                "route": {"enum": list(Route.values)},
                "when": {
                    "type": "object",
                    "additionalProperties": False,
                    "minProperties": 1,
                    "properties": {
                        "segments": {
                            "type": "array",
                            "items": {"enum": list(Segment.values)},
                            "minItems": 1,
                            "uniqueItems": True,
                        },
                        "regions": {
                            "type": "array",
                            "items": {"type": "string", "minLength": 1},
                            "minItems": 1,
                            "maxItems": 50,
                            "uniqueItems": True,
                        },
                        "tags": dict(TAGS),
                        "amount_at_least_minor": _MINOR,
                        "amount_below_minor": _MINOR,
                    },
                },
                "owner": {"enum": list(OWNERS)},
                "offer_to": {"enum": list(OFFER_TO)},
                "first_touch": {"enum": list(FIRST_TOUCHES)},
                "expires_days": {"type": "integer", "minimum": 1, "maximum": 730},
                "claim": {"type": "boolean"},
            },
        },
    }
)


def defaults_of(rule: Mapping[str, Any]) -> dict[str, Any]:
    """What a rule says where it leaves something out; `expires_days` is the document's then.

    A play for sales begins with the CSM, and is offered to the AE at once. What takes nobody's time is not offered.
    """
    route = Route(rule["route"])
    sells_for_another = route == Route.SALES and rule.get("owner", "csm") != "ae"
    return {
        "owner": "csm",
        "offer_to": "ae" if sells_for_another else "nobody",
        "first_touch": "system" if route == Route.SELF_SERVE else "person",
        "claim": True,
    }


def fill_in_routes(rules: Iterable[dict[str, Any]]) -> None:
    """Write what rules leave out into them."""
    for rule in rules:
        for name, value in defaults_of(rule).items():
            rule.setdefault(name, value)


def route_errors(rules: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """What the schema cannot say: the path of each rule at fault, and what is wrong with it."""
    for index, rule in enumerate(rules):
        path = f"routes/{index}"
        last = index == len(rules) - 1
        when = rule.get("when", {})
        if last and when:
            yield path, "the last route is for all that is left, and takes no `when`"
        if not last and not when:
            yield path, "a route without `when` takes everything: those after it are never reached"
        least, below = when.get("amount_at_least_minor"), when.get("amount_below_minor")
        if least is not None and below is not None and least >= below:
            yield (
                f"{path}/when",
                "no amount is at least the one and below the other: the bounds are the wrong way round",
            )
        yield from _owner_errors(path, rule)


def _owner_errors(path: str, rule: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    takes_time = Route(rule["route"]).counts_toward_load
    owner = rule.get("owner", "csm")
    if owner == "desk" and takes_time:
        yield f"{path}/owner", "a digital desk owns plays of automated routes only: self_serve and email"
    if owner == "ae" and not takes_time:
        yield f"{path}/owner", "account executives own plays of the routes csm and sales only"
    if rule.get("offer_to") == "ae":
        if not takes_time:
            yield f"{path}/offer_to", "only plays of the routes csm and sales are offered"
        elif owner == "ae":
            yield f"{path}/offer_to", "an account executive owns it already: leave out `owner`, or say `nobody` here"


@dataclass(frozen=True)
class RouteFacts:
    """What is true of an account at a moment, as far as route rules ask; unknown facts are empty."""

    segment: str = ""
    region: str = ""
    tags: frozenset[str] = frozenset()


#: Of an account of which nothing is known.
NO_FACTS = RouteFacts()


def facts_of(accounts: Collection[int], at: Any) -> dict[int, RouteFacts]:
    """What was true of accounts at a moment; who has no facts is left out. One query."""
    rows = AccountFacts.objects.holding_at(at).filter(account__in=Ids(sorted(accounts))).order_by()
    return {
        account_id: RouteFacts(segment, region, frozenset(tags) if isinstance(tags, list) else frozenset())
        for account_id, segment, region, tags in rows.values_list("account", "segment", "region", "tags")
    }


@dataclass(frozen=True)
class Routing:
    """How a play is worked, as the rules of its playbook decided when it opened.

    `rule` counts from 1; None where no rule has the route to which a ceiling lowered it, so that the defaults hold.
    `lowered_from` is the route that the rules chose, where a ceiling lowered it. `expires_days` is None where the rule
    leaves it to the document.
    """

    route: Route
    rule: int | None = None
    lowered_from: Route | None = None
    owner: str = "csm"
    offer_to: str = "nobody"
    first_touch: str = "person"
    expires_days: int | None = None
    claim: bool = True

    @classmethod
    def of(cls, rule: Mapping[str, Any], number: int | None, lowered_from: Route | None = None) -> Routing:
        """What a rule says, with what it leaves out."""
        said = {**defaults_of(rule), **{name: rule[name] for name in _FROZEN if name in rule}}
        return cls(Route(rule["route"]), number, lowered_from, **said)

    @classmethod
    def of_play(cls, play: Play) -> Routing:
        """What was frozen on a play; of one that was opened before there were rules the defaults of its route."""
        return cls.read(play.route, play.routing)

    @classmethod
    def read(cls, route: str, frozen: Mapping[str, Any]) -> Routing:
        """What the columns `route` and `routing` of a play say."""
        lowered = frozen.get("lowered_from")
        rule = {"route": route, **{name: frozen[name] for name in _FROZEN if name in frozen}}
        return cls.of(rule, frozen.get("rule"), Route(lowered) if lowered else None)

    def frozen(self) -> dict[str, Any]:
        """What is kept on a play."""
        return {
            "rule": self.rule,
            "lowered_from": self.lowered_from.value if self.lowered_from is not None else None,
            **{name: getattr(self, name) for name in _FROZEN},
        }


#: What a rule says beside its route.
_FROZEN = ("owner", "offer_to", "first_touch", "expires_days", "claim")


def choose_route(
    rules: Sequence[Mapping[str, Any]], facts: RouteFacts, amount_minor: int | None, ceiling: str = ""
) -> Routing:
    """What the first rule says whose `when` fits; lowered to the ceiling if there is one.

    An unknown amount fits no bound. A lowered play goes by the first rule with its route, or else by the defaults.
    """
    number, rule = next(
        (number, rule)
        for number, rule in enumerate(rules, start=1)
        if "when" not in rule or not misfit(rule["when"], facts, amount_minor)
    )
    chosen = Route(rule["route"])
    if not ceiling or Route(ceiling).weight >= chosen.weight:
        return Routing.of(rule, number)
    lowered = Route(ceiling)
    for place, other in enumerate(rules, start=1):
        if other["route"] == lowered:
            return Routing.of(other, place, chosen)
    return Routing.of({"route": lowered.value}, None, chosen)


def misfit(when: Mapping[str, Any], facts: RouteFacts, amount_minor: int | None) -> str:
    """The first part of a `when` that does not fit, by its name in the document; empty where all of it does."""
    if "segments" in when and facts.segment not in when["segments"]:
        return "segments"
    if "regions" in when and facts.region not in when["regions"]:
        return "regions"
    if "tags" in when and facts.tags.isdisjoint(when["tags"]):
        return "tags"
    least, below = when.get("amount_at_least_minor"), when.get("amount_below_minor")
    if least is not None and (amount_minor is None or amount_minor < least):
        return "amount_at_least_minor"
    if below is not None and (amount_minor is None or amount_minor >= below):
        return "amount_below_minor"
    return ""


def misfit_in_words(when: Mapping[str, Any], facts: RouteFacts, amount_minor: int | None) -> str:
    """Why a `when` does not fit, in words; empty where it does."""
    name = misfit(when, facts, amount_minor)
    if not name:
        return ""
    if name == "segments":
        return f"the segment is {segment_in_words(facts.segment)}, asked for {_list(map(segment_in_words, when[name]))}"
    if name == "regions":
        return f"the region is {facts.region or 'unknown'}, asked for {_list(when[name])}"
    if name == "tags":
        return f"the tags are {_list(sorted(facts.tags)) or 'none'}, asked for any of {_list(when[name])}"
    if amount_minor is None:
        return "the amount is unknown, which fits no bound"
    asked = "at least" if name == "amount_at_least_minor" else "below"
    return f"the amount is {_money(amount_minor)}, asked for {asked} {_money(when[name])}"


def segment_in_words(segment: str) -> str:
    """A segment as people read it; `unknown` where none is known."""
    return Segment(segment).label if segment else "unknown"


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)


def _money(minor: int) -> str:
    currency = csplaybooks_settings.CURRENCY
    return f"{in_major_units(minor, currency):,f} {currency}"
