"""Every run replays to its own matches exactly, whatever happened before and after."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csplaybooks.accounts.acts.companies import set_facts
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.models import Match, Playbook
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.rounds import run_next_part
from csplaybooks.playbooks.runs import run_triggers
from tests.examples import examples
from tests.playbooks.inputs import DAY, NOW, account, assert_all_runs_replay, gate_hits, seats

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


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
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
