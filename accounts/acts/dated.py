"""The one writer of period rows: facts, teams, entitlements, plan limits and the status of findings."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, cast

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q

from csplaybooks.accounts.acts.record import expect_news, record_changes, require_aware
from csplaybooks.accounts.base import PeriodRow
from csplaybooks.accounts.models import Change

BATCH_SIZE = 1000


class Verdict(StrEnum):
    """What a write did to its subject."""

    CREATED = "created"
    UPDATED = "updated"
    ENDED = "ended"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, kw_only=True)
class PeriodWrite:
    """One piece of news about one subject.

    `key` and `values` are by column (`account_id`, not `account`). `values` None: nothing holds from
    `effective_at` on. `account_id` is the account whose triggers the news may touch, None for all accounts.
    """

    key: Mapping[str, Any]
    values: Mapping[str, Any] | None
    effective_at: datetime
    account_id: int | None


@dataclass(frozen=True, kw_only=True)
class PeriodResult:
    """What became of one write: its verdict, and the values that held at its moment before and after it."""

    verdict: Verdict
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True)
class PeriodLayout:
    """The columns of a period table: what names a subject, what is said of it, and whose row is locked."""

    key: tuple[str, ...]
    values: tuple[str, ...]
    defaults: Mapping[str, Any]
    subject: models.ForeignKey[Any, Any]


@cache
def layout_of(model: type[PeriodRow]) -> PeriodLayout:
    """The layout of a period table; its key is that of its constraint of one open row."""
    [key] = [
        constraint.fields
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint) and constraint.name.endswith("_one_current")
    ]
    shared = {shared_field.name for shared_field in PeriodRow._meta.get_fields()}
    value_fields = [
        each
        for each in model._meta.concrete_fields
        if not each.primary_key and each.name not in shared and each.name not in key
    ]
    subject = cast("models.ForeignKey[Any, Any]", model._meta.get_field(key[0]))
    return PeriodLayout(
        key=tuple(each.attname for name in key for each in model._meta.concrete_fields if each.name == name),
        values=tuple(each.attname for each in value_fields),
        defaults={each.attname: each.get_default() for each in value_fields},
        subject=subject,
    )


@dataclass
class _Stretch:
    """One stretch of a subject's truth while it is worked out; `row` is the stored row that says the same."""

    valid_from: datetime
    valid_to: datetime | None
    values: dict[str, Any]
    row: Any = None
    account_id: int | None = None


