"""Reading bodies: caps on bytes and depth, broken bodies, and values that no field can take."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from csplaybooks.api import parsers
from csplaybooks.api.parsers import (
    CappedJSONParser,
    DuplicateKey,
    NotANumber,
    Unusable,
    find_unusable,
    load_json,
    nests_deeper_than,
    read_capped,
)
from csplaybooks.api.problems import Problem
from csplaybooks.api.views import ApiView
from tests.api.doubles import body_of, problem_of


class EchoView(ApiView):
    """Says how many items it was sent."""

    permission_classes = ()
    max_bytes_setting = "INTAKE_MAX_BYTES"
    max_depth_setting = "INTAKE_MAX_DEPTH"

    def get_authenticators(self) -> list[Any]:
        return []

    def post(self, request: Request) -> Response:
        return Response({"items": len(request.data)})


class BodilessView(EchoView):
    body_required = False


def post(body: bytes, content_type: str = "application/json", view: Any = EchoView, **headers: Any) -> Any:
    factory: Any = APIRequestFactory()
    request = factory.generic("POST", "/", body, content_type=content_type, **headers)
    return view.as_view()(request)


def refused(body: bytes, max_depth: int = 8) -> Problem:
    with pytest.raises(Problem) as caught:
        load_json(body, max_depth)
    return caught.value


class CountingStream(io.BytesIO):
    """A stream that knows how much of it was read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def test_a_good_body_is_read():
    assert body_of(post(b'[{"a": 1}, {"a": 2}]')) == {"items": 2}


def test_a_body_may_pass_djangos_own_limit():
    body = json.dumps(["x" * 1000] * 4000).encode()
    assert len(body) > 2_621_440
    assert body_of(post(body)) == {"items": 4000}


@override_settings(CSPLAYBOOKS={"INTAKE_MAX_BYTES": 20})
def test_the_cap_is_the_views_setting_and_exact():
    assert post(b"[" + b" " * 18 + b"]").status_code == 200
    problem = problem_of(post(b"[" + b" " * 19 + b"]"), 413, "body_too_large")
    assert problem["message"] == "The body is larger than 20 bytes."


@pytest.mark.parametrize("content_length", ["1001", "1000000", None, "", "5", "-5", "abc", "٣"])
def test_a_body_that_is_too_large_is_passed_over_so_that_its_sender_hears_why(content_length):
    stream = CountingStream(b"x" * 1_000_000)
    with pytest.raises(Problem) as caught:
        read_capped(stream, 1000, content_length)
    assert caught.value.status_code == 413
    assert stream.taken == 1_000_000


def test_a_body_beyond_all_measure_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(parsers, "MOST_PASSED_OVER", 10_000)
    stream = CountingStream(b"x" * 1_000_000)
    with pytest.raises(Problem):
        read_capped(stream, 1000, "1000000")
    assert stream.taken == 10_000


def test_a_length_of_thousands_of_digits():
    with pytest.raises(Problem) as caught:
        read_capped(io.BytesIO(b"[]"), 1000, "9" * 5000)
    assert caught.value.status_code == 413


def test_a_thirty_megabyte_body():
    problem_of(post(b"[" + b" " * 30_000_000 + b"]"), 413, "body_too_large")


def test_a_body_exactly_as_large_as_allowed_is_read():
    assert read_capped(io.BytesIO(b"x" * 600_000), 600_000, None) == b"x" * 600_000


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_packed_bodies_are_refused(encoding):
    response = post(b"[]", HTTP_CONTENT_ENCODING=encoding)
    problem_of(response, 415, "content_encoding")
    assert response["Accept-Encoding"] == "identity"


def test_identity_is_no_packing():
    assert post(b"[]", HTTP_CONTENT_ENCODING="Identity").status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "x" * 300, "", "/"])
def test_other_types_of_content_are_refused(content_type):
    problem_of(post(b"a=1", content_type=content_type), 415, "unsupported_media_type")


