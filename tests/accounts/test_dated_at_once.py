"""Several writers of one subject at the same time, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from csplaybooks.accounts.acts import set_facts
from csplaybooks.accounts.factories import START, BareAccountFactory
from csplaybooks.accounts.models import AccountFacts, Change, TimelineEntry
from tests.at_once import at_once

WRITERS = 4
ROUNDS = 5


@pytest.mark.django_db(transaction=True)
def test_writers_of_one_subject_wait_for_each_other() -> None:
    account = BareAccountFactory()
    now = START + timedelta(days=100)

    def writer(number: int) -> Callable[[], Any]:
        # No two of these are equal, and they come in any order: starts, later news and late news.
        return lambda: set_facts(
            account_ids=[account.pk],
            facts={"head_count": number},
            effective_at=START + timedelta(hours=(number * 7) % 23),
            now=now,
            actor=None,
        )

    verdicts: list[Any] = []
    for turn in range(ROUNDS):
        first = 1 + turn * WRITERS
        for answer in at_once(*(writer(number) for number in range(first, first + WRITERS))):
            verdicts += answer.values()
    assert len(verdicts) == WRITERS * ROUNDS
    assert set(verdicts) <= {"created", "updated"}
    assert Change.objects.count() == TimelineEntry.objects.count() == WRITERS * ROUNDS
    rows = list(AccountFacts.objects.filter(superseded_by=None).order_by("valid_from"))
    assert all(earlier.valid_to == later.valid_from for earlier, later in pairwise(rows))
    assert rows[-1].valid_to is None
    # Each moment was told of once, so each of them begins a period.
    assert {row.head_count for row in rows} == set(range(1, WRITERS * ROUNDS + 1))
