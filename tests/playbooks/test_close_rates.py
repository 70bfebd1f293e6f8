"""Close rates: a playbook's own once there are enough plays, the field's until then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.playbooks.close_rates import CloseRate, CloseRates
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.factories import PlaybookFactory, PlaybookVersionFactory, PlayFactory

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
YEAR = timedelta(days=365)
SECOND = timedelta(seconds=1)


def closed(version: Any, outcome: str, number: int = 1, at: datetime = NOW) -> None:
    """Plays that ended so."""
    for _ in range(number):
        PlayFactory(
            recipe=version,
            stage="closed",
            outcome=outcome,
            closed_at=at,
            opened_at=at,
            interval=None,
        )


@pytest.mark.django_db
def test_own_history_counts_from_the_thirtieth_play_of_the_last_year(django_assert_num_queries: Any) -> None:
    version = PlaybookVersionFactory()
    closed(version, "won", 12)
    closed(version, "lost", 8)
    closed(version, "expired", 9)
    # None of these counts: withdrawn, too long ago, still to come.
    closed(version, "withdrawn")
    closed(version, "won", at=NOW - YEAR)
    closed(version, "won", at=NOW + SECOND)
    before = CloseRates(NOW).of(version.playbook_id, version.document)
    assert before == CloseRate(12, 29, 40, 60)
    assert (before.is_own, before.of(1_001)) == (False, 500)
    assert (
        str(before) == "50 %: the middle of the field's 40 to 60 %, until 30 of its own plays have closed (29 so far)"
    )
    closed(version, "won", at=NOW - YEAR + SECOND)
    rates = CloseRates(NOW)
    with django_assert_num_queries(1):
        rate = rates.of(version.playbook_id, version.document)
        rates.of(version.playbook_id + 1, version.document)
    assert (rate.is_own, rate.of(1_001), rate.of(None)) == (True, 1_001 * 13 // 30, None)
    assert str(rate) == "43 %: 13 won of its own 30 closed plays"
    assert rates.as_json()[str(version.playbook_id)] == {"won": 13, "closed": 30, "from": 40, "to": 60}


@pytest.mark.parametrize(
    ("motion", "low", "high"),
    [
        ("seat_expansion", 40, 60),
        ("tier_upsell", 30, 45),
        ("usage_growth", 30, 45),
        ("cross_sell", 20, 35),
        ("add_on", 15, 20),
    ],
)
def test_the_field_s_range_goes_by_the_motion(motion: str, low: int, high: int) -> None:
    document = read_document(PlaybookFactory.build(motion=motion).draft)
    assert document["expected_close"] == {"from": low, "to": high}
    assert document["queue_days"] == 14


def test_a_document_may_say_its_own() -> None:
    draft = PlaybookFactory.build().draft
    assert read_document(f"{draft}expected_close: {{from: 5, to: 10}}\nqueue_days: 3\n")["queue_days"] == 3
    assert CloseRate(0, 0, 5, 10).of(1_000) == 75


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ("expected_close: {from: 60, to: 40}", "expected_close"),
        ("expected_close: {from: 60}", "expected_close"),
        ("expected_close: {from: 60, to: 101}", "expected_close/to"),
        ("expected_close: {from: -1, to: 10}", "expected_close/from"),
        ("queue_days: 0", "queue_days"),
        ("queue_days: 366", "queue_days"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_place(more: str, path: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        read_document(f"{PlaybookFactory.build().draft}{more}\n")
    assert [where for where, _ in refusal.value.errors] == [path]
