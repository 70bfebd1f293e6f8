"""The base of all bodies that are asked for one thing, and the fields that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from csplaybooks.api.parsers import Unusable
from csplaybooks.api.problems import plain_text

#: The largest id that the databases hold.
LARGEST_ID = 2**63 - 1

_NOT_TEXT = ErrorDetail("This must be text in quotes.", code="not_text")

#: What JSON has a type for: the fields, what of JSON they take, and what is said of anything else. REST framework takes
#: more, so that a form can be read too: text from a number, a number from text, true from `yes`.
_TYPES: tuple[tuple[type[serializers.Field[Any, Any, Any, Any]], tuple[type, ...], ErrorDetail], ...] = (
    (serializers.CharField, (str,), _NOT_TEXT),
    # Choices of ours are words.
    (serializers.ChoiceField, (str,), _NOT_TEXT),
    (
        serializers.IntegerField,
        (int,),
        ErrorDetail("This must be a whole number, without quotes or a point.", code="not_a_whole_number"),
    ),
    (
        serializers.BooleanField,
        (bool,),
        ErrorDetail("This must be true or false, without quotes.", code="not_true_or_false"),
    ),
)


class BodySerializer(serializers.Serializer[Any]):
    """A body: an object of known fields, each of which takes its own type of JSON and no other.

    An unknown field is refused by name: spelled wrong, it would be passed over.
    """

    def to_internal_value(self, data: Any) -> Any:
        """The values of the body.

        Raises ValidationError: `unknown_field` for each field that is not known; `not_text`, `not_a_whole_number` or
        `not_true_or_false` for a value of another type.
        """
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        unknown = [name for name in data if name not in self.fields]
        if unknown:
            known = ", ".join(self.fields) or "none"
            text = f"This field is not known here; known are: {known}."
            raise serializers.ValidationError(
                {plain_text(name): [ErrorDetail(text, code="unknown_field")] for name in unknown[:10]}
            )
        mistyped = {
            name: [fault]
            for name, value in data.items()
            if (fault := _fault_of_type(self.fields[name], value)) is not None
        }
        try:
            values = super().to_internal_value({name: data[name] for name in data if name not in mistyped})
        except serializers.ValidationError as refusal:
            # That a mistyped one is missing is no news.
            raise serializers.ValidationError({**_by_field(refusal), **mistyped}) from refusal
        if mistyped:
            raise serializers.ValidationError(mistyped)
        return values


def _fault_of_type(field: Any, value: Any) -> ErrorDetail | None:
    """What is wrong with the type of a value; None where nothing is, and of null, which the field itself answers."""
    if isinstance(value, Unusable):
        return ErrorDetail(value.message, code=value.code)
    for kind, taken, fault in _TYPES:
        if isinstance(field, kind) and value is not None:
            # True and False are ints to Python, and no numbers in JSON.
            fits = isinstance(value, taken) and (bool in taken or not isinstance(value, bool))
            return None if fits else fault
    return None


def _by_field(refusal: serializers.ValidationError) -> Mapping[str, Any]:
    detail: Any = refusal.detail
    return detail if isinstance(detail, Mapping) else {}


def id_field(**kwargs: Any) -> serializers.IntegerField:
    """The id of a row."""
    return serializers.IntegerField(min_value=1, max_value=LARGEST_ID, **kwargs)
