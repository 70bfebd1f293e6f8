"""The next steps of one play over REST: `GET /api/v1/plays/{id}/steps/`."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.generics import ListAPIView

from csplaybooks.accounts.api import moment_field
from csplaybooks.api.views import ApiMixin
from csplaybooks.playbooks.api import MemberSerializer, may_read
from csplaybooks.playbooks.models import Play, PlayStep


class PlayStepSerializer(serializers.Serializer[PlayStep]):
    """A step of a play. `done_at` is when it was done or skipped, `note` what came of it or why it was skipped."""

    number = serializers.IntegerField()
    kind = serializers.CharField()
    text = serializers.CharField()
    state = serializers.CharField()
    began_at = moment_field(allow_null=True)
    due_at = moment_field(allow_null=True)
    done_at = moment_field(allow_null=True)
    done_by = MemberSerializer(allow_null=True)
    note = serializers.CharField()


class PlayStepsView(ApiMixin, ListAPIView[Any]):
    """The steps of one play, in order."""

    permission_classes = (*ApiMixin.permission_classes, may_read(PlayStep))
    scope = "plays"
    permission_model = Play
    queryset = PlayStep.objects.all()
    ordering = ("number", "id")
    serializer_class = PlayStepSerializer

    def get_queryset(self) -> QuerySet[Any]:
        """Those of the play. Raises NotFound where it is not there, or not for the caller to see."""
        if getattr(self, "swagger_fake_view", False):
            # The schema is made without a caller.
            return PlayStep.objects.none()
        if not Play.objects.visible_to(self.viewer).filter(pk=self.kwargs["pk"]).exists():
            raise NotFound("There is no play of this number.")
        rows: QuerySet[Any] = PlayStep.objects.filter(play=self.kwargs["pk"]).select_related("done_by")
        return rows
