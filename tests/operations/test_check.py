"""`csplaybooks_check` asks all that must hold, names what breaks it, and says so by its exit status."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from csplaybooks.accounts.factories import AccountFactory, ChangeFactory
from csplaybooks.accounts.models import Account, AccountFacts, Change
from csplaybooks.playbooks.factories import MatchFactory, PlayFactory, TouchFactory
from csplaybooks.playbooks.invariants import INVARIANTS, inspect, violations
from csplaybooks.playbooks.invariants.schema import inspect_table, tables
from csplaybooks.playbooks.models import Match, Play
from csplaybooks.signals.factories import SignalFactory
from tests.operations.breaking import BREAKERS, NOW, drop_index, without_check

pytestmark = pytest.mark.django_db


def check(*arguments: str) -> tuple[int, str]:
    """The exit status and what was printed."""
    told = io.StringIO()
    try:
        call_command("csplaybooks_check", *arguments, stdout=told, no_color=True)
    except SystemExit as ended:
        return int(ended.code or 0), told.getvalue()
    return 0, told.getvalue()


@pytest.mark.parametrize(
    ("invariant", "breaker"),
    [
        pytest.param(name, breaker, id=f"{name}-{breaker.__name__}")
        for name, breakers in BREAKERS.items()
        for breaker in breakers
    ],
)
def test_what_breaks_an_invariant_is_named(invariant: str, breaker: Callable[[], int]) -> None:
    broken_id = breaker()
    found = {violation.invariant: violation for violation in violations()}
    assert broken_id in found[invariant].examples
    assert found[invariant].count == len(found[invariant].examples)


def test_names_are_unique_and_each_says_what_must_hold() -> None:
    assert len({invariant.name for invariant in INVARIANTS}) == len(INVARIANTS)
    assert [invariant.name for invariant in INVARIANTS if not invariant.says.endswith(".")] == []


def test_a_whole_database_is_well_and_each_invariant_has_its_line() -> None:
    SignalFactory()
    MatchFactory()
    status, told = check()
    assert status == 0, told
    lines = told.splitlines()
    assert [line.split()[1] for line in lines[: len(INVARIANTS)]] == [invariant.name for invariant in INVARIANTS]
    assert len(lines) == len(INVARIANTS) + len(tables()) + 1
    assert lines[-1].startswith("All ")


def test_rows_are_named_up_to_the_limit() -> None:
    plays = PlayFactory.create_batch(3, interval=None)
    status, told = check("--limit", "2")
    assert status == 1
    at = next(number for number, line in enumerate(told.splitlines()) if "intervals_tile_plays" in line)
    lines = told.splitlines()[at : at + 4]
    assert lines[0].startswith("broken intervals_tile_plays: 3 rows of csplaybooks_playbooks.Play (")
    assert lines[1:] == [
        f"         id {plays[0].pk}: {plays[0]}",
        f"         id {plays[1].pk}: {plays[1]}",
        "         and 1 more (--limit)",
    ]
    assert told.splitlines()[-1].endswith(" do not hold.")


def test_json_tells_the_same() -> None:
    status, told = check("--json")
    answer = json.loads(told)
    assert (status, answer["status"], answer["broken"]) == (0, "ok", [])
    assert answer["asked"] > len(INVARIANTS)
    touch = TouchFactory(account=AccountFactory())
    status, told = check("--json")
    (broken,) = json.loads(told)["broken"]
    assert (status, broken["invariant"], broken["examples"]) == (1, "touches_at_their_account", [touch.pk])
    assert (broken["count"], broken["table"]) == (1, "csplaybooks_playbooks.Touch")


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(CommandError, match="at least 1"):
        check("--limit", "0")


def test_memory_stays_flat_where_rows_are_walked(django_assert_max_num_queries: Any) -> None:
    PlayFactory.create_batch(3, interval=None)
    with django_assert_max_num_queries(2 * len(INVARIANTS) + 40):
        list(inspect(limit=1))


# What tables promise themselves


def broken_promises(model: Any) -> dict[str, tuple[int, list[int]]]:
    return {found.invariant: (found.count, found.examples) for found in inspect_table(model) if found.count}


def test_every_constraint_and_reference_is_asked() -> None:
    names = [found.invariant for model in tables() for found in inspect_table(model)]
    assert len(set(names)) == len(names)
    for model in tables():
        assert {constraint.name for constraint in model._meta.constraints} <= set(names)
    assert {"csplaybooks_playbooks.play.account_exists", "csplaybooks_playbooks.play.uid_unique"} <= set(names)
    assert "csplaybooks_accounts.apitoken_accounts.account_exists" in names


def test_a_broken_check_constraint_is_named() -> None:
    play = PlayFactory()
    with without_check(Play, "csp_play_hand_has_reason"):
        Play.objects.update(origin="hand")
    assert broken_promises(Play) == {"csp_play_hand_has_reason": (1, [play.pk])}


def test_what_is_unknown_breaks_no_check() -> None:
    AccountFactory(parent=None)
    assert broken_promises(Account) == {}
    assert broken_promises(AccountFacts) == {}


def test_a_broken_unique_constraint_is_named() -> None:
    drop_index("csp_match_one_open")
    first = MatchFactory()
    second = MatchFactory(account=first.account, version=first.version)
    MatchFactory()
    assert broken_promises(Match) == {"csp_match_one_open": (2, [first.pk, second.pk])}


def test_a_reference_to_nothing_is_named() -> None:
    # Both databases look at references when a transaction ends.
    change = ChangeFactory()
    Change.objects.update(account_id=change.account_id + 1)
    assert broken_promises(Change) == {"csplaybooks_accounts.change.account_exists": (1, [change.pk])}
    status, told = check()
    assert status == 1
    assert f"id {change.pk}: {change}" in told
    Change.objects.update(account_id=change.account_id)
    connection.check_constraints()


def test_a_match_that_broke_is_found_among_those_that_did_not() -> None:
    MatchFactory()
    odd = MatchFactory(opened_at=NOW)
    found = {violation.invariant: violation for violation in violations()}
    assert found["matches_follow_their_runs"].examples == [odd.pk]
