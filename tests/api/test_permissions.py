"""Scopes for tokens, Django's permissions for people, 401 for nobody."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from rest_framework.decorators import action
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.test import APIRequestFactory
from rest_framework.viewsets import GenericViewSet

from csplaybooks.api.permissions import ScopedToken, ScopePermission
from csplaybooks.api.views import ApiMixin, ApiView
from tests.api.doubles import HeaderAuthentication, Person, Token, authentication, problem_of


class PlaysView(ApiMixin, GenericViewSet):
    """A view set that does nothing, under the permission of auth.Group."""

    scope = "plays"
    queryset = Group.objects.all()

    def list(self, request: Request, **kwargs: Any) -> Response:
        return Response({"viewer": type(self.viewer).__name__})

    retrieve = list

    def create(self, request: Request, **kwargs: Any) -> Response:
        return Response({})

    partial_update = destroy = create

    @action(detail=True, body_required=False)
    def start(self, request: Request, **kwargs: Any) -> Response:
        return Response({})


on_list = PlaysView.as_view({"get": "list", "post": "create"}, detail=False)
on_row = PlaysView.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}, detail=True)
on_act = PlaysView.as_view({"post": "start"}, detail=True, body_required=False)

pytestmark = pytest.mark.usefixtures("own_authentication")


@pytest.fixture
def own_authentication(settings):
    settings.CSPLAYBOOKS = authentication(HeaderAuthentication)


def call(view: Any, method: str, caller: str = "") -> Any:
    headers = {"HTTP_AUTHORIZATION": caller} if caller else {}
    body = {} if method in ("get", "head", "options") else {"data": {}, "format": "json"}
    return view(getattr(APIRequestFactory(), method)("/", **body, **headers), pk=1)


DOORS = [
    (on_list, "get", "plays:read", "auth.view_group"),
    (on_list, "head", "plays:read", "auth.view_group"),
    (on_row, "get", "plays:read", "auth.view_group"),
    (on_list, "post", "plays:write", "auth.add_group"),
    (on_row, "patch", "plays:write", "auth.change_group"),
    (on_row, "delete", "plays:write", "auth.delete_group"),
    (on_act, "post", "plays:write", "auth.change_group"),
]
ALL_SCOPES = {"plays:read", "plays:write", "accounts:read", "accounts:write", "plays"}
ALL_PERMISSIONS = {f"auth.{verb}_group" for verb in ("view", "add", "change", "delete")} | {"auth.view_user"}


@pytest.mark.parametrize(("view", "method", "scope", "permission"), DOORS)
def test_a_token_needs_exactly_its_scope(view, method, scope, permission):
    assert call(view, method, f"Token {scope}").status_code == 200
    response = call(view, method, f"Token {','.join(sorted(ALL_SCOPES - {scope}))}")
    assert repr(scope) in problem_of(response, 403, "missing_scope")["message"]


@pytest.mark.parametrize(("view", "method", "scope", "permission"), DOORS)
def test_a_person_needs_exactly_the_permission(view, method, scope, permission):
    assert call(view, method, f"Person {permission}").status_code == 200
    response = call(view, method, f"Person {','.join(sorted(ALL_PERMISSIONS - {permission}))}")
    assert repr(permission) in problem_of(response, 403, "missing_permission")["message"]


@pytest.mark.parametrize(("view", "method", "scope", "permission"), DOORS)
def test_nobody_is_asked_who_they_are(view, method, scope, permission):
    response = call(view, method)
    problem_of(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"] == 'Token realm="tests"'
    problem_of(call(view, method, "Wrong x"), 401, "authentication_failed")


def test_a_host_without_anonymous_users(monkeypatch):
    monkeypatch.setattr(api_settings, "UNAUTHENTICATED_USER", None)
    problem_of(call(on_list, "get"), 401, "not_authenticated")


def test_an_inactive_user_is_refused():
    problem_of(call(on_list, "get", "Sleeper auth.view_group"), 403, "inactive_user")


@pytest.mark.parametrize("caller", ["", "Token plays:read", "Person auth.view_group", "Person"])
@pytest.mark.parametrize("method", ["put", "delete", "options", "trace"])
def test_what_does_not_exist_is_405_for_everybody(method, caller):
    response = on_list(APIRequestFactory().generic(method, "/", HTTP_AUTHORIZATION=caller))
    problem_of(response, 405, "method_not_allowed")
    assert response["Allow"] == "GET, POST, HEAD"


@pytest.mark.parametrize(("caller", "viewer"), [("Token plays:read", "Token"), ("Person auth.view_group", "Person")])
def test_the_viewer_is_the_token_or_the_person(caller, viewer):
    assert call(on_list, "get", caller).data == {"viewer": viewer}


def test_a_view_without_a_scope_lets_nobody_in():
    class Scopeless(ApiView):
        def get(self, request: Request) -> Response:
            return Response({})

    with pytest.raises(ImproperlyConfigured, match="Scopeless names no scope"):
        permit(Scopeless(), Person(), Token(frozenset({"None:read"})))


def test_a_view_without_a_model_lets_no_person_in():
    class Modelless(ApiView):
        scope = "plays"

    with pytest.raises(ImproperlyConfigured, match="permission_model"):
        permit(Modelless(), Person(), None)
    assert permit(Modelless(), Person(), Token(frozenset({"plays:read"})))


def test_the_model_may_be_named_without_a_queryset():
    class Named(ApiView):
        scope = "plays"
        permission_model = Group

    assert permit(Named(), Person(frozenset({"auth.view_group"})), None)


def permit(view: Any, user: Any, auth: Any) -> bool:
    request = Request(APIRequestFactory().get("/"))
    request.user = user
    request.auth = auth
    permission: BasePermission = ScopePermission()
    return permission.has_permission(request, view)


def test_the_authentication_classes_are_read_for_each_request():
    assert call(on_list, "get", "Token plays:read").status_code == 200
    with override_settings(CSPLAYBOOKS=authentication()):
        problem_of(call(on_list, "get", "Token plays:read"), 401, "not_authenticated")


def test_tokens_are_told_by_what_they_can():
    assert isinstance(Token(), ScopedToken)
    assert not isinstance(Person(), ScopedToken)
    assert not isinstance(None, ScopedToken)
