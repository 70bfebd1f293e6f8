"""Mails to customers, read and sent by people, and who no mail goes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import linebreaksbr
from django.urls import reverse
from django.utils import timezone

from csplaybooks.accounts.admin.record import story_of
from csplaybooks.accounts.models import Champion
from csplaybooks.admin_base import (
    ActAdmin,
    BaseInline,
    CappedPaginator,
    VersionedForm,
    by,
    confirmed,
    link_to,
    page_of,
    see_also,
    shown,
)
from csplaybooks.playbooks.acts.drafts import (
    Answers,
    discard_drafts,
    edit_draft,
    send_drafts,
    take_back_drafts,
    unready,
)
from csplaybooks.playbooks.acts.suppressions import change_suppression, normalised, stop_suppressing, suppress
from csplaybooks.playbooks.models import Delivery, MailDraft, Play, PlayStep, State, Suppression
from csplaybooks.playbooks.stepwork import UNSENT

#: The field in which the page that asks carries the version of a draft that was read.
_READ = "read_{}"

_PLAY = ("play__playbook", "play__account")


@dataclass(frozen=True)
class _Button:
    """A button on the page of a draft."""

    action: str
    label: str
    ends: bool = False


class DraftForm(VersionedForm):
    """The text of a mail, and whom it goes to."""

    subject = forms.CharField(max_length=200, widget=forms.TextInput(attrs={"class": "vTextField"}))
    body = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 16, "cols": 80}), help_text="Plain text. Mend what is marked like [plan?]."
    )

    class Meta:
        model = MailDraft
        fields = ("champion", "subject", "body")


def _is_to_do(draft: MailDraft) -> bool:
    return draft.step is None or draft.step.state == PlayStep.State.CURRENT


def _can_be_worked(draft: MailDraft) -> bool:
    return draft.state in UNSENT and _is_to_do(draft)


#: Who sends a mail.
_BY_HAND = "A person reads it and sends it."
_BY_ITSELF = "By itself, without anybody reading it: the playbook says so."
_NOT_BY_ITSELF = "The playbook would have it go by itself; here a person reads it and sends it."


def _goes(draft: MailDraft) -> str:
    """Who sends a mail: a person, or the system by itself."""
    if not draft.automatic or draft.sent_by_id is not None:
        return _BY_HAND
    return _NOT_BY_ITSELF if draft.state == MailDraft.State.DRAFT else _BY_ITSELF


def _fate(draft: MailDraft) -> str | None:
    """What became of the mail, where there is one."""
    delivery = draft.delivery
    if delivery is None:
        return None
    said = str(delivery.get_state_display())
    if delivery.state == Delivery.State.QUEUED:
        if delivery.stuck_at is not None:
            said = "Given up"
        elif draft.play.state == State.PAUSED:
            said = "Queued; it waits while the play is paused"
    return said + (f": {delivery.last_error}" if delivery.last_error else "")


def _letter(draft: MailDraft) -> tuple[str, ...]:
    """A mail as it will go, for whoever is asked whether to send it."""
    return (
        f"to {draft.champion or 'nobody yet'} {draft.champion.email if draft.champion else ''}".rstrip(),
        str(draft.play),
        f"Subject: {draft.subject}",
        linebreaksbr(draft.body, autoescape=True),
    )


def _buttons(draft: MailDraft, *, edits: bool) -> list[_Button]:
    """What can be done with a draft as it stands; whoever `edits` it sends it by the form."""
    if _can_be_worked(draft):
        return [*([] if edits else [_Button("send", "Send")]), _Button("discard", "Discard", ends=True)]
    if draft.state == MailDraft.State.UNCLEAR and _is_to_do(draft):
        return [_Button("anew", "Write anew"), _Button("discard", "Discard", ends=True)]
    if draft.state == MailDraft.State.QUEUED and draft.delivery and draft.delivery.state == Delivery.State.QUEUED:
        return [_Button("call_off", "Do not send", ends=True)]
    return []


#: What whoever sends a mail is told before.
_CANNOT_BE_CALLED_BACK = "These mails go to customers, and cannot be called back."


@admin.register(MailDraft)
class MailDraftAdmin(ActAdmin):
    """Mails to customers: a person reads them, mends them and sends them."""

    form = DraftForm
    change_form_template = "csplaybooks/admin/draft_change_form.html"
    list_display = ("subject", "play_link", "to_address", "state", "written_at", "sent_at", "sent_by")
    list_filter = ("state", "automatic")
    follows = (*_PLAY, "step", "champion__account", "delivery", "sent_by")
    search_fields = ("to_address", "play__account__name")
    search_help_text = "A part of the address, or of the account's name."
    actions = ("send", "call_off", "anew", "discard")
    ordering = ("-pk",)
    paginator = CappedPaginator
    readonly_fields = (
        "play_link",
        "step",
        "to_address",
        "state",
        "goes",
        "written_at",
        "sent_at",
        "sent_by",
        "fate",
    )
    play_link = shown("Play", lambda draft: link_to(draft.play))
    goes = shown("How it goes", _goes)
    fate = shown("What became of it", _fate)

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """The mail, and how far it is."""
        return [
            (None, {"fields": ["play_link", "step", "champion", "to_address", "subject", "body"]}),
            ("How far it is", {"fields": ["state", "goes", "written_at", "sent_at", "sent_by", "fate"]}),
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form, with those at the account who can be written to."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        if obj is not None and "champion" in form.base_fields:
            people = Champion.objects.visible_to(request.user).filter(account=obj.play.account_id)
            people = people.filter(left_on__isnull=True).exclude(email="").select_related("account")
            form.base_fields["champion"].queryset = people
        return form

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: a step of a play writes it."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the person may mend drafts; of one that was sent or discarded nothing is changed."""
        return super().has_change_permission(request, obj) and (obj is None or _can_be_worked(obj))

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Whether the person may send mail to customers."""
        return request.user.has_perm("csplaybooks_playbooks.send_maildraft")

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Mend the draft."""
        data = form.cleaned_data
        return edit_draft(
            draft_id=form.instance.pk,
            subject=data["subject"],
            body=data["body"],
            champion_id=data["champion"] and data["champion"].pk,
            now=now,
            actor=request.user,
            expected_version=data["opened_version"],
        )

    def render_change_form(self, request: Any, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """The page, with buttons for what can be done with the mail; it is sent as the form has it."""
        draft = context.get("original")
        if draft is not None and self.has_send_permission(request):
            edits = self.has_change_permission(request, draft)
            context["can_send"] = edits and _can_be_worked(draft)
            context["acted"] = draft
            context["acts_at"] = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
            context["acts"] = _buttons(draft, edits=edits)
        return super().render_change_form(request, context, *args, **kwargs)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """After saving the page that asks whether to send what was saved, where that was pressed."""
        if "_send" not in request.POST or not self.has_send_permission(request):
            return super().response_change(request, obj)
        draft = self.get_queryset(request).get(pk=obj.pk)
        if (why := unready(draft)) is not None:
            self.message_user(request, f"{draft}: saved, and not sent: {why}", messages.WARNING)
            return HttpResponseRedirect(page_of(self, draft))
        rows = MailDraft.objects.filter(pk=draft.pk).select_related(*self.follows)
        asked = self._ask(request, rows, "Send", _CANNOT_BE_CALLED_BACK, action="send")
        return asked or HttpResponseRedirect(page_of(self, draft))

    @admin.action(description="Send the selected mails", permissions=["send"])
    def send(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Send drafts, once the person has read whom they go to and said yes."""
        asked = self._ask(request, queryset, "Send", _CANNOT_BE_CALLED_BACK)
        if asked is not None:
            return asked
        drafts = list(queryset)
        # What the page that asked did not show, as there were too many, is not sent.
        read = {draft.pk: _version_read(request, draft.pk) for draft in drafts}
        answers = send_drafts(
            draft_ids=[draft.pk for draft in drafts],
            seen={pk: version for pk, version in read.items() if version is not None},
            now=timezone.now(),
            actor=request.user,
        )
        return self._told(request, drafts, answers, "on its way")

    @admin.action(description="Do not send the selected mails", permissions=["send"])
    def call_off(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Have the drafts of mails again that wait to be sent."""
        drafts = list(queryset)
        answers = take_back_drafts(draft_ids=[draft.pk for draft in drafts], now=timezone.now(), actor=request.user)
        return self._told(request, drafts, answers, "not sent, a draft again")

    @admin.action(description="Write the selected mails anew that may have gone", permissions=["send"])
    def anew(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Have the drafts of mails again of which it is unclear whether they went, once the person has said yes."""
        asked = self._ask(
            request,
            queryset,
            "Write anew",
            "It may have gone already: whoever it was for gets two mails, if you send it again. The one that may have "
            "gone is not tried again.",
        )
        if asked is not None:
            return asked
        drafts = list(queryset)
        answers = take_back_drafts(
            draft_ids=[draft.pk for draft in drafts], now=timezone.now(), actor=request.user, unclear=True
        )
        return self._told(request, drafts, answers, "a draft again")

    @admin.action(description="Discard the selected mails", permissions=["send"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Throw drafts away, once the person has said yes."""
        asked = self._ask(
            request, queryset, "Discard", "These drafts cannot be sent any more. Their steps stay to be done."
        )
        if asked is not None:
            return asked
        drafts = list(queryset)
        answers = discard_drafts(draft_ids=[draft.pk for draft in drafts], now=timezone.now(), actor=request.user)
        return self._told(request, drafts, answers, "discarded")

    def _ask(
        self, request: HttpRequest, queryset: Any, label: str, warning: str, action: str | None = None
    ) -> HttpResponse | None:
        drafts = list(queryset[:2])
        return confirmed(
            self,
            request,
            queryset,
            label=label,
            warning=warning,
            details=_letter,
            carried=lambda draft: {_READ.format(draft.pk): draft.version},
            about=drafts[0] if len(drafts) == 1 else None,
            action=action,
        )

    def _told(self, request: HttpRequest, drafts: list[MailDraft], answers: Answers, done: str) -> HttpResponse | None:
        for draft in drafts:
            why = answers[draft.pk]
            level = messages.SUCCESS if why is None else messages.WARNING
            self.message_user(request, f"{draft}: {done if why is None else why}", level)
        return HttpResponseRedirect(page_of(self, drafts[0])) if len(drafts) == 1 else None


def _version_read(request: HttpRequest, draft_id: int) -> int | None:
    """The version of a draft that was read by whoever said yes; None where the page did not name it."""
    read = request.POST.get(_READ.format(draft_id), "")
    return int(read) if read.isascii() and read.isdigit() and len(read) < 10 else None


class DraftInline(BaseInline):
    """Mails to the customer, the newest first."""

    model = MailDraft
    follows = ("sent_by", "champion__account")
    fields = ("subject", "champion", "state", "written_at", "sent_at", "sent_by")
    ordering = ("-pk",)
    show_change_link = True


class SuppressionForm(VersionedForm):
    """An address that no mail to customers goes to."""

    class Meta:
        model = Suppression
        fields = ("address", "source", "reason")

    def clean_address(self) -> str:
        """The address as the list holds it."""
        try:
            return normalised(self.cleaned_data["address"])
        except ValidationError as error:
            raise ValidationError(error.messages) from None


@admin.register(Suppression)
class SuppressionAdmin(ActAdmin):
    """Addresses and domains that no mail to customers goes to."""

    form = SuppressionForm
    deletable = True
    list_display = ("address", "source", "reason", "added_at")
    list_filter = ("source",)
    search_fields = ("address",)
    search_help_text = "A part of the address."
    readonly_fields = ("added_at",)
    fixed_fields = ("address",)
    paginator = CappedPaginator

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """The address, how we know, and why."""
        fields = ["address", "source", "reason"]
        return [(None, {"fields": fields if obj is None else [*fields, "added_at"]})]

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Send no mail there any more."""
        data: Mapping[str, Any] = form.cleaned_data
        return suppress(
            address=data["address"], source=data["source"], reason=data["reason"], now=now, actor=request.user
        )

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Say anew how we know, and why."""
        data: Mapping[str, Any] = form.cleaned_data
        return change_suppression(
            row_id=form.instance.pk,
            source=data["source"],
            reason=data["reason"],
            now=now,
            actor=request.user,
            expected_version=data["opened_version"],
        )

    def delete_by_act(self, request: HttpRequest, rows: list[Any], now: datetime) -> None:
        """Let mail go there again."""
        stop_suppressing(row_ids=[row.pk for row in rows], now=now, actor=request.user)


see_also(Play, MailDraft, by("play"), "Mails to the customer")
story_of(Suppression)