@dataclass
class _Story:
    """The stretches of one subject in their order, and the stored rows that no longer hold."""

    stretches: list[_Stretch] = field(default_factory=list)
    superseded: dict[int, tuple[Any, int | None]] = field(default_factory=dict)

    def take(self, write: PeriodWrite, layout: PeriodLayout, *, by_field: bool) -> PeriodResult:
        """Work one piece of news into the stretches, by the rules of `set_periods`."""
        at = write.effective_at
        position = bisect_right(self.stretches, at, key=lambda stretch: stretch.valid_from)
        held = self.stretches[position - 1] if position else None
        if held is not None and held.valid_to is not None and held.valid_to <= at:
            held = None
        before = None if held is None else dict(held.values)
        if write.values is None:
            after = None
        elif by_field and before is not None:
            after = {**before, **write.values}
        else:
            after = {**layout.defaults, **write.values}
        if before == after:
            return PeriodResult(verdict=Verdict.UNCHANGED, before=before, after=after)
        if held is None:
            # Nothing after nothing was no news: there are values here.
            after = after or {}
            following = self.stretches[position].valid_from if position < len(self.stretches) else None
            self.stretches.insert(position, _Stretch(at, following, after, account_id=write.account_id))
            return PeriodResult(verdict=Verdict.CREATED, before=before, after=after)
        ends = held.valid_to
        self._supersede(held, write)
        if held.valid_from < at:
            held.valid_to = at
        else:
            position -= 1
            del self.stretches[position]
        if after is None:
            return PeriodResult(verdict=Verdict.ENDED, before=before, after=after)
        self.stretches.insert(position, _Stretch(at, ends, after, account_id=write.account_id))
        if by_field:
            self._carry(position + 1, write, before=held.values, after=after)
        return PeriodResult(verdict=Verdict.UPDATED, before=before, after=after)

    def _carry(self, position: int, write: PeriodWrite, *, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Carry each changed value over the adjoining later stretches in which it had not changed."""
        carried = {name for name in before if before[name] != after[name]}
        ended = self.stretches[position - 1].valid_to
        for stretch in self.stretches[position:]:
            carried = {name for name in carried if stretch.values[name] == before[name]}
            if not carried or stretch.valid_from != ended:
                return
            self._supersede(stretch, write)
            stretch.values = {**stretch.values, **{name: after[name] for name in carried}}
            ended = stretch.valid_to

    def _supersede(self, stretch: _Stretch, write: PeriodWrite) -> None:
        """What is left of this stretch will be told anew; a stored row behind it no longer holds."""
        if stretch.row is not None:
            self.superseded[stretch.row.pk] = (stretch.row, write.account_id)
            stretch.row = None
        stretch.account_id = write.account_id


def set_periods(
    *,
    model: type[PeriodRow],
    writes: Sequence[PeriodWrite],
    kind: str,
    now: datetime,
    by_field: bool = False,
    changes: Iterable[Change] = (),
) -> list[PeriodResult]:
    """Write dated news about any number of subjects; answers in the order of `writes`.

    Rows are never edited. What changes is superseded by the change that told us, and said again as far as it
    still holds: so what was known at any earlier run can still be told.

    The rules, for one piece of news that takes effect at a moment t:

    - Nothing holds at t: it holds from t until the next known start, or without end (created).
    - The same values hold at t: nothing is written (unchanged), not even a change.
    - Other values hold at t, over [a, b): they hold over [a, t) only, and the news over [t, b) (updated). b
      may be open. If a is t, the news takes the whole place. So late news holds until the next moment known
      already, and that stays: who told us of June knew June.
    - No values: [a, b) ends at t (ended). An end known already stays in the same way as a start.
    - Several writes about one subject take effect in the order given.

    With `by_field`, each value has a history of its own: the values not named are carried on from what holds
    at t, and a named one also replaces itself in the adjoining later periods, up to the first in which it had
    changed. A period whose neighbour differs only in the region says nothing new about the segment. Where
    nothing held at t, values not named take the model's defaults.

    One change of this `kind` is written for each account that got news, unless `changes` brings one for it
    (an act that wrote its own already). The subjects' rows are locked in the order of their ids, so that two
    writers of one subject wait for each other. Queries: one to lock, one to read, one to record, and one each
    to supersede and to insert, for any number of subjects.

    Raises ValueError for a moment without zone or a column the table does not have, ValidationError for a
    subject that does not exist.
    """
    if not writes:
        return []
    layout = layout_of(model)
    for write in writes:
        require_aware(effective_at=write.effective_at)
        if set(write.key) != set(layout.key):
            raise ValueError(f"{model.__name__} is keyed by {', '.join(layout.key)}, not {', '.join(write.key)}")
        if unknown := set(write.values or ()) - set(layout.values):
            raise ValueError(f"{model.__name__} has no values {', '.join(sorted(unknown))}")
    with transaction.atomic():
        _lock(layout.subject, {write.key[layout.key[0]] for write in writes})
        stories = _stories(model, layout, writes)
        results = [stories[_key(write.key, layout)].take(write, layout, by_field=by_field) for write in writes]
        effective: dict[int | None, list[datetime]] = {}
        for write, result in zip(writes, results, strict=True):
            if result.verdict != Verdict.UNCHANGED:
                effective.setdefault(write.account_id, []).append(write.effective_at)
        by_account = {change.account_id: change for change in changes}
        expect_news(by_account.values(), effective, now)
        told = dict.fromkeys(
            write.account_id
            for write, result in zip(writes, results, strict=True)
            if result.verdict != Verdict.UNCHANGED and write.account_id not in by_account
        )
        recorded = record_changes(kind=kind, account_ids=told, now=now, effective=effective)
        by_account |= {change.account_id: change for change in recorded}
        _store(model, layout, stories, by_account)
    return results


def _key(values: Mapping[str, Any], layout: PeriodLayout) -> tuple[Hashable, ...]:
    return tuple(values[name] for name in layout.key)


def _lock(subject: models.ForeignKey[Any, Any], ids: set[int]) -> None:
    """Lock the rows the news is about; not their keys, which writers of other tables point at meanwhile."""
    of = subject.related_model
    found = of._default_manager.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True)
    if missing := ids - set(found.values_list("pk", flat=True)):
        names = ", ".join(str(pk) for pk in sorted(missing))
        raise ValidationError({subject.name: f"There is no {of._meta.verbose_name} with the id {names}."})


def _stories(
    model: type[PeriodRow], layout: PeriodLayout, writes: Sequence[PeriodWrite]
) -> dict[tuple[Hashable, ...], _Story]:
    """What is held for true of each subject, from the earliest news on."""
    stories = {_key(write.key, layout): _Story() for write in writes}
    earliest = min(write.effective_at for write in writes)
    keys = {f"{name}__in": {write.key[name] for write in writes} for name in layout.key}
    rows = (
        model._default_manager.filter(Q(valid_to__isnull=True) | Q(valid_to__gt=earliest), **keys)
        .filter(superseded_by__isnull=True)
        .order_by("valid_from")
    )
    for row in rows:
        story = stories.get(_key(vars(row), layout))
        if story is not None:
            values = {name: getattr(row, name) for name in layout.values}
            story.stretches.append(_Stretch(row.valid_from, row.valid_to, values, row=row))
    return stories


def _store(
    model: type[PeriodRow],
    layout: PeriodLayout,
    stories: Mapping[tuple[Hashable, ...], _Story],
    by_account: Mapping[int | None, Change],
) -> None:
    """Supersede first, then insert: two rows must not stand open for one subject even for a moment."""
    superseded = []
    fresh = []
    for key, story in stories.items():
        for row, account_id in story.superseded.values():
            row.superseded_by = by_account[account_id]
            superseded.append(row)
        fresh += [
            model(
                **dict(zip(layout.key, key, strict=True)),
                **stretch.values,
                valid_from=stretch.valid_from,
                valid_to=stretch.valid_to,
                change=by_account[stretch.account_id],
            )
            for stretch in story.stretches
            if stretch.row is None
        ]
    if superseded:
        model._default_manager.bulk_update(superseded, ["superseded_by"], batch_size=BATCH_SIZE)
    model._default_manager.bulk_create(fresh)
