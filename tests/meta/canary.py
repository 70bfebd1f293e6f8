"""A world in which every table has a row and every text says a word: whoever reads the word has seen a row."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Cast, Concat, Left

from csplaybooks.accounts import models as who
from csplaybooks.playbooks import models as what
from csplaybooks.signals import models as events
from tests.admin.rows import MODELS, make

#: The word. Pages begin some texts with a capital, so it is looked for in any case.
CANARY = "canary"

#: Texts that must stay what they are: read by machines, or pointing at something.
_READ_BY_MACHINES = {
    (who.ApiToken, "digest"),
    (who.ApiToken, "prefix"),
    (who.Movement, "original_currency"),
    (who.TeamMember, "zone"),
    (who.TimelineEntry, "subject_type"),
    (what.Calendar, "zone"),
    # Empty where the use is that of a member.
    (what.CalendarUse, "region"),
    # Empty where nothing was missed.
    (what.Clock, "excuse_reason"),
    (what.Clock, "zone"),
    (what.Playbook, "draft"),
    (what.PlaybookVersion, "source"),
    # It points at a trigger of the document; what is shown of it begins with the playbook's key.
    (what.Trigger, "key"),
    (events.ReadinessWeights, "source"),
}

#: Documents that say the word.
_DOCUMENTS: dict[tuple[type[models.Model], str], Any] = {
    (events.RefusedItem, "body"): {CANARY: CANARY},
    (events.Signal, "properties"): {CANARY: CANARY},
    (what.Handoff, "context"): {CANARY: CANARY},
    (what.Match, "evidence"): [{"words": CANARY}],
    (what.Play, "evidence"): [{"words": CANARY}],
    (what.Run, "errors"): {"7": CANARY},
}

World = dict[type[models.Model], Any]


def world_of_canaries(*but: Any) -> World:
    """One row of each table, and of what it hangs on, with the word in all texts; names of users too, except `but`."""
    world = {model: make(model)[0] for model in MODELS}
    # A playbook that can be chosen: plays are opened of published ones.
    world[what.Playbook] = world[what.PlaybookVersion].playbook
    mark(Q())
    users: Any = get_user_model()._default_manager.exclude(pk__in=[user.pk for user in but])
    users.update(
        username=Concat(Value(f"{CANARY}-"), Cast("pk", models.CharField())),
        first_name=CANARY,
        email=f"{CANARY}@example.com",
    )
    for row in world.values():
        row.refresh_from_db()
    return world


def mark(which: Q, only: Any = MODELS, word: str = CANARY) -> None:
    """Write the word into every text of the rows of some tables."""
    for model in only:
        texts = {
            field.name: Left(
                Concat(Value(word), Cast(F("pk"), models.CharField()), output_field=models.TextField()),
                field.max_length or 100,
            )
            for field in model._meta.concrete_fields
            if isinstance(field, models.CharField | models.TextField)
            and not field.choices
            and (model, field.name) not in _READ_BY_MACHINES
        }
        documents = {name: document for (table, name), document in _DOCUMENTS.items() if table is model}
        if texts or documents:
            model._base_manager.filter(which).update(**texts, **documents)


def sings(response: Any, word: str = CANARY) -> bool:
    """Whether an answer, its head too, says the word."""
    body = b"".join(response) if response.streaming else response.content
    return word in body.decode().lower() or word in str(response.headers).lower()


def snapshot() -> dict[str, Any]:
    """Everything that stands in our tables and in the admin's log: equal as long as nobody writes."""
    tables: list[type[models.Model]] = [*MODELS, LogEntry]
    rows: dict[str, Any] = {table._meta.label: list(table._base_manager.order_by("pk").values()) for table in tables}
    for model in MODELS:
        for field in model._meta.many_to_many:
            through: Any = field.remote_field.through
            rows[f"{model._meta.label}.{field.name}"] = list(through._base_manager.order_by("pk").values())
    return rows
