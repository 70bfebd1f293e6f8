"""Reading bodies: JSON under caps on bytes and depth, in which bad values are kept to be refused by item.

REST framework passes Django's own limit on bodies by, so the caps here are the only ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import IO, Any

from rest_framework.parsers import BaseParser

from csplaybooks.api.problems import Path, Problem, plain_text
from csplaybooks.conf import csplaybooks_settings

_CHUNK_BYTES = 256 * 1024

#: How much of a body that is too big is read and thrown away before it is refused, in bytes.
MOST_PASSED_OVER = 64 * 1024 * 1024

_BRACKETS_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_STRUCTURE = bytes(code for code in range(256) if code not in b'[]{}"')


class Unusable:
    """A value that JSON text may spell but that no field can take. It stands where the value stood.

    A batch with one such value is still read, and the item that holds it is refused by name: validators find
    it as a value that is no str, number, bool, None, list or dict. `code` and `message` say what was wrong.
    """

    __slots__ = ("code", "message")

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.message}>"

    # What fields of REST framework read when they turn anything into text: never something like a number.
    __str__ = __repr__


class NotANumber(Unusable):
    """`NaN`, `Infinity`, or a number beyond what can be held, in the place of a number."""

    __slots__ = ()

    def __init__(self, literal: str) -> None:
        shown = literal if len(literal) <= 40 else f"{literal[:40]}…"
        super().__init__("not_a_number", f"{shown} is not a number that can be stored.")


class DuplicateKey(Unusable):
    """The value of a key that an object has twice: which of them was meant cannot be known."""

    __slots__ = ()

    def __init__(self, key: str) -> None:
        super().__init__("duplicate_key", f"The key {plain_text(key)!r} stands twice in one object.")


def find_unusable(value: object, path: Path = ()) -> Iterator[tuple[Path, Unusable]]:
    """Every unusable value inside a parsed body (or a part of it), with the way to it."""
    if isinstance(value, Unusable):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from find_unusable(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from find_unusable(inner, (*path, index))


class CappedJSONParser(BaseParser):
    """Reads a JSON body, refusing what is too big, too deep, encoded, or broken.

    The view may name the settings that hold its caps: `max_bytes_setting` (default `API_MAX_BYTES`) and
    `max_depth_setting` (default `API_MAX_DEPTH`).

    Numbers that are none (NaN, Infinity, 1e999, an integer of more than 4300 digits) become `NotANumber`, and
    the value of a key that stands twice in one object becomes a `DuplicateKey`: the items that hold them are
    refused by their validators, the others are not lost. Strings are left as they are: NUL and lone
    surrogates too are for the validators of items to refuse.

    It is no subclass of REST framework's JSONParser on purpose: for that one the request reads the whole body
    first, under Django's DATA_UPLOAD_MAX_MEMORY_SIZE.

    Raises Problem: 413 `body_too_large`, 415 `content_encoding`, 400 `empty_body`, `not_utf8`, `too_deep` or
    `broken_json` (with line and column).
    """

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The parsed body of the request in `parser_context`, read from `stream`."""
        context = parser_context or {}
        view = context.get("view")
        max_bytes: int = getattr(csplaybooks_settings, getattr(view, "max_bytes_setting", "API_MAX_BYTES"))
        max_depth: int = getattr(csplaybooks_settings, getattr(view, "max_depth_setting", "API_MAX_DEPTH"))
        request = context.get("request")
        headers: Mapping[str, str] = getattr(request, "META", {})
        refuse_encoding(headers)
        return load_json(read_capped(stream, max_bytes, headers.get("CONTENT_LENGTH")), max_depth)


def refuse_encoding(meta: Mapping[str, str]) -> None:
    """Raise a 415 Problem when the body is compressed; unpacking it would pass the cap on bytes by."""
    encoding = meta.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem(
            status=415,
            code="content_encoding",
            message=f"The Content-Encoding {plain_text(encoding)!r} is not accepted; send the body as it is.",
            headers={"Accept-Encoding": "identity"},
        )


