"""The activity record: a CSV, plain or gzip, read row by row and handed over day by day.

One pass looks the file over (is it readable, is it in order, from when to when does it reach); only a file that is
not in order is sorted, in a temporary database on disk. So memory does not grow with the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from csplaybooks.api.parsers import Unusable
from csplaybooks.signals.intake.values import Clock, Refusal, moment_of

#: The source of all that a replay hands in, and the type of the signal that a row becomes.
SOURCE = "replay"
ROW_TYPE = "feature_used"

REQUIRED = ("occurred_at", "account", "user", "product", "area")
#: The size column goes by either name.
SIZES = ("size", "files_changed")

_GZIP_MAGIC = b"\x1f\x8b"
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,3})?")
# Where no present is told to hold a row against, only the end of what a date can be.
_NO_PRESENT = Clock(now=datetime(9000, 1, 1, tzinfo=UTC), latest=datetime(9000, 1, 1, tzinfo=UTC))


class RecordError(ValueError):
    """The file cannot be replayed; the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the record as it is handed to the intake.

    `position` counts the rows from 1, `day` is the UTC day on which it is handed in: its own, or where its time
    cannot be read or lies in the future that of the row before it. `item` is the signal it becomes, or what is wrong
    with it in words where the CSV reader could make nothing of it. `occurred_at` is None where it cannot be read or
    lies in the future.
    """

    position: int
    day: date
    occurred_at: datetime | None
    item: dict[str, Any] | str

    @property
    def signal(self) -> dict[str, Any]:
        """The item of a row that could be read. Raises TypeError for another."""
        if isinstance(self.item, str):
            raise TypeError(self.item)
        return self.item

    @property
    def moment(self) -> datetime:
        """When it happened, in UTC, of a row whose time could be read. Raises TypeError for another."""
        if self.occurred_at is None:
            raise TypeError(f"row {self.position} has no time")
        return self.occurred_at


@dataclass(frozen=True)
class Record:
    """A file that was looked over: how many rows it has, the days it reaches over, and whether it is in order.

    `first_moment` is the first time in the file that can be read; rows before it stand where it stands. `present` is
    the moment after which rows lie in the future.
    """

    path: Path
    rows: int
    first_day: date
    last_day: date
    in_order: bool
    first_moment: datetime
    present: datetime | None = None

    def days(self) -> Iterator[tuple[date, list[Row]]]:
        """The rows by day, in the order of time and, within one instant, of the file; only days that have any."""
        clock = _clock(self.present)
        with _rows_of(self.path, clock) as rows:
            placed = _placed(rows, self.first_moment)
            ordered = placed if self.in_order else _sorted(placed)
            for day, found in groupby((_judged(row, clock) for _, row in ordered), key=lambda row: row.day):
                yield day, list(found)


def open_record(path: Path, *, present: datetime | None = None) -> Record:
    """Look a file over, once from end to end. Raises RecordError for what cannot be replayed.

    Rows later than `present` (aware) are handed over to be refused, and do not say how far the record reaches; one
    mistyped year would else take the virtual clock there. Without it no row lies in the future.
    """
    count = 0
    first: datetime | None = None
    earliest = latest = None
    before: datetime | None = None
    in_order = True
    with _rows_of(path, _clock(present)) as rows:
        for _, moment, _ in rows:
            count += 1
            if moment is None:
                continue
            first = first or moment
            earliest = moment if earliest is None else min(earliest, moment)
            latest = moment if latest is None else max(latest, moment)
            in_order = in_order and (before is None or before <= moment)
            before = moment
    if not count:
        raise RecordError(f"{path} has a header and no rows.")
    if first is None or earliest is None or latest is None:
        raise RecordError(
            f"No row of {path} has an occurred_at that can be read, such as 2026-11-22T08:00:00Z"
            f"{'' if present is None else ', and does not lie in the future'}."
        )
    return Record(path, count, earliest.date(), latest.date(), in_order, first, present)


def _clock(present: datetime | None) -> Clock:
    return _NO_PRESENT if present is None else Clock(now=present, latest=present)


def _judged(row: Row, clock: Clock) -> Row:
    """The row; where it lies in the future with that said in the place of its time, for the intake to refuse it.

    The intake would not always find it: the virtual clock stands at the end of a day, when the day may not be over.
    """
    if clock is _NO_PRESENT or row.occurred_at is not None or isinstance(row.item, str):
        return row
    try:
        moment_of(row.item["occurred_at"], "occurred_at", clock)
    except Refusal as refusal:
        if refusal.code == "in_the_future":
            words = f"{row.item['occurred_at']} lies in the future; the replay began at {clock.now:%Y-%m-%dT%H:%M:%SZ}."
            return replace(row, item={**row.item, "occurred_at": Unusable(refusal.code, words)})
    return row


_Read = tuple[int, datetime | None, dict[str, Any] | str]


@contextmanager
def _rows_of(path: Path, clock: Clock) -> Iterator[Iterator[_Read]]:
    """The rows of a file as (position, moment, item). Raises RecordError, naming the file."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
            if path.suffix == ".gz" and not packed:
                raise RecordError(f"{path} is named .gz and is not a gzip file.")
            raw.seek(0)
            binary: Any = gzip.GzipFile(fileobj=raw) if packed else raw
            # What is not UTF-8 is carried through as it is, so that the intake refuses the row and not the file.
            with io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
                yield _read(path, csv.reader(text, strict=True), clock)
    except OSError as error:
        # BadGzipFile is an OSError too.
        raise RecordError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (EOFError, zlib.error) as error:
        raise RecordError(f"{path} is not a whole gzip file: {error}.") from error


