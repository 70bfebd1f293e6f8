"""Runs and guards: what is held, what is freed, and what is let through takes its room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.playbooks.acts.plays import close_plays, open_play_by_hand
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.models import Match, Play, Playbook
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.runs import judge_held, run_triggers
from tests.playbooks.inputs import DAY, NOW, account, gate_hits, seats


def allow_one_play() -> None:
    """Publish the playbooks of paying customers anew: an account may have one open play, whatever its health."""
    for playbook in Playbook.objects.exclude(key="free_to_paid"):
        draft = playbook.draft + "guards:\n  crowded: {open_plays: 1}\n  unhealthy: off\n"
        save_draft(text=draft, now=NOW)
        publish_playbook(playbook_id=playbook.pk, now=NOW)


def test_a_held_match_is_freed_when_its_guard_lifts(library):
    AccountFactory(name="acme", identity__external_id="acme", facts__activated_on=(NOW - 29 * DAY).date())
    seats("acme", 15, 20)
    seats("acme", 90, 100, meter="health")
    gate_hits("acme", 1, 2, 3)
    run_triggers(now=NOW)
    match = Match.objects.get()
    assert (match.state, match.held_by) == (Match.State.HELD, "onboarding")
    assert match.held_until == datetime(2026, 11, 17, tzinfo=UTC)
    assert judge_held(now=match.held_until - timedelta(seconds=1)) == 0
    assert judge_held(now=match.held_until) == 1
    match.refresh_from_db()
    assert (match.state, match.held_by) == (Match.State.QUEUED, "")


def test_what_is_let_through_in_one_run_takes_its_room(library):
    allow_one_play()
    account("acme")
    seats("acme", 19, 20)
    gate_hits("acme", 1, 2, 3)
    run_triggers(now=NOW)
    assert sorted(Match.objects.values_list("state", "held_by")) == [("held", "crowded"), ("queued", "")]
    work(now=NOW)
    assert Play.objects.open().count() == 1
    assert judge_held(now=NOW + DAY) == 0
    close_plays(play_ids=Play.objects.values_list("pk", flat=True), outcome="withdrawn", now=NOW + DAY)
    assert judge_held(now=NOW + DAY) == 1
    work(now=NOW + DAY)
    assert Play.objects.count() == 2


def test_an_account_that_filled_up_meanwhile_holds_what_was_queued(library):
    acme = account("acme")
    allow_one_play()
    seats("acme", 19, 20)
    run_triggers(now=NOW)
    assert Match.objects.get().state == Match.State.QUEUED
    by_hand = Playbook.objects.get(key="champion_moved_up")
    open_play_by_hand(account_id=acme.pk, playbook_id=by_hand.pk, reason="They asked", now=NOW)
    work(now=NOW)
    match = Match.objects.get()
    assert (match.state, match.held_by, match.held_until) == (Match.State.HELD, "crowded", None)
    assert Play.objects.count() == 1
