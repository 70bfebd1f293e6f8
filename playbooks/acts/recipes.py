"""Acts on playbooks: keep a draft, publish it, switch it on and off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import F

from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.acts.record import acting_user, record_changes, timeline_entry, write_timeline
from csplaybooks.accounts.models import Plan, Product
from csplaybooks.playbooks.document import DocumentError, names_used, read_document
from csplaybooks.playbooks.models import Playbook, PlaybookVersion, Trigger
from csplaybooks.playbooks.reach import faults
from csplaybooks.signals.horizon import pruned_before
from csplaybooks.signals.models import Meter, SignalType

#: The starter playbooks that ship with the package.
LIBRARY = Path(__file__).resolve().parent.parent / "library"


@dataclass(frozen=True)
class Published:
    """What publishing a draft came to: `verdict` is created, updated or unchanged."""

    playbook: Playbook
    version: PlaybookVersion
    verdict: str


@dataclass(frozen=True)
class Loaded:
    """What loading a directory came to: what was published, and what stays a draft for now, as (key, why)."""

    published: list[Published]
    drafts: list[tuple[str, str]]


class OutOfReach(DocumentError):
    """A document that looks further back than signals and readings are kept, and has no other fault."""


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


def check_reach(document: Mapping[str, Any], *, now: datetime) -> None:
    """Raise `OutOfReach` with every place of a document that looks further back than signals and readings are kept.

    A trigger that did would see less than it asks for, and never say so.
    """
    max_age_days = dict(Meter.objects.order_by().values_list("key", "max_age_days"))
    if errors := list(faults(document, max_age_days, now, pruned_before())):
        raise OutOfReach(errors)


def save_draft(
    *, text: str, now: datetime, actor: Any = None, playbook_id: int | None = None, expected_version: int | None = None
) -> Playbook:
    """Keep `text` as the draft of the playbook whose key it names; a new key makes a new playbook.

    With `playbook_id` it is a draft of that playbook and of no other. The text that is the draft already changes
    nothing. A draft must be a whole document: raises `DocumentError` otherwise, Conflict when the playbook's version is
    not `expected_version` (None: whatever it is).
    """
    document = read_document(text)
    with transaction.atomic():
        playbook, created = Playbook.objects.get_or_create(
            key=document["key"],
            defaults={"name": document["name"], "motion": document["motion"], "draft": text, "updated_at": now},
        )
        if playbook_id is not None and playbook.pk != playbook_id:
            # Made just now, if it is new: the transaction ends here, and takes it back.
            raise DocumentError([("key", "the key of a playbook stays")])
        if not created:
            # As it is once nobody else holds it: without a version, the last draft stands.
            playbook = Playbook.objects.select_for_update(no_key=True).get(pk=playbook.pk)
        if expected_version is not None and playbook.version != expected_version:
            raise Conflict(playbook, expected=expected_version)
        if created:
            _tell(playbook, "playbook_added", f"Playbook {playbook} added", now, actor)
        elif playbook.draft != text:
            read_version = playbook.version
            playbook.draft, playbook.version, playbook.updated_at = text, read_version + 1, now
            unchanged = Playbook.objects.filter(pk=playbook.pk, version=read_version)
            if not unchanged.update(draft=text, version=playbook.version, updated_at=now):
                raise Conflict(playbook, expected=read_version)
            _tell(playbook, "playbook_drafted", f"Playbook {playbook}: draft changed", now, actor)
    return playbook


def publish_playbook(*, playbook_id: int, now: datetime, actor: Any = None) -> Published:
    """Freeze the draft as the next version, which is what runs from the next run on.

    A draft equal to the published version changes nothing. The change is told to the evaluator like any other input,
    for all accounts. Raises `DocumentError` where the draft names something that is not in the catalogue, looks further
    back than signals and readings are kept (`OutOfReach`), has another key, or another motion than what was published
    before.
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
        check_reach(document, now=now)
        version = PlaybookVersion.objects.create(
            playbook=playbook,
            number=(before.number if before else 0) + 1,
            source=playbook.draft,
            document=document,
            published_at=now,
            published_by=acting_user(actor),
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
        _tell(playbook, "playbook_published", f"Playbook {version} published", now, actor)
    return Published(playbook, version, "updated" if before else "created")


def set_playbook_active(*, playbook_id: int, active: bool, now: datetime, actor: Any = None) -> bool:
    """Switch a playbook on or off; open plays go on either way. Answers whether anything changed."""
    with transaction.atomic():
        changed = Playbook.objects.filter(pk=playbook_id, is_active=not active).update(
            is_active=active, version=F("version") + 1, updated_at=now
        )
        if changed:
            record_changes(kind="playbook_switched", account_ids=[None], now=now)
            playbook = Playbook.objects.get(pk=playbook_id)
            text = f"Playbook {playbook} switched {'on' if active else 'off'}"
            _tell(playbook, "playbook_switched", text, now, actor)
    return bool(changed)


def _tell(playbook: Playbook, kind: str, text: str, now: datetime, actor: Any) -> None:
    write_timeline(
        [timeline_entry(account_id=None, at=now, now=now, kind=kind, text=text, subject=playbook, actor=actor)]
    )


def load_library(*, now: datetime, directory: Path = LIBRARY, actor: Any = None) -> Loaded:
    """Draft and publish every `*.yaml` of a directory, in the order of their names.

    What looks further back than signals and readings are kept stays a draft, to be published when they are kept longer.
    For any other fault none is loaded: raises `DocumentError` whose paths begin with the file's name.
    """
    loaded = Loaded(published=[], drafts=[])
    with transaction.atomic():
        for file in sorted(directory.glob("*.yaml")):
            try:
                playbook = save_draft(text=file.read_text(encoding="utf-8"), now=now, actor=actor)
                try:
                    loaded.published.append(publish_playbook(playbook_id=playbook.pk, now=now, actor=actor))
                except OutOfReach as error:
                    loaded.drafts.append((playbook.key, str(error)))
            except DocumentError as error:
                raise DocumentError(
                    [(f"{file.name}: {path}" if path else file.name, message) for path, message in error.errors]
                ) from error
    return loaded
