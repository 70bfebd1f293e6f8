"""Acts on one play over REST: `POST /api/v1/plays/17/assign/`, and one address for each other move that people make.

Each calls the act that the admin calls. The table of moves says who may do what; what it refuses is a 409 that names
what is possible instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from django.core.exceptions import ValidationError as Invalid
from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from csplaybooks.accounts.api import MomentFormField
from csplaybooks.accounts.models import ApiToken, TeamMember
from csplaybooks.api.problems import Problem
from csplaybooks.api.serializers import BodySerializer, id_field
from csplaybooks.api.views import ApiView, describe
from csplaybooks.playbooks.acts.claiming import claim_plays, release_plays
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays, refuse_plays, take_back_plays
from csplaybooks.playbooks.acts.moving import Answers
from csplaybooks.playbooks.acts.plays import (
    PAUSED_TOO_LONG,
    assign_plays,
    close_plays,
    log_touch,
    pause_plays,
    resume_plays,
    start_plays,
)
from csplaybooks.playbooks.acts.steps import finish_steps
from csplaybooks.playbooks.api import PLAYS, PlaySerializer
from csplaybooks.playbooks.models import Outcome, Play, Touch
from csplaybooks.playbooks.moves import MOVES, Rights, possible, refusal


class MomentBodyField(serializers.Field[datetime, str, str, Any]):
    """An instant in a body: ISO 8601 with its zone."""

    read_by = MomentFormField

    def to_internal_value(self, data: Any) -> datetime:
        """The aware datetime. Raises ValidationError `invalid` or `no_time_zone`."""
        try:
            moment: datetime | None = self.read_by().clean(data) if isinstance(data, str) else None
        except Invalid as error:
            raise serializers.ValidationError(error.messages[0], code=error.code or "invalid") from error
        if moment is None:
            raise serializers.ValidationError("Write a time such as 2026-11-22T08:00:00Z.", code="invalid")
        return moment


class _WakeUpFormField(MomentFormField):
    out_of_calendar = PAUSED_TOO_LONG


class WakeUpField(MomentBodyField):
    """An instant at which a play wakes up."""

    read_by = _WakeUpFormField


class NothingBody(BodySerializer):
    """An act that asks for nothing; the body may be missing."""


class AssignBody(BodySerializer):
    """To whom: the id of a team member."""

    owner = id_field()


class TouchBody(BodySerializer):
    """A contact that was made; `at` is now where it is left out.

    `by_member` says who made it, for a token alone: a person logs their own.
    """

    channel = serializers.ChoiceField(choices=Touch.Channel.choices)
    direction = serializers.ChoiceField(choices=Touch.Direction.choices, default=Touch.Direction.OUT)
    at = MomentBodyField(required=False, allow_null=True)
    note = serializers.CharField(required=False, allow_blank=True, max_length=10_000)
    by_member = id_field(required=False, allow_null=True)


class PauseBody(BodySerializer):
    """What is waited for; without `wakes_at`, until somebody resumes it."""

    reason = serializers.CharField(max_length=500)
    wakes_at = WakeUpField(required=False, allow_null=True)


class OfferBody(BodySerializer):
    """To which account executive, with a word of one's own."""

    to = id_field()
    note = serializers.CharField(required=False, allow_blank=True, max_length=10_000)


class ReasonBody(BodySerializer):
    """Why, where there is something to say; the body may be missing."""

    reason = serializers.CharField(required=False, allow_blank=True, max_length=500)


class StepBody(BodySerializer):
    """What came of it, where there is something to say; the body may be missing.

    `contact` is the channel by which whoever did it was in contact with the customer: it is logged as a contact of now.
    """

    note = serializers.CharField(required=False, allow_blank=True, max_length=500)
    contact = serializers.ChoiceField(choices=Touch.Channel.choices, required=False, allow_blank=True)


class GivenReasonBody(BodySerializer):
    """Why."""

    reason = serializers.CharField(max_length=500)


@dataclass(frozen=True)
class ApiAct:
    """One act: its name in the table of moves, what its body asks for, and how it is called.

    `call` is given the body, and the arguments that all acts share.
    """

    verb: str
    body: type[BodySerializer]
    call: Callable[[Mapping[str, Any], Mapping[str, Any]], Answers]