def _read(path: Path, lines: Any, clock: Clock) -> Iterator[_Read]:
    try:
        header = next(lines, None)
    except csv.Error as error:
        raise RecordError(f"{path} does not begin with a line of column names: {error}.") from error
    if header is None:
        raise RecordError(f"{path} is empty.")
    columns = _columns(path, header)
    position = 0
    while True:
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            position += 1
            yield position, None, f"The CSV reader cannot read this row: {error}"
            continue
        if not cells:
            continue  # an empty line is no row
        position += 1
        yield position, *_item(position, cells, columns, len(header), clock)


def _columns(path: Path, header: Sequence[str]) -> dict[str, int]:
    """Where each column that is read stands; the size column as `size`."""
    names = [name.strip() for name in header]
    size = next((name for name in SIZES if name in names), None)
    missing = [name for name in REQUIRED if name not in names] + ([] if size else [" or ".join(SIZES)])
    if missing:
        raise RecordError(f"{path} has no column {', '.join(missing)}; it has {', '.join(names)[:200]!r}.")
    if twice := sorted({name for name in (*REQUIRED, *SIZES) if names.count(name) > 1}):
        raise RecordError(f"{path} has the column {', '.join(twice)} twice.")
    return {**{name: names.index(name) for name in REQUIRED}, "size": names.index(size or "")}


def _item(
    position: int, cells: Sequence[str], columns: dict[str, int], width: int, clock: Clock
) -> tuple[datetime | None, dict[str, Any] | str]:
    if len(cells) != width:
        return None, f"The row has {len(cells)} cells, and the header {width}"
    try:
        moment = moment_of(cells[columns["occurred_at"]], "occurred_at", clock)
    except Refusal:
        moment = None
    item: dict[str, Any] = {
        "source": SOURCE,
        "external_id": f"row-{position}",
        "account": cells[columns["account"]],
        "type": ROW_TYPE,
        "occurred_at": cells[columns["occurred_at"]],
        "actor": cells[columns["user"]],
        "properties": {name: cells[columns[name]] for name in ("product", "area") if cells[columns[name]]},
    }
    if size := cells[columns["size"]]:
        item["value"] = _number(size)
    return moment, item


def _number(text: str) -> int | float | str:
    """The number that a cell spells; what spells none stays as it is, for the intake to refuse."""
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if set(text) & set(".eE") else int(text)


def _placed(rows: Iterator[_Read], start: datetime) -> Iterator[tuple[datetime, Row]]:
    """Rows with the moment that gives them their place: their own, or that of the last one before them."""
    place = start
    for position, moment, item in rows:
        place = moment or place
        yield place, Row(position, place.date(), moment, item)


def _sorted(rows: Iterator[tuple[datetime, Row]]) -> Iterator[tuple[datetime, Row]]:
    """The same rows in the order of time, sorted on disk."""
    # An empty name is a private database in a temporary file, which is gone when it is closed.
    connection = sqlite3.connect("", isolation_level=None)
    try:
        connection.execute("CREATE TABLE line (place TEXT, position INTEGER, dated INTEGER, item TEXT)")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO line VALUES (?, ?, ?, ?)",
            (
                # ISO texts of one zone and one precision sort as their moments do.
                (at.isoformat(timespec="microseconds"), row.position, row.occurred_at is not None, json.dumps(row.item))
                for at, row in rows
            ),
        )
        for place, position, dated, item in connection.execute("SELECT * FROM line ORDER BY place, position"):
            at = datetime.fromisoformat(place)
            yield at, Row(position, at.date(), at if dated else None, json.loads(item))
    finally:
        connection.close()
