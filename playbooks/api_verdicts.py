"""Why and why not over REST: the triggers, their verdicts counted and listed, and everything about one account.

`GET /api/v1/triggers/`, `/triggers/{id}/verdicts/`, `/triggers/{id}/accounts/?verdict=` and `/verdicts/?account=`.
"""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from csplaybooks.accounts.api import AccountReferenceSerializer, AccountViewSet, moment_field
from csplaybooks.accounts.models import Account
from csplaybooks.api.permissions import ScopePermission
from csplaybooks.api.problems import FieldError, Problem
from csplaybooks.api.views import ApiMixin, ApiView, ReadOnlyApiViewSet, describe
from csplaybooks.playbooks.api_asked import WhenQuery, asked_of
from csplaybooks.playbooks.evaluator import TriggerVersion
from csplaybooks.playbooks.models import PlaybookVersion, Trigger
from csplaybooks.playbooks.reach import Forgotten
from csplaybooks.playbooks.verdicts import Asked, Count, Verdict, accounts_of, count_verdicts, explain
from csplaybooks.signals.api_queries import AccountQuery, account_called, asked_in


class TriggerSerializer(serializers.Serializer[Trigger]):
    """A trigger: `playbook` and `key` name it, `runs` says whether a published version that is on has it.

    `name`, `strength` and `definition` are those of the published version; null where it has the trigger no more.
    """

    id = serializers.IntegerField()
    playbook = serializers.CharField(source="playbook.key")
    key = serializers.CharField()
    motion = serializers.CharField(source="playbook.motion")
    runs = serializers.SerializerMethodField()
    playbook_version = serializers.SerializerMethodField()
    name = serializers.SerializerMethodField()
    strength = serializers.SerializerMethodField()
    definition = serializers.SerializerMethodField()

    def _published(self, trigger: Trigger) -> dict[str, Any]:
        version = trigger.playbook.published
        found: dict[str, Any] = next(
            (item for item in version.document["triggers"] if item["key"] == trigger.key) if version else iter(()), {}
        )
        return found

    def get_runs(self, trigger: Trigger) -> bool:
        """Whether runs ask it."""
        return trigger.playbook.is_active and bool(self._published(trigger))

    def get_playbook_version(self, trigger: Trigger) -> int | None:
        """The number of the published version."""
        return trigger.playbook.published.number if trigger.playbook.published else None

    def get_name(self, trigger: Trigger) -> str | None:
        """What people call it."""
        return self._published(trigger).get("name")

    def get_strength(self, trigger: Trigger) -> str | None:
        """How strong a sign it is: strong, moderate or weak."""
        return self._published(trigger).get("strength")

    def get_definition(self, trigger: Trigger) -> Any:
        """Its groups of conditions: of the groups any, of a group's conditions all."""
        return self._published(trigger).get("any")


class TriggerFilters(django_filters.FilterSet):  # type: ignore[misc]  # django-filter brings no types
    """`playbook` and `key` are those of the document."""

    playbook = django_filters.CharFilter(field_name="playbook__key")
    key = django_filters.CharFilter()

    class Meta:
        model = Trigger
        fields: list[str] = []


class TriggerViewSet(ReadOnlyApiViewSet):
    """The triggers of all playbooks."""

    scope = "triggers"
    queryset = Trigger.objects.select_related("playbook__published").defer(
        "playbook__draft", "playbook__published__source"
    )
    ordering = ("id",)
    serializer_class = TriggerSerializer
    filterset_class = TriggerFilters
    lookup_value_regex = "[0-9]+"


class CountSerializer(serializers.Serializer[Count]):
    """How many accounts have a verdict; `verdict` is its key, for the list of these accounts."""

    verdict = serializers.CharField(source="key")
    words = serializers.CharField()
    accounts = serializers.IntegerField()


class AskedSerializer(serializers.Serializer[Asked]):
    """What was asked about; `run` is null unless it was a run."""

    moment = moment_field()
    run = serializers.IntegerField(source="run.pk", allow_null=True, default=None)


class CountsSerializer(serializers.Serializer[Any]):
    """The verdicts of one trigger: they add up to `population`, the accounts that the caller looks after."""

    asked = AskedSerializer()
    trigger = serializers.IntegerField()
    population = serializers.IntegerField()
    verdicts = CountSerializer(many=True)


