"""`/api/v1/triggers/` and `/api/v1/verdicts/`: why and why not, counted, listed and told, as of any moment and run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.test import Client

from csplaybooks.accounts.factories import AccountFactory, AccountTeamFactory, ApiTokenFactory, TeamMemberFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.factories import PlayFactory, RunFactory
from csplaybooks.playbooks.models import Play, Run, Trigger
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.signals.factories import PrunedDayFactory
from tests.playbooks.inputs import NOW, gate_hits
from tests.playbooks.knocking import a_trigger_and_five_accounts

DAY = timedelta(days=1)
URL = "/api/v1/triggers/"
WHY = "/api/v1/verdicts/"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock() -> Any:
    """Time stands still."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def trigger() -> Trigger:
    """A trigger that runs, and five accounts."""
    return a_trigger_and_five_accounts()


def client_of(token: Any) -> Client:
    return Client(headers={"authorization": f"Token {token.value}"})


@pytest.fixture
def api() -> Client:
    """An integration that sees everything."""
    token = ApiTokenFactory()
    token.last_used_at = NOW
    token.save(update_fields=["last_used_at"])
    return client_of(token)


def numbers(answer: Any) -> dict[str, int]:
    """The verdicts that somebody has, with how many."""
    assert answer.status_code == 200, answer.content
    return {line["verdict"]: line["accounts"] for line in answer.json()["verdicts"] if line["accounts"]}


def ran_before(trigger: Trigger, moment: datetime) -> None:
    """A run of back then that evaluated the trigger."""
    RunFactory(moment=moment, versions={str(trigger.pk): trigger.playbook.published_id})


ALL = {"outside": 1, "failed:0:0": 1, "failed:0:1": 1, "held:onboarding": 1}


def test_triggers_are_listed_with_their_conditions(api: Client, trigger: Trigger) -> None:
    [told] = api.get(URL).json()["results"]
    assert (told["id"], told["playbook"], told["key"], told["runs"]) == (trigger.pk, "knocking", "gates", True)
    assert (told["motion"], told["playbook_version"], told["strength"], told["name"]) == (
        "tier_upsell",
        1,
        "strong",
        "Gates",
    )
    assert [condition["measure"] for condition in told["definition"][0]["all"]] == ["signal_count", "share_of_limit"]
    assert api.get(f"{URL}{trigger.pk}/").json() == told
    assert api.get(URL, {"playbook": "other"}).json()["results"] == []


def test_counts_add_up_and_lead_to_their_accounts(api: Client, trigger: Trigger) -> None:
    answer = api.get(f"{URL}{trigger.pk}/verdicts/")
    found = numbers(answer)
    assert {key: number for key, number in found.items() if key in ALL} == ALL
    # The match was let through, or waits for room.
    assert sum(found.values()) == answer.json()["population"] == 5
    for key, number in found.items():
        rows = api.get(f"{URL}{trigger.pk}/accounts/", {"verdict": key}).json()["results"]
        assert len(rows) == number, key
    [row] = api.get(f"{URL}{trigger.pk}/accounts/", {"verdict": "held:onboarding"}).json()["results"]
    assert row["name"] == "fresh"
    assert row["identities"]


def test_one_account_is_told_in_full(api: Client, trigger: Trigger) -> None:
    [told] = api.get(WHY, {"account": "empty"}).json()["results"]
    assert (told["playbook"], told["trigger_key"], told["verdict"]) == ("knocking", "gates", "failed:0:1")
    assert told["playbook_version"] == trigger.playbook.published.number  # type: ignore[union-attr]  # it runs
    hits, share = told["groups"][0]["conditions"]
    assert (hits["holds"], share["holds"]) == (True, False)
    assert "3 in 7 days, needed at least 3" in hits["words"]
    assert "no reading" in share["words"]
    assert "no reading" in told["sentence"]
    assert [guard["guard"] for guard in told["guards"]][:3] == ["gone", "not_paying", "onboarding"]
    [held] = api.get(WHY, {"account": "fresh", "trigger": "gates", "playbook": "knocking"}).json()["results"]
    assert held["verdict"] == "held:onboarding"
    assert "activated on" in held["sentence"]
    assert api.get(WHY, {"account": "fresh", "trigger": "other"}).json()["results"] == []


