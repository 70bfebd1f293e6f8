"""The episodes that a trigger would have had: on the moments of recorded runs they are the recorded ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csplaybooks.accounts.acts.companies import set_facts
from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.accounts.models import Change
from csplaybooks.playbooks.evaluator import TriggerVersion, running_versions
from csplaybooks.playbooks.factories import RunFactory
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Match, Run
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.reach import Forgotten
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.playbooks.what_if import AT_RUNS, Episode, Past, PeriodError, Sight, grid_between, past_episodes
from csplaybooks.playbooks.what_if import past as what_if_past
from csplaybooks.signals.models import IntakeBatch, PrunedDay
from tests.examples import examples
from tests.playbooks.inputs import DAY, NOW, account, gate_hits, seats
from tests.playbooks.selling import holder, sell, send

HOUR = timedelta(hours=1)
NAMES = ("acme", "bolt", "core")


def all_triggers() -> list[TriggerVersion]:
    return [trigger for _, triggers in running_versions() for trigger in triggers]


def trigger_of(key: str) -> TriggerVersion:
    return next(trigger for trigger in all_triggers() if trigger.definition["key"] == key)


def recorded() -> dict[str, list[tuple[Any, ...]]]:
    """The recorded episodes by trigger: account, opened and closed."""
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for match in Match.objects.select_related("trigger").order_by("opened_at", "account_id"):
        words = tuple(item["words"] for item in match.evidence)
        rows.setdefault(match.trigger.key, []).append((match.account_id, match.opened_at, match.closed_at, words))
    return rows


def told(past: Past) -> list[tuple[Any, ...]]:
    return [(e.account_id, e.opened_at, e.closed_at, e.words) for e in past.episodes]


def asked(ask: Callable[[TriggerVersion], Past]) -> dict[str, list[tuple[Any, ...]]]:
    """The episodes of every trigger that has any."""
    return {t.definition["key"]: rows for t in all_triggers() if (rows := told(ask(t)))}


happening = st.one_of(
    st.tuples(st.just("gate"), st.sampled_from(NAMES), st.integers(0, 12)),
    st.tuples(st.just("late_gate"), st.sampled_from(NAMES), st.integers(1, 9)),
    st.tuples(st.just("correct"), st.sampled_from(NAMES), st.integers(0, 12)),
    st.tuples(st.just("seats"), st.sampled_from(NAMES), st.integers(10, 22)),
    st.tuples(st.just("late_seats"), st.sampled_from(NAMES), st.integers(10, 22)),
    st.tuples(st.just("facts"), st.sampled_from(NAMES), st.integers(0, 2)),
)


def happen(what: str, name: str, value: int, now: datetime, ids: dict[str, int]) -> None:
    if what == "gate":
        gate_hits(name, value, value + 20, at=now)
    elif what == "late_gate":
        gate_hits(name, 100 + value, 120 + value, at=now - value * DAY)
    elif what == "correct":
        gate_hits(name, 1000 + value, at=now, corrects=f"{name}-{value}", void=True)
    elif what == "seats":
        seats(name, value, 20, at=now)
    elif what == "late_seats":
        seats(name, value, 20, at=now - 30 * HOUR)
    else:
        segment = ("small", "mid_market", "enterprise")[value]
        set_facts(account_ids=[ids[name]], facts={"segment": segment}, effective_at=now - DAY, now=now, actor=None)


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.lists(happening, max_size=5), min_size=1, max_size=7), hours=st.integers(1, 60))
def test_on_the_grid_of_full_runs_the_episodes_are_the_recorded_ones(library, steps, hours):
    """Late arrivals and corrections included; asked when all of it is known."""
    with transaction.atomic(), pokes_silenced():
        ids = {name: account(name).pk for name in NAMES}
        step = hours * HOUR
        for number, happenings in enumerate(steps):
            for what, name, value in happenings:
                happen(what, name, value, NOW + number * step, ids)
            run_triggers(now=NOW + number * step, full=True)
        end = NOW + (len(steps) - 1) * step
        assert list(Run.objects.order_by("pk").values_list("moment", flat=True)) == grid_between(NOW, end, step)
        assert asked(lambda t: past_episodes(t, start=NOW, end=end, step=step, known="then")) == recorded()
        assert asked(lambda t: past_episodes(t, start=NOW, end=end, step=AT_RUNS, known="then")) == recorded()
        transaction.set_rollback(True)


@settings(max_examples=examples(10), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.lists(happening, max_size=4), st.booleans()), min_size=1, max_size=7))
def test_at_the_recorded_runs_the_episodes_are_the_recorded_ones_whatever_they_looked_at(library, steps):
    with transaction.atomic(), pokes_silenced():
        ids = {name: account(name).pk for name in NAMES}
        now = NOW
        for happenings, full in steps:
            for what, name, value in happenings:
                happen(what, name, value, now, ids)
            run_triggers(now=now, full=full)
            now += 40 * HOUR
        assert asked(lambda t: past_episodes(t, start=NOW, end=now, step=AT_RUNS, known="then")) == recorded()
        transaction.set_rollback(True)


def test_what_is_known_now_sees_what_came_late(library):
    row = account("acme")
    run_triggers(now=NOW, full=True)
    run_triggers(now=NOW + DAY, full=True)
    gate_hits("acme", 1, 2, 3, at=NOW - HOUR)
    seats("acme", 15, 20, at=NOW - HOUR)
    run_triggers(now=NOW + 2 * DAY, full=True)
    trigger = trigger_of("gates_at_high_usage")
    period: dict[str, Any] = {"start": NOW - DAY, "end": NOW + 9 * DAY, "step": DAY}
    [late] = past_episodes(trigger, **period, known="then").episodes
    assert (late.account_id, late.opened_at, late.closed_at) == (row.pk, NOW + 2 * DAY, NOW + 7 * DAY)
    [at_once] = past_episodes(trigger, **period, known="now").episodes
    assert (at_once.opened_at, at_once.closed_at) == (NOW, NOW + 7 * DAY)
    assert at_once.words[0].startswith("feature gate hit: 3 in 7 days")
    assert not at_once.from_start


def test_before_the_first_run_nothing_was_known(library):
    account("acme")
    gate_hits("acme", 1, 2, 3, at=NOW - DAY)
    seats("acme", 15, 20, at=NOW - DAY)
    run_triggers(now=NOW)
    trigger = trigger_of("gates_at_high_usage")
    past = past_episodes(trigger, start=NOW - HOUR, end=NOW + HOUR, step=HOUR, known="then")
    assert past.moments == ((NOW - HOUR, 0), (NOW, 1), (NOW + HOUR, 1))
    assert [(episode.opened_at, episode.closed_at) for episode in past.opened] == [(NOW, None)]


def test_what_was_there_at_the_first_moment_is_told_apart(library):
    account("acme")
    gate_hits("acme", 1, 2, 3, at=NOW - DAY)
    seats("acme", 15, 20, at=NOW - DAY)
    past = past_episodes(trigger_of("gates_at_high_usage"), start=NOW, end=NOW + DAY, step=DAY)
    assert [episode.from_start for episode in past.episodes] == [True]
    assert past.opened == ()


def at_runs(trigger: TriggerVersion, start: datetime, end: datetime) -> list[tuple[int, datetime, bool]]:
    past = past_episodes(trigger, start=start, end=end, step=AT_RUNS, known="then")
    return [(episode.account_id, episode.opened_at, episode.from_start) for episode in past.episodes]


def test_who_stood_before_the_period_did_not_open_in_it_whenever_a_run_looks_again(library):
    old, new, late = (account(name).pk for name in NAMES)
    seats("acme", 19, 20, at=NOW)
    run_triggers(now=NOW, full=True)
    gate_hits("bolt", 1, at=NOW + HOUR)
    run_triggers(now=NOW + HOUR)
    seats("acme", 18, 20, at=NOW + 2 * HOUR)
    run_triggers(now=NOW + 2 * HOUR)
    seats("bolt", 19, 20, at=NOW + 3 * HOUR)
    run_triggers(now=NOW + 3 * HOUR)
    run_triggers(now=NOW + 4 * HOUR, full=True)
    seats("core", 19, 20, at=NOW + 5 * HOUR)
    run_triggers(now=NOW + 5 * HOUR)
    trigger = trigger_of("seats_above_80")
    # The first run of the period looks at bolt alone, and only the fourth at everybody.
    assert at_runs(trigger, NOW + HOUR, NOW + 5 * HOUR) == [
        (old, NOW + 2 * HOUR, True),
        (new, NOW + 3 * HOUR, False),
        (late, NOW + 5 * HOUR, False),
    ]
    opened = [(pk, at, False) for pk, at in Match.objects.order_by("pk").values_list("account_id", "opened_at")]
    # Where no run was before the period, nothing stood.
    assert at_runs(trigger, NOW, NOW + 5 * HOUR) == opened == at_runs(trigger, NOW - DAY, NOW + 5 * HOUR)


def test_a_run_whose_accounts_cannot_all_be_named_any_more_is_cut_off(library):
    account("acme")
    run_triggers(now=NOW - DAY)
    seats("acme", 19, 20, at=NOW)
    run_triggers(now=NOW)
    seats("acme", 18, 20, at=NOW + DAY)
    run_triggers(now=NOW + DAY)
    trigger = trigger_of("seats_above_80")

    def ask() -> Past:
        return past_episodes(trigger, start=NOW, end=NOW + DAY, step=AT_RUNS, known="then")

    assert ask().notes == ()
    # As if it had been told more than is there now.
    Run.objects.filter(moment=NOW).update(accounts=2)
    past = ask()
    assert [at for at, _ in past.moments] == [NOW + DAY]
    assert "some of which is pruned" in past.notes[0]
    # What stood at the run that was cut off nobody can tell.
    assert [(episode.opened_at, episode.from_start) for episode in past.episodes] == [(NOW + DAY, True)]
    Run.objects.filter(moment__gte=NOW).update(accounts=2)
    with pytest.raises(Forgotten, match="some of which is pruned"):
        ask()


def test_more_runs_than_moments_are_possible_are_refused(library, monkeypatch):
    for number in range(3):
        RunFactory(moment=NOW + number * HOUR)
    monkeypatch.setattr(what_if_past, "MOST_MOMENTS", 2)
    trigger = trigger_of("seats_above_80")
    for known in ("now", "then"):
        with pytest.raises(PeriodError, match="has 3 runs, and at most 2 are asked about"):
            past_episodes(trigger, start=NOW, end=NOW + DAY, step=AT_RUNS, known=known)
        past_episodes(trigger, start=NOW + HOUR, end=NOW + DAY, step=AT_RUNS, known=known)


def test_an_account_comes_back_in_an_episode_of_its_own(library):
    row = account("acme")
    for day, used in ((0, 19), (1, 10), (2, 19)):
        seats("acme", used, 20, at=NOW + day * DAY)
    past = past_episodes(trigger_of("seats_above_80"), start=NOW - DAY, end=NOW + 2 * DAY, step=DAY)
    assert [(e.account_id, e.opened_at, e.closed_at) for e in past.episodes] == [
        (row.pk, NOW, NOW + DAY),
        (row.pk, NOW + 2 * DAY, None),
    ]


def queries(ask: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as captured:
        ask()
    return len(captured)


@pytest.mark.parametrize("known", ["now", "then"])
def test_each_moment_takes_one_query(library, known):
    for name in NAMES:
        account(name)
        seats(name, 19, 20, at=NOW)
    for number in range(4):
        run_triggers(now=NOW + number * DAY, full=True)
    trigger = trigger_of("seats_above_80")

    def over(days: int) -> Any:
        return lambda: past_episodes(trigger, start=NOW, end=NOW + days * DAY, step=DAY, known=known)

    counted = [queries(over(days)) for days in (0, 1, 5, 30)]
    assert [count - counted[0] for count in counted] == [0, 1, 5, 30]
    assert counted[0] <= 8


@pytest.mark.parametrize("step", [DAY, AT_RUNS])
def test_runs_that_differ_in_room_alone_share_what_they_knew(library, step):
    account("acme")
    kept = Known.now().as_json()
    for number in range(9):
        RunFactory(moment=NOW + number * DAY, inputs=kept | {"capacities": {"csm": 1}, "close_rates": {}})
    trigger = trigger_of("seats_above_80")

    def ask() -> Past:
        return past_episodes(trigger, start=NOW, end=NOW + 8 * DAY, step=step, known="then")

    alike = queries(ask)
    for number, run in enumerate(Run.objects.all()):
        run.inputs["capacities"] = {"csm": number}
        run.save(update_fields=["inputs"])
    assert queries(ask) == alike


def test_what_runs_knew_is_read_a_part_at_a_time(library, monkeypatch):
    """So that a page which gives up has not read everything; and the parts come to the same."""
    account("acme")
    trigger = trigger_of("seats_above_80")
    for number in range(0, 12, 2):
        seats("acme", 19 if number % 4 else 3, 20, at=NOW + number * HOUR)
        run_triggers(now=NOW + number * HOUR, full=number % 3 == 0)

    def ask(step: Any, **more: Any) -> Past:
        return past_episodes(trigger, start=NOW - 3 * HOUR, end=NOW + DAY, step=step, known="then", **more)

    whole = [ask(HOUR), ask(5 * HOUR), ask(AT_RUNS)]
    assert len(whole[0].episodes) == 3
    for at_a_time in (1, 2, 5):
        monkeypatch.setattr(what_if_past, "_AT_A_TIME", at_a_time)
        assert [ask(HOUR), ask(5 * HOUR), ask(AT_RUNS)] == whole

    def give_up(done: int, of: int) -> None:
        raise TimeoutError

    def given_up(step: Any) -> None:
        with pytest.raises(TimeoutError):
            ask(step, progress=give_up)

    monkeypatch.setattr(what_if_past, "_AT_A_TIME", 1)
    for step in (HOUR, AT_RUNS):
        assert queries(lambda step=step: given_up(step)) <= 10 < queries(lambda step=step: ask(step))


def test_progress_is_told_after_each_moment(library):
    heard: list[tuple[int, int]] = []
    past_episodes(
        trigger_of("seats_above_80"),
        start=NOW,
        end=NOW + 2 * DAY,
        step=DAY,
        progress=lambda done, of: heard.append((done, of)),
    )
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_only_the_accounts_in_sight_are_spoken_of(library):
    rows = [account(name) for name in NAMES]
    for name in NAMES:
        seats(name, 19, 20, at=NOW)
    sight = Sight(frozenset({rows[1].pk}), frozenset(), 1)
    trigger = trigger_of("seats_above_80")
    past = past_episodes(trigger, start=NOW, end=NOW, step=DAY, sight=sight)
    assert [episode.account_id for episode in past.episodes] == [rows[1].pk]
    run_triggers(now=NOW)
    at_runs = past_episodes(trigger, start=NOW, end=NOW, step=AT_RUNS, known="then", sight=sight)
    assert [episode.account_id for episode in at_runs.episodes] == [rows[1].pk]


@pytest.mark.parametrize(
    ("end", "step", "said"),
    [
        (NOW - DAY, DAY, "before it begins"),
        (NOW - DAY, AT_RUNS, "before it begins"),
        (NOW, timedelta(), "longer than nothing"),
        (NOW + 10_000 * DAY, DAY, "10,001 moments, and at most 10,000"),
    ],
)
def test_a_period_that_is_none_is_refused_in_a_sentence(library, end, step, said):
    with pytest.raises(PeriodError, match=said):
        past_episodes(trigger_of("seats_above_80"), start=NOW, end=end, step=step)


def prune(before: datetime) -> None:
    PrunedDay.objects.create(day=before.date() - DAY, before=before, signals=0, readings=0, pruned_at=before)


def test_what_is_pruned_is_cut_off_with_a_sentence(library):
    account("acme")
    gate_hits("acme", 1, 2, 3, at=NOW)
    seats("acme", 15, 20, at=NOW)
    prune(NOW - 60 * DAY)
    trigger = trigger_of("gates_at_high_usage")
    past = past_episodes(trigger, start=NOW - 70 * DAY, end=NOW, step=DAY)
    first, _ = past.moments[0]
    assert NOW - 60 * DAY <= first <= NOW
    assert [episode.opened_at for episode in past.opened] == [NOW]
    [note] = past.notes
    assert note.startswith(f"Answered from {first:%Y-%m-%d %H:%M} on. The trigger gates_at_high_usage")
    with pytest.raises(Forgotten, match="are pruned"):
        past_episodes(trigger, start=NOW - 90 * DAY, end=NOW - 80 * DAY, step=DAY)


def test_what_was_known_before_the_horizon_nobody_can_tell(library):
    """Also of a trigger that looks at facts alone: the runs of that time may be gone."""
    facts = TriggerVersion(1, 1, {"key": "t", "any": [{"all": [{"measure": "segment", "segments": ["small"]}]}]}, {})
    AccountFactory(facts__segment="small")
    RunFactory(moment=NOW - 30 * DAY)
    prune(NOW - 10 * DAY)
    assert len(past_episodes(facts, start=NOW - 20 * DAY, end=NOW, step=DAY).moments) == 21
    past = past_episodes(facts, start=NOW - 20 * DAY, end=NOW, step=DAY, known="then")
    assert past.moments[0][0] == NOW - 10 * DAY
    assert "What was known before" in past.notes[0]


def test_where_runs_kept_no_catalogue_today_s_is_used_and_said(db):
    sell()
    team = holder("starter")
    send(team, "approvals", "comments", "guests")
    run = RunFactory(moment=NOW, inputs=Known.now(catalogue=False, readiness=False).as_json())
    for told_of in (IntakeBatch, Change):
        told_of.objects.update(seen_by_run=run.pk)
    condition = {"measure": "next_tier_touched", "window_days": 30, "at_least": 50}
    trigger = TriggerVersion(1, 1, {"key": "t", "any": [{"all": [condition]}]}, {})
    past = past_episodes(trigger, start=NOW, end=NOW, step=DAY, known="then")
    [note] = past.notes
    assert note.startswith("Runs of that time kept no plans and features")
    assert [episode.from_start for episode in past.episodes] == [True]
    assert past_episodes(trigger, start=NOW, end=NOW, step=DAY, known="now").notes == ()


def test_an_episode_is_a_plain_value():
    """The basis of other tools: it can be compared, hashed and kept."""
    assert len({Episode(1, NOW, None, ("a",)), Episode(1, NOW, None, ("a",))}) == 1
