"""`GET /api/v1/prompts/`: which prompts are due, what is told of them, and what becomes of them by signals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.test import Client

from csplaybooks.accounts.factories import (
    AccountFactory,
    AccountIdentityFactory,
    ApiTokenFactory,
    EntitlementFactory,
    PlanFactory,
    ProductFactory,
    TeamMemberFactory,
)
from csplaybooks.accounts.models import Account, Motion
from csplaybooks.playbooks.acts.recipes import LIBRARY, publish_playbook, save_draft
from csplaybooks.playbooks.factories import DRAFT, PlaybookFactory, PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.models import Outcome, Play, Route, Stage, State
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.factories import MeterFactory, ReadingFactory, SignalFactory, SignalTypeFactory

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
URL = "/api/v1/prompts/"
SIGNALS = "/api/v1/signals/"

PROMPT = """\
prompt:
  title: Make room
  gain: Everybody you invite can start at once.
  action: Add seats
  link: "/a/{account}?offer={play}&product={product}&plan={plan}"
"""

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock() -> Any:
    """It is ten o'clock on 16 November 2026, until a test moves it on."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def token(db: None) -> Any:
    """A token with every scope, used a moment ago."""
    return used(ApiTokenFactory())


def used(token: Any) -> Any:
    """The same token, whose use is not written down again."""
    token.last_used_at = NOW
    token.save(update_fields=["last_used_at"])
    return token


@pytest.fixture
def acme(db: None) -> Account:
    """An account known as `acme`, and the kinds of signal that a product sends about prompts."""
    for key in ("prompt_shown", "prompt_dismissed", "upgrade_started", "upgrade_done"):
        SignalTypeFactory(key=key)
    account: Account = AccountFactory(name="Acme")
    return account


def recipe(motion: str = Motion.SEAT_EXPANSION, more: str = "", prompt: str = PROMPT) -> Any:
    """A published playbook with a prompt."""
    playbook = PlaybookFactory(key=f"sell_{motion}", motion=motion)
    draft = DRAFT.format(key=playbook.key, name=playbook.name, motion=motion) + prompt + more
    return PlaybookVersionFactory(playbook=playbook, source=draft)


def prompted(account: Any, version: Any = None, **more: Any) -> Play:
    """A self-serve play that opened yesterday."""
    play: Play = PlayFactory(
        account=account,
        recipe=version or recipe(),
        **{"route": Route.SELF_SERVE, "opened_at": NOW - DAY, "expires_at": NOW + 30 * DAY, **more},
    )
    return play


def ask(token: Any, account: str = "acme", **query: str) -> Any:
    """Ask with a token."""
    return Client().get(URL, {"account": account, **query}, HTTP_AUTHORIZATION=f"Token {token.value}")


def due(token: Any, *args: str, **query: str) -> list[int]:
    """The plays whose prompts are due."""
    response = ask(token, *args, **query)
    assert response.status_code == 200, response.content
    return [prompt["play"] for prompt in response.json()["results"]]


def send(account: Account, kind: str, at: datetime = NOW, **properties: Any) -> Any:
    """A signal came in."""
    return SignalFactory(account=account, type=SignalTypeFactory(key=kind), occurred_at=at, properties=properties)


def test_the_full_circle_over_http(token: Any, clock: Any) -> None:
    load_starter_catalogue(now=NOW - 30 * DAY)
    publish_playbook(
        playbook_id=save_draft(text=(LIBRARY / "invite_at_the_limit.yaml").read_text(), now=NOW - 30 * DAY).pk,
        now=NOW - 30 * DAY,
    )
    ReadingFactory(account=AccountFactory(name="Acme"), meter=MeterFactory(key="health"), occurred_at=NOW)
    ReadingFactory._meta.model.objects.update(used_milli=90_000)
    numbers = iter(range(100))

    def post(body: dict[str, Any], at: datetime) -> None:
        item = {"source": "product", "external_id": f"s-{next(numbers)}", "occurred_at": at.isoformat(), **body}
        response = Client().post(
            SIGNALS, item, content_type="application/json", HTTP_AUTHORIZATION=f"Token {token.value}"
        )
        assert response.json()["stored"] == 1, response.content

    assert due(token) == []
    post({"account": "acme", "type": "invite_refused", "actor": "u-17"}, NOW)
    run_triggers(now=NOW)
    work(now=NOW)
    play = Play.objects.get()

    (prompt,) = ask(token, account_source="crm", user="u-17").json()["results"]
    assert prompt["play"] == play.pk
    assert prompt["signals"]["dismissed"] == {
        "account": "acme",
        "account_source": "crm",
        "actor": "u-17",
        "type": "prompt_dismissed",
        "properties": {"prompt": prompt["id"]},
    }
    post(prompt["signals"]["shown"], NOW)
    assert due(token) == [play.pk]
    dismissed_at = NOW + HOUR
    clock.move_to(dismissed_at)
    post(prompt["signals"]["dismissed"], dismissed_at)
    assert due(token) == []
    clock.move_to(dismissed_at + 7 * DAY - timedelta(microseconds=1))
    assert due(token) == []
    clock.move_to(dismissed_at + 7 * DAY)
    assert due(token) == [play.pk]
    post(prompt["signals"]["started"], dismissed_at + 7 * DAY)
    assert due(token) == [play.pk]
    post(prompt["signals"]["done"], dismissed_at + 7 * DAY)
    assert due(token) == []
    # Bought is bought, for as long as the play lasts.
    clock.move_to(NOW + 14 * DAY - timedelta(microseconds=1))
    assert due(token) == []


