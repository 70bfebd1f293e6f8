"""What intake is measured against: the view that anybody would write first with REST framework.

It checks fields and relations and stores the rows. It knows no external ids of accounts, no duplicates, conflicts,
corrections or verdicts, and one bad item refuses the whole batch.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from csplaybooks.accounts.authentication import TokenAuthentication
from csplaybooks.signals.models import IntakeBatch, Signal


class InBulk(serializers.ListSerializer):
    """All rows by one `bulk_create`, as the documentation of REST framework proposes."""

    def create(self, validated_data: list[dict[str, Any]]) -> list[Signal]:
        """The stored rows."""
        rows: list[Signal] = Signal.objects.bulk_create([Signal(**item) for item in validated_data], batch_size=1000)
        return rows


class PlainSignal(serializers.ModelSerializer):
    """A signal, by the fields of its model and their validators."""

    class Meta:
        model = Signal
        fields = (
            "source",
            "external_id",
            "account",
            "type",
            "occurred_at",
            "actor",
            "properties",
            "batch",
            "body_hash",
        )

    body_hash = serializers.HiddenField(default=b"")


class BulkSignal(PlainSignal):
    """The same, with `bulk_create`, and without the look at the unique constraint that costs a query an item."""

    class Meta(PlainSignal.Meta):
        list_serializer_class = InBulk
        validators: list[Any] = []


class PlainSignals(APIView):
    """Take a list of signals in."""

    authentication_classes = (TokenAuthentication,)
    in_bulk = False

    def post(self, request: Request) -> Response:
        """Store all of them or none."""
        with transaction.atomic():
            batch = IntakeBatch.objects.create(
                kind="signals",
                received=len(request.data),
                stored=len(request.data),
                duplicate=0,
                conflict=0,
                refused=0,
                recorded_at=request.data[0]["occurred_at"],
                seen_by_run=1,
            )
            serializer = (BulkSignal if self.in_bulk else PlainSignal)(
                data=[{**item, "batch": batch.pk} for item in request.data], many=True
            )
            serializer.is_valid(raise_exception=True)
            serializer.save()
        return Response(serializer.data, status=201)
