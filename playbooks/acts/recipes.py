"""Acts on playbooks: keep a draft, publish it, go back to what was published before, switch it on and off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import F

from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.acts.record import acting_user, record_changes, timeline_entry, write_timeline
from csplaybooks.accounts.models import Feature, Plan, Product
from csplaybooks.playbooks.document import DocumentError, names_used, read_document
from csplaybooks.playbooks.files import file_name, read_files, read_texts
from csplaybooks.playbooks.measures import measures
from csplaybooks.playbooks.measures.strengths import weak_groups
from csplaybooks.playbooks.models import Calendar, Playbook, PlaybookVersion, Trigger
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
class Applied:
    """What applying one text came to, `name` being what the caller calls it.

    `verdict` is created, updated, unchanged, or draft, where it was not published: because that was not asked for, or
    for the reason `why`. `redrafted` says that another draft had been there, and gave way.
    """

    name: str
    playbook: Playbook
    verdict: str
    why: str = ""
    version: PlaybookVersion | None = None
    redrafted: bool = False


@dataclass(frozen=True)
class Loaded:
    """What loading a directory came to: what was published, and what stays a draft for now, as (key, why)."""

    published: list[Published]
    drafts: list[tuple[str, str]]


class OutOfReach(DocumentError):
    """A document that looks further back than signals and readings are kept, and has no other fault."""


def check_names(document: Mapping[str, Any]) -> None:
    """Raise `DocumentError` for each signal type, meter, product, plan, calendar, feature of a document that is not.

    And for every group of conditions that is weak alone, with the strengths of the catalogue; one query for each table.
    """
    names = names_used(dict(document))
    signal_types: dict[str, str] = _strengths(SignalType, names.signal_types)
    meters: dict[str, str] = _strengths(Meter, names.meters)
    errors = []
    for what, wanted, there in (
        ("signal type", names.signal_types, signal_types),
        ("meter", names.meters, meters),
        ("product", names.products, _keys(Product, names.products)),
        ("plan", names.plans, _keys(Plan, names.plans)),
        ("calendar", names.calendars, _keys(Calendar, names.calendars)),
        ("feature", names.features, _keys(Feature, names.features)),
    ):
        errors += [(path, f"there is no {what} {key}") for key, path in wanted.items() if key not in there]
    errors += weak_groups(document, measures(), signal_types=signal_types, meters=meters)
    if errors:
        raise DocumentError(errors)


def _strengths(model: type[SignalType] | type[Meter], wanted: Iterable[str]) -> dict[str, str]:
    return dict(model.objects.filter(key__in=list(wanted)).order_by().values_list("key", "strength"))


def _keys(model: type[Product] | type[Plan] | type[Calendar] | type[Feature], wanted: Iterable[str]) -> set[str]:
    return set(model.objects.filter(key__in=list(wanted)).order_by().values_list("key", flat=True))


def check_reach(document: Mapping[str, Any], *, now: datetime) -> None:
    """Raise `OutOfReach` with every place of a document that looks further back than signals and readings are kept.

    A trigger that did would see less than it asks for, and never say so.
    """
    max_age_days = dict(Meter.objects.order_by().values_list("key", "max_age_days"))
    if errors := list(faults(document, max_age_days, now, pruned_before())):
        raise OutOfReach(errors)


def publishing_faults(
    document: Mapping[str, Any], playbook: Playbook | None, *, now: datetime
) -> list[tuple[str, str]]:
    """What keeps a document that was read from being published: path, why. `playbook` is that of its key, if any.

    Asks the catalogue a few queries, and writes nothing.
    """
    errors: list[tuple[str, str]] = []
    asks: list[Callable[[], None]] = [
        lambda: _check_motion(document, playbook),
        lambda: check_names(document),
        lambda: check_reach(document, now=now),
    ]
    for ask in asks:
        try:
            ask()
        except DocumentError as error:
            errors += error.errors
    return errors


def _check_motion(document: Mapping[str, Any], playbook: Playbook | None) -> None:
    if playbook is not None and playbook.published_id is not None and document["motion"] != playbook.motion:
        # Matches and plays that are on their way stand on earlier versions, and are told apart by their motion.
        raise DocumentError(
            [("motion", f"the motion of a published playbook stays: {playbook.motion}; make a new playbook")]
        )


def save_draft(
    *, text: str, now: datetime, actor: Any = None, playbook_id: int | None = None, expected_version: int | None = None
) -> Playbook:
    """Keep `text` as the draft of the playbook whose key it names; a new key makes a new playbook.

    With `playbook_id` it is a draft of that playbook and of no other. Until something is published the playbook has the
    name and the motion of its draft. The text that is the draft already changes nothing. A draft must be a whole
    document: raises `DocumentError` otherwise, Conflict when the playbook's version is not `expected_version` (None:
    whatever it is).
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
            if playbook.published_id is None:
                playbook.name, playbook.motion = document["name"], document["motion"]
            unchanged = Playbook.objects.filter(pk=playbook.pk, version=read_version)
            if not unchanged.update(
                draft=text,
                name=playbook.name,
                motion=playbook.motion,
                version=playbook.version,
                updated_at=now,
            ):
                raise Conflict(playbook, expected=read_version)
            _tell(playbook, "playbook_drafted", f"Playbook {playbook}: draft changed", now, actor)
    return playbook