def test_a_prompt_is_told_whole(token: Any, acme: Account) -> None:
    play = prompted(acme)
    plan = PlanFactory(key="team", next_plan=PlanFactory(key="business"))
    EntitlementFactory(account=acme, plan=plan)
    assert ask(token).json() == {
        "results": [
            {
                "id": f"play-{play.pk}",
                "play": play.pk,
                "playbook": "sell_seat_expansion",
                "motion": "seat_expansion",
                "title": "Make room",
                "gain": "Everybody you invite can start at once.",
                "action": "Add seats",
                "link": f"/a/acme?offer={play.pk}&product=platform&plan=team",
                "dismissible": True,
                "since": "2026-11-15T10:00:00Z",
                "signals": {
                    what: {"account": "acme", "type": kind, "properties": {"prompt": f"play-{play.pk}"}}
                    for what, kind in (
                        ("shown", "prompt_shown"),
                        ("dismissed", "prompt_dismissed"),
                        ("started", "upgrade_started"),
                        ("done", "upgrade_done"),
                    )
                },
            }
        ]
    }


def test_links_name_the_plan_to_come_the_product_to_sell_and_the_id_that_was_asked_for(
    token: Any, acme: Account
) -> None:
    AccountIdentityFactory(account=acme, source="app", external_id="a/b ?ü&c")
    EntitlementFactory(account=acme, plan=PlanFactory(key="team", next_plan=PlanFactory(key="business")))
    upsell = prompted(acme, recipe(Motion.TIER_UPSELL))
    cross_sell = prompted(acme, recipe(Motion.CROSS_SELL), product=ProductFactory(key="reports"))
    links = [prompt["link"] for prompt in ask(token, "a/b ?ü&c").json()["results"]]
    start = "/a/a%2Fb%20%3F%C3%BC%26c?offer="
    assert links == [
        f"{start}{upsell.pk}&product=platform&plan=business",
        f"{start}{cross_sell.pk}&product=reports&plan=team",
    ]


def test_links_of_who_holds_nothing_leave_out_what_nobody_knows(token: Any, acme: Account) -> None:
    play = prompted(acme)
    (prompt,) = ask(token).json()["results"]
    assert prompt["link"] == f"/a/acme?offer={play.pk}&product=&plan="


def test_a_prompt_that_cannot_be_dismissed_has_no_body_for_it(token: Any, acme: Account) -> None:
    prompted(acme, recipe(more="  dismissible: false\n"))
    (prompt,) = ask(token).json()["results"]
    assert prompt["dismissible"] is False
    assert set(prompt["signals"]) == {"shown", "started", "done"}


@pytest.mark.parametrize(
    ("more", "is_due"),
    [
        ({}, True),
        ({"unowned": True}, True),
        ({"expires_at": None}, True),
        ({"stage": Stage.RUNNING}, True),
        ({"opened_at": NOW}, True),
        ({"opened_at": NOW + timedelta(microseconds=1)}, False),
        ({"expires_at": NOW + timedelta(microseconds=1)}, True),
        ({"expires_at": NOW}, False),
        ({"state": State.PAUSED}, False),
        ({"state": State.OFFERED}, False),
        ({"route": Route.EMAIL}, False),
        (
            {"stage": Stage.CLOSED, "outcome": Outcome.WON, "closed_at": NOW, "interval": None},
            False,
        ),
    ],
)
def test_due_are_open_self_serve_plays_that_are_being_worked(
    token: Any, acme: Account, more: dict[str, Any], is_due: bool
) -> None:
    play = prompted(acme, **more)
    assert due(token) == ([play.pk] if is_due else [])


