"""Every request has an id, and one line of the log."""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, modify_settings

from csplaybooks.accounts.factories import ApiTokenFactory
from csplaybooks.api.problems import problem_document
from csplaybooks.logs import current_request_id
from csplaybooks.middleware import RequestIdMiddleware
from csplaybooks.playbooks.api import PlayViewSet

logger = logging.getLogger("mysite")


def answering(request: HttpRequest, get_response: Any = None) -> HttpResponse:
    return RequestIdMiddleware(get_response or (lambda request: HttpResponse()))(request)


def asking(request_id: str | None = None, path: str = "/") -> HttpRequest:
    headers = {} if request_id is None else {"X-Request-ID": request_id}
    return RequestFactory().get(path, headers=headers)


@pytest.mark.parametrize("given", ["a", "0193-abcdef", "7F.b_c-d", "a" * 64, "8b0c4b0e-3c67-4f0e-9c4e-2f9c7f1f2b11"])
def test_a_well_formed_id_is_kept(given):
    assert answering(asking(given))["X-Request-ID"] == given


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "a" * 65,
        "two words",
        " a",
        "a\n",
        "a\r\nSet-Cookie: a=b",
        "a\nERROR forged: line",
        "a\x00",
        "ä",
        "１２",  # noqa: RUF001 - digits, but not those of ASCII
        "\ud800",
        '{"a": 1}',
        "<script>",
        "a,b",
    ],
)
def test_any_other_is_replaced(given):
    request = asking()
    if given is not None:
        # As a server would hand it on that lets everything through.
        request.META["HTTP_X_REQUEST_ID"] = given
    assert re.fullmatch("[0-9a-f]{32}", answering(request)["X-Request-ID"])


def test_each_request_has_its_own():
    assert answering(asking())["X-Request-ID"] != answering(asking())["X-Request-ID"]


def test_it_is_there_while_the_request_is_answered_and_gone_afterwards():
    seen = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(current_request_id())
        return HttpResponse()

    answering(asking("abc"), view)
    assert seen == ["abc"]
    assert current_request_id() is None


def test_it_is_gone_after_an_error_too():
    def view(request: HttpRequest) -> HttpResponse:
        raise PermissionDenied

    with pytest.raises(PermissionDenied):
        answering(asking("abc"), view)
    assert current_request_id() is None


def test_requests_at_once_do_not_mix(written):
    together = threading.Barrier(8, timeout=30)

    def view(request: HttpRequest) -> HttpResponse:
        # All are in the middle of it.
        together.wait()
        logger.info("answering %s", request.path)
        together.wait()
        return HttpResponse()

    answers: dict[str, str] = {}

    def ask(name: str) -> None:
        answers[name] = answering(asking(name, f"/{name}"), view)["X-Request-ID"]

    names = [f"request-{number}" for number in range(8)]
    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert answers == {name: name for name in names}
    assert {(line["message"], line["request_id"]) for line in written.of("mysite")} == {
        (f"answering /{name}", name) for name in names
    }


def test_the_line_of_a_request(written):
    answering(RequestFactory().post("/a/b/?token=secret", headers={"X-Request-ID": "abc"}))
    (line,) = written.of("csplaybooks.requests")
    milliseconds = line["milliseconds"]
    assert milliseconds >= 0
    assert line["message"] == f"POST /a/b/ 200 in {milliseconds} ms by -"
    assert (line["method"], line["path"], line["status"], line["user"]) == ("POST", "/a/b/", 200, "-")
    assert (line["level"], line["request_id"]) == ("INFO", "abc")


def test_a_path_cannot_forge_a_line(written):
    answering(asking(path="/a%0AERROR%20forged:%20line%1b[31m"))
    (line,) = written.of("csplaybooks.requests")
    assert line["path"] == "/a%0AERROR%20forged:%20line%1B%5B31m"


