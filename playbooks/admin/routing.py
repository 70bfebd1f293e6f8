"""The pages of the dry run: what the routing says of an account, and of all open plays, without anything written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from csplaybooks.accounts.admin.show import money
from csplaybooks.accounts.models import Account
from csplaybooks.admin_base import csv_file, link_to, panel
from csplaybooks.admin_base.reader import read_by
from csplaybooks.playbooks.admin.what_if import Table
from csplaybooks.playbooks.document import DocumentError
from csplaybooks.playbooks.models import Play, Playbook
from csplaybooks.playbooks.route_rules import segment_in_words
from csplaybooks.playbooks.routing import (
    Asked,
    Comparison,
    Difference,
    DryRun,
    compare,
    dry_run,
    dry_runs,
    recipes_of,
)
from csplaybooks.playbooks.what_if.words import how_many

TEMPLATE = "csplaybooks/admin/routing.html"

#: The most plays that a page names; the file has all.
MOST_ROWS = 200

#: The columns of the file, and of the table of plays that differ.
HEADINGS = ("Play", "Account", "Playbook", "Route now", "Route then", "Owner now", "Owner then", "Why")

_NOBODY = "nobody"
_LARGEST_ID = 2**63 - 1


class AskedForm(forms.Form):
    """Of which account is asked: its number, or a part of its name."""

    account = forms.CharField(
        required=False, max_length=200, label="Account", help_text="Its number, or the beginning of its name."
    )
    draft = forms.BooleanField(required=False, label="By the draft")


class RoutingPages:
    """Adds the pages to that of playbooks: a mix-in of a model's admin.

    For whoever may look at playbooks and at plays; accounts are those they look after, plays those they see.
    """

    change_list_template: Any = "csplaybooks/admin/report_change_list.html"

    def get_urls(self) -> list[URLPattern]:
        """The addresses of the pages, before those of the table."""
        page: Any = self
        name = f"{page.opts.app_label}_{page.opts.model_name}_routing"

        def view(show: Any) -> Any:
            return page.admin_site.admin_view(partial(_read, page, show))

        ours: list[URLPattern] = [
            path("routing/", view(of_all), name=f"{name}_all"),
            path("<path:object_id>/routing/", view(of_one), name=name),
        ]
        urls: list[URLPattern] = super().get_urls()  # type: ignore[misc]  # of the admin that it is mixed into
        return ours + urls

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """The page of a playbook, with a link to its routing."""
        playbook = context.get("original")
        if playbook is not None and may_ask(self, request):
            context["routing"] = address_of(playbook)
        response: HttpResponse = super().render_change_form(  # type: ignore[misc]  # as above
            request, context, *args, **kwargs
        )
        return response

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list of playbooks, with a link to the routing of all open plays."""
        more = {**(extra_context or {})}
        if may_ask(self, request):
            more["reports"] = [*more.get("reports", ()), ("Routing of open plays", address_of_all())]
        response: HttpResponse = super().changelist_view(request, more)  # type: ignore[misc]  # as above
        return response


def address_of(playbook: Playbook, account_id: int | None = None) -> str:
    """Where the routing of a playbook is shown, for an account if one is named."""
    address = reverse("admin:csplaybooks_playbooks_playbook_routing", args=[playbook.pk])
    return address if account_id is None else f"{address}?{urlencode({'account': account_id})}"


def address_of_all(account_id: int | None = None) -> str:
    """Where the routing of all playbooks is shown: of open plays, or of an account."""
    address = reverse("admin:csplaybooks_playbooks_playbook_routing_all")
    return address if account_id is None else f"{address}?{urlencode({'account': account_id})}"


def may_ask(page: Any, request: HttpRequest) -> bool:
    """Whether a person may look at playbooks, and at plays."""
    plays = page.admin_site.get_model_admin(Play)
    return bool(page.has_view_or_change_permission(request) and plays.has_view_or_change_permission(request))


def _read(page: Any, show: Any, request: Any, **kwargs: Any) -> HttpResponse:
    if not may_ask(page, request):
        raise PermissionDenied
    request.current_app = page.admin_site.name
    return read_by(page.admin_site, request, partial(show, page, request, **kwargs))


