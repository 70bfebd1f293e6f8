"""Accounts over REST: `GET /api/v1/accounts/`, and the fields and filters that other rooms share."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import OuterRef, Prefetch, QuerySet, Subquery
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rest_framework import ISO_8601, serializers

from csplaybooks.accounts.models import Account, AccountFacts, AccountIdentity
from csplaybooks.api.views import ReadOnlyApiViewSet

# In a query a plus that was not escaped arrives as a space.
_PLUS_LOST = re.compile(r"(?<=\d) (?=\d\d:?\d\d$)")


def moment_field(**kwargs: Any) -> serializers.DateTimeField:
    """An instant in UTC, written in ISO 8601 with a Z, whatever zone and format the host has set."""
    return serializers.DateTimeField(format=ISO_8601, default_timezone=UTC, **kwargs)


def date_field(**kwargs: Any) -> serializers.DateField:
    """A calendar day in ISO 8601, whatever format the host has set."""
    return serializers.DateField(format=ISO_8601, **kwargs)


class MomentFormField(forms.CharField):
    """An instant in a query: ISO 8601 with its zone."""

    #: What is said of a year that cannot be told in every time zone.
    out_of_calendar = "The year must lie between 2 and 9998."

    def to_python(self, value: Any) -> Any:
        """The aware datetime, or None for nothing. Raises ValidationError `invalid` or `no_time_zone`."""
        text = super().to_python(value)
        if not text:
            return None
        moment: datetime | None = None
        # ValueError: well formed, and no day or time there is.
        with suppress(ValueError):
            moment = parse_datetime(_PLUS_LOST.sub("+", text))
        if moment is None:
            raise ValidationError("Write a time such as 2026-11-22T08:00:00Z.", code="invalid")
        if moment.tzinfo is None:
            raise ValidationError("The time needs its zone, such as 2026-11-22T08:00:00Z.", code="no_time_zone")
        if not 2 <= moment.year <= 9998:
            # Moved to another zone, such a time would leave the calendar.
            raise ValidationError(self.out_of_calendar, code="invalid")
        return moment


class UpdatedSinceFilter(django_filters.Filter):  # type: ignore[misc]  # django-filter brings no types
    """Rows changed at or after an instant."""

    field_class = MomentFormField

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(field_name="updated_at", lookup_expr="gte", **kwargs)


class IdentitySerializer(serializers.Serializer[AccountIdentity]):
    """An id by which another system knows an account."""

    # Names of fields that are also names of attributes: the metaclass takes them out of the way.
    source = serializers.CharField()  # type: ignore[assignment]
    external_id = serializers.CharField()


class AccountReferenceSerializer(serializers.Serializer[Account]):
    """An account as other rows name it."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    identities = IdentitySerializer(many=True)


class FactsSerializer(serializers.Serializer[AccountFacts]):
    """What is true of an account at this moment, and since when."""

    lifecycle = serializers.CharField()
    segment = serializers.CharField()
    region = serializers.CharField()
    tags = serializers.JSONField()
    customer_since = date_field()
    activated_on = date_field()
    renewal_on = date_field()
    head_count = serializers.IntegerField()
    since = moment_field(source="valid_from")


class AccountSerializer(AccountReferenceSerializer):
    """An account with its current facts; `facts` is null where nothing is known.

    `parent` and `merged_into` are null, too, where the caller may not see the account they name.
    """

    facts = serializers.SerializerMethodField()
    # A column of ours that is named like an attribute of every serializer.
    parent = serializers.IntegerField(source="parent_seen")  # type: ignore[assignment]
    merged_into = serializers.IntegerField(source="merged_into_seen")
    created_at = moment_field()
    deleted_at = moment_field()
    updated_at = moment_field()
    version = serializers.IntegerField()

    def get_facts(self, account: Any) -> dict[str, Any] | None:
        """The facts that hold now, as the view prefetched them."""
        # One period holds at a moment; should two, the one that began last.
        facts = account.facts_now[-1] if account.facts_now else None
        return None if facts is None else dict(FactsSerializer(facts).data)


class AccountFilters(django_filters.FilterSet):  # type: ignore[misc]  # django-filter brings no types
    """`external_id` and `source` together ask for one identity that has both."""

    external_id = django_filters.CharFilter(method="ignore")
    source = django_filters.CharFilter(method="ignore")
    name = django_filters.CharFilter(lookup_expr="icontains")
    updated_since = UpdatedSinceFilter()

    class Meta:
        model = Account
        fields: list[str] = []

    def ignore(self, queryset: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        """All rows: `filter_queryset` looks at the identity as one."""
        return queryset

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The accounts that all filters let through."""
        identity = {name: value for name in ("external_id", "source") if (value := self.form.cleaned_data.get(name))}
        filtered: QuerySet[Any] = super().filter_queryset(queryset)
        if identity:
            filtered = filtered.filter(pk__in=accounts_known_as(**identity))
        return filtered


def accounts_known_as(**identity: str) -> QuerySet[Any]:
    """The ids of the accounts with an identity of this `external_id`, `source`, or both."""
    known: QuerySet[Any] = AccountIdentity.objects.filter(**identity).order_by().values("account")
    return known


class AccountViewSet(ReadOnlyApiViewSet):
    """Accounts that the caller may see; deleted and merged ones too, so that followers hear of it."""

    scope = "accounts"
    queryset = Account.objects.all()
    serializer_class = AccountSerializer
    filterset_class = AccountFilters
    lookup_value_regex = "[0-9]+"

    def get_queryset(self) -> QuerySet[Any]:
        """The accounts that the caller may see, with what is told of each."""
        facts = AccountFacts.objects.holding_at(timezone.now()).order_by("valid_from", "pk")
        visible = super().get_queryset()
        # The ids of other accounts are told only where the caller sees those too; in the same query.
        other = {
            f"{name}_seen": Subquery(visible.filter(pk=OuterRef(name)).order_by().values("pk"))
            for name in ("parent", "merged_into")
        }
        told: QuerySet[Any] = visible.annotate(**other).prefetch_related(
            "identities", Prefetch("facts", queryset=facts, to_attr="facts_now")
        )
        return told
