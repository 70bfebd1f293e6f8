"""Playbooks: the draft is edited here as YAML, what is published stands."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from csplaybooks.accounts.acts.errors import Conflict
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
    is_answered,
    link_to,
    page_of,
    see_also,
    shown,
)
from csplaybooks.playbooks.acts.clocks import Moving, follow_published_targets, preview_published_targets
from csplaybooks.playbooks.acts.recipes import (
    publish_playbook,
    publishing_faults,
    roll_back_playbook,
    save_draft,
    set_playbook_active,
)
from csplaybooks.playbooks.admin.budget import close_rate_of, episodes_of
from csplaybooks.playbooks.admin.matches import trigger_in_words
from csplaybooks.playbooks.admin.routing import RoutingPages
from csplaybooks.playbooks.admin.verdicts import VerdictPages
from csplaybooks.playbooks.admin.what_if import WhatIfPage
from csplaybooks.playbooks.differences import changes_by, changes_of_draft, changes_of_version
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.models import Play, Playbook, PlaybookVersion, Trigger
from csplaybooks.playbooks.what_if import what_if_summary

#: Of so many drafts at once it is worked out what publishing them would come to: each is asked about all accounts.
MOST_TRIED = 3

#: The most lines of what changed that are told of one playbook.
MOST_LINES = 50

#: Above what keeps a draft from being published.
CANNOT = "The draft cannot be published as it is:"

#: The name under which the page that asks brings back the version of a playbook that was read.
_READ = "read_{}"

PUBLISH = "csplaybooks_playbooks.publish_playbook"
ASSIGN = "csplaybooks_playbooks.assign_play"


def said_of(error: DocumentError) -> list[str]:
    """What is wrong with a document, each with its place."""
    return [f"{path}: {message}" if path else message for path, message in error.errors]


def in_the_way(playbook: Playbook) -> list[str]:
    """What keeps a playbook's draft from being published, each with its place; nothing of what runs already."""
    if not _is_pending(playbook):
        return []
    try:
        document = read_document(playbook.draft)
        if errors := publishing_faults(document, playbook, now=timezone.now()):
            raise DocumentError(errors)
    except DocumentError as error:
        return said_of(error)
    return []


def _verbatim(text: str) -> Any:
    return format_html("<pre>{}</pre>", text)


def _capped(lines: list[str]) -> list[str]:
    more = len(lines) - MOST_LINES
    return lines if more <= 0 else [*lines[:MOST_LINES], f"and {more} more"]


def _listed(lines: list[str]) -> Any:
    """What changed, line by line; None where nothing did."""
    items = format_html_join("", "<li>{}</li>", ((line,) for line in _capped(lines)))
    return format_html('<ul class="csplaybooks-details">{}</ul>', items) if items else None


def _draft_changes(playbook: Playbook) -> list[str]:
    """What publishing a playbook's draft would change, or why it cannot be read (any more)."""
    try:
        return changes_of_draft(playbook)
    except DocumentError as error:
        return [CANNOT, *said_of(error)]


def _would_change(playbook: Playbook) -> list[str]:
    """What publishing a playbook's draft would change, after what keeps it from being published."""
    faults = in_the_way(playbook)
    try:
        changes = changes_of_draft(playbook)
    except DocumentError:
        changes = []
    return [CANNOT, *faults, *changes] if faults else changes


def _would_only_change(playbook: Playbook) -> list[str]:
    return _capped(_draft_changes(playbook)) or ["Nothing: the draft is what runs already."]


def _would_come_to(playbook: Playbook) -> list[str]:
    """What somebody reads who is asked whether a draft shall be published."""
    try:
        come_to = what_if_summary(read_document(playbook.draft), timezone.now())
    except DocumentError as error:
        return [CANNOT, *_capped(said_of(error))]
    return [*_would_only_change(playbook), *come_to]


def _version_read(request: HttpRequest, playbook_id: int) -> int | None:
    """The version of a playbook that was read by whoever said yes; None where the page did not name it."""
    read = request.POST.get(_READ.format(playbook_id), "")
    return int(read) if read.isascii() and read.isdigit() else None


