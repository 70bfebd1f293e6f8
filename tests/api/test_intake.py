"""`POST /api/v1/signals/` and `/readings/`: the answer of the contract, and every sort of bad input."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.test import Client, override_settings

from csplaybooks.accounts.factories import AccountFactory, ApiTokenFactory, TeamMemberFactory
from csplaybooks.signals.factories import MeterFactory, SignalTypeFactory
from csplaybooks.signals.models import IntakeBatch, Reading, RefusedItem, Signal

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SIGNALS = "/api/v1/signals/"
READINGS = "/api/v1/readings/"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock() -> Any:
    """It is noon of 22 November 2026, and stays so."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture(autouse=True)
def acme(db: None) -> Any:
    """An account known as `acme`, a signal type and a meter."""
    SignalTypeFactory(key="feature_gate_hit")
    MeterFactory(key="seats")
    return AccountFactory(name="Acme")


@pytest.fixture
def token(db: None) -> Any:
    """A token with every scope, used a moment ago."""
    token = ApiTokenFactory()
    token.last_used_at = NOW
    token.save(update_fields=["last_used_at"])
    return token


def signal(external_id: str = "evt-1", **changes: Any) -> dict[str, Any]:
    """A good signal of acme; a field set to `...` is left out."""
    item = {
        "source": "product",
        "external_id": external_id,
        "account": "acme",
        "type": "feature_gate_hit",
        "occurred_at": "2026-11-22T08:00:00Z",
        "actor": "u-17",
        "value": 1,
        "properties": {},
        **changes,
    }
    return {key: value for key, value in item.items() if value is not ...}


def reading(external_id: str = "r-1", **changes: Any) -> dict[str, Any]:
    """A good reading of acme; a field set to `...` is left out."""
    own = {"type": ..., "actor": ..., "value": ..., "properties": ..., "meter": "seats", "used": 18, "limit": 20}
    return signal(external_id, **{**own, **changes})


def post(token: Any, body: Any, url: str = SIGNALS, **kwargs: Any) -> Any:
    """Send a body: bytes as they are, all else as JSON."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    if token is not None:
        kwargs.setdefault("HTTP_AUTHORIZATION", f"Token {token.value}")
    kwargs.setdefault("content_type", "application/json")
    return Client(raise_request_exception=True).post(url, body, **kwargs)


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The problem document in an answer, which must be of this status and code."""
    assert response.status_code == status, response.content
    assert response["Content-Type"].startswith("application/problem+json")
    document: dict[str, Any] = response.json()
    assert (document["status"], document["code"]) == (status, code)
    assert document["message"]
    return document


def test_answer_of_the_contract(token: Any) -> None:
    post(token, signal("evt-2"))
    response = post(token, [signal("evt-1"), signal("evt-2"), signal("evt-3", account="nobody")])
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    answer = response.json()
    message = answer["results"][2].pop("message")
    assert "'nobody'" in message
    assert answer == {
        "received": 3,
        "stored": 1,
        "duplicate": 1,
        "conflict": 0,
        "refused": 1,
        "results": [
            {"index": 0, "status": "stored"},
            {"index": 1, "status": "duplicate"},
            {"index": 2, "status": "refused", "code": "unknown_account", "field": "account"},
        ],
    }
    assert IntakeBatch.objects.filter(token=token).count() == 2


def test_one_item_sent_bare(token: Any) -> None:
    answer = post(token, reading(), READINGS).json()
    assert (answer["received"], answer["results"]) == (1, [{"index": 0, "status": "stored"}])
    assert Reading.objects.get().used_milli == 18_000


def test_conflict_has_a_message(token: Any) -> None:
    post(token, signal())
    (result,) = post(token, signal(value=2)).json()["results"]
    assert (result["index"], result["status"]) == (0, "conflict")
    assert "evt-1" in result["message"]


