"""Verdicts agree with plain ones on random worlds, matches, guards, moments and marks; counts, lists and explanations
with each other. `PLAIN_EXAMPLES=5000` looks further than twenty-five.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, Phase, given, settings

from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.evaluator import TriggerVersion
from csplaybooks.playbooks.verdicts import Asked, Verdict, accounts_of, count_verdicts, explain, sort_out
from tests.playbooks import plain_verdicts
from tests.playbooks.plain_store import Catalogue, show_asked
from tests.playbooks.plain_verdict_draws import Shelf, VerdictCase, verdict_cases, view_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def counted(trigger: TriggerVersion, asked: Asked, accounts: Sequence[int] | None) -> dict[str, int]:
    """Counts by key, without zeros."""
    return {count.key: count.accounts for count in count_verdicts(trigger, asked, accounts) if count.accounts}


@settings(
    max_examples=int(os.environ.get("PLAIN_EXAMPLES", "25")),
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(case=verdict_cases())
def test_verdicts_agree_with_plain_ones(catalogue: Catalogue, shelf: Shelf, case: VerdictCase) -> None:
    world = case.case.world
    with transaction.atomic():
        catalogue.store(world)
        for question, book in zip(case.case.questions, case.books, strict=True):
            shelf.store(book)
            trigger = shelf.asked_of(question, book)
            for number, plainly in enumerate(question.asked):
                view = view_of(plainly.mark, number)
                asked = Asked(
                    plainly.as_of,
                    catalogue.known(world, plainly),
                    run=shelf.runs[view.run] if view.run else None,
                    past=view.past or view.run is not None,
                    newest=view.newest(plainly.as_of),
                )
                with override_settings(CSPLAYBOOKS={"TIME_ZONE": plainly.zone.key}):
                    expected = {
                        account: plain_verdicts.verdict(
                            world, account, question.definition, question.audience, plainly, book, view
                        )
                        for account in world.accounts
                    }
                    said = f"{show_asked(plainly)}, {view}: {expected}"
                    found = counted(trigger, asked, None)
                    assert found == Counter(expected.values()), said
                    assert sum(found.values()) == Account.objects.count()
                    of = Counter(expected[account] for account in question.of)
                    assert counted(trigger, asked, list(question.of)) == of, said
                    if number == 0:
                        check_lists_and_explanations(trigger, asked, expected, said)
        transaction.set_rollback(True)


def check_lists_and_explanations(trigger: TriggerVersion, asked: Asked, expected: dict[int, str], said: str) -> None:
    """Each account stands in the one list of its verdict, and is explained by it."""
    keys = {count.key for count in count_verdicts(trigger, asked)}
    listed = [(account.pk, key) for key in sorted(keys) for account in accounts_of(trigger, asked, Verdict.parse(key))]
    assert sorted(listed) == sorted(expected.items()), said
    explained = explain([trigger], asked, list(expected))
    assert {pk: [each.verdict.key for each in all_of if each.verdict] for pk, all_of in explained.items()} == {
        pk: [key] for pk, key in expected.items()
    }, said
    holding = sort_out(trigger, asked).holding
    assert {pk: verdict.key for pk, verdict in holding.items()} == {
        pk: key for pk, key in expected.items() if Verdict.parse(key).meets_the_conditions
    }, said
