"""Acts that many tables share: make a row, change some of its values, delete rows.

A `Table` says what may be written in a table of the vendor's own (its catalogue, its team). What has rules of its own
has acts of its own beside these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction

from csplaybooks.accounts import hooks
from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.acts.record import record_changes, require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.base import Versioned
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.accounts.money import in_major_units
from csplaybooks.conf import csplaybooks_settings

Row = TypeVar("Row", bound=Versioned)


@dataclass(frozen=True, kw_only=True)
class Table(Generic[Row]):
    """What people may write in a table.

    `fields` are given when a row is made; those of `fixed` stand from then on, because others speak of the row by
    them. `tells` maps a field that triggers ask about to the kind of change that another value of it is. `rule` is
    asked about every row before it is written, and raises ValidationError.
    """

    model: type[Row]
    fields: tuple[str, ...]
    fixed: tuple[str, ...] = ("key",)
    tells: Mapping[str, str] = field(default_factory=dict)
    rule: Callable[[Row], None] | None = None

    @property
    def noun(self) -> str:
        """What a row is called: `signal type`."""
        return str(self.model._meta.verbose_name)


@transaction.atomic
def make_row(*, table: Table[Row], values: Mapping[str, Any], now: datetime, actor: Any) -> Row:
    """Make a row; answers it. Relations are given as rows.

    Raises ValidationError, by field, for values that do not fit or are taken; ValueError for a field that is not the
    table's.
    """
    require_aware(now=now)
    _require_fields(table, values)
    row = table.model(**values, updated_at=now)
    _check(table, row)
    _save(row, lambda: row.save(force_insert=True))
    write_timeline([_line("added", table, row, now, actor)])
    return row


@transaction.atomic
def change_row(
    *,
    table: Table[Row],
    row_id: int,
    values: Mapping[str, Any],
    now: datetime,
    actor: Any,
    expected_version: int | None = None,
) -> Row:
    """Give a row other values; answers it as it stands.

    Fields not named stay; where nothing differs, nothing is written.

    Raises the model's DoesNotExist; Conflict when the row's version is not `expected_version` (None: whatever it is);
    ValidationError, by field, for values that do not fit, are taken or are fixed; ValueError for a field that is not
    the table's.
    """
    require_aware(now=now)
    _require_fields(table, values)
    rows = table.model._default_manager
    row: Row = rows.select_for_update(no_key=True).get(pk=row_id)
    if expected_version is not None and row.version != expected_version:
        raise Conflict(row, expected=expected_version)
    before = {name: getattr(row, name) for name in values}
    for name, value in values.items():
        setattr(row, name, value)
    # In the form in which the fields hold them: a number sent as text is no other number.
    row.clean_fields(exclude={each.name for each in row._meta.fields if each.name not in values})
    differing = [name for name in values if getattr(row, name) != before[name]]
    if not differing:
        return row
    if fixed := [name for name in differing if name in table.fixed]:
        raise ValidationError({name: f"This stays as it is: {before[name]}." for name in fixed})
    _check(table, row)
    read_version = row.version
    row.version, row.updated_at = read_version + 1, now
    written = {name: getattr(row, name) for name in (*differing, "version", "updated_at")}
    # Where the database has no row locks, the version decides who was first.
    if not _save(row, lambda: rows.filter(pk=row_id, version=read_version).update(**written)):
        raise Conflict(row, expected=read_version)
    for kind in dict.fromkeys(table.tells[name] for name in differing if name in table.tells):
        record_changes(kind=kind, account_ids=[None], now=now)
    said = "; ".join(_difference(row, name, before[name]) for name in differing)
    write_timeline([_line("changed", table, row, now, actor, what=said)])
    return row


@transaction.atomic
def delete_rows(*, table: Table[Row], row_ids: Iterable[int], now: datetime, actor: Any) -> int:
    """Delete rows, all or none; answers how many. What is not there any more is passed over.

    Raises ValidationError for rows that others point at, or that something still speaks of by its key.
    """
    require_aware(now=now)
    rows: list[Row] = list(table.model._default_manager.select_for_update().filter(pk__in=list(row_ids)).order_by("pk"))
    if not rows:
        return 0
    hooks.rows_go.send(sender=table.model, rows=rows)
    for row in rows:
        # Asked row by row so that the answer names it; a handful is deleted at a time. Stock deletion would read every
        # row that points here, which for a kind of signal may be millions.
        if holding := _holding(row):
            raise ValidationError(f"{row} is in use: {', '.join(holding)}.")
    lines = [_line("deleted", table, row, now, actor) for row in rows]
    table.model._default_manager.filter(pk__in=[row.pk for row in rows]).delete()
    write_timeline(lines)
    return len(rows)


def _require_fields(table: Table[Any], values: Mapping[str, Any]) -> None:
    if unknown := [name for name in values if name not in table.fields]:
        raise ValueError(f"A {table.noun} has no {', '.join(unknown)}; there are {', '.join(table.fields)}.")


def _check(table: Table[Row], row: Row) -> None:
    """Everything that the columns, the constraints and the table's own rule say."""
    row.clean_fields()
    # Before the constraints, because it can name the field.
    if table.rule is not None:
        table.rule(row)
    row.full_clean()


def _save(row: models.Model, write: Callable[[], Any]) -> Any:
    """Write; where somebody took a key meanwhile, the constraint is told in its words."""
    try:
        with transaction.atomic():
            return write()
    except IntegrityError:
        row.full_clean()
        raise


def _holding(row: models.Model) -> list[str]:
    """The kinds of row that stand in the way of deleting this one."""
    relations: list[Any] = [each for each in row._meta.get_fields(include_hidden=True) if each.auto_created]
    return sorted(
        {
            str(relation.related_model._meta.verbose_name_plural)
            for relation in relations
            if getattr(relation, "on_delete", None) in (models.PROTECT, models.RESTRICT)
            and relation.related_model._base_manager.filter(**{relation.field.name: row}).exists()
        }
    )


def _difference(row: models.Model, name: str, before: Any) -> str:
    """One value and what it was: `list price: 99.50 (was 10.00)`."""
    field: Any = row._meta.get_field(name)
    label = str(field.verbose_name).removesuffix(" minor")
    return f"{label}: {_words(row, name, getattr(row, name))} (was {_words(row, name, before)})"


def _words(row: models.Model, name: str, value: Any) -> str:
    """A value as people say it."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_minor"):
        return f"{in_major_units(value, csplaybooks_settings.CURRENCY):,f}"
    choices = dict(getattr(row._meta.get_field(name), "flatchoices", ()))
    return str(choices.get(value, value))


def _line(done: str, table: Table[Any], row: Any, now: datetime, actor: Any, *, what: str = "") -> TimelineEntry:
    """What is told of a row: `Product Analytics added`, or with `what` `Product Analytics: name: ...`."""
    return timeline_entry(
        account_id=None,
        at=now,
        now=now,
        kind=f"{row._meta.model_name}_{done}",
        text=f"{table.noun[0].upper()}{table.noun[1:]} {row}" + (f": {what}" if what else f" {done}"),
        subject=row,
        actor=actor,
    )
