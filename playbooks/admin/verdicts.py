"""Why, and why not: the verdicts of one account under all triggers, and of all accounts under one trigger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from csplaybooks.accounts.admin.show import MomentField
from csplaybooks.accounts.models import Account
from csplaybooks.admin_base import in_plain, link_to, panel
from csplaybooks.playbooks.admin.matches import trigger_in_words
from csplaybooks.playbooks.guards import Ceiling, Hold
from csplaybooks.playbooks.guards.base import Answer
from csplaybooks.playbooks.models import Match, Play, Run, Trigger
from csplaybooks.playbooks.reach import Forgotten
from csplaybooks.playbooks.verdicts import EARLIEST, Asked, Explanation, Verdict, accounts_of, count_verdicts, explain

#: So many accounts stand on a page.
ACCOUNTS_PER_PAGE = 100

_LARGEST_ID = 2**63 - 1


class WhenForm(forms.Form):
    """When, and knowing what: a past moment with today's knowledge, a run with its own, or neither for the present."""

    at = MomentField(
        required=False,
        label="As of",
        help_text="A past moment, with what is known of it today, in the versions that ran then.",
    )
    run = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=_LARGEST_ID,
        label="Or as run",
        help_text="The number of a run: its moment, with what it knew.",
    )

    def clean(self) -> dict[str, Any]:
        """One of them, and nothing that lies ahead or too far back."""
        values: dict[str, Any] = super().clean() or {}
        at, run_id = values.get("at"), values.get("run")
        if at is not None and run_id is not None:
            raise ValidationError("Name a moment or a run, not both: a run has its own moment.")
        if at is not None and at > timezone.now():
            self.add_error("at", "This lies ahead: nothing is known of it yet.")
        if at is not None and at < EARLIEST:
            self.add_error("at", "Ask from 2000-01-01 on.")
        values["known_run"] = None
        if run_id is not None:
            values["known_run"] = Run.objects.filter(pk=run_id, finished_at__isnull=False).first()
            if values["known_run"] is None:
                self.add_error("run", f"There is no run {run_id}.")
        return values

    def asked(self) -> Asked:
        """What is asked about; the present where nothing is named, or nothing that can be asked about."""
        values = self.cleaned_data if self.is_bound and self.is_valid() else {}
        if run := values.get("known_run"):
            return Asked.of_run(run)
        if at := values.get("at"):
            return Asked.at(at)
        return Asked.now(timezone.now())

    @property
    def query(self) -> str:
        """The question as it stands in the address of a page, for links to pages that ask the same."""
        if not self.is_bound or not self.is_valid():
            return ""
        return urlencode({name: self.data[name] for name in ("at", "run") if self.data.get(name)})


def when_form(request: HttpRequest) -> WhenForm:
    """The form, as the address fills it in."""
    return WhenForm(request.GET) if request.GET.get("at") or request.GET.get("run") else WhenForm()


def why_address(account_id: int, query: str = "") -> str:
    """The page that tells everything about one account."""
    address = reverse("admin:csplaybooks_playbooks_trigger_why", args=[account_id])
    return f"{address}?{query}" if query else address


def counts_address(trigger_id: int, query: str = "") -> str:
    """The page that counts the verdicts of a trigger."""
    address = reverse("admin:csplaybooks_playbooks_trigger_verdicts", args=[trigger_id])
    return f"{address}?{query}" if query else address