def test_charset_is_no_matter():
    assert post('["ä"]'.encode(), content_type="application/json; charset=utf-8").status_code == 200


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_an_empty_body(body):
    problem_of(post(body), 400, "empty_body")


def in_chunks(body: bytes, **environ: Any) -> Any:
    """What comes of a body without a Content-Length, from a server that unpacks chunks and ends the stream."""
    request: Any = APIRequestFactory().generic("POST", "/", content_type="application/json")
    request.environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(body), **environ}
    assert not request.environ.get("CONTENT_LENGTH")
    return EchoView.as_view()(request)


def test_a_body_in_chunks_is_read_as_any_other():
    assert body_of(in_chunks(b"[1, 2, 3]", **{"wsgi.input_terminated": True})) == body_of(post(b"[1, 2, 3]"))
    problem_of(in_chunks(b"", **{"wsgi.input_terminated": True}), 400, "empty_body")
    too_large = b"[" + b" " * 30_000_000 + b"]"
    problem_of(in_chunks(too_large, **{"wsgi.input_terminated": True}), 413, "body_too_large")
    # Where the server does not end the stream, reading it might wait for ever.
    assert "Content-Length" in problem_of(in_chunks(b"[1]"), 400, "empty_body")["message"]


def test_acts_may_do_without_a_body():
    assert post(b"", view=BodilessView).status_code == 200
    problem_of(post(b" ", view=BodilessView), 400, "empty_body")


def test_broken_json_says_where():
    problem = problem_of(post(b'[\n  {"a": 1},\n  {"a" 2}\n]'), 400, "broken_json")
    assert problem["message"] == "The body is not valid JSON: Expecting ':' delimiter (line 3, column 8)."


@pytest.mark.parametrize(
    "body",
    [
        b"[",
        b"]",
        b"[1,]",
        b"{'a': 1}",
        b'{"a": 1',
        b'"abc',
        b'["a\nb"]',
        b"[01]",
        b"nul",
        b"[1] [2]",
        b"[}",
        b'"\\x"',
    ],
)
def test_broken_json(body):
    problem = refused(body)
    assert (problem.status_code, problem.code) == (400, "broken_json")


@pytest.mark.parametrize("body", [b'["\xff"]', '["ä"]'.encode("latin-1"), '["a"]'.encode("utf-16"), b'"\xed\xa0\x80"'])
def test_bodies_that_are_not_utf8(body):
    assert refused(body).code == "not_utf8"


def test_a_byte_order_mark_is_passed_over():
    assert load_json(b"\xef\xbb\xbf[1]", 8) == [1]


def test_a_byte_order_mark_alone_is_no_document():
    assert refused(b"\xef\xbb\xbf").code == "broken_json"


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 4301, "-" + "9" * 5000])
def test_a_number_that_is_none_stands_where_it_stood(literal):
    data = load_json(f'[{{"used": 1}}, {{"used": {literal}}}, {{"used": 2.5}}]'.encode(), 8)
    assert data[0] == {"used": 1}
    assert isinstance(data[1]["used"], NotANumber)
    assert len(data[1]["used"].message) < 100
    assert data[2] == {"used": 2.5}


def test_the_words_inside_strings_are_strings():
    assert load_json(b'["NaN", "Infinity"]', 8) == ["NaN", "Infinity"]


def test_a_broken_body_with_a_huge_integer():
    assert refused(b"[" + b"9" * 5000 + b",]").code == "broken_json"


def test_a_key_that_stands_twice():
    data = load_json(b'[{"a": 1, "b": 2, "a": 3}, {"a": 1}]', 8)
    assert isinstance(data[0]["a"], DuplicateKey)
    assert data[0]["a"].code == "duplicate_key"
    assert data[0]["b"] == 2
    assert data[1] == {"a": 1}


def test_strings_are_left_to_the_validators_of_items():
    assert load_json(b'["\\u0000", "\\ud800"]', 8) == ["\x00", "\ud800"]


