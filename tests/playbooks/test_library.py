"""The starter library: what opens each of its triggers, what just does not, and by which route."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import (
    AccountFactory,
    ChampionChangeFactory,
    ChampionFactory,
    EntitlementFactory,
    FeatureFactory,
    FindingFactory,
    PlanFactory,
    ProductFactory,
)
from csplaybooks.accounts.models import Account, AccountFacts, Finding, Motion
from csplaybooks.playbooks.acts.recipes import LIBRARY, publish_playbook, save_draft
from csplaybooks.playbooks.document import read_document
from csplaybooks.playbooks.mail_texts import FIELDS, Letter, fill_in_body, fill_in_subject, unfinished
from csplaybooks.playbooks.models import Match, Play, Trigger
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.route_rules import NO_FACTS, RouteFacts, choose_route
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.playbooks.step_texts import LASTS_DAYS, steps_for
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.factories import MeterFactory, ReadingFactory, SignalFactory, SignalTypeFactory
from tests.docs.page import DOCS
from tests.playbooks.inputs import DAY, NOW

HOUR = timedelta(hours=1)
DOCUMENTS = {file.stem: read_document(file.read_text()) for file in sorted(LIBRARY.glob("*.yaml"))}

pytestmark = pytest.mark.django_db


@dataclass
class Stage:
    """A healthy mid-market customer on the plan Team, and what happens at it; `at` is when the triggers run.

    The next plan, Business, adds ten features; dashboards, and only these, belong to the area of reporting.
    """

    at: datetime = NOW
    account: Account = field(default_factory=lambda: AccountFactory(name="Acme"))

    def __post_init__(self) -> None:
        self.read("health", 90)
        business = PlanFactory(key="business", rank=2, price_minor=200_000)
        team = PlanFactory(key="team", rank=1, next_plan=business)
        EntitlementFactory(account=self.account, plan=team)
        for number in range(10):
            FeatureFactory(key=f"advanced-{number}", least_plan=business)
        FeatureFactory(key="boards", least_plan=team, area="work")
        FeatureFactory(key="dashboards", least_plan=team, area="reporting")

    def read(self, meter: str, used: float, limit: float | None = None, ago: timedelta = HOUR) -> None:
        """A reading came in so long ago."""
        ReadingFactory(
            account=self.account,
            meter=MeterFactory(key=meter),
            used_milli=round(used * 1000),
            limit_milli=limit and round(limit * 1000),
            occurred_at=self.at - ago,
        )

    def send(self, kind: str, times: int = 1, ago: timedelta = HOUR, **properties: Any) -> None:
        """Signals of a type came in so long ago."""
        for _ in range(times):
            SignalFactory(
                account=self.account,
                type=SignalTypeFactory(key=kind),
                occurred_at=self.at - ago,
                properties=properties,
            )

    def facts(self, **facts: Any) -> None:
        """These facts hold of it."""
        AccountFacts.objects.filter(account=self.account).update(**facts)

    def raised(self, kind: str, at: datetime | None = None, **more: Any) -> None:
        """A finding was raised, yesterday unless said otherwise."""
        FindingFactory(account=self.account, kind=kind, state__valid_from=at or self.at - DAY, **more)

    def champion(self, kind: str, ago: timedelta = DAY) -> None:
        """Something happened to a champion."""
        ChampionChangeFactory(champion=ChampionFactory(account=self.account), kind=kind, occurred_at=self.at - ago)

    def run(self) -> None:
        """The triggers run, and what they found becomes plays."""
        run_triggers(now=self.at, full=True)
        work(now=self.at)


Scene = Callable[[Stage], None]


def seats(used: float, limit: float) -> Scene:
    return lambda stage: stage.read("seats", used, limit)


def over(used: float, limit: float) -> Scene:
    return lambda stage: stage.read("active_users", used, limit)


def added(by_admin: int, by_invite: int) -> Scene:
    def happens(stage: Stage) -> None:
        stage.send("user_added", by_admin, by="admin")
        stage.send("user_added", by_invite, by="invite")

    return happens


def refused(ago: timedelta) -> Scene:
    return lambda stage: stage.send("invite_refused", ago=ago)


def renews(days: int, before: float, now: float) -> Scene:
    def happens(stage: Stage) -> None:
        stage.facts(renewal_on=stage.at.date() + days * DAY)
        stage.read("seats", before, 200, ago=91 * DAY)
        stage.read("seats", now, 200)

    return happens


def knocks(hits: int, used: float) -> Scene:
    def happens(stage: Stage) -> None:
        stage.send("feature_gate_hit", hits, ago=6 * DAY)
        stage.read("storage", used, 100)

    return happens


def storage(used: float, since: timedelta) -> Scene:
    return lambda stage: stage.read("storage", used, 100, ago=since)


def touches(adds: int) -> Scene:
    def happens(stage: Stage) -> None:
        for number in range(adds):
            stage.send("feature_gate_hit", 2, ago=80 * DAY, feature=f"advanced-{number}")
        stage.send("feature_used", 5, feature="boards")

    return happens


def api_calls(before: float, now: float, limit: float) -> Scene:
    def happens(stage: Stage) -> None:
        stage.read("api_calls", before, limit, ago=31 * DAY)
        stage.read("api_calls", now, limit)

    return happens


def uses(boards_before: int, boards: int, dashboards_before: int) -> Scene:
    def happens(stage: Stage) -> None:
        stage.send("feature_used", boards_before, ago=20 * DAY, feature="boards")
        stage.send("feature_used", dashboards_before, ago=100 * DAY, feature="dashboards")
        stage.send("feature_used", boards, feature="boards")
        stage.send("feature_used", 1, feature="dashboards")

    return happens


def gap(product: bool, held: bool) -> Scene:
    def happens(stage: Stage) -> None:
        analytics = ProductFactory(key="analytics") if product else None
        stage.raised(Finding.Kind.GAP, product=analytics)
        if held:
            EntitlementFactory(account=stage.account, plan=None, product=analytics)

    return happens


def moved(kind: str, ago: timedelta) -> Scene:
    return lambda stage: stage.champion(kind, ago)


def outcome(kind: str, raised: datetime, at: datetime = NOW) -> Scene:
    def happens(stage: Stage) -> None:
        stage.raised(kind, raised)
        # Its health is read anew where it is another day.
        stage.at = at
        stage.read("health", 90)

    return happens


def tickets(on_advanced: int, on_boards: int) -> Scene:
    def happens(stage: Stage) -> None:
        stage.send("support_ticket", on_advanced, ago=29 * DAY, feature="advanced-1")
        stage.send("support_ticket", on_boards, feature="boards")

    return happens


def news(kind: str | None, logins_before: int, logins: int) -> Scene:
    def happens(stage: Stage) -> None:
        if kind is not None:
            stage.send(kind, ago=59 * DAY)
        stage.send("login", logins_before, ago=30 * DAY)
        stage.send("login", logins)

    return happens


def free(lifecycle: str, happens: Scene, **facts: Any) -> Scene:
    def on_free(stage: Stage) -> None:
        # Nobody keeps a health score of it, and it got going this week.
        stage.account.readings.all().delete()
        stage.facts(**{"lifecycle": lifecycle, "activated_on": stage.at.date(), **facts})
        happens(stage)

    return on_free


AUTUMN = datetime(2026, 9, 30, 21, 0, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)

#: Of each trigger what opens it, and what nearly does.
SCENES: dict[str, tuple[dict[str, Scene], dict[str, Scene]]] = {
    "seats_nearly_full.seats_above_80": (
        {"81 %": seats(16.2, 20)},
        {"80 %": seats(16, 20), "no limit": seats(30, 0)},
    ),
    "over_the_licence.five_over": ({"5 over": over(25, 20)}, {"4 over": over(24, 20)}),
    "growing_team.three_added": ({"3 by an admin": added(3, 0)}, {"2 by an admin, one by invite": added(2, 1)}),
    "invite_at_the_limit.invite_refused": ({"yesterday": refused(DAY)}, {"two days ago": refused(2 * DAY)}),
    "renewal_bundle.renews_and_grows": (
        {"in 60 days, 8 % more": renews(60, 100, 108)},
        {
            "in 61 days": renews(61, 100, 108),
            "less than 8 % more": renews(60, 100, 107.9),
            "not growing": renews(10, 108, 108),
        },
    ),
    "gate_knocker.gates_at_high_usage": (
        {"3 hits, 71 %": knocks(3, 71)},
        {"2 hits": knocks(2, 71), "70 %": knocks(3, 70)},
    ),
    "near_the_cap.at_80": (
        {"80 % for a day": storage(80, DAY)},
        {"a short spike": storage(99, 23 * HOUR), "79.9 %": storage(79.9, DAY)},
    ),
    "near_the_cap.at_100": ({"100 % now": storage(100, HOUR)}, {"99.9 %": storage(99.9, DAY)}),
    "outgrown_the_tier.most_of_next_tier": ({"7 of 10": touches(7)}, {"6 of 10": touches(6)}),
    "api_takeoff.api_calls_up": (
        {"up by half": api_calls(1_000, 1_500, 6_000)},
        {
            "up by less": api_calls(1_000, 1_499, 5_000),
            "a small part of what they have": api_calls(1_000, 1_500, 6_001),
        },
    ),
    "new_use_case.first_use_of_an_area": (
        {"reporting, on top": uses(4, 4, 0)},
        {
            "reporting was used before": uses(4, 4, 1),
            "use did not grow": uses(5, 4, 0),
            "nothing is known of before": uses(0, 4, 0),
        },
    ),
    "qbr_gap.open_gap": (
        {"a product fills it": gap(True, False)},
        {"the product is held": gap(True, True), "nothing fills it": gap(False, False)},
    ),
    "champion_moved_up.moved_up": (
        {
            "promoted": moved("promoted", 29 * DAY),
            "another role": moved("role_changed", DAY),
            "a new executive": moved("new_executive", DAY),
        },
        {"left": moved("left", DAY), "a month ago": moved("promoted", 30 * DAY)},
    ),
    "budget_window.budget_and_outcome": (
        {"a win, in October": outcome(Finding.Kind.WIN, OCTOBER - 364 * DAY, OCTOBER)},
        {
            "the last evening of September": outcome(Finding.Kind.WIN, AUTUMN - DAY, AUTUMN),
            "a goal": outcome(Finding.Kind.GOAL, NOW - DAY),
            "a year old": outcome(Finding.Kind.WIN, NOW - 365 * DAY),
        },
    ),
    "advanced_questions.tickets_on_features_not_held": (
        {"2 on features not held": tickets(2, 0)},
        {"one of them is held": tickets(1, 1)},
    ),
    "funding_or_hiring_news.news_and_growing_use": (
        {"funding": news("funding_announced", 5, 6), "hiring": news("hiring_announced", 10, 12)},
        {
            "the news alone": news("funding_announced", 5, 5),
            "hardly any use": news("hiring_announced", 4, 12),
            "no news": news(None, 5, 6),
        },
    ),
    "free_to_paid.near_a_limit": (
        {"a trial": free("trial", storage(80, HOUR)), "a free account": free("free", seats(4, 5))},
        {
            "79.9 %": free("trial", storage(79.9, HOUR)),
            "it pays": free("paying", storage(80, HOUR)),
            "it left": free("churned", storage(80, HOUR)),
        },
    ),
    "free_to_paid.knocks_on_gates": (
        {"3 hits": free("free", lambda stage: stage.send("feature_gate_hit", 3, ago=13 * DAY))},
        {"2 hits": free("free", lambda stage: stage.send("feature_gate_hit", 2, ago=13 * DAY))},
    ),
}

OPENS = [(trigger, name) for trigger, (opens, _) in SCENES.items() for name in opens]
DOES_NOT = [(trigger, name) for trigger, (_, misses) in SCENES.items() for name in misses]


@pytest.fixture
def stage(db: None) -> Stage:
    """The starter catalogue, and a customer at which nothing has happened."""
    load_starter_catalogue(now=NOW - 60 * DAY)
    return Stage()


def run_alone(stage: Stage, trigger: str, scene: Scene) -> str:
    """Let a scene happen and the triggers of this one playbook run; answers the trigger's own key."""
    playbook, _, key = trigger.partition(".")
    draft = save_draft(text=(LIBRARY / f"{playbook}.yaml").read_text(), now=NOW - 60 * DAY)
    publish_playbook(playbook_id=draft.pk, now=NOW - 60 * DAY)
    scene(stage)
    stage.run()
    return key