@pytest.mark.parametrize(
    ("path", "level"),
    [
        ("/health/live", "DEBUG"),
        ("/health/ready/", "DEBUG"),
        ("/expansion/health/live", "DEBUG"),
        ("/static/admin/css/base.css", "DEBUG"),
        ("/health/", "INFO"),
        ("/health/live/more", "INFO"),
        ("/admin/static/", "INFO"),
    ],
)
def test_what_would_flood_the_log_is_told_quietly(written, path, level):
    answering(asking(path=path))
    (line,) = written.of("csplaybooks.requests")
    assert line["level"] == level


@pytest.mark.django_db
def test_who_asked_is_told_by_number(written, client, django_assert_num_queries):
    user = get_user_model().objects.create_superuser("carla")
    token = ApiTokenFactory()
    client.get("/admin/login/")
    client.force_login(user)
    client.get("/admin/")
    Client().get("/api/v1/plays/", headers={"Authorization": f"Token {token.value}"})
    Client().get("/api/v1/plays/")
    with django_assert_num_queries(0):
        # A view that does not ask who it is: neither does the line.
        client.get("/")
    assert [line["user"] for line in written.of("csplaybooks.requests")] == [
        "-",
        f"user {user.pk}",
        f"token {token.pk}",
        "-",
        "-",
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/nowhere/", {}, 404),
        ("/api/v1/nowhere/", {}, 404),
        ("/api/v1/plays/", {}, 401),
        ("/static/nowhere.css", {}, 404),
        ("/admin/login/", {"Host": "elsewhere.example"}, 400),
    ],
)
def test_every_answer_carries_the_id(client, path, headers, status):
    response = client.get(path, headers={"X-Request-ID": "abc", **headers})
    assert (response.status_code, response["X-Request-ID"]) == (status, "abc")


@pytest.fixture
def broken(monkeypatch):
    """The list of plays meets an error that nobody foresaw."""

    def fail(self: Any, request: Any) -> None:
        raise ZeroDivisionError("the inside")

    monkeypatch.setattr(PlayViewSet, "list", fail)


@pytest.mark.django_db
@pytest.mark.usefixtures("broken")
def test_the_body_of_a_500_carries_the_id_and_the_log_tells_of_it(written):
    token = ApiTokenFactory()
    response = Client(raise_request_exception=False).get(
        "/api/v1/plays/", headers={"X-Request-ID": "abc", "Authorization": f"Token {token.value}"}
    )
    assert response.status_code == 500
    assert response.json()["request_id"] == "abc"
    (line,) = written.of("csplaybooks.api")
    assert (line["level"], line["request_id"]) == ("ERROR", "abc")
    assert "ZeroDivisionError: the inside" in line["exception"]
    # Django's own line comes when the middleware has done.
    (line,) = written.of("django.request")
    assert (line["message"], line["request_id"]) == ("Internal Server Error: /api/v1/plays/", "abc")


@pytest.mark.django_db
@pytest.mark.usefixtures("broken")
def test_without_the_middleware_the_api_works_as_well():
    token = ApiTokenFactory()
    with modify_settings(MIDDLEWARE={"remove": ["csplaybooks.middleware.RequestIdMiddleware"]}):
        client = Client(raise_request_exception=False)
        response = client.get("/api/v1/plays/", headers={"Authorization": f"Token {token.value}"})
    assert response.status_code == 500
    assert "request_id" not in response.json()
    assert "X-Request-ID" not in response


def test_only_faults_of_ours_need_to_be_quoted():
    bodies: dict[int, dict[str, Any]] = {}

    def view(request: HttpRequest) -> HttpResponse:
        for status in (400, 404, 500, 503):
            bodies[status] = problem_document(status=status, code="x", message="It is so.")
        return HttpResponse()

    answering(asking("abc"), view)
    assert {status: body.get("request_id") for status, body in bodies.items()} == {
        400: None,
        404: None,
        500: "abc",
        503: "abc",
    }
