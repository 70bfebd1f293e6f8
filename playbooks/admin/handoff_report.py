"""The page "How offers went": hand-offs by pair, time and outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from csplaybooks.admin_base import Reports, csv_file, link_to, moment
from csplaybooks.playbooks.admin.report_forms import ReportForm, answered, asked_with, day_of, hours_of, span
from csplaybooks.playbooks.models import Handoff
from csplaybooks.playbooks.reports import (
    MOST_REFUSALS,
    Every,
    HandoffReport,
    Kept,
    OfferLine,
    Pairing,
    handoff_report,
)

#: The columns of answers, in the order in which they are read.
_ANSWERS = {
    Handoff.Answer.ACCEPTED: "Accepted",
    Handoff.Answer.REFUSED: "Refused",
    Handoff.Answer.TAKEN_BACK: "Taken back",
    Handoff.Answer.EXPIRED: "Lapsed",
    Handoff.Answer.WAITING: "Waiting",
}

#: The columns of promises: what is neither is in the file.
_KEPT = {Kept.KEPT: "In time", Kept.MISSED: "Late", Kept.EXCUSED: "Excused"}

_TIMES = ("median", "most", "working_median", "working_most")


class HandoffReportForm(ReportForm):
    """A period, its offers, and by what they are told apart."""

    pairing = forms.ChoiceField(label="By", choices=Pairing.choices)
    every = forms.ChoiceField(label="Each", required=False, choices=[("", "The whole period"), *Every.choices])
    offered_by = forms.TypedChoiceField(label="Who offered", required=False, coerce=int, empty_value=None)
    offered_to = forms.TypedChoiceField(label="To whom", required=False, coerce=int, empty_value=None)

    of_people = ("owner", "offered_by", "offered_to")
    field_order = ("since", "until", "pairing", "every", "offered_by", "offered_to")


@dataclass(frozen=True)
class _Row:
    """A line of the page: who, and its numbers in the order of the headings."""

    part: str
    who: str
    behind: str
    offered: int
    numbers: list[str]


class HandoffReportPage(Reports):
    """Adds the page to that of offers."""

    reports = {"report": "How offers went"}

    def report(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """How the offers of a period went; the page, or with `csv` the file, `csv=reasons` that of refusals."""
        page: Any = self
        now = timezone.now()
        form = asked_with(HandoffReportForm, request, now, pairing=Pairing.PAIR.value)
        answer: HandoffReport | None = answered(form, partial(_answer, form, request, now))
        file = request.GET.get("csv")
        if answer is not None and file:
            return (
                csv_file("refusals", *_reasons_file(answer))
                if file == "reasons"
                else csv_file("handoffs", *_file(answer))
            )
        context = {
            **page.admin_site.each_context(request),
            "title": "How offers went",
            "opts": page.opts,
            "form": form,
            "answer": answer,
        }
        if answer is not None:
            sides = _sides(form.cleaned_data["pairing"])
            context |= {
                "every": form.cleaned_data["every"],
                "sides": sides,
                "headings": [*_ANSWERS.values(), *_KEPT.values(), "Median", "90 %", "Median", "90 %"],
                "rows": [_row(line, answer) for line in answer.lines],
                "total": _row(answer.total, answer),
                "refusals": [
                    (
                        link_to(Handoff(pk=refusal.offer_id), f"{refusal.by_name} → {refusal.to_name}"),
                        refusal.reason,
                        moment(refusal.at),
                    )
                    for refusal in answer.refusals
                ],
                "more_refused": answer.refused - len(answer.refusals),
                "most_refusals": MOST_REFUSALS,
                "reasons": f"?{_query(form, csv='reasons')}",
            }
        return TemplateResponse(request, "csplaybooks/admin/handoff_report.html", context)


def _answer(form: Any, request: Any, now: Any) -> HandoffReport:
    since, until = form.period()
    values = form.cleaned_data
    return handoff_report(
        viewer=request.user,
        since=since,
        until=until,
        now=now,
        pairing=Pairing(values["pairing"]),
        every=Every(values["every"]) if values["every"] else None,
        which=form.which(),
        by_id=values["offered_by"],
        to_id=values["offered_to"],
    )


def _query(form: Any, **more: str) -> str:
    values = {name: form.data.get(name, "") for name in form.fields} | more
    return urlencode({name: value for name, value in values.items() if value})


def _sides(pairing: str) -> str:
    """The heading of who stands on a line; nothing where all stand together."""
    return {Pairing.PAIR: "From, to", Pairing.BY: "Who offered", Pairing.TO: "To whom"}.get(Pairing(pairing), "")


def _who(line: OfferLine) -> str:
    return " → ".join(name for name in (line.by_name, line.to_name) if name) or "All"


def _numbers(line: OfferLine) -> list[Any]:
    """The counts of a line, in the order of the headings."""
    return [*(line.answers[answer] for answer in _ANSWERS), *(line.kept[kept] for kept in _KEPT)]


def _row(line: OfferLine, answer: HandoffReport) -> _Row:
    part = next((part for part in answer.parts if part.key == line.part), None)
    sought = {
        "offered_by__id__exact": line.by_id,
        "offered_to__id__exact": line.to_id,
        "offered_at__gte": (part.begins if part else answer.since).isoformat(),
        "offered_at__lt": (part.ends if part else answer.until).isoformat(),
    }
    query = urlencode({name: value for name, value in sought.items() if value is not None})
    return _Row(
        part=line.part or "",
        who=_who(line),
        behind=f"{reverse('admin:csplaybooks_playbooks_handoff_changelist')}?{query}",
        offered=line.offered,
        numbers=[
            *(f"{number:,}" for number in _numbers(line)),
            *(span(getattr(line, name)) for name in _TIMES),
        ],
    )


def _file(answer: HandoffReport) -> tuple[list[str], Iterator[list[Any]]]:
    """Headings and rows of the file: everything that is told, with the period on each row."""
    headings = [
        *("From", "To", "Week or month", "Who offered", "To whom", "Offered"),
        *_ANSWERS.values(),
        *(f"Promise: {kept.label.lower()}" for kept in Kept),
        *("Median hours", "90 % within hours", "Median working hours", "90 % within working hours"),
    ]
    rows = (
        [
            *(answer.since, answer.until, line.part, line.by_name, line.to_name, line.offered),
            *(line.answers[each] for each in _ANSWERS),
            *(line.kept[each] for each in Kept),
            *(hours_of(getattr(line, name)) for name in _TIMES),
        ]
        for line in answer.lines
    )
    return headings, rows


def _reasons_file(answer: HandoffReport) -> tuple[list[str], Iterator[list[Any]]]:
    rows = (
        [each.offer_id, each.play_id, each.by_name, each.to_name, each.at, day_of(each.at), each.reason]
        for each in answer.refusals
    )
    return ["Offer", "Play", "Who offered", "To whom", "Refused at", "Day", "Reason"], rows