@pytest.mark.parametrize(("trigger", "name"), OPENS, ids=lambda value: value)
def test_it_opens_a_play(stage: Stage, trigger: str, name: str) -> None:
    key = run_alone(stage, trigger, SCENES[trigger][0][name])
    match = Match.objects.get(trigger__key=key)
    assert (match.state, match.held_reason) == (Match.State.FIRED, "")
    play = Play.objects.get()
    assert (play.account, play.recipe, play.motion) == (
        stage.account,
        match.version,
        DOCUMENTS[trigger.partition(".")[0]]["motion"],
    )
    assert play.evidence
    assert [(row.number, row.text) for row in play.steps.order_by("number")] == [
        (number, step["text"]) for number, step in steps_for(play.recipe.document, play.route)
    ]


@pytest.mark.parametrize(("trigger", "name"), DOES_NOT, ids=lambda value: value)
def test_it_just_does_not(stage: Stage, trigger: str, name: str) -> None:
    key = run_alone(stage, trigger, SCENES[trigger][1][name])
    assert not Match.objects.filter(trigger__key=key).exists()


def test_every_trigger_of_the_library_has_its_scenes(library: None) -> None:
    there = {str(trigger) for trigger in Trigger.objects.select_related("playbook")}
    assert there == set(SCENES)
    assert there == {
        f"{key}.{trigger['key']}" for key, document in DOCUMENTS.items() for trigger in document["triggers"]
    }


