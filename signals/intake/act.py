"""The act of taking a batch in: judge every item, store what is good, keep what is not, tell the verdicts."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import Q, Subquery
from django.db.models.functions import Coalesce

from csplaybooks.accounts.acts.record import require_aware
from csplaybooks.accounts.hooks import inputs_arrived
from csplaybooks.accounts.models import ApiToken
from csplaybooks.api.problems import plain_text
from csplaybooks.conf import company_time_zone, csplaybooks_settings
from csplaybooks.signals.horizon import intake_begins, newest_pruned
from csplaybooks.signals.intake.items import READINGS, SIGNALS, Item, ItemKind, read_item
from csplaybooks.signals.intake.lookups import (
    Accounts,
    StoredRow,
    find_kinds,
    find_sources,
    find_stored,
    register_sources,
)
from csplaybooks.signals.intake.storing import insert_rows, reserve_ids
from csplaybooks.signals.intake.values import Clock, Refusal, shown, storable
from csplaybooks.signals.intake.verdicts import IntakeAnswer, ItemResult, Status
from csplaybooks.signals.models import IntakeBatch, RefusedItem

logger = logging.getLogger("csplaybooks.intake")

#: How long refused items are kept.
REFUSED_ITEMS_KEPT = timedelta(days=30)

#: The most sources that the items of one batch may name: they are looked up together with every id.
MAX_SOURCES = 100

#: The most of a refused item's body that is kept, in characters of JSON.
_MOST_BODY_KEPT = 4000

#: Before anything that an item may name.
_EVER = datetime(1, 1, 1, tzinfo=UTC)

#: How often a batch is judged anew because others stored the same items at the same time.
_MOST_ATTEMPTS = 5


def take_in_signals(
    *, items: Sequence[object], now: datetime, token: ApiToken | None = None, viewer: Any = None
) -> IntakeAnswer:
    """Take in a batch of signals; see `_take_in`."""
    return _take_in(SIGNALS, items=items, now=now, token=token, viewer=viewer)


def take_in_readings(
    *, items: Sequence[object], now: datetime, token: ApiToken | None = None, viewer: Any = None
) -> IntakeAnswer:
    """Take in a batch of readings; see `_take_in`."""
    return _take_in(READINGS, items=items, now=now, token=token, viewer=viewer)


class _Overtaken(Exception):
    """Somebody else stored an item of this batch, or pruned the day of one, between our look and our write."""


def _take_in(
    kind: ItemKind, *, items: Sequence[object], now: datetime, token: ApiToken | None, viewer: Any
) -> IntakeAnswer:
    """Judge and store a batch in one transaction; the answer has a verdict for each item, in their order.

    `items` are parsed JSON values, or dicts as Python has them (times may be aware datetimes). `now` is the
    moment of receipt. `token` is written on the batch. Only accounts that `viewer` may see are known; by
    default those of the token, and all of them without one.

    What occurred before the horizon (`csplaybooks.signals.horizon`) is refused, because its duplicates may be gone.

    The number of queries does not depend on the number of items. Nothing is stored twice: of two senders of
    one item at once the first to commit has stored it, and the other is told so. Raises OperationalError when
    others were first again and again: nothing was stored then, and the same batch may be sent once more.
    """
    require_aware(now=now)
    clock = Clock(now=now, latest=now + timedelta(seconds=csplaybooks_settings.INTAKE_FUTURE_TOLERANCE_SECONDS))
    read = _read_all(kind, items, clock)
    for _ in range(_MOST_ATTEMPTS):
        judgement = _Judgement(kind, read, begins=intake_begins(now))
        try:
            with transaction.atomic():
                judgement.judge(token if viewer is None else viewer)
                return _store(judgement, items=items, now=now, token=token)
        except _Overtaken:
            # What the others stored is committed by now: judged anew, it is found.
            continue
    raise OperationalError("Others were storing the same items at the same time; send the batch again.")


def _read_all(kind: ItemKind, items: Sequence[object], clock: Clock) -> list[Item | Refusal]:
    """Every item read, or why it could not be."""
    fields = kind.fields
    read: list[Item | Refusal] = []
    sources: set[str] = set()
    for raw in items:
        try:
            item = read_item(kind, fields, raw, clock)
            if item.source not in sources and len(sources) == MAX_SOURCES:
                raise Refusal(
                    "too_many_sources",
                    "source",
                    f"The items before name {MAX_SOURCES} sources already; "
                    f"send those of {shown(item.source)} in another batch.",
                )
            sources.add(item.source)
            read.append(item)
        except Refusal as refusal:
            read.append(refusal)
    return read


@dataclass(slots=True)
class _Accepted:
    """An item to be stored. `corrects` is the id of the stored row, or the accepted item, it corrects."""

    item: Item
    account_id: int
    kind_id: int
    corrects: int | _Accepted | None
    corrected_by: str | None = None
    pk: int = 0


@dataclass(slots=True)
class _Judgement:
    """The verdicts over one batch, against what the database holds at this moment."""

    kind: ItemKind
    read: Sequence[Item | Refusal]
    begins: datetime | None
    accepted: list[_Accepted] = field(default_factory=list)
    refusals: list[tuple[int, Refusal]] = field(default_factory=list)
    results: list[ItemResult] = field(default_factory=list)
    sources: dict[str, int] = field(default_factory=dict)
    _accounts: Accounts = field(init=False)
    _kinds: dict[str, int] = field(init=False)
    _stored: dict[tuple[int, str], StoredRow] = field(init=False)
    _by_id: dict[tuple[str, str], _Accepted] = field(default_factory=dict)
    _corrected: dict[int, str] = field(default_factory=dict)

    def judge(self, viewer: Any) -> None:
        """Look up what the items name and come to a verdict on each, in their order."""
        items = [item for item in self.read if isinstance(item, Item)]
        external_ids = {item.external_id for item in items}
        external_ids.update(item.corrects for item in items if item.corrects is not None)
        self._accounts = Accounts({item.account for item in items})
        self._kinds = find_kinds(self.kind, {item.key for item in items})
        self.sources = find_sources({item.source for item in items})
        self._stored = find_stored(self.kind, self.sources.values(), external_ids, self._accounts)
        self._accounts.limit_to(viewer, (row.account_id for row in self._stored.values()))
        for index, item in enumerate(self.read):
            try:
                if isinstance(item, Refusal):
                    raise item
                status, message = self._verdict(item)
                self.results.append(ItemResult(index=index, status=status, message=message))
            except Refusal as refusal:
                self.refusals.append((index, refusal))
                self.results.append(
                    ItemResult(
                        index=index,
                        status=Status.REFUSED,
                        code=refusal.code,
                        field=refusal.field,
                        message=refusal.message,
                    )
                )

    def _verdict(self, item: Item) -> tuple[Status, str]:
        """The verdict on one well-formed item. Raises Refusal."""
        stored = self._find_stored(item, item.external_id)
        # The same body again is a duplicate whatever has become of its account or type since.
        if stored is not None and self._accounts.is_visible(stored.account_id):
            return self._same_id(item, stored.body_hash)
        account_id = self._accounts.find(item)
        kind_id = self._kinds.get(item.key)
        if kind_id is None:
            name = str(self.kind.catalogue._meta.verbose_name)
            raise Refusal(
                f"unknown_{self.kind.key_field}",
                self.kind.key_field,
                f"There is no {name} {shown(item.key)}.",
            )
        if stored is not None:
            return self._same_id(item, b"")
        before = self._by_id.get((item.source, item.external_id))
        if before is not None:
            return self._same_id(item, before.item.body_hash)
        if self.begins is not None and item.occurred_at < self.begins:
            raise self._too_old("occurred_at", "The field 'occurred_at' lies before")
        accepted = _Accepted(item, account_id, kind_id, corrects=None)
        if item.corrects is not None:
            accepted.corrects = self._correct(item, item.corrects, account_id, kind_id)
        self._by_id[item.source, item.external_id] = accepted
        self.accepted.append(accepted)
        return Status.STORED, ""

    def _find_stored(self, item: Item, external_id: str) -> StoredRow | None:
        source_id = self.sources.get(item.source)
        return None if source_id is None else self._stored.get((source_id, external_id))

    def _same_id(self, item: Item, body_hash: bytes) -> tuple[Status, str]:
        if body_hash == item.body_hash:
            return Status.DUPLICATE, ""
        return Status.CONFLICT, (
            f"The source {shown(item.source)} has sent another {self.kind.noun} with the external_id "
            f"{shown(item.external_id)} before. To correct it, send a new external_id and name this one "
            "in 'corrects'."
        )

    def _too_old(self, field: str, what: str) -> Refusal:
        return Refusal(
            "too_old",
            field,
            f"{what} {self._first_day}: {self.kind.noun}s from before that day are pruned, and none is taken in, "
            "because its duplicates could be told no more.",
        )

    def _or_pruned(self) -> str:
        return "" if self.begins is None else f", or it is pruned, as what lies before {self._first_day} is"

    @property
    def _first_day(self) -> str:
        """The first day that items are taken of; only where there is one."""
        return "" if self.begins is None else f"{self.begins.astimezone(company_time_zone()):%Y-%m-%d}"

    def _correct(self, item: Item, external_id: str, account_id: int, kind_id: int) -> int | _Accepted:
        """The signal or reading `external_id`, marked as corrected by `item`. Raises Refusal."""
        noun, wanted = self.kind.noun, shown(external_id)
        stored = self._find_stored(item, external_id)
        earlier = self._by_id.get((item.source, external_id))
        target = stored if stored is not None and self._accounts.is_visible(stored.account_id) else earlier
        if target is None:
            raise Refusal(
                "unknown_correction",
                "corrects",
                f"The source {shown(item.source)} has sent no {noun} {wanted} before this one{self._or_pruned()}.",
            )
        if target.account_id != account_id:
            raise Refusal(
                "correction_of_other_account",
                "corrects",
                f"The {noun} {wanted} is one of another account; a correction stays with the account. "
                "To move it, correct it with 'void' and send it anew.",
            )
        if target.kind_id != kind_id:
            raise Refusal(
                f"correction_of_other_{self.kind.key_field}",
                "corrects",
                f"The {noun} {wanted} has another {self.kind.key_field} than {shown(item.key)}; a correction keeps it.",
            )
        if self.begins is not None and isinstance(target, StoredRow) and target.occurred_at < self.begins:
            raise self._too_old("corrects", f"The {noun} {wanted} lies before")
        corrected_by = target.corrected_by
        if isinstance(target, StoredRow):
            corrected_by = self._corrected.get(target.pk, corrected_by)
        if corrected_by is not None:
            raise Refusal(
                "already_corrected",
                "corrects",
                f"The {noun} {wanted} was corrected already, by {shown(corrected_by)}; correct that one instead.",
            )
        if isinstance(target, StoredRow):
            self._corrected[target.pk] = item.external_id
            return target.pk
        target.corrected_by = item.external_id
        return target


def _store(judgement: _Judgement, *, items: Sequence[object], now: datetime, token: ApiToken | None) -> IntakeAnswer:
    """Write the batch, its rows and its refused items, and tell that inputs arrived.

    Raises _Overtaken when a row did not land; the transaction must be rolled back then.
    """
    kind, accepted = judgement.kind, judgement.accepted
    answer = IntakeAnswer.of(judgement.results)
    unknown = {one.item.source for one in accepted} - judgement.sources.keys()
    sources = judgement.sources | (register_sources(unknown, now) if unknown else {})
    ahead = [one.item.occurred_at for one in accepted if one.item.occurred_at > now]
    batch = IntakeBatch.objects.create(
        kind=kind.batch_kind,
        token=token,
        recorded_at=now,
        received=answer.received,
        stored=answer.stored,
        duplicate=answer.duplicate,
        conflict=answer.conflict,
        refused=answer.refused,
        ripens_from=min(ahead, default=None),
        ripens_at=max(ahead, default=None),
    )
    if accepted:
        for one, pk in zip(accepted, reserve_ids(kind.model, len(accepted)), strict=True):
            one.pk = pk
        # Ids follow the order of the items. Rows are written in the order of what makes them unique, so that
        # two batches with the same items wait for each other, and never both.
        accepted = sorted(accepted, key=lambda one: (sources[one.item.source], one.item.external_id))
        insert_rows(
            kind.model,
            (
                *("id", "source", "external_id", "occurred_at", "batch", "body_hash", "is_void", "account"),
                *(kind.key_field, "corrects", *kind.own_columns),
            ),
            [_row(one, sources, batch.pk) for one in accepted],
        )
        # The horizon is asked for once more, now that the rows are written: whoever has pruned meanwhile what we would
        # have found to be stored has moved it too.
        horizon = Coalesce(Subquery(newest_pruned().values("before")), _EVER)
        landed = kind.model.objects.filter(batch=batch, occurred_at__gte=horizon)
        if any(isinstance(one.corrects, int) for one in accepted):
            landed = landed.filter(Q(corrects__isnull=True) | Q(corrects__occurred_at__gte=horizon))
        if landed.count() != len(accepted):
            raise _Overtaken
    insert_rows(
        RefusedItem,
        ("batch", "index", "code", "field", "message", "body", "expires_at"),
        [
            _refused_row(batch.pk, index, refusal, items[index], now + REFUSED_ITEMS_KEPT)
            for index, refusal in judgement.refusals
        ],
    )
    if accepted:
        inputs_arrived.send(sender=IntakeBatch, kind=kind.batch_kind.value)
    # The number leads from a request to the run that claims the batch, which names it in its own line.
    transaction.on_commit(
        lambda: logger.info(
            "batch %d of %s taken in: %d received, %d stored, %d duplicate, %d conflict, %d refused",
            *(batch.pk, kind.batch_kind.value, answer.received, answer.stored),
            *(answer.duplicate, answer.conflict, answer.refused),
        ),
        robust=True,
    )
    return answer


def _row(one: _Accepted, sources: Mapping[str, int], batch_id: int) -> tuple[Any, ...]:
    """The values of a new signal or reading, in the order of the columns in `_store`."""
    item = one.item
    corrects = one.corrects.pk if isinstance(one.corrects, _Accepted) else one.corrects
    return (
        one.pk,
        sources[item.source],
        item.external_id,
        item.occurred_at,
        batch_id,
        item.body_hash,
        item.is_void,
        one.account_id,
        one.kind_id,
        corrects,
        *item.own,
    )


def _refused_row(batch_id: int, index: int, refusal: Refusal, raw: object, expires_at: datetime) -> tuple[Any, ...]:
    """The values of a refused item; of a long body only the beginning is kept, as text."""
    body = json.dumps(storable(raw))
    if len(body) > _MOST_BODY_KEPT:
        body = json.dumps({"beginning": body[:_MOST_BODY_KEPT]})
    return (
        *(batch_id, index, refusal.code, plain_text(refusal.field)[:100]),
        *(plain_text(refusal.message)[:500], body, expires_at),
    )
