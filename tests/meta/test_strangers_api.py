"""Callers before every door of the API who see nothing there: strangers, tokens of other accounts, nobody at all.

As before the doors of the admin, all texts say one word that they must not read, and nothing may change. An endpoint
that nobody tries here fails the first test: add to `ENDPOINTS` how it is tried, or to `EXEMPT` why not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from csplaybooks.accounts.factories import AccountFactory, ApiTokenFactory
from csplaybooks.accounts.models import Account, ApiToken
from csplaybooks.api.permissions import permission_name
from csplaybooks.playbooks.api_acts import ACT_VIEWS
from csplaybooks.playbooks.models import Play, PlayStep, Route, Trigger
from csplaybooks.signals.models import Meter, Reading, Signal, SignalType
from tests.meta.canary import CANARY, World, sings, snapshot
from tests.meta.doors import Door, doors

pytestmark = pytest.mark.django_db

#: Doors before which no stranger is put, with the reason.
EXEMPT = {
    "csplaybooks:api:index get": "names the endpoints to whoever is signed in; it reads no row",
    "csplaybooks:api:not-found": "answers without asking who calls; it reads no row",
    "csplaybooks:health-live get": "answers without asking the database anything",
}

SINCE = {"updated_since": "2000-01-01T00:00:00Z"}

#: A period in which the rows of the world have time.
REPORTED = {"since": "2024-12-30T00:00:00Z", "until": "2025-12-01T00:00:00Z"}

Trial = Callable[[World, Client, Any], Iterator[str]]


def _list_of(name: str, *queries: dict[str, str]) -> Trial:
    def through(world: World, stranger: Client, boss: Any) -> Iterator[str]:
        address = reverse(f"csplaybooks:api:{name}-list")
        for query in ({}, *queries):
            response = stranger.get(address, query)
            if response.status_code != 200 or response.json()["results"] or sings(response):
                yield f"{query}: {response.status_code}"
        if not boss.get(address).json()["results"]:
            yield "shows nothing to anybody"

    return through


def _row_of(name: str, model: Any) -> Trial:
    def through(world: World, stranger: Client, boss: Any) -> Iterator[str]:
        address = reverse(f"csplaybooks:api:{name}-detail", args=[world[model].pk])
        response = stranger.get(address)
        if response.status_code != 404 or sings(response):
            yield str(response.status_code)
        if boss.get(address).status_code != 200:
            yield "opens to nobody"

    return through


def _intake_of(name: str, model: Any) -> Trial:
    def through(world: World, stranger: Client, boss: Any) -> Iterator[str]:
        identity = world[Account].identities.get()
        there = world[model]
        item = {
            "source": there.source.key,
            "external_id": there.external_id,
            "account": identity.external_id,
            "account_source": identity.source,
            "occurred_at": timezone.now().isoformat(),
        }
        item |= {"type": world[SignalType].key} if model is Signal else {"meter": world[Meter].key, "used": 1}
        # That there is such an account, and such an event, is not told: it is refused like one that is not there.
        unknown = item | {"external_id": "new", "account": "nobody"}
        before = model.objects.count()
        answers = []
        for sent in (item, unknown):
            response = stranger.post(reverse(f"csplaybooks:api:{name}"), sent, content_type="application/json")
            [told] = response.json()["results"]
            answers.append((told["status"], told.get("code"), told.get("field")))
        if answers != [("refused", "unknown_account", "account")] * 2 or model.objects.count() != before:
            yield str(answers)
        response = boss.post(
            reverse(f"csplaybooks:api:{name}"), item | {"external_id": "new"}, content_type="application/json"
        )
        if response.json()["stored"] != 1:
            yield f"stores nothing for anybody: {response.json()}"

    return through


def through_readiness(world: World, stranger: Client, boss: Any) -> Iterator[str]:
    yield from _told_of_an_account("readiness", world, stranger, boss)


def through_prompts(world: World, stranger: Client, boss: Any) -> Iterator[str]:
    Play.objects.filter(pk=world[Play].pk).update(route=Route.SELF_SERVE)
    recipe = world[Play].recipe
    recipe.document["prompt"] = {**dict.fromkeys(("title", "gain", "action", "link"), CANARY), "dismissible": True}
    recipe.save(update_fields=["document"])
    identity = world[Play].account.identities.get()
    address = reverse("csplaybooks:api:prompts")
    there = {"account": identity.external_id, "account_source": identity.source}
    answers = []
    for asked in (there, there | {"account": "nobody"}):
        response = stranger.get(address, asked)
        # What was asked is said back; nothing else may tell that there is such an account.
        text = response.content.decode().replace(asked["account"], "?").replace(asked["account_source"], "?")
        answers.append((response.status_code, text))
    if answers[0] != answers[1] or answers[0][0] != 404:
        yield str(answers)
    if len(boss.get(address, there).json()["results"]) != 1:
        yield "prompts nobody"


def through_opening(world: World, stranger: Client, boss: Any) -> Iterator[str]:
    """A play is opened by hand for what one sees: of what one does not see nothing is told."""
    identity = world[Account].identities.get()
    play = world[Play]
    there = {
        "account": identity.external_id,
        "account_source": identity.source,
        "playbook": play.playbook.key,
        "reason": "Mine",
    }
    before = Play.objects.count()
    answers = []
    for sent in (there, there | {"account": "nobody"}):
        response = stranger.post(reverse("csplaybooks:api:plays-list"), sent, content_type="application/json")
        answers.append((response.status_code, response.json()["code"]))
    if answers != [(404, "unknown_account")] * 2 or Play.objects.count() != before:
        yield str(answers)
    response = boss.post(reverse("csplaybooks:api:plays-list"), there, content_type="application/json")
    if response.status_code != 201:
        yield f"opens to nobody: {response.json()}"


def _act_of(verb: str) -> Trial:
    def through(world: World, stranger: Client, boss: Any) -> Iterator[str]:
        address = reverse(f"csplaybooks:api:plays-{verb}", args=[world[Play].pk])
        nothing = reverse(f"csplaybooks:api:plays-{verb}", args=[0])
        before = snapshot()
        answers = [stranger.post(at, {}, content_type="application/json") for at in (address, nothing)]
        # What is missing in the body is told to those alone who see the play.
        if {response.status_code for response in answers} != {404} or answers[0].json() != answers[1].json():
            yield str([response.status_code for response in answers])
        if snapshot() != before:
            yield "changes rows"
        if boss.post(address, {}, content_type="application/json").status_code == 404:
            yield "opens to nobody"

    return through


def through_trigger_verdicts(world: World, stranger: Client, boss: Any) -> Iterator[str]:
    address = reverse("csplaybooks:api:trigger-verdicts", args=[world[Trigger].pk])
    response = stranger.get(address)
    # Whoever may look at triggers is told of the accounts that they look after: none, or the one of the token.
    if response.status_code == 200 and response.json()["population"] > 1:
        yield str(response.json())
    if response.status_code not in (200, 404) or any(sings(response, word) for word in names_of(world)):
        yield str(response.status_code)


def through_trigger_accounts(world: World, stranger: Client, boss: Any) -> Iterator[str]:
    address = reverse("csplaybooks:api:trigger-accounts", args=[world[Trigger].pk])
    for verdict in ("outside", "failed:0:0", "queued", "held:gone"):
        response = stranger.get(address, {"verdict": verdict})
        if response.status_code not in (200, 404) or any(sings(response, word) for word in names_of(world)):
            yield f"{verdict}: {response.status_code}"


def names_of(world: World) -> list[str]:
    """What the accounts of the world are called."""
    return [account.name.lower() for account in Account.objects.exclude(name="Elsewhere")]


def through_verdicts(world: World, stranger: Client, boss: Any) -> Iterator[str]:
    yield from _told_of_an_account("verdicts", world, stranger, boss)


def through_routing(world: World, stranger: Client, boss: Any) -> Iterator[str]:
    yield from _told_of_an_account("routing", world, stranger, boss)


def _told_of_an_account(name: str, world: World, stranger: Client, boss: Any) -> Iterator[str]:
    address = reverse(f"csplaybooks:api:{name}")
    identity = world[Account].identities.get()
    asked = {"account": identity.external_id, "account_source": identity.source}
    # That there is such an account is not told: it is answered like one that is not there.
    answers = [stranger.get(address, query) for query in (asked, {"account": "nobody"})]
    if [response.status_code for response in answers] != [404, 404] or any(sings(answer) for answer in answers[1:]):
        yield str([response.status_code for response in answers])
    if [response.json()["code"] for response in answers] != ["unknown_account"] * 2:
        yield str([response.json() for response in answers])
    if boss.get(address, asked).status_code != 200:
        yield f"opens to nobody: {boss.get(address, asked).json()}"


def through_whose_time(world: World, stranger: Client, boss: Any) -> Iterator[str]:
    address = reverse("csplaybooks:api:whose-time")
    for by in ("holder", "owner", "team", "play", "week"):
        response = stranger.get(address, {**REPORTED, "by": by})
        if response.status_code != 200 or response.json()["seconds"] or sings(response):
            yield f"{by}: {response.status_code}"
        if not boss.get(address, {**REPORTED, "by": by}).json()["seconds"]:
            yield f"{by}: tells nobody"


def through_handoffs_report(world: World, stranger: Client, boss: Any) -> Iterator[str]:
    address = reverse("csplaybooks:api:handoffs-report")
    response = stranger.get(address, REPORTED)
    if response.status_code != 200 or response.json()["total"]["offered"] or sings(response):
        yield str(response.status_code)
    if not boss.get(address, REPORTED).json()["total"]["offered"]:
        yield "tells nobody"


def through_play_intervals(world: World, stranger: Client, boss: Any) -> Iterator[str]:
    address = reverse("csplaybooks:api:play-intervals", args=[world[Play].pk])
    response = stranger.get(address)
    if response.status_code != 404 or sings(response):
        yield str(response.status_code)
    if not boss.get(address).json()["results"]:
        yield "tells nobody"


def through_play_steps(world: World, stranger: Client, boss: Any) -> Iterator[str]:
    address = reverse("csplaybooks:api:play-steps", args=[world[PlayStep].play_id])
    response = stranger.get(address)
    if response.status_code != 404 or sings(response):
        yield str(response.status_code)
    if not boss.get(address).json()["results"]:
        yield "tells nobody"


def through_health(world: World, stranger: Client, boss: Any) -> Iterator[str]:
    address = reverse("csplaybooks:health-ready")
    # A token without the scope is told so; a person is told the status, and nothing else.
    response = stranger.get(address)
    if response.status_code != 403 and set(response.json()) != {"status"}:
        yield f"tells {set(response.json())}"
    if sings(response):
        yield "tells of rows"
    if set(boss.get(address).json()) <= {"status"}:
        yield "tells nobody more than the status"


#: Doors that answer whoever calls, with the reason.
OPEN = {
    "csplaybooks:health-live": "load balancers and supervisors call without a token",
    "csplaybooks:health-ready": "load balancers and supervisors call without a token, and are told the status only",
}

#: How each endpoint is tried, by name and method: the faults it finds, none when all is well.
ENDPOINTS: dict[str, Trial] = {
    "csplaybooks:api:accounts-list get": _list_of("accounts", SINCE),
    "csplaybooks:api:accounts-detail get": _row_of("accounts", Account),
    "csplaybooks:api:plays-list get": _list_of("plays", SINCE),
    "csplaybooks:api:plays-detail get": _row_of("plays", Play),
    "csplaybooks:api:plays-list post": through_opening,
    **{f"csplaybooks:api:plays-{verb} post": _act_of(verb) for verb in ACT_VIEWS},
    "csplaybooks:api:play-intervals get": through_play_intervals,
    "csplaybooks:api:play-steps get": through_play_steps,
    "csplaybooks:api:whose-time get": through_whose_time,
    "csplaybooks:api:handoffs-report get": through_handoffs_report,
    "csplaybooks:api:prompts get": through_prompts,
    "csplaybooks:api:signals post": _intake_of("signals", Signal),
    "csplaybooks:api:readings post": _intake_of("readings", Reading),
    "csplaybooks:api:readiness get": through_readiness,
    "csplaybooks:api:triggers-list get": _list_of("triggers"),
    "csplaybooks:api:triggers-detail get": _row_of("triggers", Trigger),
    "csplaybooks:api:trigger-verdicts get": through_trigger_verdicts,
    "csplaybooks:api:trigger-accounts get": through_trigger_accounts,
    "csplaybooks:api:verdicts get": through_verdicts,
    "csplaybooks:api:routing get": through_routing,
    "csplaybooks:health-ready get": through_health,
}


def of_the_api() -> list[Door]:
    """Every door that a host site includes."""
    return [door for door in doors() if door.name.startswith("csplaybooks:")]


def named(door: Door) -> list[str]:
    """A door's name with each method that it takes."""
    return [f"{door.name} {method}" for method in door.methods] or [door.name]