def test_prompts_are_of_the_account_and_the_oldest_comes_first(token: Any, acme: Account) -> None:
    younger = prompted(acme, recipe(Motion.TIER_UPSELL), opened_at=NOW - HOUR)
    older = prompted(acme, recipe(Motion.SEAT_EXPANSION), opened_at=NOW - 2 * DAY)
    prompted(AccountFactory(name="Other"), recipe(Motion.SEAT_EXPANSION))
    assert due(token) == [older.pk, younger.pk]


def test_a_play_of_a_version_without_a_prompt_has_none(token: Any, acme: Account) -> None:
    prompted(acme, recipe(prompt=""))
    assert due(token) == []


def test_the_texts_are_those_of_the_version_that_opened_the_play(token: Any, acme: Account) -> None:
    first = recipe()
    prompted(acme, first)
    later = first.source.replace("Make room", "Room for all")
    PlaybookVersionFactory(playbook=first.playbook, number=2, source=later)
    assert [prompt["title"] for prompt in ask(token).json()["results"]] == ["Make room"]


@pytest.mark.parametrize(
    ("guards", "days"),
    [("", 7), ("guards: {dismissed: {days: 3}}\n", 3), ("guards: {dismissed: off}\n", 7)],
)
def test_a_dismissal_holds_for_the_days_of_its_guard(token: Any, acme: Account, guards: str, days: int) -> None:
    play = prompted(acme, recipe(more=guards), opened_at=NOW - 20 * DAY)
    send(acme, "prompt_dismissed", NOW - days * DAY, prompt=f"play-{play.pk}")
    assert due(token) == [play.pk]
    send(acme, "prompt_dismissed", NOW - days * DAY + timedelta(microseconds=1), prompt=f"play-{play.pk}")
    assert due(token) == []


def test_each_prompt_has_its_own_days(token: Any, acme: Account) -> None:
    short = prompted(acme, recipe(more="guards: {dismissed: {days: 1}}\n"))
    long = prompted(acme, recipe(Motion.TIER_UPSELL, more="guards: {dismissed: {days: 30}}\n"))
    send(acme, "prompt_dismissed", NOW - 2 * DAY)
    assert due(token) == [short.pk]
    assert long.pk not in due(token)


@pytest.mark.parametrize("kind", ["prompt_dismissed", "upgrade_done"])
@pytest.mark.parametrize(
    ("named", "gone"),
    [
        ("play-{first}", {"first"}),
        ("play-{second}", {"second"}),
        # What names none is about all: who bought or waved something away is not asked the next thing at once.
        (None, {"first", "second"}),
        ("", {"first", "second"}),
        # The product's own prompts are not ours.
        ("what is new", set()),
        ("{first}", set()),
    ],
)
def test_a_signal_is_about_the_prompt_that_it_names(
    token: Any, acme: Account, kind: str, named: str | None, gone: set[str]
) -> None:
    plays = {"first": prompted(acme), "second": prompted(acme, recipe(Motion.TIER_UPSELL))}
    ids = {name: play.pk for name, play in plays.items()}
    properties = {} if named is None else {"prompt": named.format(**ids)}
    send(acme, kind, NOW - HOUR, **properties)
    assert set(due(token)) == {pk for name, pk in ids.items() if name not in gone}


@pytest.mark.parametrize("kind", ["prompt_shown", "upgrade_started", "prompt_dismissed", "upgrade_done"])
def test_signals_of_other_accounts_and_other_kinds_change_nothing(token: Any, acme: Account, kind: str) -> None:
    play = prompted(acme)
    where = acme if kind in ("prompt_shown", "upgrade_started") else AccountFactory(name="Other")
    send(where, kind, NOW - HOUR, prompt=f"play-{play.pk}")
    assert due(token) == [play.pk]


def test_what_was_bought_before_the_play_opened_does_not_end_its_prompt(token: Any, acme: Account) -> None:
    play = prompted(acme)
    send(acme, "upgrade_done", play.opened_at)
    assert due(token) == [play.pk]


@pytest.mark.parametrize("kind", ["prompt_dismissed", "upgrade_done"])
def test_what_did_not_happen_after_all_does_not_count(token: Any, acme: Account, kind: str) -> None:
    play = prompted(acme)
    wrong = send(acme, kind, NOW - HOUR)
    assert due(token) == []
    SignalFactory(account=acme, type=wrong.type, corrects=wrong, is_void=True, occurred_at=wrong.occurred_at)
    assert due(token) == [play.pk]


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("", "account", "required"),
        ("account=", "account", "empty"),
        ("account=%20", "account", "empty"),
        ("account=acme&account_source=", "account_source", "empty"),
        ("account=acme&user=", "user", "empty"),
        ("account=" + "x" * 201, "account", "max_length"),
        ("account=a%00b", "account", "null_characters_not_allowed"),
        ("account=acme&account=acme", "account", "repeated_parameter"),
        ("account=acme&accounts=acme", "accounts", "unknown_filter"),
        ("account=acme&page_size=5", "page_size", "unknown_filter"),
    ],
)
def test_bad_parameters_are_named(token: Any, acme: Account, query: str, field: str, code: str) -> None:
    response = Client().get(f"{URL}?{query}", HTTP_AUTHORIZATION=f"Token {token.value}")
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    assert [(error["field"], error["code"]) for error in response.json()["errors"]] == [(field, code)]


