"""Route rules: what may be said, what is left out, and which of them decides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.playbooks.acts.plays import open_play_by_hand
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.factories import DRAFT, PlaybookFactory, PlaybookVersionFactory
from csplaybooks.playbooks.models import Play, Route
from csplaybooks.playbooks.route_rules import (
    NO_FACTS,
    RouteFacts,
    Routing,
    choose_route,
    facts_of,
    misfit,
    misfit_in_words,
)
from tests.playbooks.plays import NOW

BODY = DRAFT.format(key="seats", name="Seats", motion="seat_expansion").replace("routes:\n  - route: csm\n", "{routes}")
PROMPT = "prompt: {title: A, gain: B, action: C, link: /x}\n"


def read(*rules: dict[str, Any]) -> list[dict[str, Any]]:
    """The rules of a document as they are read."""
    text = BODY.replace("{routes}", yaml.safe_dump({"routes": list(rules)})) + PROMPT
    routes: list[dict[str, Any]] = read_document(text)["routes"]
    return routes


def faults(*rules: dict[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with the rules of a document."""
    with pytest.raises(DocumentError) as caught:
        read(*rules)
    return list(caught.value.errors)


def test_what_a_rule_leaves_out_is_filled_in() -> None:
    assert read({"route": "sales"}) == [
        {"route": "sales", "owner": "csm", "offer_to": "ae", "first_touch": "person", "claim": True}
    ]
    assert read({"route": "self_serve"}) == [
        {"route": "self_serve", "owner": "csm", "offer_to": "nobody", "first_touch": "system", "claim": True}
    ]
    # Who sells and owns it is not offered it.
    assert read({"route": "sales", "owner": "ae"})[0]["offer_to"] == "nobody"
    assert read({"route": "csm", "offer_to": "ae", "claim": False, "expires_days": 5}) == [
        {
            **{"route": "csm", "owner": "csm", "offer_to": "ae", "first_touch": "person", "claim": False},
            "expires_days": 5,
        }
    ]


@pytest.mark.parametrize(
    ("rule", "path", "said"),
    [
        ({"route": "csm", "owner": "desk"}, "routes/0/owner", "a digital desk owns plays of automated routes only"),
        ({"route": "email", "owner": "ae"}, "routes/0/owner", "account executives own plays of the routes csm and"),
        ({"route": "email", "offer_to": "ae"}, "routes/0/offer_to", "only plays of the routes csm and sales are"),
        ({"route": "sales", "owner": "ae", "offer_to": "ae"}, "routes/0/offer_to", "an account executive owns it"),
        ({"route": "csm", "owner": "me"}, "routes/0/owner", "'me' is not one of csm, ae, desk, manager"),
        ({"route": "csm", "offer_to": "csm"}, "routes/0/offer_to", "'csm' is not one of ae, nobody"),
        ({"route": "csm", "claim": "yes"}, "routes/0/claim", "yes"),
        ({"route": "csm", "expires_days": 0}, "routes/0/expires_days", "0 is less than 1"),
        ({"route": "csm", "when": {"regions": []}}, "routes/0/when/regions", ""),
        ({"route": "csm", "when": {"tags": ["a"]}}, "routes/0", "the last route is for all that is left"),
    ],
)
def test_what_cannot_be_is_refused_by_its_place(rule: dict[str, Any], path: str, said: str) -> None:
    (fault,) = faults(rule)
    assert fault[0] == path
    assert said in fault[1]


def test_bounds_the_wrong_way_round_are_refused() -> None:
    when = {"amount_at_least_minor": 500, "amount_below_minor": 500}
    assert faults({"route": "sales", "when": when}, {"route": "csm"}) == [
        ("routes/0/when", "no amount is at least the one and below the other: the bounds are the wrong way round")
    ]


WHENS = st.fixed_dictionaries(
    {},
    optional={
        "segments": st.lists(st.sampled_from(["small", "mid_market", "enterprise"]), min_size=1, unique=True),
        "regions": st.lists(st.sampled_from(["emea", "apac"]), min_size=1, unique=True),
        "tags": st.lists(st.sampled_from(["strategic", "gold"]), min_size=1, unique=True),
        "amount_at_least_minor": st.integers(0, 3),
        "amount_below_minor": st.integers(0, 3),
    },
)
FACTS = st.builds(
    RouteFacts,
    st.sampled_from(["", "small", "mid_market", "enterprise"]),
    st.sampled_from(["", "emea", "apac"]),
    st.frozensets(st.sampled_from(["strategic", "gold", "other"])),
)