def test_a_stranger_is_put_before_every_endpoint():
    there = {name for door in of_the_api() for name in named(door)}
    assert there - ENDPOINTS.keys() - EXEMPT.keys() == set(), (
        "Nobody tried these endpoints as a stranger: add to ENDPOINTS how, or to EXEMPT why not."
    )
    assert (ENDPOINTS.keys() | EXEMPT.keys()) - there == set()
    assert not ENDPOINTS.keys() & EXEMPT.keys()
    assert all(EXEMPT.values())


@pytest.fixture
def elsewhere(world) -> Any:
    """The browser of an integration whose token is limited to an account made after all the others."""
    token = ApiTokenFactory(account_ids=[AccountFactory(name="Elsewhere").pk])
    client = Client(headers={"authorization": f"Token {token.value}"})
    # What it may see is there, so that an empty list is no matter of course.
    [seen] = client.get(reverse("csplaybooks:api:accounts-list")).json()["results"]
    assert seen["name"] == "Elsewhere"
    return client


@pytest.mark.parametrize("name", ENDPOINTS)
def test_endpoints_tell_a_stranger_nothing(name, world, stranger, boss):
    assert list(ENDPOINTS[name](world, stranger, boss)) == []


#: What hangs on no account: a token of one account may read it.
CATALOGUE = {"csplaybooks:api:triggers-detail get"}


