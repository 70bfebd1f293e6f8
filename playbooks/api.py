"""Plays over REST: `GET /api/v1/plays/`, and a play opened by hand: `POST /api/v1/plays/`."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.db.models import Prefetch, QuerySet
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from csplaybooks.accounts.api import (
    AccountReferenceSerializer,
    UpdatedSinceFilter,
    accounts_known_as,
    moment_field,
)
from csplaybooks.accounts.models import Motion, TeamMember
from csplaybooks.accounts.money import in_major_units
from csplaybooks.api.permissions import ScopePermission, viewer_of
from csplaybooks.api.serializers import LARGEST_ID, BodySerializer
from csplaybooks.api.views import ReadOnlyApiViewSet, describe
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.acts.plays import open_play_by_hand
from csplaybooks.playbooks.api_asked import playbook_called
from csplaybooks.playbooks.models import Clock, Outcome, Play, PlayStep, Route, Stage, State
from csplaybooks.playbooks.moves import Rights, possible
from csplaybooks.playbooks.quotes import readable
from csplaybooks.signals.api_queries import account_called


def may_read(model: Any) -> type[ScopePermission]:
    """Of views of plays' parts: that people may look at the table too. Tokens are asked for the scope of plays."""

    class _Part:
        scope = "plays"
        permission_model = model

    class MayRead(ScopePermission):
        def has_permission(self, request: Request, view: Any) -> bool:
            return super().has_permission(request, _Part())  # type: ignore[arg-type]  # it reads these two alone

    return MayRead


class MemberSerializer(serializers.Serializer[TeamMember]):
    """A team member as a play names them."""

    id = serializers.IntegerField()
    name = serializers.CharField()


class ClockSerializer(serializers.Serializer[Clock]):
    """A promise and how it stands; `due_at` is null while paused. `number` counts the offers of one play.

    `breached_at` is the due time that was missed last. `excused_at` says since when that does not count: the due time
    was moved behind it, with an empty `excuse_reason`, or a manager says so.
    """

    target = serializers.CharField()
    number = serializers.IntegerField()
    due_at = moment_field()
    state = serializers.CharField()
    breached_at = moment_field()
    excused_at = moment_field()
    excuse_reason = serializers.CharField()


class CurrentStepSerializer(serializers.Serializer[PlayStep]):
    """The step that is to be done now. `due_at`: by when, or when a wait is over; null while it has no time."""

    number = serializers.IntegerField()
    kind = serializers.CharField()
    text = serializers.CharField()
    began_at = moment_field()
    due_at = moment_field()

    def get_attribute(self, instance: Any) -> PlayStep | None:
        """The one step of a play that is to be done now, as it was read with the play."""
        return next(iter(instance.steps_to_do), None)


class PlaySerializer(serializers.Serializer[Play]):
    """A play. `playbook` is a key, `playbook_version` the number it was opened under, `version` the row's.

    `expected_amount` is monthly revenue in `currency`, a decimal in text; null where it is not known. `current_step` is
    the step to do now, null where there is none. `can` are the acts that the caller may do now: the `rights` of the
    context (None: none).
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
    current_step = CurrentStepSerializer(allow_null=True)
    outcome = serializers.SerializerMethodField()
    outcome_reason = serializers.CharField()
    opened_at = moment_field()
    closed_at = moment_field()
    updated_at = moment_field()
    version = serializers.IntegerField()
    can = serializers.SerializerMethodField()

    def get_can(self, play: Play) -> list[str]:
        """The verbs of the acts that are possible."""
        rights: Rights | None = self.context["rights"]
        return [] if rights is None else possible(play, rights)

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
        super().__init__(field_name="owner", min_value=1, max_value=LARGEST_ID, **kwargs)


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


class OpenBody(BodySerializer):
    """A play to be opened by hand: for which account, by which playbook, and why."""

    account = serializers.CharField(max_length=200, trim_whitespace=False)
    account_source = serializers.CharField(max_length=100, trim_whitespace=False, required=False, allow_null=True)
    playbook = serializers.CharField(max_length=100)
    reason = serializers.CharField(max_length=500)


#: Plays with what is told of each. The documents of playbooks are long and not told.
PLAYS: QuerySet[Any] = (
    Play.objects.with_step()
    .select_related("account", "playbook", "recipe", "product", "owner", "holder")
    .defer("playbook__draft", "recipe__source", "recipe__document", "amount_working")
    .prefetch_related(
        "account__identities",
        "clocks",
        Prefetch("steps", PlayStep.objects.filter(state=PlayStep.State.CURRENT), to_attr="steps_to_do"),
    )
)


class PlayViewSet(ReadOnlyApiViewSet):
    """Plays that the caller may see, and a play opened by hand."""

    scope = "plays"
    queryset = PLAYS
    serializer_class = PlaySerializer
    filterset_class = PlayFilters
    lookup_value_regex = "[0-9]+"

    def get_serializer_context(self) -> dict[str, Any]:
        """What plays are told with: what the caller may do with them now, worked out once for a page."""
        context: dict[str, Any] = {**super().get_serializer_context()}
        if not getattr(self, "swagger_fake_view", False):
            context["rights"] = Rights.of(self.viewer, timezone.now())
        return context

    @describe(request=OpenBody, responses={201: PlaySerializer})
    def create(self, request: Request) -> Response:
        """Open a play by hand; answers it with 201.

        Raises Problem: 400 `invalid`, for one where the account has an open play of the motion; 404 `unknown_account`
        for one that is not there or not seen, 404 `unknown_playbook`.
        """
        body = OpenBody(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        account_id = account_called(self.viewer, asked["account"], asked.get("account_source"))
        playbook = playbook_called(self.viewer, asked["playbook"])
        play = open_play_by_hand(
            account_id=account_id,
            playbook_id=playbook.pk,
            reason=asked["reason"],
            now=timezone.now(),
            actor=self.viewer,
        )
        return Response(self.get_serializer(PLAYS.get(pk=play.pk)).data, status=201)
