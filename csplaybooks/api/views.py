"""The bases of all views of the API.

They set every policy of REST framework themselves. The host's `REST_FRAMEWORK` settings are for its own
views: they are frozen into REST framework's classes at import, and its default permission lets everybody in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar

from django.db.models import QuerySet
from django.utils.module_loading import import_string
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAcceptable, NotFound, UnsupportedMediaType
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import DEFAULTS, IMPORT_STRINGS, APISettings
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.views import APIView
from rest_framework.viewsets import ReadOnlyModelViewSet

from csplaybooks.api.filters import FORMAT_PARAMETER, StrictFilterBackend, refuse_unknown_parameters
from csplaybooks.api.pagination import StableCursorPagination
from csplaybooks.api.parsers import CappedJSONParser
from csplaybooks.api.permissions import ScopePermission, viewer_of
from csplaybooks.api.problems import (
    PROBLEM_CONTENT_TYPE,
    Problem,
    plain_text,
    problem_document,
    problem_handler,
    report_fault,
)
from csplaybooks.conf import csplaybooks_settings

# REST framework's own defaults, whatever the host says. Not empty, or it would read the host's.
_OWN_REST_SETTINGS = APISettings({"URL_FORMAT_OVERRIDE": FORMAT_PARAMETER}, DEFAULTS, IMPORT_STRINGS)

F = TypeVar("F", bound=Callable[..., Any])

_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def _has_body(request: Request) -> bool:
    """Whether a body may come: by its Content-Length, or in chunks (see `_chunked_body`)."""
    if _chunked_body(request) is not None:
        return True
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0) != 0
    except ValueError:
        return False


def _chunked_body(request: Any) -> Any:
    """The body of a request that comes in chunks without a Content-Length, as a stream; None for any other.

    Django reads nothing without a Content-Length, because not every server ends such a stream. Those that do, as
    gunicorn, say so by `wsgi.input_terminated`; elsewhere the body counts as missing.
    """
    environ: Mapping[str, Any] = getattr(request, "environ", {})
    codings = environ.get("HTTP_TRANSFER_ENCODING", "").lower().split(",")
    if environ.get("CONTENT_LENGTH") or codings[-1].strip() != "chunked" or not environ.get("wsgi.input_terminated"):
        return None
    return environ["wsgi.input"]


class StrictEncoder(JSONEncoder):
    """JSON of dates, times and the like as REST framework writes them; a Decimal is an exact string."""

    def default(self, obj: Any) -> Any:
        """What stands in JSON for an object that JSON does not know."""
        if isinstance(obj, Decimal):
            # REST framework makes a float of it: no cent may be lost, and NaN not slip through as a word.
            if not obj.is_finite():
                raise ValueError("Out of range Decimal values are not JSON compliant.")
            return str(obj)
        return super().default(obj)


class StrictJSONRenderer(JSONRenderer):
    """JSON in ASCII, without NaN or Infinity. What cannot be written is answered as a 500 problem."""

    strict = True
    compact = True
    # Non-ASCII letters as escapes: then no text can fail to be encoded.
    ensure_ascii = True
    encoder_class = StrictEncoder

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The body of an answer."""
        try:
            body: bytes = super().render(data, accepted_media_type, renderer_context)
        except (TypeError, ValueError, RecursionError) as error:
            # Answers are rendered after the view, where no exception handler is: Django would answer in HTML.
            context = renderer_context or {}
            report_fault(error, context)
            if (response := context.get("response")) is not None:
                response.status_code = HTTPStatus.INTERNAL_SERVER_ERROR
                response["Content-Type"] = PROBLEM_CONTENT_TYPE
            return json.dumps(
                problem_document(
                    status=HTTPStatus.INTERNAL_SERVER_ERROR,
                    code="internal_error",
                    message="The answer could not be written; it has been logged.",
                )
            ).encode()
        return body


class JSONNegotiation(DefaultContentNegotiation):
    """Content negotiation by `Accept` or `?format=json`, by that name whatever the host calls it."""

    settings: Any = _OWN_REST_SETTINGS

    def filter_renderers(self, renderers: Iterable[BaseRenderer], format: str) -> list[BaseRenderer]:
        """The renderers of the format asked for in the address. Raises NotAcceptable (406) without any."""
        fitting = [renderer for renderer in renderers if renderer.format == format]
        if not fitting:
            raise NotAcceptable(available_renderers=list(renderers))
        return fitting


def describe(**kwargs: Any) -> Callable[[F], F]:
    """drf-spectacular's `extend_schema` for methods and views of ours; use it in place of that.

    `extend_schema` on a method starts from the host's DEFAULT_SCHEMA_CLASS, which knows nothing of it.
    """

    def decorate(target: F) -> F:
        if not isinstance(target, type):
            method: Any = target
            method.kwargs = {"schema": AutoSchema, **getattr(method, "kwargs", {})}
        decorated: F = extend_schema(**kwargs)(target)
        return decorated

    return decorate