def test_the_past_is_told_as_it_was_known(api: Client, trigger: Trigger) -> None:
    run = Run.objects.latest("pk")
    # Told afterwards, of before: the moment knows it today, the run did not.
    gate_hits("silent", 1, 2, 3, at=NOW - DAY)
    ran_before(trigger, NOW - 3 * DAY)
    work(now=NOW)
    assert numbers(api.get(f"{URL}{trigger.pk}/verdicts/")).get("failed:0:0") is None
    assert numbers(api.get(f"{URL}{trigger.pk}/verdicts/", {"run": run.pk}))["failed:0:0"] == 1
    past = {"at": (NOW - 2 * DAY).isoformat()}
    assert numbers(api.get(f"{URL}{trigger.pk}/verdicts/", past)) == {"outside": 1, "failed:0:0": 4}
    answer = api.get(WHY, {"account": "silent", "run": str(run.pk)}).json()
    assert answer["asked"] == {"moment": "2026-11-16T10:00:00Z", "run": run.pk}
    assert answer["results"][0]["verdict"] == "failed:0:0"
    assert api.get(WHY, {"account": "silent"}).json()["results"][0]["verdict"] == "failed:0:1"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"at": "2026-11-17T00:00:00Z"}, 400, "invalid_filter"),
        ({"at": "yesterday"}, 400, "invalid_filter"),
        ({"at": "0002-06-03T00:00:00Z"}, 400, "invalid_filter"),
        ({"at": "1999-12-31T23:59:59Z"}, 400, "invalid_filter"),
        ({"at": "2026-11-15T00:00:00"}, 400, "invalid_filter"),
        ({"run": "many"}, 400, "invalid_filter"),
        ({"run": "99999"}, 404, "unknown_run"),
        ({"run": ""}, 400, "invalid_filter"),
        ({"run": "1", "at": "2026-11-15T00:00:00Z"}, 400, "invalid_filter"),
        ({"when": "now"}, 400, "unknown_filter"),
    ],
)
def test_bad_questions_are_told_so(
    api: Client, trigger: Trigger, query: dict[str, str], status: int, code: str
) -> None:
    for address, more in ((f"{URL}{trigger.pk}/verdicts/", {}), (WHY, {"account": "match"})):
        answer = api.get(address, query | more)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.json()


@pytest.mark.parametrize("verdict", ["failed", "failed:0:7", "held:", "won", "failed:x:1", "failed:0:1:2"])
def test_no_verdict_is_told_so(api: Client, trigger: Trigger, verdict: str) -> None:
    answer = api.get(f"{URL}{trigger.pk}/accounts/", {"verdict": verdict})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_filter")
    assert answer.json()["errors"][0]["pointer"] == "/verdict"


def test_what_is_not_there_is_told_so(api: Client, trigger: Trigger) -> None:
    assert api.get(f"{URL}{trigger.pk + 1}/verdicts/").status_code == 404
    assert api.get(f"{URL}{trigger.pk + 1}/accounts/", {"verdict": "outside"}).status_code == 404
    assert api.get(WHY, {"account": "nobody"}).json()["code"] == "unknown_account"
    assert api.get(WHY).json()["code"] == "invalid_filter"


def test_what_was_pruned_is_gone(api: Client, trigger: Trigger) -> None:
    PrunedDayFactory(day=(NOW - 30 * DAY).date())
    ran_before(trigger, NOW - 100 * DAY)
    past = {"at": (NOW - 60 * DAY).isoformat()}
    answer = api.get(f"{URL}{trigger.pk}/verdicts/", past)
    assert (answer.status_code, answer.json()["code"]) == (410, "pruned"), answer.json()
    [told] = api.get(WHY, {"account": "match", **past}).json()["results"]
    assert told["verdict"] is None
    assert "pruned" in told["sentence"]


def person(member: Any, *codenames: str) -> Client:
    """The browser of a member who may look at these tables."""
    member.user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(member.user)
    return client


