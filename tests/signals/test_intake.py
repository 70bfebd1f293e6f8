"""The act of intake: a verdict for each item, everything good stored, nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import (
    AccountFactory,
    AccountIdentityFactory,
    ApiTokenFactory,
    TeamMemberFactory,
)
from csplaybooks.accounts.hooks import inputs_arrived
from csplaybooks.signals.factories import MeterFactory, SignalTypeFactory
from csplaybooks.signals.intake import IntakeAnswer, Status, take_in_readings, take_in_signals
from csplaybooks.signals.intake.act import MAX_SOURCES
from csplaybooks.signals.models import IntakeBatch, Reading, RefusedItem, Signal, Source

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(db: None) -> Any:
    """An account known as `acme`, and the kinds `feature_gate_hit`, `invite_sent`, `seats` and `health`."""
    for key in ("feature_gate_hit", "invite_sent"):
        SignalTypeFactory(key=key)
    for key in ("seats", "health"):
        MeterFactory(key=key)
    return AccountFactory(name="Acme")


def signal(external_id: str = "evt-1", **changes: Any) -> dict[str, Any]:
    """A good signal of acme."""
    item = {
        "source": "product",
        "external_id": external_id,
        "account": "acme",
        "type": "feature_gate_hit",
        "occurred_at": "2026-11-22T08:00:00Z",
        **changes,
    }
    return {key: value for key, value in item.items() if value is not ...}


def reading(external_id: str = "r-1", **changes: Any) -> dict[str, Any]:
    """A good reading of acme."""
    return signal(external_id, **{"type": ..., "meter": "seats", "used": 18, "limit": 20, **changes})


def send(*items: Any, **kwargs: Any) -> IntakeAnswer:
    """Take these signals in."""
    return take_in_signals(items=items, now=NOW, **kwargs)


def verdicts(answer: IntakeAnswer) -> list[str]:
    """The code of each refusal, the status of all else."""
    assert [result.index for result in answer.results] == list(range(answer.received))
    return [result.code or result.status.value for result in answer.results]


def test_signal_is_stored_whole(acme: Any) -> None:
    answer = send(
        signal(occurred_at="2026-11-22T09:00:00.25+01:00", actor="u-17", value=2.5, properties={"plan": "pro"})
    )
    assert answer.as_document() == {
        "received": 1,
        "stored": 1,
        "duplicate": 0,
        "conflict": 0,
        "refused": 0,
        "results": [{"index": 0, "status": "stored"}],
    }
    stored = Signal.objects.get()
    assert (stored.source.key, stored.external_id, stored.account) == ("product", "evt-1", acme)
    assert stored.type.key == "feature_gate_hit"
    assert stored.occurred_at == datetime(2026, 11, 22, 8, 0, 0, 250_000, tzinfo=UTC)
    assert (stored.actor, stored.value_milli, stored.properties) == ("u-17", 2_500, {"plan": "pro"})
    assert (stored.corrects, stored.is_void, len(bytes(stored.body_hash))) == (None, False, 32)
    assert stored.source.first_seen_at == NOW
    batch = stored.batch
    assert (batch.kind, batch.token, batch.recorded_at, batch.seen_by_run) == ("signals", None, NOW, None)


def test_reading_is_stored_whole(acme: Any) -> None:
    answer = take_in_readings(
        items=[reading("r-1", used=18.5), reading("r-2", meter="health", used=-100, limit=None)], now=NOW
    )
    assert verdicts(answer) == ["stored", "stored"]
    assert list(Reading.objects.order_by("pk").values_list("meter__key", "used_milli", "limit_milli")) == [
        ("seats", 18_500, 20_000),
        ("health", -100_000, None),
    ]
    assert IntakeBatch.objects.get().kind == "readings"


def test_negative_limit_is_refused(acme: Any) -> None:
    answer = take_in_readings(items=[reading(limit=-1), reading("r-2", limit=0)], now=NOW)
    assert verdicts(answer) == ["negative", "stored"]
    assert answer.results[0].field == "limit"


def test_what_was_left_out_has_its_default(acme: Any) -> None:
    send(signal(actor=None, value=None, properties=None))
    stored = Signal.objects.get()
    assert (stored.actor, stored.value_milli, stored.properties) == ("", 1_000, {})


def test_same_body_again_changes_nothing(acme: Any) -> None:
    send(signal("evt-1"), signal("evt-2"))
    answer = send(signal("evt-1"), signal("evt-2", value=1.0), signal("evt-3"))
    assert verdicts(answer) == ["duplicate", "duplicate", "stored"]
    assert Signal.objects.count() == 3
    assert (answer.received, answer.stored, answer.duplicate) == (3, 1, 2)


def test_same_id_with_another_body_is_a_conflict_and_the_first_stands(acme: Any) -> None:
    send(signal(value=1))
    answer = send(signal(value=2))
    assert verdicts(answer) == ["conflict"]
    document = answer.results[0].as_document()
    assert document.keys() == {"index", "status", "message"}
    assert "evt-1" in document["message"]
    assert Signal.objects.get().value_milli == 1_000


def test_ids_are_of_their_source_and_kind(acme: Any) -> None:
    assert verdicts(send(signal(), signal(source="billing"))) == ["stored", "stored"]
    assert verdicts(take_in_readings(items=[reading("evt-1")], now=NOW)) == ["stored"]


def test_within_one_body_the_first_wins(acme: Any) -> None:
    answer = send(signal(value=1), signal(value=2), signal(value=1))
    assert verdicts(answer) == ["stored", "conflict", "duplicate"]
    assert Signal.objects.get().value_milli == 1_000


def test_a_refused_item_takes_no_id(acme: Any) -> None:
    assert verdicts(send(signal(account="nobody"), signal())) == ["unknown_account", "stored"]


def test_everything_good_beside_what_is_refused_is_stored(acme: Any) -> None:
    answer = send(
        signal("evt-1"),
        "no object",
        signal("evt-2", account="nobody"),
        signal("evt-3", type="no_such_type"),
        signal("evt-4"),
    )
    assert verdicts(answer) == ["stored", "not_an_object", "unknown_account", "unknown_type", "stored"]
    assert answer.received == answer.stored + answer.refused == 5
    assert [result.field for result in answer.results[1:4]] == ["", "account", "type"]
    assert "'nobody'" in answer.results[2].message
    assert "'no_such_type'" in answer.results[3].message
    assert set(Signal.objects.values_list("external_id", flat=True)) == {"evt-1", "evt-4"}


def test_unknown_meter(acme: Any) -> None:
    answer = take_in_readings(items=[reading(meter="lorries")], now=NOW)
    assert (verdicts(answer), answer.results[0].field) == (["unknown_meter"], "meter")


def test_ids_follow_the_order_of_the_items(acme: Any) -> None:
    names = ["b", "a", "d", "c"]
    send(*(signal(name) for name in names))
    assert list(Signal.objects.order_by("pk").values_list("external_id", flat=True)) == names
    # What the database counts for itself goes on after them.
    send(signal("e"))
    assert Signal.objects.order_by("pk").last().external_id == "e"  # type: ignore[union-attr]  # None fails


# Accounts


def test_account_source_narrows(acme: Any) -> None:
    other = AccountFactory(name="Other", identity__source="billing", identity__external_id="acme")
    answer = send(
        signal("evt-1"),
        signal("evt-2", account_source="billing"),
        signal("evt-3", account_source="crm"),
        signal("evt-4", account_source="nowhere"),
    )
    assert verdicts(answer) == ["ambiguous_account", "stored", "stored", "unknown_account"]
    assert "'billing', 'crm'" in answer.results[0].message
    assert Signal.objects.get(external_id="evt-2").account == other
    assert Signal.objects.get(external_id="evt-3").account == acme


def test_one_account_known_by_one_id_in_two_sources_is_not_ambiguous(acme: Any) -> None:
    AccountIdentityFactory(account=acme, source="billing", external_id="acme")
    assert verdicts(send(signal())) == ["stored"]


def test_merged_accounts_lead_to_where_they_went(acme: Any) -> None:
    last = AccountFactory(name="Last")
    middle = AccountFactory(name="Middle", merged_into=last)
    acme.merged_into = middle
    acme.save(update_fields=["merged_into"])
    AccountIdentityFactory(account=last, source="billing", external_id="acme")
    assert verdicts(send(signal())) == ["stored"]
    assert Signal.objects.get().account == last


def test_deleted_accounts_are_unknown_but_what_was_stored_is_a_duplicate(acme: Any) -> None:
    send(signal())
    acme.deleted_at = NOW
    acme.save(update_fields=["deleted_at"])
    assert verdicts(send(signal(), signal("evt-2"))) == ["duplicate", "unknown_account"]


def test_limited_token_knows_only_its_accounts(acme: Any) -> None:
    other = AccountFactory(name="Other")
    AccountIdentityFactory(account=other, source="billing", external_id="acme")
    token = ApiTokenFactory(account_ids=[acme.pk])
    send(signal("evt-1", account="other"))
    answer = send(
        # Not ambiguous: of the other account this token may not even know.
        signal("evt-2"),
        signal("evt-3", account="other"),
        # The same body as one stored of the other account: not told either.
        signal("evt-1", account="other"),
        signal("evt-1"),
        token=token,
    )
    assert verdicts(answer) == ["stored", "unknown_account", "unknown_account", "conflict"]
    assert Signal.objects.get(external_id="evt-2").batch.token == token


def test_people_know_only_the_accounts_they_see(acme: Any) -> None:
    csm, ae = TeamMemberFactory(), TeamMemberFactory(ae=True)
    AccountFactory(name="Other", csm=csm)
    answer = send(signal(), signal("evt-2", account="other"), viewer=csm.user)
    assert verdicts(answer) == ["stored", "stored"]
    assert verdicts(send(signal("evt-3"), viewer=ae.user)) == ["unknown_account"]


# Sources


def test_a_source_is_registered_by_its_first_accepted_item(acme: Any) -> None:
    send(signal(source="typo", account="nobody"))
    assert not Source.objects.exists()
    send(signal(source="b"), signal(source="a"))
    assert set(Source.objects.values_list("key", flat=True)) == {"a", "b"}


def test_more_sources_than_one_batch_may_name(acme: Any) -> None:
    answer = send(*(signal(source=f"s-{number}") for number in range(MAX_SOURCES + 1)), signal(source="s-0"))
    assert verdicts(answer) == ["stored"] * MAX_SOURCES + ["too_many_sources", "duplicate"]


# Corrections


def test_correction_replaces_and_void_takes_away(acme: Any) -> None:
    send(signal("evt-1"), signal("evt-2"), signal("evt-3"))
    answer = send(signal("fix-1", corrects="evt-1", value=5), signal("fix-2", corrects="evt-2", void=True))
    assert verdicts(answer) == ["stored", "stored"]
    corrected: Any = Signal.objects.get(external_id="fix-1").corrects
    assert corrected.external_id == "evt-1"
    effective = Signal.objects.all().effective_at(None)
    assert set(effective.values_list("external_id", flat=True)) == {"fix-1", "evt-3"}


def test_correction_of_an_item_earlier_in_the_batch_and_of_a_correction(acme: Any) -> None:
    answer = take_in_readings(
        items=[
            reading("r-1", used=1),
            reading("r-2", used=2, corrects="r-1"),
            reading("r-3", used=3, corrects="r-2"),
            reading("r-4", used=4, corrects="r-1"),
            reading("r-5", used=5, corrects="r-6"),
            reading("r-6", used=6),
            reading("r-7", used=7, corrects="r-7"),
        ],
        now=NOW,
    )
    assert verdicts(answer) == [
        *("stored", "stored", "stored", "already_corrected", "unknown_correction", "stored"),
        "unknown_correction",
    ]
    assert "'r-2'" in answer.results[3].message
    effective = Reading.objects.all().effective_at(None)
    assert set(effective.values_list("external_id", flat=True)) == {"r-3", "r-6"}


def test_a_row_is_corrected_once(acme: Any) -> None:
    send(signal("evt-1"))
    answer = send(signal("fix-1", corrects="evt-1"), signal("fix-2", corrects="evt-1"))
    assert verdicts(answer) == ["stored", "already_corrected"]
    answer = send(signal("fix-3", corrects="evt-1"), signal("fix-1", corrects="evt-1"))
    assert verdicts(answer) == ["already_corrected", "duplicate"]
    assert answer.results[0].field == "corrects"
    assert "'fix-1'" in answer.results[0].message
    assert verdicts(send(signal("fix-4", corrects="fix-1"))) == ["stored"]


def test_correction_keeps_source_account_and_type(acme: Any) -> None:
    AccountFactory(name="Other")
    send(signal("evt-1"))
    answer = send(
        signal("fix-1", corrects="evt-1", source="billing"),
        signal("fix-2", corrects="evt-1", account="other"),
        signal("fix-3", corrects="evt-1", type="invite_sent"),
    )
    assert verdicts(answer) == [*("unknown_correction", "correction_of_other_account", "correction_of_other_type")]
    assert {result.field for result in answer.results} == {"corrects"}


def test_correction_after_its_account_was_merged(acme: Any) -> None:
    send(signal("evt-1"))
    acme.merged_into = AccountFactory(name="Other")
    acme.save(update_fields=["merged_into"])
    assert verdicts(send(signal("fix-1", corrects="evt-1"))) == ["stored"]


# What is written beside the rows


def test_every_request_is_counted_and_refused_items_are_kept(acme: Any) -> None:
    token = ApiTokenFactory()
    bad = signal(properties={"a\x00": [float("nan"), "\ud800", 10**30]})
    send(bad, "text", signal("evt-2", account="x" * 300), signal("evt-3", actor="y" * 9_000), token=token)
    batch = IntakeBatch.objects.get()
    assert (batch.received, batch.stored, batch.refused, batch.token) == (4, 0, 4, token)
    kept = list(RefusedItem.objects.order_by("index"))
    assert [item.index for item in kept] == [0, 1, 2, 3]
    assert [item.code for item in kept] == ["bad_character", "not_an_object", "too_long", "too_long"]
    assert kept[0].field == "properties.a\\x00"
    assert kept[0].body["properties"] == {"a\\x00": ["nan", "\\ud800", str(10**30)]}
    assert kept[1].body == "text"
    assert kept[2].body["account"] == "x" * 300
    assert len(kept[3].body["beginning"]) == 4_000
    assert all(item.expires_at == NOW + timedelta(days=30) for item in kept)


def test_inputs_are_announced_when_something_was_stored(acme: Any) -> None:
    told: list[Any] = []

    def listen(**kwargs: Any) -> None:
        # Inside the transaction that wrote the batch, where pokes are arranged for after the commit.
        assert connection.in_atomic_block
        told.append(kwargs["sender"])

    inputs_arrived.connect(listen)
    try:
        send(signal(account="nobody"))
        assert told == []
        send(signal())
        assert told == [IntakeBatch]
        send(signal())
        assert told == [IntakeBatch]
    finally:
        inputs_arrived.disconnect(listen)


def test_now_needs_a_zone(acme: Any) -> None:
    with pytest.raises(ValueError, match="time zone"):
        take_in_signals(items=[signal()], now=datetime(2026, 11, 22))  # noqa: DTZ001 - what is refused


def test_python_callers_may_give_aware_datetimes(acme: Any) -> None:
    assert verdicts(send(signal(occurred_at=NOW))) == ["stored"]
    assert Signal.objects.get().occurred_at == NOW


# Queries


def mixed(count: int, start: int) -> list[Any]:
    """A batch with every verdict in it, of `count` times six items and as many accounts."""
    items: list[Any] = []
    for number in range(start, start + count):
        account = f"company-{number % 300}"
        items += [
            signal(f"new-{number}", account=account),
            signal(f"new-{number}", account=account),
            signal(f"new-{number}", account=account, value=2),
            signal(f"fix-{number}", account=account, corrects=f"new-{number}"),
            signal(f"bad-{number}", account=f"nobody-{number}"),
            signal(f"worse-{number}", account=account, value="1"),
        ]
    return items


def test_queries_do_not_depend_on_the_number_of_items(acme: Any) -> None:
    for number in range(300):
        AccountFactory(name=f"Company {number}", facts=None, identity__external_id=f"company-{number}")
    token = ApiTokenFactory()
    send(signal())
    counts = {}
    for count in (1, 200):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = send(*mixed(count, start=1_000 * count), token=token)
        counts[count] = len(queries)
        assert (answer.stored, answer.refused) == (2 * count, 2 * count)
        assert (answer.duplicate, answer.conflict) == (count, count)
    assert counts[1] == counts[200]


def test_number_of_queries(acme: Any, django_assert_num_queries: Any) -> None:
    send(signal("first"))
    # Savepoint and release; accounts, types, sources, stored rows; batch, ids, rows, count; refused items.
    with django_assert_num_queries(12):
        send(*(signal(f"evt-{number}") for number in range(1_000)), signal("bad", account="nobody"))
    with django_assert_num_queries(11):
        send(signal("last"))


def test_largest_batch(acme: Any) -> None:
    answer = send(*(signal(f"evt-{number}", value=number) for number in range(5_000)))
    assert answer.stored == 5_000
    assert verdicts(send(*(signal(f"evt-{number}", value=number) for number in range(5_000)))) == (
        [Status.DUPLICATE.value] * 5_000
    )
