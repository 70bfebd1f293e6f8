"""Mail that leaves the house, for those who look after the machinery: what is under way, given up or unclear."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from csplaybooks.admin_base import CappedPaginator, ReadOnlyAdmin, by, confirmed, link_to, see_also, shown
from csplaybooks.playbooks.acts.deliveries import call_off_deliveries, retry_deliveries
from csplaybooks.playbooks.admin.matches import STUCK
from csplaybooks.playbooks.models import Delivery, Play

_TWICE = (
    "It is unclear whether these mails to customers went: whoever has them already gets them twice. Whoever works the "
    "play may be writing anew; ask them first."
)


def _to_whom(delivery: Delivery) -> tuple[str, ...]:
    return (str(delivery.play),) if delivery.play is not None else ()


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Mails to the team and to customers, and how far each is."""

    on_front_page = True
    list_display = ("subject", "kind", "to_address", "state", "queued_at", "sent_at", "attempts")
    list_filter = ("state", "kind", STUCK)
    follows = ("member", "play__playbook", "play__account")
    search_fields = ("to_address",)
    search_help_text = "A part of the address."
    actions = ("retry", "call_off")
    ordering = ("-pk",)
    paginator = CappedPaginator
    fieldsets = (
        (None, {"fields": ("kind", "member", "to_address", "reply_to", "its_play", "subject", "body")}),
        ("How far it is", {"fields": ("state", "queued_at", "sent_at", "message_id", "key")}),
        ("Work", {"fields": ("attempts", "last_error", "next_try_at", "stuck_at")}),
    )
    readonly_fields = ("attempts", "last_error", "next_try_at", "stuck_at")
    its_play = shown("Play", lambda delivery: link_to(delivery.play))

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether the person may say what becomes of mails that have not gone."""
        return request.user.has_perm("csplaybooks_playbooks.retry_delivery")

    @admin.action(description="Try again what is stuck", permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Put mails that were given up, or are unclear, back into the queue; ask first where a customer may get two."""
        twice = queryset.filter(kind=Delivery.Kind.DRAFT, state=Delivery.State.UNCLEAR)
        if twice.exists():
            asked = confirmed(self, request, twice, label="Try again", warning=_TWICE, details=_to_whom)
            if asked is not None:
                return asked
        ids = list(queryset.values_list("pk", flat=True))
        if done := retry_deliveries(ids=ids, now=timezone.now(), actor=request.user):
            self.message_user(request, f"{done} put back into the queue.", messages.SUCCESS)
        else:
            self.message_user(request, "None of these is stuck or unclear.", messages.WARNING)
        return None

    @admin.action(description="Do not send", permissions=["retry"])
    def call_off(self, request: HttpRequest, queryset: Any) -> None:
        """Call off mails that have not gone."""
        ids = list(queryset.values_list("pk", flat=True))
        if done := call_off_deliveries(ids=ids, now=timezone.now(), actor=request.user):
            self.message_user(request, f"{done} called off.", messages.SUCCESS)
        else:
            self.message_user(
                request, "None of these can be called off: they are sent, or under way.", messages.WARNING
            )


see_also(Play, Delivery, by("play"), "Mails")
