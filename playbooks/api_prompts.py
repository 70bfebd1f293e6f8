"""Prompts over REST: `GET /api/v1/prompts/?account=`, for the product that shows them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from csplaybooks.accounts.api import moment_field
from csplaybooks.api.views import ApiView, describe
from csplaybooks.playbooks.models import Play
from csplaybooks.playbooks.prompts import Prompt, answer_bodies, prompts_due
from csplaybooks.signals.api_queries import AccountQuery, account_called, asked_in


class PromptQuery(AccountQuery):
    """What is asked: of which account, and who at it is about to see the prompts."""

    user = forms.CharField(max_length=200, strip=False, required=False)


class PromptSerializer(serializers.Serializer[Prompt]):
    """A prompt that is due. `signals` holds for each thing that can become of it what to send to the intake then."""

    id = serializers.CharField()
    play = serializers.IntegerField(source="play.pk")
    playbook = serializers.CharField(source="play.playbook.key")
    motion = serializers.CharField(source="play.motion")
    title = serializers.CharField()
    gain = serializers.CharField()
    action = serializers.CharField()
    link = serializers.CharField()
    dismissible = serializers.BooleanField()
    since = moment_field()
    signals = serializers.SerializerMethodField()

    def get_signals(self, prompt: Prompt) -> dict[str, Any]:
        """The bodies of the signals, without what only the sender knows."""
        return answer_bodies(prompt, **self.context["asked"])


class PromptsSerializer(serializers.Serializer[Any]):
    """The answer: the prompts that are due, the oldest first."""

    results = PromptSerializer(many=True)


class PromptsView(ApiView):
    """The self-serve prompts due at one account; none is an empty list.

    An account that is not there, was deleted, or is not for the caller to see is a 404 `unknown_account`.
    """

    scope = "prompts"
    permission_model = Play
    query_parameters = tuple(PromptQuery.base_fields)

    @describe(responses=PromptsSerializer)
    def get(self, request: Request) -> Response:
        """The prompts due now. Raises Problem: 400 `invalid_filter` or `ambiguous_account`, 404 `unknown_account`."""
        asked = asked_in(request, PromptQuery)
        prompts = prompts_due(
            account_id=account_called(self.viewer, asked["account"], asked["account_source"]),
            external_id=asked["account"],
            now=timezone.now(),
            plays=Play.objects.visible_to(self.viewer),
        )
        return Response(PromptsSerializer({"results": prompts}, context={"asked": asked}).data)
