"""Health, for load balancers, supervisors and monitors: `/health/live` and `/health/ready`.

Both answer `{"status": "ok"}` or `{"status": "red"}` to anybody, and nothing more. Who may know more (a token with the
scope `health:read`, or a person who sees everything) gets the findings of the doctor with it, as of this moment; what
everybody is told may be a second old, so that whoever asks without end costs the database little.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import Error, connections, transaction
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from csplaybooks.accounts.visibility import scope_of
from csplaybooks.api.permissions import ScopedToken
from csplaybooks.api.problems import FieldError, Problem
from csplaybooks.api.views import ApiView, JSONNegotiation
from csplaybooks.playbooks.doctor import Level, Report, examine
from csplaybooks.playbooks.doctor.examination import SYSTEM, WEB
from csplaybooks.playbooks.doctor.findings import Question

SCOPE = "health:read"

#: For how long each process tells everybody what it has found out, in seconds.
KEPT_SECONDS = 1.0


class Kept:
    """The last report on some questions, for callers without a token: made by one thread while the others wait."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._questions = questions
        self._lock = threading.Lock()
        self._last: tuple[float, Report] | None = None

    def report(self) -> Report:
        """A report that was finished at most `KEPT_SECONDS` ago."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] >= KEPT_SECONDS:
                report = examine(now=timezone.now(), questions=self._questions)
                self._last = (time.monotonic(), report)
            return self._last[1]


_kept_web = Kept(WEB)
_kept_system = Kept(SYSTEM)


class AlwaysJSON(JSONNegotiation):
    """JSON, whatever the caller would like: a probe that asks for text wants the status."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """The first renderer."""
        return renderers[0], renderers[0].media_type


class HealthView(ApiView):
    """What both have in common: open to anybody, read only, never kept by anybody on the way."""

    http_method_names = ["get", "head"]
    permission_classes = ()
    content_negotiation_class = AlwaysJSON
    # Not part of the API and its schema.
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """405 before anything else is said of a request that brings a body."""
        if request.method not in self.allowed_methods:
            self.http_method_not_allowed(request)
        super().initial(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> None:
        """Later, and only where it matters: who knocks is asked of the database, which may be what is down."""

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Response:
        """Every answer, errors among them, is for this moment only."""
        final: Response = super().finalize_response(request, response, *args, **kwargs)
        final.headers["Cache-Control"] = "no-store"
        return final


class LiveView(HealthView):
    """Whether this process can answer; asks no database."""

    def get_authenticators(self) -> list[Any]:
        """None: everybody gets the same answer."""
        return []

    def get(self, request: Request) -> Response:
        """Always the same."""
        return Response({"status": Level.OK.value})


class ReadyView(HealthView):
    """Whether the system works: 200 or 503.

    `?only=web` asks for what one web process needs (database and migrations): that is for load balancers. Without it,
    clusters, broker and all that waits are looked at as well, for whoever watches the system.
    """

    query_parameters = ("only",)

    def get(self, request: Request) -> Response:
        """The status, with the findings for whoever may know them."""
        only = request.query_params.getlist("only")
        if only not in ([], ["web"]):
            message = "only can be web, or be left out."
            raise Problem(
                status=HTTPStatus.BAD_REQUEST,
                code="invalid_value",
                message=message,
                errors=[FieldError(("only",), "invalid_value", message)],
            )
        try:
            trusted = anew = self._is_trusted(request)
        except Error:
            # Nobody can be known now, and the status says why: not one of before.
            trusted, anew = False, True
        if anew:
            report = examine(now=timezone.now(), questions=WEB if only else SYSTEM)
        else:
            report = (_kept_web if only else _kept_system).report()
        red = report.level == Level.RED
        body = report.as_json() if trusted else {}
        # A warning is nothing that anybody need be woken for.
        body["status"] = (Level.RED if red else Level.OK).value
        return Response(body, status=HTTPStatus.SERVICE_UNAVAILABLE if red else HTTPStatus.OK)

    def _is_trusted(self, request: Request) -> bool:
        """Whether the caller may read the findings. Raises what is wrong with a token; people just get less."""
        user, token = request.user, request.auth
        if isinstance(token, ScopedToken):
            if not token.has_scope(SCOPE):
                raise Problem(
                    status=HTTPStatus.FORBIDDEN,
                    code="missing_scope",
                    message=f"The token lacks the scope {SCOPE!r}; without any token the status is told.",
                )
            if not scope_of(token).everything:
                raise Problem(
                    status=HTTPStatus.FORBIDDEN,
                    code="limited_token",
                    message="The token is limited to accounts; without any token the status is told.",
                )
            return True
        return scope_of(user).everything


def _open(view: Callable[..., Any]) -> Callable[..., Any]:
    """A view outside the host's log-in wall, and outside transactions per request: to begin one needs the database."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return login_not_required(view)


live_view = _open(LiveView.as_view())
ready_view = _open(ReadyView.as_view())