def test_find_unusable_names_the_way():
    data = load_json(b'[{"a": NaN, "b": {"c": [1, Infinity]}}, {"d": 1, "d": 2}]', 8)
    found = {path: value.code for path, value in find_unusable(data)}
    assert found == {
        (0, "a"): "not_a_number",
        (0, "b", "c", 1): "not_a_number",
        (1, "d"): "duplicate_key",
    }


@pytest.mark.parametrize(
    "field",
    [
        serializers.IntegerField(),
        serializers.FloatField(),
        serializers.DecimalField(max_digits=20, decimal_places=3),
        serializers.CharField(),
        serializers.BooleanField(),
        serializers.ChoiceField(choices=["a"]),
        serializers.DateField(),
        serializers.DateTimeField(),
        serializers.UUIDField(),
        serializers.ListField(),
        serializers.DictField(),
        serializers.JSONField(),
    ],
    ids=lambda field: type(field).__name__,
)
@pytest.mark.parametrize("value", [NotANumber("NaN"), NotANumber("Infinity"), DuplicateKey("a")], ids=repr)
def test_no_field_takes_an_unusable_value(field: serializers.Field, value: Unusable):
    with pytest.raises(serializers.ValidationError):
        field.run_validation(value)


def nest(depth: int, inner: str = "1") -> bytes:
    return ("[" * depth + inner + "]" * depth).encode()


def test_depth_is_capped():
    assert post(nest(8)).status_code == 200
    problem = problem_of(post(nest(9)), 400, "too_deep")
    assert "8 levels" in problem["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 5_000_000,
        b'{"a":' * 1_000_000,
        b"[" * 1_000_000 + b"]" * 1_000_000,
        b"[]," * 10 + b"[" * 100_000,
    ],
)
def test_no_body_reaches_the_parser_too_deep(body):
    assert refused(body).code == "too_deep"


@pytest.mark.parametrize("body", [b"]" * 5_000_000, b'["' + b'\\"' * 4_000_000, b'"' * 5_000_001])
def test_long_broken_bodies_are_refused_quickly(body):
    assert refused(body).code == "broken_json"


@pytest.mark.parametrize("text", ["[[[[", 'a"[[[', "\\", '\\"[[', "]]]", '\\\\"{{{'])
def test_brackets_in_strings_do_not_count(text):
    body = json.dumps([{text: text}]).encode()
    assert not nests_deeper_than(body, 2)
    assert nests_deeper_than(body, 1)


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


tricky_text = st.text(alphabet='[]{}"\\,:aä\x00')
documents = st.recursive(
    st.none() | st.integers() | tricky_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(tricky_text, inner, max_size=4),
    max_leaves=20,
)


@given(documents, st.booleans())
def test_depth_is_exact_for_every_document(document, ascii_only):
    body = json.dumps(document, ensure_ascii=ascii_only).encode()
    depth = depth_of(document)
    assert not nests_deeper_than(body, depth)
    assert depth == 0 or nests_deeper_than(body, depth - 1)


@given(documents)
def test_every_good_document_is_read_as_it_is(document):
    assert load_json(json.dumps(document).encode(), 100) == document


@given(st.text(alphabet='[]{}"\\,:1a') | st.binary())
def test_any_bytes_are_read_or_refused(text):
    body = text.encode() if isinstance(text, str) else text
    statuses = []
    try:
        load_json(body, 8)
    except Problem as problem:
        statuses.append(problem.status_code)
    assert statuses in ([], [400])


@given(st.text(alphabet="[]", min_size=1), st.integers(1, 4))
def test_what_is_let_through_never_takes_a_parser_past_twice_the_cap(body, max_depth):
    deepest = depth = 0
    for bracket in body:
        depth += 1 if bracket == "[" else -1
        if depth < 0:
            break
        deepest = max(deepest, depth)
    if deepest > 2 * max_depth:
        assert nests_deeper_than(body.encode(), max_depth)


def test_the_parser_is_not_one_for_which_the_whole_body_is_read_first():
    from rest_framework.parsers import FormParser, JSONParser

    assert not issubclass(CappedJSONParser, JSONParser | FormParser)
