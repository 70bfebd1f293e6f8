"""Measures over what is true of an account and what it holds, and the tags of an audience."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import (
    START,
    AccountFactory,
    AccountFactsFactory,
    ChangeFactory,
    EntitlementFactory,
    PlanFactory,
    ProductFactory,
)
from csplaybooks.accounts.models import Account, AccountFacts
from csplaybooks.playbooks import compiled
from csplaybooks.playbooks.acts.recipes import check_names
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.factories import DRAFT, RunFactory
from csplaybooks.playbooks.measures import get_measure
from csplaybooks.signals.factories import MeterFactory
from tests.playbooks.asking import DAY, MOMENT, NOW, holding, refused, said

HEADS = {"measure": "head_count"}
SMALL = {"measure": "segment", "segments": ["small", "mid_market"]}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def others() -> None:
    """Accounts of which nothing, little and much is known."""
    AccountFactory(facts=None)
    AccountFactory(facts__head_count=None, facts__segment="")
    AccountFactory(facts__head_count=10**9, facts__tags=["vip", "beta"])


def account(**facts: Any) -> Account:
    """An account with these facts from `START` on."""
    row: Account = AccountFactory(**{f"facts__{name}": value for name, value in facts.items()})
    return row


def told(run: int) -> Any:
    """A change that this run took note of."""
    return ChangeFactory(seen_by_run=run)


def retell(row: Account, at: Any, run: int, **facts: Any) -> None:
    """As the act does: the row that holds is superseded, by itself until `at` and by other facts from then on."""
    old = AccountFacts.objects.current().get(account=row)
    change = ChangeFactory(seen_by_run=run, account=row)
    AccountFacts.objects.filter(pk=old.pk).update(superseded_by=change)
    before = {name: getattr(old, name) for name in AccountFacts.FACTS}
    AccountFactsFactory(account=row, change=change, valid_from=old.valid_from, valid_to=at, **before)
    AccountFactsFactory(account=row, change=change, valid_from=at, **{**before, **facts})


# Head-count


@pytest.mark.parametrize("count", [0, 1, 200, 10**9 - 1])
def test_head_count_exactly_at_the_threshold_and_beside_it(count):
    acme = account(head_count=count)
    assert holding(acme, HEADS, count) == {"at_least", "at_most"}
    assert holding(acme, HEADS, count + 1) == {"at_most", "below"}
    if count:
        assert holding(acme, HEADS, count - 1) == {"at_least", "above"}


def test_head_count_unknown_fails_and_says_so():
    assert holding(account(head_count=None), HEADS, 0) == set()
    assert holding(AccountFactory(facts=None), HEADS, 0) == set()
    assert said(account(head_count=3), {**HEADS, "below": 5}) == "head count 3, needed below 5"
    assert get_measure("head_count").words({"above": 5}, {"head_count": None}) == "head count unknown, needed above 5"


def test_facts_are_those_of_the_moment_and_of_the_mark():
    RunFactory.create_batch(3)
    acme = account(head_count=10, segment="small", tags=["vip"], change=told(1))
    retell(acme, NOW - 10 * DAY, 2, head_count=20, segment="enterprise", tags=["gold"])
    retell(acme, NOW - 10 * DAY + MOMENT, 3, head_count=30)
    condition = {**HEADS, "above": 0}
    heads = [said(acme, condition, mark=mark) for mark in (1, 2, 3, None)]
    assert heads == [f"head count {count}, needed above 0" for count in (10, 20, 30, 30)]
    before, then, after = NOW - 10 * DAY - MOMENT, NOW - 10 * DAY, NOW - 10 * DAY + MOMENT
    heads = [said(acme, condition, at=at) for at in (before, then, after)]
    assert heads == [f"head count {count}, needed above 0" for count in (10, 20, 30)]
    assert [said(acme, SMALL, at=at) is not None for at in (before, then)] == [True, False]
    vip = {"measure": "tagged", "tags": ["vip"]}
    assert [said(acme, vip, at=at) is not None for at in (before, then)] == [True, False]
    assert [said(acme, vip, mark=mark) is not None for mark in (1, 2)] == [True, False]
    # Before anything was known of it, and told to nobody.
    assert said(acme, condition, at=START) is not None
    assert said(acme, condition, at=START - MOMENT) is None
    assert said(account(head_count=10, change=ChangeFactory()), condition, mark=3) is None


# Segment


def test_segment():
    assert said(account(segment="small"), SMALL) == "segment small business, needed small business or mid-market"
    assert said(account(segment="enterprise"), SMALL) is None
    assert said(account(segment=""), SMALL) is None
    assert said(AccountFactory(facts=None), SMALL) is None
    assert get_measure("segment").words(SMALL, {"segment": None}) == (
        "segment unknown, needed small business or mid-market"
    )
    assert get_measure("segment").words(SMALL, {"segment": ""}).startswith("segment unknown")


# Tags

#: Tags that mean something to some language on the way.
ODD = [
    'say "so"',
    "it's",
    "50 %",
    "%s",
    "a\\b",
    "[0]",
    "0",
    "true",
    "null",
    "é",
    "😀",
    "a,b",
    "$.x",
    " ",
    "\t",
    "x" * 200,
]


@pytest.mark.parametrize("tag", ODD)
def test_any_text_is_a_tag_and_only_that_one(tag):
    acme = account(tags=["first", tag])
    almost = account(tags=[tag + "x", tag[:-1], tag * 2, "other"])
    condition = {"measure": "tagged", "tags": ["no such", tag]}
    assert said(acme, condition) == f"tagged {tag}, needed no such or {tag}"
    assert said(almost, condition) is None
    audience = {"tags": [tag]}
    everybody = {"measure": "plan_held", "plans": ["no such"], "held": False}
    assert said(acme, everybody, audience=audience) is not None
    assert said(almost, everybody, audience=audience) is None


def test_tags_are_told_apart_by_letter_and_kind():
    condition = {"measure": "tagged", "tags": ["vip", "1", "gold"]}
    for tags in ([], ["VIP"], [1], [["vip"]], {"vip": "vip"}, "vip", 1, [None], [True]):
        assert said(account(tags=tags), condition) is None
    assert said(account(tags=["gold", 1, "vip"]), condition) == "tagged vip, gold, needed vip or 1 or gold"
    assert said(AccountFactory(facts=None), condition) is None
    assert get_measure("tagged").words(condition, {"tags": None}) == "no tags, needed vip or 1 or gold"


def test_tags_of_an_audience_stand_beside_its_other_facts():
    acme = account(tags=["vip"], segment="small", region="emea")
    everybody = {"measure": "plan_held", "plans": ["no such"], "held": False}
    for audience, meets in (
        ({"tags": ["vip"]}, True),
        ({"tags": ["gold", "vip"]}, True),
        ({"tags": ["gold"]}, False),
        ({"tags": ["vip"], "segments": ["small"]}, True),
        ({"tags": ["vip"], "segments": ["enterprise"]}, False),
        ({"tags": ["gold"], "regions": ["emea"]}, False),
    ):
        assert (said(acme, everybody, audience=audience) is not None) is meets, audience
    assert said(acme, everybody, audience={"tags": ["vip"]}, at=START - MOMENT) is None


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ("[]", "is empty"),
        ("vip", "is not a list"),
        ("[1]", "is not text"),
        ("[vip, vip]", "twice"),
        ("['']", "is empty"),
    ],
)
def test_tags_of_an_audience_are_a_list_of_words(tags, problem):
    text = DRAFT.format(key="k", name="K", motion="add_on")
    assert read_document(text + "audience: {tags: [vip]}\n")["audience"] == {"tags": ["vip"]}
    with pytest.raises(DocumentError) as caught:
        read_document(text + f"audience: {{tags: {tags}}}\n")
    ((path, message),) = caught.value.errors
    assert path.startswith("audience/tags")
    assert problem in message


# Plans and products


@pytest.mark.parametrize("thing", ["plan", "product"])
def test_what_is_held_and_what_is_not(thing):
    factory = {"plan": PlanFactory, "product": ProductFactory}[thing]
    things = {name: factory(key=name, name=name.capitalize()) for name in ("team", "business", "growth")}
    holds = account()
    for name in ("team", "business"):
        EntitlementFactory(account=holds, **({"plan": None} if thing == "product" else {}), **{thing: things[name]})
    nothing = account()
    unknown = AccountFactory(facts=None)

    def asked(row: Account, *keys: str, **more: Any) -> str | None:
        return said(row, {"measure": f"{thing}_held", f"{thing}s": list(keys), **more})

    assert asked(holds, "growth", "team") == "holds Team, needed growth or team"
    assert asked(holds, "team", "business", held=True) == "holds Business, needed team or business"
    assert asked(holds, "growth") is None
    assert asked(holds, "growth", held=False) == "holds none of these, needed none of growth"
    assert asked(holds, "growth", "team", held=False) is None
    assert asked(holds, "no such") is None
    for row in (nothing, unknown):
        assert asked(row, "team") is None
        assert asked(row, "team", "growth", held=False) == "holds none of these, needed none of team, growth"
    words = get_measure(f"{thing}_held").words
    assert words({f"{thing}s": ["team"]}, {"holds": None}) == "holds none of these, needed team"
    assert words({f"{thing}s": ["team"], "held": False}, {"holds": "Team"}) == "holds Team, needed none of team"


def test_holdings_are_those_of_the_moment_and_of_the_mark():
    RunFactory.create_batch(2)
    acme = account()
    plan = PlanFactory(key="team")
    began, ended = NOW - 20 * DAY, NOW - 10 * DAY
    EntitlementFactory(account=acme, plan=plan, valid_from=began, valid_to=ended, change=told(2))
    for key, condition in (
        ("plan", {"measure": "plan_held", "plans": ["team"]}),
        ("product", {"measure": "product_held", "products": ["platform"]}),
    ):
        assert plan.product.key == "platform"
        for at, holds in ((began - MOMENT, False), (began, True), (ended - MOMENT, True), (ended, False)):
            assert (said(acme, condition, at=at) is not None) is holds, (key, at)
            assert (said(acme, {**condition, "held": False}, at=at) is None) is holds, (key, at)
        for mark, holds in ((1, False), (2, True), (None, True)):
            assert (said(acme, condition, at=began, mark=mark) is not None) is holds, (key, mark)
            assert (said(acme, {**condition, "held": False}, at=began, mark=mark) is None) is holds, (key, mark)


def test_plans_and_products_of_conditions_must_be_there():
    MeterFactory(key="seats")
    PlanFactory(key="team")
    text = DRAFT.format(key="k", name="K", motion="add_on").replace(
        "{measure: share_of_limit, meters: [seats], above: 80}",
        "{measure: plan_held, plans: [team, nowhere]}\n"
        "          - {measure: product_held, products: [platform, void]}\n"
        "          - {measure: open_gap}",
    )
    with pytest.raises(DocumentError) as caught:
        check_names(read_document(text))
    assert caught.value.errors == [
        ("triggers/0/any/0/all/1/products", "there is no product void"),
        ("triggers/0/any/0/all/0/plans", "there is no plan nowhere"),
    ]


# All of them


def test_all_are_asked_by_kept_queries():
    acme = account(head_count=5, segment="small", tags=["vip"])
    conditions: list[dict[str, Any]] = [
        {**HEADS, "above": 1},
        SMALL,
        {"measure": "tagged", "tags": ["vip"]},
        {"measure": "plan_held", "plans": ["team"]},
        {"measure": "product_held", "products": ["platform"], "held": False},
    ]
    compiled._kept.clear()
    for condition in conditions:
        for ago in (timedelta(), DAY, NOW - START + MOMENT):
            said(acme, condition, at=NOW - ago)
    # For all accounts and for one.
    assert len(compiled._kept) == len(conditions) * 2
    assert all(compiled._kept.values())


@pytest.mark.parametrize(
    ("condition", "path", "problem"),
    [
        ("measure: head_count", "", "exactly one of at_least, above, at_most, below is needed"),
        ("measure: head_count, above: -1", "above", "-1 is less than 0"),
        ("measure: head_count, below: 0", "below", "0 is less than 1"),
        ("measure: head_count, above: 1.5", "above", "1.5 is not a whole number"),
        ("measure: head_count, above: many", "above", "'many' is not a whole number"),
        ("measure: segment", "", "segments is missing"),
        ("measure: segment, segments: [tiny]", "segments/0", "'tiny' is not one of small, mid_market, enterprise"),
        ("measure: segment, segments: [small], above: 3", "", "above is unknown here"),
        ("measure: tagged, tags: []", "tags", "is empty"),
        ("measure: tagged, tags: [vip, vip]", "tags", "the same entry stands twice"),
        ("measure: plan_held", "", "plans is missing"),
        ("measure: plan_held, plans: [team], held: maybe", "held", "'maybe' is not true or false"),
        ("measure: product_held, products: platform", "products", "'platform' is not a list"),
        ("measure: product_held, plans: [team], products: [platform]", "", "plans is unknown here"),
    ],
)
def test_a_condition_that_cannot_be_is_refused_where_it_is_wrong(condition, path, problem):
    where, what = refused(condition)
    assert where == path
    assert problem in what