@given(WHENS, FACTS, st.none() | st.integers(0, 3))
def test_a_when_fits_where_all_its_parts_do_and_says_otherwise_why_not(
    when: dict[str, Any], facts: RouteFacts, amount: int | None
) -> None:
    fits = (
        facts.segment in when.get("segments", [facts.segment])
        and facts.region in when.get("regions", [facts.region])
        and ("tags" not in when or any(tag in when["tags"] for tag in facts.tags))
        and ("amount_at_least_minor" not in when or (amount is not None and amount >= when["amount_at_least_minor"]))
        and ("amount_below_minor" not in when or (amount is not None and amount < when["amount_below_minor"]))
    )
    assert (misfit(when, facts, amount) == "") == fits
    assert (misfit_in_words(when, facts, amount) == "") == fits


@given(
    st.lists(st.tuples(WHENS.filter(bool), st.sampled_from(list(Route))), max_size=4),
    st.sampled_from(list(Route)),
    FACTS,
    st.none() | st.integers(0, 3),
    st.sampled_from(["", *Route.values]),
)
def test_the_first_rule_that_fits_decides_and_a_ceiling_lowers_it(
    ruled: list[tuple[dict[str, Any], Route]], last: Route, facts: RouteFacts, amount: int | None, ceiling: str
) -> None:
    rules: list[dict[str, Any]] = [{"when": when, "route": route.value} for when, route in ruled]
    rules.append({"route": last.value, "claim": False})
    free = choose_route(rules, facts, amount)
    assert free.rule is not None
    assert all(misfit(rule["when"], facts, amount) for rule in rules[: free.rule - 1])
    held = choose_route(rules, facts, amount, ceiling)
    if not ceiling or Route(ceiling).weight >= free.route.weight:
        assert held == free
        return
    assert (held.route, held.lowered_from) == (ceiling, free.route)
    of_route = [number for number, rule in enumerate(rules, start=1) if rule["route"] == ceiling]
    assert held.rule == (of_route[0] if of_route else None)


@pytest.mark.parametrize("route", list(Route))
def test_what_is_frozen_on_a_play_is_read_again_and_a_play_from_before_has_the_defaults(route: Route) -> None:
    rule = {"route": route.value, "claim": False, "expires_days": 3}
    for routing in (Routing.of(rule, 2), Routing.of(rule, None, Route.SALES)):
        assert Routing.of_play(Play(route=route, routing=routing.frozen())) == routing
    old = Routing.of_play(Play(route=route))
    assert (old.rule, old.owner, old.claim, old.expires_days) == (None, "csm", True, None)
    assert old.offer_to == ("ae" if route == Route.SALES else "nobody")
    assert old.first_touch == ("system" if route == Route.SELF_SERVE else "person")


@pytest.mark.django_db
def test_a_play_keeps_what_the_rule_said_when_it_opened() -> None:
    rules = [
        {
            "route": "sales",
            "when": {"tags": ["strategic"], "regions": ["emea"]},
            **{"owner": "manager", "expires_days": 7, "claim": False},
        },
        {"route": "csm"},
    ]
    draft = BODY.replace("{routes}", yaml.safe_dump({"routes": rules}))
    recipe = PlaybookVersionFactory(playbook=PlaybookFactory(key="seats", draft=draft))
    strategic = AccountFactory(facts__region="emea", facts__tags=["gold", "strategic"], facts__segment="enterprise")
    other = AccountFactory()
    assert facts_of([strategic.pk, other.pk], NOW)[strategic.pk] == RouteFacts(
        "enterprise", "emea", frozenset({"gold", "strategic"})
    )
    play, plain = (
        open_play_by_hand(account_id=each.pk, playbook_id=recipe.playbook_id, reason="They asked.", now=NOW)
        for each in (strategic, other)
    )
    assert (play.route, play.segment, play.expires_at) == ("sales", "enterprise", NOW + timedelta(days=7))
    assert play.routing == {
        "rule": 1,
        "lowered_from": None,
        **{"owner": "manager", "offer_to": "ae", "first_touch": "person", "expires_days": 7, "claim": False},
    }
    assert (plain.route, plain.expires_at) == ("csm", NOW + timedelta(days=90))
    assert plain.routing["rule"] == 2


def test_a_version_from_before_the_keys_were_there_goes_by_the_defaults() -> None:
    routing = choose_route([{"route": "sales"}], NO_FACTS, None)
    assert (routing.offer_to, routing.owner, routing.claim) == ("ae", "csm", True)