class ApiMixin(APIView):
    """Every policy of a view of ours. Goes first among the bases, before REST framework's class.

    Views set `scope` (see `ScopePermission`); those that take bodies under caps of their own set
    `max_bytes_setting` and `max_depth_setting` (see `CappedJSONParser`); acts that need no body set
    `body_required = False`; query parameters beside filters and paging are named in `query_parameters`.
    """

    scope: str | None = None
    permission_model: Any = None
    max_bytes_setting = "API_MAX_BYTES"
    max_depth_setting = "API_MAX_DEPTH"
    body_required = True
    query_parameters: Sequence[str] = ()

    # No OPTIONS: the schema tells more. Preflights of other origins are the host's middleware's to answer.
    http_method_names: Any = ["get", "post", "put", "patch", "delete", "head"]
    # Empty, so that nothing but get_authenticators() counts.
    authentication_classes: Sequence[Any] = ()
    permission_classes: Sequence[Any] = (ScopePermission,)
    throttle_classes: Sequence[Any] = ()
    parser_classes: Sequence[Any] = (CappedJSONParser,)
    renderer_classes: Sequence[Any] = (StrictJSONRenderer,)
    content_negotiation_class: Any = JSONNegotiation
    metadata_class: Any = None
    versioning_class: Any = None
    pagination_class: Any = StableCursorPagination
    filter_backends: Sequence[Any] = (StrictFilterBackend,)
    settings: Any = _OWN_REST_SETTINGS
    schema: Any = AutoSchema()

    def get_authenticators(self) -> list[BaseAuthentication]:
        """The classes of the setting AUTHENTICATION_CLASSES, read for each request."""
        return [import_string(path)() for path in csplaybooks_settings.AUTHENTICATION_CLASSES]

    def get_authenticate_header(self, request: Any) -> str:
        """The challenge of a 401: of the first authentication that has one, else that of tokens.

        Never empty: REST framework would answer 403 instead of 401 then.
        """
        for authenticator in self.get_authenticators():
            if header := authenticator.authenticate_header(request):
                return header
        return "Token"

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        """REST framework's request, which finds a body in chunks too: under our caps, as any other."""
        made: Any = super().initialize_request(request, *args, **kwargs)
        if (body := _chunked_body(request)) is not None:
            made._stream = body
        # Any, because a private attribute is written above; it is a Request.
        return made  # type: ignore[no-any-return]

    def get_exception_handler(self) -> Callable[..., Response]:
        """Every error is a problem document."""
        return problem_handler

    def check_permissions(self, request: Request) -> None:
        """Permissions, and before them 405: no right to an act that does not exist can be missing."""
        if request.method not in self.allowed_methods:
            self.http_method_not_allowed(request)
        super().check_permissions(request)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """REST framework's checks before a method runs, and two of the body's.

        A body of a type that is not read here is refused first of all: for a session's CSRF token Django
        would read a whole form, under no cap of ours. A missing body is refused last: REST framework hands
        `{}` on for it and asks no parser.
        """
        has_body = _has_body(request)
        if has_body and self.get_content_negotiator().select_parser(request, self.get_parsers()) is None:
            raise UnsupportedMediaType(plain_text(request.content_type))
        super().initial(request, *args, **kwargs)
        if request.method in _METHODS_WITH_BODY and self.body_required and not has_body:
            raise Problem(
                status=400,
                code="empty_body",
                message="The request has no body (with a Content-Length); a JSON document is needed.",
            )

    @property
    def viewer(self) -> Any:
        """Whose rows the request may see: the token where there is one, else the user."""
        return viewer_of(self.request)


class ApiView(ApiMixin):
    """A single endpoint. Query parameters other than `format` and its `query_parameters` are refused."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """The checks of every view of ours, then that of the query parameters."""
        super().initial(request, *args, **kwargs)
        refuse_unknown_parameters(request, dict.fromkeys((FORMAT_PARAMETER, *self.query_parameters), False))


class ReadOnlyApiViewSet(ApiMixin, ReadOnlyModelViewSet[Any]):
    """A list and its rows, of which everybody sees only their own. A row not seen is a 404."""

    def get_queryset(self) -> QuerySet[Any]:
        """The rows that the caller may see."""
        queryset: Any = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            # The schema is made without a caller.
            empty: QuerySet[Any] = queryset.none()
            return empty
        visible: QuerySet[Any] = queryset.visible_to(self.viewer)
        return visible


class NotFoundView(ApiMixin):
    """The last route below `/api/v1/`: whatever no other route knows is a 404 problem document."""

    # Not part of the schema.
    schema = None

    def get_authenticators(self) -> list[BaseAuthentication]:
        """None: that nothing is here is no secret."""
        return []

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> NoReturn:
        """Before anything is asked of the caller: there is nothing here. Raises NotFound."""
        path = request.path
        hint = "" if path.endswith("/") else " Every address of this API ends with a slash."
        raise NotFound(f"There is nothing at this address.{hint}")


not_found_view = NotFoundView.as_view()
