"""The scores of each day: written once a day, by whoever sweeps first, and forgotten when they have had their time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.acts.pruning import prune_a_little, prune_next_scores
from csplaybooks.playbooks.models import Lease
from csplaybooks.playbooks.pipeline import sweep
from csplaybooks.playbooks.pipeline.sweep import score_the_day
from csplaybooks.signals.acts.readiness import snapshot_scores
from csplaybooks.signals.factories import (
    PrunedDayFactory,
    ReadinessWeightsFactory,
    ScoreSnapshotFactory,
    SignalFactory,
)
from csplaybooks.signals.models import ScoreSnapshot
from tests.at_once import at_once

#: In Berlin it is the 17th already.
NOW = datetime(2026, 11, 16, 23, 30, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 16, 23, 0, tzinfo=UTC)
DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)

BERLIN = override_settings(CSPLAYBOOKS={"TIME_ZONE": "Europe/Berlin"})

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("berlin")]


@pytest.fixture(autouse=True)
def berlin():
    """The company lives in Berlin."""
    with BERLIN:
        yield


def rows() -> list[tuple[object, ...]]:
    """All scores there are."""
    columns = ("account__name", "motion", "day", "score", "weights__number")
    return list(ScoreSnapshot.objects.order_by("day", "account__name").values_list(*columns))


def test_scores_are_those_of_the_first_instant_of_the_company_s_day():
    ReadinessWeightsFactory()
    SignalFactory.create_batch(3, account=AccountFactory(name="acme"), occurred_at=MIDNIGHT)
    SignalFactory(account=AccountFactory(name="bolt"), occurred_at=MIDNIGHT + INSTANT)
    # An age of just under fourteen days counts whole, one of fourteen half.
    SignalFactory(account=AccountFactory(name="core"), occurred_at=MIDNIGHT - 14 * DAY + INSTANT)
    SignalFactory(account=AccountFactory(name="dune"), occurred_at=MIDNIGHT - 14 * DAY)
    AccountFactory(name="empty")
    assert snapshot_scores(now=NOW) == 3
    assert rows() == [
        ("acme", "tier_upsell", date(2026, 11, 17), 24, 1),
        ("core", "tier_upsell", date(2026, 11, 17), 8, 1),
        ("dune", "tier_upsell", date(2026, 11, 17), 4, 1),
    ]


def test_every_motion_has_its_own():
    motions = {
        "tier_upsell": {"feature_gate_hit": {"weight": 60, "at_most": 10}},
        "cross_sell": {"feature_gate_hit": {"weight": 7, "at_most": 1}},
    }
    ReadinessWeightsFactory(document={"motions": motions, "strengths": {"feature_gate_hit": "strong"}})
    SignalFactory.create_batch(2, account=AccountFactory(), occurred_at=MIDNIGHT)
    assert snapshot_scores(now=NOW) == 2
    assert dict(ScoreSnapshot.objects.values_list("motion", "score")) == {"tier_upsell": 100, "cross_sell": 7}


def test_accounts_that_are_gone_have_none():
    ReadinessWeightsFactory()
    gone, merged = (SignalFactory(occurred_at=MIDNIGHT).account for _ in range(2))
    Account.objects.filter(pk=gone.pk).update(deleted_at=NOW)
    Account.objects.filter(pk=merged.pk).update(merged_into=AccountFactory())
    assert snapshot_scores(now=NOW) == 0


def test_a_second_time_adds_nothing():
    ReadinessWeightsFactory()
    SignalFactory(occurred_at=MIDNIGHT)
    assert snapshot_scores(now=NOW) == 1
    SignalFactory(occurred_at=MIDNIGHT)
    # What came to be known later on the day is there for those who had none.
    assert snapshot_scores(now=NOW) == 1
    assert snapshot_scores(now=NOW) == 0


def test_queries_do_not_grow(django_assert_num_queries):
    ReadinessWeightsFactory()
    for day, count in ((1, 3), (2, 30)):
        SignalFactory.create_batch(count, occurred_at=MIDNIGHT + day * DAY)
        # The weights, a savepoint and its end, the horizon, the kinds, the scores.
        with django_assert_num_queries(6):
            snapshot_scores(now=NOW + day * DAY)
    assert ScoreSnapshot.objects.count() == 36


def test_without_weights_there_is_none_until_there_are_some():
    SignalFactory(occurred_at=MIDNIGHT)
    assert snapshot_scores(now=NOW) is None
    assert score_the_day(now=NOW) == 0
    ReadinessWeightsFactory()
    assert score_the_day(now=NOW) == 1


def test_the_sweep_scores_once_a_day_and_makes_up_for_no_day():
    ReadinessWeightsFactory()
    SignalFactory(occurred_at=MIDNIGHT)
    assert score_the_day(now=NOW) == 1
    assert Lease.objects.get(name=sweep.SCORES).next_at == MIDNIGHT + DAY
    with CaptureQueriesContext(connection) as asked:
        assert score_the_day(now=MIDNIGHT + DAY - INSTANT) == 0
    assert len(asked) == 1
    # Nobody swept for two days.
    assert score_the_day(now=NOW + 3 * DAY) == 1
    assert score_the_day(now=NOW + 3 * DAY) == 0
    assert [row[2] for row in rows()] == [date(2026, 11, 17), date(2026, 11, 20)]


def test_who_dies_gives_the_day_back(monkeypatch):
    ReadinessWeightsFactory()
    SignalFactory(occurred_at=MIDNIGHT)

    def dies(*, now: datetime) -> int:
        assert snapshot_scores(now=now) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "snapshot_scores", dies)
    with pytest.raises(KeyboardInterrupt):
        score_the_day(now=NOW)
    assert rows() == []
    monkeypatch.undo()
    assert score_the_day(now=NOW) == 1


def test_where_signals_are_pruned_there_is_no_score_and_the_sweep_goes_on(caplog):
    ReadinessWeightsFactory()
    SignalFactory(occurred_at=MIDNIGHT)
    PrunedDayFactory(before=MIDNIGHT)
    assert score_the_day(now=NOW) == 0
    assert "no readiness scores of this day: Readiness at 2026-11-17 00:00 looks 42 days back" in caplog.text
    # Said once a day.
    caplog.clear()
    assert score_the_day(now=NOW) == 0
    assert caplog.text == ""


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_writes():
    ReadinessWeightsFactory()
    SignalFactory.create_batch(5, occurred_at=MIDNIGHT)
    answers = at_once(lambda: score_the_day(now=NOW), lambda: score_the_day(now=NOW))
    assert sorted(answers) == [0, 5]
    assert ScoreSnapshot.objects.count() == 5


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_without_the_lease_each_row_is_written_once():
    ReadinessWeightsFactory()
    SignalFactory.create_batch(5, occurred_at=MIDNIGHT)
    answers = at_once(lambda: snapshot_scores(now=NOW), lambda: snapshot_scores(now=NOW))
    assert sorted(answers) == [0, 5]


def test_old_days_go_in_batches_and_young_ones_stay():
    for age in (10, 11, 12, 13):
        ScoreSnapshotFactory(day=date(2026, 11, 17) - age * DAY)
    with override_settings(CSPLAYBOOKS={"TIME_ZONE": "Europe/Berlin", "RETENTION_DAYS": 10}):
        # One day more is kept, as of everything.
        assert prune_next_scores(now=NOW, limit=1) == 1
        assert [row[2] for row in rows()] == [date(2026, 11, day) for day in (5, 6, 7)]
        assert prune_a_little(now=NOW) == 1
        assert prune_next_scores(now=NOW) == 0
    assert [row[2] for row in rows()] == [date(2026, 11, 6), date(2026, 11, 7)]
    with override_settings(CSPLAYBOOKS={"RETENTION_DAYS": 0}):
        assert prune_next_scores(now=NOW + 9999 * DAY) == 0
