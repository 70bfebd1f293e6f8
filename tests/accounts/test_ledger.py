"""Lines are added to the ledger, and what was told before is not told twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts.ledger import LineVerdict, NewMovement, record_movements
from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.accounts.models import Change, Motion, Movement, TimelineEntry

NOW = datetime(2026, 11, 16, 10, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def line() -> NewMovement:
    """An account's expansion by 250 dollars a month."""
    return NewMovement(
        account_id=AccountFactory().pk,
        source="billing",
        external_id="inv-1",
        amount_minor=25_000,
        effective_on=date(2026, 11, 1),
        motion=Motion.CROSS_SELL,
        note="Analytics",
    )


def record(*items: NewMovement) -> list[LineVerdict]:
    return record_movements(items=items, now=NOW, actor=None)


def test_line_stands_in_the_ledger_and_on_the_timeline(line: NewMovement) -> None:
    changes = Change.objects.count()
    assert record(line) == [LineVerdict.CREATED]
    stored = Movement.objects.get()
    assert (stored.account_id, stored.amount_minor, stored.recorded_at) == (line.account_id, 25_000, NOW)
    entry = TimelineEntry.objects.get(kind="movement_recorded")
    assert entry.text == "MRR +250.00 USD from 2026-11-01 on (cross-sell): Analytics"
    # No trigger asks the ledger.
    assert Change.objects.count() == changes


def test_same_line_again_is_a_duplicate_and_another_a_conflict(line: NewMovement) -> None:
    other = replace(line, amount_minor=1)
    assert record(line, line, other) == [LineVerdict.CREATED, LineVerdict.DUPLICATE, LineVerdict.CONFLICT]
    assert record(other, line) == [LineVerdict.CONFLICT, LineVerdict.DUPLICATE]
    assert Movement.objects.get().amount_minor == 25_000
    assert TimelineEntry.objects.filter(kind="movement_recorded").count() == 1


def test_reversal_takes_one_line_back_exactly_once(line: NewMovement) -> None:
    record(line)
    back = replace(line, external_id="inv-2", amount_minor=-25_000, reverses_id=Movement.objects.get().pk)
    for wrong in (replace(back, amount_minor=-1), replace(back, account_id=AccountFactory().pk)):
        with pytest.raises(ValidationError, match="exact opposite"):
            record(wrong)
    assert record(back) == [LineVerdict.CREATED]
    assert sum(Movement.objects.values_list("amount_minor", flat=True)) == 0
    with pytest.raises(ValidationError, match="reversed already"):
        record(replace(back, external_id="inv-3"))
    with pytest.raises(ValidationError, match="no movement with the id"):
        record(replace(back, external_id="inv-4", reverses_id=10**9))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"amount_minor": 0}, "amount_minor"),
        ({"account_id": 10**9}, "account"),
        ({"product_id": 10**9}, "product"),
        ({"motion": "luck"}, "motion"),
        ({"source": ""}, "source"),
        ({"external_id": "x" * 201}, "external_id"),
        ({"effective_on": "soon"}, "effective_on"),
    ],
)
def test_line_that_does_not_fit_is_refused_with_its_field(line: NewMovement, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        record(line, replace(line, **{"external_id": "inv-2", **wrong}))
    assert field in caught.value.message_dict
    assert not Movement.objects.exists()


def test_queries_do_not_depend_on_the_number_of_lines(line: NewMovement, django_assert_num_queries: Any) -> None:
    for count in (1, 50):
        lines = [replace(line, external_id=f"{count}-{number}") for number in range(count)]
        # Savepoint and its release, accounts, what was told, lines, timeline.
        with django_assert_num_queries(6):
            record(*lines)
    assert record() == []
