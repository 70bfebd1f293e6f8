"""The evaluator agrees with a plain, slow one on random worlds, moments and marks.

Each example asks some dozens of questions. `PLAIN_EXAMPLES=5000` looks further than forty.
"""

from __future__ import annotations

import itertools
import os
from zoneinfo import ZoneInfo

import jsonschema
import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, Phase, given, settings

from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate
from csplaybooks.playbooks.measures import get_measure, measures
from tests.playbooks import plain
from tests.playbooks.plain_draws import FIRST_ID, SETTINGS, VALUES, Case, Question, cases
from tests.playbooks.plain_store import NOW, SIGNAL_TYPES, Catalogue, show_asked
from tests.playbooks.plain_world import Asked, News, Signal, World

pytestmark = pytest.mark.django_db


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue()


def possible(question: Question) -> bool:
    """Whether a document may ask this."""
    for group in question.definition["any"]:
        for condition in group["all"]:
            measure = get_measure(condition["measure"])
            jsonschema.validate(condition, measure.schema())
            if list(measure.problems(condition)):
                return False
    return True


def wrong(
    world: World, question: Question, asked: Asked, of: tuple[int, ...] | None, catalogue: Catalogue
) -> list[str]:
    """Where the evaluator and the plain one disagree."""
    trigger = TriggerVersion(1, 1, question.definition, question.audience)
    hits = evaluate(trigger, asked.as_of, catalogue.known(world, asked), of)
    found = {hit.account_id: hit.evidence for hit in hits}
    expected = {}
    for account in world.accounts if of is None else sorted(of):
        answer = plain.answer(world, account, question.definition, question.audience, asked)
        if answer is not None:
            expected[account] = answer
    faults = [f"finds {list(found)}, and not {list(expected)}"] if list(found) != list(expected) else []
    for account in found.keys() & expected.keys():
        faults += [f"of {account}: {each}" for each in plain.differences(expected[account], found[account])]
    return faults


@settings(
    max_examples=int(os.environ.get("PLAIN_EXAMPLES", "40")),
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(case=cases())
def test_the_evaluator_agrees_with_a_plain_one(catalogue: Catalogue, case: Case) -> None:
    with transaction.atomic():
        catalogue.store(case.world)
        for question in case.questions:
            assert possible(question), question.definition
            for asked in question.asked:
                with override_settings(CSPLAYBOOKS={"TIME_ZONE": asked.zone.key}):
                    for of in (None, question.of):
                        faults = wrong(case.world, question, asked, of, catalogue)
                        assert not faults, "\n".join([show_asked(asked), *faults])
        transaction.set_rollback(True)


def test_values_of_a_property_are_two_where_a_plain_eye_sees_two(catalogue: Catalogue) -> None:
    pairs = list(itertools.combinations(VALUES, 2))
    accounts = tuple(FIRST_ID + number for number in range(len(pairs)))
    signals = tuple(
        Signal(2 * account + side, account, NOW, News(None), type="feature_used", properties=(("area", value),))
        for account, pair in zip(accounts, pairs, strict=True)
        for side, value in enumerate(pair)
    )
    world = World(accounts, signals)
    catalogue.store(world)
    asked = Asked(NOW, None, frozenset(SIGNAL_TYPES), {}, ZoneInfo("UTC"))
    different = {"measure": "distinct_count", "signal_type": "feature_used", "window_days": 1, "property": "area"}
    definition = {"key": "t", "any": [{"all": [{**different, "at_least": 1}]}]}
    assert wrong(world, Question(definition, {}, (asked,), ()), asked, None, catalogue) == []


def test_every_measure_has_a_plain_one() -> None:
    assert set(measures()) == set(plain.MEASURES) == set(SETTINGS)
