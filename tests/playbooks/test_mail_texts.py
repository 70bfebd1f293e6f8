"""Merge fields: names that stand for words, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csplaybooks.playbooks.contacts import CONTACT_TYPES, SHOWN_TYPE
from csplaybooks.playbooks.mail_texts import (
    FIELDS,
    MOST_IN_BODY,
    MOST_IN_FIELD,
    MOST_IN_SUBJECT,
    Letter,
    fill_in_body,
    fill_in_subject,
    subject_fault,
    text_errors,
    unfinished,
)
from csplaybooks.playbooks.merge_values import first_name, lines_found
from tests.docs.page import DOCS, Table, parts_of

ADA = Letter(account="Acme", champion_first_name="Ada", found="- one\n- two")


def test_every_field_is_known_of_a_letter() -> None:
    assert [field.name for field in dataclasses.fields(Letter)] == list(FIELDS)


def test_fields_are_filled_in_and_gaps_are_marked() -> None:
    assert (
        fill_in_body("Dear {{champion_first_name}} of {{ account }}:\n{{found}}", ADA)
        == "Dear Ada of Acme:\n- one\n- two"
    )
    text = fill_in_body("You are on {{plan}}, {{plan}}.", ADA)
    assert text == "You are on [plan?], [plan?]."
    assert unfinished("Hi [owner_name?]", text) == ["[owner_name?]", "[plan?]"]
    assert unfinished("Hi", "[sic?] array[0] {one}") == []


@pytest.mark.parametrize(
    "body",
    [
        "{{ nothing }}",
        "{{account|upper}}",
        "{{account.name}}",
        "{{account",
        "}}",
        "{{}}",
        "{{ account }",
        "{{Account}}",
    ],
)
def test_what_is_no_field_is_refused_with_the_list_of_what_there_is(body: str) -> None:
    ((where, why), *_) = text_errors("Hi", body)
    assert where == "body"
    assert "{{account}}, {{champion_name}}" in why
    assert unfinished("Hi", body)


@pytest.mark.parametrize("line", ["\n", "\r", "\r\n", "\u2028", "\x0b", "\x85"])
def test_a_subject_is_one_line(line: str) -> None:
    assert subject_fault(f"Hi{line}Bcc: everybody@example.com") == "is one line: take the line breaks out"
    # Nor does a name begin another header.
    assert (
        fill_in_subject("For {{account}}", Letter(account=f"A{line}Bcc: x@example.com")) == "For A Bcc: x@example.com"
    )


def test_a_subject_has_an_end_and_a_beginning() -> None:
    assert subject_fault(" ") == "is empty"
    assert subject_fault("x" * MOST_IN_SUBJECT) is None
    assert "201" in (subject_fault("x" * 201) or "")
    assert "NUL" in (subject_fault("a\0b") or "")


def test_what_is_put_in_is_never_read_again_and_has_an_end() -> None:
    told = Letter(account="{{owner_email}}", owner_email="secret@example.com", plan="x" * 5000)
    assert fill_in_body("{{account}}", told) == "{ {owner_email} }"
    assert unfinished("Hi", fill_in_body("{{account}}", told)) == []
    assert len(fill_in_body("{{plan}}", told)) == MOST_IN_FIELD
    assert len(fill_in_body("{{plan}}" * 1000, told)) == MOST_IN_BODY


@given(st.text(), st.text())
def test_no_text_does_more_than_stand_there(template: str, name: str) -> None:
    letter = Letter(**dict.fromkeys(FIELDS, name))
    assert len(fill_in_body(template, letter)) <= MOST_IN_BODY
    subject = fill_in_subject(template, letter)
    assert subject_fault(subject) in (None, "is empty", "a NUL character cannot be sent")
    if not list(text_errors("Hi", template)) and name.strip():
        assert "{{" not in fill_in_body(template, letter)


def test_only_what_is_about_their_own_use_is_told_to_customers() -> None:
    seats = {"measure": "share_of_limit", "settings": {"meters": ["seats", "health"]}}
    evidence = [
        {**seats, "found": {"used0": 18_500, "limit0": 20_000, "used1": 30_000, "limit1": 100_000}, "words": "private"},
        {"measure": "level", "settings": {"meters": ["health"]}, "found": {"used0": 90_000}, "words": "health at 90"},
        {"measure": "readiness", "settings": {}, "found": {"score": 80}, "words": "readiness 80"},
        {"measure": "finding", "settings": {}, "found": {"text": "They are slow"}, "words": "They are slow"},
        {
            "measure": "signal_count",
            "settings": {"signal_type": "feature_gate_hit", "window_days": 7},
            "found": {"count": 3},
        },
        {
            "measure": "signal_count",
            "settings": {"signal_type": "support_ticket", "window_days": 7},
            "found": {"count": 9},
        },
        {"measure": "unheld_features", "settings": {}, "found": {"features": ["boards", "big_reports"]}},
        {"measure": "gone", "settings": {}, "found": {}},
    ]
    assert lines_found(evidence, {"boards": "Boards"}) == [
        "18.5 of 20 seats in use",
        "3 tries of features beyond your plan in 7 days",
        "features that you have reached for: Boards, big reports",
    ]


@pytest.mark.parametrize(
    ("name", "first"), [("Ada Lovelace", "Ada"), ("Dr. Ada Lovelace", "Ada"), ("Ada", "Ada"), ("", ""), ("Dr.", "")]
)
def test_first_names(name: str, first: str) -> None:
    assert first_name(name) == first


def _rows_under(*header: str) -> list[tuple[str, ...]]:
    parts = parts_of((DOCS / "steps.md").read_text())
    (table,) = (part for part in parts if isinstance(part, Table) and tuple(part.header) == header)
    return [tuple(row) for row in table.rows]


def test_the_page_lists_the_fields_and_the_signals_that_are_contacts() -> None:
    assert _rows_under("field", "stands for") == [(f"`{{{{{name}}}}}`", what) for name, what in FIELDS.items()]
    told = [row[0].strip("`") for row in _rows_under("signal type", "contact")]
    assert told == [*CONTACT_TYPES, SHOWN_TYPE]
