"""Runs: what they claim, the episodes they write, and that each replays to its own matches exactly."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection, connections, transaction
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csplaybooks.accounts.acts.champions import add_champion, change_champion
from csplaybooks.accounts.acts.companies import set_facts
from csplaybooks.accounts.acts.record import record_changes
from csplaybooks.accounts.acts.reviews import NewFinding, log_qbr
from csplaybooks.accounts.factories import AccountFactory, ProductFactory
from csplaybooks.accounts.models import Account, Change
from csplaybooks.playbooks import episodes
from csplaybooks.playbooks.acts.plays import close_plays, open_play_by_hand
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft, set_playbook_active
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.measures import SignalCount
from csplaybooks.playbooks.models import Match, Play, Playbook, Run, Trigger
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.rounds import run_next_part
from csplaybooks.playbooks.runs import judge_held, matches_after, replay_run, run_triggers
from csplaybooks.signals.factories import IntakeBatchFactory
from csplaybooks.signals.intake import take_in_readings, take_in_signals
from csplaybooks.signals.models import IntakeBatch, Signal

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def library(db: None) -> None:
    set_up(now=NOW - 30 * DAY, schedules=False)


def account(name: str) -> Account:
    row: Account = AccountFactory(name=name, identity__external_id=name)
    return row


def gate_hits(name: str, *numbers: int, at: datetime = NOW, **more: Any) -> Any:
    """Take gate hits in, one for each number; their ids are made of name and number."""
    return take_in_signals(
        items=[
            {
                "source": "product",
                "external_id": f"{name}-{number}",
                "account": name,
                "type": "feature_gate_hit",
                "occurred_at": at.isoformat(),
                **more,
            }
            for number in numbers
        ],
        now=max(at, NOW),
    )


def seats(name: str, used: int, limit: int, *, at: datetime = NOW, meter: str = "seats") -> Any:
    """Take one reading in."""
    return take_in_readings(
        items=[
            {
                "source": "product",
                "external_id": f"{name}-{meter}-{at.isoformat()}-{used}",
                "account": name,
                "meter": meter,
                "used": used,
                "limit": limit,
                "occurred_at": at.isoformat(),
            }
        ],
        now=max(at, NOW),
    )


def assert_all_runs_replay() -> None:
    for run in Run.objects.order_by("pk"):
        assert replay_run(run) == matches_after(run), f"run {run.pk} ({run.kind})"


def open_matches(key: str = "gates_at_high_usage") -> list[str]:
    rows = Match.objects.episode_open().filter(trigger__key=key)
    return sorted(rows.values_list("account__name", flat=True))


def test_nothing_new_makes_no_run(library):
    run_triggers(now=NOW)
    assert Run.objects.count() == 1
    assert run_triggers(now=NOW) is None
    assert run_triggers(now=NOW, full=True) is not None


def test_a_run_claims_everything_that_was_told_once(library):
    account("acme")
    gate_hits("acme", 1)
    report = run_triggers(now=NOW)
    assert report is not None
    assert not IntakeBatch.objects.unclaimed().exists()
    assert not Change.objects.unclaimed().exists()
    assert set(IntakeBatch.objects.values_list("seen_by_run", flat=True)) == {report.run_id}


def test_an_episode_opens_closes_and_opens_again(library):
    account("acme")
    seats("acme", 15, 20)
    gate_hits("acme", 1, 2, 3)
    run_triggers(now=NOW)
    assert open_matches() == ["acme"]
    run_triggers(now=NOW + DAY, full=True)
    assert Match.objects.count() == 1

    run_triggers(now=NOW + 7 * DAY, full=True)
    match = Match.objects.get()
    assert (match.state, match.closed_at) == (Match.State.ENDED, NOW + 7 * DAY)

    gate_hits("acme", 4, 5, 6, at=NOW + 8 * DAY)
    seats("acme", 15, 20, at=NOW + 8 * DAY)
    run_triggers(now=NOW + 8 * DAY)
    assert Match.objects.count() == 2
    assert open_matches() == ["acme"]
    assert_all_runs_replay()


def test_only_accounts_with_news_are_looked_at(library, django_assert_max_num_queries):
    for name in ("acme", "bolt", "core"):
        account(name)
    run_triggers(now=NOW)
    gate_hits("bolt", 1)
    report = run_triggers(now=NOW)
    assert report is not None
    assert report.accounts == 1
    set_facts(
        account_ids=[Account.objects.get(name="core").pk],
        facts={"segment": "small"},
        effective_at=NOW,
        now=NOW,
        actor=None,
    )
    second = run_triggers(now=NOW)
    assert second is not None
    assert second.accounts == 1
    assert_all_runs_replay()


def test_a_published_version_is_news_for_all_and_closes_what_it_no_longer_matches(library):
    for name in ("acme", "bolt"):
        account(name)
        seats(name, 15, 20)
        gate_hits(name, *range(1, 4 if name == "acme" else 6))
    run_triggers(now=NOW)
    assert open_matches() == ["acme", "bolt"]
    playbook = Playbook.objects.get(key="gate_knocker")
    save_draft(text=playbook.draft.replace("at_least: 3", "at_least: 5"), now=NOW)
    publish_playbook(playbook_id=playbook.pk, now=NOW)
    report = run_triggers(now=NOW)
    assert report is not None
    assert report.accounts == 2
    assert open_matches() == ["bolt"]
    assert_all_runs_replay()


def test_switching_a_playbook_off_ends_what_waits(library):
    account("acme")
    seats("acme", 15, 20)
    gate_hits("acme", 1, 2, 3)
    run_triggers(now=NOW)
    set_playbook_active(playbook_id=Playbook.objects.get(key="gate_knocker").pk, active=False, now=NOW)
    run_triggers(now=NOW)
    assert Match.objects.get().state == Match.State.ENDED
    assert_all_runs_replay()


def test_a_review_and_a_promotion_open_their_matches_as_telemetry_does(library):
    acme = account("acme")
    run_triggers(now=NOW)
    log_qbr(
        account_id=acme.pk,
        held_at=NOW,
        findings=[NewFinding(kind="gap", text="No trends", product_id=ProductFactory(key="analytics").pk)],
        now=NOW,
        actor=None,
    )
    run_triggers(now=NOW)
    assert open_matches("open_gap") == ["acme"]
    person = add_champion(account_id=acme.pk, name="Petra", title="Lead", now=NOW, actor=None)
    change_champion(champion_id=person.pk, title="Director", occurred_at=NOW, now=NOW, actor=None)
    run_triggers(now=NOW)
    assert open_matches("moved_up") == ["acme"]
    assert_all_runs_replay()


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


def test_the_moment_of_runs_never_goes_back(library):
    account("acme")
    run_triggers(now=NOW)
    gate_hits("acme", 1)
    run_triggers(now=NOW - timedelta(minutes=5))
    assert list(Run.objects.order_by("pk").values_list("moment", flat=True)) == [NOW, NOW]


def test_queries_of_a_run_do_not_grow_with_accounts(library, django_assert_max_num_queries):
    run_triggers(now=NOW)
    counted = []
    for size in (3, 40):
        for number in range(size):
            name = f"a{size}-{number}"
            account(name)
            seats(name, 15, 20)
            gate_hits(name, 1, 2, 3)
        with django_assert_max_num_queries(200) as captured:
            run_triggers(now=NOW)
        counted.append(len(captured))
    assert counted[0] == counted[1]


@pytest.mark.django_db(transaction=True)
def test_an_intake_held_open_across_a_run_is_the_next_ones_news():
    set_up(now=NOW - 30 * DAY, schedules=False)
    account("acme")
    seats("acme", 15, 20)
    gate_hits("acme", 1, 2)
    stored, may_commit = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def slow_sender() -> None:
        try:
            with transaction.atomic():
                gate_hits("acme", 3)
                stored.set()
                assert may_commit.wait(30)
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            errors.append(error)
        finally:
            stored.set()
            connections.close_all()

    def run_and_release(run: Callable[[], Any]) -> None:
        # On SQLite the run waits for the writer, so it is let go when the run has begun.
        if connection.vendor == "sqlite":
            timer = threading.Timer(0.2, may_commit.set)
            timer.start()
            run()
            timer.join()
        else:
            run()

    with pokes_silenced():
        sender = threading.Thread(target=slow_sender)
        sender.start()
        assert stored.wait(30)
        run_and_release(lambda: run_triggers(now=NOW))
        if connection.vendor != "sqlite":
            assert Signal.objects.count() == 2
            assert open_matches() == []
            # A late arrival overtakes the one that is still under way.
            gate_hits("acme", 4)
            run_triggers(now=NOW)
            assert open_matches() == ["acme"]
        may_commit.set()
        sender.join()
        assert errors == []
        run_triggers(now=NOW + timedelta(minutes=1))
    assert open_matches() == ["acme"]
    # PostgreSQL: without it, with the late one, with it. SQLite: the run waited for the writer and saw it all.
    assert Run.objects.count() == (1 if connection.vendor == "sqlite" else 3)
    assert_all_runs_replay()


def test_news_dated_ahead_makes_a_run_when_it_ripens_and_none_between(library):
    """However long it is until the last of it: many moments in one batch, and two in one act."""
    row = account("acme")
    items = [
        {
            **{"source": "product", "external_id": f"ahead-{seconds}", "account": "acme", "type": "feature_gate_hit"},
            "occurred_at": (NOW + timedelta(seconds=seconds)).isoformat(),
        }
        for seconds in (10, 300, 590)
    ]
    take_in_signals(items=items, now=NOW)
    ahead = [NOW + timedelta(seconds=20), NOW + 365 * DAY]
    record_changes(kind="facts", account_ids=[row.pk], now=NOW, effective={row.pk: ahead})
    assert run_triggers(now=NOW) is not None
    made = [
        second
        for second in range(1, 700)
        for _ in range(2)
        if run_triggers(now=NOW + timedelta(seconds=second)) is not None
    ]
    assert made == [10, 20, 300, 590]
    assert run_triggers(now=NOW + 364 * DAY) is None
    assert run_triggers(now=NOW + 365 * DAY) is not None
    assert run_triggers(now=NOW + 366 * DAY) is None
    assert_all_runs_replay()


NAMES = ("acme", "bolt", "core")

#: What can happen between two runs, by name and the numbers it takes.
happening = st.one_of(
    st.tuples(st.just("gate"), st.sampled_from(NAMES), st.integers(0, 12)),
    st.tuples(st.just("late_gate"), st.sampled_from(NAMES), st.integers(1, 9)),
    st.tuples(st.just("correct"), st.sampled_from(NAMES), st.integers(0, 12)),
    st.tuples(st.just("void"), st.sampled_from(NAMES), st.integers(0, 12)),
    st.tuples(st.just("seats"), st.sampled_from(NAMES), st.integers(10, 22)),
    st.tuples(st.just("late_seats"), st.sampled_from(NAMES), st.integers(10, 22)),
    st.tuples(st.just("facts"), st.sampled_from(NAMES), st.integers(0, 2)),
    st.tuples(st.just("publish"), st.just(""), st.integers(2, 5)),
)
steps = st.lists(
    st.tuples(st.lists(happening, max_size=4), st.sampled_from(["run", "full", "round"]), st.integers(0, 40)),
    max_size=6,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_every_run_replays_exactly_whatever_happened_later(library, steps):
    with transaction.atomic(), pokes_silenced():
        ids = {name: account(name).pk for name in NAMES}
        now = NOW
        for happenings, kind, hours in steps:
            for number, (what, name, value) in enumerate(happenings):
                _happen(what, name, value, now, number, ids)
            with override_settings(CSPLAYBOOKS={"FULL_RUN_ACCOUNTS": 2 if kind == "round" else 100}):
                run_triggers(now=now, full=kind != "run")
                # One part of it; the others come when the next round is asked for, or never.
                run_next_part(now=now)
            now += timedelta(hours=hours)
        assert_all_runs_replay()
        assert Match.objects.episode_open().count() == Match.objects.filter(closed_run__isnull=True).count()
        transaction.set_rollback(True)


def _happen(what: str, name: str, value: int, now: datetime, number: int, ids: dict[str, int]) -> None:
    if what == "gate":
        gate_hits(name, value, at=now)
    elif what == "late_gate":
        gate_hits(name, 100 + value, at=now - value * DAY)
    elif what == "correct":
        gate_hits(name, 1000 + value, at=now - DAY, corrects=f"{name}-{value}")
    elif what == "void":
        gate_hits(name, 2000 + value, at=now, corrects=f"{name}-{value}", void=True)
    elif what == "seats":
        seats(name, value, 20, at=now)
    elif what == "late_seats":
        seats(name, value, 20, at=now - timedelta(hours=30))
    elif what == "facts":
        segment = ("small", "mid_market", "enterprise")[value]
        set_facts(
            account_ids=[ids[name]],
            facts={"segment": segment},
            effective_at=now - number * DAY,
            now=now,
            actor=None,
        )
    else:
        playbook = Playbook.objects.get(key="gate_knocker")
        text = playbook.draft
        for old in range(2, 6):
            text = text.replace(f"at_least: {old}", f"at_least: {value}")
        save_draft(text=text, now=now)
        publish_playbook(playbook_id=playbook.pk, now=now)


def test_an_item_dated_ahead_is_looked_at_when_its_time_comes_without_other_news(library):
    account("acme")
    seats("acme", 15, 20)
    soon = NOW + timedelta(minutes=5)
    take_in_signals(
        items=[
            {
                "source": "product",
                "external_id": f"ahead-{number}",
                "account": "acme",
                "type": "feature_gate_hit",
                "occurred_at": soon.isoformat(),
            }
            for number in range(3)
        ],
        now=NOW,
    )
    run_triggers(now=NOW)
    assert open_matches() == []
    assert run_triggers(now=soon - timedelta(seconds=1)) is None
    report = run_triggers(now=soon)
    assert report is not None
    assert report.accounts == 1
    assert open_matches() == ["acme"]
    assert run_triggers(now=soon + timedelta(seconds=1)) is None
    assert_all_runs_replay()


def test_items_of_one_batch_are_looked_at_as_their_times_come(library):
    account("acme")
    seats("acme", 15, 20)
    moments = [NOW + timedelta(minutes=minutes) for minutes in (1, 1, 1, 9)]
    take_in_signals(
        items=[
            {
                "source": "product",
                "external_id": f"ahead-{number}",
                "account": "acme",
                "type": "feature_gate_hit",
                "occurred_at": at.isoformat(),
            }
            for number, at in enumerate(moments)
        ],
        now=NOW,
    )
    run_triggers(now=NOW)
    assert open_matches() == []
    run_triggers(now=NOW + timedelta(minutes=2))
    assert open_matches() == ["acme"]
    assert_all_runs_replay()


def test_facts_dated_ahead_are_looked_at_when_they_take_effect(library):
    acme = account("acme")
    seats("acme", 15, 20)
    seats("acme", 90, 100, meter="health")
    gate_hits("acme", 1, 2, 3)
    leaves = NOW + timedelta(minutes=5)
    set_facts(account_ids=[acme.pk], facts={"lifecycle": "churned"}, effective_at=leaves, now=NOW, actor=None)
    run_triggers(now=NOW)
    assert Match.objects.get().state == Match.State.QUEUED
    assert run_triggers(now=leaves - timedelta(seconds=1)) is None
    report = run_triggers(now=leaves)
    assert report is not None
    assert report.accounts == 1
    assert Match.objects.get().held_by == "gone"
    assert run_triggers(now=leaves + timedelta(seconds=1)) is None
    assert_all_runs_replay()


def test_what_is_let_through_in_one_run_takes_its_room(library):
    for playbook in Playbook.objects.all():
        draft = playbook.draft + "guards:\n  crowded: {open_plays: 1}\n  unhealthy: off\n"
        save_draft(text=draft, now=NOW)
        publish_playbook(playbook_id=playbook.pk, now=NOW)
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
    for playbook in Playbook.objects.all():
        draft = playbook.draft + "guards:\n  crowded: {open_plays: 1}\n  unhealthy: off\n"
        save_draft(text=draft, now=NOW)
        publish_playbook(playbook_id=playbook.pk, now=NOW)
    seats("acme", 19, 20)
    run_triggers(now=NOW)
    assert Match.objects.get().state == Match.State.QUEUED
    by_hand = Playbook.objects.get(key="champion_moved_up")
    open_play_by_hand(account_id=acme.pk, playbook_id=by_hand.pk, reason="They asked", now=NOW)
    work(now=NOW)
    match = Match.objects.get()
    assert (match.state, match.held_by, match.held_until) == (Match.State.HELD, "crowded", None)
    assert Play.objects.count() == 1


@pytest.mark.parametrize(
    ("error", "is_the_databases"),
    [
        (OperationalError("deadlock detected"), True),
        (OperationalError("database is locked"), True),
        (InterfaceError("connection already closed"), True),
        (OperationalError("too many SQL variables"), False),
        (OperationalError("integer overflow"), False),
    ],
)
def test_trouble_of_the_database_leaves_the_inputs_unclaimed_and_a_bad_query_does_not(
    library, monkeypatch, error, is_the_databases
):
    account("acme")
    gate_hits("acme", 1)

    def fails(*args: Any) -> None:
        raise error

    monkeypatch.setattr(episodes, "_run_version", fails)
    if is_the_databases:
        with pytest.raises(type(error)):
            run_triggers(now=NOW)
        assert not Run.objects.exists()
        assert IntakeBatch.objects.unclaimed().count() == 1
    else:
        run_triggers(now=NOW)
        assert len(Run.objects.get().errors) == Playbook.objects.count()


def test_a_batch_of_which_nothing_was_stored_is_no_news(library):
    run_triggers(now=NOW)
    gate_hits("nobody", 1)
    assert run_triggers(now=NOW) is None


def test_a_machine_whose_clock_is_far_ahead_does_not_carry_all_runs_with_it(library):
    account("acme")
    IntakeBatchFactory(recorded_at=NOW + DAY)
    run_triggers(now=NOW)
    assert Run.objects.get().moment == NOW + timedelta(minutes=10)


def test_a_playbook_that_cannot_be_evaluated_does_not_stop_the_others(library, monkeypatch):
    account("acme")
    seats("acme", 19, 20)
    gate_hits("acme", 1, 2, 3)

    def broken(*args: Any) -> None:
        raise ZeroDivisionError("a measure of a host")

    monkeypatch.setattr(SignalCount, "words", broken)
    run_triggers(now=NOW)
    run = Run.objects.get()
    gates = Playbook.objects.get(key="gate_knocker").published
    assert gates is not None
    assert run.errors == {str(gates.pk): "ZeroDivisionError: a measure of a host"}
    assert gates.pk not in run.versions.values()
    assert open_matches() == []
    assert open_matches("seats_above_80") == ["acme"]
    assert_all_runs_replay()

    monkeypatch.undo()
    run_triggers(now=NOW, full=True)
    assert open_matches() == ["acme"]
    assert_all_runs_replay()


def test_versions_a_run_used_are_kept(library):
    run_triggers(now=NOW)
    run = Run.objects.latest("pk")
    assert set(run.versions) == {str(pk) for pk in Trigger.objects.values_list("pk", flat=True)}
