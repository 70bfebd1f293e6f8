"""What people wrote down about customers: who reads it where measures quote it, on pages and over REST."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from csplaybooks.accounts.factories import (
    AccountFactory,
    ApiTokenFactory,
    ChampionChangeFactory,
    FindingFactory,
    ProductFactory,
    TeamMemberFactory,
    UserFactory,
)
from csplaybooks.accounts.models import Account, AccountTeam, ApiToken
from csplaybooks.accounts.roles import Role
from csplaybooks.playbooks.acts.handoffs import offer_plays
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.factories import CalendarFactory
from csplaybooks.playbooks.measures import measures
from csplaybooks.playbooks.models import Handoff, Match, Play, Playbook, Trigger
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.playbooks.pipeline.owners import assign_owners
from csplaybooks.playbooks.quotes import may_read, readable, words_of
from csplaybooks.playbooks.roles import grants
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from tests.admin.pages import url
from tests.playbooks.inputs import DAY, NOW

pytestmark = pytest.mark.django_db

TEXT = """\
key: moved
name: Moved
motion: cross_sell
triggers:
  - key: moved
    any:
      - all:
          - {measure: open_gap}
          - {measure: finding, kinds: [win], window_days: 30}
          - {measure: champion_change, kinds: [left], window_days: 30}
guards: {unhealthy: off, not_paying: off, onboarding: off}
routes:
  - route: csm
targets:
  - {target: first_touch, hours: 8}
"""

#: What people wrote down, and whom they named.
SECRETS = ("TheCFOleaves", "SavesTwoDays", "DanaDeparted", "HeadOfSecrets")

#: What is told instead, of `acme`, which meets all three conditions, and of `bolt`, which comes near.
OPENLY = (
    "a review cited a gap that Reporting fills",
    "win raised on 2026-11-15, open, needed win that is open or settled, raised in 30 days",
    "a champion: left",
)
NEARLY = (
    "an open gap names no product that fills it, needed an open gap that a product not held fills",
    "win raised on 2026-11-15, dropped, needed win that is open or settled, raised in 30 days",
    "only a champion promoted on 2026-11-15, needed left in 30 days",
)


@pytest.fixture(autouse=True)
def clock() -> Any:
    """Time stands still."""
    with time_machine.travel(NOW, tick=False):
        yield


@dataclass(frozen=True)
class Site:
    """A site on which a trigger quotes what people wrote down, and its people."""

    acme: Account
    bolt: Account
    play: Play
    trigger: Trigger
    cora: Any
    integration: Any
    stranger: Any


def with_role(user: Any, role: Role) -> Any:
    """Give a user what a role may do."""
    wanted = {tuple(name.split(".")) for name in grants(role)}
    rows = Permission.objects.select_related("content_type")
    user.user_permissions.set([row for row in rows if (row.content_type.app_label, row.codename) in wanted])
    return user


def reader(user: Any) -> Client:
    """The browser of a user."""
    client = Client()
    client.force_login(user)
    return client


def written_down(row: Account, *, product: Any, win: str, change: str) -> None:
    """A gap, a win and somebody's change, with words of their own."""
    FindingFactory(account=row, text=SECRETS[0], product=product, state__valid_from=NOW - DAY)
    FindingFactory(account=row, kind="win", text=SECRETS[1], state__valid_from=NOW - DAY, state__status=win)
    ChampionChangeFactory(
        champion__account=row,
        champion__name=SECRETS[2],
        champion__title=SECRETS[3],
        kind=change,
        occurred_at=NOW - DAY,
    )


@pytest.fixture
def site() -> Site:
    """Of Cora's accounts one meets the trigger and has a play, one comes near. The others look after nobody."""
    CalendarFactory()
    load_starter_catalogue(now=NOW - DAY)
    publish_playbook(playbook_id=save_draft(text=TEXT, now=NOW - DAY).pk, now=NOW - DAY)
    cora, other = TeamMemberFactory(name="Cora"), TeamMemberFactory(name="Stan")
    for member in (cora, other):
        with_role(member.user, Role.CUSTOMER_SUCCESS_MANAGER)
    acme, bolt = (AccountFactory(name=name, identity__external_id=name, csm=cora) for name in ("acme", "bolt"))
    written_down(acme, product=ProductFactory(key="reporting", name="Reporting"), win="open", change="left")
    written_down(bolt, product=None, win="dropped", change="promoted")
    run_triggers(now=NOW, full=True)
    assert open_plays(now=NOW) == 1
    return Site(
        acme,
        bolt,
        Play.objects.get(),
        Trigger.objects.get(),
        cora.user,
        with_role(UserFactory(username="integration"), Role.INTEGRATION_ADMIN),
        other.user,
    )


def pages(site: Site) -> list[str]:
    """Wherever the words of a measure are shown."""
    why = [reverse("admin:csplaybooks_playbooks_trigger_why", args=[row.pk]) for row in (site.acme, site.bolt)]
    return [
        *why,
        *(f"{address}?at=2026-11-16T11:00" for address in why),
        url(Account, "change", site.bolt.pk),
        url(Match, "change", Match.objects.get().pk),
        url(Play, "change", site.play.pk),
        url(Playbook, "what_if", Playbook.objects.get().pk) + "?start=2026-11-16",
    ]


