"""Pages of lists: a cursor over a stable, unique order.

REST framework's own CursorPagination remembers only the first field of the order and counts the rows that
share its value, up to a thousand. Our acts write thousands of rows at one instant, so that readers would go
in circles there. This one remembers the values of all fields, and the next page begins after exactly that
row, whatever was added, changed or removed before it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured, ValidationError
from django.db.models import DateTimeField, F, Field, Model, Q, QuerySet
from django.db.models.expressions import OrderBy
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from csplaybooks.api.problems import FieldError, Problem
from csplaybooks.conf import csplaybooks_settings

# Far beyond any cursor of ours: three fields of text.
_LONGEST_CURSOR = 4000


@dataclass(frozen=True, slots=True)
class Term:
    """One field of an order, with its direction."""

    name: str
    field: Field[Any, Any]
    descending: bool
    nullable: bool

    def order_by(self, backwards: bool) -> OrderBy:
        """The term for `order_by()`, turned round to read backwards. Nulls come after all values."""
        descending = self.descending != backwards
        if not self.nullable:
            return F(self.name).desc() if descending else F(self.name).asc()
        return F(self.name).desc(nulls_first=True) if descending else F(self.name).asc(nulls_last=True)

    def equal_to(self, value: Any) -> Q:
        """Rows that hold the same value."""
        return Q(**{f"{self.name}__isnull": True}) if value is None else Q(**{self.name: value})

    def beyond(self, value: Any, backwards: bool) -> Q | None:
        """Rows that come after `value` in the order (before it when reading backwards); None: no row can."""
        if self.descending != backwards:
            return Q(**{f"{self.name}__isnull": False}) if value is None else Q(**{f"{self.name}__lt": value})
        if value is None:
            return None
        condition = Q(**{f"{self.name}__gt": value})
        return condition | Q(**{f"{self.name}__isnull": True}) if self.nullable else condition

    def value_of(self, row: Any) -> Any:
        """What `row` (an instance, or a dict of `values()`) holds, as JSON can carry it."""
        if isinstance(row, dict):
            value = row[self.name]
        else:
            value = row
            for part in self.name.split("__"):
                value = None if value is None else getattr(value, part)
        if isinstance(value, Model):
            value = value.pk
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
        if isinstance(value, date | Decimal | UUID):
            return str(value)
        return value

    def parse(self, value: Any) -> Any:
        """A value out of a cursor, as the database takes it. Raises ValueError or ValidationError."""
        if value is None:
            if not self.nullable:
                raise ValueError("null")
            return None
        if not isinstance(value, str | int | float) or (isinstance(value, str) and not value.isprintable()):
            raise ValueError("no plain value")
        parsed = self.field.to_python(value)
        if isinstance(self.field, DateTimeField) and not 2 <= parsed.year <= 9998:
            # Moved to another zone, such a time would leave the calendar.
            raise ValueError("year")
        # Among others that an integer is one the column can hold.
        self.field.run_validators(parsed)
        return parsed


class StableCursorPagination(BasePagination):
    """Answers `{"next", "previous", "results"}`; `next` and `previous` are addresses or null.

    The order is the view's `ordering`, else (`updated_at`, `id`). If it does not end with a unique field, the
    primary key is added.
    A `page_size` above the setting PAGE_SIZE_MAX is refused. A cursor is tied to its order.

    Raises Problem 400 `bad_cursor` or `bad_page_size`; ImproperlyConfigured for an order of unknown fields.
    """

    ordering: Sequence[str] = ("updated_at", "id")
    cursor_query_param = "cursor"
    page_size_query_param = "page_size"

    _next: str | None = None
    _previous: str | None = None

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        """The rows of the page that the request asks for: one query, one row more than shown."""
        page_size = self.get_page_size(request)
        terms = unique_order(queryset, self.get_ordering(view))
        cursor = request.query_params.get(self.cursor_query_param)
        position, backwards = (None, False) if cursor is None else self._decode(cursor, terms)

        rows = queryset.order_by(*(term.order_by(backwards) for term in terms))
        if position is not None:
            rows = rows.filter(_beyond(terms, position, backwards))
        page = list(rows[: page_size + 1])
        more = len(page) > page_size
        page = page[:page_size]
        if backwards:
            page.reverse()

        address = request.build_absolute_uri()
        # On the way back there is always a page ahead: the one that the reader comes from.
        if page and (more or backwards):
            self._next = self._address(address, terms, page[-1], backwards=False)
        if page and (more if backwards else position is not None):
            self._previous = self._address(address, terms, page[0], backwards=True)
        return page

    def get_page_size(self, request: Request) -> int:
        """Rows on a page: asked for, at most PAGE_SIZE_MAX, or the setting PAGE_SIZE, cut to that."""
        most = csplaybooks_settings.PAGE_SIZE_MAX
        asked = request.query_params.get(self.page_size_query_param)
        if asked is None:
            return min(csplaybooks_settings.PAGE_SIZE, most)
        digits = asked.lstrip("0")
        # By length first: Python reads no more than 4300 digits.
        if not (asked.isascii() and asked.isdigit() and digits) or len(digits) > 9 or int(digits) > most:
            message = f"page_size must be a whole number from 1 to {most}."
            raise Problem(
                status=400,
                code="bad_page_size",
                message=message,
                errors=[FieldError((self.page_size_query_param,), "bad_page_size", message)],
            )
        return int(digits)

    def get_ordering(self, view: APIView | None) -> Sequence[str]:
        """The order of the view, else ours."""
        ordering = getattr(view, "ordering", None) or self.ordering
        return (ordering,) if isinstance(ordering, str) else tuple(ordering)

    def get_paginated_response(self, data: Any) -> Response:
        """The answer around the serialized rows."""
        return Response({"next": self._next, "previous": self._previous, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The answer in the words of OpenAPI; `schema` tells of the rows."""
        address = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": address, "previous": address, "results": schema},
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        """The query parameters in the words of OpenAPI."""
        return [
            {
                "name": self.cursor_query_param,
                "required": False,
                "in": "query",
                "description": "Where the page begins: part of the addresses in `next` and `previous`.",
                "schema": {"type": "string"},
            },
            {
                "name": self.page_size_query_param,
                "required": False,
                "in": "query",
                "description": f"Rows on a page, at most {csplaybooks_settings.PAGE_SIZE_MAX}.",
                "schema": {"type": "integer", "minimum": 1, "default": csplaybooks_settings.PAGE_SIZE},
            },
        ]

    def _address(self, address: str, terms: Sequence[Term], row: Any, *, backwards: bool) -> str:
        text = json.dumps([_order_name(terms), int(backwards), [term.value_of(row) for term in terms]])
        cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        return replace_query_param(address, self.cursor_query_param, cursor)

    def _decode(self, cursor: str, terms: Sequence[Term]) -> tuple[list[Any], bool]:
        """The position and the direction in a cursor."""
        try:
            if len(cursor) > _LONGEST_CURSOR:
                raise ValueError("length")
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            name, backwards, values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            if name != _order_name(terms) or backwards not in (0, 1) or not isinstance(values, list):
                raise ValueError("content")
            position = [term.parse(value) for term, value in zip(terms, values, strict=True)]
        except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error, ValidationError):
            message = "This cursor is none of ours for this order; begin again without it."
            raise Problem(
                status=400,
                code="bad_cursor",
                message=message,
                errors=[FieldError((self.cursor_query_param,), "bad_cursor", message)],
            ) from None
        return position, bool(backwards)


