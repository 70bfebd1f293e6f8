"""The starter playbooks as a replay publishes them: edits kept as data in `overrides.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from django.db import transaction

from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.models import Playbook

OVERRIDES = Path(__file__).resolve().parent / "overrides.yaml"


def read_overrides() -> list[dict[str, Any]]:
    """The edits: `why`, `playbooks` (a list of keys, or `all`), `path` and `value`."""
    edits: list[dict[str, Any]] = yaml.safe_load(OVERRIDES.read_text(encoding="utf-8"))
    return edits


def edited(document: Mapping[str, Any], edits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A playbook document with the edits that speak of it."""
    result: dict[str, Any] = dict(document)
    for edit in edits:
        if edit["playbooks"] != "all" and document["key"] not in edit["playbooks"]:
            continue
        *way, last = edit["path"]
        inner = result
        for name in way:
            inner[name] = dict(inner.get(name, {}))
            inner = inner[name]
        inner[last] = edit["value"]
    return result


def publish_overrides(*, now: datetime) -> int:
    """Publish every published playbook anew with the edits; answers how many changed."""
    edits = read_overrides()
    changed = 0
    with transaction.atomic():
        for playbook in Playbook.objects.running().order_by("pk"):
            before = yaml.safe_load(playbook.draft)
            if (after := edited(before, edits)) != before:
                text = yaml.safe_dump(after, sort_keys=False, allow_unicode=True)
                draft = save_draft(text=text, now=now)
                changed += publish_playbook(playbook_id=draft.pk, now=now).verdict == "updated"
    return changed
