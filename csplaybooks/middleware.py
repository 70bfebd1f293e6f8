"""Middleware of the stand-alone site. A host site needs none of it, and may take what it likes."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils.encoding import escape_uri_path
from django.utils.functional import LazyObject, empty

from csplaybooks import logs

request_logger = logging.getLogger("csplaybooks.requests")

HEADER = "Content-Security-Policy"
REQUEST_ID_HEADER = "X-Request-ID"

# What others use too (UUIDs, ULIDs, trace ids), and nothing that could pretend to be another line or field of a log.
_WELL_FORMED = re.compile("[A-Za-z0-9._-]{1,64}")
_HEALTH = re.compile("/health/(live|ready)/?$")

# Nothing from elsewhere, and no inline script or style. The last four are not covered by default-src.
POLICY = "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"


class ContentSecurityPolicyMiddleware:
    """Send one fixed content security policy with every response that does not carry its own.

    Written here because Django has one of its own only from 6.0 on, and the site behaves alike on 5.2.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer ``request`` with the header set."""
        response = self.get_response(request)
        response.headers.setdefault(HEADER, POLICY)
        return response


class RequestIdMiddleware:
    """Give every request an id, by which its log lines are found, and write one line for it. Goes first of all.

    A well-formed id in the request's `X-Request-ID` is kept, so that a proxy's or a client's log tells of the same;
    any other is replaced by one of our own. It is answered in the same header, and stands in the body of the API's
    500s. It is what a sender says it is, so nothing but logs may rest on it.

    The line (logger `csplaybooks.requests`) has the method, the path without its query, the status, the milliseconds,
    and who asked: `user 5` or `token 7` by number, `-` where nobody signed in or the view did not look. Health checks
    and static files are logged as DEBUG, all others as INFO.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer ``request`` with the header set."""
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _WELL_FORMED.fullmatch(given) else uuid.uuid4().hex
        setattr(request, logs.REQUEST_ATTRIBUTE, request_id)
        began = time.monotonic()
        with logs.answering_request(request_id):
            response = self.get_response(request)
            response.headers[REQUEST_ID_HEADER] = request_id
            _log_request(request, response.status_code, milliseconds=round((time.monotonic() - began) * 1000))
        return response


def _log_request(request: HttpRequest, status: int, *, milliseconds: int) -> None:
    # Percent-encoded again: a path may hold line breaks.
    path = escape_uri_path(request.path)
    fields = {
        "method": request.method,
        "path": path,
        "status": status,
        "milliseconds": milliseconds,
        "user": _who_asked(request),
    }
    request_logger.log(
        logging.DEBUG if _is_quiet(request.path) else logging.INFO,
        "%(method)s %(path)s %(status)d in %(milliseconds)d ms by %(user)s",
        fields,
        extra={"fields": fields},
    )


def _is_quiet(path: str) -> bool:
    static = settings.STATIC_URL
    return bool(_HEALTH.search(path)) or (bool(static) and static != "/" and path.startswith(static))


def _who_asked(request: HttpRequest) -> str:
    """Who asked, by number, as far as that is known by now: nothing is looked up for a log line."""
    token = getattr(request, "auth", None)
    if isinstance(token, Model):
        return f"token {token.pk}"
    user: Any = getattr(request, "user", None)
    if isinstance(user, LazyObject) and user._wrapped is empty:
        return logs.NONE
    number = getattr(user, "pk", None)
    return logs.NONE if number is None else f"user {number}"