@pytest.mark.parametrize(
    "name", [name for name in ENDPOINTS if not name.endswith("-list get") and name not in CATALOGUE]
)
def test_endpoints_tell_a_token_nothing_of_other_accounts(name, world, elsewhere, boss):
    assert list(ENDPOINTS[name](world, elsewhere, boss)) == []


@pytest.mark.parametrize("name", ["accounts", "plays"])
def test_lists_tell_a_token_nothing_of_other_accounts(name, world, elsewhere):
    for query in ({}, {"updated_since": "2000-01-01T00:00:00Z"}):
        assert CANARY not in elsewhere.get(reverse(f"csplaybooks:api:{name}-list"), query).content.decode().lower()


def test_nobody_gets_further_than_401(world, client):
    before = snapshot()
    for door in of_the_api():
        args = [world[Account].pk] if re.search("<(int:)?pk>", door.route) else []
        for method in door.methods:
            response = getattr(client, method)(reverse(door.name, args=args), content_type="application/json")
            assert (response.status_code == 401) == (door.name not in OPEN), door
            assert door.name not in OPEN or set(response.json()) == {"status"}, door
            assert not sings(response), door
    assert snapshot() == before


def test_a_scope_asks_of_its_maker_what_its_endpoints_ask_of_people():
    # The findings of the doctor are told to people who see everything.
    asked = {"health:read": {"csplaybooks_accounts.view_everything"}}
    for door in of_the_api():
        view = door.view
        scope = getattr(view, "scope", None)
        if scope is None:
            continue
        model = getattr(view, "permission_model", None) or view.queryset.model
        for method in door.methods:
            reading = method == "get"
            verb = {"get": "view", "post": "change" if "pk>" in door.route else "add"}.get(method, "change")
            verb = (not reading and getattr(view, "permission_verb", None)) or verb
            asked.setdefault(f"{scope}:{'read' if reading else 'write'}", set()).add(permission_name(model, verb))
    assert asked == {scope: set(permissions) for scope, permissions in ApiToken.PERMISSIONS.items()}
    assert set(ApiToken.PERMISSIONS) == set(ApiToken.SCOPES)
