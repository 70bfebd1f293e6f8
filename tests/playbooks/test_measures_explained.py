"""Of random accounts, every measure has words: of those that meet a condition and of those that do not."""

from __future__ import annotations

import os
from datetime import date
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, Phase, given, settings

from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.measures import Moment, get_measure
from tests.playbooks import plain
from tests.playbooks.plain_draws import Case, cases
from tests.playbooks.plain_store import Catalogue
from tests.playbooks.plain_world import Asked, World

pytestmark = pytest.mark.django_db


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue()


def explain_all(world: World, condition: dict[str, Any], asked: Asked, catalogue: Catalogue) -> None:
    """Ask why of every account, and hold what is found against what the plain evaluator finds."""
    measure = get_measure(condition["measure"])
    moment = Moment(asked.as_of, catalogue.known(world, asked))
    accounts = Account.objects.filter(pk__in=world.accounts).order_by("pk")
    compiled = measure.compile(condition, moment)
    of_compile = list(accounts.values("pk", **dict(compiled.found)))
    of_explain = list(accounts.values("pk", **dict(measure.explain(condition, moment))))
    assert [row["pk"] for row in of_explain] == sorted(world.accounts)
    holding = set(accounts.filter(compiled.holds).values_list("pk", flat=True))
    for short, found in zip(of_compile, of_explain, strict=True):
        assert {name: ordered(found[name]) for name in short} == {name: ordered(short[name]) for name in short}
        said = measure.words(condition, found)
        assert said == said.strip()
        assert len(said) < 2000
        holds, expected = plain.condition(world, found["pk"], condition, asked)
        assert holds == (found["pk"] in holding)
        if not holds:
            assert "needed " in said, said
            # What is compared is true of an account that fails, too.
            stored = {name: value.isoformat() if isinstance(value, date) else value for name, value in found.items()}
            numbers = {name: value for name, value in expected.items() if name in ("count", "present", "before")}
            assert plain.differences([numbers], [{"measure": measure.key, "found": stored}]) == []


def ordered(value: Any) -> Any:
    """A value of which the order says nothing."""
    if isinstance(value, dict):
        return {name: ordered(each) for name, each in value.items()}
    return sorted(value, key=repr) if isinstance(value, list) else value


@settings(
    max_examples=int(os.environ.get("PLAIN_EXAMPLES", "40")) // 2,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(case=cases())
def test_every_account_can_be_explained(catalogue: Catalogue, case: Case) -> None:
    with transaction.atomic():
        catalogue.store(case.world)
        for question in case.questions:
            asked = question.asked[0]
            with override_settings(CSPLAYBOOKS={"TIME_ZONE": asked.zone.key}):
                for group in question.definition["any"]:
                    for condition in group["all"]:
                        explain_all(case.world, condition, asked, catalogue)
        transaction.set_rollback(True)