def of_all(page: Any, request: HttpRequest) -> HttpResponse:
    """All playbooks that run: for one account where it is named, else what differs among all open plays."""
    form = AskedForm(request.GET if "account" in request.GET else None)
    del form.fields["draft"]
    context = _context(page, request, None, form)
    account = _account(request, form)
    if account is None and form.is_bound:
        return _page(request, context)
    if account is None:
        of_plays: HttpResponse = _compared(request, context, Play.objects.visible_to(request.user), {})
        return of_plays
    playbooks = Playbook.objects.visible_to(request.user).filter(is_active=True).select_related("published")
    runs = dry_runs(account.pk, recipes_of(playbooks.order_by("name", "pk")), now=timezone.now())
    context["title"] = f"Routing of {account}"
    context["tables"] = [_summary(account, runs, {each.key: each for each in playbooks})]
    return _page(request, context)


def of_one(page: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """One playbook: for an account where it is named, else what differs among its open plays."""
    playbook: Playbook | None = page.get_object(request, unquote(object_id))
    if playbook is None:
        gone: HttpResponse = page._get_obj_does_not_exist_redirect(request, page.opts, object_id)
        return gone
    form = AskedForm(request.GET if {"account", "draft"} & set(request.GET) else None)
    context = _context(page, request, playbook, form)
    draft = bool(form.is_bound and form.is_valid() and form.cleaned_data["draft"])
    try:
        recipes = recipes_of([playbook], draft=draft)
    except DocumentError as error:
        context["faults"] = [f"{where}: {said}" if where else said for where, said in error.errors]
        return _page(request, context)
    if not recipes:
        context["faults"] = ["It was never published: ask about its draft."]
        return _page(request, context)
    account = _account(request, form)
    if account is not None:
        run = dry_run(account.pk, recipes[0], now=timezone.now())
        context["told"] = _told(account, run)
        context["tables"] = list(_tables(run))
        return _page(request, context)
    if form.is_bound and form.data.get("account", "").strip():
        return _page(request, context)
    plays = Play.objects.visible_to(request.user).filter(playbook=playbook)
    of_plays: HttpResponse = _compared(request, context, plays, {playbook.pk: recipes[0].document})
    return of_plays


def _account(request: HttpRequest, form: AskedForm) -> Account | None:
    """The account that is asked about, if it is one that the person looks after; the form says what was not found."""
    if not form.is_bound or not form.is_valid() or not (text := form.cleaned_data["account"].strip()):
        return None
    accounts = Account.objects.own_of(request.user).filter(deleted_at__isnull=True, merged_into__isnull=True)
    found: Account | None = None
    if text.isascii() and text.isdigit() and int(text) <= _LARGEST_ID:
        found = accounts.filter(pk=int(text)).first()
    if found is None:
        found = accounts.filter(name__istartswith=text).order_by("name", "pk").first()
    if found is None:
        form.add_error("account", "You look after no account of this number or name.")
    return found


def _context(page: Any, request: HttpRequest, playbook: Playbook | None, form: AskedForm) -> dict[str, Any]:
    return {
        **page.admin_site.each_context(request),
        "title": "Routing of open plays" if playbook is None else f"Routing: {playbook}",
        "opts": page.opts,
        "original": playbook,
        "form": form,
        "faults": [],
        "told": "",
        "tables": [],
    }


def _page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    return TemplateResponse(request, TEMPLATE, context)


def _compared(request: HttpRequest, context: dict[str, Any], plays: Any, documents: dict[int, Any]) -> Any:
    """What differs among open plays, as a page or as a file."""
    found = compare(plays, now=timezone.now(), documents=documents)
    if request.GET.get("format") == "csv":
        return csv_file("routing", HEADINGS, (line_of(each) for each in found.differences))
    given = {name: request.GET[name] for name in ("draft",) if request.GET.get(name)}
    context["file"] = f"?{urlencode({**given, 'format': 'csv'})}"
    differ = len(found.differences)
    context["told"] = (
        f"Of {how_many(found.plays, 'open play', 'open plays')} that you see, {found.same:,} are as the routing has "
        f"them, and {differ:,} differ from it."
    )
    context["tables"] = list(_counts(found))
    if found.differences:
        context["tables"].append(_differing(found.differences))
    return _page(request, context)


def line_of(each: Difference) -> tuple[Any, ...]:
    """A play that differs, as a line of the file."""
    return (
        each.play_id,
        each.account,
        each.playbook,
        each.route.label,
        each.route_then.label,
        each.owner or _NOBODY,
        each.owner_then or _NOBODY,
        each.why,
    )


def _counts(found: Comparison) -> Iterable[Table]:
    yield Table(
        "By owner",
        ("Owner", "Plays now", "Plays then"),
        [(name or "Nobody", now, then) for name, (now, then) in found.owners.items()],
    )
    yield Table(
        "By route",
        ("Route", "Plays now", "Plays then"),
        [(route.label, now, then) for route, (now, then) in found.routes.items()],
    )


def _differing(differences: Sequence[Difference]) -> Table:
    shown = differences[:MOST_ROWS]
    links = _links(Play, (each.play_id for each in shown))
    return Table(
        "Plays that differ",
        HEADINGS,
        [(links.get(each.play_id, str(each.play_id)), *line_of(each)[1:]) for each in shown],
        of=len(differences) if len(differences) > len(shown) else None,
    )


def _links(model: Any, ids: Iterable[int]) -> dict[int, Any]:
    rows = model.objects.select_related("account", "playbook").defer("playbook__draft", "evidence", "amount_working")
    return {row.pk: link_to(row, str(row.pk)) for row in rows.filter(pk__in=list(ids))}


def _summary(account: Account, runs: Sequence[DryRun], playbooks: dict[str, Playbook]) -> Table:
    """All playbooks for one account: a line for each, which leads to its own page."""
    return Table(
        f"What the playbooks that run would do at {account}",
        ("Playbook", "Rule", "Route", "Owner", "Offered to"),
        [
            (
                format_html('<a href="{}">{}</a>', address_of(playbooks[run.recipe.key], account.pk), run.recipe.name),
                _rule(run),
                run.routing.route.label,
                _whose(run),
                _offered(run),
            )
            for run in runs
        ],
        note=f"{_facts(runs[0]) if runs else ''} Each is asked about alone, and nothing is written.".strip(),
    )


def _rule(run: DryRun) -> str:
    return f"rule {run.routing.rule}" if run.routing.rule is not None else "none has the route"


def _whose(run: DryRun) -> str:
    return f"{run.owner}: {run.why}" if run.owner_id is not None else f"the tray: {run.why}"


def _offered(run: DryRun) -> str:
    if not run.offered:
        return ""
    return f"{run.offer_to or _NOBODY}: {run.offer_why}"


def _facts(run: DryRun) -> str:
    facts = run.facts
    return (
        f"Segment {segment_in_words(facts.segment)}, region {facts.region or 'unknown'}, "
        f"tags {', '.join(sorted(facts.tags)) or 'none'}."
    )


def _told(account: Account, run: DryRun) -> SafeString:
    """What would become of the play, in a sentence or two."""
    by = f"version {run.recipe.version}" if run.recipe.version is not None else "the draft"
    amount = money(run.amount.minor) or "unknown"
    folds = " An open play of this motion is there: a match would be added to it." if run.has_open_play else ""
    said = f"{_facts(run)} Expected amount {amount}. By {by}; nothing is written.{folds}"
    return format_html("{}: {}", link_to(account), said)


def _tables(run: DryRun) -> Iterable[Table]:
    """The dry run of one account: the rules, the play, and who was asked."""
    yield Table(
        "Rules",
        ("Rule", "Route", "Result", "Why"),
        [(f"{r.number}", r.route.label, "decides" if r.decides else "", r.why) for r in run.rules],
    )
    yield Table(
        "The play",
        ("What", "Is"),
        [
            ("Route", run.routing.route.label),
            ("Owner", _whose(run)),
            ("Offered at once to", _offered(run) or "nobody: it is not one to be offered"),
            (
                "First contact by",
                f"a {run.routing.first_touch}" if run.routing.first_touch == "person" else "the system",
            ),
            ("Expires after", how_many(run.expires_days, "day", "days")),
            ("May be claimed", "yes" if run.routing.claim else "no: a manager assigns it"),
        ],
    )
    for heading, asked in (
        ("Asked before the owner", run.passed),
        ("Asked before whom it is offered to", run.offer_passed),
    ):
        if asked:
            yield Table(heading, ("Who", "As", "Why not"), [_asked(each) for each in asked])


def _asked(each: Asked) -> tuple[str, str, str]:
    return each.name, each.part, each.why


def account_panel(account: Account, request: HttpRequest) -> SafeString | None:
    """On the page of an account: the way to what the routing says of it."""
    if not Account.objects.own_of(request.user).filter(pk=account.pk).exists():
        return None
    return format_html(
        '<p><a href="{}">{}</a></p>', address_of_all(account.pk), "Which route, whose play: what each playbook would do"
    )


panel(Account, "Routing", account_panel, needs=Play)