def publish_playbook(
    *, playbook_id: int, now: datetime, actor: Any = None, expected_version: int | None = None
) -> Published:
    """Freeze the draft as the next version, which is what runs from the next run on.

    A draft equal to the published version changes nothing. The change is told to the evaluator like any other input,
    for all accounts. Raises `DocumentError` where the draft names something that is not in the catalogue, looks further
    back than signals and readings are kept (`OutOfReach`), has another key, or another motion than what was published
    before; Conflict when the playbook's version is not `expected_version` (None: whatever it is).
    """
    with transaction.atomic():
        playbook = _locked(playbook_id, expected_version)
        if playbook.published is not None and playbook.published.source == playbook.draft:
            return Published(playbook, playbook.published, "unchanged")
        again = playbook.published is not None
        version = _freeze(playbook, playbook.draft, now, actor)
        _tell(playbook, "playbook_published", f"Playbook {version} published", now, actor)
    return Published(playbook, version, "updated" if again else "created")


def roll_back_playbook(
    *, playbook_id: int, number: int, now: datetime, actor: Any = None, expected_version: int | None = None
) -> Published:
    """Publish the text of version `number` again, as a new version; it becomes the draft too.

    Versions stand for good, so going back is going on. The text that runs already changes nothing, the draft neither.
    It must be fit to be published today: raises as `publish_playbook` does, and `DocumentError` where there is no such
    version.
    """
    with transaction.atomic():
        playbook = _locked(playbook_id, expected_version)
        earlier = PlaybookVersion.objects.filter(playbook=playbook, number=number).first()
        if earlier is None or playbook.published is None:
            raise DocumentError([("", f"{playbook} has no version {number}")])
        if playbook.published.source == earlier.source:
            return Published(playbook, playbook.published, "unchanged")
        version = _freeze(playbook, earlier.source, now, actor)
        _tell(playbook, "playbook_rolled_back", f"Playbook {version} published: version {number} again", now, actor)
    return Published(playbook, version, "updated")


def _locked(playbook_id: int, expected_version: int | None) -> Playbook:
    # A write that changes nothing, for its row lock: it makes the numbers of versions follow each other.
    Playbook.objects.filter(pk=playbook_id).update(updated_at=F("updated_at"))
    playbook: Playbook = Playbook.objects.select_related("published").get(pk=playbook_id)
    if expected_version is not None and playbook.version != expected_version:
        raise Conflict(playbook, expected=expected_version)
    return playbook


