"""Kept queries answer as fresh ones do, for every moment, mark and set of accounts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db.models import Q

from csplaybooks.accounts.factories import START, AccountFactory
from csplaybooks.playbooks import compiled, evaluator
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.evaluator import TriggerVersion, compile_query, evaluate
from csplaybooks.playbooks.factories import RunFactory
from csplaybooks.playbooks.measures import Compiled, Known, Measure, Moment, _registry, get_measure, uses_catalogue
from csplaybooks.playbooks.models import Playbook
from csplaybooks.signals.factories import (
    IntakeBatchFactory,
    MeterFactory,
    ReadingFactory,
    SignalFactory,
    SignalTypeFactory,
)

NOW = START + timedelta(days=60)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def none_kept() -> Iterator[None]:
    """No query is kept from another test, nor for another."""
    compiled._kept.clear()
    yield
    compiled._kept.clear()


@pytest.fixture
def accounts() -> list[int]:
    """Accounts of which every second knocks on gates, with readings at and around the thresholds; two batches."""
    set_up(now=START, schedules=False)
    pks = []
    for number in range(12):
        account = AccountFactory(facts__segment="small" if number % 3 else "enterprise")
        pks.append(account.pk)
        for batch in (IntakeBatchFactory(seen_by_run=1), IntakeBatchFactory(seen_by_run=3)):
            for ago in range(1, 3 + number % 2):
                SignalFactory(
                    account=account,
                    type=SignalTypeFactory(key="feature_gate_hit"),
                    occurred_at=NOW - timedelta(days=ago),
                    batch=batch,
                )
            for key in ("seats", "active_users", "api_calls"):
                ReadingFactory(
                    account=account,
                    meter=MeterFactory(key=key),
                    used_milli=(12 + number) * 1000,
                    limit_milli=20_000 - (number % 4) * 2_000,
                    occurred_at=NOW - timedelta(days=3 * (batch.seen_by_run or 0)),
                    batch=batch,
                )
    return pks


def triggers() -> list[TriggerVersion]:
    """All triggers of the starter library."""
    found: list[TriggerVersion] = []
    for playbook in Playbook.objects.select_related("published").prefetch_related("triggers"):
        assert playbook.published is not None
        found += TriggerVersion.of(playbook.published, {each.key: each.pk for each in playbook.triggers.all()})
    return found


def asked_of(trigger: TriggerVersion) -> list[Measure]:
    """The measures of a trigger's conditions."""
    return [get_measure(settings["measure"]) for group in trigger.definition["any"] for settings in group["all"]]


def fresh(trigger: TriggerVersion, as_of: datetime, known: Known, some: list[int] | None) -> list[list[dict[str, Any]]]:
    """The rows of each group's query, built for this moment alone."""
    # The ids one by one, as a measure may have them too.
    moment = Moment(as_of, known, None if some is None else tuple(some))
    return [list(compile_query(trigger, moment, group=group)[0]) for group in range(len(trigger.definition["any"]))]


def test_kept_queries_answer_as_fresh_ones(accounts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def listened(*args: Any, **options: Any) -> Any:
        rows, columns = compiled.ask(*args, **options)
        found = list(rows)
        seen.append(found)
        return iter(found), columns

    monkeypatch.setattr(evaluator, "ask", listened)
    answers = 0
    for trigger in triggers():
        for mark in (None, 2, 3):
            for as_of in (NOW, NOW - timedelta(days=2, microseconds=1), NOW + timedelta(days=40)):
                for some in (None, accounts[:1], accounts[3:6], accounts[2:6], accounts):
                    seen.clear()
                    evaluate(trigger, as_of, Known.now(mark=mark), some)
                    assert seen == fresh(trigger, as_of, Known.now(mark=mark), some)
                    answers += 1
    kept = compiled._kept
    assert answers > 300
    # By group, with and without a mark, for all accounts and for some; and by day where it looks at the calendar.
    daily = [trigger for trigger in triggers() if any(measure.uses_today for measure in asked_of(trigger))]
    assert 0 < len(daily) < 5
    assert {len(trigger.definition["any"]) for trigger in daily} == {1}
    groups = sum(len(trigger.definition["any"]) for trigger in triggers())
    assert groups > len(triggers())
    assert len(kept) == (groups + len(daily) * 2) * 2 * 2
    # Nothing is in the catalogue: some that ask of it can find nothing, and that is kept.
    of_catalogue = [trigger for trigger in triggers() if uses_catalogue(trigger.definition)]
    assert sum(one is None for one in kept.values()) <= len(of_catalogue) * 2 * 2


def test_the_accounts_are_such_that_some_match_and_some_do_not(accounts: list[int]) -> None:
    found = {trigger.definition["key"]: evaluate(trigger, NOW, Known.now(), accounts) for trigger in triggers()}
    for key in ("gates_at_high_usage", "seats_above_80", "five_over", "at_100"):
        assert 0 < len(found[key]) < len(accounts)


def test_one_query_each_time(accounts: list[int], django_assert_num_queries: Any) -> None:
    trigger = next(each for each in triggers() if each.definition["key"] == "seats_above_80")
    known = Known.now(mark=RunFactory().pk)
    for some in (accounts, accounts, accounts[:1], None):
        with django_assert_num_queries(1):
            evaluate(trigger, NOW, known, some)


def test_about_no_accounts_nothing_is_asked(accounts: list[int], django_assert_num_queries: Any) -> None:
    known = Known.now()
    for trigger in triggers():
        with django_assert_num_queries(0):
            assert evaluate(trigger, NOW, known, []) == []
    assert not compiled._kept


def test_however_many_accounts_are_one_parameter(accounts: list[int]) -> None:
    trigger = next(each for each in triggers() if each.definition["key"] == "gates_at_high_usage")
    known = Known.now()
    # More than SQLite takes as parameters of one statement.
    many = [*accounts, *range(10**9, 10**9 + 40_000)]
    assert evaluate(trigger, NOW, known, many) == evaluate(trigger, NOW, known, accounts) != []
    assert len(compiled._kept) == 1


def test_measure_that_needs_the_moment_itself_is_built_for_each(
    accounts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    class EvenDay(Measure):
        key = "even_day"
        settings_schema: dict[str, Any] = {}
        takes_threshold = False

        def compile(self, settings: Any, moment: Moment) -> Compiled:
            return Compiled(holds=Q(pk__gt=0) if moment.as_of.day % 2 == 0 else Q(pk__lt=0), found={})

        def words(self, settings: Any, found: Any) -> str:
            return "an even day"

    monkeypatch.setitem(_registry, "even_day", EvenDay())
    trigger = TriggerVersion(1, 1, {"key": "even", "any": [{"all": [{"measure": "even_day"}]}]}, {})
    days = [NOW + timedelta(days=number) for number in range(4)]
    assert [bool(evaluate(trigger, day, Known.now(), accounts)) for day in days] == [day.day % 2 == 0 for day in days]