class TriggerVerdictsView(ApiView):
    """How many accounts have each verdict under a trigger, now, at a past moment, or as a past run knew it."""

    scope = "triggers"
    permission_model = Trigger
    query_parameters = tuple(WhenQuery.base_fields)

    @describe(responses=CountsSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """The counts. Raises Problem: 404 for a trigger that did not run then, 410 `pruned`, and as `asked_of`."""
        asked = asked_of(asked_in(request, WhenQuery), timezone.now())
        trigger = _trigger(asked, pk, self.viewer)
        try:
            counts = count_verdicts(trigger, asked, Account.objects.own_of(self.viewer))
        except (Forgotten, LookupError) as error:
            raise _cannot(error) from error
        answer = {
            "asked": asked,
            "trigger": pk,
            "population": sum(count.accounts for count in counts),
            "verdicts": counts,
        }
        return Response(CountsSerializer(answer).data)


class VerdictQuery(WhenQuery):
    """Which of the verdicts, and when."""

    verdict = forms.CharField(max_length=200)


class ReadsAccounts(ScopePermission):
    """Beside what the view asks for: that the caller may read accounts, as where they are listed."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """True, or an exception that says what is missing."""
        return super().has_permission(request, AccountViewSet())


class TriggerAccountsView(ApiMixin, ListAPIView[Any]):
    """The accounts behind one of the counts, by name: for whoever may read accounts, a token with `accounts:read`."""

    permission_classes = (*ApiMixin.permission_classes, ReadsAccounts)
    scope = "triggers"
    permission_model = Trigger
    query_parameters = tuple(VerdictQuery.base_fields)
    queryset = Account.objects.all()
    ordering = ("id",)
    serializer_class = AccountReferenceSerializer

    def get_queryset(self) -> QuerySet[Any]:
        """Those that the caller looks after. Raises Problem as `TriggerVerdictsView`, and 400 for no verdict."""
        if getattr(self, "swagger_fake_view", False):
            # The schema is made without a caller.
            return Account.objects.none()
        values = asked_in(self.request, VerdictQuery)
        asked = asked_of(values, timezone.now())
        trigger = _trigger(asked, self.kwargs["pk"], self.viewer)
        try:
            found = accounts_of(trigger, asked, Verdict.parse(values["verdict"]), Account.objects.own_of(self.viewer))
        except (Forgotten, LookupError) as error:
            raise _cannot(error) from error
        except ValueError as error:
            wrong = FieldError(("verdict",), "invalid", str(error))
            raise Problem(status=400, code="invalid_filter", message=wrong.sentence, errors=[wrong]) from error
        return found.prefetch_related("identities")


class WhyQuery(AccountQuery, WhenQuery):
    """Which account, when, and under which triggers; all that run (or ran) where none is named."""

    playbook = forms.CharField(max_length=100, required=False)
    trigger = forms.CharField(max_length=100, required=False)


class WhySerializer(serializers.Serializer[Any]):
    """Everything about one account, trigger by trigger."""

    asked = AskedSerializer()
    results = serializers.SerializerMethodField()

    def get_results(self, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """For each trigger its one verdict, its sentence, and all that these stand on; see the documentation."""
        return [
            {
                "playbook": answer["playbooks"][explanation.trigger.trigger_id],
                "playbook_version": answer["versions"][explanation.trigger.version_id],
                **explanation.as_json(),
            }
            for explanation in answer["explanations"]
        ]


class VerdictsView(ApiView):
    """Why, and why not: the verdict of one account under each trigger, with all conditions and guards."""

    scope = "triggers"
    permission_model = Trigger
    query_parameters = tuple(WhyQuery.base_fields)

    @describe(responses=WhySerializer)
    def get(self, request: Request) -> Response:
        """The explanations. Raises Problem as `asked_of` and `account_called`."""
        values = asked_in(request, WhyQuery)
        account_id = account_called(self.viewer, values["account"], values["account_source"])
        if not Account.objects.own_of(self.viewer).filter(pk=account_id).exists():
            # As with matches: who sees an account for the sake of one play does not see what else is found there.
            raise NotFound("The verdicts of this account are for those who look after it.")
        asked = asked_of(values, timezone.now())
        wanted = Trigger.objects.visible_to(self.viewer)
        if values["playbook"]:
            wanted = wanted.filter(playbook__key=values["playbook"])
        if values["trigger"]:
            wanted = wanted.filter(key=values["trigger"])
        playbooks = dict(wanted.order_by().values_list("pk", "playbook__key"))
        found = explain(asked.triggers(playbooks.keys()), asked, [account_id], self.viewer).get(account_id, [])
        versions = PlaybookVersion.objects.filter(pk__in={each.trigger.version_id for each in found}).order_by()
        numbers = dict(versions.values_list("pk", "number"))
        answer = {"asked": asked, "explanations": found, "playbooks": playbooks, "versions": numbers}
        return Response(WhySerializer(answer).data)


def _trigger(asked: Asked, pk: int, viewer: Any) -> TriggerVersion:
    """The trigger in the version that ran. Raises NotFound where none did, or the caller may not see it."""
    if Trigger.objects.visible_to(viewer).filter(pk=pk).exists():
        for trigger in asked.triggers([pk]):
            return trigger
    raise NotFound("There is no trigger of this number, or the last run until then did not evaluate it.")


def _cannot(error: Exception) -> Problem:
    """Why a question has no answer any more."""
    message = str(error.args[0]) if error.args else type(error).__name__
    if isinstance(error, Forgotten):
        return Problem(status=410, code="pruned", message=message)
    return Problem(status=409, code="not_registered", message=message)
