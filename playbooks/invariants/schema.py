"""What the tables themselves promise: constraints and references, asked of the rows.

A database enforces them on what is written through it. Rows that came past it (a restored dump, a bulk load with checks
switched off, a constraint that somebody dropped) may break them all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.db.models import (
    BooleanField,
    CheckConstraint,
    Count,
    Exists,
    ExpressionWrapper,
    ForeignKey,
    OuterRef,
    PositiveBigIntegerField,
    PositiveIntegerField,
    PositiveSmallIntegerField,
    Q,
    UniqueConstraint,
)

from csplaybooks.playbooks.invariants.registry import Violation

#: The labels of our apps.
APPS = ("csplaybooks_accounts", "csplaybooks_signals", "csplaybooks_playbooks")


def tables() -> list[Any]:
    """The models of all our tables, those between many and many included."""
    return [model for app in APPS for model in apps.get_app_config(app).get_models(include_auto_created=True)]


def inspect_table(model: Any, *, limit: int = 10) -> Iterator[Violation]:
    """Ask each constraint and each reference of a table; with count 0 where it holds. One query for each."""
    for constraint in model._meta.constraints:
        if isinstance(constraint, CheckConstraint):
            yield _check(model, constraint, limit)
        elif isinstance(constraint, UniqueConstraint):
            # What is unique is columns, or expressions over them.
            values = {f"_value{number}": value for number, value in enumerate(constraint.expressions)}
            rows = model._base_manager.filter(constraint.condition or Q()).annotate(**values)
            yield _unique(rows, constraint.name, (*constraint.fields, *values), limit)
    for field in model._meta.concrete_fields:
        if field.unique and not field.primary_key:
            name = f"{model._meta.label_lower}.{field.name}_unique"
            yield _unique(model._base_manager.all(), name, (field.name,), limit)
        if isinstance(field, ForeignKey):
            yield _reference(model, field, limit)
        if isinstance(field, PositiveBigIntegerField | PositiveIntegerField | PositiveSmallIntegerField):
            below = model._base_manager.filter(**{f"{field.name}__lt": 0})
            name = f"{model._meta.label_lower}.{field.name}_not_negative"
            yield _violation(model, name, below, f"{field.name} is at least zero.", limit)


def _violation(model: Any, name: str, rows: Any, says: str, limit: int) -> Violation:
    count = rows.count()
    examples = list(rows.order_by("pk").values_list("pk", flat=True)[:limit]) if count else []
    return Violation(name, count, examples, model._meta.label, says)


def _check(model: Any, constraint: CheckConstraint, limit: int) -> Violation:
    # As a database sees it: what is neither true nor false, for want of a value, holds.
    condition: Any = constraint.condition
    holds = ExpressionWrapper(condition, output_field=BooleanField())
    rows = model._base_manager.annotate(_holds=holds).filter(_holds=False)
    return _violation(model, constraint.name, rows, str(constraint.violation_error_message), limit)


def _unique(rows: Any, name: str, fields: Sequence[str], limit: int) -> Violation:
    """The rows whose values stand more than once; by groups, since the index that would help may be what is missing."""
    told = {f"{field}__isnull": False for field in fields}
    standing = rows.filter(**told)
    groups = standing.order_by().values(*fields).annotate(_rows=Count("pk")).filter(_rows__gt=1)
    count = sum(group["_rows"] for group in groups.iterator())
    examples: list[int] = []
    for group in groups.order_by(*fields)[:limit] if count else ():
        alike = standing.filter(**{field: group[field] for field in fields}).order_by("pk")
        examples += alike.values_list("pk", flat=True)[: limit - len(examples)]
    called = " and ".join(field for field in fields if not field.startswith("_")) or "Values that are alike"
    return Violation(name, count, examples, rows.model._meta.label, f"{called} together stand once in the table.")


def _reference(model: Any, field: ForeignKey[Any, Any], limit: int) -> Violation:
    target: Any = field.related_model
    to_field: Any = field.target_field
    there = target._base_manager.filter(**{to_field.attname: OuterRef(field.attname)})
    rows = model._base_manager.filter(~Exists(there), **{f"{field.attname}__isnull": False})
    name = f"{model._meta.label_lower}.{field.name}_exists"
    return _violation(model, name, rows, f"What {field.name} points at is there.", limit)
