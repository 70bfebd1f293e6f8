"""The page "What if" of a playbook: what its draft would come to today, and what it would have found in the past."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from django import forms
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from csplaybooks.accounts.admin.show import money
from csplaybooks.accounts.models import Account, TeamMember
from csplaybooks.admin_base import in_plain, link_to, moment
from csplaybooks.admin_base.reader import read_by
from csplaybooks.conf import company_time_zone
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.models import Match
from csplaybooks.playbooks.reach import Forgotten
from csplaybooks.playbooks.what_if import (
    Candidate,
    Episode,
    Past,
    PeriodError,
    Preview,
    Sight,
    draft_triggers,
    numbers_of,
    openings_by_owner,
    past_episodes,
    preview,
)
from csplaybooks.playbooks.what_if.words import how_many
from csplaybooks.signals.horizon import midnight

TEMPLATE = "csplaybooks/admin/what_if.html"

#: The most rows of each list of accounts; how many there are is said.
MOST_ROWS = 50

#: The weeks of the table by owner.
WEEKS = 8

#: A page that takes longer than this is given up, and the command named that takes its time.
MOST_SECONDS = 20

#: What a step may be on the page.
_STEPS = {"1d": "every day", "7d": "every week", "12h": "every 12 hours", "6h": "every 6 hours", "1h": "every hour"}

_HOURS = {"d": 24, "h": 1}


class TooSlow(Exception):
    """What was asked takes longer than a page may; it says how long about."""


@dataclass(frozen=True)
class Table:
    """A table of the page. `of` is how many rows there are where only the first are shown, else None."""

    heading: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    of: int | None = None

    @property
    def columns(self) -> list[tuple[str, bool]]:
        """The headings, each with whether its column holds numbers."""
        first = self.rows[0] if self.rows else [""] * len(self.headings)
        return [(heading, isinstance(cell, int)) for heading, cell in zip(self.headings, first, strict=True)]

    @property
    def is_told(self) -> bool:
        """Whether it tells of accounts, in words: its rows are long, and stand below each other where it is narrow."""
        return not any(right for _, right in self.columns)

    @property
    def cells(self) -> list[list[tuple[str, Any, bool]]]:
        """The rows, each cell with its heading, and whether it is a number."""
        return [
            [
                (heading, f"{cell:,}" if isinstance(cell, int) else cell, isinstance(cell, int))
                for heading, cell in zip(self.headings, row, strict=True)
            ]
            for row in self.rows
        ]


class PeriodForm(forms.Form):
    """A past period, and how it is asked about."""

    start = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}))
    end = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    every = forms.ChoiceField(label="Asked", choices=list(_STEPS.items()), required=False)
    known = forms.ChoiceField(
        label="As known", choices=[("now", "now"), ("then", "then, by the runs of that time")], required=False
    )

    def clean_start(self) -> date:
        """A day that has begun, and that our records can reach."""
        start: date = self.cleaned_data["start"]
        if start > timezone.now().astimezone(company_time_zone()).date():
            raise forms.ValidationError("This day is still to come.")
        if start < date(2000, 1, 1):
            raise forms.ValidationError("Ask from 2000-01-01 on.")
        return start

    def clean(self) -> dict[str, Any]:
        """A period that ends after it begins, told by the days as they were entered."""
        values: dict[str, Any] = super().clean() or {}
        start, end = values.get("start"), values.get("end")
        if start is not None and end is not None and end < start:
            self.add_error("end", f"{end} lies before {start}: the period ends before it begins.")
        return values

    def asked(self, now: datetime) -> dict[str, Any]:
        """The arguments of `past_episodes`."""
        end = self.cleaned_data["end"]
        today = now.astimezone(company_time_zone()).date()
        every = self.cleaned_data["every"] or "1d"
        return {
            "start": midnight(self.cleaned_data["start"]),
            "end": now if end is None or end >= today else midnight(end + timedelta(days=1)),
            "step": timedelta(hours=int(every[:-1]) * _HOURS[every[-1]]),
            "known": self.cleaned_data["known"] or "now",
        }


class WhatIfPage:
    """Adds the page to that of playbooks: a mixin of a model's admin."""

    def get_urls(self) -> list[URLPattern]:
        """The addresses of the table, and that of the page."""
        page: Any = self
        view = page.admin_site.admin_view(partial(read_by_reader, page))
        name = f"{page.opts.app_label}_{page.opts.model_name}_what_if"
        ours: list[URLPattern] = [path("<path:object_id>/what-if/", view, name=name)]
        urls: list[URLPattern] = super().get_urls()  # type: ignore[misc]  # of the admin that it is mixed into
        return ours + urls

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """The page of a playbook, with a link to what its draft would come to."""
        playbook = context.get("original")
        if playbook is not None and may_ask(self, request):
            context["what_if"] = address_of(self, playbook)
        response: HttpResponse = super().render_change_form(  # type: ignore[misc]  # as above
            request, context, *args, **kwargs
        )
        return response


