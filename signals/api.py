"""The endpoints of intake: `POST /api/v1/signals/` and `POST /api/v1/readings/`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from csplaybooks.accounts.models import ApiToken
from csplaybooks.api.problems import Problem
from csplaybooks.api.views import ApiView
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.signals.intake import IntakeAnswer, take_in_readings, take_in_signals
from csplaybooks.signals.models import Reading, Signal


def items_of(body: Any) -> list[Any]:
    """The items of a body: one object sent bare, or a list of 1 to INTAKE_MAX_ITEMS.

    Raises Problem: 413 `too_many_items`; 400 `no_items` or `not_items`.
    """
    if isinstance(body, dict):
        return [body]
    if not isinstance(body, list):
        raise Problem(status=400, code="not_items", message="The body must be one object, or a list of objects.")
    if not body:
        raise Problem(status=400, code="no_items", message="The list is empty; send at least one item.")
    most = csplaybooks_settings.INTAKE_MAX_ITEMS
    if len(body) > most:
        raise Problem(
            status=413,
            code="too_many_items",
            message=f"The list holds {len(body):,} items; at most {most:,} are taken. None was stored.",
        )
    return body


class IntakeView(ApiView):
    """Takes a batch in and answers 200 with a verdict for each item, in their order."""

    max_bytes_setting = "INTAKE_MAX_BYTES"
    max_depth_setting = "INTAKE_MAX_DEPTH"
    take_in: Callable[..., IntakeAnswer]

    def post(self, request: Request) -> Response:
        """Judge every item, store the good ones."""
        answer = self.take_in(
            items=items_of(request.data),
            now=timezone.now(),
            token=request.auth if isinstance(request.auth, ApiToken) else None,
            viewer=self.viewer,
        )
        return Response(answer.as_document())


class SignalsView(IntakeView):
    """Signals come in."""

    scope = "signals"
    permission_model = Signal
    take_in = staticmethod(take_in_signals)


class ReadingsView(IntakeView):
    """Readings come in."""

    scope = "readings"
    permission_model = Reading
    take_in = staticmethod(take_in_readings)