def test_people_see_the_accounts_that_they_look_after(trigger: Trigger) -> None:
    manager = TeamMemberFactory(name="Mona", leads=True)
    owner, colleague = TeamMemberFactory(name="Alice", manager=manager), TeamMemberFactory(name="Bob")
    stranger = TeamMemberFactory(name="Charlie", ae=True, is_customer_success_manager=False)
    for row in Account.objects.all():
        AccountTeamFactory(account=row, member=owner if row.name == "match" else colleague)
    address = f"{URL}{trigger.pk}/verdicts/"
    populations = {
        who.name: person(who, "view_trigger").get(address).json()["population"]
        for who in (owner, colleague, manager, stranger)
    }
    assert populations == {"Alice": 1, "Bob": 4, "Mona": 1, "Charlie": 0}
    assert person(owner, "view_trigger").get(WHY, {"account": "match"}).status_code == 200
    assert person(owner, "view_trigger").get(WHY, {"account": "empty"}).json()["code"] == "unknown_account"
    assert person(owner, "view_play").get(address).json()["code"] == "missing_permission"
    behind = f"{URL}{trigger.pk}/accounts/?verdict=failed:0:0"
    assert person(owner, "view_trigger").get(behind).json()["code"] == "missing_permission"
    assert person(owner, "view_trigger", "view_account").get(behind).status_code == 200


def test_before_the_first_run_nothing_was_asked(api: Client, trigger: Trigger) -> None:
    before = {"at": (NOW - DAY).isoformat()}
    assert api.get(f"{URL}{trigger.pk}/verdicts/", before).status_code == 404
    assert api.get(WHY, {"account": "match", **before}).json()["results"] == []


def test_an_account_seen_for_the_sake_of_a_play_is_not_told_of(trigger: Trigger) -> None:
    from csplaybooks.accounts.models import Account

    seller = TeamMemberFactory(ae=True, is_customer_success_manager=False)
    row = Account.objects.get(name="match")
    AccountTeamFactory(account=row, member=TeamMemberFactory())
    PlayFactory(account=row, motion="cross_sell", owner=TeamMemberFactory(), holder=seller, state="offered")
    assert Account.objects.visible_to(seller.user).filter(pk=row.pk).exists()
    assert Play.objects.visible_to(seller.user).count() == 1
    answer = person(seller, "view_trigger").get(WHY, {"account": "match"})
    assert answer.status_code == 404
    assert person(seller, "view_trigger").get(f"{URL}{trigger.pk}/verdicts/").json()["population"] == 0


def test_tokens_need_the_scope_and_their_accounts(trigger: Trigger) -> None:
    without = client_of(ApiTokenFactory(scopes=["plays:read"]))
    assert without.get(URL).json()["code"] == "missing_scope"
    triggers = client_of(ApiTokenFactory(scopes=["triggers:read"]))
    assert triggers.get(f"{URL}{trigger.pk}/verdicts/").status_code == 200
    listed = triggers.get(f"{URL}{trigger.pk}/accounts/", {"verdict": "outside"})
    assert (listed.status_code, listed.json()["code"]) == (403, "missing_scope")
    assert "'accounts:read'" in listed.json()["message"]
    accounts = client_of(ApiTokenFactory(scopes=["accounts:read"]))
    listed = accounts.get(f"{URL}{trigger.pk}/accounts/", {"verdict": "outside"})
    assert "'triggers:read'" in listed.json()["message"]
    limited = client_of(ApiTokenFactory(account_ids=[Account.objects.get(name="match").pk]))
    assert limited.get(f"{URL}{trigger.pk}/verdicts/").json()["population"] == 1
    assert limited.get(WHY, {"account": "empty"}).json()["code"] == "unknown_account"


@pytest.mark.parametrize("more", [0, 10])
def test_queries_do_not_grow_with_accounts(
    api: Client, trigger: Trigger, more: int, django_assert_max_num_queries: Any
) -> None:
    for number in range(more):
        AccountFactory(name=f"more {number}")
    for address, query, most in (
        (f"{URL}{trigger.pk}/verdicts/", {}, 17),
        (f"{URL}{trigger.pk}/accounts/", {"verdict": "failed:0:0"}, 17),
        (WHY, {"account": "match"}, 20),
        (URL, {}, 4),
    ):
        with django_assert_max_num_queries(most):
            assert api.get(address, query).status_code == 200
