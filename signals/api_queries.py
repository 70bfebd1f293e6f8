"""Queries about one account that is named by an external id: what endpoints of this room and those above share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from rest_framework.request import Request

from csplaybooks.api.problems import FieldError, Problem
from csplaybooks.signals.intake.lookups import Accounts
from csplaybooks.signals.intake.values import Refusal


class AccountQuery(forms.Form):
    """Of which account is asked; names as long as the intake takes them."""

    account = forms.CharField(max_length=200, strip=False)
    account_source = forms.CharField(max_length=100, strip=False, required=False)


def asked_in(request: Request, query: type[forms.Form]) -> dict[str, Any]:
    """The parameters of a request as `query` reads them, None where one was left out.

    Raises Problem 400 `invalid_filter`. Parameters that it does not know are refused by the view before.
    """
    form = query(request.query_params)
    if errors := list(_faults(form)):
        raise Problem(
            status=400,
            code="invalid_filter",
            message=" ".join(error.sentence for error in errors),
            errors=errors,
        )
    return {name: None if value == "" else value for name, value in form.cleaned_data.items()}


def account_called(viewer: Any, external_id: str, source: str | None) -> int:
    """The id of the account known by this external id, as the intake knows it: a merged one is what it merged into.

    Raises Problem: 404 `unknown_account` where it is not there, was deleted, or is not for the viewer to see; 400
    `ambiguous_account`.
    """
    accounts = Accounts([external_id])
    accounts.limit_to(viewer, ())
    try:
        return accounts.known_as(external_id, source)
    except Refusal as refusal:
        raise Problem(
            status=404 if refusal.code == "unknown_account" else 400,
            code=refusal.code,
            message=refusal.message,
            errors=[FieldError((refusal.field,), refusal.code, refusal.message)],
        ) from refusal


def account_named(viewer: Any, text: str, source: str | None) -> int:
    """The id of an account that is named by an external id, or, where no source is said beside it, by `source:id`.

    An id that is known as it stands is one, though there be a colon in it. Raises Problem as `account_called`.
    """
    try:
        return account_called(viewer, text, source)
    except Problem as problem:
        named, colon, external_id = text.partition(":")
        if not (named and colon and external_id) or source is not None or problem.code != "unknown_account":
            raise
        return account_called(viewer, external_id, named)


def _faults(form: forms.Form) -> Iterator[FieldError]:
    """What is wrong with the parameters; one that is given without a value, too, as elsewhere in the API."""
    for name in form.fields:
        if name in form.data and not form.data[name].strip():
            yield FieldError((name,), "empty", "A filter needs a value.")
        else:
            for error in form.errors.as_data().get(name, ()):
                for message in error.messages:
                    yield FieldError((name,), error.code or "invalid", message)