def _freeze(playbook: Playbook, text: str, now: datetime, actor: Any) -> PlaybookVersion:
    """Check a text and make it the playbook's next version, which runs, and its draft."""
    document = read_document(text)
    if document["key"] != playbook.key:
        raise DocumentError([("key", f"the key of a playbook stays: {playbook.key}")])
    _check_motion(document, playbook)
    check_names(document)
    check_reach(document, now=now)
    before = playbook.published
    version = PlaybookVersion.objects.create(
        playbook=playbook,
        number=(before.number if before else 0) + 1,
        source=text,
        document=document,
        published_at=now,
        published_by=acting_user(actor),
    )
    Trigger.objects.bulk_create(
        [Trigger(playbook=playbook, key=trigger["key"]) for trigger in document["triggers"]],
        ignore_conflicts=True,
    )
    playbook.published = version
    playbook.draft = text
    playbook.name = document["name"]
    playbook.motion = document["motion"]
    playbook.version += 1
    playbook.updated_at = now
    playbook.save(update_fields=["published", "draft", "name", "motion", "version", "updated_at"])
    record_changes(kind="playbook_published", account_ids=[None], now=now)
    return version


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


def apply_playbooks(
    *,
    texts: Mapping[str, str],
    now: datetime,
    actor: Any = None,
    publish: bool = True,
    tell: Callable[[Applied], None] | None = None,
) -> list[Applied]:
    """Draft and publish texts, or only draft them, all or none. Keys of `texts` are what the caller calls them.

    What looks further back than signals and readings are kept stays a draft, to be published when they are kept longer.
    For any other fault nothing is changed: raises `DocumentError` with the faults of all texts, whose paths begin with
    the text's name. `tell` is given each answer as it is there, though a later text may still have a fault.
    """
    documents, errors = read_texts(texts)
    if errors:
        raise DocumentError(errors)
    applied = []
    with transaction.atomic():
        keys = {document["key"] for document in documents.values()}
        there = {
            playbook.key: playbook for playbook in Playbook.objects.filter(key__in=keys).select_related("published")
        }
        for name, text in texts.items():
            try:
                # What one wrote goes, so that the next is looked at too.
                with transaction.atomic():
                    answer = _apply(name, text, there.get(documents[name]["key"]), now, actor, publish)
            except DocumentError as error:
                errors += [(f"{name}: {path}" if path else name, message) for path, message in error.errors]
                continue
            applied.append(answer)
            if tell is not None and not errors:
                tell(answer)
        if errors:
            raise DocumentError(errors)
    return applied


def _apply(name: str, text: str, before: Playbook | None, now: datetime, actor: Any, publish: bool) -> Applied:
    """Draft and publish one text; `before` is its playbook as it was."""
    playbook = save_draft(text=text, now=now, actor=actor)
    runs = None if before is None else before.published
    pending = before is not None and before.draft != text and (runs is None or runs.source != before.draft)
    if not publish:
        same = before is not None and before.draft == text
        return Applied(name, playbook, "unchanged" if same else "draft", redrafted=pending)
    try:
        published = publish_playbook(playbook_id=playbook.pk, now=now, actor=actor)
    except OutOfReach as error:
        return Applied(name, playbook, "draft", why=str(error), redrafted=pending)
    return Applied(name, published.playbook, published.verdict, version=published.version, redrafted=pending)


def load_library(*, now: datetime, directory: Path = LIBRARY, actor: Any = None) -> Loaded:
    """Apply every YAML file of a directory, in the order of their names; see `apply_playbooks`."""
    files, errors = read_files([str(directory)])
    if errors:
        raise DocumentError(errors)
    texts = {file_name(path): text for path, text in files.items()}
    loaded = Loaded(published=[], drafts=[])
    for answer in apply_playbooks(texts=texts, now=now, actor=actor):
        if answer.version is None:
            loaded.drafts.append((answer.playbook.key, answer.why))
        else:
            loaded.published.append(Published(answer.playbook, answer.version, answer.verdict))
    return loaded
