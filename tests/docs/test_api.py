"""docs/api.md tells of everything that the API takes and answers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from csplaybooks.accounts.api import AccountFilters, AccountSerializer, FactsSerializer
from csplaybooks.accounts.models import ApiToken
from csplaybooks.playbooks.api import ClockSerializer, PlayFilters, PlaySerializer
from csplaybooks.playbooks.api_acts import API_ACTS
from csplaybooks.playbooks.api_prompts import PromptQuery, PromptSerializer
from csplaybooks.playbooks.api_reports import (
    HandoffQuery,
    HandoffReportSerializer,
    IntervalSerializer,
    OfferLineSerializer,
    RefusalSerializer,
    TimeLineSerializer,
    WhoseTimeQuery,
    WhoseTimeSerializer,
)
from csplaybooks.playbooks.prompts import ANSWERS
from csplaybooks.playbooks.reports import Cut, Every, Kept, Pairing
from csplaybooks.signals.intake.items import READINGS, SIGNALS
from tests.docs.page import CHECKOUT, DOCS, Table, parts_of

PAGE = (DOCS / "api.md").read_text()
NAMED = frozenset(re.findall(r"`([a-z_:]+)`", PAGE))


def rows_of(*header: str) -> tuple[tuple[str, ...], ...]:
    """The rows of the page's table with this header."""
    (table,) = (part for part in parts_of(PAGE) if isinstance(part, Table) and part.header == header)
    return table.rows


def test_every_scope_stands_beside_its_address() -> None:
    told = {
        scope
        for row in rows_of("address", "method", "scope of a token")
        for scope in re.findall(r"`(\w+:\w+)`", row[2])
    }
    assert told == set(ApiToken.SCOPES)


def test_every_field_of_an_item_is_told() -> None:
    told = {name for row in rows_of("field", "signals", "readings") for name in re.findall(r"`(\w+)`", row[0])}
    assert told == SIGNALS.fields | READINGS.fields


def test_every_code_of_a_refusal_is_told_and_no_other() -> None:
    """The codes are read from the code, which writes each where it refuses."""
    texts = [file.read_text() for file in (CHECKOUT / "signals" / "intake").glob("*.py")]
    codes = {code for text in texts for code in re.findall(r"Refusal\(\s*f?\"([a-z_{}.]+)\"", text)}
    codes |= {
        code.replace("{self.kind.key_field}", kind) for code in codes if "{" in code for kind in ("type", "meter")
    }
    codes |= set(re.findall(r"super\(\).__init__\(\"(\w+)\"", (CHECKOUT / "csplaybooks/api/parsers.py").read_text()))
    codes = {code for code in codes if "{" not in code}
    assert len(codes) > 20
    told = {code for row in rows_of("code", "the item") for code in re.findall(r"`(\w+)`", row[0])}
    assert told == codes


@pytest.mark.parametrize(("name", "filters"), [("accounts", AccountFilters), ("plays", PlayFilters)])
def test_every_filter_of_a_list_is_told_and_no_other(name: str, filters: Any) -> None:
    rows = rows_of("list", "filter", "lets through")
    told = {word for row in rows if row[0] in (name, "both") for word in re.findall(r"`(\w+)`", row[1])}
    assert told == set(filters.base_filters)


@pytest.mark.parametrize(
    "serializer", [AccountSerializer, FactsSerializer, PlaySerializer, ClockSerializer, PromptSerializer]
)
def test_every_member_of_an_answer_is_told(serializer: Any) -> None:
    assert sorted(set(serializer().fields) - NAMED) == []


def test_every_act_and_what_its_body_holds_is_told() -> None:
    told = {
        verb: set(re.findall(r"`(\w+)`", body))
        for verbs, body in rows_of("act", "body")
        for verb in re.findall(r"\w+", verbs)
    }
    assert set(told) == {act.verb for act in API_ACTS}
    for act in API_ACTS:
        assert set(act.body().fields) - told[act.verb] == set(), act.verb


def test_every_parameter_of_prompts_and_every_answer_to_one_is_told() -> None:
    assert sorted(set(PromptQuery.base_fields) - NAMED) == []
    told = {row[0].strip("`"): row[1] for row in rows_of("what", "body", "the prompt")}
    assert set(told) == set(ANSWERS)
    assert all(kind in told[what] for what, kind in ANSWERS.items())


@pytest.mark.parametrize(
    "serializer",
    [
        *(WhoseTimeSerializer, TimeLineSerializer, IntervalSerializer),
        *(HandoffReportSerializer, OfferLineSerializer, RefusalSerializer),
    ],
)
def test_every_member_of_a_report_is_told(serializer: Any) -> None:
    assert sorted(set(serializer().fields) - NAMED) == []


@pytest.mark.parametrize("words", [WhoseTimeQuery.base_fields, HandoffQuery.base_fields, Cut, Pairing, Every, Kept])
def test_every_parameter_of_reports_and_its_words_are_told(words: Any) -> None:
    assert sorted({str(word) for word in words} - NAMED) == []
