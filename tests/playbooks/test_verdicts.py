"""Verdicts of a small company, day by day: each account one, all adding up, the same counted, listed and explained."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.acts.companies import NewAccount, create_accounts
from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import Account, AccountTeam
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.document import read_document
from csplaybooks.playbooks.evaluator import TriggerVersion
from csplaybooks.playbooks.factories import MatchFactory, PlaybookFactory, PlayFactory, RunFactory
from csplaybooks.playbooks.guards import Hold
from csplaybooks.playbooks.models import Match, MatchStep, Playbook, Run, Trigger
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.reach import Forgotten
from csplaybooks.playbooks.rounds import run_next_part
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.playbooks.steps import hold, let_pass, write_steps
from csplaybooks.playbooks.verdicts import (
    MOST_EXPLAINED,
    Asked,
    Explanation,
    Kind,
    Verdict,
    accounts_of,
    as_counts,
    count_verdicts,
    counts_of_run,
    explain,
    how_far,
    sort_out,
    sums_of_runs,
)
from csplaybooks.playbooks.verdicts.episodes import episodes as episodes_of
from tests.playbooks.edges import run, run_and_work
from tests.playbooks.inputs import DAY, NOW, gate_hits, seats

HOUR = timedelta(hours=1)

TEXT = """\
key: knockers
name: Knockers
motion: add_on
audience:
  segments: [small, mid_market]
triggers:
  - key: knocks
    strength: strong
    cooldown_days: 60
    any:
      - all:
          - {measure: signal_count, signal_type: feature_gate_hit, window_days: 30, at_least: 3}
          - {measure: share_of_limit, meters: [seats], above: 70}
      - all:
          - {measure: signal_count, signal_type: invite_refused, window_days: 30, at_least: 1}
guards:
  unhealthy: off
routes:
  - route: csm
targets:
  - {target: first_touch, hours: 8}