def _assign(body: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return assign_plays(owner_id=body["owner"], **how)


def _claim(body: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    rights = Rights.of(how["actor"], how["now"])
    if not rights.routes:
        # A token, or somebody who is in no team: the act has nobody to give it to.
        return {pk: refusal("claim", PLAYS.get(pk=pk), rights) for pk in how["play_ids"]}
    return claim_plays(**how)


def _touch(body: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    by_member = body.get("by_member")
    if not isinstance(how["actor"], ApiToken):
        member = TeamMember.objects.filter(user=how["actor"].pk).first()
        if by_member is not None and (member is None or member.pk != by_member):
            raise serializers.ValidationError({"by_member": "A person logs their own contacts."})
        by_member = member and member.pk
    # The contact was made, whoever moved the play meanwhile.
    how = {name: value for name, value in how.items() if name != "seen"}
    return log_touch(
        channel=body["channel"],
        direction=body["direction"],
        at=body.get("at"),
        note=body.get("note", ""),
        by_member_id=by_member,
        **how,
    )


def _pause(body: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return pause_plays(reason=body["reason"], wakes_at=body.get("wakes_at"), **how)


def _offer(body: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return offer_plays(to_id=body["to"], note=body.get("note", ""), **how)


def _take_back(body: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return take_back_plays(reason=body.get("reason", ""), **how)


def _ending(verb: str, outcome: Outcome, body: type[BodySerializer] = ReasonBody) -> ApiAct:
    def close(body: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
        return close_plays(outcome=outcome, reason=body.get("reason", ""), **how)

    return ApiAct(verb, body, close)


API_ACTS = (
    ApiAct("assign", AssignBody, _assign),
    ApiAct("claim", NothingBody, _claim),
    ApiAct("release", GivenReasonBody, lambda body, how: release_plays(reason=body["reason"], **how)),
    ApiAct("start", NothingBody, lambda body, how: start_plays(**how)),
    ApiAct("touch", TouchBody, _touch),
    ApiAct("pause", PauseBody, _pause),
    ApiAct("resume", NothingBody, lambda body, how: resume_plays(**how)),
    ApiAct("offer", OfferBody, _offer),
    ApiAct("accept", NothingBody, lambda body, how: accept_plays(**how)),
    ApiAct("refuse", GivenReasonBody, lambda body, how: refuse_plays(reason=body["reason"], **how)),
    ApiAct("take_back", ReasonBody, _take_back),
    ApiAct(
        "step",
        StepBody,
        lambda body, how: finish_steps(note=body.get("note", ""), contact=body.get("contact", ""), **how),
    ),
    ApiAct("skip_step", GivenReasonBody, lambda body, how: finish_steps(note=body["reason"], skip=True, **how)),
    _ending("win", Outcome.WON),
    _ending("lose", Outcome.LOST),
    _ending("decline", Outcome.DECLINED, GivenReasonBody),
    _ending("withdraw", Outcome.WITHDRAWN),
)


class PlayActView(ApiView):
    """An act on one play.

    Answers the play as it now stands; whoever gave it away by the act is told once more, with nothing in `can`. A play
    that is not there, or not for the caller to see, is a 404. What the table of moves refuses is a 409 `illegal_move`,
    and where somebody else was first at this very moment a 409 `conflict`; the `possible` of either are the acts that
    the caller may do instead.
    """

    scope = "plays"
    permission_model = Play
    #: A POST here changes the row that the address names.
    detail = True
    the_act: ApiAct

    def post(self, request: Request, pk: int) -> Response:
        """Do the act."""
        visible = Play.objects.visible_to(self.viewer).filter(pk=pk)
        seen = visible.values_list("version", flat=True).first()
        if seen is None:
            raise NotFound("There is no such play.")
        body = self.the_act.body(data=request.data)
        body.is_valid(raise_exception=True)
        now = timezone.now()
        how = {"play_ids": [pk], "now": now, "actor": self.viewer, "seen": {pk: seen}}
        refused = self.the_act.call(body.validated_data, how)[pk]
        play, rights = PLAYS.get(pk=pk), Rights.of(self.viewer, now)
        if refused is not None:
            can = possible(play, rights)
            late = self.the_act.verb in can and play.version != seen
            raise Problem(
                status=409,
                code="conflict" if late else "illegal_move",
                message=f"{refused[:1].upper()}{refused[1:]}.",
                members={"possible": can},
            )
        context = {"request": request, "rights": rights if visible.exists() else None}
        return Response(PlaySerializer(play, context=context).data)


def _view_of(act: ApiAct) -> Any:
    """The view of an act; what it does says its docstring."""
    permission = MOVES[act.verb].permission
    members = {
        "__doc__": f"{MOVES[act.verb].label}.\n\n{PlayActView.__doc__}",
        "the_act": act,
        "body_required": any(field.required for field in act.body().fields.values()),
        # None: the right to change plays.
        "permission_verb": None if permission == "change_play" else permission.removesuffix("_play"),
    }
    view = type(f"Play{act.verb.title().replace('_', '')}View", (PlayActView,), members)
    return describe(request=act.body, responses=PlaySerializer)(view)


#: The view of each act, by its verb.
ACT_VIEWS: Mapping[str, Any] = MappingProxyType({act.verb: _view_of(act) for act in API_ACTS})