def read_capped(stream: IO[bytes], max_bytes: int, content_length: str | None) -> bytes:
    """The whole of `stream`, at most `max_bytes`.

    A bigger body is passed over, not kept, so that the sender gets to the answer: a server that closes on a
    sender in the middle of its body shows most clients a broken pipe instead of the reason. Beyond
    `MOST_PASSED_OVER` it is left to break. Raises Problem 413 for both.
    """
    stated = content_length if content_length and content_length.isascii() and content_length.isdigit() else "0"
    # By the count of digits first: Python reads no more than 4300 of them.
    if len(stated) > 18 or int(stated) > max_bytes:
        _pass_over(stream)
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    left = max_bytes + 1
    while left > 0 and (chunk := stream.read(min(_CHUNK_BYTES, left))):
        chunks.append(chunk)
        left -= len(chunk)
    if left <= 0:
        chunks.clear()
        _pass_over(stream)
        raise _too_large(max_bytes)
    return b"".join(chunks)


def _pass_over(stream: IO[bytes]) -> None:
    left = MOST_PASSED_OVER
    while left > 0 and (chunk := stream.read(min(_CHUNK_BYTES, left))):
        left -= len(chunk)


def _too_large(max_bytes: int) -> Problem:
    return Problem(status=413, code="body_too_large", message=f"The body is larger than {max_bytes:,} bytes.")


def load_json(body: bytes, max_depth: int) -> Any:
    """Parse a JSON body as `CappedJSONParser` tells. Raises Problem 400."""
    if not body.strip():
        raise Problem(status=400, code="empty_body", message="The body is empty; a JSON document is needed.")
    if nests_deeper_than(body, max_depth):
        raise Problem(
            status=400,
            code="too_deep",
            message=f"The body nests objects and arrays more than {max_depth} levels deep.",
        )
    try:
        # RFC 8259 lets readers pass over a byte order mark, and some exporters write one.
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem(status=400, code="not_utf8", message=f"The body is not UTF-8 (byte {error.start}).") from None
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _broken(error) from None
    except ValueError:
        # An integer longer than Python reads. Only now, because a hook for each integer slows every good
        # body.
        try:
            return _CAREFUL_DECODER.decode(text)
        except json.JSONDecodeError as error:
            raise _broken(error) from None


def _broken(error: json.JSONDecodeError) -> Problem:
    # Some messages of the decoder end in a colon of their own ("Invalid control character at").
    reason = error.msg.removesuffix(" at").rstrip(":")
    return Problem(
        status=400,
        code="broken_json",
        message=f"The body is not valid JSON: {reason} (line {error.lineno}, column {error.colno}).",
    )


def nests_deeper_than(body: bytes, max_depth: int) -> bool:
    """Whether objects and arrays nest in more than `max_depth` levels, told before any parser recurses.

    Never False for a body that would take a parser past twice `max_depth`; exact for valid JSON. It costs
    about as much as parsing: a few passes at C speed, none of them over single characters in Python.
    """
    if b"\\" in body:
        # Escaped backslashes first, so that what is left before a quote does escape it.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = body.translate(_BRACKETS_TO_SQUARE, _ALL_BUT_STRUCTURE)
    # Every second piece between quotes lies inside a string.
    structure = b"".join(structure.split(b'"')[::2])
    # Each pass takes the innermost level away.
    for _ in range(max_depth):
        if not structure:
            return False
        structure = structure.replace(b"[]", b"")
    # A pair left is a level too many; so are too many that are opened and never closed. The rest is no valid
    # JSON and stops the parser at its first unmatched bracket.
    return b"[]" in structure or structure.startswith(b"[" * (max_depth + 1))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One JSON object. The hook costs about a fifth of the time of parsing."""
    result = dict(pairs)
    if len(result) != len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                result[key] = DuplicateKey(key)
            seen.add(key)
    return result


def _float(literal: str) -> float | NotANumber:
    value = float(literal)
    return value if math.isfinite(value) else NotANumber(literal)


def _integer(literal: str) -> int | NotANumber:
    try:
        return int(literal)
    except ValueError:
        return NotANumber(literal)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=NotANumber)
_CAREFUL_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_constant=NotANumber, parse_int=_integer
)
