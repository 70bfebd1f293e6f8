"""Readiness scores: what counts when, held against a plain computation on random signals, and traced to the point."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.signals.factories import (
    IntakeBatchFactory,
    PrunedDayFactory,
    ReadinessWeightsFactory,
    SignalFactory,
    SignalTypeFactory,
    SourceFactory,
)
from csplaybooks.signals.models import Signal, SignalType, Strength
from csplaybooks.signals.readiness import PERIOD_DAYS, Forgotten, Weights, scores, trace

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)

GATES = {"tier_upsell": {"feature_gate_hit": {"weight": 8, "at_most": 10}}}


def weights(motions: dict[str, Any], **strengths: str) -> Weights:
    """A published version; kinds are strong unless told."""
    keys = {key for kinds in motions.values() for key in kinds}
    for key in keys:
        SignalTypeFactory(key=key, strength=strengths.get(key, Strength.STRONG))
    strong = {key: strengths.get(key, "strong") for key in sorted(keys)}
    return Weights.of(ReadinessWeightsFactory(document={"motions": motions, "strengths": strong}))


def score(
    by: Weights, account: Any, as_of: datetime = NOW, mark: int | None = None, motion: str = "tier_upsell"
) -> int:
    """One score; it is the sum of its trace."""
    answers = scores(by, as_of=as_of, mark=mark)
    (traced,) = trace(by, account.pk, as_of=as_of, mark=mark, motions=[motion])
    answer = answers.get((account.pk, motion), 0)
    assert traced.score == answer
    assert scores(by, [motion], as_of=as_of, mark=mark, accounts=[account.pk]) == (
        {(account.pk, motion): answer} if answer else {}
    )
    return answer


@pytest.mark.parametrize("strength", PERIOD_DAYS)
def test_a_signal_counts_whole_then_half_then_a_quarter_then_no_more(strength):
    by = weights(GATES, feature_gate_hit=strength)
    account = SignalFactory(occurred_at=NOW).account
    period = timedelta(days=PERIOD_DAYS[strength])
    moments = [
        (NOW - INSTANT, 0),
        (NOW, 8),
        (NOW + period - INSTANT, 8),
        (NOW + period, 4),
        (NOW + 2 * period - INSTANT, 4),
        (NOW + 2 * period, 2),
        (NOW + 3 * period - INSTANT, 2),
        (NOW + 3 * period, 0),
    ]
    assert [(moment, score(by, account, moment)) for moment, _ in moments] == moments


def test_points_are_rounded_down_and_end_at_a_hundred():
    by = weights({"tier_upsell": {"feature_gate_hit": {"weight": 3, "at_most": 100}}})
    account = AccountFactory()
    SignalFactory.create_batch(1, account=account, occurred_at=NOW - 15 * DAY)
    # One and a half points, then two and a quarter.
    assert score(by, account) == 1
    SignalFactory(account=account, occurred_at=NOW - 30 * DAY)
    assert score(by, account) == 2
    SignalFactory.create_batch(33, account=account, occurred_at=NOW)
    assert score(by, account) == 100
    (traced,) = trace(by, account.pk, as_of=NOW)
    assert traced.quarters == 4 * 99 + 6 + 3


def test_less_than_a_point_is_no_score():
    by = weights({"tier_upsell": {"feature_gate_hit": {"weight": 3, "at_most": 10}}})
    account = SignalFactory(occurred_at=NOW - 30 * DAY).account
    assert score(by, account) == 0


def test_only_the_newest_count_where_there_are_many():
    by = weights({"tier_upsell": {"feature_gate_hit": {"weight": 8, "at_most": 3}}})
    account = AccountFactory()
    SignalFactory.create_batch(2, account=account, occurred_at=NOW - DAY)
    old = SignalFactory.create_batch(50, account=account, occurred_at=NOW - 20 * DAY)
    SignalFactory.create_batch(5, account=account, occurred_at=NOW - 40 * DAY)
    assert score(by, account) == 8 + 8 + 4
    (traced,) = trace(by, account.pk, as_of=NOW)
    (kind,) = traced.kinds
    assert [(step.found, len(step.signals), step.quarters) for step in kind.steps] == [
        (2, 2, 64),
        (50, 1, 16),
        (5, 0, 0),
    ]
    # Of those of one instant the one stored last.
    assert [signal.id for signal in kind.steps[1].signals] == [old[-1].pk]


def test_late_arrivals_count_from_the_run_that_was_told_of_them():
    by = weights(GATES)
    first = SignalFactory(occurred_at=NOW - DAY, batch__seen_by_run=3)
    account = first.account
    SignalFactory(account=account, occurred_at=NOW - 20 * DAY, batch__seen_by_run=5)
    SignalFactory(account=account, occurred_at=NOW - DAY)
    assert [score(by, account, mark=mark) for mark in (2, 3, 4, 5, None)] == [0, 8, 8, 12, 20]


def test_corrections_count_as_what_they_say_from_when_they_were_told():
    by = weights(GATES)
    wrong = SignalFactory(occurred_at=NOW - DAY, batch__seen_by_run=1)
    account = wrong.account
    moved = SignalFactory(account=account, occurred_at=NOW - 15 * DAY, corrects=wrong, batch__seen_by_run=2)
    assert [score(by, account, mark=mark) for mark in (1, 2)] == [8, 4]
    SignalFactory(account=account, occurred_at=NOW - 15 * DAY, corrects=moved, is_void=True, batch__seen_by_run=3)
    assert [score(by, account, mark=mark) for mark in (1, 2, 3, None)] == [8, 4, 0, 0]


def test_kinds_that_weigh_nothing_count_nothing():
    by = weights(GATES)
    account = SignalFactory(type__key="login", occurred_at=NOW).account
    assert score(by, account) == 0
    assert score(by, account, motion="cross_sell") == 0


def test_a_kind_that_was_deleted_counts_nothing():
    by = weights(GATES | {"cross_sell": {"login": {"weight": 5, "at_most": 1}}})
    account = SignalFactory(occurred_at=NOW).account
    SignalType.objects.filter(key="login").delete()
    assert scores(by, as_of=NOW) == {(account.pk, "tier_upsell"): 8}
    assert scores(by, ["cross_sell"], as_of=NOW) == {}
    assert [motion.score for motion in trace(by, account.pk, as_of=NOW)] == [8, 0]


def test_nothing_is_answered_of_what_may_be_pruned():
    by = weights(GATES)
    account = SignalFactory(occurred_at=NOW).account
    pruned = PrunedDayFactory(before=NOW - 42 * DAY)
    assert score(by, account) == 8
    type(pruned).objects.update(before=NOW - 42 * DAY + INSTANT)
    with pytest.raises(Forgotten, match="looks 42 days back, and signals from before 2026-10-05 are pruned"):
        scores(by, as_of=NOW)
    with pytest.raises(Forgotten):
        trace(by, account.pk, as_of=NOW)
    assert score(by, account, NOW + INSTANT) == 8


@pytest.mark.parametrize("count", [3, 30])
def test_queries_do_not_grow(count, django_assert_num_queries):
    by = weights(
        GATES | {"cross_sell": {"login": {"weight": 5, "at_most": 7}, "user_added": {"weight": 1, "at_most": 2}}}
    )
    for key in ("feature_gate_hit", "login", "user_added"):
        signals = SignalFactory.create_batch(count, type__key=key, occurred_at=NOW)
        SignalFactory.create_batch(count, type__key=key, account=signals[0].account, occurred_at=NOW)
    # The horizon, the kinds, the scores.
    with django_assert_num_queries(3):
        assert len(scores(by, as_of=NOW)) == 3 * count
    with django_assert_num_queries(3):
        trace(by, signals[0].account.pk, as_of=NOW)


# Held against a plain computation

KINDS = {"feature_gate_hit": "strong", "login": "moderate", "funding_announced": "weak"}
LINES = st.fixed_dictionaries({"weight": st.integers(1, 100), "at_most": st.integers(1, 6)})
MOTIONS = st.dictionaries(
    st.sampled_from(["tier_upsell", "cross_sell", "seat_expansion"]),
    st.dictionaries(st.sampled_from(list(KINDS)), LINES, min_size=1),
    min_size=1,
)
#: How long before now: at the edges of steps, and an instant to either side.
AGES = st.builds(
    lambda days, nudge: days * DAY + nudge * INSTANT,
    st.sampled_from([0, 0, 1, 14, 28, 30, 42, 60, 90, 120, 180, -1]),
    st.sampled_from([0, 0, 1, -1]),
)
MARKS = st.sampled_from([1, 2, 3, None])


@st.composite
def worlds(draw):
    """Signals of three accounts: (account, kind, moment, told to which run, corrects which before it, void)."""
    signals: list[Any] = []
    free: list[int] = []
    for number in range(draw(st.integers(0, 14))):
        corrects = draw(st.sampled_from([None, *free])) if free else None
        told = draw(MARKS)
        if corrects is None:
            account, kind = draw(st.integers(0, 2)), draw(st.sampled_from(list(KINDS)))
        else:
            account, kind = signals[corrects][:2]
            free.remove(corrects)
        void = corrects is not None and draw(st.booleans())
        signals.append((account, kind, NOW - draw(AGES), told, corrects, void))
        free.append(number)
    return signals


def plain_quarters(signals: Any, motions: Any, motion: str, account: int, as_of: datetime, mark: int | None) -> int:
    """The quarters of points of one score, by going through all signals."""

    def told(row: Any) -> bool:
        return mark is None or (row[3] is not None and row[3] <= mark)

    mended = {row[4] for row in signals if told(row)}
    total = 0
    for kind, line in motions[motion].items():
        ages = sorted(
            as_of - row[2]
            for number, row in enumerate(signals)
            if row[:2] == (account, kind) and told(row) and number not in mended and not row[5] and row[2] <= as_of
        )
        period = timedelta(days={"strong": 14, "moderate": 30, "weak": 60}[KINDS[kind]])
        within = [age // period for age in ages if age < 3 * period]
        total += sum(line["weight"] * {0: 4, 1: 2, 2: 1}[step] for step in within[: line["at_most"]])
    return total


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(signals=worlds(), motions=MOTIONS, as_of=AGES, mark=MARKS)
def test_scores_and_traces_agree_with_a_plain_computation(signals, motions, as_of, mark):
    moment = NOW - as_of
    with transaction.atomic():
        by = weights(motions, **KINDS)
        accounts = AccountFactory.create_batch(3)
        source = SourceFactory()
        batches = {run: IntakeBatchFactory(seen_by_run=run) for run in (1, 2, 3, None)}
        types = {key: SignalTypeFactory(key=key, strength=strength) for key, strength in KINDS.items()}
        rows: list[Signal] = []
        for number, (account, kind, occurred_at, told, corrects, void) in enumerate(signals):
            rows.append(
                Signal.objects.create(
                    account=accounts[account],
                    type=types[kind],
                    source=source,
                    external_id=f"s{number}",
                    occurred_at=occurred_at,
                    batch=batches[told],
                    body_hash=b"",
                    corrects=None if corrects is None else rows[corrects],
                    is_void=void,
                )
            )
        expected: dict[tuple[int, str], int] = defaultdict(int)
        for number, account in enumerate(accounts):
            traced = {each.motion: each for each in trace(by, account.pk, as_of=moment, mark=mark)}
            for motion in motions:
                quarters = plain_quarters(signals, motions, motion, number, moment, mark)
                assert traced[motion].quarters == quarters
                assert traced[motion].quarters == sum(
                    kind.weight.points * step.share * len(step.signals)
                    for kind in traced[motion].kinds
                    for step in kind.steps
                )
                if quarters >= 4:
                    expected[account.pk, motion] = min(100, quarters // 4)
        assert scores(by, as_of=moment, mark=mark) == expected
        transaction.set_rollback(True)
