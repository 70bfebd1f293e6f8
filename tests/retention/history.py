"""Histories of signals and readings as rows, and by hand what must be left of them when they are pruned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.playbooks.factories import RunFactory
from csplaybooks.signals.acts.pruning import PrunedEvents, prune_events
from csplaybooks.signals.factories import IntakeBatchFactory, MeterFactory, SignalTypeFactory, SourceFactory
from csplaybooks.signals.models import IntakeBatch, Reading, ReadingDay, Signal, SignalDay


@dataclass(frozen=True)
class Told:
    """One item: at which account, of which type or meter, when, in which batch, how much of what limit.

    `corrects` is the place in the history of what it corrects (None: it corrects nothing).
    """

    account: int
    kind: int
    at: datetime
    batch: int = 0
    used: int = 0
    limit: int | None = None
    corrects: int | None = None
    void: bool = False


def write(model: type[Signal] | type[Reading], history: Sequence[Told], claimed: Sequence[bool]) -> list[Any]:
    """Write a history, in batches of which those that are `claimed` were told to a run each; answers its rows."""
    source = SourceFactory()
    make = SignalTypeFactory if model is Signal else MeterFactory
    kinds = {key: make(key=f"kind-{key}") for key in {told.kind for told in history}}
    accounts = {name: AccountFactory(name=f"account-{name}") for name in {told.account for told in history}}
    stored = Counter(told.batch for told in history)
    runs = [RunFactory().pk for _ in claimed]
    batches = [
        IntakeBatchFactory(
            kind="signals" if model is Signal else "readings",
            stored=stored[number],
            seen_by_run=runs[number] if told else None,
        )
        for number, told in enumerate(claimed)
    ]
    rows: list[Any] = []
    for number, told in enumerate(history):
        own: dict[str, Any] = {"type": kinds[told.kind]}
        if model is Reading:
            own = {"meter": kinds[told.kind], "used_milli": told.used, "limit_milli": told.limit}
        row = model(
            source=source,
            external_id=f"{model.__name__}-{number}",
            occurred_at=told.at,
            batch=batches[told.batch],
            body_hash=b"",
            account=accounts[told.account],
            corrects=None if told.corrects is None else rows[told.corrects],
            is_void=told.void,
            **own,
        )
        row.save(force_insert=True)
        rows.append(row)
    return rows


def chains(history: Sequence[Told]) -> list[list[int]]:
    """The places of each item and of all its corrections, in their order."""
    found: dict[int, list[int]] = {}
    for number, told in enumerate(history):
        found[number] = [number] if told.corrects is None else [*found.pop(told.corrects), number]
    return list(found.values())


def doomed(history: Sequence[Told], claimed: Sequence[bool], before: datetime) -> list[list[int]]:
    """The chains that may go: all of them before the horizon, and told."""
    return [
        chain
        for chain in chains(history)
        if all(history[number].at < before and claimed[history[number].batch] for number in chain)
    ]


Key = tuple[str, str, date]


def signal_sums(rows: Sequence[Any], gone: Iterable[list[int]], zone: ZoneInfo) -> dict[Key, tuple[int, int]]:
    """By account, type and day: rows, and how many count."""
    sums: dict[Key, tuple[int, int]] = {}
    for chain in gone:
        for number in chain:
            row = rows[number]
            key = (row.account.name, row.type.key, row.occurred_at.astimezone(zone).date())
            counts = number == chain[-1] and not row.is_void
            before = sums.get(key, (0, 0))
            sums[key] = (before[0] + 1, before[1] + counts)
    return sums


def reading_sums(rows: Sequence[Any], gone: Iterable[list[int]], zone: ZoneInfo) -> dict[Key, tuple[Any, ...]]:
    """By account, meter and day: rows, how many count, the last, then greatest and least of used and of limit."""
    members: dict[Key, list[Any]] = {}
    counting: dict[Key, list[Any]] = {}
    for chain in gone:
        for number in chain:
            row = rows[number]
            key = (row.account.name, row.meter.key, row.occurred_at.astimezone(zone).date())
            members.setdefault(key, []).append(row)
            if number == chain[-1] and not row.is_void:
                counting.setdefault(key, []).append(row)
    sums: dict[Key, tuple[Any, ...]] = {}
    for key, all_rows in members.items():
        rows_that_count = counting.get(key, [])
        last = max(rows_that_count, key=lambda row: (row.occurred_at, row.pk), default=None)
        used = [row.used_milli for row in rows_that_count]
        limits = [row.limit_milli for row in rows_that_count if row.limit_milli is not None]
        sums[key] = (
            len(all_rows),
            len(rows_that_count),
            *((last.occurred_at, last.pk, last.used_milli, last.limit_milli) if last else (None,) * 4),
            *(max(used, default=None), min(used, default=None), max(limits, default=None), min(limits, default=None)),
        )
    return sums


def stored_signal_sums() -> dict[Key, tuple[int, int]]:
    """What the table of sums says, as `signal_sums`."""
    values = SignalDay.objects.values_list("account__name", "type__key", "day", "rows", "count")
    return {(account, kind, day): (rows, count) for account, kind, day, rows, count in values}


def stored_reading_sums() -> dict[Key, tuple[Any, ...]]:
    """What the table of sums says, as `reading_sums`."""
    values = ReadingDay.objects.values_list(
        *("account__name", "meter__key", "day", "rows", "count", "last_at", "last_row", "last_used_milli"),
        *("last_limit_milli", "greatest_used_milli", "least_used_milli", "greatest_limit_milli", "least_limit_milli"),
    )
    return {(row[0], row[1], row[2]): tuple(row[3:]) for row in values}


def prune_all(now: datetime, **options: Any) -> list[PrunedEvents]:
    """Prune until nothing is left; answers what each batch came to."""
    found = []
    while (pruned := prune_events(now=now, **options)) is not None:
        found.append(pruned)
    return found


def claim_all(run: int = 1) -> None:
    """Let a run have been told of everything."""
    IntakeBatch.objects.filter(seen_by_run=None).update(seen_by_run=run)


def draft(*conditions: dict[str, Any], key: str = "long", **more: Any) -> str:
    """The text of a playbook with one trigger that asks for these conditions."""
    document = {
        "key": key,
        "name": key.capitalize(),
        "motion": "add_on",
        "triggers": [{"key": "t", "any": [{"all": list(conditions)}]}],
        "routes": [{"route": "csm"}],
        "targets": [{"target": "closed", "hours": 1}],
        **more,
    }
    return yaml.safe_dump(document)
