"""The forms behind the pages: they tell what an act refused, and that somebody else was first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

LOST_UPDATE = "Somebody else changed this after you opened it. Open it again and make your change there."

#: The hidden field that carries the version a form was opened with.
OPENED_VERSION = "opened_version"


class ActForm(forms.ModelForm):
    """The form behind a page. `viewer` is the person in front of it, `refusal` what an act answered to its values."""

    viewer: Any = None
    refusal: ValidationError | None = None

    def full_clean(self) -> None:
        """Check the values, and tell what the act said about them."""
        super().full_clean()
        if not self.is_bound or self.refusal is None:
            return
        by_field: Mapping[str, Any] = getattr(self.refusal, "error_dict", {"": self.refusal})
        for name, errors in by_field.items():
            self.add_error(name if name in self.fields else None, errors)


class VersionedForm(ActForm):
    """A form over a row with a `version`: it says no when the row was changed since the form was opened."""

    opened_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial[OPENED_VERSION] = self.instance.version

    def clean(self) -> dict[str, Any]:
        """Compare the versions."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk is not None and cleaned.get(OPENED_VERSION) != self.instance.version:
            self.add_error(None, LOST_UPDATE)
        return cleaned


def added_in(formsets: Iterable[Any], model: Any) -> list[dict[str, Any]]:
    """The values of the rows that were filled in on the inlines of a model."""
    return [
        form.cleaned_data
        for formset in formsets
        if formset.model is model
        for form in formset.extra_forms
        if form.has_changed() and not form.cleaned_data.get("DELETE")
    ]
