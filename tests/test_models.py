"""What all tables have in common: names that say whose they are, words for every refusal, no index twice."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import models

MODELS = [
    model
    for label in ("csplaybooks_accounts", "csplaybooks_signals", "csplaybooks_playbooks")
    for model in apps.get_app_config(label).get_models()
]

each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


def led_by(model: Any, field: Any) -> list[str]:
    """The indexes and unique constraints over all rows of a table that begin with a column."""
    whole = [index for index in model._meta.indexes if index.condition is None]
    whole += [
        constraint
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint) and constraint.condition is None
    ]
    return [each.name for each in whole if each.fields and each.fields[0].lstrip("-") in (field.name, field.attname)]


def test_there_are_tables() -> None:
    assert len(MODELS) > 40


@each_model
def test_every_table_says_what_it_is(model: Any) -> None:
    # Where there is no docstring Django makes one up: the name and its fields in parentheses.
    assert not model.__doc__.startswith(f"{model.__name__}(")


@each_model
def test_every_constraint_has_our_name_and_words(model: Any) -> None:
    for constraint in model._meta.constraints:
        assert constraint.name.startswith("csp_")
        assert constraint.violation_error_message != constraint.default_violation_error_message, constraint.name
        assert constraint.violation_error_message.endswith("."), constraint.name


@each_model
def test_every_index_has_our_name(model: Any) -> None:
    assert [index.name for index in model._meta.indexes if not index.name.startswith("csp_")] == []


@each_model
def test_no_relation_has_an_index_that_a_longer_one_begins_with(model: Any) -> None:
    relations: list[Any] = [
        field for field in model._meta.local_concrete_fields if field.is_relation and not field.unique
    ]
    doubled = {field.name: led_by(model, field) for field in relations if field.db_index and led_by(model, field)}
    assert doubled == {}


@each_model
def test_no_index_is_there_twice(model: Any) -> None:
    seen = [
        (tuple(each.fields), str(each.condition))
        for each in [*model._meta.indexes, *model._meta.constraints]
        if isinstance(each, models.Index | models.UniqueConstraint)
    ]
    assert len(seen) == len(set(seen))


def test_a_relation_without_an_index_of_its_own_is_led_by_another() -> None:
    fields: list[Any] = [field for model in MODELS for field in model._meta.local_concrete_fields]
    bare = {
        f"{field.model.__name__}.{field.name}"
        for field in fields
        if field.is_relation and not field.unique and not field.db_index and not led_by(field.model, field)
    }
    # Corrections go by their partial index.
    assert bare == {"Signal.corrects", "Reading.corrects"}
