"""From a queued match to a play: what opens, what folds, what fails alone, and what workers at once make of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import AccountFactory, ProductFactory
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks.acts.plays import open_play_by_hand
from csplaybooks.playbooks.factories import (
    MatchFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
    RunFactory,
    TriggerFactory,
)
from csplaybooks.playbooks.models import Interval, Match, Play, PlayMatch
from csplaybooks.playbooks.pipeline import opening
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.playbooks.pipeline.queue import retry_stuck
from csplaybooks.playbooks.runs import matches_after
from tests.at_once import at_once, elsewhere
from tests.playbooks.plays import broken

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db

GAP = {
    "measure": "open_gap",
    "words": "no trends",
    "settings": {"measure": "open_gap"},
    "found": {"product": "analytics"},
}


def recipe(key: str = "k", motion: str = "cross_sell", more: str = "") -> Any:
    """A published playbook with a step and two routes."""
    draft = f"key: {key}\nname: {key.upper()}\nmotion: {motion}\n"
    draft += "triggers: [{key: seats_above_80, any: [{all: [{measure: open_gap}]}]}]\n"
    draft += "routes: [{route: csm, when: {segments: [small]}}, {route: sales}]\nexpires_days: 30\n"
    draft += "targets: [{target: first_touch, hours: 8}]\namount: {rule: list_price}\n"
    draft += "steps: [{kind: task, text: Read it.}, {kind: mail, text: Write it.}]\n" + more
    return PlaybookVersionFactory(playbook=PlaybookFactory(key=key, motion=motion, draft=draft))


def queued(version: Any, account: Any = None, **more: Any) -> Match:
    """A match that waits to become a play."""
    trigger = TriggerFactory(playbook=version.playbook)
    match: Match = MatchFactory(version=version, trigger=trigger, account=account or AccountFactory(), **more)
    return match


def test_a_match_becomes_a_play_with_all_it_was_found_by() -> None:
    analytics = ProductFactory(key="analytics", name="Analytics", list_price_minor=50_000)
    match = queued(recipe(), AccountFactory(facts__segment="small"), evidence=[GAP])
    assert open_plays(now=NOW) == 1
    play = Play.objects.get()
    assert (play.stage, play.state, play.motion, play.route, play.origin) == (
        "routed",
        "working",
        "cross_sell",
        "csm",
        "match",
    )
    assert (play.evidence, play.product, play.expected_amount_minor) == ([GAP], analytics, 50_000)
    assert play.amount_working["words"] == "list price of Analytics"
    assert (play.opened_at, play.expires_at) == (NOW, NOW + timedelta(days=30))
    assert [(step.number, step.kind, step.text) for step in play.steps.order_by("number")] == [
        (1, "task", "Read it."),
        (2, "mail", "Write it."),
    ]
    match.refresh_from_db()
    assert (match.state, match.play, match.fired_at) == ("fired", play, NOW)
    assert not PlayMatch.objects.get().folded
    assert TimelineEntry.objects.get().text == "K opened, by CSM conversation: no trends"
    assert open_plays(now=NOW) == 0
    assert broken() == []


def test_a_ceiling_lowers_the_route() -> None:
    queued(recipe(), ceiling="email")
    open_plays(now=NOW)
    assert Play.objects.get().route == "email"


def test_a_match_folds_into_the_open_play_of_its_motion() -> None:
    play = PlayFactory(recipe=recipe(), opened_at=NOW)
    match = queued(recipe("other"), play.account, evidence=[GAP])
    assert open_plays(now=NOW) == 1
    match.refresh_from_db()
    assert (match.state, match.play, match.fired_at) == ("folded", play, NOW)
    assert PlayMatch.objects.get().folded
    assert TimelineEntry.objects.get().text == "OTHER also matched, and was added to the open play: no trends"
    assert Play.objects.count() == 1
    assert broken() == []


def test_of_two_matches_of_one_motion_in_one_batch_the_older_run_opens_and_the_other_folds() -> None:
    account, first_run, second_run = AccountFactory(), RunFactory(), RunFactory()
    second = queued(recipe("a"), account, opened_run=second_run)
    first = queued(recipe("b"), account, opened_run=first_run)
    another_motion = queued(recipe("c", motion="add_on"), account, opened_run=second_run)
    assert open_plays(now=NOW) == 3
    for match, state in ((first, "fired"), (second, "folded"), (another_motion, "fired")):
        match.refresh_from_db()
        assert match.state == state
    assert first.play == second.play
    assert Play.objects.count() == 2
    assert broken() == []


def test_after_the_close_a_match_opens_a_new_play() -> None:
    closed = PlayFactory(recipe=recipe(), opened_at=NOW, stage="closed", outcome="won", closed_at=NOW, interval=None)
    Interval.objects.create(
        play=closed,
        seq=0,
        owner=closed.owner,
        holder=closed.owner,
        held_by="member",
        stage="owned",
        state="working",
        valid_from=NOW,
        valid_to=NOW,
    )
    queued(recipe("other"), closed.account)
    open_plays(now=NOW)
    assert Play.objects.open().count() == 1
    assert broken() == []


@pytest.mark.parametrize("state", ["held", "ended"])
def test_only_what_is_queued_is_opened(state: str) -> None:
    queued(recipe(), state=state, held_by="crowded" if state == "held" else "")
    assert open_plays(now=NOW) == 0


def test_the_oldest_run_comes_first() -> None:
    version, runs = recipe(), [RunFactory() for _ in range(3)]
    matches = [queued(version, opened_run=run) for run in reversed(runs)]
    assert open_plays(now=NOW, limit=2) == 2
    assert list(Match.objects.filter(state="queued")) == [matches[0]]


def test_one_bad_match_does_not_stop_the_others_and_ends_in_the_tray(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    version = recipe()
    bad, good = queued(version), queued(version)
    build = opening._build

    def fail(opened: Any, *args: Any) -> Any:
        if opened.account_id == bad.account_id:
            raise KeyError("no such\0thing")
        return build(opened, *args)

    with monkeypatch.context() as patch:
        patch.setattr(opening, "_build", fail)
        assert open_plays(now=NOW) == 2
        bad.refresh_from_db()
        good.refresh_from_db()
        assert (good.state, bad.state) == ("fired", "queued")
        assert (bad.attempts, bad.next_try_at, bad.stuck_at) == (1, NOW + MINUTE, None)
        assert bad.last_error.startswith("KeyError: ")
        # It waits for its next try, and is given up after the last.
        assert open_plays(now=NOW) == 0
        for attempt in range(1, 5):
            assert open_plays(now=NOW + attempt * MINUTE) == 1
        assert open_plays(now=NOW + timedelta(days=1)) == 0
    bad.refresh_from_db()
    assert (bad.attempts, bad.stuck_at) == (5, NOW + 4 * MINUTE)
    assert list(Match.objects.stuck()) == [bad]
    assert retry_stuck(Match, [bad.pk, good.pk], now=NOW) == 1
    assert open_plays(now=NOW + timedelta(days=1)) == 1
    bad.refresh_from_db()
    assert (bad.state, bad.attempts, bad.last_error) == ("fired", 0, "")
    assert broken() == []


def test_the_episodes_of_a_run_are_told_in_the_order_of_its_replay_whatever_the_accounts_are_called() -> None:
    version = recipe()
    run, trigger = RunFactory(kind="full"), TriggerFactory(playbook=version.playbook)
    matches = [queued(version, AccountFactory(name=name), opened_run=run) for name in ("Zed", "Acme")]
    run.versions = {str(trigger.pk): version.pk}
    assert matches_after(run) == {trigger.pk: [match.account_id for match in matches]}


@pytest.mark.parametrize("folds", [False, True])
@pytest.mark.parametrize("number", [2, 40])
def test_a_batch_takes_the_same_number_of_queries_whatever_its_size(
    number: int, folds: bool, django_assert_max_num_queries: Any
) -> None:
    version = recipe()
    for _ in range(number):
        match = queued(version, evidence=[GAP])
        if folds:
            PlayFactory(recipe=version, account=match.account)
    with django_assert_max_num_queries(30):
        assert open_plays(now=NOW) == number


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_play_opened_by_hand_in_this_very_moment_is_folded_into(monkeypatch: pytest.MonkeyPatch) -> None:
    version = recipe()
    match = queued(version)
    build = opening.build_plays

    def overtaken(*args: Any) -> Any:
        monkeypatch.setattr(opening, "build_plays", build)
        elsewhere(
            lambda: open_play_by_hand(
                account_id=match.account_id, playbook_id=version.playbook_id, reason="They asked.", now=NOW
            )
        )
        return build(*args)

    monkeypatch.setattr(opening, "build_plays", overtaken)
    assert open_plays(now=NOW) == 1
    match.refresh_from_db()
    assert (match.state, match.attempts) == ("folded", 0)
    assert match.play == Play.objects.get()
    assert match.play.origin == "hand"
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_open_each_motion_once(caplog: pytest.LogCaptureFixture) -> None:
    accounts, run = AccountFactory.create_batch(30), RunFactory()
    # The same motion twice, in opposite orders.
    for key, order in (("a", accounts), ("b", accounts[::-1])):
        version = recipe(key)
        for account in order:
            queued(version, account, opened_run=run)

    def worker() -> int:
        taken = 0
        while batch := open_plays(now=NOW, limit=10):
            taken += batch
        return taken

    assert sum(at_once(*[worker] * 4)) == 60
    assert Play.objects.count() == 30
    assert PlayMatch.objects.filter(folded=True).count() == 30
    assert not Match.objects.exclude(attempts=0).exists()
    assert "failed" not in caplog.text
    assert broken() == []