#: Each with the field and the code that must be named.
BAD_SIGNALS = [
    ({"account": "nobody"}, "account", "unknown_account"),
    ({"account": 17}, "account", "not_text"),
    ({"account": "a\x00"}, "account", "bad_character"),
    ({"account": "\ud800"}, "account", "bad_character"),
    ({"account": ...}, "account", "required"),
    ({"account_source": "nowhere"}, "account", "unknown_account"),
    ({"type": "no_such_type"}, "type", "unknown_type"),
    ({"type": ...}, "type", "required"),
    ({"source": ""}, "source", "blank"),
    ({"source": "s" * 101}, "source", "too_long"),
    ({"external_id": "e" * 201}, "external_id", "too_long"),
    ({"external_id": None}, "external_id", "required"),
    ({"actor": "a" * 201}, "actor", "too_long"),
    ({"actor": {}}, "actor", "not_text"),
    ({"value": "12"}, "value", "not_a_number"),
    ({"value": "twelve"}, "value", "not_a_number"),
    ({"value": True}, "value", "not_a_number"),
    ({"value": float("nan")}, "value", "not_a_number"),
    ({"value": float("inf")}, "value", "not_a_number"),
    ({"value": float("-inf")}, "value", "not_a_number"),
    ({"value": 10**20}, "value", "out_of_range"),
    ({"value": 1e300}, "value", "out_of_range"),
    ({"occurred_at": "2026-11-22T08:00:00"}, "occurred_at", "no_time_zone"),
    ({"occurred_at": "2026-11-22"}, "occurred_at", "no_time_zone"),
    ({"occurred_at": "yesterday"}, "occurred_at", "not_a_time"),
    ({"occurred_at": 1_795_334_400}, "occurred_at", "not_a_time"),
    ({"occurred_at": "2026-11-22T12:10:01Z"}, "occurred_at", "in_the_future"),
    ({"occurred_at": "2036-01-01T00:00:00Z"}, "occurred_at", "in_the_future"),
    ({"occurred_at": "1969-12-31T23:59:59Z"}, "occurred_at", "too_early"),
    ({"properties": ["plan"]}, "properties", "not_an_object"),
    ({"properties": {"plan": "p" * 5_000}}, "properties", "too_big"),
    ({"properties": {"plan": float("nan")}}, "properties.plan", "not_a_number"),
    ({"properties": {"plan": "a\x00"}}, "properties.plan", "bad_character"),
    ({"properties": {"plan": ["\udc00"]}}, "properties.plan.0", "bad_character"),
    ({"propertys": {}}, "propertys", "unknown_field"),
    ({"corrects": "evt-0"}, "corrects", "unknown_correction"),
    ({"corrects": 5}, "corrects", "not_text"),
    ({"void": True}, "void", "void_without_corrects"),
    ({"void": 1}, "void", "not_true_or_false"),
]


@pytest.mark.parametrize(("changes", "field", "code"), BAD_SIGNALS)
def test_bad_item_is_refused_by_index_and_field_and_the_good_ones_are_stored(
    token: Any, changes: dict[str, Any], field: str, code: str
) -> None:
    response = post(token, [signal("good-1"), signal(**{"external_id": "bad", **changes}), signal("good-2")])
    assert response.status_code == 200, response.content
    answer = response.json()
    assert [answer[count] for count in ("received", "stored", "refused")] == [3, 2, 1]
    result = answer["results"][1]
    assert (result["index"], result["status"]) == (1, "refused")
    assert (result["code"], result["field"]) == (code, field)
    assert len(result["message"]) > 20
    assert len(result["message"]) < 500
    assert set(Signal.objects.values_list("external_id", flat=True)) == {"good-1", "good-2"}
    kept = RefusedItem.objects.get()
    assert (kept.index, kept.field, kept.code, kept.message) == (1, field, code, result["message"])


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"meter": "lorries"}, "meter", "unknown_meter"),
        ({"used": "18"}, "used", "not_a_number"),
        ({"used": ...}, "used", "required"),
        ({"used": float("nan")}, "used", "not_a_number"),
        ({"limit": "none"}, "limit", "not_a_number"),
        ({"limit": -1}, "limit", "negative"),
        ({"type": "feature_gate_hit"}, "type", "unknown_field"),
    ],
)
def test_bad_reading_is_refused_by_index_and_field_and_the_good_ones_are_stored(
    token: Any, changes: dict[str, Any], field: str, code: str
) -> None:
    answer = post(token, [reading("bad", **changes), reading("good")], READINGS).json()
    assert [result["status"] for result in answer["results"]] == ["refused", "stored"]
    assert (answer["results"][0]["field"], answer["results"][0]["code"]) == (field, code)
    assert Reading.objects.get().external_id == "good"


@pytest.mark.parametrize("item", [None, 5, "text", [], [[]], True])
def test_item_that_is_no_object(token: Any, item: Any) -> None:
    answer = post(token, [item, signal()]).json()
    assert [result["status"] for result in answer["results"]] == ["refused", "stored"]
    assert answer["results"][0]["code"] == "not_an_object"


