"""Who may call an endpoint: scopes for tokens, Django's model permissions for people.

Which rows the caller then sees is told by `visible_to` on the queryset; a row not seen is a 404.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from csplaybooks.api.problems import Problem


@runtime_checkable
class ScopedToken(Protocol):
    """What `request.auth` is when an integration calls."""

    def has_scope(self, scope: str) -> bool:
        """Whether the token was given `scope`, such as `plays:read`."""
        ...


def viewer_of(request: Request) -> Any:
    """Whose rows the request may see, for `visible_to`: the token where there is one, else the user."""
    return request.auth if isinstance(request.auth, ScopedToken) else request.user


class ScopePermission(BasePermission):
    """Reading needs `<scope>:read`, everything else `<scope>:write`, where the view names its `scope`.

    Writing does not imply reading. People (without a token) need the Django permission of the same act on the
    model of the view: view for reading, else add, change or delete. A POST to a single row or an action of it
    changes that row. A view with a right of its own names its verb in `permission_verb`, such as assign. The model is
    that of the view's `queryset`, or the view's `permission_model`.

    Raises NotAuthenticated (401) without credentials, Problem 403 `missing_scope`, `missing_permission` or
    `inactive_user`.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        """True, or an exception that says what is missing."""
        scope: str | None = getattr(view, "scope", None)
        if scope is None:
            raise ImproperlyConfigured(f"{type(view).__name__} names no scope.")
        user = request.user
        # Also None: a host may have switched REST framework's anonymous user off.
        if user is None or not user.is_authenticated:
            raise NotAuthenticated
        if not user.is_active:
            raise Problem(status=403, code="inactive_user", message="This user is not active.")
        reading = request.method in SAFE_METHODS
        if isinstance(request.auth, ScopedToken):
            needed = f"{scope}:{'read' if reading else 'write'}"
            if not request.auth.has_scope(needed):
                raise Problem(status=403, code="missing_scope", message=f"The token lacks the scope {needed!r}.")
            return True
        permission = permission_name(self._model(view), "view" if reading else _verb(request, view))
        if not user.has_perm(permission):
            raise Problem(status=403, code="missing_permission", message=f"You lack the permission {permission!r}.")
        return True

    @staticmethod
    def _model(view: APIView) -> type[Model]:
        queryset = getattr(view, "queryset", None)
        model: type[Model] | None = getattr(view, "permission_model", None)
        if model is None and queryset is not None:
            model = queryset.model
        if model is None:
            raise ImproperlyConfigured(f"{type(view).__name__} needs a queryset or a permission_model.")
        return model


def permission_name(model: type[Model], verb: str) -> str:
    """The full name of Django's permission for `verb` (view, add, change, delete) on `model`."""
    return f"{model._meta.app_label}.{verb}_{model._meta.model_name}"


def _verb(request: Request, view: APIView) -> str:
    """What a method that writes does to the model."""
    own: str | None = getattr(view, "permission_verb", None)
    if own is not None:
        return own
    if request.method == "DELETE":
        return "delete"
    # `detail` is set by the routers of view sets: True where the address names one row.
    if request.method == "POST" and not getattr(view, "detail", False):
        return "add"
    return "change"
