"""The dry run of the routing over REST: `GET /api/v1/routing/?account=&playbook=`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from csplaybooks.accounts.models import Account
from csplaybooks.accounts.money import in_major_units
from csplaybooks.api.problems import FieldError, Problem
from csplaybooks.api.views import ApiView, describe
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.api_asked import playbook_called
from csplaybooks.playbooks.document import DocumentError
from csplaybooks.playbooks.models import Play, Playbook, Route
from csplaybooks.playbooks.routing import dry_runs, recipes_of
from csplaybooks.signals.api_queries import AccountQuery, account_named, asked_in


class RoutingQuery(AccountQuery):
    """Which account and playbook (all that run where none is named), by its draft, and under which highest route."""

    playbook = forms.CharField(max_length=100, required=False)
    draft = forms.ChoiceField(choices=[("true", "true"), ("false", "false")], required=False)
    ceiling = forms.ChoiceField(choices=Route.choices, required=False)


class PersonSerializer(serializers.Serializer[Any]):
    """A team member."""

    id = serializers.IntegerField()
    name = serializers.CharField()


class AskedSerializer(serializers.Serializer[Any]):
    """A team member who was asked before, as what, and why they would not get it."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    part = serializers.CharField()
    why = serializers.CharField()


class RuleSerializer(serializers.Serializer[Any]):
    """A route rule: whether it fits, whether it is the one that decides, and why (not)."""

    number = serializers.IntegerField()
    route = serializers.CharField()
    fits = serializers.BooleanField()
    decides = serializers.BooleanField()
    why = serializers.CharField()


class DryRunSerializer(serializers.Serializer[Any]):
    """What would become of a play of a playbook. `owner` null is the tray; `playbook_version` null is the draft."""

    playbook = serializers.CharField()
    playbook_version = serializers.IntegerField(allow_null=True)
    segment = serializers.CharField()
    region = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    expected_amount = serializers.CharField(allow_null=True)
    currency = serializers.CharField()
    rules = RuleSerializer(many=True)
    route = serializers.CharField()
    rule = serializers.IntegerField(allow_null=True)
    first_touch = serializers.CharField()
    claim = serializers.BooleanField()
    expires_days = serializers.IntegerField()
    owner = PersonSerializer(allow_null=True)
    why = serializers.CharField()
    passed = AskedSerializer(many=True)
    offer_to = PersonSerializer(allow_null=True)
    offer_why = serializers.CharField()
    offer_passed = AskedSerializer(many=True)
    has_open_play = serializers.BooleanField()


class RoutingSerializer(serializers.Serializer[Any]):
    """What the routing says of an account, playbook by playbook."""

    results = DryRunSerializer(many=True)


class RoutingView(ApiView):
    """Which route a play would take, whose it would be, and why; nothing is written."""

    scope = "plays"
    permission_model = Play
    query_parameters = tuple(RoutingQuery.base_fields)

    @describe(responses=RoutingSerializer)
    def get(self, request: Request) -> Response:
        """The answers, by the name of the playbook.

        Raises Problem: as `account_named`; 404 `unknown_playbook`; 400 `invalid_filter` for one that was never
        published, and `invalid_draft` for a draft that cannot be read.
        """
        values = asked_in(request, RoutingQuery)
        account_id = account_named(self.viewer, values["account"], values["account_source"])
        if not Account.objects.own_of(self.viewer).filter(pk=account_id).exists():
            # As with verdicts: who sees an account for the sake of one play does not see what else would be done there.
            raise NotFound("The routing of this account is for those who look after it.")
        playbooks: Iterable[Playbook]
        if values["playbook"]:
            playbooks = [playbook_called(self.viewer, values["playbook"])]
        else:
            running = Playbook.objects.visible_to(self.viewer).filter(is_active=True)
            playbooks = running.select_related("published").order_by("name", "pk")
        try:
            recipes = recipes_of(playbooks, draft=values["draft"] == "true")
        except DocumentError as error:
            faults = [FieldError(("draft", path), "invalid", said) for path, said in error.errors]
            message = " ".join(fault.sentence for fault in faults)
            raise Problem(status=400, code="invalid_draft", message=message, errors=faults) from error
        if values["playbook"] and not recipes:
            message = "This playbook was never published: ask about its draft, with draft=true."
            fault = FieldError(("playbook",), "never_published", message)
            raise Problem(status=400, code="invalid_filter", message=fault.sentence, errors=[fault])
        runs = dry_runs(account_id, recipes, now=timezone.now(), ceiling=values["ceiling"] or "")
        return Response(RoutingSerializer({"results": [_flat(run.as_json()) for run in runs]}).data)


def _flat(answer: dict[str, Any]) -> dict[str, Any]:
    facts = answer.pop("facts")
    minor = facts.pop("amount_minor")
    currency = csplaybooks_settings.CURRENCY
    return {
        **answer,
        **facts,
        "expected_amount": None if minor is None else f"{in_major_units(minor, currency):f}",
        "currency": currency,
    }