def unique_order(queryset: QuerySet[Any], ordering: Sequence[str]) -> list[Term]:
    """The terms of `ordering` up to the first unique one, with the primary key added where there is none.

    Raises ImproperlyConfigured for an empty order and for fields that the queryset does not have.
    """
    if not ordering:
        raise ImproperlyConfigured("A list without an order cannot be paged.")
    terms: list[Term] = []
    for text in ordering:
        term = _term(queryset, text.removeprefix("-"), descending=text.startswith("-"))
        if all(term.name != other.name for other in terms):
            terms.append(term)
        if _unique(queryset, term):
            return terms
    # In the direction of the last term, so that an index over both serves either way.
    terms.append(_term(queryset, queryset.model._meta.pk.name, descending=terms[-1].descending))
    return terms


def _term(queryset: QuerySet[Any], name: str, *, descending: bool) -> Term:
    """The term for a field, a field of a related row (`account__name`), or an annotation."""
    model = queryset.model
    annotation = queryset.query.annotations.get(name)
    if annotation is not None:
        # What an expression yields may be null for all that is known here.
        return Term(name, annotation.output_field, descending, nullable=True)
    if name == "pk":
        name = model._meta.pk.name
    nullable = False
    field: Any = None
    try:
        for part in name.split("__"):
            field = model._meta.get_field(part)
            if field.many_to_many or field.one_to_many:
                raise ImproperlyConfigured(f"By {name!r} {queryset.model.__name__} would be shown twice.")
            nullable = nullable or getattr(field, "null", True)
            model = field.related_model or model
    except FieldDoesNotExist as error:
        raise ImproperlyConfigured(f"{queryset.model.__name__} cannot be ordered by {name!r}.") from error
    if field.is_relation:
        # Ordering by a relation would follow the other model's own order; the key is what the row holds.
        name, field = "__".join((*name.split("__")[:-1], field.attname)), field.target_field
    return Term(name, field, descending, nullable)


def _unique(queryset: QuerySet[Any], term: Term) -> bool:
    """Whether no two rows share the term's value. Nulls are shared."""
    own = {field.attname: field for field in queryset.model._meta.concrete_fields}
    return term.name in own and own[term.name].unique and not term.nullable


def _beyond(terms: Sequence[Term], position: Sequence[Any], backwards: bool) -> Q:
    """The rows after `position`: beyond it in the first field, or equal there and beyond in the next ..."""
    result: Q | None = None
    for term, value in zip(reversed(terms), reversed(position), strict=True):
        beyond = term.beyond(value, backwards)
        if result is None:
            result = beyond
        else:
            tied = term.equal_to(value) & result
            result = tied if beyond is None else beyond | tied
    first, value = terms[0], position[0]
    if len(terms) > 1 and result is not None and not first.nullable:
        # Said once more as a plain bound: databases seek an index by it, and not by an OR.
        bound = "lte" if first.descending != backwards else "gte"
        result = Q(**{f"{first.name}__{bound}": value}) & result
    if result is None:
        raise AssertionError("The last term is unique and never null.")
    return result


def _order_name(terms: Sequence[Term]) -> str:
    return ",".join(("-" if term.descending else "") + term.name for term in terms)
