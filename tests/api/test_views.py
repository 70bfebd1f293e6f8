"""The bases of views: whose rows are shown, what is written, and that the host's settings do not matter."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.signals import got_request_exception
from django.db.models import QuerySet
from django.test import Client, override_settings
from django.urls import include, path, re_path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.serializers import CharField, ModelSerializer, Serializer
from rest_framework.settings import api_settings
from rest_framework.test import APIRequestFactory

import csplaybooks
from csplaybooks.api.views import ApiView, ReadOnlyApiViewSet, describe, not_found_view
from tests.api.doubles import HeaderAuthentication, Person, Token, authentication, body_of, problem_of


class GroupQuerySet(QuerySet):
    """Rows of which tokens see those with an `a` in the name, and people those with a `b`."""

    def visible_to(self, viewer: Any) -> GroupQuerySet:
        return self.filter(name__contains="a" if isinstance(viewer, Token) else "b")


class GroupSerializer(ModelSerializer):
    class Meta:
        model = Group
        fields = ["id", "name"]


@extend_schema_view(list=describe(summary="All groups"))
class GroupsViewSet(ReadOnlyApiViewSet):
    """Groups."""

    scope = "groups"
    queryset = GroupQuerySet(Group)
    serializer_class = GroupSerializer
    filterset_fields = ["name"]
    ordering = ("name",)

    @describe(summary="Begin", request=None, responses=GroupSerializer)
    @action(detail=True, methods=["post"], body_required=False)
    def begin(self, request: Request, pk: str) -> Response:
        return Response({"scope": self.scope, "body": request.data})


class ThingSerializer(Serializer):
    name = CharField()


class ThingView(ApiView):
    """Answers with what the class attribute `answer` holds."""

    scope = "things"
    permission_classes = ()
    answer: Any = None

    @describe(request=ThingSerializer, responses=ThingSerializer)
    def post(self, request: Request) -> Response:
        return Response(self.answer)

    @describe(responses=ThingSerializer)
    def get(self, request: Request) -> Response:
        return Response(self.answer)


router = SimpleRouter()
router.register("groups", GroupsViewSet, basename="groups")
urlpatterns = [
    path("api/v1/", include(router.urls)),
    path("api/v1/things/", ThingView.as_view()),
    re_path("^api/v1/.*$", not_found_view),
]


@pytest.fixture(autouse=True)
def own_site(settings):
    settings.CSPLAYBOOKS = authentication(HeaderAuthentication)
    settings.ROOT_URLCONF = "tests.api.test_views"


def get(address: str, caller: str = "Token groups:read") -> Any:
    return Client().get(address, HTTP_AUTHORIZATION=caller)


@pytest.fixture
def groups(db):
    return {name: Group.objects.create(name=name).pk for name in ("a", "b", "ab", "c")}


@pytest.mark.parametrize(
    ("caller", "names"), [("Token groups:read", ["a", "ab"]), ("Person auth.view_group", ["ab", "b"])]
)
def test_everybody_sees_their_own_rows_only(groups, caller, names):
    answer = body_of(get("/api/v1/groups/", caller))
    assert [row["name"] for row in answer["results"]] == names
    assert (answer["next"], answer["previous"]) == (None, None)
    for name, pk in groups.items():
        response = get(f"/api/v1/groups/{pk}/", caller)
        if name in names:
            assert body_of(response)["name"] == name
        else:
            problem_of(response, 404, "not_found")


@pytest.mark.parametrize("pk", ["0", "x", "9" * 40, "%00", "-1", "1.5"])
def test_a_row_that_cannot_be_is_not_found(groups, pk):
    problem_of(get(f"/api/v1/groups/{pk}/"), 404, "not_found")


def test_rows_are_read_anew_for_each_request(groups):
    assert len(body_of(get("/api/v1/groups/"))["results"]) == 2
    Group.objects.create(name="aa")
    assert len(body_of(get("/api/v1/groups/"))["results"]) == 3


def test_a_list_costs_one_query(groups, django_assert_num_queries):
    with django_assert_num_queries(1):
        get("/api/v1/groups/?name=ab")


def test_lists_are_read_only(groups):
    response = Client().post(
        "/api/v1/groups/",
        {"name": "x"},
        content_type="application/json",
        HTTP_AUTHORIZATION="Token groups:write",
    )
    problem_of(response, 405, "method_not_allowed")


@pytest.mark.parametrize(("body", "read"), [("", {}), ('{"note": "now"}', {"note": "now"})])
def test_an_act_on_a_row_may_come_without_a_body(body, read):
    response = Client().post(
        "/api/v1/groups/1/begin/",
        body,
        content_type="application/json",
        HTTP_AUTHORIZATION="Token groups:write",
    )
    assert body_of(response) == {"scope": "groups", "body": read}


def answering(answer: Any, **headers: Any) -> Any:
    return ThingView.as_view(answer=answer)(APIRequestFactory().get("/", **headers))


@pytest.mark.parametrize(
    "answer",
    [
        float("nan"),
        [float("inf")],
        {"a": -float("inf")},
        Decimal("NaN"),
        {"a": Decimal("Infinity")},
        object(),
        3 + 1j,
    ],
    ids=["nan", "inf in a list", "-inf in a dict", "Decimal nan", "Decimal inf", "object", "complex"],
)
def test_what_is_no_json_is_not_written(answer, caplog):
    heard = []

    def listen(request: Any, **kwargs: Any) -> None:
        heard.append(request)

    got_request_exception.connect(listen)
    with caplog.at_level(logging.ERROR, logger="csplaybooks.api"):
        document = problem_of(answering(answer).render(), 500, "internal_error")
    got_request_exception.disconnect(listen)
    assert document["title"] == "Internal Server Error"
    assert len(heard) == len(caplog.records) == 1


@pytest.mark.django_db
def test_an_answer_that_cannot_be_written_is_a_500_at_the_client_too(monkeypatch):
    monkeypatch.setattr(ThingView, "answer", float("nan"))
    response = Client(raise_request_exception=False).get("/api/v1/things/")
    problem_of(response, 500, "internal_error")


def test_answers_are_compact_ascii():
    response = answering({"name": "Zoë\ud800", "amount": Decimal("1.50"), "of": [1.5, None]}).render()
    assert response.content == b'{"name":"Zo\\u00eb\\ud800","amount":"1.50","of":[1.5,null]}'
    assert response["Content-Type"] == "application/json"


def test_answers_are_json_to_browsers_too():
    response = answering({}, HTTP_ACCEPT="text/html,application/xhtml+xml,*/*;q=0.8")
    assert response.render()["Content-Type"] == "application/json"


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
@override_settings(CSPLAYBOOKS={"AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"]})
def test_a_form_is_refused_before_a_session_would_read_it(content_type):
    factory: Any = APIRequestFactory(enforce_csrf_checks=True)
    request = factory.generic("POST", "/", b"--x", content_type=content_type)
    request.user = Person()
    problem_of(ThingView.as_view()(request), 415, "unsupported_media_type")
    assert not hasattr(request, "_post")


@override_settings(CSPLAYBOOKS={"AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"]})
def test_sessions_need_their_csrf_token():
    factory: Any = APIRequestFactory(enforce_csrf_checks=True)
    request = factory.post("/", {}, format="json")
    request.user = Person()
    assert "CSRF" in problem_of(ThingView.as_view()(request), 403, "permission_denied")["message"]


@override_settings(CSPLAYBOOKS=authentication())
def test_the_schema_is_made_without_warnings():
    GENERATOR_STATS.reset()
    schema = SchemaGenerator(urlconf="tests.api.test_views").get_schema(request=None, public=True)
    assert not list(GENERATOR_STATS._warn_cache)
    assert not list(GENERATOR_STATS._error_cache)
    assert set(schema["paths"]) == {
        "/api/v1/groups/",
        "/api/v1/groups/{id}/",
        "/api/v1/groups/{id}/begin/",
        "/api/v1/things/",
    }
    assert schema["paths"]["/api/v1/groups/{id}/begin/"]["post"]["summary"] == "Begin"
    listed = schema["paths"]["/api/v1/groups/"]["get"]
    assert listed["summary"] == "All groups"
    assert {parameter["name"] for parameter in listed["parameters"]} == {"name", "cursor", "page_size"}
    page = schema["components"]["schemas"]["PaginatedGroupList"]
    assert set(page["required"]) == {"next", "previous", "results"}
    assert set(schema["paths"]["/api/v1/things/"]["post"]["requestBody"]["content"]) == {"application/json"}


# A host that has set everything of REST framework's, and everything to its own taste.
HOSTILE = """
import sys
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x",
    ALLOWED_HOSTS=["testserver"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    ROOT_URLCONF="tests.api.test_views",
    CSPLAYBOOKS={"AUTHENTICATION_CLASSES": ["tests.api.doubles.HeaderAuthentication"]},
    REST_FRAMEWORK={
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.BrowsableAPIRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FormParser"],
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
        "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle"],
        "DEFAULT_THROTTLE_RATES": {"anon": "1/day"},
        "DEFAULT_CONTENT_NEGOTIATION_CLASS": "nowhere.Negotiation",
        "DEFAULT_METADATA_CLASS": "nowhere.Metadata",
        "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
        "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
        "DEFAULT_FILTER_BACKENDS": ["rest_framework.filters.OrderingFilter"],
        "DEFAULT_SCHEMA_CLASS": "rest_framework.schemas.openapi.AutoSchema",
        "EXCEPTION_HANDLER": "nowhere.handler",
        "URL_FORMAT_OVERRIDE": "shape",
        "FORMAT_SUFFIX_KWARG": "pk",
        "ORDERING_PARAM": "sort",
        "SEARCH_PARAM": "q",
        "PAGE_SIZE": 1,
        "UNAUTHENTICATED_USER": None,
        "STRICT_JSON": False,
        "COMPACT_JSON": False,
        "UNICODE_JSON": True,
        "ALLOWED_VERSIONS": ["9"],
        "NON_FIELD_ERRORS_KEY": "whole",
    },
)
# The classes that are nowhere would fail at REST framework's own import: let the host have made them.
import types
nowhere = types.ModuleType("nowhere")
nowhere.Negotiation = nowhere.Metadata = type("Wrong", (), {"__init__": lambda self: 1 / 0})
nowhere.handler = lambda *args: 1 / 0
sys.modules["nowhere"] = nowhere
django.setup()

