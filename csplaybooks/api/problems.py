"""Errors of the API as problem documents (RFC 9457, `application/problem+json`).

Every error body has these members:

| member | what it holds |
| --- | --- |
| `type` | always `about:blank`: the problem is told apart by `code` |
| `title` | the phrase of the HTTP status, such as "Bad Request" |
| `status` | the HTTP status |
| `code` | what went wrong, a stable word for programs, such as `unknown_filter` |
| `message`, `detail` | the same sentence for people, under our name and under the RFC's |
| `request_id` | only where the site gives requests ids (`RequestIdMiddleware`) and the fault is ours (5xx): quote it |
| `errors` | only where single values are wrong: a list of `pointer`, `field`, `code`, `message` |

A problem may have members of its own beside these, such as `possible` of an act that is not.

`pointer` is a JSON pointer (RFC 6901) into the request's body, or to a query parameter as if the query were
an object (`/page_size`); the empty pointer means the whole. `field` is the same way in words people read,
joined by dots (`findings.0.product`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.core import exceptions as django_exceptions
from django.core.signals import got_request_exception
from django.db import IntegrityError, InterfaceError, OperationalError
from django.db.models import ProtectedError, RestrictedError
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions
from rest_framework.fields import get_error_detail
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import set_rollback

from csplaybooks.logs import current_request_id

PROBLEM_CONTENT_TYPE = "application/problem+json"

logger = logging.getLogger("csplaybooks.api")

# What a sender wrote may be echoed in a message; more of it than this helps nobody.
_LONGEST_TEXT = 1000

# Python before 3.13 has the phrases of an older RFC; a title should not tell which Python runs.
_RENAMED_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}

Path = tuple[str | int, ...]


def plain_text(value: object) -> str:
    """`value` as text that every JSON reader takes: no lone surrogates, no NUL, of bounded length."""
    text = str(value)
    if len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT] + "…"
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def json_pointer(path: Iterable[str | int]) -> str:
    """The JSON pointer (RFC 6901) for a way of keys and indexes; empty for the whole document."""
    return "".join("/" + plain_text(part).replace("~", "~0").replace("/", "~1") for part in path)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong value: the way to it in the body (or a query parameter's name), a code and a sentence."""

    path: Path
    code: str
    message: str

    @property
    def field(self) -> str:
        """The way in words, joined by dots."""
        return ".".join(plain_text(part) for part in self.path)

    @property
    def sentence(self) -> str:
        """The message, after the name of the field where there is one."""
        return f"{self.field}: {self.message}" if self.path else self.message

    def as_document(self) -> dict[str, str]:
        """The error as it stands in a problem document."""
        return {
            "pointer": json_pointer(self.path),
            "field": self.field,
            "code": self.code,
            "message": plain_text(self.message),
        }


class Problem(exceptions.APIException):
    """An error to be answered as a problem document, with its own status, code, message and field errors.

    `members` stand in the document beside these, under names of their own.
    """

    def __init__(
        self,
        *,
        status: int,
        code: str,
        message: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail=message, code=code)
        self.status_code = status
        self.code = code
        self.message = message
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})


def problem_document(*, status: int, code: str, message: str, errors: Sequence[FieldError] = ()) -> dict[str, Any]:
    """The body of an error. Its members are told in the module's docstring."""
    text = plain_text(message)
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": _title(status),
        "status": status,
        "detail": text,
        "code": code,
        "message": text,
    }
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and (request_id := current_request_id()):
        # By it those who run the site find what happened.
        document["request_id"] = request_id
    if errors:
        document["errors"] = [error.as_document() for error in errors]
    return document


def problem_handler(exc: Exception, context: Mapping[str, Any]) -> Response:
    """Answer any exception of a view as a problem document. REST framework's exception handler of our views.

    `context` holds the `request` and `view`. Under ATOMIC_REQUESTS the request's transaction is rolled back,
    as REST framework's own handler does. Faults of ours are logged and reported through Django's
    `got_request_exception`, as if they had reached Django; the answer tells nothing of what is inside.
    """
    problem = as_problem(exc)
    # Without this an answer counts as success, and half of the work would be committed.
    set_rollback()
    if problem.status_code >= 500 and not isinstance(exc, exceptions.APIException):
        report_fault(exc, context)
    elif isinstance(exc, IntegrityError):
        # The sender's conflict perhaps, but a check of ours should have found it first.
        logger.warning("A database constraint refused a request.", exc_info=exc)
    headers = dict(problem.headers)
    if problem.status_code == HTTPStatus.UNAUTHORIZED and "WWW-Authenticate" not in headers:
        headers["WWW-Authenticate"] = context["view"].get_authenticate_header(context["request"])
    return Response(
        problem_document(status=problem.status_code, code=problem.code, message=problem.message, errors=problem.errors)
        | problem.members,
        status=problem.status_code,
        headers=headers,
        content_type=PROBLEM_CONTENT_TYPE,
    )


