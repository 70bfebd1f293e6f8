"""Single values of an item: what each field takes, and how what it does not take is refused by name."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from csplaybooks.api.parsers import Unusable
from csplaybooks.api.problems import plain_text
from csplaybooks.signals.models.events import LARGEST_NUMBER

#: The most that the properties of one signal may take, in bytes of UTF-8 JSON.
MAX_PROPERTIES_BYTES = 4096

_LARGEST_MILLI = LARGEST_NUMBER * 1000

_THOUSANDTH = Decimal("0.001")
_FIRST_YEAR = 1970
_LONGEST_SHOWN = 60
_LONGEST_WAY = 100

# What RFC 3339 allows, and besides it what is surely meant: a space for the T, no seconds, a comma.
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d(?P<time>[T ]\d\d:\d\d(:\d\d([.,]\d{1,20})?)?)?(?P<zone>Z|[+-]\d\d:?\d\d)?",
    re.ASCII | re.IGNORECASE,
)
_BAD_CHARACTER = re.compile("[\x00\ud800-\udfff]")


class Refusal(Exception):
    """Why one item cannot be stored: a stable code, the field it lies in, and a sentence for people.

    `field` is empty where the item as a whole is at fault; inside properties it is a way such as
    `properties.plan`.
    """

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class Clock:
    """The moment of an intake and the latest moment that an item may name, both in UTC."""

    now: datetime
    latest: datetime


def shown(value: object) -> str:
    """`value` as a refusal quotes it: short, on one line, and safe to store and to send."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        # Its repr is printable throughout: NUL and lone surrogates are escaped.
        return repr(value[:_LONGEST_SHOWN]) + ("…" if len(value) > _LONGEST_SHOWN else "")
    text = plain_text(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _refuse_unusable(value: object, field: str) -> None:
    """Refuse what the parser found to be no value at all (NaN, a key given twice)."""
    if isinstance(value, Unusable):
        raise Refusal(value.code, field, f"The field {field!r}: {value.message}")


def text_of(value: object, field: str, longest: int) -> str:
    """A text of 1 to `longest` characters that every database can hold. Raises Refusal."""
    if not isinstance(value, str):
        _refuse_unusable(value, field)
        raise Refusal("not_text", field, f"The field {field!r} must be text in quotes, not {shown(value)}.")
    if not value.isascii() or "\x00" in value:
        _refuse_bad_character(value, field)
    if not value.strip():
        raise Refusal("blank", field, f"The field {field!r} must not be empty.")
    if len(value) > longest:
        raise Refusal(
            "too_long",
            field,
            f"The field {field!r} takes at most {longest} characters, not {len(value)}: {shown(value)}.",
        )
    return value


def _refuse_bad_character(value: str, field: str) -> None:
    if found := _BAD_CHARACTER.search(value):
        character = "NUL" if found[0] == "\x00" else f"the lone surrogate {found[0]!a}"
        raise Refusal(
            "bad_character",
            field,
            f"The field {field!r} holds {character} at position {found.start()}, which cannot be stored.",
        )


def milli_of(value: object, field: str) -> int:
    """A number in thousandths, rounded half to even; an int, a float or a Decimal. Raises Refusal.

    A float counts as the shortest decimal that spells it: what the sender wrote, not what the bits hold.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > LARGEST_NUMBER:
            raise _out_of_range(value, field)
        return value * 1000
    if not isinstance(value, float | Decimal):
        _refuse_unusable(value, field)
        hint = " without quotes" if isinstance(value, str) else ""
        raise Refusal("not_a_number", field, f"The field {field!r} must be a number{hint}, not {shown(value)}.")
    number = Decimal(repr(value)) if isinstance(value, float) else value
    if not number.is_finite():
        raise Refusal("not_a_number", field, f"The field {field!r} must be a number, not {shown(value)}.")
    if abs(number) > LARGEST_NUMBER:
        raise _out_of_range(value, field)
    return int(number.quantize(_THOUSANDTH, rounding=ROUND_HALF_EVEN).scaleb(3))


def _out_of_range(value: object, field: str) -> Refusal:
    return Refusal(
        "out_of_range",
        field,
        f"The field {field!r} takes numbers up to {LARGEST_NUMBER}, not {shown(value)}.",
    )


def moment_of(value: object, field: str, clock: Clock) -> datetime:
    """An instant in UTC, from text such as `2026-11-22T08:00:00Z` or an aware datetime. Raises Refusal.

    Digits of a second beyond the sixth are dropped.
    """
    if isinstance(value, datetime):
        moment = value
    else:
        if not isinstance(value, str):
            _refuse_unusable(value, field)
            raise _not_a_moment(value, field)
        found = _MOMENT.fullmatch(value)
        if found is None:
            raise _not_a_moment(value, field)
        try:
            moment = datetime.fromisoformat(value.upper())
        except ValueError:
            raise _not_a_moment(value, field) from None
    if moment.tzinfo is None:
        raise Refusal(
            "no_time_zone",
            field,
            f"The field {field!r} needs a time zone, as in 2026-11-22T08:00:00Z: {shown(value)}.",
        )
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        # The first or the last day there is: beyond either bound below.
        moment = moment.replace(tzinfo=UTC)
    if moment.year < _FIRST_YEAR:
        raise Refusal("too_early", field, f"The field {field!r} lies before {_FIRST_YEAR}: {shown(value)}.")
    if moment > clock.latest:
        raise Refusal(
            "in_the_future",
            field,
            f"The field {field!r} lies in the future: {shown(value)}, "
            f"and it is now {clock.now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}.",
        )
    return moment


def _not_a_moment(value: object, field: str) -> Refusal:
    return Refusal(
        "not_a_time",
        field,
        f"The field {field!r} must be a time in ISO 8601, such as 2026-11-22T08:00:00Z, not {shown(value)}.",
    )


def truth_of(value: object, field: str) -> bool:
    """True or false, written as such. Raises Refusal."""
    if not isinstance(value, bool):
        _refuse_unusable(value, field)
        raise Refusal("not_true_or_false", field, f"The field {field!r} must be true or false, not {shown(value)}.")
    return value


def properties_of(value: object, field: str) -> str:
    """An object of plain values as canonical JSON: keys sorted, ASCII, no spaces. Raises Refusal."""
    if not isinstance(value, dict):
        _refuse_unusable(value, field)
        raise Refusal("not_an_object", field, f"The field {field!r} must be an object, not {shown(value)}.")
    if not value:
        return "{}"
    try:
        text = canonical(value)
    except (TypeError, ValueError):
        text = None
    # An escape of either sort may be a bad character, or a pair of surrogates, or two backslashes: look
    # closer.
    if text is None or "\\u0000" in text or "\\ud" in text:
        _refuse_bad_properties(value, field)
    if text is None:
        raise Refusal("not_an_object", field, f"The field {field!r} holds what JSON cannot say.")
    size = len(text) if "\\u" not in text else len(json.dumps(value, ensure_ascii=False).encode())
    if size > MAX_PROPERTIES_BYTES:
        raise Refusal(
            "too_big",
            field,
            f"The field {field!r} takes at most {MAX_PROPERTIES_BYTES} bytes of JSON, not {size}.",
        )
    return text


def _refuse_bad_properties(value: object, field: str) -> None:
    """Raise Refusal for the first thing inside properties that cannot be stored, with the way to it."""
    if isinstance(value, str):
        _refuse_bad_character(value, field)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise Refusal("not_text", field, f"The field {field!r} has a key {shown(key)}: no text.")
            inside = f"{field}.{plain_text(key)}"[:_LONGEST_WAY]
            _refuse_bad_character(key, inside)
            _refuse_bad_properties(inner, inside)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _refuse_bad_properties(inner, f"{field}.{index}"[:_LONGEST_WAY])
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Refusal("not_a_number", field, f"The field {field!r} must be a number, not {shown(value)}.")
    elif not (value is None or isinstance(value, int)):
        _refuse_unusable(value, field)
        raise Refusal("not_plain", field, f"The field {field!r} must be a plain value, not {shown(value)}.")


def canonical(value: Any) -> str:
    """JSON in which equal values are equal texts: keys sorted, no spaces. Raises ValueError, TypeError."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def storable(value: object) -> Any:
    """`value` as any database's JSON can hold it: what cannot be stored is replaced by words for it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # Longer texts than an item may hold are cut by whoever stores the whole.
        return _BAD_CHARACTER.sub(lambda found: ascii(found[0])[1:-1], value)
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST_MILLI else shown(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else shown(value)
    if isinstance(value, dict):
        return {storable(str(key)): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return shown(value)
