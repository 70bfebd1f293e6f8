"""The dry run: it says what the worker would do, why, and writes nothing."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import (
    AbsenceFactory,
    AccountFactory,
    AccountIdentityFactory,
    ApiTokenFactory,
    TeamMemberFactory,
)
from csplaybooks.accounts.models import Account, TeamMember
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays
from csplaybooks.playbooks.acts.plays import assign_plays, close_plays, open_play_by_hand
from csplaybooks.playbooks.factories import DRAFT, CalendarFactory, PlaybookFactory, PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.models import Handoff, Play, Playbook, PlaybookVersion, Route
from csplaybooks.playbooks.pipeline.owners import assign_owners
from csplaybooks.playbooks.routing import compare, dry_run, dry_runs, recipes_of
from tests.playbooks.plays import NOW, done, owned

pytestmark = pytest.mark.django_db

URL = "/api/v1/routing/"

RULES = [
    {"route": "sales", "when": {"segments": ["enterprise"], "tags": ["strategic"]}},
    {"route": "email", "when": {"segments": ["small"]}},
    {"route": "csm"},
]


@pytest.fixture
def recipe(db: None) -> PlaybookVersion:
    """A playbook with three rules."""
    CalendarFactory()
    draft = DRAFT.format(key="seats", name="Seats", motion="seat_expansion")
    draft = draft.replace("routes:\n  - route: csm\n", yaml.safe_dump({"routes": RULES}))
    version: PlaybookVersion = PlaybookVersionFactory(playbook=PlaybookFactory(key="seats", draft=draft))
    return version


def asked(recipe: PlaybookVersion, account: Any, **more: Any) -> Any:
    """The dry run of an account."""
    return dry_run(account.pk, recipes_of([recipe.playbook])[0], now=NOW, **more)


def customer(segment: str = "", tags: tuple[str, ...] = (), **more: Any) -> Any:
    """An account with facts."""
    return AccountFactory(facts__segment=segment, facts__tags=list(tags), **more)


def test_it_says_which_rule_fits_and_why_the_others_do_not(recipe: PlaybookVersion) -> None:
    TeamMemberFactory(name="Carla")
    run = asked(recipe, customer("mid_market"))
    assert [(rule.fits, rule.decides, rule.why) for rule in run.rules] == [
        (False, False, "the segment is Mid-market, asked for Enterprise"),
        (False, False, "the segment is Mid-market, asked for Small business"),
        (True, True, "it fits"),
    ]
    assert run.routing.route == Route.CSM
    run = asked(recipe, customer("enterprise", ("gold",)))
    assert run.rules[0].why == "the tags are gold, asked for any of strategic"
    run = asked(recipe, customer("enterprise", ("strategic",)), ceiling="email")
    assert [(rule.fits, rule.decides, rule.why) for rule in run.rules] == [
        (True, False, "a guard allows E-mail at most"),
        (False, True, "the first with the route that a guard allows: E-mail"),
        (True, False, "rule 1 fits before it"),
    ]
    assert run.routing.lowered_from == Route.SALES


def test_it_says_whose_it_would_be_and_why_everybody_before_was_passed_over(recipe: PlaybookVersion) -> None:
    carla, dora = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Dora", open_play_cap=0)
    pool, busier = TeamMemberFactory(name="Pool"), TeamMemberFactory(name="Busier")
    gone = TeamMemberFactory(name="Gone", ae=True, is_active=False)
    seller = TeamMemberFactory(name="Seller", ae=True)
    PlayFactory(owner=busier, opened_at=NOW)
    AbsenceFactory(member=carla, first_day=date(2026, 11, 16), last_day=date(2026, 11, 20), stand_in=dora)
    run = asked(recipe, customer("enterprise", ("strategic",), csm=carla, ae=gone))
    assert (run.owner_id, run.why) == (pool.pk, "the least loaded of the pool")
    assert [(each.name, each.part, each.why) for each in run.passed] == [
        ("Carla", "the account's CSM", "is away until 2026-11-20"),
        ("Dora", "who stands in for the account's CSM", "carries 0 of 0"),
        ("Gone", "the account's AE", "has left"),
        ("Busier", "of the pool of CSMs", "carries 1 of 40: no less than who is chosen"),
    ]
    assert (run.offered, run.offer_to_id, run.offer_why) == (True, seller.pk, "the least loaded AE")
    assert [each.why for each in run.offer_passed] == ["has left"]
    assert not Play.objects.filter(account=run.account_id).exists()


def test_where_nobody_has_room_it_is_the_tray_and_all_are_named(recipe: PlaybookVersion) -> None:
    TeamMemberFactory(name="Full", open_play_cap=0)
    run = asked(recipe, customer())
    assert (run.owner_id, run.why) == (None, "nobody is here and under their cap")
    assert [(each.name, each.why) for each in run.passed] == [("Full", "carries 0 of 0")]
    assert (run.offered, run.offer_to_id) == (False, None)


@pytest.mark.parametrize("segment", ["", "small", "enterprise"])
@pytest.mark.parametrize("people", ["csm", "ae", "both", "nobody"])
def test_what_it_says_is_what_happens(recipe: PlaybookVersion, segment: str, people: str) -> None:
    carla, erik = TeamMemberFactory(), TeamMemberFactory(ae=True)
    TeamMemberFactory(desk=True)
    team = {"csm": {"csm": carla}, "ae": {"ae": erik}, "both": {"csm": carla, "ae": erik}, "nobody": {}}[people]
    account = customer(segment, ("strategic",), **team)
    run = asked(recipe, account)
    play = open_play_by_hand(account_id=account.pk, playbook_id=recipe.playbook_id, reason="They asked.", now=NOW)
    assert assign_owners(now=NOW) == 1
    play.refresh_from_db()
    assert (play.route, play.owner_id, play.routing["rule"]) == (run.routing.route, run.owner_id, run.routing.rule)
    offer = Handoff.objects.filter(play=play).first()
    assert (offer and offer.offered_to_id) == run.offer_to_id
    assert asked(recipe, account).has_open_play
    assert done(close_plays(play_ids=[play.pk], outcome="expired", now=NOW))
    assert not asked(recipe, account).has_open_play


def test_many_playbooks_are_asked_about_with_seven_queries(recipe: PlaybookVersion) -> None:
    TeamMemberFactory()
    account = customer()
    recipes = recipes_of([recipe.playbook, *(PlaybookVersionFactory().playbook for _ in range(5))])
    counts = []
    for asked_about in (recipes[:1], recipes):
        with CaptureQueriesContext(connection) as queries:
            assert len(dry_runs(account.pk, asked_about, now=NOW)) == len(asked_about)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 7


class TestCompare:
    """All open plays."""

    def test_what_is_as_the_routing_has_it_does_not_differ(self, recipe: PlaybookVersion) -> None:
        carla, erik = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Erik", ae=True)
        TeamMemberFactory(name="Idle")
        owned(recipe=recipe, account=customer(csm=carla), owner=carla)
        # Of the pool, with room: it need not be the least loaded.
        owned(recipe=recipe, account=customer(), owner=carla)
        accepted = owned(recipe=recipe, account=customer(csm=carla), owner=carla)
        assert done(offer_plays(play_ids=[accepted.pk], to_id=erik.pk, now=NOW))
        assert done(accept_plays(play_ids=[accepted.pk], now=NOW))
        found = compare(Play.objects.all(), now=NOW)
        assert (found.plays, found.same, found.differences) == (3, 3, ())
        assert found.owners == {"Carla": (2, 2), "Erik": (1, 1)}
        assert found.routes == {Route.CSM: (3, 3)}

    def test_what_differs_is_told_with_the_reason(self, recipe: PlaybookVersion) -> None:
        carla, dora = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Dora")
        moved = owned(recipe=recipe, account=customer("small", csm=carla, name="Acme"), owner=dora)
        waiting = PlayFactory(recipe=recipe, account=customer(csm=carla), unowned=True, opened_at=NOW, tray_at=NOW)
        found = compare(Play.objects.all(), now=NOW)
        assert [
            (each.play_id, each.route, each.route_then, each.owner, each.owner_then, each.why, each.moves)
            for each in found.differences
        ] == [
            (moved.pk, "csm", "email", "Dora", "Carla", "the account's CSM", True),
            (waiting.pk, "csm", "csm", "", "Carla", "the account's CSM", True),
        ]
        assert found.owners == {"Carla": (0, 2), "Dora": (1, 0), "": (1, 0)}
        assert Play.objects.get(pk=moved.pk).owner == dora

    def test_a_route_that_a_guard_lowered_stays_as_low(self, recipe: PlaybookVersion) -> None:
        carla = TeamMemberFactory()
        lowered = {"rule": 2, "lowered_from": "sales"}
        account = customer("enterprise", ("strategic",), csm=carla)
        owned(recipe=recipe, account=account, owner=carla, route="email", routing=lowered)
        assert compare(Play.objects.all(), now=NOW).differences == ()

    def test_a_draft_is_asked_in_place_of_what_runs(self, recipe: PlaybookVersion) -> None:
        carla = TeamMemberFactory()
        owned(recipe=recipe, account=customer(csm=carla), owner=carla)
        documents = {recipe.playbook_id: {"routes": [{"route": "email"}]}}
        (difference,) = compare(Play.objects.all(), now=NOW, documents=documents).differences
        assert (difference.route, difference.route_then, difference.moves) == ("csm", "email", False)

    def test_whoever_is_over_their_cap_keeps_as_many_as_fit(self, recipe: PlaybookVersion) -> None:
        full = TeamMemberFactory(name="Full")
        plays = [owned(recipe=recipe, account=customer(), owner=full) for _ in range(3)]
        TeamMember.objects.filter(pk=full.pk).update(open_play_cap=2)
        (difference,) = compare(Play.objects.all(), now=NOW).differences
        assert (difference.play_id, difference.owner_then_id) == (plays[-1].pk, None)

    def test_the_number_of_queries_does_not_grow(self, recipe: PlaybookVersion) -> None:
        counts = []
        for number in (1, 20):
            for _ in range(number):
                owned(recipe=recipe, account=customer())
            with CaptureQueriesContext(connection) as queries:
                compare(Play.objects.all(), now=NOW)
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 7


class TestCommand:
    """`csplaybooks_routing`."""

    def said(self, *args: str) -> str:
        """What it prints."""
        out = io.StringIO()
        call_command("csplaybooks_routing", *args, stdout=out)
        return out.getvalue()

    def test_it_tells_of_an_account(self, recipe: PlaybookVersion) -> None:
        account = customer(csm=TeamMemberFactory(name="Carla"), name="Acme")
        AccountIdentityFactory(account=account, source="crm", external_id="a-1")
        text = self.said("--account", "crm:a-1")
        assert "Seats (seats): CSM conversation; Carla: the account's CSM" in text
        assert "rule 2, E-mail: the segment is unknown, asked for Small business" in text
        assert self.said("--account", "a-1") == text
        # Of two accounts with one id its source is asked for.
        AccountIdentityFactory(account=customer(), source="mail", external_id="a-1")
        with pytest.raises(CommandError, match="Give it as source:id"):
            self.said("--account", "a-1")
        assert self.said("--account", "crm:a-1") == text
        (answer,) = json.loads(self.said("--account", str(account.pk), "--playbook", "seats", "--json"))
        assert (answer["route"], answer["rule"], answer["owner"]["name"]) == ("csm", 3, "Carla")
        lowered = self.said("--account", str(account.pk), "--ceiling", "email", "--draft", "--playbook", "seats")
        assert "E-mail; Carla" in lowered

    def test_it_tells_of_open_plays_as_words_and_as_csv(self, recipe: PlaybookVersion) -> None:
        play = owned(
            recipe=recipe, account=customer(csm=TeamMemberFactory(name="Carla"), name="=Acme"), owner__name="Dora"
        )
        text = self.said("--playbook", "seats")
        assert "1 open plays: 0 as routed, 1 differ" in text
        assert f"play {play.pk}, Seats at =Acme: csm; Dora → Carla (the account's CSM)" in text
        header, line = csv.reader(io.StringIO(self.said("--csv")))
        assert dict(zip(header, line, strict=True))["account"] == "'=Acme"

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (("--draft",), "--draft needs --playbook"),
            (("--playbook", "none"), "There is no playbook none"),
            (("--account", "crm:none"), "There is no account crm:none"),
            (("--account", "x"), "There is no account x"),
        ],
    )
    def test_what_is_not_there_is_said(self, recipe: PlaybookVersion, args: tuple[str, ...], said: str) -> None:
        with pytest.raises(CommandError, match=said):
            self.said(*args)
        PlaybookFactory(key="new", draft="nonsense")
        with pytest.raises(CommandError, match="was never published"):
            self.said("--playbook", "new")
        with pytest.raises(CommandError, match="The draft of new"):
            self.said("--playbook", "new", "--draft")


class TestApi:
    """`GET /api/v1/routing/`."""

    def told(self, client: Client, **asked: Any) -> Any:
        """What it answers of the playbook."""
        (answer,) = client.get(URL, {"account": "acme", **asked}).json()["results"]
        return answer

    def test_it_tells_what_would_become_of_a_play(self, recipe: PlaybookVersion) -> None:
        carla = TeamMemberFactory(name="Carla")
        customer(csm=carla, identity__external_id="acme")
        playbook = recipe.playbook
        draft = playbook.draft.replace("route: csm", "route: sales")
        amount = "amount: {rule: fixed, amount_minor: 1234567}\n"
        Playbook.objects.filter(pk=playbook.pk).update(draft=draft + amount)
        api = Client(headers={"authorization": f"Token {ApiTokenFactory().value}"})
        runs = self.told(api)
        assert (runs["playbook"], runs["playbook_version"], runs["route"], runs["rule"]) == ("seats", 1, "csm", 3)
        assert (runs["owner"], runs["why"]) == ({"id": carla.pk, "name": "Carla"}, "the account's CSM")
        assert [rule["fits"] for rule in runs["rules"]] == [False, False, True]
        assert self.told(api, ceiling="email")["route"] == "email"
        drafted = self.told(api, playbook="seats", draft="true")
        assert (drafted["playbook_version"], drafted["route"]) == (None, "sales")
        assert (runs["expected_amount"], drafted["expected_amount"]) == (None, "12345.67")
        assert api.get(URL, {"account": "acme", "playbook": "none"}).status_code == 404
        Playbook.objects.update(is_active=False)
        assert api.get(URL, {"account": "acme"}).json()["results"] == []
        # By its name it is told all the same.
        assert self.told(api, playbook="seats")["route"] == "csm"

    def test_who_sees_an_account_for_the_sake_of_a_play_is_not_told_of_it(self, recipe: PlaybookVersion) -> None:
        carla, erik = TeamMemberFactory(), TeamMemberFactory(ae=True)
        account = customer(csm=carla, identity__external_id="acme")
        play = owned(account=account, owner=carla, recipe__playbook__motion="cross_sell")
        assert done(offer_plays(play_ids=[play.pk], to_id=erik.pk, now=NOW))
        assert Account.objects.visible_to(erik.user).get() == account
        for member, status in ((carla, 200), (erik, 404)):
            member.user.user_permissions.add(Permission.objects.get(codename="view_play"))
            client = Client()
            client.force_login(member.user)
            assert client.get(URL, {"account": "acme"}).status_code == status


def test_assigned_by_hand_it_differs(recipe: PlaybookVersion) -> None:
    carla, dora = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Dora")
    play = owned(recipe=recipe, account=customer(csm=carla), owner=carla)
    assert done(assign_plays(play_ids=[play.pk], owner_id=dora.pk, now=NOW))
    (difference,) = compare(Play.objects.all(), now=NOW).differences
    assert (difference.owner, difference.owner_then) == ("Dora", "Carla")