def test_a_quiet_customer_opens_nothing(library: None) -> None:
    """In the season of budgets, with its renewal ahead and all of it in use, at the same level for long."""
    stage = Stage()
    stage.facts(renewal_on=date(2026, 12, 1), head_count=5_000)
    for ago in (91 * DAY, 31 * DAY, HOUR):
        stage.read("seats", 16, 20, ago)
        stage.read("api_calls", 60_000, 100_000, ago)
        stage.read("storage", 70, 100, ago)
    for ago in (50 * DAY, 40 * DAY, 20 * DAY, DAY):
        stage.send("login", 20, ago)
        stage.send("feature_used", 10, ago, feature="boards")
        stage.send("feature_used", 5, ago, feature="dashboards")
        stage.send("support_ticket", 2, ago)
    stage.send("feature_gate_hit", 2, feature="advanced-1")
    stage.send("funding_announced")
    stage.raised(Finding.Kind.GOAL)
    stage.run()
    assert not Match.objects.exists()


def test_the_documentation_lists_the_library_with_its_motions() -> None:
    section = (DOCS / "playbooks.md").read_text().partition("\n## The starter library\n")[2]
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \| .* \|$", section, re.MULTILINE)
    motions = {key: str(Motion(document["motion"]).label) for key, document in DOCUMENTS.items()}
    assert {key: motion.capitalize() for key, motion in rows} == motions


