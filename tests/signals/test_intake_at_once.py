"""Two senders at once: each item is stored once, and each sender is told what became of theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.signals.factories import SignalTypeFactory
from csplaybooks.signals.intake import IntakeAnswer, act, take_in_signals
from csplaybooks.signals.models import IntakeBatch, Signal, Source
from tests.at_once import at_once, elsewhere

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def acme(transactional_db: None) -> None:
    """An account known as `acme` and the type `feature_gate_hit`."""
    AccountFactory(name="Acme")
    SignalTypeFactory()


def signal(external_id: str, **changes: Any) -> dict[str, Any]:
    """A good signal of acme."""
    return {
        "source": "product",
        "external_id": external_id,
        "account": "acme",
        "type": "feature_gate_hit",
        "occurred_at": "2026-11-22T08:00:00Z",
        **changes,
    }


def send(*items: Any) -> IntakeAnswer:
    """Take these signals in."""
    return take_in_signals(items=items, now=NOW)


def verdicts(answer: IntakeAnswer) -> list[str]:
    """The code of each refusal, the status of all else."""
    return [result.code or result.status.value for result in answer.results]


@contextmanager
def overtaken_by(monkeypatch: pytest.MonkeyPatch, *senders: Callable[[], Any]) -> Iterator[list[Any]]:
    """Each time a batch has been judged and is about to be written, the next of the others is first.

    Yields what the others are answered.
    """
    waiting = list(senders)
    answers: list[Any] = []
    store = act._store

    def store_late(*args: Any, **kwargs: Any) -> IntakeAnswer:
        if waiting:
            sender = waiting.pop(0)
            with monkeypatch.context() as patch:
                patch.setattr(act, "_store", store)
                answers.append(elsewhere(sender))
        return store(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(act, "_store", store_late)
        yield answers
    assert not waiting


@pytest.mark.postgresql
def test_whoever_comes_second_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with overtaken_by(monkeypatch, lambda: send(signal("a"), signal("b", value=2))) as others:
        answer = send(signal("a"), signal("b"), signal("c"))
    assert verdicts(others[0]) == ["stored", "stored"]
    assert verdicts(answer) == ["duplicate", "conflict", "stored"]
    assert Signal.objects.count() == 3
    # The batch of the first attempt is gone, and its counts with it.
    assert sorted(IntakeBatch.objects.values_list("received", "stored", "duplicate", "conflict")) == [
        (2, 2, 0, 0),
        (3, 1, 1, 1),
    ]
    assert Source.objects.count() == 1


@pytest.mark.postgresql
def test_a_correction_in_the_batch_of_an_item_that_another_stored_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with overtaken_by(monkeypatch, lambda: send(signal("a"))):
        answer = send(signal("a"), signal("fix", corrects="a"))
    assert verdicts(answer) == ["duplicate", "stored"]
    assert Signal.objects.get(external_id="fix").corrects.external_id == "a"  # type: ignore[union-attr]  # None fails


@pytest.mark.postgresql
def test_of_two_corrections_at_once_one_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    send(signal("a"))
    with overtaken_by(monkeypatch, lambda: send(signal("fix-1", corrects="a"))) as others:
        answer = send(signal("fix-2", corrects="a"), signal("b"))
    assert verdicts(others[0]) == ["stored"]
    assert verdicts(answer) == ["already_corrected", "stored"]


@pytest.mark.postgresql
def test_a_batch_overtaken_again_and_again_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"evt-{number}" for number in range(6)]

    def send_one(name: str) -> Callable[[], Any]:
        return lambda: send(signal(name))

    with (
        overtaken_by(monkeypatch, *(send_one(name) for name in names[:5])),
        pytest.raises(OperationalError, match="send the batch again"),
    ):
        send(*(signal(name) for name in names))
    assert Signal.objects.count() == IntakeBatch.objects.count() == 5
    assert verdicts(send(*(signal(name) for name in names))) == ["duplicate"] * 5 + ["stored"]


def test_many_senders_of_overlapping_batches_in_any_order() -> None:
    senders, rounds, names = 3, 3, [f"evt-{number}" for number in range(1_500)]

    def sender(number: int, round_number: int) -> Callable[[], IntakeAnswer]:
        # Half of them backwards: without one order of writing, two of them would wait for each other.
        batch = [signal(f"{round_number}-{name}") for name in (names if number % 2 else names[::-1])]
        return lambda: send(*batch)

    answers = []
    for round_number in range(rounds):
        answers += at_once(*(sender(number, round_number) for number in range(senders)))

    verdict_counts = Counter(verdict for answer in answers for verdict in verdicts(answer))
    assert verdict_counts == {
        "stored": rounds * len(names),
        "duplicate": (senders - 1) * rounds * len(names),
    }
    assert Signal.objects.count() == rounds * len(names)
    assert Source.objects.count() == 1
    stored = {batch.pk: batch.stored for batch in IntakeBatch.objects.all()}
    landed = Counter(Signal.objects.values_list("batch", flat=True))
    assert {pk: count for pk, count in stored.items() if count} == landed
