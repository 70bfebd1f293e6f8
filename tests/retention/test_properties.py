"""Whatever was told, and in whatever batches it is pruned: sums and rows say the same, and so does the evaluator."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Run
from csplaybooks.signals.acts.pruning import prune_events
from csplaybooks.signals.horizon import pruned_before, to_prune_before
from csplaybooks.signals.models import IntakeBatch, Meter, Reading, Signal
from tests.examples import examples
from tests.retention.history import (
    Told,
    doomed,
    reading_sums,
    signal_sums,
    stored_reading_sums,
    stored_signal_sums,
    write,
)

# Just after the clocks went back in New York, and some days after they did in Berlin.
NOW = datetime(2026, 11, 3, 15, 0, tzinfo=UTC)
RETENTION = 5
WINDOW = 3

pytestmark = pytest.mark.django_db

#: How many hours ago: more of them around the horizon, and exactly at midnights.
HOURS = st.one_of(st.integers(0, 24 * 14), st.integers(24 * 5, 24 * 8), st.sampled_from([15, 39, 135, 159, 160, 183]))


@st.composite
def histories(draw: Any) -> list[Told]:
    """Items of two accounts and two kinds in three batches, a third of them corrections of earlier ones."""
    history: list[Told] = []
    uncorrected: list[int] = []
    for number in range(draw(st.integers(0, 12))):
        at = NOW - timedelta(hours=draw(HOURS))
        batch = draw(st.integers(0, 2))
        values = {"used": draw(st.integers(-2, 3)), "limit": draw(st.sampled_from([None, 0, 1, 2]))}
        if uncorrected and draw(st.integers(0, 2)) == 0:
            corrects = draw(st.sampled_from(uncorrected))
            uncorrected.remove(corrects)
            first = history[corrects]
            # A correction is taken in after what it corrects.
            batch = max(batch, first.batch)
            told = Told(first.account, first.kind, at, batch, corrects=corrects, void=draw(st.booleans()), **values)
        else:
            told = Told(draw(st.integers(0, 1)), draw(st.integers(0, 1)), at, batch, **values)
        history.append(told)
        uncorrected.append(number)
    return history


#: Which batches were told to a run; those that come later are told later.
CLAIMED = st.sampled_from([[True, True, True], [True, True, False], [True, False, False]])

LIMITS = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def prune_by(limits: list[int]) -> int:
    """Prune in batches of these sizes, over and over; answers how many rows went."""
    rows = turn = 0
    while (pruned := prune_events(now=NOW, limit=limits[turn % len(limits)])) is not None:
        rows += pruned.signals + pruned.readings
        turn += 1
    return rows


def answers(condition: dict[str, Any], earliest: datetime) -> list[Any]:
    """What a condition finds at moments whose windows begin at the horizon or later, as known at each mark."""
    trigger = TriggerVersion(0, 0, {"key": "t", "any": [{"all": [condition]}]}, {})
    moments = [earliest, earliest + timedelta(hours=7), NOW]
    marks = [*Run.objects.order_by("pk").values_list("pk", flat=True), None]
    return [evaluate(trigger, moment, Known.now(mark), None) for moment in moments for mark in marks]


class Kind(NamedTuple):
    """A table of events: a condition that reads it, the sums that pruning must leave, and those that it left."""

    model: Any
    condition: dict[str, Any]
    sums: Callable[..., Any]
    stored_sums: Callable[[], Any]


SIGNALS = Kind(
    Signal,
    {"measure": "signal_count", "signal_type": "kind-0", "window_days": WINDOW, "at_least": 1},
    signal_sums,
    stored_signal_sums,
)
READINGS = Kind(
    Reading,
    {"measure": "share_of_limit", "meters": ["kind-0"], "at_least": 100, "grace_hours": 24},
    reading_sums,
    stored_reading_sums,
)


@pytest.mark.parametrize("kind", [pytest.param(SIGNALS, id="signals"), pytest.param(READINGS, id="readings")])
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    history=histories(),
    claimed=CLAIMED,
    limits=LIMITS,
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
)
def test_sums_and_rows_say_what_the_rows_said(kind, history, claimed, limits, zone):
    with transaction.atomic(), override_settings(CSPLAYBOOKS={"RETENTION_DAYS": RETENTION, "TIME_ZONE": zone}):
        rows = write(kind.model, history, claimed)
        # With its grace a meter looks back as far as the window of the signals.
        Meter.objects.update(max_age_days=WINDOW - 1)
        before = to_prune_before(NOW)
        assert before is not None
        asked = answers(kind.condition, before + timedelta(days=WINDOW))

        gone = doomed(history, claimed, before)
        assert prune_by(limits) == sum(map(len, gone))

        numbers = {number for chain in gone for number in chain}
        kept = [row.pk for number, row in enumerate(rows) if number not in numbers]
        assert sorted(kind.model.objects.values_list("pk", flat=True)) == kept
        assert kind.stored_sums() == kind.sums(rows, gone, ZoneInfo(zone))
        assert_all_holds(history, numbers, before)
        assert answers(kind.condition, before + timedelta(days=WINDOW)) == asked
        transaction.set_rollback(True)


def assert_all_holds(history: list[Told], gone: set[int], before: datetime) -> None:
    """Batches know what of them went, the horizon lies behind all that did and no further than it may."""
    assert [violation for violation in violations() if violation.count] == []
    pruned = list(IntakeBatch.objects.order_by("pk").values_list("pruned", flat=True))
    assert pruned == [sum(history[number].batch == batch for number in gone) for batch in range(3)]
    horizon = pruned_before()
    if gone:
        assert horizon is not None
        assert max(history[number].at for number in gone) < horizon <= before
    else:
        assert horizon is None
