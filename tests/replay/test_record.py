"""Reading the activity record."""

from __future__ import annotations

import gzip
import random
import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from csplaybooks.playbooks.replay import RecordError, open_record
from tests.replay.records import HEADER, START, at, story, write


def positions(path: Path) -> list[int]:
    """Where the rows stood in the file, in the order in which they are handed over."""
    return [row.position for _, rows in open_record(path).days() for row in rows]


def test_row_becomes_a_signal(tmp_path: Path) -> None:
    record = open_record(write(tmp_path / "a.csv", [(at(0), "acme", "ann", "alpha", "core/api", "7")]))
    [(day, [row])] = record.days()
    assert (record.rows, record.first_day, record.last_day, record.in_order) == (1, START.date(), START.date(), True)
    assert day == date(2024, 1, 1)
    assert row.moment == datetime(2024, 1, 1, 10, tzinfo=UTC)
    assert row.signal == {
        "source": "replay",
        "external_id": "row-1",
        "account": "acme",
        "type": "feature_used",
        "occurred_at": "2024-01-01T10:00:00Z",
        "actor": "ann",
        "properties": {"product": "alpha", "area": "core/api"},
        "value": 7,
    }


@pytest.mark.parametrize(
    ("cell", "value"), [("7", 7), ("-1", -1), ("1.5", 1.5), ("1e3", 1000.0), ("many", "many"), ("1_000", "1_000")]
)
def test_size_is_a_number_where_it_spells_one(tmp_path: Path, cell: str, value: object) -> None:
    header = ("size", "area", "product", "user", "account", "occurred_at", "more")
    path = write(tmp_path / "a.csv", [(cell, "core", "alpha", "ann", "acme", at(0), "not read")], header)
    [(_, [row])] = open_record(path).days()
    assert row.signal["value"] == value
    assert type(row.signal["value"]) is type(value)


def test_empty_cells_are_left_out(tmp_path: Path) -> None:
    [(_, [row])] = open_record(write(tmp_path / "a.csv", [(at(0), "acme", "ann", "", "", "")])).days()
    assert row.signal["properties"] == {}
    assert "value" not in row.signal


def test_gzip_is_read_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.csv", story())
    packed = tmp_path / "packed.csv"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(open_record(packed).days()) == list(open_record(plain).days())


def test_rows_out_of_order_are_sorted_and_keep_their_positions(tmp_path: Path) -> None:
    rows = [(at(day, hour), "acme", "ann", "alpha", "core", "1") for day in range(9) for hour in (1, 1, 5)]
    random.Random(7).shuffle(rows)
    record = open_record(write(tmp_path / "a.csv", rows))
    assert not record.in_order
    handed = [row for _, found in record.days() for row in found]
    assert sorted(row.position for row in handed) == list(range(1, len(rows) + 1))
    assert [(row.moment, row.position) for row in handed] == sorted((row.moment, row.position) for row in handed)
    assert all(row.signal["occurred_at"] == rows[row.position - 1][0] for row in handed)


def test_row_without_a_time_stands_where_the_row_before_it_does(tmp_path: Path) -> None:
    good = [(at(day), "acme", "ann", "alpha", "core", "1") for day in (3, 0, 5)]
    bad = ("soon", "acme", "ann", "alpha", "core", "1")
    assert positions(write(tmp_path / "a.csv", [bad, good[0], bad, good[1], bad, good[2], bad])) == [
        4,
        5,
        1,
        2,
        3,
        6,
        7,
    ]


def test_what_the_reader_cannot_read_is_a_row_in_words(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [(at(0), "acme", "ann", "alpha", "core", "1")])
    with path.open("a") as file:
        file.write('2024-01-01T11:00:00Z,"ac"me,ann,alpha,core,1\n')
        file.write("2024-01-01T11:00:00Z,acme\n\n")
        file.write("2024-01-01T12:00:00Z,acme,ann,alpha,core,1\n")
    [(_, rows)] = open_record(path).days()
    assert [type(row.item) for row in rows] == [dict, str, str, dict]
    assert "2 cells, and the header 6" in str(rows[2].item)


def test_bytes_that_are_no_utf_8_reach_the_intake(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(",".join(HEADER).encode() + b"\n2024-01-01T10:00:00Z,ac\xffme,ann,alpha,core,1\n")
    [(_, [row])] = open_record(path).days()
    assert row.signal["account"] == "ac\udcffme"


def test_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [(at(0), "acme", "ann", "alpha", "core", "1")])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert open_record(path).rows == 1


def test_files_that_cannot_be_replayed_are_named(tmp_path: Path) -> None:
    good = (at(0), "acme", "ann", "alpha", "core", "1")
    empty = tmp_path / "empty.csv"
    empty.touch()
    no_gzip = tmp_path / "plain.csv.gz"
    no_gzip.write_text("occurred_at\n")
    cut = tmp_path / "cut.csv.gz"
    whole = write(tmp_path / "whole.csv", [good] * 500)
    cut.write_bytes(gzip.compress(whole.read_bytes())[:-20])
    for path, words in (
        (tmp_path / "none.csv", "No such file"),
        (tmp_path, "directory"),
        (empty, "is empty"),
        (no_gzip, "not a gzip file"),
        (cut, "not a whole gzip file"),
        (write(tmp_path / "bare.csv", []), "no rows"),
        (write(tmp_path / "short.csv", [good], ("occurred_at", "account", "user", "size")), "no column product, area"),
        (write(tmp_path / "sizeless.csv", [good], (*HEADER[:5], "weight")), "no column size or files_changed"),
        (write(tmp_path / "twice.csv", [good], (*HEADER[:5], "size", "user")), "column user twice"),
        (write(tmp_path / "undated.csv", [("soon", *good[1:])]), "No row of"),
    ):
        with pytest.raises(RecordError, match=re.escape(words)) as caught:
            open_record(path)
        assert str(path) in str(caught.value)
