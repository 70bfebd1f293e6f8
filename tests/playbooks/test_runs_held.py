"""Runs and guards: what is held, what is freed, and what is let through takes its room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory
from csplaybooks.playbooks.acts.plays import close_plays, open_play_by_hand
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.factories import PlayFactory
from csplaybooks.playbooks.guards import BlackOut
from csplaybooks.playbooks.models import Match, MatchStep, Play, Playbook, Run
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.runs import admit_waiting, judge_held, run_triggers
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.intake import take_in_signals
from tests.playbooks.inputs import DAY, NOW, account, assert_all_runs_replay, gate_hits, seats
from tests.playbooks.plays import broken

MINUTE = timedelta(minutes=1)


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


def test_what_was_let_in_keeps_its_room_at_every_sweep(library):
    allow_one_play()
    account("acme")
    seats("acme", 19, 20)
    gate_hits("acme", 1, 2, 3)
    run_triggers(now=NOW)
    queued, held = Match.objects.order_by("state").values_list("pk", flat=True)[::-1]
    for minute in range(1, 4):
        assert judge_held(now=NOW + minute * MINUTE) == 0
        assert admit_waiting(now=NOW + minute * MINUTE) == 0
    run_triggers(now=NOW + 5 * MINUTE, full=True)
    work(now=NOW + 6 * MINUTE)
    assert judge_held(now=NOW + 7 * MINUTE) == 0
    said = {pk: list(MatchStep.objects.filter(match=pk).values_list("state", "admitted")) for pk in (queued, held)}
    # Nothing is taken back, and nothing said again.
    assert said == {queued: [("queued", False), ("queued", True), ("fired", False)], held: [("held", False)]}
    assert broken() == []


def publish(key: str, motion: str, signal_type: str, guards: str) -> None:
    """Publish a playbook for accounts with a signal of a type, worked by CSMs."""
    text = f"""\
key: {key}
name: {key}
motion: {motion}
triggers:
  - key: t_{key}
    any: [{{all: [{{measure: signal_count, signal_type: {signal_type}, window_days: 7, at_least: 1}}]}}]