def test_an_account_that_is_not_there_is_told(token: Any, acme: Account) -> None:
    prompted(acme)
    for query in ({"account": "nobody"}, {"account": "acme", "account_source": "billing"}):
        response = ask(token, **query)
        assert (response.status_code, response.json()["code"]) == (404, "unknown_account")
        assert [error["field"] for error in response.json()["errors"]] == ["account"]
    Account.objects.update(deleted_at=NOW)
    assert ask(token).status_code == 404


def test_an_id_of_two_accounts_needs_its_source(token: Any, acme: Account) -> None:
    other = AccountFactory(name="Other", identity=None)
    AccountIdentityFactory(account=other, source="billing", external_id="acme")
    play = prompted(other)
    response = ask(token)
    assert (response.status_code, response.json()["code"]) == (400, "ambiguous_account")
    assert due(token, account_source="billing") == [play.pk]
    assert due(token, account_source="crm") == []
    # Who sees one of them has one.
    assert due(used(ApiTokenFactory(account_ids=[other.pk]))) == [play.pk]


def test_a_merged_account_has_the_prompts_of_where_it_went(token: Any, acme: Account) -> None:
    target = AccountFactory(name="Target")
    Account.objects.filter(pk=acme.pk).update(merged_into=target)
    play = prompted(target)
    assert due(token) == due(token, "target") == [play.pk]


def test_who_may_ask_and_sees_what(acme: Account) -> None:
    play, other = prompted(acme), AccountFactory(name="Other")
    assert ask(ApiTokenFactory(scopes=["plays:read"])).json()["code"] == "missing_scope"
    assert due(ApiTokenFactory(scopes=["prompts:read"])) == [play.pk]
    assert due(ApiTokenFactory(account_ids=[acme.pk])) == [play.pk]
    hidden = ask(ApiTokenFactory(account_ids=[other.pk])).json()
    assert hidden == ask(ApiTokenFactory(account_ids=[acme.pk]), "other").json() | {
        name: hidden[name] for name in ("message", "detail", "errors")
    }
    assert (hidden["status"], hidden["code"]) == (404, "unknown_account")

    mine, theirs = TeamMemberFactory(name="Ann"), TeamMemberFactory(name="Ben")
    AccountFactory(name="Mine", csm=mine)
    hers = prompted(AccountFactory(name="Hers", csm=theirs))
    client = Client()
    client.force_login(mine.user)
    assert client.get(URL, {"account": "mine"}).json()["code"] == "missing_permission"
    mine.user.user_permissions.add(Permission.objects.get(codename="view_play"))
    client.force_login(mine.user)
    assert client.get(URL, {"account": "mine"}).json() == {"results": []}
    assert client.get(URL, {"account": "hers"}).status_code == 404
    client.force_login(theirs.user)
    theirs.user.user_permissions.add(Permission.objects.get(codename="view_play"))
    assert [prompt["play"] for prompt in client.get(URL, {"account": "hers"}).json()["results"]] == [hers.pk]
    assert Client().get(URL, {"account": "acme"}).status_code == 401


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_written(token: Any, acme: Account, method: str) -> None:
    response = getattr(Client(), method)(
        f"{URL}?account=acme", "{}", content_type="application/json", HTTP_AUTHORIZATION=f"Token {token.value}"
    )
    assert response.status_code == 405


@pytest.mark.parametrize("count", [1, 4])
def test_number_of_queries(token: Any, acme: Account, count: int, django_assert_num_queries: Any) -> None:
    EntitlementFactory(account=acme)
    motions = [Motion.SEAT_EXPANSION, Motion.TIER_UPSELL, Motion.CROSS_SELL, Motion.USAGE_GROWTH][:count]
    plays = [prompted(acme, recipe(motion)) for motion in motions]
    for play in plays:
        for kind in ("prompt_shown", "upgrade_started"):
            send(acme, kind, NOW - HOUR, prompt=f"play-{play.pk}")
        send(acme, "prompt_dismissed", NOW - HOUR, prompt="what is new")
    # The token, the account, its plays with all they name, what became of their prompts, what is held.
    with django_assert_num_queries(5):
        assert due(token) == [play.pk for play in plays]
    send(acme, "prompt_dismissed", NOW - HOUR)
    with django_assert_num_queries(4):
        assert due(token) == []
