"""Readiness over REST: `GET /api/v1/readiness/?account=`, with the points behind each score."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from csplaybooks.accounts.api import AccountReferenceSerializer, MomentFormField, moment_field
from csplaybooks.accounts.models import Account, Motion
from csplaybooks.api.problems import FieldError, Problem
from csplaybooks.api.views import ApiView, describe
from csplaybooks.signals.api_queries import AccountQuery, account_called, asked_in
from csplaybooks.signals.models import ReadinessWeights, ScoreSnapshot
from csplaybooks.signals.readiness import (
    Counted,
    Forgotten,
    MotionTrace,
    Step,
    TypeTrace,
    Weights,
    in_points,
    trace,
)


class ReadinessQuery(AccountQuery):
    """What is asked: of which account, at which moment (now), for which motion (all), by which weights (in force)."""

    at = MomentFormField(required=False)
    motion = forms.ChoiceField(choices=Motion.choices, required=False)
    weights = forms.IntegerField(min_value=1, max_value=2**31 - 1, required=False)


class CountedSerializer(serializers.Serializer[Counted]):
    """A signal that counts, as its sender knows it."""

    # Names of fields that are also names of attributes: the metaclass takes them out of the way.
    source = serializers.CharField()  # type: ignore[assignment]
    external_id = serializers.CharField()
    occurred_at = moment_field()


def in_text(quarters: int) -> str:
    """Quarters as a decimal in text: 49 is `12.25`."""
    return f"{in_points(quarters).quantize(Decimal('0.01')):f}"


class StepSerializer(serializers.Serializer[Step]):
    """One period, `(after, until]`: how many signals were `found`, and the newest of them, which count `share` each."""

    after = moment_field()
    until = moment_field()
    share = serializers.SerializerMethodField()
    found = serializers.IntegerField()
    points = serializers.SerializerMethodField()
    signals = CountedSerializer(many=True)

    def get_share(self, step: Step) -> str:
        """What each signal counts: `1.00`, `0.50` or `0.25` of its weight."""
        return in_text(step.share)

    def get_points(self, step: Step) -> str:
        """The points of the step."""
        return in_text(step.quarters)


class KindSerializer(serializers.Serializer[TypeTrace]):
    """The points of one kind of signal; `weight` is what each weighs, `at_most` how many count."""

    signal_type = serializers.CharField(source="key")
    strength = serializers.CharField()
    weight = serializers.IntegerField(source="weight.points")
    at_most = serializers.IntegerField(source="weight.at_most")
    points = serializers.SerializerMethodField()
    steps = StepSerializer(many=True)

    def get_points(self, kind: TypeTrace) -> str:
        """The points of all steps."""
        return in_text(kind.quarters)


class MotionSerializer(serializers.Serializer[MotionTrace]):
    """A score and the points that it is the sum of: `points` rounded down, and at most 100."""

    motion = serializers.CharField()
    score = serializers.IntegerField()
    points = serializers.SerializerMethodField()
    kinds = KindSerializer(many=True)

    def get_points(self, motion: MotionTrace) -> str:
        """The points of all kinds."""
        return in_text(motion.quarters)


class ReadinessSerializer(serializers.Serializer[Any]):
    """The answer. `weights` is the number of the version that the scores are computed by."""

    account = AccountReferenceSerializer()
    at = moment_field()
    weights = serializers.IntegerField()
    results = MotionSerializer(many=True)


class ReadinessView(ApiView):
    """How ready one account is for each motion, now or at a past moment, with the points behind each score.

    An account that is not there, was deleted, or is not for the caller to see is a 404 `unknown_account`.
    """

    scope = "readiness"
    permission_model = ScoreSnapshot
    query_parameters = tuple(ReadinessQuery.base_fields)

    @describe(responses=ReadinessSerializer)
    def get(self, request: Request) -> Response:
        """The scores, as far as is known now.

        Raises Problem: 400 `invalid_filter`, `ambiguous_account`, `unknown_weights`, `no_weights` or `forgotten`; 404
        `unknown_account`.
        """
        asked = asked_in(request, ReadinessQuery)
        account_id = account_called(self.viewer, asked["account"], asked["account_source"])
        weights = _weights(asked["weights"])
        at = asked["at"] or timezone.now()
        try:
            results = trace(weights, account_id, as_of=at, motions=[asked["motion"]] if asked["motion"] else None)
        except Forgotten as error:
            raise _refused("at", "forgotten", str(error)) from error
        except OverflowError as error:
            raise _refused("at", "invalid", "This lies before every window.") from error
        account = Account.objects.prefetch_related("identities").get(pk=account_id)
        answer = {"account": account, "at": at, "weights": weights.number, "results": results}
        return Response(ReadinessSerializer(answer).data)


def _weights(number: int | None) -> Weights:
    """The version of this number, or the one in force."""
    if number is None:
        weights = Weights.in_force()
        if weights is None:
            raise Problem(
                status=400, code="no_weights", message="No readiness weights are published yet: publish some first."
            )
        return weights
    version = ReadinessWeights.objects.filter(number=number).first()
    if version is None:
        raise _refused("weights", "unknown_weights", f"There is no version {number} of the readiness weights.")
    return Weights.of(version)


def _refused(field: str, code: str, message: str) -> Problem:
    return Problem(status=400, code=code, message=message, errors=[FieldError((field,), code, message)])
