"""Acts on playbooks: keep a draft, publish it, switch it on and off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import F

from csplaybooks.accounts.acts.record import record_changes
from csplaybooks.accounts.models import Plan, Product
from csplaybooks.playbooks.document import DocumentError, names_used, read_document
from csplaybooks.playbooks.models import Playbook, PlaybookVersion, Trigger
from csplaybooks.signals.models import Meter, SignalType

#: The starter playbooks that ship with the package.
LIBRARY = Path(__file__).resolve().parent.parent / "library"


@dataclass(frozen=True)
class Published:
    """What publishing a draft came to: `verdict` is created, updated or unchanged."""

    playbook: Playbook
    version: PlaybookVersion
    verdict: str


def check_names(document: Mapping[str, Any]) -> None:
    """Raise `DocumentError` for every signal type, meter, product or plan of a document that there is not."""
    names = names_used(dict(document))
    errors = []
    for what, wanted, model in (
        ("signal type", names.signal_types, SignalType),
        ("meter", names.meters, Meter),
        ("product", names.products, Product),
        ("plan", names.plans, Plan),
    ):
        there = set(model.objects.filter(key__in=wanted).values_list("key", flat=True))
        errors += [(path, f"there is no {what} {key}") for key, path in wanted.items() if key not in there]
    if errors:
        raise DocumentError(errors)


def save_draft(*, text: str, now: datetime, actor: Any = None) -> Playbook:
    """Keep `text` as the draft of the playbook whose key it names; a new key makes a new playbook.

    A draft must be a whole document: raises `DocumentError` otherwise.
    """
    document = read_document(text)
    with transaction.atomic():
        playbook, created = Playbook.objects.get_or_create(
            key=document["key"],
            defaults={"name": document["name"], "motion": document["motion"], "draft": text, "updated_at": now},
        )
        if not created and playbook.draft != text:
            playbook.draft = text
            Playbook.objects.filter(pk=playbook.pk).update(draft=text, version=F("version") + 1, updated_at=now)
    return playbook


def publish_playbook(*, playbook_id: int, now: datetime, actor: Any = None) -> Published:
    """Freeze the draft as the next version, which is what runs from the next run on.

    A draft equal to the published version changes nothing. The change is told to the evaluator like any other input,
    for all accounts. Raises `DocumentError` where the draft names something that is not in the catalogue, has another
    key, or another motion than what was published before.
    """
    with transaction.atomic():
        # A write that changes nothing, for its row lock: it makes the numbers of versions follow each other.
        Playbook.objects.filter(pk=playbook_id).update(updated_at=F("updated_at"))
        playbook = Playbook.objects.select_related("published").get(pk=playbook_id)
        if playbook.published is not None and playbook.published.source == playbook.draft:
            return Published(playbook, playbook.published, "unchanged")
        document = read_document(playbook.draft)
        if document["key"] != playbook.key:
            raise DocumentError([("key", f"the key of a playbook stays: {playbook.key}")])
        before = playbook.published
        if before is not None and document["motion"] != playbook.motion:
            # Matches and plays that are on their way stand on earlier versions, and are told apart by their motion.
            raise DocumentError(
                [("motion", f"the motion of a published playbook stays: {playbook.motion}; make a new playbook")]
            )
        check_names(document)
        version = PlaybookVersion.objects.create(
            playbook=playbook,
            number=(before.number if before else 0) + 1,
            source=playbook.draft,
            document=document,
            published_at=now,
            published_by=actor,
        )
        Trigger.objects.bulk_create(
            [Trigger(playbook=playbook, key=trigger["key"]) for trigger in document["triggers"]],
            ignore_conflicts=True,
        )
        playbook.published = version
        playbook.name = document["name"]
        playbook.motion = document["motion"]
        playbook.version += 1
        playbook.updated_at = now
        playbook.save(update_fields=["published", "name", "motion", "version", "updated_at"])
        record_changes(kind="playbook_published", account_ids=[None], now=now)
    return Published(playbook, version, "updated" if before else "created")


def set_playbook_active(*, playbook_id: int, active: bool, now: datetime, actor: Any = None) -> bool:
    """Switch a playbook on or off; open plays go on either way. Answers whether anything changed."""
    with transaction.atomic():
        changed = Playbook.objects.filter(pk=playbook_id, is_active=not active).update(
            is_active=active, version=F("version") + 1, updated_at=now
        )
        if changed:
            record_changes(kind="playbook_switched", account_ids=[None], now=now)
    return bool(changed)


def load_library(*, now: datetime, directory: Path = LIBRARY, actor: Any = None) -> list[Published]:
    """Draft and publish every `*.yaml` of a directory, all or none, in the order of their names.

    Raises `DocumentError` whose paths begin with the file's name.
    """
    answers = []
    with transaction.atomic():
        for file in sorted(directory.glob("*.yaml")):
            try:
                playbook = save_draft(text=file.read_text(encoding="utf-8"), now=now, actor=actor)
                answers.append(publish_playbook(playbook_id=playbook.pk, now=now, actor=actor))
            except DocumentError as error:
                raise DocumentError(
                    [(f"{file.name}: {path}" if path else file.name, message) for path, message in error.errors]
                ) from error
    return answers
