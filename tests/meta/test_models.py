"""What holds for every table: it is in the admin, says what it is, and knows who sees its rows."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin

from csplaybooks.admin_base import BaseAdmin
from csplaybooks.playbooks.roles import RIGHTS
from tests.admin.rows import MAKERS, MODELS

every_table = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


@every_table
def test_is_registered_described_and_has_visible_rows(model):
    assert isinstance(admin.site.get_model_admin(model), BaseAdmin)
    # Django writes a docstring of its own where there is none: the names of the fields.
    assert model.__doc__
    assert not model.__doc__.startswith(f"{model.__name__}(")
    queryset: Any = model._default_manager.all()
    assert callable(queryset.visible_to)
    assert queryset.visible_to.__doc__
    assert type(admin.site.get_model_admin(model)).__doc__


@pytest.mark.parametrize("answers", [MAKERS, RIGHTS], ids=["a maker of rows", "a line in the table of rights"])
def test_each_table_has(answers):
    assert set(answers) == set(MODELS)


def test_pages_of_ours_are_of_tables_of_ours():
    ours = {model for model, page in admin.site._registry.items() if isinstance(page, BaseAdmin)}
    assert ours == set(MODELS)
