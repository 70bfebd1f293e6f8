"""The page "Whose time was it", and the same of one play on its page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from csplaybooks.accounts.models import TeamMember
from csplaybooks.admin_base import Reports, csv_file, link_to, panel
from csplaybooks.playbooks.admin.report_forms import ReportForm, answered, asked_with, day_of, hours_of, share, span
from csplaybooks.playbooks.models import Interval, Play
from csplaybooks.playbooks.reports import Behind, Cut, TimeLine, WhoseTime, time_of_play, whose_time

#: So many plays stand on the page; the file has all of them.
MOST_LINES = 100

#: The cuts that one line of can be looked behind.
_BEHIND = [(cut.value, cut.label) for cut in Cut if cut != Cut.WEEK]


class WhoseTimeForm(ReportForm):
    """A period, its plays, and by what their time is told apart."""

    by = forms.ChoiceField(label="By", choices=Cut.choices)
    weekly = forms.BooleanField(label="Week by week", required=False)
    # The one line that is looked behind.
    of = forms.ChoiceField(required=False, choices=[("", ""), *_BEHIND], widget=forms.HiddenInput)
    key = forms.CharField(required=False, max_length=30, widget=forms.HiddenInput)

    field_order = ("since", "until", "by", "weekly")

    def behind(self) -> Behind | None:
        """The line that is looked behind."""
        values = self.cleaned_data
        return Behind(Cut(values["of"]), values["key"]) if values["of"] else None


@dataclass(frozen=True)
class _Row:
    """A line of the page: its name or a link, time, share, plays, and the time of each week."""

    name: Any
    time: str
    share: str
    plays: int
    behind: str
    weeks: list[str]


class WhoseTimePage(Reports):
    """Adds the page to that of plays."""

    reports = {"whose_time": "Whose time was it"}
    needs = (Interval,)

    def whose_time(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """Of every second of the plays in a period, whose it was; the page, or with `csv` the file."""
        page: Any = self
        now = timezone.now()
        form = asked_with(WhoseTimeForm, request, now, by=Cut.HOLDER.value)
        file = bool(request.GET.get("csv"))
        answer = answered(form, partial(_answer, form, request, now, None if file else MOST_LINES))
        if answer is not None and file:
            return csv_file("whose-time", *_file(answer))
        context = {
            **page.admin_site.each_context(request),
            "title": "Whose time was it",
            "opts": page.opts,
            "form": form,
            "answer": answer,
        }
        if answer is not None:
            context |= {
                "cut": answer.by.label,
                "counts_plays": answer.by not in (Cut.PLAY, Cut.WEEK),
                "rows": [_row(line, answer, form) for line in answer.lines],
                "weeks": [week.key for week in answer.weeks if answer.by != Cut.WEEK],
                "time": span(answer.microseconds),
                "until": answer.until,
                "behind": _told_behind(form.behind()),
                "whole": f"?{_query(form, of='', key='')}",
                "left_out": answer.lines_in_all - len(answer.lines) if answer.by == Cut.PLAY else 0,
            }
        return TemplateResponse(request, "csplaybooks/admin/whose_time.html", context)


def _answer(form: Any, request: Any, now: Any, limit: int | None) -> WhoseTime:
    since, until = form.period()
    return whose_time(
        viewer=request.user,
        since=since,
        until=until,
        now=now,
        by=Cut(form.cleaned_data["by"]),
        which=form.which(),
        behind=form.behind(),
        weekly=form.cleaned_data["weekly"],
        limit=limit,
    )


def _query(form: Any, **changed: Any) -> str:
    """The question as it stands in an address, with some of it changed; what is empty is left out."""
    values = {name: form.data.get(name, "") for name in form.fields} | changed
    return urlencode({name: value for name, value in values.items() if value})


def _row(line: TimeLine, answer: WhoseTime, form: Any) -> _Row:
    name: Any = line.label
    if answer.by == Cut.PLAY:
        name = link_to(Play(pk=line.row_id), line.label)
    return _Row(
        name=name,
        time=span(line.microseconds),
        share=share(line.microseconds, answer.microseconds),
        plays=line.plays,
        behind=_behind_of(line, answer, form),
        weeks=[span(week) if week else "" for week in line.weeks],
    )


def _behind_of(line: TimeLine, answer: WhoseTime, form: Any) -> str:
    """Where the plays behind a line are, or the week; nothing where the page is about one line already."""
    if answer.by == Cut.WEEK:
        week = next(week for week in answer.weeks if week.key == line.key)
        last = day_of(week.ends - timedelta(microseconds=1))
        return f"?{_query(form, by=Cut.HOLDER.value, since=day_of(week.begins), until=last)}"
    if answer.by == Cut.PLAY or form.cleaned_data["of"]:
        return ""
    return f"?{_query(form, by=Cut.PLAY.value, of=answer.by.value, key=line.key)}"


def _told_behind(behind: Behind | None) -> str:
    """The one line that the page is about, in words: `Holder: Carla`."""
    if behind is None:
        return ""
    name = behind.key.replace("_", " ")
    if behind.by in (Cut.HOLDER, Cut.OWNER, Cut.TEAM) and behind.key.isdecimal():
        name = TeamMember.objects.filter(pk=int(behind.key)).values_list("name", flat=True).first() or name
    return f"{behind.by.label}: {name}"


def _file(answer: WhoseTime) -> tuple[list[str], Iterator[list[Any]]]:
    """Headings and rows of the file: everything that is told, with the period on each row."""
    weeks = answer.weeks if answer.by != Cut.WEEK else ()
    headings = ["From", "To", answer.by.label, "Key", "Seconds", "Hours", "Per cent", "Plays"]
    rows = (
        [
            answer.since,
            answer.until,
            line.label,
            line.key,
            Decimal(line.microseconds) / 1_000_000,
            hours_of(line.microseconds),
            share(line.microseconds, answer.microseconds),
            None if answer.by == Cut.WEEK else line.plays,
            *(hours_of(week) for week in line.weeks),
        ]
        for line in answer.lines
    )
    return [*headings, *(f"Hours in {week.key}" for week in weeks)], rows


def play_panel(play: Play, request: HttpRequest) -> SafeString | None:
    """On the page of a play: whose time it was until now, by holder and by stage."""
    cuts = time_of_play(play.pk, timezone.now())
    whole = sum(line.microseconds for line in cuts[Cut.STAGE])
    if not whole:
        return None
    tables = [
        (
            cut.label,
            [
                (_member(line), span(line.microseconds), share(line.microseconds, whole))
                for line in sorted(lines, key=lambda line: -line.microseconds if cut == Cut.HOLDER else 0)
                if line.microseconds
            ],
        )
        for cut, lines in cuts.items()
    ]
    return render_to_string("csplaybooks/admin/whose_time_panel.html", {"tables": tables, "time": span(whole)})


def _member(line: TimeLine) -> Any:
    return line.label if line.row_id is None else link_to(TeamMember(pk=line.row_id), line.label)


panel(Play, "Whose time", play_panel, needs=Interval)