from django.test import Client
from tests.api.test_views import ThingView
from tests.api.doubles import problem_of
from rest_framework.exceptions import ValidationError

client = Client(raise_request_exception=False)
reader = {"HTTP_AUTHORIZATION": "Token groups:read"}
problem_of(client.get("/api/v1/groups/"), 401, "not_authenticated")
problem_of(client.get("/api/v1/groups/"), 401, "not_authenticated")
problem_of(client.get("/api/v1/groups/", HTTP_AUTHORIZATION="Token x"), 403, "missing_scope")
problem_of(client.get("/api/v1/groups/?page=2", **reader), 400, "unknown_filter")
problem_of(client.get("/api/v1/groups/?shape=api", **reader), 400, "unknown_filter")
problem_of(client.get("/api/v1/things/?format=xml"), 406, "not_acceptable")
problem_of(client.get("/api/v1/nothing/"), 404, "not_found")
problem_of(client.options("/api/v1/things/"), 405, "method_not_allowed")
problem_of(client.post("/api/v1/things/", {"a": 1}), 415, "unsupported_media_type")
ThingView.answer = {"name": "\\u00e4", "n": 1}
answer = client.post("/api/v1/things/", {"a": 1}, content_type="application/json")
assert (answer.status_code, answer.content) == (200, b'{"name":"\\\\u00e4","n":1}'), answer.content
ThingView.answer = float("nan")
problem_of(client.get("/api/v1/things/"), 500, "internal_error")
ThingView.get = lambda self, request: (_ for _ in ()).throw(ValidationError({"whole": ["No."]}))
assert problem_of(client.get("/api/v1/things/"), 400, "invalid")["errors"][0]["pointer"] == ""
print("nothing of the host's mattered")
"""


def test_the_hosts_settings_do_not_matter():
    checkout = Path(csplaybooks.__file__).parent.parent
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", HOSTILE],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "nothing of the host's mattered\n", done.stderr[-3000:]


def test_every_policy_is_set_here():
    """REST framework reads a default for each of these; none may be left to it."""
    view = vars(ReadOnlyApiViewSet.__mro__[1])
    for name in dir(api_settings) + list(api_settings.defaults):
        if name.startswith("DEFAULT_") and name.endswith(("_CLASS", "_CLASSES", "_BACKENDS")):
            attribute = name.removeprefix("DEFAULT_").lower()
            assert {"schema_class": "schema"}.get(attribute, attribute) in view, name
    assert {"settings", "get_exception_handler", "get_authenticators"} <= set(view)
