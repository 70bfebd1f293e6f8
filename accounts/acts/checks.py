"""Questions that several acts ask before they write; each raises a `ValidationError` that names the field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from csplaybooks.accounts.acts.record import require_aware


def require_not_later(now: datetime, **moments: datetime) -> None:
    """Refuse what is said to have happened in the future."""
    require_aware(now=now, **moments)
    for name, moment in moments.items():
        if moment > now:
            raise ValidationError({name: "This lies in the future."})


def found_by_id(queryset: models.QuerySet[Any], ids: Iterable[int | None], *, field: str) -> dict[int, Any]:
    """The rows with these ids (None is passed over), by id; all of them must exist. One query at most."""
    wanted = {pk for pk in ids if pk is not None}
    if not wanted:
        return {}
    rows = queryset.in_bulk(list(wanted))
    if missing := wanted - set(rows):
        names = ", ".join(str(pk) for pk in sorted(missing))
        raise ValidationError({field: f"There is no {queryset.model._meta.verbose_name} with the id {names}."})
    return rows


def cleaned(model: type[models.Model], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the model's fields hold them: checked (types, choices, lengths, signs) and converted."""
    instance = model(**values)
    named = set(values)
    exclude = {each.name for each in model._meta.concrete_fields if not {each.name, each.attname} & named}
    instance.clean_fields(exclude=exclude)
    return {name: getattr(instance, name) for name in values}
