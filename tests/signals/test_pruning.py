"""Refused items are forgotten when their time has come, a bounded number at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from csplaybooks.playbooks import tasks
from csplaybooks.signals.acts.pruning import prune_refused_items
from csplaybooks.signals.factories import IntakeBatchFactory, RefusedItemFactory
from csplaybooks.signals.models import RefusedItem

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)

pytestmark = pytest.mark.django_db


def items(*expire: datetime) -> list[RefusedItem]:
    batch = IntakeBatchFactory(stored=0, refused=len(expire))
    return [RefusedItemFactory(batch=batch, index=index, expires_at=at) for index, at in enumerate(expire)]


def test_what_is_past_its_time_goes_and_the_rest_stays(django_assert_num_queries):
    *_, young = items(NOW - DAY, NOW, NOW + timedelta(microseconds=1))
    with django_assert_num_queries(1):
        assert prune_refused_items(now=NOW) == 2
    assert list(RefusedItem.objects.all()) == [young]
    young.batch.refresh_from_db()
    assert young.batch.refused == 3
    assert prune_refused_items(now=NOW) == 0


def test_no_more_than_the_limit_go_and_the_oldest_first():
    rows = items(NOW - DAY, NOW - 3 * DAY, NOW - 2 * DAY)
    assert prune_refused_items(now=NOW, limit=2) == 2
    assert list(RefusedItem.objects.all()) == [rows[0]]


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="now needs a time zone"):
        prune_refused_items(now=datetime(2026, 11, 16))  # noqa: DTZ001 - that is the point


def test_the_sweep_prunes():
    items(NOW - DAY, NOW + DAY)
    with time_machine.travel(NOW, tick=False):
        assert "pruned: 1" in tasks.sweep()
    assert RefusedItem.objects.count() == 1