def read(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return re.sub(r"\s+", " ", answer.content.decode())


def test_whoever_may_not_read_reviews_is_told_the_rest(site: Site) -> None:
    cora, integration = reader(site.cora), reader(site.integration)
    for address in pages(site):
        page = read(integration, address)
        assert not [secret for secret in SECRETS if secret in page], address
        assert [words for words in (*OPENLY, *NEARLY) if words in page], address
        page = read(cora, address)
        assert [secret for secret in SECRETS if secret in page], address
    why = read(integration, pages(site)[0])
    assert all(words in why for words in OPENLY)
    assert all(words in read(integration, pages(site)[1]) for words in NEARLY)


def test_a_stranger_is_told_nothing(site: Site) -> None:
    stranger = reader(site.stranger)
    for address in pages(site):
        page = stranger.get(address).content.decode()
        assert not [secret for secret in SECRETS if secret in page], address
    for query in ({"account": "acme"}, {"account": "bolt"}):
        assert stranger.get("/api/v1/verdicts/", query).json()["code"] == "unknown_account"
    assert stranger.get("/api/v1/plays/").json()["results"] == []


def test_over_rest_people_read_what_they_may_and_tokens_read_none_of_it(site: Site) -> None:
    token = ApiTokenFactory()
    assert set(token.scopes) == set(ApiToken.SCOPES)
    callers = {
        "cora": reader(site.cora),
        "integration": reader(site.integration),
        "token": Client(headers={"authorization": f"Token {token.value}"}),
    }
    for name, client in callers.items():
        bodies = [read(client, f"/api/v1/verdicts/?account={account}") for account in ("acme", "bolt")]
        [play] = client.get("/api/v1/plays/").json()["results"]
        assert client.get(f"/api/v1/plays/{play['id']}/").json()["evidence"] == play["evidence"]
        said = [item["words"] for item in play["evidence"]]
        if name == "cora":
            assert SECRETS[0] in said[0]
            assert all(SECRETS[0] in body for body in bodies)
            assert play["evidence"] == site.play.evidence
            continue
        assert not [secret for secret in SECRETS if secret in str(play) or secret in "".join(bodies)], name
        assert said == list(OPENLY)
        gap, win, left = (item["found"] for item in play["evidence"])
        assert (gap["text"], gap["product"], win["kind"], win["status"]) == ("", "reporting", "win", "open")
        assert (left["champion"], left["kind"]) == ("", "left")
        assert all(words in bodies[0] for words in OPENLY)
        assert all(words in bodies[1] for words in NEARLY)


def test_each_of_the_two_tables_is_asked_about(site: Site) -> None:
    site.cora.user_permissions.remove(Permission.objects.get(codename="view_champion"))
    page = read(reader(site.cora), pages(site)[0])
    assert [secret in page for secret in SECRETS] == [True, True, False, False]


def test_a_scope_that_is_of_the_table_lets_a_token_read_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    token = ApiTokenFactory(scopes=["plays:read"])
    token.scopes = ["plays:read", "findings:read"]
    assert not may_read(token, "csplaybooks_accounts.Finding")
    monkeypatch.setitem(ApiToken.PERMISSIONS, "findings:read", ("csplaybooks_accounts.view_finding",))
    assert may_read(token, "csplaybooks_accounts.Finding")
    assert not may_read(token, "csplaybooks_accounts.Champion")
    said = words_of(token, site.play.evidence)
    assert SECRETS[0] in said[0]
    assert said[2] == OPENLY[2]


def test_what_goes_with_an_offer_is_quoted_to_whoever_sees_the_account(site: Site) -> None:
    seller = TeamMemberFactory(name="Eve", ae=True)
    with_role(seller.user, Role.ACCOUNT_EXECUTIVE)
    assert assign_owners(now=NOW) == 1
    offer_plays(play_ids=[site.play.pk], to_id=seller.pk, now=NOW, actor=site.cora)
    address = url(Handoff, "change", Handoff.objects.get().pk)
    assert SECRETS[0] in read(reader(seller.user), address)
    seller.user.user_permissions.remove(*Permission.objects.filter(codename__in=["view_finding", "view_champion"]))
    page = read(reader(seller.user), address)
    assert not [secret for secret in SECRETS if secret in page]
    assert OPENLY[0] in page


def test_evidence_that_nobody_can_put_into_words_any_more_shows_too_little(site: Site) -> None:
    gone = {"measure": "own_rule", "words": SECRETS[0], "settings": {}, "found": {"note": SECRETS[1]}}
    older = {**site.play.evidence[1], "found": {"text": SECRETS[1]}}
    [told, less] = readable(site.integration, [gone, older])
    assert told == {"measure": "own_rule", "words": "own rule", "settings": {}, "found": {"note": ""}}
    assert (less["words"], less["found"]) == ("finding", {"text": ""})
    for viewer in (None, site.cora):
        assert readable(viewer, [gone, older]) == [gone, older]


def test_measures_quote_only_what_they_find(site: Site) -> None:
    quoting = {key: measure for key, measure in measures().items() if measure.quotes}
    assert quoting.keys() == {"open_gap", "finding", "champion_change"}
    assert AccountTeam.objects.filter(account=site.acme).exists()
    [match] = Match.objects.all()
    for item in match.evidence:
        names = {name for each in quoting[item["measure"]].quotes.values() for name in each}
        texts = {name for name, value in item["found"].items() if value in SECRETS}
        assert texts <= names