def test_numbers_that_python_itself_would_not_read(token: Any) -> None:
    huge = json.dumps(signal("huge", value=0)).replace('"value": 0', f'"value": {"9" * 5_000}')
    beyond = json.dumps(signal("beyond", value=0)).replace('"value": 0', '"value": 1e999')
    twice = json.dumps(signal("twice")).replace('"value": 1', '"value": 1, "value": 2')
    body = f"[{huge}, {beyond}, {twice}, {json.dumps(signal())}]".encode()
    answer = post(token, body).json()
    assert [result["status"] for result in answer["results"]] == ["refused", "refused", "refused", "stored"]
    assert [result["code"] for result in answer["results"][:3]] == [*("not_a_number", "not_a_number", "duplicate_key")]
    assert {result["field"] for result in answer["results"][:3]} == {"value"}
    assert RefusedItem.objects.count() == 3


# What cannot be read at all


def test_more_items_than_are_taken(token: Any) -> None:
    document = problem(post(token, [signal(f"evt-{number}") for number in range(6_000)]), 413, "too_many_items")
    assert "6,000" in document["message"]
    assert "5,000" in document["message"]
    assert not IntakeBatch.objects.exists()


@override_settings(CSPLAYBOOKS={"INTAKE_MAX_ITEMS": 2})
def test_most_items_is_a_setting(token: Any) -> None:
    assert post(token, [signal("evt-1"), signal("evt-2")]).status_code == 200
    problem(post(token, [signal(f"evt-{number}") for number in range(3)]), 413, "too_many_items")


def test_body_of_30_megabytes(token: Any) -> None:
    body = b"[" + b" " * 30_000_000 + json.dumps(signal()).encode() + b"]"
    problem(post(token, body), 413, "body_too_large")
    assert not Signal.objects.exists()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'[{"source": "product",', 400, "broken_json"),
        (b"{'source': 'product'}", 400, "broken_json"),
        (b"\xff\xfe", 400, "not_utf8"),
        (b"", 400, "empty_body"),
        (b"[]", 400, "no_items"),
        (b"5", 400, "not_items"),
        (b'"text"', 400, "not_items"),
        (b"null", 400, "not_items"),
        (b"NaN", 400, "not_items"),
        (b"[" * 10_000 + b"]" * 10_000, 400, "too_deep"),
    ],
)
def test_body_that_cannot_be_read(token: Any, body: bytes, status: int, code: str) -> None:
    problem(post(token, body), status, code)
    assert not IntakeBatch.objects.exists()


def test_body_of_another_type(token: Any) -> None:
    problem(post(token, b"source=product", content_type="text/plain"), 415, "unsupported_media_type")


def test_no_token(db: None) -> None:
    response = post(None, signal())
    problem(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"] == "Token"
    assert not Signal.objects.exists()


def test_wrong_token(token: Any) -> None:
    problem(post(token, signal(), HTTP_AUTHORIZATION="Token nonsense"), 401, "token_unknown")


@pytest.mark.parametrize(
    ("url", "scopes"), [(SIGNALS, ["readings:write", "plays:read"]), (READINGS, ["signals:write"])]
)
def test_wrong_scope(url: str, scopes: list[str]) -> None:
    document = problem(post(ApiTokenFactory(scopes=scopes), signal(), url), 403, "missing_scope")
    assert "write" in document["message"]


def test_other_methods_and_query_parameters(token: Any) -> None:
    headers: Any = {"HTTP_AUTHORIZATION": f"Token {token.value}"}
    problem(Client().get(SIGNALS, **headers), 405, "method_not_allowed")
    problem(post(token, signal(), f"{SIGNALS}?dry_run=1"), 400, "unknown_filter")
    problem(post(token, signal(), "/api/v1/signals"), 404, "not_found")


def test_limited_token_sees_other_accounts_as_unknown(acme: Any) -> None:
    AccountFactory(name="Other")
    limited = ApiTokenFactory(account_ids=[acme.pk])
    answer = post(limited, [signal("evt-1"), signal("evt-2", account="other")]).json()
    assert [result["status"] for result in answer["results"]] == ["stored", "refused"]
    assert answer["results"][1]["code"] == "unknown_account"


def test_people_need_the_permission_and_see_their_own_accounts(acme: Any) -> None:
    member = TeamMemberFactory(ae=True)
    client = Client()
    client.force_login(member.user)
    send: Any = {"data": json.dumps(signal()), "content_type": "application/json"}
    problem(client.post(SIGNALS, **send), 403, "missing_permission")
    member.user.user_permissions.add(Permission.objects.get(codename="add_signal"))
    (result,) = client.post(SIGNALS, **send).json()["results"]
    assert result["code"] == "unknown_account"


@pytest.mark.parametrize("count", [1, 1_000])
def test_number_of_queries(token: Any, count: int, django_assert_num_queries: Any) -> None:
    post(token, signal("first"))
    items = [signal(f"evt-{number}") for number in range(count)]
    # The token, and the ten of the act.
    with django_assert_num_queries(12):
        assert post(token, items).json()["stored"] == count
