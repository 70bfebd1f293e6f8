"""Every error is a problem document that tells nothing of what is inside."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core import exceptions as django_exceptions
from django.core.signals import got_request_exception
from django.db import IntegrityError, OperationalError, connection
from django.db.models import ProtectedError
from django.http import Http404, UnreadablePostError
from django.test import Client, override_settings
from django.urls import path, re_path
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.api.problems import FieldError, Problem, json_pointer, plain_text
from csplaybooks.api.views import ApiView, not_found_view
from tests.api.doubles import HeaderAuthentication, SilentAuthentication, authentication, body_of, problem_of

SECRET = "csp_secret_constraint_on_table_x"


class RaisingView(ApiView):
    """Raises what the class attribute `error` makes."""

    permission_classes = ()
    error: Any = None

    def get(self, request: Request) -> Response:
        raise type(self).error()


class GroupView(ApiView):
    """Writes a row and fails, as the query says."""

    permission_classes = ()
    query_parameters = ("error",)

    def post(self, request: Request) -> Response:
        data: Any = request.data
        name = data["name"]
        Group.objects.create(name=name)
        match request.query_params.get("error"):
            case "twice":
                Group.objects.create(name=name)
            case "fault":
                raise RuntimeError(SECRET)
            case "problem":
                raise Problem(status=422, code="no", message="No.")
        return Response({"name": name}, status=201)


urlpatterns = [
    path("api/v1/groups/", GroupView.as_view()),
    re_path("^api/v1/.*$", not_found_view),
]

pytestmark = pytest.mark.usefixtures("own_authentication")


@pytest.fixture
def own_authentication(settings):
    settings.CSPLAYBOOKS = authentication(HeaderAuthentication)


@pytest.fixture
def faults():
    """What error trackers are told."""
    heard: list[Any] = []

    def listen(request: Any, **kwargs: Any) -> None:
        heard.append(request)

    got_request_exception.connect(listen)
    yield heard
    got_request_exception.disconnect(listen)


def raising(error: Any) -> Any:
    view: Any = type("View", (RaisingView,), {"error": staticmethod(error)})
    return view.as_view()(APIRequestFactory().get("/"))


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (exceptions.ParseError, 400, "parse_error"),
        (exceptions.NotAuthenticated, 401, "not_authenticated"),
        (exceptions.AuthenticationFailed, 401, "authentication_failed"),
        (exceptions.PermissionDenied, 403, "permission_denied"),
        (exceptions.NotFound, 404, "not_found"),
        (lambda: exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (exceptions.NotAcceptable, 406, "not_acceptable"),
        (lambda: exceptions.UnsupportedMediaType("text/plain"), 415, "unsupported_media_type"),
        (lambda: exceptions.Throttled(wait=1.2), 429, "throttled"),
        (Http404, 404, "not_found"),
        (django_exceptions.PermissionDenied, 403, "permission_denied"),
        (django_exceptions.BadRequest, 400, "bad_request"),
        (django_exceptions.SuspiciousOperation, 400, "bad_request"),
        (UnreadablePostError, 400, "bad_request"),
        (django_exceptions.RequestDataTooBig, 413, "body_too_large"),
        (lambda: IntegrityError(SECRET), 409, "conflict"),
        (lambda: ProtectedError(SECRET, set()), 409, "still_referred_to"),
        (lambda: Problem(status=418, code="teapot", message="Short and stout."), 418, "teapot"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_every_refusal_is_a_problem_document(error, status, code, faults):
    response = raising(error)
    document = problem_of(response, status, code)
    assert "errors" not in document
    assert SECRET not in str(document)
    assert not faults


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (lambda: ValueError(SECRET), 500, "internal_error"),
        (lambda: KeyError(SECRET), 500, "internal_error"),
        (lambda: OperationalError(SECRET), 503, "database_unavailable"),
    ],
)
def test_faults_are_logged_and_tell_nothing(error, status, code, faults, caplog):
    with caplog.at_level(logging.ERROR, logger="csplaybooks.api"):
        response = raising(error)
    document = problem_of(response, status, code)
    assert SECRET not in str(document)
    (record,) = [record for record in caplog.records if record.name == "csplaybooks.api"]
    assert record.exc_info is not None
    assert SECRET in str(record.exc_info[1])
    # Django's own request, as its listeners know it.
    assert [request.path for request in faults] == ["/"]
    assert not isinstance(faults[0], Request)


def test_the_missing_row_is_not_named():
    document = problem_of(raising(lambda: Http404("No Play matches the given query.")), 404, "not_found")
    assert "Play" not in document["message"]


def test_retry_after():
    assert raising(lambda: exceptions.Throttled(wait=1.2))["Retry-After"] == "2"
    assert raising(OperationalError)["Retry-After"] == "5"


@pytest.mark.parametrize(
    "error",
    [
        exceptions.NotAuthenticated,
        exceptions.AuthenticationFailed,
        lambda: Problem(status=401, code="x", message="Who?"),
    ],
)
def test_a_401_carries_the_challenge(error):
    assert raising(error)["WWW-Authenticate"] == 'Token realm="tests"'


@pytest.mark.parametrize("classes", [(), (SilentAuthentication,), (SilentAuthentication, HeaderAuthentication)])
def test_a_401_is_one_whatever_authentication_comes_first(classes):
    with override_settings(CSPLAYBOOKS=authentication(*classes)):
        response = raising(exceptions.NotAuthenticated)
    problem_of(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith("Token")


class FindingSerializer(serializers.Serializer):
    kind = serializers.ChoiceField(choices=["gap", "risk"])


class QbrSerializer(serializers.Serializer):
    account = serializers.CharField()
    findings = FindingSerializer(many=True)

    def validate(self, data: Any) -> Any:
        if len(data["findings"]) > 1:
            raise serializers.ValidationError("Too many.", code="too_many")
        return data


def test_field_errors_carry_pointers():
    serializer = QbrSerializer(data={"findings": [{"kind": "gap"}, {"kind": "x"}]})
    document = problem_of(raising(lambda: serializer.is_valid(raise_exception=True)), 400, "invalid")
    assert document["errors"] == [
        {
            "pointer": "/account",
            "field": "account",
            "code": "required",
            "message": "This field is required.",
        },
        {
            "pointer": "/findings/1/kind",
            "field": "findings.1.kind",
            "code": "invalid_choice",
            "message": '"x" is not a valid choice.',
        },
    ]
    assert document["message"] == "The request holds 2 errors, in: account, findings.1.kind."


def test_an_error_of_the_whole_has_an_empty_pointer():
    serializer = QbrSerializer(data={"account": "a", "findings": [{"kind": "gap"}, {"kind": "gap"}]})
    document = problem_of(raising(lambda: serializer.is_valid(raise_exception=True)), 400, "invalid")
    assert document["errors"] == [{"pointer": "", "field": "", "code": "too_many", "message": "Too many."}]
    assert document["message"] == "Too many."


def test_errors_of_many_items_carry_their_index():
    serializer = FindingSerializer(data=[{"kind": "gap"}, {}], many=True)
    document = problem_of(raising(lambda: serializer.is_valid(raise_exception=True)), 400, "invalid")
    assert [error["pointer"] for error in document["errors"]] == ["/1/kind"]
    assert document["message"] == "1.kind: This field is required."


def test_errors_of_models_are_told_too():
    error = django_exceptions.ValidationError(
        {
            "name": [django_exceptions.ValidationError("No %(what)s.", code="bad", params={"what": "name"})],
            "__all__": ["Not so."],
        }
    )
    document = problem_of(raising(lambda: error), 400, "invalid")
    assert [(each["pointer"], each["code"], each["message"]) for each in document["errors"]] == [
        ("/name", "bad", "No name."),
        ("", "invalid", "Not so."),
    ]


def test_an_act_that_came_second_is_a_conflict():
    error = Conflict("Acme", expected=3)
    document = problem_of(raising(lambda: error), 409, "conflict")
    assert document["message"] == "Acme has changed since version 3; read it again."


def test_errors_of_acts_are_told_in_their_own_words():
    error = Problem(
        status=422,
        code="bad_rows",
        message="One row is wrong.",
        errors=[FieldError(("rows", 3, "a/b~c"), "late", "Too late.")],
        headers={"X-Reason": "late"},
    )
    response = raising(lambda: error)
    document = problem_of(response, 422, "bad_rows")
    assert document["title"] == "Unprocessable Content"
    assert document["errors"] == [
        {"pointer": "/rows/3/a~1b~0c", "field": "rows.3.a/b~c", "code": "late", "message": "Too late."}
    ]
    assert response["X-Reason"] == "late"


def test_what_a_sender_wrote_can_be_echoed():
    error = Problem(status=400, code="x", message="\ud800\x00ä" + "y" * 5000)
    document = problem_of(raising(lambda: error), 400, "x")
    assert document["message"].startswith("\\ud800\\x00ä")
    assert len(document["message"]) < 1100


def test_json_pointer():
    assert json_pointer(()) == ""
    assert json_pointer(("a", 0, "")) == "/a/0/"
    assert plain_text("\udfff") == "\\udfff"


def test_an_error_is_told_even_where_nothing_is_acceptable():
    view: Any = type("View", (RaisingView,), {"error": staticmethod(Http404)})
    response = view.as_view()(APIRequestFactory().get("/", HTTP_ACCEPT="text/html"))
    problem_of(response, 406, "not_acceptable")


def test_the_format_in_the_address():
    view: Any = type("View", (RaisingView,), {"error": staticmethod(Http404)})
    problem_of(view.as_view()(APIRequestFactory().get("/?format=json")), 404, "not_found")
    problem_of(view.as_view()(APIRequestFactory().get("/?format=xml")), 406, "not_acceptable")


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options", "trace"])
@override_settings(ROOT_URLCONF="tests.api.test_problems")
def test_unknown_addresses_are_problems_for_every_method(method):
    response = getattr(Client(), method)("/api/v1/nothing/here/", HTTP_ACCEPT="text/html")
    problem_of(response, 404, "not_found")


@override_settings(ROOT_URLCONF="tests.api.test_problems")
def test_an_address_without_its_slash_says_so():
    assert "ends with a slash" in problem_of(Client().post("/api/v1/groups"), 404, "not_found")["message"]
    assert "slash" not in problem_of(Client().get("/api/v1/"), 404, "not_found")["message"]


def write_group(error: str) -> Any:
    client = Client(raise_request_exception=False)
    return client.post(f"/api/v1/groups/?error={error}", {"name": "one"}, content_type="application/json")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("atomic", [True, False])
@override_settings(ROOT_URLCONF="tests.api.test_problems")
def test_a_failed_request_is_rolled_back_where_the_host_wants_it(atomic, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)
    for error, status, code in (
        ("problem", 422, "no"),
        ("fault", 500, "internal_error"),
        ("twice", 409, "conflict"),
    ):
        document = problem_of(write_group(error), status, code)
        assert not {"auth_group", "UNIQUE", "unique"} & set(str(document).split())
        # Without ATOMIC_REQUESTS the first row stands: then acts answer for their own transactions.
        assert Group.objects.filter(name="one").exists() is not atomic
        Group.objects.all().delete()
    assert body_of(write_group("")) == {"name": "one"}
    assert Group.objects.filter(name="one").exists()
