"""Conditions on properties: what equals what, by kind and value, and any name; the same on every database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.document import read_document
from csplaybooks.playbooks.evaluator import TriggerVersion, compile_query, evaluate
from csplaybooks.playbooks.measures import Known, Moment
from csplaybooks.signals.factories import SignalTypeFactory
from csplaybooks.signals.intake import take_in_signals

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db

#: What stands in signals, of every kind that JSON has.
STORED: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "text true": "true",
    "text false": "false",
    "text null": "null",
    "text 1": "1",
    "text 0": "0",
    "no text": "",
    "quoted": '"true"',
    "umlaut": "Größe 😀",
    "capital": "TRUE",
    "one": 1,
    "zero": 0,
    "one and a half": 1.5,
    "one point zero": 1.0,
    "most": 10**12,
    "one more": 10**12 + 1,
    "least": -(10**12),
    "huge": 10**30,
    "list": [1],
    "list of text": ["true"],
    "mapping": {"by": "true"},
}

#: What is asked for, and all that it finds.
FOUND: list[tuple[Any, set[str]]] = [
    (True, {"true"}),
    (False, {"false"}),
    ("true", {"text true"}),
    ("false", {"text false"}),
    ("null", {"text null"}),
    ("1", {"text 1"}),
    ("0", {"text 0"}),
    ("", {"no text"}),
    ('"true"', {"quoted"}),
    ("Größe 😀", {"umlaut"}),
    ("[1]", set()),
    ("1.5", set()),
    (1, {"one", "one point zero"}),
    (0, {"zero"}),
    (2, set()),
    (10**12, {"most"}),
    (-(10**12), {"least"}),
]

NAMES = [
    "by",
    'a"b',
    '"',
    '"by"',
    "a\\b",
    "a\\",
    "1",
    "0",
    "-1",
    "2024",
    "1_0",
    " 1 ",
    "٣",
    "a.b",
    "$",
    "$.by",
    "[0]",
    "#-1",
    "by__startswith",
    "no' OR '1'='1",
    "%s",
    "%(by)s",
    "a\nb",
    "größe",
    "😀",
    "",
    "BY",
]


def account_with(name: str, properties: dict[str, Any]) -> int:
    """An account with one signal of these properties; answers its id."""
    account: Account = AccountFactory(name=name, identity__external_id=name)
    item = {
        "source": "product",
        "external_id": name,
        "account": name,
        "type": "user_added",
        "occurred_at": NOW.isoformat(),
        "properties": properties,
    }
    assert take_in_signals(items=[item], now=NOW).stored == 1
    return account.pk


def found(properties: dict[str, Any]) -> set[int]:
    """The accounts that a playbook's condition on these properties finds, asked both ways and through its document."""
    condition = {
        "measure": "signal_count",
        "signal_type": "user_added",
        "window_days": 7,
        "at_least": 1,
        "properties": properties,
    }
    text = yaml.safe_dump(
        {
            "key": "p",
            "name": "P",
            "motion": "add_on",
            "triggers": [{"key": "t", "any": [{"all": [condition]}]}],
            "routes": [{"route": "csm"}],
            "targets": [{"target": "closed", "hours": 1}],
        },
        allow_unicode=True,
    )
    (definition,) = read_document(text)["triggers"]
    assert definition["any"][0]["all"] == [condition]
    trigger = TriggerVersion(0, 0, definition, {})
    kept = {hit.account_id for hit in evaluate(trigger, NOW, Known.now())}
    fresh = {row["pk"] for row in compile_query(trigger, Moment(NOW, Known.now()))[0]}
    assert kept == fresh
    return kept


@pytest.fixture(autouse=True)
def user_added(db: None) -> None:
    """The type of all signals here."""
    SignalTypeFactory(key="user_added")


def test_a_value_finds_its_like_of_its_own_kind_and_nothing_else() -> None:
    accounts = {account_with(name, {"by": value}): name for name, value in STORED.items()}
    account_with("without", {})
    for asked, expected in FOUND:
        assert {accounts[pk] for pk in found({"by": asked})} == expected, asked


def test_a_name_is_only_a_name() -> None:
    every = account_with("every", {name: f"value {number}" for number, name in enumerate(NAMES)})
    # Where a name were read as a path or an index, it would lead here.
    account_with("elsewhere", {"by": {"by": "value 0"}, "b": ["value 0", "value 1"], "list": NAMES})
    for number, name in enumerate(NAMES):
        assert found({name: f"value {number}"}) == {every}, name
        assert found({name: f"value {number + 1}"}) == set(), name


def test_several_properties_must_all_be_so_on_one_signal() -> None:
    both = account_with("both", {"by": "admin", "paid": True})
    account_with("one", {"by": "admin", "paid": "true"})
    account_with("other", {"paid": True})
    assert found({"by": "admin", "paid": True}) == {both}
