"""The base of all bodies that are asked for one thing, and the fields that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from csplaybooks.api.problems import plain_text

#: The largest id that the databases hold.
LARGEST_ID = 2**63 - 1


class BodySerializer(serializers.Serializer[Any]):
    """A body: an object of known fields. An unknown one is refused by name: spelled wrong, it would be passed over."""

    def to_internal_value(self, data: Any) -> Any:
        """The values of the body. Raises ValidationError, `unknown_field` for each field that is not known."""
        unknown = [name for name in data if name not in self.fields] if isinstance(data, Mapping) else []
        if unknown:
            known = ", ".join(self.fields) or "none"
            text = f"This field is not known here; known are: {known}."
            raise serializers.ValidationError(
                {plain_text(name): [ErrorDetail(text, code="unknown_field")] for name in unknown[:10]}
            )
        return super().to_internal_value(data)


def id_field(**kwargs: Any) -> serializers.IntegerField:
    """The id of a row."""
    return serializers.IntegerField(min_value=1, max_value=LARGEST_ID, **kwargs)
