"""Playbooks: the draft is edited here as YAML, what is published stands."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html

from csplaybooks.accounts.admin.record import story_of
from csplaybooks.admin_base import (
    OPENED_VERSION,
    ActAdmin,
    BaseInline,
    ReadOnlyAdmin,
    VersionedForm,
    by,
    confirmed,
    in_plain,
    link_to,
    see_also,
    shown,
)
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft, set_playbook_active
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.models import Playbook, PlaybookVersion, Trigger


def said_of(error: DocumentError) -> list[str]:
    """What is wrong with a document, each with its place."""
    return [f"{path}: {message}" if path else message for path, message in error.errors]


def _verbatim(text: str) -> Any:
    return format_html("<pre>{}</pre>", text)


class PlaybookForm(VersionedForm):
    """The draft of a playbook, whole and fit to be run."""

    draft = forms.CharField(
        # The text is kept byte for byte, so its last line break too.
        strip=False,
        widget=forms.Textarea(attrs={"rows": 40, "cols": 110, "spellcheck": "false", "class": "vLargeTextField"}),
        help_text="The playbook document, in YAML. It runs once it is published.",
    )

    class Meta:
        model = Playbook
        fields = ("draft",)

    def clean_draft(self) -> str:
        """The text with the line breaks it has in a file. Says every fault of the document, by its place."""
        text: str = self.cleaned_data["draft"].replace("\r\n", "\n")
        try:
            key = read_document(text)["key"]
        except DocumentError as error:
            raise ValidationError(said_of(error)) from error
        if self.instance.pk is None and Playbook.objects.filter(key=key).exists():
            raise ValidationError(f"key: there is a playbook {key} already")
        if self.instance.pk is not None and key != self.instance.key:
            raise ValidationError(f"key: the key of a playbook stays: {self.instance.key}")
        return text


class VersionInline(BaseInline):
    """What was published when."""

    model = PlaybookVersion
    verbose_name_plural = "published versions"
    follows = ("playbook", "published_by")
    fields = ("number", "published_at", "published_by")
    show_change_link = True


@admin.register(Playbook)
class PlaybookAdmin(ActAdmin):
    """Playbooks. Publishing a draft and switching are actions."""

    form = PlaybookForm
    list_display = ("name", "key", "motion", "is_active", "published_number", "pending")
    list_filter = ("motion", "is_active")
    follows = ("published",)
    search_fields = ("name", "key")
    search_help_text = "A part of the name or of the key."
    inlines = (VersionInline,)
    actions = ("publish", "switch_on", "switch_off")
    fixed_fields = ("name", "key", "motion", "is_active", "published_version", "pending")
    published_number = shown("Published version", lambda row: row.published and row.published.number)
    published_version = shown("Published version", lambda row: link_to(row.published))
    document = shown("Draft", lambda row: _verbatim(row.draft))
    pending = shown(
        "Draft to publish", lambda row: row.published is None or row.published.source != row.draft, boolean=True
    )

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """The draft, and what it is the draft of; for those who may only look, with the indentation of its YAML."""
        if obj is None:
            return [(None, {"fields": ["draft"]})]
        draft = "draft" if self.has_change_permission(request, obj) else "document"
        return [(None, {"fields": [*self.fixed_fields, draft]})]

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Keep the first draft of a new playbook."""
        return save_draft(text=form.cleaned_data["draft"], now=now, actor=request.user)

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Keep the draft."""
        return save_draft(
            text=form.cleaned_data["draft"],
            playbook_id=form.instance.pk,
            expected_version=form.cleaned_data[OPENED_VERSION],
            now=now,
            actor=request.user,
        )

    def has_publish_permission(self, request: HttpRequest) -> bool:
        """Whether the person may put drafts into force, and switch playbooks."""
        return request.user.has_perm("csplaybooks_playbooks.publish_playbook")

    @admin.action(description="Publish the drafts of the selected playbooks", permissions=["publish"])
    def publish(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Publish drafts, once the person has said yes; each stands for itself."""
        warning = "These drafts run from the next run on. A published version stays; another draft mends it."
        if asked := confirmed(self, request, queryset, label="Publish drafts", warning=warning):
            return asked
        for playbook in queryset:
            try:
                answer = publish_playbook(playbook_id=playbook.pk, now=timezone.now(), actor=request.user)
            except DocumentError as error:
                self.message_user(request, f"{playbook}: {'; '.join(said_of(error))}", messages.ERROR)
                continue
            if answer.verdict == "unchanged":
                self.message_user(request, f"{playbook}: the draft is what runs already.", messages.INFO)
            else:
                self.message_user(request, f"{answer.version} is published.", messages.SUCCESS)
        return None

    @admin.action(description="Switch the selected playbooks on", permissions=["publish"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Let playbooks run."""
        self._switch(request, queryset, active=True)

    @admin.action(description="Switch the selected playbooks off", permissions=["publish"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Let playbooks rest; open plays go on."""
        self._switch(request, queryset, active=False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Any], *, active: bool) -> None:
        now = timezone.now()
        for playbook in queryset:
            done = set_playbook_active(playbook_id=playbook.pk, active=active, now=now, actor=request.user)
            said = f"{playbook} {'is' if done else 'was'} switched {'on' if active else 'off'}"
            self.message_user(request, f"{said}." if done else f"{said} already.", messages.SUCCESS)


@admin.register(PlaybookVersion)
class PlaybookVersionAdmin(ReadOnlyAdmin):
    """What was published, word by word."""

    list_display = ("playbook", "number", "published_at", "published_by")
    list_display_links = ("playbook", "number")
    list_filter = ("playbook",)
    follows = ("playbook", "published_by")
    search_fields = ("playbook__name", "playbook__key")
    search_help_text = "A part of the playbook's name or key."
    ordering = ("-published_at", "-pk")
    fields = ("playbook", "number", "published_at", "published_by", "text")
    text = shown("Document", lambda version: _verbatim(version.source))


@admin.register(Trigger)
class TriggerAdmin(ReadOnlyAdmin):
    """The identities of triggers."""

    list_display = ("words", "key", "playbook_link")
    list_filter = ("playbook",)
    follows = ("playbook",)
    search_fields = ("key", "playbook__name")
    search_help_text = "A part of the key or of the playbook's name."
    fields = ("playbook", "key")
    words = shown("Trigger", lambda trigger: in_plain(trigger.key), ordering="key")
    playbook_link = shown("Playbook", lambda trigger: link_to(trigger.playbook), ordering="playbook__name")


see_also(Playbook, PlaybookVersion, by("playbook"), "Published versions")
see_also(Playbook, Trigger, by("playbook"))
see_also(PlaybookVersion, Trigger, lambda version: {"playbook__id__exact": version.playbook_id})
story_of(Playbook)