SMALL, MIDDLE, LARGE = "small", "mid_market", "enterprise"

#: By playbook the route of each segment, with an amount of 100.00 a month; as the design has it.
ROUTES = {
    "seats_nearly_full": {SMALL: "self_serve", MIDDLE: "csm", LARGE: "csm"},
    "over_the_licence": dict.fromkeys((SMALL, MIDDLE, LARGE), "csm"),
    "growing_team": dict.fromkeys((SMALL, MIDDLE, LARGE), "email"),
    "invite_at_the_limit": dict.fromkeys((SMALL, MIDDLE, LARGE), "self_serve"),
    "renewal_bundle": dict.fromkeys((SMALL, MIDDLE, LARGE), "csm"),
    "gate_knocker": {SMALL: "self_serve", MIDDLE: "email", LARGE: "sales"},
    "near_the_cap": {SMALL: "self_serve", MIDDLE: "email", LARGE: "email"},
    "outgrown_the_tier": {SMALL: "self_serve", MIDDLE: "email", LARGE: "sales"},
    "api_takeoff": dict.fromkeys((SMALL, MIDDLE, LARGE), "csm"),
    "new_use_case": dict.fromkeys((SMALL, MIDDLE, LARGE), "csm"),
    "qbr_gap": dict.fromkeys((SMALL, MIDDLE, LARGE), "sales"),
    "champion_moved_up": dict.fromkeys((SMALL, MIDDLE, LARGE), "csm"),
    "budget_window": dict.fromkeys((SMALL, MIDDLE, LARGE), "sales"),
    "advanced_questions": dict.fromkeys((SMALL, MIDDLE, LARGE), "email"),
    "funding_or_hiring_news": dict.fromkeys((SMALL, MIDDLE, LARGE), "csm"),
    "free_to_paid": {SMALL: "self_serve", MIDDLE: "self_serve", LARGE: "sales"},
}