class VerdictPages:
    """Mix-in of the page of triggers: the pages of verdicts, for whoever may look at triggers.

    Counts and lists are of the accounts that the person looks after, or of all, as in the lists of matches.
    """

    admin_site: admin.AdminSite
    opts: Any

    def get_urls(self) -> list[Any]:
        """The pages of verdicts, before those of the table."""
        name = "csplaybooks_playbooks_trigger"
        view = self.admin_site.admin_view
        return [
            path("why/<int:account_id>/", view(self.why), name=f"{name}_why"),
            path("<int:trigger_id>/verdicts/", view(self.verdicts), name=f"{name}_verdicts"),
            path("<int:trigger_id>/accounts/", view(self.accounts), name=f"{name}_accounts"),
            *super().get_urls(),  # type: ignore[misc]  # of the page that this is mixed into
        ]

    def why(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Everything about one account: of each trigger the verdict, the conditions, the guards."""
        self._allow(request)
        account = Account.objects.own_of(request.user).filter(pk=account_id).first()
        if account is None:
            raise Http404
        form = when_form(request)
        asked = form.asked()
        found = explain(asked.triggers(), asked, [account.pk], request.user).get(account.pk, [])
        triggers = _triggers(request, found)
        told = [
            {
                "explanation": each,
                "trigger": triggers[each.trigger.trigger_id],
                "guards": _guards(each.guards),
                "links": _links(each, form.query),
            }
            for each in found
            if each.trigger.trigger_id in triggers
        ]
        context = {"account": account, "account_link": link_to(account), "told": told}
        return self._page(request, "why.html", f"Why, and why not: {account}", form, asked, context)

    def verdicts(self, request: HttpRequest, trigger_id: int) -> HttpResponse:
        """How many accounts have each verdict; each number leads to its accounts."""
        row = self._trigger(request, trigger_id)
        form = when_form(request)
        asked = form.asked()
        context = {"trigger": row, **counted(request, trigger_id, asked, form.query)}
        return self._page(request, "verdicts.html", f"Verdicts: {trigger_in_words(row)}", form, asked, context)

    def accounts(self, request: HttpRequest, trigger_id: int) -> HttpResponse:
        """The accounts behind one of the numbers."""
        row = self._trigger(request, trigger_id)
        form = when_form(request)
        asked = form.asked()
        context: dict[str, Any] = {"trigger": row, "back": counts_address(trigger_id, form.query)}
        title = "Accounts"
        try:
            verdict = Verdict.parse(request.GET.get("verdict", ""))
            [trigger] = asked.triggers([trigger_id])
            scope = Account.objects.own_of(request.user)
            found = accounts_of(trigger, asked, verdict, None if _sees_all(scope) else scope)
        except (Forgotten, LookupError) as error:
            context["problem"] = _said(error)
        except ValueError as error:
            # A verdict that is none, or a trigger that did not run then.
            raise Http404(str(error)) from error
        else:
            title = verdict.words(trigger)
            page = Paginator(found.order_by("name", "pk"), ACCOUNTS_PER_PAGE).get_page(request.GET.get("page"))
            context |= {
                "page": page,
                "verdict": verdict.key,
                "rows": [(link_to(account), why_address(account.pk, form.query)) for account in page],
            }
        return self._page(request, "verdict_accounts.html", title, form, asked, context)

    def _allow(self, request: HttpRequest) -> None:
        page: Any = self
        if not page.has_view_permission(request):
            raise PermissionDenied

    def _trigger(self, request: HttpRequest, trigger_id: int) -> Trigger:
        self._allow(request)
        rows = Trigger.objects.visible_to(request.user).select_related("playbook").defer("playbook__draft")
        found: Trigger | None = rows.filter(pk=trigger_id).first()
        if found is None:
            raise Http404
        return found

    def _page(
        self, request: Any, template: str, title: str, form: WhenForm, asked: Asked, context: dict[str, Any]
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        whole = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "form": form,
            "asked": asked,
            "query": form.query,
            **context,
        }
        return TemplateResponse(request, f"csplaybooks/admin/{template}", whole)


def counted(request: HttpRequest, trigger_id: int, asked: Asked, query: str) -> dict[str, Any]:
    """The verdicts of a trigger counted, each with the address of its accounts; or why they cannot be."""
    scope = Account.objects.own_of(request.user)
    everybody = _sees_all(scope)
    triggers = asked.triggers([trigger_id])
    if not triggers:
        return {"problem": _not_asked(asked)}
    try:
        counts = count_verdicts(triggers[0], asked, None if everybody else scope)
    except (Forgotten, LookupError) as error:
        return {"problem": _said(error)}
    address = reverse("admin:csplaybooks_playbooks_trigger_accounts", args=[trigger_id])
    lines = [
        (count.words, count.accounts, f"{address}?{urlencode({'verdict': count.key})}{'&' if query else ''}{query}")
        for count in counts
    ]
    return {"lines": lines, "population": sum(count.accounts for count in counts), "everybody": everybody}


def _not_asked(asked: Asked) -> str:
    """Why a trigger has no verdicts."""
    if not asked.past:
        return "This trigger does not run."
    if asked.newest is None:
        return "There was no run until then."
    return f"Run {asked.newest}{'' if asked.run else ', the last one until then,'} did not evaluate this trigger."


def _sees_all(scope: Any) -> bool:
    return not scope.query.where


def _said(error: Exception) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


def _triggers(request: HttpRequest, found: Iterable[Explanation]) -> dict[int, Trigger]:
    """The rows of the triggers that were explained, as far as the person may see them; one query."""
    ids = [each.trigger.trigger_id for each in found]
    rows = Trigger.objects.visible_to(request.user).filter(pk__in=ids).select_related("playbook")
    return {row.pk: row for row in rows.defer("playbook__draft")}


def _links(explanation: Explanation, query: str) -> list[SafeString | str | None]:
    """Where the story of one verdict goes on: the play, the match, and the other accounts of the trigger."""
    links: list[SafeString | str | None] = []
    if (episode := explanation.episode) is not None:
        if episode.play_id is not None:
            links.append(link_to(Play(pk=episode.play_id), f"Play {episode.play_id}"))
        links.append(link_to(Match(pk=episode.match_id), f"Match {episode.match_id}"))
    address = counts_address(explanation.trigger.trigger_id, query)
    links.append(format_html('<a href="{}">{}</a>', address, "The verdicts of all accounts"))
    return links


def _guards(answers: Sequence[Answer]) -> list[tuple[str, str, str, Any]]:
    """What each guard says: its name, its answer, the reason, and until when."""
    words = {Hold: "holds", Ceiling: "caps the route"}
    return [
        (
            in_plain(answer.guard),
            words.get(type(answer), "lets pass"),
            answer.reason,
            answer.until if isinstance(answer, Hold) else None,
        )
        for answer in answers
    ]


def account_panel(account: Account, request: HttpRequest) -> SafeString | None:
    """On the page of an account: the verdict of each trigger that runs, now."""
    if not Account.objects.own_of(request.user).filter(pk=account.pk).exists():
        return None
    asked = Asked.now(timezone.now())
    found = explain(asked.triggers(), asked, [account.pk], request.user).get(account.pk, [])
    triggers = _triggers(request, found)
    lines = [
        (link_to(triggers[each.trigger.trigger_id], trigger_in_words(triggers[each.trigger.trigger_id])), each)
        for each in found
        if each.trigger.trigger_id in triggers
    ]
    return render_to_string("csplaybooks/admin/why_panel.html", {"lines": lines, "more": why_address(account.pk)})


def trigger_panel(trigger: Trigger, request: HttpRequest) -> SafeString:
    """On the page of a trigger: how many accounts have each verdict, now."""
    context = counted(request, trigger.pk, Asked.now(timezone.now()), "")
    return render_to_string("csplaybooks/admin/verdict_counts.html", {**context, "more": counts_address(trigger.pk)})


panel(Account, "Why, and why not", account_panel, needs=Trigger)
panel(Trigger, "Verdicts", trigger_panel, needs=Match)
