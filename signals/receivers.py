"""What this room says when the room below asks: the one file of receivers."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError

from csplaybooks.accounts import hooks


def connect() -> None:
    """Connect the receivers; called once, when the app is ready."""
    hooks.rows_go.connect(keep_what_weighs, dispatch_uid="csplaybooks.keep_what_weighs")


def keep_what_weighs(*, sender: Any, rows: list[Any], **kwargs: Any) -> None:
    """Kinds of signal are deleted: what the readiness weights in force name must stay."""
    from csplaybooks.signals.models import ReadinessWeights, SignalType
    from csplaybooks.signals.readiness.weights import kinds_named

    version = ReadinessWeights.objects.in_force() if sender is SignalType else None
    if version is None:
        return
    named = kinds_named(version.document)
    for row in rows:
        if row.key in named:
            raise ValidationError(f"{row} is in use: the {version} name it.")
