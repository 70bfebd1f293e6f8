"""Reports over REST: whose time it was, how offers went, and the intervals of one play.

`GET /api/v1/intervals/whose-time/`, `/api/v1/handoffs/report/` and `/api/v1/plays/{id}/intervals/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from csplaybooks.accounts.api import MomentFormField, accounts_known_as, moment_field
from csplaybooks.accounts.models import Motion, Segment
from csplaybooks.api.problems import FieldError, Problem
from csplaybooks.api.views import ApiMixin, ApiView, describe
from csplaybooks.playbooks.api import MemberSerializer, may_read
from csplaybooks.playbooks.api_asked import playbook_called, require_members
from csplaybooks.playbooks.models import Handoff, Interval, Play, Route
from csplaybooks.playbooks.reports import (
    Behind,
    Cut,
    Every,
    Kept,
    OfferLine,
    Pairing,
    ReportError,
    WhichPlays,
    handoff_report,
    whose_time,
)
from csplaybooks.signals.api_queries import account_named, asked_in

#: What is told unless a period is asked for.
DAYS = timedelta(days=30)

#: At most so many plays are told, those with the most time; how many there are is said.
MOST_LINES = 1000

_LARGEST_ID = 2**63 - 1
_SECOND = 1_000_000


class ReportQuery(forms.Form):
    """A period, and which plays count: the filters of plays, and the segment in which they opened."""

    since = MomentFormField(required=False)
    until = MomentFormField(required=False)
    playbook = forms.CharField(max_length=100, required=False)
    motion = forms.ChoiceField(choices=Motion.choices, required=False)
    route = forms.ChoiceField(choices=Route.choices, required=False)
    segment = forms.ChoiceField(choices=Segment.choices, required=False)
    owner = forms.IntegerField(min_value=1, max_value=_LARGEST_ID, required=False)
    account = forms.CharField(max_length=200, strip=False, required=False)
    account_source = forms.CharField(max_length=100, strip=False, required=False)


class WhoseTimeQuery(ReportQuery):
    """By what time is told apart, and the one line of another cut that it is narrowed to."""

    by = forms.ChoiceField(choices=Cut.choices, required=False)
    weekly = forms.ChoiceField(choices=[("true", "true"), ("false", "false")], required=False)
    of = forms.ChoiceField(choices=[(cut.value, cut.label) for cut in Cut if cut != Cut.WEEK], required=False)
    key = forms.CharField(max_length=30, required=False)


class HandoffQuery(ReportQuery):
    """By which sides offers are told apart, by which parts of the period, and which sides count."""

    by = forms.ChoiceField(choices=Pairing.choices, required=False)
    every = forms.ChoiceField(choices=Every.choices, required=False)
    offered_by = forms.IntegerField(min_value=1, max_value=_LARGEST_ID, required=False)
    offered_to = forms.IntegerField(min_value=1, max_value=_LARGEST_ID, required=False)


class WeekSerializer(serializers.Serializer[Any]):
    """A week or month, or what of it lies in the period: `[begins, ends)`."""

    key = serializers.CharField()
    begins = moment_field()
    ends = moment_field()


class TimeLineSerializer(serializers.Serializer[Any]):
    """A line: its time in seconds, its share of all of it (0 to 1), its plays, and its seconds in each week.

    `id` is that of the member or play that it is about, `key` names the line (see `of`).
    """

    key = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a name that every serializer has
    id = serializers.IntegerField(allow_null=True)
    seconds = serializers.FloatField()
    share = serializers.FloatField()
    plays = serializers.IntegerField(allow_null=True)
    weeks = serializers.ListField(child=serializers.FloatField())


class WhoseTimeSerializer(serializers.Serializer[Any]):
    """Whose time it was; the lines add up to `seconds`, but for those of plays that are not told."""

    by = serializers.CharField()
    since = moment_field()
    until = moment_field()
    seconds = serializers.FloatField()
    plays = serializers.IntegerField()
    weeks = WeekSerializer(many=True)
    lines_in_all = serializers.IntegerField()
    results = TimeLineSerializer(many=True)


class WhoseTimeView(ApiView):
    """Of every second of the plays in a period, whose it was."""

    permission_classes = (*ApiMixin.permission_classes, may_read(Interval))
    scope = "plays"
    permission_model = Play
    query_parameters = tuple(WhoseTimeQuery.base_fields)

    @describe(responses=WhoseTimeSerializer)
    def get(self, request: Request) -> Response:
        """The sums. Raises Problem 400 `invalid_filter`, and 404 for what is named and there is not."""
        values = asked_in(request, WhoseTimeQuery)
        if (values["of"] is None) != (values["key"] is None):
            raise _bad("key" if values["key"] is None else "of", "Name both `of` and `key`, or neither.")
        which = _which(self.viewer, values)
        now = timezone.now()
        since, until = _period(values, now)
        answer = _asked(
            values,
            lambda: whose_time(
                viewer=self.viewer,
                since=since,
                until=until,
                now=now,
                by=Cut(values["by"] or Cut.HOLDER),
                which=which,
                behind=Behind(Cut(values["of"]), values["key"]) if values["of"] else None,
                weekly=values["weekly"] == "true",
                limit=MOST_LINES,
            ),
        )
        told = {
            "by": answer.by.value,
            "since": answer.since,
            "until": answer.until,
            "seconds": answer.microseconds / _SECOND,
            "plays": answer.plays,
            "weeks": answer.weeks,
            "lines_in_all": answer.lines_in_all,
            "results": [
                {
                    "key": line.key,
                    "label": line.label,
                    "id": line.row_id,
                    "seconds": line.microseconds / _SECOND,
                    "share": round(line.microseconds / answer.microseconds, 6) if answer.microseconds else 0.0,
                    "plays": None if answer.by == Cut.WEEK else line.plays,
                    "weeks": [week / _SECOND for week in line.weeks],
                }
                for line in answer.lines
            ],
        }
        return Response(WhoseTimeSerializer(told).data)


class OfferLineSerializer(serializers.Serializer[Any]):
    """The offers of one line. `part` is a week or month; a side that is not told apart is null.

    `answers` and `promises` each add up to `offered`. Times are seconds from the offer to its acceptance or refusal:
    the median, and what 90 of 100 took at most, on the wall and in the working hours of the promise; null of none.
    """

    part = serializers.CharField(allow_null=True)
    offered_by = MemberSerializer(allow_null=True)
    offered_to = MemberSerializer(allow_null=True)
    offered = serializers.IntegerField()
    answers = serializers.DictField(child=serializers.IntegerField())
    promises = serializers.DictField(child=serializers.IntegerField())
    median_seconds = serializers.FloatField(allow_null=True)
    ninety_percent_seconds = serializers.FloatField(allow_null=True)
    median_working_seconds = serializers.FloatField(allow_null=True)
    ninety_percent_working_seconds = serializers.FloatField(allow_null=True)


class RefusalSerializer(serializers.Serializer[Any]):
    """Why an offer was refused."""

    offer = serializers.IntegerField(source="offer_id")
    play = serializers.IntegerField(source="play_id")
    offered_by = serializers.CharField(source="by_name")
    offered_to = serializers.CharField(source="to_name")
    at = moment_field()
    reason = serializers.CharField()


class HandoffReportSerializer(serializers.Serializer[Any]):
    """How the offers made in a period went; `refusals` are the newest of those `refused`."""

    since = moment_field()
    until = moment_field()
    parts = WeekSerializer(many=True)
    results = OfferLineSerializer(many=True)
    total = OfferLineSerializer()
    refused = serializers.IntegerField()
    refusals = RefusalSerializer(many=True)


class HandoffReportView(ApiView):
    """How offers from one to another went: by pair, time and outcome."""

    permission_classes = (*ApiMixin.permission_classes, may_read(Handoff))
    scope = "plays"
    permission_model = Play
    query_parameters = tuple(HandoffQuery.base_fields)

    @describe(responses=HandoffReportSerializer)
    def get(self, request: Request) -> Response:
        """The report. Raises Problem 400 `invalid_filter`, and 404 for what is named and there is not."""
        values = asked_in(request, HandoffQuery)
        which = _which(self.viewer, values)
        now = timezone.now()
        since, until = _period(values, now)
        answer = _asked(
            values,
            lambda: handoff_report(
                viewer=self.viewer,
                since=since,
                until=until,
                now=now,
                pairing=Pairing(values["by"] or Pairing.PAIR),
                every=Every(values["every"]) if values["every"] else None,
                which=which,
                by_id=values["offered_by"],
                to_id=values["offered_to"],
            ),
        )
        told = {
            "since": answer.since,
            "until": answer.until,
            "parts": answer.parts,
            "results": [_offer_line(line) for line in answer.lines],
            "total": _offer_line(answer.total),
            "refused": answer.refused,
            "refusals": answer.refusals,
        }
        return Response(HandoffReportSerializer(told).data)


class IntervalSerializer(serializers.Serializer[Interval]):
    """One stretch of a play, `[from, to)`; `to` is null while it lasts. `held_by`: member, tray or customer."""

    seq = serializers.IntegerField()
    owner = MemberSerializer(allow_null=True)
    holder = MemberSerializer(allow_null=True)
    held_by = serializers.CharField()
    stage = serializers.CharField()
    state = serializers.CharField()

    def get_fields(self) -> Any:
        """The fields, with the two whose names are words of Python."""
        times = {"from": moment_field(source="valid_from"), "to": moment_field(source="valid_to")}
        return {**super().get_fields(), **times}


class PlayIntervalsView(ApiMixin, ListAPIView[Any]):
    """The intervals of one play, in order."""

    permission_classes = (*ApiMixin.permission_classes, may_read(Interval))
    scope = "plays"
    permission_model = Play
    queryset = Interval.objects.all()
    ordering = ("seq", "id")
    serializer_class = IntervalSerializer

    def get_queryset(self) -> QuerySet[Any]:
        """Those of the play. Raises NotFound where it is not there, or not for the caller to see."""
        if getattr(self, "swagger_fake_view", False):
            # The schema is made without a caller.
            return Play.objects.none()
        if not Play.objects.visible_to(self.viewer).filter(pk=self.kwargs["pk"]).exists():
            raise NotFound("There is no play of this number.")
        rows: QuerySet[Any] = Interval.objects.filter(play=self.kwargs["pk"]).select_related("owner", "holder")
        return rows


def _period(values: dict[str, Any], now: datetime) -> tuple[datetime, datetime]:
    """The period asked about: until now, and the 30 days before its end, where it is not said."""
    until = values["until"] or now
    return values["since"] or until - DAYS, until


def _which(viewer: Any, values: dict[str, Any]) -> WhichPlays:
    """The plays that count. Raises Problem for a playbook, an account or a member that there is not."""
    if values["playbook"]:
        playbook_called(viewer, values["playbook"])
    require_members(viewer, {name: values.get(name) for name in ("owner", "offered_by", "offered_to")})
    accounts: Any = None
    if values["account"]:
        accounts = [account_named(viewer, values["account"], values["account_source"])]
    elif values["account_source"]:
        accounts = accounts_known_as(source=values["account_source"])
    return WhichPlays(
        **{name: values[name] or "" for name in ("playbook", "motion", "route", "segment")},
        owner_id=values["owner"],
        accounts=accounts,
    )


def _asked(values: dict[str, Any], report: Callable[[], Any]) -> Any:
    """What a report answers; what it refuses is a 400 that names the parameter.

    Where only the end of the period was said, the beginning follows from it, and so does what is wrong with it.
    """
    try:
        return report()
    except ReportError as error:
        blamed = "until" if error.parameter == "since" and values["since"] is None else error.parameter
        raise _bad(blamed, str(error)) from error


def _bad(name: str, message: str) -> Problem:
    error = FieldError((name,), "invalid", message)
    return Problem(status=400, code="invalid_filter", message=error.sentence, errors=[error])


def _offer_line(line: OfferLine) -> dict[str, Any]:
    return {
        "part": line.part,
        "offered_by": None if line.by_id is None else {"id": line.by_id, "name": line.by_name},
        "offered_to": None if line.to_id is None else {"id": line.to_id, "name": line.to_name},
        "offered": line.offered,
        "answers": line.answers,
        "promises": {kept.value: line.kept[kept] for kept in Kept},
        **dict(_seconds(line)),
    }


def _seconds(line: OfferLine) -> Iterator[tuple[str, float | None]]:
    for name, microseconds in (
        ("median_seconds", line.median),
        ("ninety_percent_seconds", line.most),
        ("median_working_seconds", line.working_median),
        ("ninety_percent_working_seconds", line.working_most),
    ):
        yield name, None if microseconds is None else microseconds / _SECOND
