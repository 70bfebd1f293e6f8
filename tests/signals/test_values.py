"""Single values of an item: what is taken, and how what is not taken is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csplaybooks.api.parsers import DuplicateKey, NotANumber
from csplaybooks.signals.intake.items import READINGS, SIGNALS, read_item
from csplaybooks.signals.intake.values import (
    MAX_PROPERTIES_BYTES,
    Clock,
    Refusal,
    milli_of,
    moment_of,
    properties_of,
    shown,
    storable,
    text_of,
)
from csplaybooks.signals.models.events import LARGEST_NUMBER

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CLOCK = Clock(now=NOW, latest=NOW + timedelta(minutes=10))

SIGNAL = {
    "source": "product",
    "external_id": "evt-1",
    "account": "acme",
    "type": "feature_gate_hit",
    "occurred_at": "2026-11-22T08:00:00Z",
}


def refused(read: Any, *args: Any) -> Refusal:
    """The refusal that `read(*args)` raises."""
    with pytest.raises(Refusal) as caught:
        read(*args)
    return caught.value


@pytest.mark.parametrize(
    ("value", "milli"),
    [
        (0, 0),
        (18, 18_000),
        (-100, -100_000),
        (0.1, 100),
        (18.0005, 18_000),
        (18.0015, 18_002),
        (-0.0005, 0),
        (Decimal("1.2345"), 1_234),
        (LARGEST_NUMBER, LARGEST_NUMBER * 1_000),
        (-LARGEST_NUMBER, -LARGEST_NUMBER * 1_000),
    ],
)
def test_number_in_thousandths_rounded_half_to_even(value: Any, milli: int) -> None:
    assert milli_of(value, "used") == milli


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=5))
def test_number_written_as_a_decimal_is_rounded_as_that_decimal(value: Decimal) -> None:
    sent = json.loads(str(value))
    expected = value.quantize(Decimal("0.001"), rounding=ROUND_HALF_EVEN) * 1000
    assert milli_of(sent, "used") == expected


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("12", "not_a_number"),
        (True, "not_a_number"),
        ([1], "not_a_number"),
        (NotANumber("NaN"), "not_a_number"),
        (float("inf"), "not_a_number"),
        (Decimal("NaN"), "not_a_number"),
        (LARGEST_NUMBER + 1, "out_of_range"),
        (-LARGEST_NUMBER - 0.5, "out_of_range"),
        (-(10**30), "out_of_range"),
        (1e300, "out_of_range"),
    ],
)
def test_number_refused(value: Any, code: str) -> None:
    refusal = refused(milli_of, value, "used")
    assert (refusal.code, refusal.field) == (code, "used")
    assert "'used'" in refusal.message


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-11-22T08:00:00Z", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("2026-11-22t08:00z", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("2026-11-22 09:00:00.5+0100", datetime(2026, 11, 22, 8, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-22T08:00:00.123456789Z", datetime(2026, 11, 22, 8, 0, 0, 123_456, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2026-11-22T12:10:00Z", CLOCK.latest),
        (NOW, NOW),
    ],
)
def test_moment(value: Any, moment: datetime) -> None:
    assert moment_of(value, "occurred_at", CLOCK) == moment


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("2026-11-22T08:00:00", "no_time_zone"),
        ("2026-11-22", "no_time_zone"),
        (datetime(2026, 11, 22), "no_time_zone"),  # noqa: DTZ001 - what is refused
        ("yesterday", "not_a_time"),
        ("2026-13-22T08:00:00Z", "not_a_time"),
        ("2026-W47-1", "not_a_time"),
        ("2026-11-22T08:00:60Z", "not_a_time"),
        ("2026-11-22T08:00:00+99:00", "not_a_time"),
        ("٢٠٢٦-11-22T08:00:00Z", "not_a_time"),
        (1_763_798_400, "not_a_time"),
        ("1969-12-31T23:59:59Z", "too_early"),
        ("0001-01-01T00:00:00+14:00", "too_early"),
        ("2026-11-22T12:10:00.000001Z", "in_the_future"),
        ("9999-12-31T23:59:59-14:00", "in_the_future"),
    ],
)
def test_moment_refused(value: Any, code: str) -> None:
    refusal = refused(moment_of, value, "occurred_at", CLOCK)
    assert (refusal.code, refusal.field) == (code, "occurred_at")
    assert "'occurred_at'" in refusal.message


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (12, "not_text"),
        ("", "blank"),
        (" \t", "blank"),
        ("a\x00b", "bad_character"),
        ("a\ud800b", "bad_character"),
        ("a" * 201, "too_long"),
        (DuplicateKey("account"), "duplicate_key"),
    ],
)
def test_text_refused(value: Any, code: str) -> None:
    refusal = refused(text_of, value, "account", 200)
    assert (refusal.code, refusal.field) == (code, "account")
    assert len(refusal.message) < 300
    refusal.message.encode()


def test_text_of_any_script_up_to_its_length_is_taken_as_it_is() -> None:
    assert text_of("日本語" * 60, "actor", 180) == "日本語" * 60


@pytest.mark.parametrize(
    ("value", "code", "field"),
    [
        ([], "not_an_object", "properties"),
        ({"plan": NotANumber("NaN")}, "not_a_number", "properties.plan"),
        ({"plan": float("nan")}, "not_a_number", "properties.plan"),
        ({"plan": {"name": "a\x00"}}, "bad_character", "properties.plan.name"),
        ({"seats": [1, "\udfff"]}, "bad_character", "properties.seats.1"),
        ({"a\x00": 1}, "bad_character", "properties.a\\x00"),
        ({"plan": DuplicateKey("plan")}, "duplicate_key", "properties.plan"),
        ({"plan": Decimal(1)}, "not_plain", "properties.plan"),
        ({"plan": "x" * MAX_PROPERTIES_BYTES}, "too_big", "properties"),
        ({"plan": "é" * (MAX_PROPERTIES_BYTES // 2)}, "too_big", "properties"),
    ],
)
def test_properties_refused_by_the_way_to_what_is_wrong(value: Any, code: str, field: str) -> None:
    refusal = refused(properties_of, value, "properties")
    assert (refusal.code, refusal.field) == (code, field)


def test_properties_are_canonical() -> None:
    assert properties_of({"b": [1, 2.5, None], "a": "😀"}, "properties") == ('{"a":"\\ud83d\\ude00","b":[1,2.5,null]}')
    # Backslashes that spell what an escape would are harmless text.
    assert json.loads(properties_of({"a": "\\u0000 \\ud800"}, "properties")) == {"a": "\\u0000 \\ud800"}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=20,
)


@given(_json)
def test_anything_can_be_kept_as_the_body_of_a_refused_item(value: Any) -> None:
    text = json.dumps(storable(value), allow_nan=False)
    assert "\\u0000" not in text.replace("\\\\", "")
    json.dumps(json.loads(text), ensure_ascii=False).encode()


@given(_json)
def test_what_a_refusal_quotes_is_short_and_storable(value: Any) -> None:
    text = shown(value)
    assert len(text) < 1000
    assert "\x00" not in text
    text.encode()


def read_signal(**changes: Any) -> Any:
    """The signal above with these fields changed, read."""
    return read_item(SIGNALS, SIGNALS.fields, {**SIGNAL, **changes}, CLOCK)


def test_two_spellings_of_one_body_have_one_hash() -> None:
    plain = read_signal()
    spelled_out = read_signal(
        occurred_at="2026-11-22T09:00:00.000000+01:00",
        actor=None,
        value=1.0,
        properties={},
        account_source=None,
        corrects=None,
        void=False,
    )
    assert spelled_out.body_hash == plain.body_hash
    # The id is what the body is found by, and not part of it.
    assert read_signal(external_id="evt-2").body_hash == plain.body_hash


@pytest.mark.parametrize(
    "change",
    [
        {"account": "acme-2"},
        {"account_source": "crm"},
        {"type": "invite_sent"},
        {"occurred_at": "2026-11-22T08:00:00.000001Z"},
        {"actor": "u-17"},
        {"value": 1.001},
        {"properties": {"plan": "pro"}},
        {"corrects": "evt-0"},
        {"corrects": "evt-0", "void": True},
    ],
)
def test_every_field_of_the_body_is_in_its_hash(change: dict[str, Any]) -> None:
    assert read_signal(**change).body_hash != read_signal().body_hash


def test_reading_hash_tells_no_limit_from_zero() -> None:
    reading = {**SIGNAL, "meter": "seats", "used": 18}
    del reading["type"]
    hashes = {
        read_item(READINGS, READINGS.fields, {**reading, **more}, CLOCK).body_hash
        for more in ({}, {"limit": None}, {"limit": 0}, {"limit": 20}, {"used": 19})
    }
    assert len(hashes) == 4


@pytest.mark.parametrize("field", ["source", "external_id", "account", "type", "occurred_at"])
def test_missing_field_is_named(field: str) -> None:
    for gone in ({key: value for key, value in SIGNAL.items() if key != field}, {**SIGNAL, field: None}):
        refusal = refused(read_item, SIGNALS, SIGNALS.fields, gone, CLOCK)
        assert (refusal.code, refusal.field) == ("required", field)


def test_unknown_field_is_named_before_what_is_missing_for_it() -> None:
    misspelled = {**SIGNAL, "acount": SIGNAL["account"]}
    del misspelled["account"]
    refusal = refused(read_item, SIGNALS, SIGNALS.fields, misspelled, CLOCK)
    assert (refusal.code, refusal.field) == ("unknown_field", "acount")
    assert "account" in refusal.message


def test_void_needs_what_it_voids() -> None:
    refusal = refused(read_signal_void)
    assert (refusal.code, refusal.field) == ("void_without_corrects", "void")
    assert refused(read_signal_void, "yes").code == "not_true_or_false"


def read_signal_void(void: Any = True) -> Any:
    """The signal above as a void one that corrects nothing."""
    return read_signal(void=void)