def address_of(page: Any, playbook: Any) -> str:
    """Where the page of a playbook is."""
    name = f"admin:{page.opts.app_label}_{page.opts.model_name}_what_if"
    return reverse(name, args=[playbook.pk], current_app=page.admin_site.name)


def may_ask(page: Any, request: HttpRequest) -> bool:
    """Whether a person may look at playbooks, and at matches, which is what the page is about."""
    matches = page.admin_site.get_model_admin(Match)
    return bool(page.has_view_or_change_permission(request) and matches.has_view_or_change_permission(request))


def read_by_reader(page: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """The page, with links that open."""
    return read_by(page.admin_site, request, partial(show, page, request, object_id))


def show(page: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """The preview of the draft; with `weeks` also the load by owner, with `start` also the episodes of a period."""
    playbook = page.get_object(request, unquote(object_id))
    if not may_ask(page, request):
        raise PermissionDenied
    if playbook is None:
        refused: HttpResponse = page._get_obj_does_not_exist_redirect(request, page.opts, object_id)
        return refused
    now = timezone.now()
    form = PeriodForm(request.GET if "start" in request.GET else None, initial={"every": "1d", "known": "now"})
    context = {
        **page.admin_site.each_context(request),
        "title": f"What if: {playbook}",
        "opts": page.opts,
        "original": playbook,
        "form": form,
        "faults": [],
        "warnings": [],
        "tables": [],
        "past": [],
        "weeks": WEEKS,
    }
    try:
        document = read_document(playbook.draft)
        answer = preview(document, now=now, viewer=request.user)
    except DocumentError as error:
        context["faults"] = [f"{where}: {said}" if where else said for where, said in error.errors]
    else:
        context |= {"answer": answer, "warnings": answer.warnings, "tables": list(_tables(answer))}
        try:
            if "weeks" in request.GET:
                context["by_week"] = _weeks(document, now, request.user)
            if form.is_bound and form.is_valid():
                context["past"] = list(_past(document, form.asked(now), answer.sight))
        except (Forgotten, PeriodError) as error:
            context["refused"] = str(error)
        except TooSlow as error:
            context["refused"] = (
                f"{error} Ask for less, or ask the command, which takes its time: "
                f"manage.py csplaybooks_whatif --playbook {playbook.key} --draft --from DAY --to DAY"
            )
    request.current_app = page.admin_site.name
    return TemplateResponse(request, TEMPLATE, context)


def _in_time() -> Any:
    """A progress that gives up what takes too long, with how long it would about take."""
    began = time.monotonic()

    def tell(done: int, of: int) -> None:
        spent = time.monotonic() - began
        if spent > MOST_SECONDS and done < of:
            minutes = -(-int(spent * of / done) // 60)
            raise TooSlow(f"This takes longer than a page may: about {how_many(minutes, 'minute', 'minutes')}.")

    return tell


def _accounts(ids: Iterable[int]) -> dict[int, Any]:
    """Links to accounts, by id; one query."""
    return {pk: link_to(row) for pk, row in Account.objects.in_bulk(set(ids)).items()}


def _capped(heading: str, headings: Sequence[str], rows: Sequence[Sequence[Any]], of: int, note: str = "") -> Table:
    return Table(heading, headings, rows, note, of if of > len(rows) else None)


def _lines(words: Iterable[str]) -> str:
    return "; ".join(words)


def _tables(answer: Preview) -> Iterable[Table]:
    """The tables of a preview: numbers first, then the accounts."""
    yield _numbers(answer)
    if answer.held_by:
        yield Table("Held by", ("Guard", "Matches"), [(in_plain(key), count) for key, count in answer.held_by.items()])
    if answer.shares:
        yield Table(
            "Whom the plays would go to",
            ("Owner", "Plays", "That count", "Carries", "Cap"),
            [
                (s.name, s.plays, s.heavy, *((s.load, s.cap) if s.member_id is not None else ("", "")))
                for s in answer.shares
            ],
            note="If all were opened at once, the greatest expected amount first. Plays on automated routes do not "
            "count toward a cap.",
        )
    held = [each for trigger in answer.triggers for each in trigger.held]
    settled = [each for trigger in answer.triggers for each in trigger.settled]
    plays, joining, waiting, staying = (rows[:MOST_ROWS] for rows in (answer.plays, answer.joining, held, settled))
    going = answer.going[:MOST_ROWS]
    named = [
        *(each.account_id for each in (*plays, *joining, *waiting, *staying)),
        *(each.account_id for each in going),
    ]
    links, names = _accounts(named), answer.names
    people = TeamMember.objects.in_bulk({play.owner_id for play in plays if play.owner_id is not None})
    if plays:
        yield _capped(
            "Plays that would be opened",
            ("Account", "Trigger", "Found", "Route", "Monthly amount", "Owner"),
            [_play(each, links, names, people) for each in plays],
            len(answer.plays),
        )
    if joining:
        yield _capped(
            "Free, and joining a play of this motion",
            ("Account", "Trigger", "Found"),
            [(links[each.account_id], names[each.trigger], _lines(each.words)) for each in joining],
            len(answer.joining),
        )
    if waiting:
        yield _capped(
            "Held",
            ("Account", "Trigger", "Found", "Held by", "Why", "Until"),
            [_held(each, links, names) for each in waiting],
            len(held),
        )
    if going:
        yield _capped(
            "Open episodes that would end",
            ("Account", "Trigger", "Stands as"),
            [(links[each.account_id], names[each.trigger], Match.State(each.state).label) for each in going],
            len(answer.going),
        )
    if staying:
        yield _capped(
            "Staying as they are",
            ("Account", "Trigger", "Stands as", "Found"),
            [
                (
                    links[each.account_id],
                    names[each.trigger],
                    Match.State(each.standing).label,
                    _lines(each.words),
                )
                for each in staying
            ],
            len(settled),
            "Their episode has had its play, or its time, already.",
        )


def _numbers(answer: Preview) -> Table:
    return Table(
        "Matches today",
        ("Trigger", "Matches", "Held", "Free", "Stay as they are", "New", "Would end"),
        numbers_of(answer, answer.names),
        note=f"At {answer.where}. Plays that would be opened: {len(answer.plays):,}, worth "
        f"{money(answer.amount_minor)} a month where that is known.",
    )


def _play(each: Candidate, links: dict[int, Any], names: Mapping[str, str], people: dict[int, Any]) -> tuple[Any, ...]:
    owner = "nobody" if each.owner_id is None else people[each.owner_id].name
    return (
        links[each.account_id],
        names[each.trigger],
        _lines(each.words),
        "" if each.route is None else each.route.label,
        (money(each.amount.minor) if each.amount is not None else None) or "unknown",
        f"{owner}: {each.owner_why}",
    )


def _held(each: Candidate, links: dict[int, Any], names: Mapping[str, str]) -> tuple[Any, ...]:
    hold = each.hold
    return (
        links[each.account_id],
        names[each.trigger],
        _lines(each.words),
        "" if hold is None else in_plain(hold.guard),
        "" if hold is None else hold.reason,
        "" if hold is None or hold.until is None else moment(hold.until),
    )


def _weeks(document: dict[str, Any], now: datetime, viewer: Any) -> Table:
    weeks = openings_by_owner(document, now=now, weeks=WEEKS, viewer=viewer, progress=_in_time())
    rows: list[tuple[Any, ...]] = [(owner.name, *owner.opened, owner.total) for owner in weeks.owners]
    rows.append(("In all", *weeks.totals, sum(weeks.totals)))
    return Table(
        "Episodes that would have opened, by owner and week",
        ("Owner", *(f"to {_day(end)}" for end in weeks.ends), "In all"),
        rows,
        note=" ".join(("Before guards and cooldowns, by who looks after the account today.", *weeks.notes)),
    )


def _day(at: datetime) -> str:
    """A day of the company as the heading of a narrow column: `16 Nov`."""
    local = at.astimezone(company_time_zone())
    return f"{local.day} {local:%b}"


def _past(document: dict[str, Any], asked: dict[str, Any], sight: Sight) -> Iterable[Table]:
    in_time = _in_time()
    _, triggers = draft_triggers(document)
    names = {trigger["key"]: trigger["name"] for trigger in document["triggers"]}
    pasts: list[Past] = []
    for number, trigger in enumerate(triggers):

        def tell(done: int, of: int, before: int = number) -> None:
            in_time(before * of + done, len(triggers) * of)

        pasts.append(past_episodes(trigger, **asked, sight=sight, progress=tell))
    links = _accounts(episode.account_id for past in pasts for episode in past.episodes[:MOST_ROWS])
    for past in pasts:
        shown = past.episodes[:MOST_ROWS]
        rows = [_episode(episode, links) for episode in shown]
        first, last = moment(past.moments[0][0]), moment(past.moments[-1][0])
        said = f"From {first} to {last}, {past.asked}: {past.words}."
        yield _capped(
            names[past.trigger],
            ("Account", "Opened", "Closed", "Found"),
            rows,
            len(past.episodes),
            " ".join((*past.notes, said)),
        )


def _episode(episode: Episode, links: dict[int, Any]) -> tuple[Any, ...]:
    opened = moment(episode.opened_at)
    return (
        links[episode.account_id],
        f"{opened}, or before" if episode.from_start else opened,
        "lasts" if episode.closed_at is None else moment(episode.closed_at),
        _lines(episode.words),
    )
