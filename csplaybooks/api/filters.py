"""Filters of lists that refuse what they do not know.

A parameter spelled wrong and passed over answers with every row, and nobody notices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS
from django.db.models import QuerySet
from django_filters import FilterSet
from django_filters.rest_framework import DjangoFilterBackend
from django_filters.widgets import SuffixedMultiWidget
from rest_framework.request import Request
from rest_framework.views import APIView

from csplaybooks.api.problems import FieldError, Problem, plain_text

FORMAT_PARAMETER = "format"

_BOOLEANS = frozenset({"true", "false", "1", "0"})


def refuse_unknown_parameters(request: Request, known: Mapping[str, bool]) -> None:
    """Raise a 400 Problem for query parameters not in `known`, and for known ones given twice.

    `known` tells of each name whether it may be repeated.
    """
    given = request.query_params
    if unknown := sorted(set(given) - set(known)):
        names = ", ".join(repr(plain_text(name)) for name in unknown[:10])
        listed = f"The known ones are: {', '.join(sorted(known))}."
        raise Problem(
            status=400,
            code="unknown_filter",
            message=f"Unknown query parameter: {names}. {listed}",
            errors=[
                FieldError((name,), "unknown_filter", "This query parameter is not known here.") for name in unknown
            ],
        )
    if repeated := sorted(name for name in given if not known[name] and len(given.getlist(name)) > 1):
        raise Problem(
            status=400,
            code="repeated_parameter",
            message=f"Given more than once: {', '.join(repeated)}.",
            errors=[
                FieldError((name,), "repeated_parameter", "This query parameter takes one value only.")
                for name in repeated
            ],
        )


class StrictFilterBackend(DjangoFilterBackend):  # type: ignore[misc]  # django-filter brings no types
    """The filters of the view's `filterset_class` or `filterset_fields`; all else in the query is refused.

    Known are the filters, what the view's paginator reads, `format`, and the
    names in the view's `query_parameters`. Raises Problem 400: `unknown_filter`, `repeated_parameter`, or
    `invalid_filter` with an error for each value. An empty value is invalid too: `?account=$ACCOUNT` with the
    variable unset asks for one account and would get them all.
    """

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        """The rows of `queryset` that the filters in the query let through."""
        filterset: FilterSet | None = self.get_filterset(request, queryset, view)
        known = dict.fromkeys(self._reserved_parameters(view), False)
        if filterset is not None:
            known.update(_filter_parameters(filterset.form.fields))
        refuse_unknown_parameters(request, known)
        if filterset is None:
            return queryset
        errors = list(_ignored_values(request, filterset.form.fields))
        if not filterset.is_valid():
            errors += [
                # An error of the form as a whole stands under no parameter.
                FieldError(() if name == NON_FIELD_ERRORS else (name,), item.code or "invalid", text)
                for name, found in filterset.errors.as_data().items()
                for item in found
                for text in item.messages
            ]
        if errors:
            raise Problem(
                status=400,
                code="invalid_filter",
                message=" ".join(error.sentence for error in errors),
                errors=errors,
            )
        filtered: QuerySet[Any] = filterset.qs
        return filtered

    @staticmethod
    def _reserved_parameters(view: APIView) -> Iterator[str]:
        yield FORMAT_PARAMETER
        yield from getattr(view, "query_parameters", ())
        paginator = getattr(view, "paginator", None)
        for attribute in ("cursor_query_param", "page_size_query_param"):
            if name := getattr(paginator, attribute, None):
                yield name


def _filter_parameters(fields: Mapping[str, forms.Field]) -> Iterator[tuple[str, bool]]:
    """The query parameters that the fields of a filter form read, and whether each may be repeated."""
    for name, field in fields.items():
        widget = field.widget
        if isinstance(widget, SuffixedMultiWidget):
            # Ranges: created_after and created_before.
            for suffix in widget.suffixes:
                yield widget.suffixed(name, suffix), False
        elif isinstance(widget, forms.MultiWidget):
            for suffix in getattr(widget, "widgets_names", ()):
                yield name + suffix, False
        else:
            yield name, bool(getattr(widget, "allow_multiple_selected", False))


def _ignored_values(request: Request, fields: Mapping[str, forms.Field]) -> Iterator[FieldError]:
    """Values that django-filter would pass over without a word, as if the filter had not been given."""
    for name, _ in _filter_parameters(fields):
        for value in request.query_params.getlist(name):
            if not value.strip():
                yield FieldError((name,), "empty", "A filter needs a value.")
            elif isinstance(fields.get(name), forms.NullBooleanField) and value.lower() not in _BOOLEANS:
                yield FieldError((name,), "invalid", f"Write true or false, not {plain_text(value)!r}.")