class PlaybookForm(VersionedForm):
    """The draft of a playbook, whole and fit to be run."""

    draft = forms.CharField(
        # The text is kept byte for byte, so its last line break too.
        strip=False,
        widget=forms.Textarea(attrs={"rows": 40, "cols": 110, "spellcheck": "false", "class": "vLargeTextField"}),
        help_text=(
            "The playbook document, in YAML. It runs once it is published. Its JSON schema, with which an editor "
            "completes and checks it, is printed by: manage.py csplaybooks_playbooks schema"
        ),
    )

    class Meta:
        model = Playbook
        fields = ("draft",)

    def clean_draft(self) -> str:
        """The text with the line breaks it has in a file. Says every fault of the document, by its place."""
        text: str = self.cleaned_data["draft"].replace("\r\n", "\n")
        kept = self.instance.draft
        if text == kept.replace("\r\n", "\n").replace("\r", "\n"):
            # Nothing was changed: a file with several kinds of line ends keeps each.
            text = kept
        elif "\r\n" in kept and "\n" not in kept.replace("\r\n", ""):
            # A file with the other line ends, which no browser tells: they stay.
            text = text.replace("\n", "\r\n")
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


def _is_pending(playbook: Playbook) -> bool:
    """Whether the draft is another text than what was published."""
    return playbook.published is None or playbook.published.source != playbook.draft


def _going_back(version: PlaybookVersion) -> list[str]:
    """What somebody reads who is asked whether a version shall be published again."""
    try:
        come_to = what_if_summary(read_document(version.source), timezone.now())
    except DocumentError as error:
        return ["It cannot be published as it is any more:", *_capped(said_of(error))]
    changes = _capped(changes_by(version.playbook.published, version.source))
    return [*(changes or ["Nothing: this is what runs already."]), *come_to]


def _button(row: Any, action: str, label: str) -> dict[str, Any]:
    """What the page of a row shows to have an action of its list as a button."""
    at = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_changelist")
    return {"at": at, "pk": row.pk, "action": action, "label": label}


