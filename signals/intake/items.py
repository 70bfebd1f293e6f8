"""Items as they are sent: what a signal and a reading consist of, read into one shape or refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from csplaybooks.signals.intake.values import (
    Clock,
    Refusal,
    canonical,
    milli_of,
    moment_of,
    properties_of,
    shown,
    text_of,
    truth_of,
)
from csplaybooks.signals.models import IntakeBatch, Meter, Reading, Signal, SignalType

_COMMON_FIELDS = ("source", "external_id", "account", "account_source", "occurred_at", "corrects", "void")

_LONGEST_SOURCE = 100
_LONGEST_EXTERNAL_ID = 200
_LONGEST_KEY = 100
_LONGEST_ACTOR = 200


@dataclass(frozen=True, slots=True)
class Item:
    """One item that is well formed. Whether what it names exists is not known yet.

    `own` holds the values of the columns that only its kind has, in the order of `ItemKind.own_columns`.
    `body_hash` is the SHA-256 of all that was sent but `source` and `external_id`, normalised: two spellings
    of one instant or one number are the same body.
    """

    source: str
    external_id: str
    account: str
    account_source: str | None
    key: str
    occurred_at: datetime
    corrects: str | None
    is_void: bool
    own: tuple[Any, ...]
    body_hash: bytes


@dataclass(frozen=True, slots=True)
class ItemKind:
    """What tells signals and readings apart; all else about their intake is the same.

    `key_field` is the field (and the foreign key) that says of which type or meter an item is, `catalogue`
    the table it names. `read_own` takes the item and answers the values of `own_columns` and what of them
    goes into the body hash.
    """

    batch_kind: IntakeBatch.Kind
    model: type[Signal] | type[Reading]
    catalogue: type[SignalType] | type[Meter]
    key_field: str
    own_fields: tuple[str, ...]
    own_columns: tuple[str, ...]
    read_own: Callable[[Mapping[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]

    @property
    def noun(self) -> str:
        """One of them, in words: signal or reading."""
        return str(self.model._meta.verbose_name)

    @property
    def fields(self) -> frozenset[str]:
        """All fields that an item may have."""
        return frozenset((*_COMMON_FIELDS, self.key_field, *self.own_fields))


def _read_signal(item: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    actor = item.get("actor")
    # An empty actor is what some exporters write for nobody.
    actor = "" if actor is None or actor == "" else text_of(actor, "actor", _LONGEST_ACTOR)
    value = item.get("value")
    value_milli = 1000 if value is None else milli_of(value, "value")
    properties = item.get("properties")
    properties = "{}" if properties is None else properties_of(properties, "properties")
    own = (actor, value_milli, properties)
    return own, {"actor": actor, "value_milli": value_milli, "properties": properties}


def _read_reading(item: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    used_milli = milli_of(_required(item, "used"), "used")
    limit = item.get("limit")
    limit_milli = None if limit is None else milli_of(limit, "limit")
    if limit_milli is not None and limit_milli < 0:
        raise Refusal("negative", "limit", f"The field 'limit' cannot be negative: {shown(limit)}.")
    return (used_milli, limit_milli), {"used_milli": used_milli, "limit_milli": limit_milli}


SIGNALS = ItemKind(
    batch_kind=IntakeBatch.Kind.SIGNALS,
    model=Signal,
    catalogue=SignalType,
    key_field="type",
    own_fields=("actor", "value", "properties"),
    own_columns=("actor", "value_milli", "properties"),
    read_own=_read_signal,
)

READINGS = ItemKind(
    batch_kind=IntakeBatch.Kind.READINGS,
    model=Reading,
    catalogue=Meter,
    key_field="meter",
    own_fields=("used", "limit"),
    own_columns=("used_milli", "limit_milli"),
    read_own=_read_reading,
)


def read_item(kind: ItemKind, fields: frozenset[str], raw: object, clock: Clock) -> Item:
    """Read one item as it was sent; `fields` is `kind.fields`, worked out once for the whole batch.

    A field that may be left out may be null as well. Raises Refusal for the first thing that is wrong: a
    field that is not known first, because a name spelled wrong is also a field missing.
    """
    if not isinstance(raw, Mapping):
        raise Refusal("not_an_object", "", f"Each item must be an object, not {shown(raw)}.")
    for name in raw:
        if name not in fields:
            raise Refusal(
                "unknown_field",
                shown(name)[1:-1] if isinstance(name, str) else "",
                f"The field {shown(name)} is not known here; the fields are: {', '.join(sorted(fields))}.",
            )
    source = text_of(_required(raw, "source"), "source", _LONGEST_SOURCE)
    external_id = text_of(_required(raw, "external_id"), "external_id", _LONGEST_EXTERNAL_ID)
    account = text_of(_required(raw, "account"), "account", _LONGEST_EXTERNAL_ID)
    account_source = raw.get("account_source")
    if account_source is not None:
        account_source = text_of(account_source, "account_source", _LONGEST_SOURCE)
    key = text_of(_required(raw, kind.key_field), kind.key_field, _LONGEST_KEY)
    occurred_at = moment_of(_required(raw, "occurred_at"), "occurred_at", clock)
    own, own_body = kind.read_own(raw)
    corrects = raw.get("corrects")
    if corrects is not None:
        corrects = text_of(corrects, "corrects", _LONGEST_EXTERNAL_ID)
    void = raw.get("void")
    is_void = False if void is None else truth_of(void, "void")
    if is_void and corrects is None:
        raise Refusal(
            "void_without_corrects",
            "void",
            f"Only a correction can be void: name in 'corrects' the {kind.noun} that did not happen.",
        )
    body = canonical(
        {
            "account": account,
            "account_source": account_source,
            kind.key_field: key,
            "occurred_at": occurred_at.isoformat(timespec="microseconds"),
            "corrects": corrects,
            "void": is_void,
            **own_body,
        }
    )
    return Item(
        source=source,
        external_id=external_id,
        account=account,
        account_source=account_source,
        key=key,
        occurred_at=occurred_at,
        corrects=corrects,
        is_void=is_void,
        own=own,
        body_hash=hashlib.sha256(body.encode()).digest(),
    )


def _required(item: Mapping[str, Any], field: str) -> Any:
    value = item.get(field)
    if value is None:
        raise Refusal("required", field, f"The field {field!r} is missing.")
    return value