def report_fault(exc: Exception, context: Mapping[str, Any]) -> None:
    """Log a fault of ours and tell those who listen for Django's unhandled exceptions."""
    request = context.get("request")
    # Error trackers know Django's request, not REST framework's cover around it.
    django_request = getattr(request, "_request", request)
    logger.error("The API met an unexpected exception.", exc_info=exc, extra={"request": django_request})
    got_request_exception.send(sender=None, request=django_request)


def as_problem(exc: Exception) -> Problem:
    """The problem that answers an exception; what nobody foresaw is a 500 that tells nothing."""
    match exc:
        case Problem():
            return exc
        case exceptions.APIException():
            return _from_api_exception(exc)
        case Http404():
            # Not the exception's own words: they name our classes.
            return Problem(status=404, code="not_found", message="Nothing was found here.")
        case django_exceptions.PermissionDenied():
            return Problem(status=403, code="permission_denied", message="You may not do this.")
        case django_exceptions.ValidationError(code="conflict"):
            # Of an act that somebody else was first with; telling it by its code, as acts live in the rooms.
            return Problem(status=409, code="conflict", message=" ".join(exc.messages))
        case django_exceptions.ValidationError():
            return _from_validation(get_error_detail(exc))
        case django_exceptions.RequestDataTooBig():
            return Problem(status=413, code="body_too_large", message="The body is too large.")
        case django_exceptions.BadRequest() | django_exceptions.SuspiciousOperation() | UnreadablePostError():
            return Problem(status=400, code="bad_request", message="The request cannot be read.")
        case ProtectedError() | RestrictedError():
            return Problem(
                status=409,
                code="still_referred_to",
                message="Other rows refer to this; it cannot be removed.",
            )
        case IntegrityError():
            return Problem(status=409, code="conflict", message="This contradicts what is stored; nothing was changed.")
        case OperationalError() | InterfaceError():
            # Locked, gone, or two transactions in each other's way: the same request may well succeed next
            # time.
            return Problem(
                status=503,
                code="database_unavailable",
                message="The database could not take this now; send it again later.",
                headers={"Retry-After": "5"},
            )
    return Problem(status=500, code="internal_error", message="Something went wrong here; it has been logged.")


def _from_api_exception(exc: exceptions.APIException) -> Problem:
    """The problem that tells a REST framework exception."""
    headers = {}
    if auth_header := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = auth_header
    if wait := getattr(exc, "wait", None):
        headers["Retry-After"] = str(math.ceil(wait))
    if isinstance(exc.detail, Mapping | list):
        return _from_validation(exc.detail, status=exc.status_code, headers=headers)
    return Problem(
        status=exc.status_code,
        code=str(getattr(exc.detail, "code", None) or exc.default_code),
        message=_how_to_sign_in(exc, auth_header) or str(exc.detail),
        headers=headers,
    )


def _how_to_sign_in(exc: exceptions.APIException, auth_header: str | None) -> str:
    """What somebody without credentials can do about it; empty for other errors.

    Credentials of a scheme that nobody here reads count as none, so the scheme that is asked for is named.
    """
    if not isinstance(exc, exceptions.NotAuthenticated) or not auth_header:
        return ""
    scheme = auth_header.partition(" ")[0]
    return f'The request does not say who sends it; send the header "Authorization: {scheme} VALUE".'


def _from_validation(detail: Any, status: int = 400, headers: Mapping[str, str] | None = None) -> Problem:
    """The problem that tells REST framework's nested error details."""
    errors = list(_flatten(detail))
    if len(errors) == 1:
        message = errors[0].sentence
    else:
        fields = list(dict.fromkeys(error.field for error in errors if error.path))
        shown = ", ".join(fields[:10]) + (" and others" if len(fields) > 10 else "")
        message = f"The request holds {len(errors)} errors" + (f", in: {shown}." if shown else ".")
    return Problem(status=status, code="invalid", message=message, errors=errors, headers=headers)


def _flatten(detail: Any, path: Path = ()) -> Iterator[FieldError]:
    """Walk nested error details: dicts by key, lists of dicts by index, messages as the leaves."""
    if isinstance(detail, Mapping):
        for key, inner in detail.items():
            # Errors of the whole object stand under names of their own, which are no fields.
            whole = key in (api_settings.NON_FIELD_ERRORS_KEY, django_exceptions.NON_FIELD_ERRORS)
            yield from _flatten(inner, path if whole else (*path, key))
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list | tuple)
            yield from _flatten(inner, (*path, index) if nested else path)
    else:
        yield FieldError(path, str(getattr(detail, "code", None) or "invalid"), str(detail))


def _title(status: int) -> str:
    """The phrase of an HTTP status."""
    if status in _RENAMED_TITLES:
        return _RENAMED_TITLES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