guards: {{unhealthy: off, {guards}}}
routes: [{{route: csm}}]
targets: [{{target: first_touch, hours: 8}}]
"""
    publish_playbook(playbook_id=save_draft(text=text, now=NOW - DAY).pk, now=NOW - DAY)


def refused(name: str, number: int, at: datetime) -> None:
    """Take in that an invitation was refused for want of a seat."""
    item = {"source": "product", "external_id": f"{name}-i{number}", "account": name, "type": "invite_refused"}
    take_in_signals(items=[{**item, "occurred_at": at.isoformat()}], now=at)


def states() -> dict[str, tuple[str, str]]:
    """State and guard of the match of each trigger."""
    return {key: (state, by) for key, state, by in Match.objects.values_list("trigger__key", "state", "held_by")}


@pytest.mark.django_db
def test_what_stands_in_the_queue_is_not_thrown_out_by_a_newcomer_of_an_earlier_playbook():
    load_starter_catalogue(now=NOW - DAY)
    publish("one", "tier_upsell", "feature_gate_hit", "crowded: {open_plays: 1}")
    publish("two", "seat_expansion", "invite_refused", "crowded: {open_plays: 1}")
    TeamMemberFactory(open_play_cap=0)
    account("acme")
    refused("acme", 1, NOW)
    run_triggers(now=NOW)
    old = Match.objects.get()
    gate_hits("acme", 1, at=NOW + MINUTE)
    run_triggers(now=NOW + 2 * MINUTE)
    for hour in range(1, 4):
        at = NOW + timedelta(hours=hour)
        assert judge_held(now=at - MINUTE) == 0
        run_triggers(now=at, full=True)
        assert states() == {"t_one": ("held", "crowded"), "t_two": ("queued", "")}
    # It waits since the first day, and so expires in time; then the other one's turn has come.
    old.refresh_from_db()
    assert (old.queued_at, old.waits_until, old.steps.count()) == (NOW, NOW + 14 * DAY, 1)
    seats("acme", 1, 20, at=NOW + 13 * DAY)
    assert old.waits_until is not None
    admit_waiting(now=old.waits_until)
    old.refresh_from_db()
    assert old.state == "expired"
    assert judge_held(now=old.waits_until + MINUTE) == 1
    assert not Run.objects.exclude(errors={}).exists()
    assert_all_runs_replay()
    assert broken() == []


@pytest.mark.django_db
def test_of_two_in_the_queue_a_play_opened_by_hand_displaces_the_later_alone():
    load_starter_catalogue(now=NOW - DAY)
    publish("one", "tier_upsell", "feature_gate_hit", "crowded: {open_plays: 2}")
    publish("two", "seat_expansion", "invite_refused", "crowded: {open_plays: 2}")
    TeamMemberFactory(open_play_cap=0)
    acme = account("acme")
    refused("acme", 1, NOW)
    run_triggers(now=NOW)
    gate_hits("acme", 1, at=NOW + MINUTE)
    run_triggers(now=NOW + 2 * MINUTE)
    assert states() == {"t_one": ("queued", ""), "t_two": ("queued", "")}
    PlayFactory(account=acme, recipe__playbook__motion="add_on", opened_at=NOW)
    run_triggers(now=NOW + 3 * MINUTE, full=True)
    assert states() == {"t_one": ("held", "crowded"), "t_two": ("queued", "")}
    assert judge_held(now=NOW + 4 * MINUTE) == 0


@pytest.mark.django_db
def test_what_folds_into_an_open_play_takes_no_room_whatever_its_own_guards():
    load_starter_catalogue(now=NOW - DAY)
    publish("one", "tier_upsell", "feature_gate_hit", "crowded: off")
    publish("two", "seat_expansion", "invite_refused", "crowded: {open_plays: 2}")
    acme = account("acme")
    PlayFactory(account=acme, recipe__playbook__motion="tier_upsell", opened_at=NOW)
    gate_hits("acme", 1)
    refused("acme", 1, NOW)
    run_triggers(now=NOW)
    # One play, and the one that is about to open.
    assert states() == {"t_one": ("queued", ""), "t_two": ("queued", "")}


@pytest.mark.django_db
def test_a_playbook_that_fails_halfway_takes_no_room_from_the_others(monkeypatch):
    load_starter_catalogue(now=NOW - DAY)
    black_out = 'black_out: {days: [{from: "2026-12-24", to: "2026-12-24"}]}'
    publish("one", "tier_upsell", "feature_gate_hit", f"crowded: {{open_plays: 1}}, {black_out}")
    publish("two", "seat_expansion", "invite_refused", "crowded: {open_plays: 1}")
    bolt, judge = "bolt", BlackOut.judge

    def fails(self, question, settings, row):
        if settings["days"] and row["lifecycle"] == "trial":
            raise ZeroDivisionError(bolt)
        return judge(self, question, settings, row)

    monkeypatch.setattr(BlackOut, "judge", fails)
    account("acme")
    AccountFactory(name=bolt, identity__external_id=bolt, facts__lifecycle="trial")
    for name in ("acme", bolt):
        gate_hits(name, 1)
        refused(name, 1, NOW)
    for playbook in Playbook.objects.all():
        save_draft(text=playbook.draft.replace("guards: {", "guards: {not_paying: {allow: [trial]}, "), now=NOW)
        publish_playbook(playbook_id=playbook.pk, now=NOW)
    run_triggers(now=NOW)
    run = Run.objects.get()
    assert list(run.errors.values()) == ["ZeroDivisionError: bolt"]
    assert sorted(Match.objects.values_list("trigger__key", "account__name", "state")) == [
        ("t_two", "acme", "queued"),
        ("t_two", "bolt", "queued"),
    ]
