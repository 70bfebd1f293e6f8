"""Callers without a database: what `request.user` and `request.auth` look like to the API's bases."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request


@dataclass
class Person:
    """A user with the permissions named."""

    permissions: frozenset[str] = frozenset()
    is_active: bool = True
    is_authenticated: bool = True

    def has_perm(self, permission: str) -> bool:
        return permission in self.permissions


@dataclass
class Token:
    """A token with the scopes named."""

    scopes: frozenset[str] = field(default_factory=frozenset)

    def has_scope(self, scope: str) -> bool:
        return scope in self.scopes


class HeaderAuthentication(BaseAuthentication):
    """`Token plays:read,plays:write` is a token with these scopes, `Person app.view_x` a user."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        scheme, _, value = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        names = frozenset(value.split(",")) if value else frozenset()
        match scheme:
            case "Token":
                return Person(), Token(names)
            case "Person":
                return Person(names), None
            case "Sleeper":
                return Person(names, is_active=False), None
            case "":
                return None
        raise AuthenticationFailed("Unknown token.")

    def authenticate_header(self, request: Request) -> str:
        return 'Token realm="tests"'


class SilentAuthentication(BaseAuthentication):
    """An authentication without a challenge, as that of sessions."""

    def authenticate(self, request: Request) -> None:
        return None


def authentication(*classes: type[BaseAuthentication]) -> dict[str, Any]:
    """A `CSPLAYBOOKS` with these authentication classes."""
    return {"AUTHENTICATION_CLASSES": [f"{each.__module__}.{each.__qualname__}" for each in classes]}


def body_of(response: Any) -> Any:
    """The JSON of a response, which must be strict JSON."""

    def refuse(literal: str) -> Any:
        raise AssertionError(f"{literal} in an answer")

    return json.loads(response.render().content, parse_constant=refuse)


def problem_of(response: Any, status: int, code: str) -> dict[str, Any]:
    """The problem document in a response, which must be whole and of this status and code."""
    document: dict[str, Any] = body_of(response)
    assert (response.status_code, document["code"]) == (status, code), document
    assert response["Content-Type"] == "application/problem+json"
    assert document["type"] == "about:blank"
    assert document["status"] == status
    assert document["title"]
    assert document["message"] == document["detail"] != ""
    return document