@admin.register(Playbook)
class PlaybookAdmin(WhatIfPage, RoutingPages, ActAdmin):
    """Playbooks. Publishing a draft, switching, and moving open plays to what was published are actions."""

    form = PlaybookForm
    change_form_template = "csplaybooks/admin/playbook_change_form.html"
    list_display = ("name", "key", "motion", "is_active", "published_number", "pending")
    list_filter = ("motion", "is_active")
    follows = ("published",)
    search_fields = ("name", "key")
    search_help_text = "A part of the name or of the key."
    inlines = (VersionInline,)
    actions = ("publish", "switch_on", "switch_off", "move_promises")
    fixed_fields = ("name", "key", "motion", "is_active", "published_version", "close_rate", "pending", "would_change")
    published_number = shown("Published version", lambda row: row.published and row.published.number)
    published_version = shown("Published version", lambda row: link_to(row.published))
    close_rate = shown("Close rate", close_rate_of)
    document = shown("Draft", lambda row: _verbatim(row.draft))
    pending = shown("Draft to publish", lambda row: _is_pending(row), boolean=True)
    would_change = shown("Publishing it would change", lambda row: _listed(_would_change(row)))

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """The draft, and what it is the draft of; for those who may only look, with the indentation of its YAML."""
        if obj is None:
            return [(None, {"fields": ["draft"]})]
        draft = "draft" if self.has_change_permission(request, obj) else "document"
        return [(None, {"fields": [*self.fixed_fields, draft]})]

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Keep the first draft of a new playbook."""
        kept = save_draft(text=form.cleaned_data["draft"], now=now, actor=request.user)
        self._tell_faults(request, kept)
        return kept

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Keep the draft."""
        kept = save_draft(
            text=form.cleaned_data["draft"],
            playbook_id=form.instance.pk,
            expected_version=form.cleaned_data[OPENED_VERSION],
            now=now,
            actor=request.user,
        )
        self._tell_faults(request, kept)
        return kept

    def _tell_faults(self, request: HttpRequest, playbook: Playbook) -> None:
        """Warn of a draft that is kept, and could not be published."""
        if faults := in_the_way(playbook):
            self.message_user(request, f"{CANNOT} {'; '.join(_capped(faults))}", messages.WARNING)

    def has_publish_permission(self, request: HttpRequest) -> bool:
        """Whether the person may put drafts into force, and switch playbooks."""
        return request.user.has_perm(PUBLISH)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """The page, with a button to publish the draft that is kept."""
        playbook = context.get("original")
        if playbook is not None and _is_pending(playbook) and self.has_publish_permission(request):
            context["button"] = _button(playbook, "publish", "Publish the draft")
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description="Publish the drafts of the selected playbooks", permissions=["publish"])
    def publish(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Publish drafts, once the person has said yes; each stands for itself. One leads back to its playbook."""
        playbooks = list(queryset)
        about = playbooks[0] if len(playbooks) == 1 else None
        these = "These drafts run" if about is None else "The draft runs"
        few = not is_answered(request) and len(playbooks) <= MOST_TRIED
        asked = confirmed(
            self,
            request,
            queryset,
            label="Publish drafts" if about is None else "Publish the draft",
            warning=f"{these} from the next run on. A published version stays; another draft mends it.",
            about=about,
            details=_would_come_to if few else _would_only_change,
            carried=lambda playbook: {_READ.format(playbook.pk): playbook.version},
        )
        if asked:
            return asked
        for playbook in playbooks:
            try:
                answer = publish_playbook(
                    playbook_id=playbook.pk,
                    now=timezone.now(),
                    actor=request.user,
                    expected_version=_version_read(request, playbook.pk),
                )
            except DocumentError as error:
                self.message_user(request, f"{playbook}: {'; '.join(said_of(error))}", messages.ERROR)
                continue
            except Conflict:
                said = f"{playbook} was changed since you were asked, and was not published. Look at it again."
                self.message_user(request, said, messages.ERROR)
                continue
            if answer.verdict == "unchanged":
                self.message_user(request, f"{playbook}: the draft is what runs already.", messages.INFO)
            else:
                self.message_user(request, f"{answer.version} is published.", messages.SUCCESS)
        return None if about is None else HttpResponseRedirect(page_of(self, about))

    @admin.action(description="Switch the selected playbooks on", permissions=["publish"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Let playbooks run."""
        self._switch(request, queryset, active=True)

    @admin.action(description="Switch the selected playbooks off", permissions=["publish"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Let playbooks rest; open plays go on."""
        self._switch(request, queryset, active=False)

    def has_assign_permission(self, request: HttpRequest) -> bool:
        """Whether the person may change by what the plays that they see are measured."""
        return request.user.has_perm(ASSIGN)

    @admin.action(description="Move open plays to the targets published now", permissions=["assign"])
    def move_promises(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Have the open plays of playbooks promise what is published now, once the person has said yes."""
        plays = Play.objects.visible_to(request.user).open().filter(playbook__in=queryset)
        play_ids, now = plays.order_by("pk").values_list("pk", flat=True), timezone.now()
        comes_to = "" if is_answered(request) else _comes_to(preview_published_targets(play_ids=play_ids, now=now))
        asked = confirmed(
            self,
            request,
            queryset,
            label="Move open plays",
            warning="The open plays of these playbooks that you see are measured by the targets published now. What "
            "is not promised any more is called off. What is new counts from when somebody owned the play, and may be "
            f"broken at once. What was kept or broken already stays written. {comes_to}",
        )
        if asked:
            return asked
        answers = follow_published_targets(play_ids=play_ids, now=now, actor=request.user)
        moved = sum(why is None for why in answers.values())
        said = "1 open play was moved" if moved == 1 else f"{moved:,} open plays were moved"
        self.message_user(
            request, f"{said} to the targets published now.", messages.SUCCESS if moved else messages.INFO
        )
        return None

    def _switch(self, request: HttpRequest, queryset: QuerySet[Any], *, active: bool) -> None:
        now = timezone.now()
        for playbook in queryset:
            done = set_playbook_active(playbook_id=playbook.pk, active=active, now=now, actor=request.user)
            said = f"{playbook} {'is' if done else 'was'} switched {'on' if active else 'off'}"
            self.message_user(request, f"{said}." if done else f"{said} already.", messages.SUCCESS)


def _comes_to(moving: Moving) -> str:
    """What it would come to now, in a sentence."""
    if not moving.plays:
        return "As things stand no play moves."
    plays = "1 play moves" if moving.plays == 1 else f"{moving.plays:,} plays move"
    promises = "1 promise changes" if moving.promises == 1 else f"{moving.promises:,} promises change"
    said = f"As things stand {plays}, and {promises}: {moving.missed:,} would be missed at once"
    if moving.excused:
        said += f", {moving.excused:,} that were missed would be excused until their new due time"
    return f"{said}."


@admin.register(PlaybookVersion)
class PlaybookVersionAdmin(ReadOnlyAdmin):
    """What was published, word by word, and how to go back to it."""

    change_form_template = "csplaybooks/admin/playbook_change_form.html"
    actions = ("roll_back",)
    list_display = ("playbook", "number", "published_at", "published_by")
    list_display_links = ("playbook", "number")
    list_filter = ("playbook",)
    follows = ("playbook", "published_by")
    search_fields = ("playbook__name", "playbook__key")
    search_help_text = "A part of the playbook's name or key."
    ordering = ("-published_at", "-pk")
    fields = ("playbook", "number", "published_at", "published_by", "runs", "changes", "text")
    runs = shown("Is what runs", lambda version: version.playbook.published_id == version.pk, boolean=True)
    changes = shown("Changed since the version before", lambda version: _listed(changes_of_version(version)))
    text = shown("Document", lambda version: _verbatim(version.source))

    def has_publish_permission(self, request: HttpRequest) -> bool:
        """Whether the person may put a version into force again."""
        return request.user.has_perm(PUBLISH)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """The page, with a button to go back to the version where another one runs."""
        version = context.get("original")
        if (
            version is not None
            and version.playbook.published is not None
            and version.playbook.published.source != version.source
            and self.has_publish_permission(request)
        ):
            context["button"] = _button(version, "roll_back", "Publish this version again")
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description="Publish the selected version again", permissions=["publish"])
    def roll_back(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Go back to what was published before, once the person has seen what that changes and said yes."""
        chosen = list(queryset[:2])
        if len(chosen) != 1:
            self.message_user(request, "Choose one version to go back to.", messages.ERROR)
            return None
        (version,) = chosen
        playbook = version.playbook
        warning = "Its text is published as a new version, which runs from the next run on, and becomes the draft."
        if _is_pending(playbook):
            warning += " The draft that is there now was never published, and is lost."
        asked = confirmed(
            self,
            request,
            queryset,
            label="Publish a version again",
            warning=warning,
            details=_going_back,
            carried=lambda version: {_READ.format(playbook.pk): playbook.version},
            about=version,
        )
        if asked:
            return asked
        try:
            answer = roll_back_playbook(
                playbook_id=playbook.pk,
                number=version.number,
                now=timezone.now(),
                actor=request.user,
                expected_version=_version_read(request, playbook.pk),
            )
        except DocumentError as error:
            self.message_user(request, f"{version}: {'; '.join(said_of(error))}", messages.ERROR)
            return HttpResponseRedirect(page_of(self, version))
        except Conflict:
            said = f"{playbook} was changed since you were asked, and nothing was published. Look at it again."
            self.message_user(request, said, messages.ERROR)
            return HttpResponseRedirect(page_of(self, version))
        if answer.verdict == "unchanged":
            self.message_user(request, f"{version} is what runs already.", messages.INFO)
        else:
            said = f"{answer.version} is published: version {version.number} again."
            self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(reverse(f"admin:{Playbook._meta.app_label}_playbook_change", args=[playbook.pk]))


@admin.register(Trigger)
class TriggerAdmin(VerdictPages, ReadOnlyAdmin):
    """The identities of triggers."""

    list_display = ("words", "key", "playbook_link")
    list_filter = ("playbook",)
    follows = ("playbook",)
    search_fields = ("key", "playbook__name")
    search_help_text = "A part of the key or of the playbook's name."
    fields = ("playbook", "key", "episodes")
    episodes = shown("Episodes", lambda trigger: episodes_of(trigger, trigger.viewer))
    words = shown("Trigger", lambda trigger: in_plain(trigger.key), ordering="key")
    playbook_link = shown("Playbook", lambda trigger: link_to(trigger.playbook), ordering="playbook__name")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The trigger, which knows whose page it is on: its episodes are those that the person may see."""
        trigger = super().get_object(request, object_id, from_field)
        if trigger is not None:
            trigger.viewer = request.user
        return trigger

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """The page, whose heading calls the trigger as people do."""
        if context.get("original") is not None:
            context["subtitle"] = trigger_in_words(context["original"])
        return super().render_change_form(request, context, *args, **kwargs)


see_also(Playbook, PlaybookVersion, by("playbook"), "Published versions")
see_also(Playbook, Trigger, by("playbook"))
see_also(PlaybookVersion, Trigger, lambda version: {"playbook__id__exact": version.playbook_id})
story_of(Playbook)