@pytest.mark.parametrize("key", DOCUMENTS)
def test_each_segment_takes_its_route(key: str) -> None:
    rules = DOCUMENTS[key]["routes"]
    chosen = {segment: choose_route(rules, RouteFacts(segment), 10_000).route.value for segment in ROUTES[key]}
    assert chosen == ROUTES[key]


def test_seats_for_much_money_are_sold_by_a_person() -> None:
    assert choose_route(DOCUMENTS["seats_nearly_full"]["routes"], RouteFacts(SMALL), 50_000).route == "csm"


def test_free_accounts_of_which_no_segment_is_known_help_themselves() -> None:
    assert choose_route(DOCUMENTS["free_to_paid"]["routes"], NO_FACTS, None).route == "self_serve"


@pytest.mark.parametrize("key", DOCUMENTS)
def test_nobody_is_promised_a_call_by_a_route_without_people(key: str) -> None:
    """A first touch is promised where somebody makes it: a prompt is due when its play opens."""
    document = DOCUMENTS[key]
    routes = {rule["route"] for rule in document["routes"]}
    touched = next((target for target in document["targets"] if target["target"] == "first_touch"), None)
    promised = set() if touched is None else set(touched.get("routes", routes))
    assert promised & routes == routes - {"self_serve"}
    assert {"closed"} <= {target["target"] for target in document["targets"]}


@pytest.mark.parametrize("key", DOCUMENTS)
def test_each_says_what_it_is_for_and_what_to_do(key: str) -> None:
    document = DOCUMENTS[key]
    assert document["summary"]
    assert document["steps"]
    assert document["talk_track"]
    assert document["amount"]["rule"] != "unknown" or key in ("champion_moved_up",)
    assert all(trigger["name"] for trigger in document["triggers"])


MAILS = [
    pytest.param(step["mail"], id=f"{key}-{number}")
    for key, document in DOCUMENTS.items()
    for number, step in enumerate(document["steps"], start=1)
    if "mail" in step
]


@pytest.mark.parametrize("mail", MAILS)
def test_each_mail_is_short_plain_and_signed_and_a_person_sends_it(mail: dict[str, Any]) -> None:
    assert not mail["automatic"]
    body = mail["body"]
    assert body.startswith("Dear {{champion_first_name}},\n\n")
    assert body.rstrip().endswith("Kind regards\n{{owner_name}}")
    assert len(body.split()) < 120
    assert "<" not in body
    # With all that may be known, nothing is left to mend.
    letter = Letter(**dict.fromkeys(FIELDS, "Ada"))
    assert unfinished(fill_in_subject(mail["subject"], letter), fill_in_body(body, letter)) == []


@pytest.mark.parametrize("key", DOCUMENTS)
def test_whoever_works_a_play_has_something_to_do_and_knows_until_when(key: str) -> None:
    document = DOCUMENTS[key]
    for route in {rule["route"] for rule in document["routes"]}:
        steps = [step for _, step in steps_for(document, route)]
        assert steps
        assert all("after_hours" in step or step["kind"] in (*LASTS_DAYS, "prompt") for step in steps)


def test_several_starter_playbooks_have_mails_waits_and_trials() -> None:
    kinds = {key: {step["kind"] for step in document["steps"]} for key, document in DOCUMENTS.items()}
    assert len(MAILS) >= 8
    assert sum("wait" in each for each in kinds.values()) >= 4
    assert sum("trial" in each for each in kinds.values()) >= 3
