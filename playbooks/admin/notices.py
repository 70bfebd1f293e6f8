"""What members of the team are told, and how each wants to be told of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from csplaybooks.accounts.admin.record import story_of
from csplaybooks.accounts.models import TeamMember
from csplaybooks.admin_base import (
    OPENED_VERSION,
    ActAdmin,
    CappedPaginator,
    ReadOnlyAdmin,
    VersionedForm,
    by,
    link_to,
    see_also,
    shown,
)
from csplaybooks.playbooks.acts.notice_settings import NOTICE_SETTINGS, add_notice_settings, change_notice_settings
from csplaybooks.playbooks.admin.calendars import TimeOfDayField, time_of_day
from csplaybooks.playbooks.models import ClockEvent, Delivery, Handoff, Notice, NoticeSettings, Play


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin):
    """What members were told: their own, and those of whom they lead."""

    on_front_page = True
    list_display = ("text", "member", "heading", "at", "way", "mail")
    list_filter = ("kind", "way", "member")
    follows = ("member", "play__playbook", "play__account", "delivery", "handoff")
    search_fields = ("play__account__name",)
    search_help_text = "A part of the account's name."
    fields = ("text", "member", "heading", "its_play", "at", "way", "mail")
    ordering = ("-pk",)
    paginator = CappedPaginator
    heading = shown("Kind", lambda notice: notice.heading, ordering="kind")
    # Whoever was told of a play keeps the notice, and sees the play only while it is theirs to see.
    its_play = shown("Play", lambda notice: link_to(notice.play) if notice.play_seen else str(notice.play))
    mail = shown("Mail", lambda notice: notice.delivery and notice.delivery.get_state_display())

    def get_queryset(self, request: HttpRequest) -> Any:
        """Notices, with whether the person may see their play."""
        seen = Play.objects.visible_to(request.user).filter(pk=OuterRef("play"))
        return super().get_queryset(request).annotate(play_seen=Exists(seen))


class NoticeSettingsForm(VersionedForm):
    """How a member wants to be told of things; the time of the digest as a time of day."""

    digest_minute = TimeOfDayField(
        label="Digest at",
        initial=8 * 60,
        help_text="From 00:00 to 23:59, in the member's time zone, or else the company's.",
    )

    class Meta:
        model = NoticeSettings
        fields = NOTICE_SETTINGS.fields
        help_texts = {
            Notice.Kind.ASSIGNED: "A play became yours. That one of yours woke up waits for the digest.",
            Notice.Kind.WARNED: "A share of the promised time is used on a play that you hold.",
            Notice.Kind.BREACHED: "A promise was missed on a play that you own or hold.",
            Notice.Kind.ESCALATED: "A missed promise of somebody below you is still open.",
            Notice.Kind.OFFERED: "Somebody offers you a play.",
            Notice.Kind.REFUSED: "An offer of yours was refused, or nobody answered it; or such a play came to you.",
            Notice.Kind.UNSENT: "A mail to a customer did not go, or may not have, on a play that you own or hold.",
            "digest": "One mail a day with all that waits: promises, offers, plays without an owner, what happened.",
        }


@admin.register(NoticeSettings)
class NoticeSettingsAdmin(ActAdmin):
    """How members want to be told of things: each says so for themselves. Without it the defaults hold."""

    form = NoticeSettingsForm
    list_display = (
        "member",
        "assigned",
        "warned",
        "breached",
        "escalated",
        "offered",
        "refused",
        "unsent",
        "digest_time",
    )
    list_filter = ("digest",)
    follows = ("member",)
    search_fields = ("member__name",)
    search_help_text = "A part of the member's name."
    fields = NOTICE_SETTINGS.fields
    fixed_fields = ("member",)
    ordering = ("member__name", "pk")
    digest_time = shown("Digest", lambda row: time_of_day(row.digest_minute) if row.digest else "none")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether these are the person's own; whoever sees everything may change those of all."""
        allowed = super().has_change_permission(request, obj)
        return allowed and (obj is None or obj.member.user_id == request.user.pk or bool(request.user.is_superuser))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A form for the person's own; who has said it before comes to what they said."""
        own = NoticeSettings.objects.visible_to(request.user).filter(member__user=request.user.pk).first()
        if own is not None:
            name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
            return HttpResponseRedirect(reverse(name, args=[own.pk], current_app=self.admin_site.name))
        return super().add_view(request, form_url, extra_context)

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Nobody but the person themselves."""
        if db_field.name == "member":
            kwargs["queryset"] = self._members(request)
            kwargs["initial"] = kwargs["queryset"].first()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Say it."""
        return add_notice_settings(values=_values(form), now=now, actor=request.user)

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Say it anew."""
        return change_notice_settings(
            settings_id=form.instance.pk,
            values=_values(form),
            expected_version=form.cleaned_data[OPENED_VERSION],
            now=now,
            actor=request.user,
        )

    @staticmethod
    def _members(request: HttpRequest) -> Any:
        """The members for whom the person may say it, and nobody has yet."""
        members = TeamMember.objects.active().filter(notice_settings__isnull=True)
        return members if request.user.is_superuser else members.filter(user=request.user.pk)


def _values(form: Any) -> dict[str, Any]:
    return {name: form.cleaned_data[name] for name in NOTICE_SETTINGS.fields if name in form.cleaned_data}


see_also(Play, Notice, by("play"), "Who was told")
see_also(TeamMember, Notice, by("member"))
see_also(TeamMember, NoticeSettings, by("member"))
see_also(Delivery, Notice, by("delivery"), "Notices in it")
see_also(ClockEvent, Notice, by("event"), "Who was told")
see_also(Handoff, Notice, by("handoff"), "Who was told")
story_of(NoticeSettings)
