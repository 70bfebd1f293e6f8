"""Several writers of one subject at the same time, each in a transaction of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from csplaybooks.accounts.acts import set_facts
from csplaybooks.accounts.factories import START, BareAccountFactory
from csplaybooks.accounts.models import AccountFacts, Change, TimelineEntry

WRITERS = 4
ROUNDS = 5


@pytest.mark.django_db(transaction=True)
def test_writers_of_one_subject_wait_for_each_other() -> None:
    account = BareAccountFactory()
    now = START + timedelta(days=100)
    ready = Barrier(WRITERS)

    def write(writer: int) -> list[Any]:
        verdicts: list[Any] = []
        try:
            for turn in range(ROUNDS):
                ready.wait(timeout=60)
                # No two of these are equal, and they come in any order: starts, later news and late news.
                number = 1 + turn * WRITERS + writer
                verdicts += set_facts(
                    account_ids=[account.pk],
                    facts={"head_count": number},
                    effective_at=START + timedelta(hours=(number * 7) % 23),
                    now=now,
                    actor=None,
                ).values()
        finally:
            connection.close()
        return verdicts

    with ThreadPoolExecutor(WRITERS) as pool:
        verdicts = [verdict for answers in pool.map(write, range(WRITERS)) for verdict in answers]
    assert len(verdicts) == WRITERS * ROUNDS
    assert set(verdicts) <= {"created", "updated"}
    assert Change.objects.count() == TimelineEntry.objects.count() == WRITERS * ROUNDS
    rows = list(AccountFacts.objects.filter(superseded_by=None).order_by("valid_from"))
    assert all(earlier.valid_to == later.valid_from for earlier, later in pairwise(rows))
    assert rows[-1].valid_to is None
    # Each moment was told of once, so each of them begins a period.
    assert {row.head_count for row in rows} == set(range(1, WRITERS * ROUNDS + 1))
