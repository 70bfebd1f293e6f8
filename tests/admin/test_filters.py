"""Filters that are asked for what is no choice of theirs: a list, empty or whole, and never an error."""

from __future__ import annotations

import pytest

from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.models import Match
from csplaybooks.signals.models import Reading, Signal
from tests.admin.pages import url
from tests.admin.rows import MODELS, make

pytestmark = pytest.mark.django_db

#: More digits than Python reads as a number, more than a column holds, a digit that is none of ours, and no number.
ABSURD = ("9" * 5000, "9" * 30, "²", "nobody")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_filters_take_any_value(boss, model):
    make(model)
    # Some filters are there only where there is somebody to choose.
    TeamMemberFactory()
    page = url(model, "changelist")
    names = [name for spec in boss.get(page).context["cl"].filter_specs for name in spec.expected_parameters()]
    for name in names:
        for value in ABSURD:
            # Django leads whoever asks for nonsense back to the list, or says that it is nonsense.
            assert boss.get(page, {name: value}).status_code in (200, 302, 400), (name, value[:9])


@pytest.mark.parametrize("model", [Account, Match, Reading, Signal], ids=lambda model: model.__name__)
def test_numbers_that_no_column_holds_are_in_no_row(boss, model):
    """Lists that are counted to their end and to a cap alike, and on every database."""
    rows = make(model)
    page = url(model, "changelist")

    def found(ids):
        answer = boss.get(page, {"id__in": ids})
        assert answer.status_code == 200, ids
        changes = answer.context["cl"]
        assert changes.result_count == len(changes.result_list)
        return list(changes.result_list)

    for absurd in ("9" * 23, f"-{'9' * 23}", f"{'9' * 23},{'9' * 30}"):
        assert found(absurd) == []
    assert found(str(rows[0].pk)) == rows[:1]
