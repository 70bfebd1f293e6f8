"""Plays with steps to do, and how far they are."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import count
from typing import Any

import yaml

from csplaybooks.playbooks.factories import DRAFT, PlaybookFactory, PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.models import Play, PlayStep
from csplaybooks.playbooks.pipeline.sweep import step_plays
from csplaybooks.playbooks.step_texts import frozen, steps_for
from tests.playbooks.plays import NOW

MAIL = {
    "subject": "More room for {{account}}",
    "body": "Dear {{champion_first_name}},\n\nshall we talk?\n\n{{owner_name}}",
}

_numbers = count(1)


def draft_with(steps: list[dict[str, Any]], **more: Any) -> str:
    """The draft of a playbook with these steps, and what else its document says."""
    document = yaml.safe_load(DRAFT.format(key=f"with_steps_{next(_numbers)}", name="Seats", motion="seat_expansion"))
    # Copied by way of JSON: a step that stands twice would be written as an alias, which documents do not have.
    return str(yaml.safe_dump(json.loads(json.dumps({**document, "steps": steps, **more}))))


def playing(steps: list[dict[str, Any]], *, now: datetime = NOW, route: str = "csm", **more: Any) -> Any:
    """A play with an owner and these steps, the first of which has begun."""
    play = with_steps(steps, now=now, route=route, **more)
    step_plays(now=now)
    return play


def with_steps(
    steps: list[dict[str, Any]],
    *,
    now: datetime = NOW,
    route: str = "csm",
    says: dict[str, Any] | None = None,
    **more: Any,
) -> Any:
    """A play with these steps, at which no worker has looked."""
    text = draft_with(steps, **(says or {}))
    playbook = PlaybookFactory(key=yaml.safe_load(text)["key"], name="Seats", draft=text)
    play: Play = PlayFactory(recipe=PlaybookVersionFactory(playbook=playbook), opened_at=now, route=route, **more)
    PlayStep.objects.bulk_create(
        PlayStep(play=play, number=number, kind=step["kind"], text=step["text"], settings=frozen(step))
        for number, step in steps_for(play.recipe.document, route)
    )
    return play


def states(play: Play) -> list[str]:
    """How far each step of a play is, in order."""
    return list(play.steps.order_by("number").values_list("state", flat=True))


def step(play: Play, number: int = 1) -> Any:
    """A step of a play, as it stands."""
    return play.steps.get(number=number)


def draft_of(play: Play) -> Any:
    """The newest draft of a play, as it stands."""
    return play.drafts.order_by("-pk")[0]
