"""Plays over REST: `GET /api/v1/plays/`."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.db.models import QuerySet
from rest_framework import serializers

from csplaybooks.accounts.api import (
    AccountReferenceSerializer,
    UpdatedSinceFilter,
    accounts_known_as,
    moment_field,
)
from csplaybooks.accounts.models import Motion, TeamMember
from csplaybooks.accounts.money import in_major_units
from csplaybooks.api.permissions import viewer_of
from csplaybooks.api.views import ReadOnlyApiViewSet
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.models import Clock, Outcome, Play, Route, Stage, State
from csplaybooks.playbooks.quotes import readable

_LARGEST_ID = 2**63 - 1


class MemberSerializer(serializers.Serializer[TeamMember]):
    """A team member as a play names them."""

    id = serializers.IntegerField()
    name = serializers.CharField()


class ClockSerializer(serializers.Serializer[Clock]):
    """A promise and how it stands; `due_at` is null while paused. `number` counts the offers of one play."""

    target = serializers.CharField()
    number = serializers.IntegerField()
    due_at = moment_field()
    state = serializers.CharField()


class PlaySerializer(serializers.Serializer[Play]):
    """A play. `playbook` is a key, `playbook_version` the number it was opened under, `version` the row's.

    `expected_amount` is monthly revenue in `currency`, a decimal in text; null where it is not known.
    """

    id = serializers.IntegerField()
    account = AccountReferenceSerializer()
    stage = serializers.CharField()
    state = serializers.CharField()
    playbook = serializers.CharField(source="playbook.key")
    playbook_version = serializers.IntegerField(source="recipe.number")
    motion = serializers.CharField()
    route = serializers.CharField()
    product = serializers.SerializerMethodField()
    owner = MemberSerializer()
    holder = MemberSerializer()
    origin = serializers.CharField()
    reason = serializers.CharField()
    evidence = serializers.SerializerMethodField()
    expected_amount = serializers.SerializerMethodField()
    currency = serializers.SerializerMethodField()
    clocks = ClockSerializer(many=True)
    outcome = serializers.SerializerMethodField()
    outcome_reason = serializers.CharField()
    opened_at = moment_field()
    closed_at = moment_field()
    updated_at = moment_field()
    version = serializers.IntegerField()

    def get_evidence(self, play: Play) -> list[dict[str, Any]]:
        """What each condition found, as far as the caller may read it."""
        return readable(viewer_of(self.context["request"]), play.evidence)

    def get_product(self, play: Play) -> str | None:
        """The key of the product to sell."""
        return None if play.product is None else play.product.key

    def get_expected_amount(self, play: Play) -> str | None:
        """The expected amount in major units."""
        minor = play.expected_amount_minor
        return None if minor is None else f"{in_major_units(minor, csplaybooks_settings.CURRENCY):f}"

    def get_currency(self, play: Play) -> str:
        """The reporting currency, in which all amounts are."""
        return csplaybooks_settings.CURRENCY

    def get_outcome(self, play: Play) -> str | None:
        """How the play ended; null while it is open."""
        return play.outcome or None


class OwnerFilter(django_filters.Filter):  # type: ignore[misc]  # django-filter brings no types
    """Plays of a team member, by id."""

    field_class = forms.IntegerField

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(field_name="owner", min_value=1, max_value=_LARGEST_ID, **kwargs)


class PlayFilters(django_filters.FilterSet):  # type: ignore[misc]  # django-filter brings no types
    """`account` is an external id; `account_source` names the system whose id it is."""

    account = django_filters.CharFilter(method="ignore")
    account_source = django_filters.CharFilter(method="ignore")
    stage = django_filters.ChoiceFilter(choices=Stage.choices)
    state = django_filters.ChoiceFilter(choices=State.choices)
    motion = django_filters.ChoiceFilter(choices=Motion.choices)
    route = django_filters.ChoiceFilter(choices=Route.choices)
    playbook = django_filters.CharFilter(field_name="playbook__key")
    outcome = django_filters.ChoiceFilter(choices=Outcome.choices)
    owner = OwnerFilter()
    open = django_filters.BooleanFilter(method="only_open")
    updated_since = UpdatedSinceFilter()

    class Meta:
        model = Play
        fields: list[str] = []

    def only_open(self, queryset: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        """Plays that are open, or those that are closed."""
        return queryset.exclude(stage=Stage.CLOSED) if value else queryset.filter(stage=Stage.CLOSED)

    def ignore(self, queryset: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        """All rows: `filter_queryset` looks at the identity as one."""
        return queryset

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The plays that all filters let through."""
        names = {"account": "external_id", "account_source": "source"}
        identity = {wanted: value for name, wanted in names.items() if (value := self.form.cleaned_data.get(name))}
        filtered: QuerySet[Any] = super().filter_queryset(queryset)
        if identity:
            filtered = filtered.filter(account__in=accounts_known_as(**identity))
        return filtered


class PlayViewSet(ReadOnlyApiViewSet):
    """Plays that the caller may see."""

    scope = "plays"
    # The documents of playbooks are long and not told here.
    queryset = (
        Play.objects.select_related("account", "playbook", "recipe", "product", "owner", "holder")
        .defer("playbook__draft", "recipe__source", "recipe__document", "amount_working")
        .prefetch_related("account__identities", "clocks")
    )
    serializer_class = PlaySerializer
    filterset_class = PlayFilters
    lookup_value_regex = "[0-9]+"