"""


def known_as(name: str, **more: Any) -> Account:
    row: Account = AccountFactory(name=name, identity__external_id=name, **more)
    return row


@pytest.fixture
def company(db: None) -> None:
    """One CSM with room for one play, and a customer for each verdict of the first day."""
    set_up(now=NOW - 30 * DAY, schedules=False)
    Playbook.objects.update(is_active=False)
    save_and_publish(TEXT)
    TeamMemberFactory(name="Cora", open_play_cap=1)
    known_as("outside", facts__segment="enterprise")
    known_as("quiet")
    known_as("roomy")
    known_as("young", facts__activated_on=date(2026, 11, 10))
    known_as("gone")
    known_as("merged")
    known_as("first")
    known_as("second")
    for name in ("outside", "roomy", "young", "gone", "merged", "first", "second"):
        gate_hits(name, 1, 2, 3, at=NOW - HOUR)
        seats(name, 6 if name == "roomy" else 9, 10, at=NOW - HOUR)
    Account.objects.filter(name="gone").update(deleted_at=NOW - DAY)
    Account.objects.filter(name="merged").update(merged_into=Account.objects.get(name="quiet"))


def save_and_publish(text: str, at: datetime = NOW - 2 * DAY) -> Any:
    playbook = save_draft(text=text, now=at)
    publish_playbook(playbook_id=playbook.pk, now=at)
    return playbook


def the_trigger(asked: Asked) -> TriggerVersion:
    """The one trigger there is."""
    (trigger,) = asked.triggers()
    return trigger


def said(asked: Asked) -> dict[str, str]:
    """The verdict of each account by name; counts, lists and explanations agree, and add up."""
    trigger = the_trigger(asked)
    names = dict(Account.objects.values_list("pk", "name"))
    counts = count_verdicts(trigger, asked)
    assert sum(count.accounts for count in counts) == len(names)
    verdicts: dict[str, str] = {}
    for count in counts:
        listed = list(accounts_of(trigger, asked, count.verdict))
        assert len(listed) == count.accounts
        verdicts |= {account.name: count.key for account in listed}
    explained = explain([trigger], asked, list(names))
    assert verdicts == {names[pk]: one.verdict.key for pk, [one] in explained.items() if one.verdict}
    return verdicts


def told(asked: Asked, name: str) -> Explanation:
    """One account in full."""
    account = Account.objects.get(name=name)
    ((explanation,),) = explain([the_trigger(asked)], asked, [account.pk]).values()
    return explanation


FIRST_DAY = {
    "outside": "outside",
    "quiet": "failed:0:0",
    "roomy": "failed:0:1",
    "young": "held:onboarding",
    "gone": "held:gone",
    "merged": "held:gone",
    "first": "fired",
    "second": "queued",
}


def test_each_account_has_one_verdict_at_each_run(company: None) -> None:
    before = said(Asked.now(NOW))
    assert before == FIRST_DAY | {"first": "queued"}
    one = run_and_work(NOW)
    assert said(Asked.of_run(one)) == said(Asked.now(NOW)) == FIRST_DAY
    two = run_and_work(NOW + DAY)
    later = FIRST_DAY | {"first": "still_matching"}
    assert said(Asked.of_run(two)) == said(Asked.now(NOW + DAY)) == later
    three = run_and_work(NOW + 15 * DAY)
    assert said(Asked.of_run(three)) == later | {"second": "expired"}
    # What was said of a run stays, and so does what was so at a moment.
    assert said(Asked.of_run(one)) == FIRST_DAY
    assert said(Asked.of_run(two)) == said(Asked.at(NOW + DAY)) == later
    assert said(Asked.at(NOW + HOUR)) == FIRST_DAY
    # Nobody had knocked before the knocks: asked in the version of a run of that time, and of none before it.
    assert Asked.at(NOW - 2 * HOUR).triggers() == []
    earlier = Asked.at(NOW - 2 * HOUR)
    assert set(said(replace(earlier, versions=one.versions)).values()) == {"outside", "failed:0:0"}
    for made in (one, two, three):
        asked = Asked.of_run(made)
        kept = sums_of_runs([made], the_trigger(asked).trigger_id)
        assert kept is not None
        assert as_counts(the_trigger(asked), kept) == count_verdicts(the_trigger(asked), asked)


def test_an_episode_that_is_over_leaves_a_cooldown(company: None) -> None:
    run_and_work(NOW)
    seats("first", 1, 10, at=NOW + DAY)
    over = run_and_work(NOW + DAY)
    assert said(Asked.of_run(over))["first"] == "failed:0:1"
    seats("first", 9, 10, at=NOW + 2 * DAY)
    asked = Asked.now(NOW + 2 * DAY + HOUR)
    assert said(asked)["first"] == "cooling"
    assert told(asked, "first").sentence == "Cooling until 2027-01-15 10:00: fired before, on 2026-11-16."
    again = run_and_work(NOW + 3 * DAY)
    assert said(Asked.of_run(again))["first"] == "cooling"
    assert told(Asked.of_run(again), "first").sentence.startswith("Cooling until 2027-01-15 10:00: fired before")


def test_at_the_very_moment_it_was_closed_an_episode_is_over(company: None) -> None:
    run_and_work(NOW)
    seats("first", 1, 10, at=NOW + DAY)
    over = run_and_work(NOW + DAY)
    # Told later, of the same moment: with today's knowledge the conditions held then.
    seats("first", 9, 10, at=NOW + DAY)
    assert said(Asked.of_run(over))["first"] == "failed:0:1"
    assert said(Asked.at(NOW + DAY))["first"] == "cooling"


def test_an_episode_that_stands_fails_as_soon_as_its_conditions_do(company: None) -> None:
    run_and_work(NOW)
    seats("first", 1, 10, at=NOW + HOUR)
    assert said(Asked.now(NOW + HOUR))["first"] == "failed:0:1"
    assert said(Asked.now(NOW + HOUR / 2))["first"] == "fired"
    explanation = told(Asked.now(NOW + HOUR), "first")
    assert explanation.episode is not None
    assert explanation.episode.state == Match.State.FIRED


def test_what_was_let_in_and_taken_back_is_told_as_it_was(company: None) -> None:
    made = run(NOW)
    match = Match.objects.get(account__name="first")
    # Somebody fills the account up before a worker comes by.
    for motion in ("seat_expansion", "tier_upsell", "cross_sell"):
        PlayFactory(
            account=match.account, opened_at=NOW, recipe__playbook=PlaybookFactory(motion=motion, is_active=False)
        )
    work(now=NOW + HOUR)
    match.refresh_from_db()
    assert (match.state, match.held_by, match.admitted_run_id) == (Match.State.HELD, "crowded", None)
    assert said(Asked.of_run(made))["first"] == "fired"
    assert said(Asked.at(NOW + HOUR / 2))["first"] == "fired"
    assert said(Asked.now(NOW + HOUR))["first"] == "held:crowded"
    assert said(Asked.at(NOW + HOUR))["first"] == "held:crowded"


def test_what_was_let_in_again_was_let_in_by_the_later_run(company: None) -> None:
    first = Account.objects.get(name="first")
    one, two, three = (RunFactory(moment=NOW + day * DAY, versions={}) for day in range(3))
    trigger = Trigger.objects.get(key="knocks")
    match = MatchFactory(
        account=first,
        trigger=trigger,
        version=trigger.playbook.published,
        opened_run=one,
        state=Match.State.HELD,
        held_by="crowded",
    )
    match.steps.all().delete()
    for made, in_run in ((one, True), (one, False), (two, True), (two, False)):
        held = {} if in_run else {"held_by": "crowded"}
        MatchStep.objects.create(
            match=match, run=made, in_run=in_run, at=made.moment, admitted=in_run,
            state=Match.State.QUEUED if in_run else Match.State.HELD, **held,
        )  # fmt: skip
    asked = Asked.now(NOW)
    seen = {
        made.pk: sort_out(
            the_trigger(asked), Asked(NOW, asked.known, run=made, past=True, newest=made.pk), [first.pk]
        ).counts
        for made in (one, two, three)
    }
    assert seen == {one.pk: {"fired": 1}, two.pk: {"fired": 1}, three.pk: {"held:crowded": 1}}


def test_a_past_answer_knows_of_no_later_stay_in_the_queue(company: None, django_assert_num_queries: Any) -> None:
    one = run_and_work(NOW)
    match = Match.objects.get(account__name="second")
    asked = {"run": Asked.of_run(one), "moment": Asked.at(NOW + HOUR)}
    before = {name: told(each, "second") for name, each in asked.items()}
    for explanation in before.values():
        assert explanation.sentence == "Queued: waits for room since 2026-11-16 10:00 until 2026-11-30 10:00."
    # It is held for a day, and comes into the queue again.
    for number, state in enumerate((Match.State.HELD, Match.State.QUEUED), start=1):
        at = NOW + number * DAY
        if state == Match.State.HELD:
            hold(match, Hold("crowded", "enough is going on", at + DAY))
        else:
            let_pass(match, at, 14 * DAY)
        match.save()
        write_steps([match], run_id=RunFactory(moment=at, versions=one.versions).pk, in_run=True, at=at)
        for each in asked.values():
            explanation = told(each, "second")
            assert explanation.sentence == "Queued: waits for room since 2026-11-16 10:00."
            assert explanation.episode is not None
            assert (explanation.episode.queued_at, explanation.episode.waits_until) == (NOW, None)
    held = told(Asked.at(NOW + DAY + HOUR), "second").episode
    assert held is not None
    assert (held.held_by, held.queued_at, held.waits_until) == ("crowded", None, None)
    again = told(Asked.at(NOW + 2 * DAY + HOUR), "second")
    assert again.sentence == "Queued: waits for room since 2026-11-18 10:00 until 2026-12-02 10:00."
    trigger = the_trigger(asked["run"])
    with django_assert_num_queries(3):
        episodes_of(asked["run"], [trigger.trigger_id])


def test_of_the_past_no_run_is_promised(company: None) -> None:
    one = run(NOW)
    # Told afterwards, of before: the moment knows of it today, and there was no match.
    gate_hits("quiet", 1, 2, 3, at=NOW - HOUR)
    seats("quiet", 9, 10, at=NOW - HOUR)
    assert said(Asked.of_run(one))["quiet"] == "failed:0:0"
    late = told(Asked.at(NOW + HOUR), "quiet")
    assert late.sentence == "Met the conditions, and no guard held it, but there was no match yet."
    assert "the next run that looks at it opens a match" in told(Asked.now(NOW + HOUR), "quiet").sentence


def test_sentences_say_what_there_is_to_say(company: None) -> None:
    run_and_work(NOW)
    asked = Asked.now(NOW)
    play = Match.objects.get(account__name="first").play_id
    assert {name: told(asked, name).sentence for name in ("outside", "quiet", "roomy", "young", "gone", "first")} == {
        "outside": "Outside the audience: its segment is enterprise, asked for small, mid_market.",
        "quiet": "Failed: feature gate hit: 0 in 30 days, needed at least 3.",
        "roomy": "Failed: seats at 60 % (6 of 10), needed above 70 %.",
        "young": "Held by onboarding until 2026-12-10 00:00: activated on 2026-11-10, less than 30 days ago.",
        "gone": "Held by gone: the account was deleted.",
        "first": f"Fired: led to play {play} on 2026-11-16 10:00.",
    }
    assert told(asked, "second").sentence == "Queued: waits for room since 2026-11-16 10:00 until 2026-11-30 10:00."
    run_and_work(NOW + 15 * DAY)
    asked = Asked.now(NOW + 15 * DAY)
    assert (
        told(asked, "first").sentence
        == f"Still matching since 2026-11-16 10:00: led to play {play} on 2026-11-16 10:00."
    )
    assert told(asked, "second").sentence.startswith("Expired: there was no room for it")


def test_an_explanation_tells_all_conditions_and_all_guards(company: None) -> None:
    explanation = told(Asked.now(NOW), "young")
    assert explanation.audience is not None
    assert (explanation.audience.holds, explanation.audience.words) == (
        True,
        "its segment is mid_market, asked for small, mid_market",
    )
    assert [[(each.holds, each.words) for each in group.conditions] for group in explanation.groups] == [
        [
            (True, "feature gate hit: 3 in 30 days, needed at least 3"),
            (True, "seats at 90 % (9 of 10), needed above 70 %"),
        ],
        [(False, "invite refused: 0 in 30 days, needed at least 1")],
    ]
    assert [(type(answer).__name__, answer.guard) for answer in explanation.guards] == [
        ("Pass", "gone"),
        ("Pass", "not_paying"),
        ("Hold", "onboarding"),
        ("Pass", "tenure"),
        ("Pass", "dismissed"),
        ("Pass", "cooling"),
        ("Pass", "crowded"),
        ("Pass", "black_out"),
    ]
    plain = explanation.as_json()
    assert (plain["verdict"], plain["trigger_key"], plain["episode"]) == ("held:onboarding", "knocks", None)
    assert plain["groups"][1] == {
        "holds": False,
        "conditions": [
            {
                "measure": "signal_count",
                "holds": False,
                "words": "invite refused: 0 in 30 days, needed at least 1",
                "settings": {
                    "measure": "signal_count",
                    "signal_type": "invite_refused",
                    "window_days": 30,
                    "at_least": 1,
                },
            }
        ],
    }
    assert plain["guards"][2] == {
        "guard": "onboarding",
        "answer": "hold",
        "reason": "activated on 2026-11-10, less than 30 days ago",
        "until": "2026-12-10T00:00:00+00:00",
        "route": None,
    }
    run_and_work(NOW)
    episode = told(Asked.now(NOW), "first").as_json()["episode"]
    assert (episode["state"], episode["since"], episode["folded"]) == ("fired", "2026-11-16T10:00:00+00:00", False)


def test_the_group_that_got_furthest_says_where_it_failed(company: None) -> None:
    text = TEXT.replace(
        "          - {measure: signal_count, signal_type: invite_refused, window_days: 30, at_least: 1}\n",
        (
            "          - {measure: signal_count, signal_type: feature_gate_hit, window_days: 30, at_least: 2}\n"
            "          - {measure: signal_count, signal_type: feature_gate_hit, window_days: 30, at_least: 1}\n"
            "          - {measure: share_of_limit, meters: [seats], above: 95}\n"
        ),
    )
    save_and_publish(text)
    verdicts = said(Asked.now(NOW))
    # Of equals the first.
    assert verdicts["quiet"] == "failed:0:0"
    assert verdicts["roomy"] == "failed:1:2"


def test_a_draft_has_no_episodes_and_is_judged_by_its_guards(company: None) -> None:
    run_and_work(NOW)
    (draft,) = TriggerVersion.of_draft(
        read_document(TEXT.replace("unhealthy: off", "unhealthy: off\n  onboarding: off"))
    )
    asked = Asked.now(NOW)
    assert draft.is_draft
    sorted_out = sort_out(draft, asked)
    names = dict(Account.objects.values_list("pk", "name"))
    assert {names[pk]: verdict.key for pk, verdict in sorted_out.holding.items()} == {
        "young": "queued",
        "gone": "held:gone",
        "merged": "held:gone",
        "first": "queued",
        "second": "queued",
    }
    assert sum(sorted_out.counts.values()) == len(names)
    ((explanation,),) = explain([draft], asked, [pk for pk, name in names.items() if name == "first"]).values()
    assert explanation.as_json()["trigger"] is None
    assert explanation.sentence.startswith("Meets the conditions, and no guard holds it")


def test_viewers_count_whom_they_see(company: None) -> None:
    run_and_work(NOW)
    viewer = UserFactory()
    member = TeamMemberFactory(name="Carl", user=viewer, is_customer_success_manager=False, is_account_executive=True)
    for name in ("first", "roomy"):
        account = Account.objects.get(name=name)
        AccountTeam.objects.create(
            account=account,
            member=member,
            role=AccountTeam.Role.AE,
            valid_from=NOW,
            change=account.facts.get().change,
        )
    asked = Asked.now(NOW)
    trigger = the_trigger(asked)
    seen = Account.objects.visible_to(viewer)
    assert sort_out(trigger, asked, seen).counts == {"fired": 1, "failed:0:1": 1}
    assert [row.name for row in accounts_of(trigger, asked, Verdict(Kind.FIRED), seen)] == ["first"]
    assert [row.name for row in accounts_of(trigger, asked, Verdict.failed(0, 1), seen)] == ["roomy"]
    assert sort_out(trigger, asked, Account.objects.visible_to(UserFactory())).counts == {}
    assert sort_out(trigger, asked, []).counts == {}


def test_many_accounts_are_asked_about_as_few_are(company: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run_and_work(NOW)
    asked = Asked.now(NOW)
    trigger = the_trigger(asked)
    some = Account.objects.exclude(name="quiet")
    few = sort_out(trigger, asked, some)
    assert sum(few.counts.values()) == 7
    monkeypatch.setattr("csplaybooks.playbooks.verdicts.sorting._MOST_LISTED", 1)
    assert sort_out(trigger, asked, some) == few
    assert sort_out(trigger, asked, list(some.values_list("pk", flat=True))) == few
    roomy = accounts_of(trigger, asked, Verdict.failed(0, 1), some)
    assert [row.name for row in roomy] == ["roomy"]
    assert list(accounts_of(trigger, asked, Verdict.failed(0, 0), some)) == []


def test_parts_of_a_round_add_up(company: None, settings: Any) -> None:
    settings.CSPLAYBOOKS = {"FULL_RUN_ACCOUNTS": 3}
    run_triggers(now=NOW, full=True)
    while run_next_part(now=NOW):
        pass
    parts = Run.objects.filter(kind=Run.Kind.PART)
    assert parts.count() > 1
    trigger_id = Trigger.objects.get(key="knocks").pk
    sums = sums_of_runs(parts, trigger_id)
    asked = Asked.of_run(parts.order_by("-pk")[0])
    assert sums is not None
    assert sum(sums.values()) == Account.objects.count()
    # What an earlier part let in is still matching at the last one.
    assert {key: n for key, n in sums.items() if not key.startswith(("fired", "still"))} == {
        count.key: count.accounts
        for count in count_verdicts(the_trigger(asked), asked)
        if count.accounts and count.verdict.kind not in (Kind.FIRED, Kind.STILL_MATCHING)
    }
    assert sums_of_runs(parts, trigger_id + 1000) is None


def test_an_account_made_later_is_not_among_those_of_a_run(company: None) -> None:
    made = run_and_work(NOW)
    asked = Asked.of_run(made)
    trigger = the_trigger(asked)
    before = count_verdicts(trigger, asked)
    [late] = create_accounts(items=[NewAccount(name="late")], now=NOW + DAY, actor=None)
    assert count_verdicts(trigger, asked) == before
    assert sum(count.accounts for count in before) == made.accounts == Account.objects.count() - 1
    for count in before:
        assert accounts_of(trigger, asked, count.verdict).count() == count.accounts
    assert explain([trigger], asked, [late.pk]) == {}
    # The run that is told of it counts it, and so does whoever asks of the present.
    next_run = run_and_work(NOW + DAY)
    for question in (Asked.of_run(next_run), Asked.now(NOW + DAY)):
        assert sum(count.accounts for count in count_verdicts(trigger, question)) == Account.objects.count()
        assert explain([trigger], question, [late.pk]).keys() == {late.pk}


def test_what_was_pruned_is_said(company: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csplaybooks.playbooks.measures.base.pruned_before", lambda: NOW - 10 * DAY)
    asked = Asked.now(NOW)
    trigger = the_trigger(asked)
    for question in (
        lambda: count_verdicts(trigger, asked),
        lambda: accounts_of(trigger, asked, Verdict(Kind.OUTSIDE)),
        lambda: accounts_of(trigger, asked, Verdict(Kind.FIRED)),
    ):
        with pytest.raises(Forgotten, match="The trigger knocks, asked about 2026-11-16 10:00, looks 35 days back"):
            question()
    explanation = told(asked, "first")
    assert explanation.verdict is None
    assert explanation.sentence == explanation.problem
    assert explanation.problem.startswith("The trigger knocks, asked about")
    assert explanation.as_json()["verdict"] is None


def test_guards_that_look_at_what_was_pruned_are_said(company: None, monkeypatch: pytest.MonkeyPatch) -> None:
    text = TEXT.replace("  unhealthy: off", "  unhealthy: off\n  dismissed: {days: 90}")
    save_and_publish(text)
    monkeypatch.setattr("csplaybooks.playbooks.measures.base.pruned_before", lambda: NOW - 40 * DAY)
    asked = Asked.now(NOW)
    with pytest.raises(Forgotten, match="The guard dismissed, asked about"):
        count_verdicts(the_trigger(asked), asked)
    assert told(asked, "first").problem.startswith("The guard dismissed")
    # Who fails a condition is not judged.
    assert told(asked, "quiet").sentence == "Failed: feature gate hit: 0 in 30 days, needed at least 3."


def test_a_measure_or_guard_that_is_not_registered_stops_no_other(company: None) -> None:
    asked = Asked.now(NOW)
    (good,) = asked.triggers()
    unknown = {"key": "odd", "cooldown_days": 1, "any": [{"all": [{"measure": "no_such"}]}]}
    odd = TriggerVersion(10**9, 10**9, unknown, {}, {"gone": {}}, "add_on")
    unguarded = TriggerVersion(10**9 + 1, 10**9 + 1, good.definition, {}, {"no_such": {}}, "add_on")
    first = Account.objects.get(name="first")
    explained = explain([odd, good, unguarded], asked, [first.pk, 10**9])
    assert list(explained) == [first.pk]
    problems = [one.problem for one in explained[first.pk]]
    assert problems[0].startswith("no measure no_such is registered")
    assert problems[1] == ""
    assert problems[2].startswith("no guard no_such is registered")
    with pytest.raises(LookupError):
        count_verdicts(unguarded, asked)
    with pytest.raises(ValueError, match="at most 200"):
        explain([good], asked, range(MOST_EXPLAINED + 1))


def test_an_explanation_of_twenty_triggers_costs_one_query_each(company: None) -> None:
    conditions = "".join(
        f"  - {{key: t{n}, any: [{{all: [{{measure: signal_count, signal_type: feature_gate_hit, window_days: {n + 1}, "
        "at_least: 1}]}]}\n"
        for n in range(20)
    )
    save_and_publish(TEXT[: TEXT.index("triggers:")] + "triggers:\n" + conditions + TEXT[TEXT.index("guards:") :])
    run_and_work(NOW)
    first = Account.objects.get(name="first")
    for make, episodes in ((lambda: Asked.now(NOW), 1), (lambda: Asked.of_run(Run.objects.latest("pk")), 2)):
        asked = make()
        triggers = asked.triggers()
        assert len(triggers) == 20
        # The conditions of each trigger, who is there and the guards of the version, the episodes.
        with CaptureQueriesContext(connection) as captured:
            explained = explain(triggers, asked, [first.pk])
        assert len(captured) == 20 + 2 + episodes
        assert len(explained[first.pk]) == 20


@pytest.mark.parametrize("extra", [0, 20])
def test_counts_cost_the_same_however_many_there_are(company: None, extra: int, django_assert_num_queries: Any) -> None:
    made = run_and_work(NOW)
    for number in range(extra):
        known_as(f"more-{number}")
        gate_hits(f"more-{number}", 1, 2, 3)
        seats(f"more-{number}", 9, 10)
    asked = Asked.now(NOW)
    trigger = the_trigger(asked)
    # How far everybody gets; the episodes; the guards of those without one.
    with django_assert_num_queries(3 if extra else 2):
        count_verdicts(trigger, asked)
    past = Asked.of_run(made)
    with django_assert_num_queries(3):
        count_verdicts(trigger, past)
    with django_assert_num_queries(1):
        list(accounts_of(trigger, asked, Verdict.failed(0, 0)))
    with django_assert_num_queries(2):
        counts_of_run(made, trigger, past.known, how_far(trigger, past))


def test_counts_stand_in_one_order_under_headings(company: None) -> None:
    trigger = the_trigger(Asked.now(NOW))
    counts = as_counts(trigger, {"held:onboarding": 2, "held:gone": 1, "held:of_a_host": 1, "fired": 3})
    assert [(count.key, count.accounts) for count in counts] == [
        ("outside", 0),
        ("failed:0:0", 0),
        ("failed:0:1", 0),
        ("failed:1:0", 0),
        ("held:gone", 1),
        ("held:onboarding", 2),
        ("held:of_a_host", 1),
        ("cooling", 0),
        ("queued", 0),
        ("fired", 3),
        ("still_matching", 0),
        ("expired", 0),
    ]
    words = {count.key: count.words for count in counts}
    assert words["failed:0:1"] == "Failed (group 1 of 2): share of limit (seats), above 70 %"
    assert words["held:of_a_host"] == "Held by of a host"
    with pytest.raises(ValueError, match="has no condition for failed:3:0"):
        as_counts(trigger, {"failed:3:0": 1})
    with pytest.raises(ValueError, match="has no condition"):
        accounts_of(trigger, Asked.now(NOW), Verdict.failed(0, 7))
