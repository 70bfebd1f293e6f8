"""What plays are made of, each in a list of its own. All of it is written by acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse

from csplaybooks.accounts.admin.show import money
from csplaybooks.accounts.models import Account, Movement
from csplaybooks.admin_base import (
    CappedPaginator,
    Export,
    ReadOnlyAdmin,
    VisibleRelatedFilter,
    by,
    filled_filter,
    lines_of,
    link_to,
    see_also,
    shown,
    table_of,
)
from csplaybooks.playbooks.admin.handoff_report import HandoffReportPage
from csplaybooks.playbooks.admin.play_acts import buttons
from csplaybooks.playbooks.handover import readable_context
from csplaybooks.playbooks.models import Credit, Handoff, Interval, Pause, Play, PlayStep, Touch

#: What the label of a play reads.
_PLAY = ("play__playbook", "play__account")


#: What goes with an offer, in the order in which it is read.
_HANDED_OVER = {
    "found": "What was found",
    "worth_minor": "Worth",
    "worked_out": "How it was worked out",
    "people": "Whom to talk to",
    "wins": "Wins so far",
    "usage": "Usage",
    "review": "Last review",
    "findings": "Open findings",
    "plans": "What they hold",
    "mrr_minor": "Monthly revenue now",
    "renewal_on": "Renews on",
    "note": "Note",
}


def _handed_over(context: Mapping[str, Any]) -> Any:
    """What went with an offer, frozen when it was made; a line for each thing that there was to say."""
    told = {**context, **{name: money(context.get(name)) for name in ("worth_minor", "mrr_minor")}}
    lines = ((label, told.get(key)) for key, label in _HANDED_OVER.items())
    return table_of(
        ("", ""), ((label, lines_of(said) if isinstance(said, list) else said) for label, said in lines if said)
    )


class PartAdmin(ReadOnlyAdmin):
    """Rows that hang on a play, the newest first."""

    follows: Sequence[str] = _PLAY
    search_fields = ("play__account__name",)
    search_help_text = "A part of the account's name."
    ordering = ("-pk",)
    paginator = CappedPaginator
    play_link = shown("Play", lambda row: link_to(row.play))


@admin.register(PlayStep)
class PlayStepAdmin(PartAdmin):
    """The next steps of plays."""

    list_display = ("text", "play_link", "kind", "state", "due_at", "done_at", "done_by")
    list_filter = ("state", "kind")
    follows = (*_PLAY, "done_by")
    fields = ("play", "number", "kind", "text", "state", "began_at", "due_at", "done_at", "done_by", "note", "settings")


@admin.register(Interval)
class IntervalAdmin(Export, PartAdmin):
    """Whose time it was, stretch by stretch."""

    actions = ("export_csv",)
    exports = (
        ("Play", lambda row: row.play_id),
        ("Account", lambda row: row.play.account.name),
        ("Playbook", lambda row: row.play.playbook.name),
        ("Number", lambda row: row.seq),
        ("Stage", lambda row: row.get_stage_display()),
        ("State", lambda row: row.get_state_display()),
        ("Owner", lambda row: row.owner and row.owner.name),
        ("Holder", lambda row: row.holder and row.holder.name),
        ("Held by", lambda row: row.get_held_by_display()),
        ("From", lambda row: row.valid_from),
        ("To", lambda row: row.valid_to),
    )

    list_display = ("play_link", "stage", "state", "holder", "valid_from", "valid_to")
    list_display_links = ("stage",)
    list_filter = ("stage", "state", "held_by")
    follows = (*_PLAY, "owner", "holder")
    fields = ("play", "seq", "stage", "state", "owner", "holder", "held_by", "valid_from", "valid_to")


@admin.register(Pause)
class PauseAdmin(PartAdmin):
    """Why plays were paused."""

    list_display = ("play_link", "reason", "wakes_at")
    list_display_links = ("reason",)
    list_filter = (("wakes_at", filled_filter("end", filled="has a date", empty="until resumed")),)
    fields = ("play", "interval", "reason", "wakes_at")


@admin.register(Touch)
class TouchAdmin(PartAdmin):
    """Contacts made on plays."""

    on_front_page = True
    list_display = ("play_link", "channel", "direction", "by_member", "at", "origin", "note")
    list_display_links = ("channel",)
    list_filter = ("channel", "direction", "origin", "by_member")
    follows = (*_PLAY, "by_member", "signal__type")
    fields = ("play", "account", "channel", "direction", "by_member", "at", "origin", "signal", "note")


class SellerFilter(VisibleRelatedFilter):
    """Offers by whom they were made to: those who were ever offered something."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[Any, Any]]:
        """Their ids and names."""
        offered = set(Handoff.objects.visible_to(request.user).order_by().values_list("offered_to", flat=True))
        return [choice for choice in super().field_choices(field, request, model_admin) if choice[0] in offered]


@admin.register(Handoff)
class HandoffAdmin(HandoffReportPage, PartAdmin):
    """Plays offered by one member to another."""

    on_front_page = True
    list_display = ("offered_at", "play_link", "owner_then", "offered_to", "answer", "answered_at")
    list_display_links = ("offered_at",)
    list_filter = ("answer", ("offered_to", SellerFilter))
    change_form_template = "csplaybooks/admin/play_change_form.html"
    follows = (*_PLAY, "offered_by", "offered_to")
    fields = (
        "play_link",
        "owner_then",
        "offered_to",
        "offered_at",
        "expires_at",
        "answer",
        "answered_at",
        "reason",
        "handed_over",
    )
    owner_then = shown("Owner then", lambda row: row.offered_by, ordering="offered_by__name")
    handed_over = shown("What goes with it", lambda row: _handed_over(row.context_seen))

    # Whoever made or got an offer sees it for good, the play only while it is theirs to see.
    play_link = shown("Play", lambda row: link_to(row.play) if row.play_seen else str(row.play))

    def get_queryset(self, request: HttpRequest) -> Any:
        """Offers, with whether the person may see their play."""
        seen = Play.objects.visible_to(request.user).filter(pk=OuterRef("play"))
        return super().get_queryset(request).annotate(play_seen=Exists(seen))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """The page, with the buttons of the person's side while the offer waits."""
        offer = context.get("original")
        if offer is not None and offer.answer == Handoff.Answer.WAITING:
            plays = self.admin_site.get_model_admin(Play)
            context |= buttons(plays, request, offer.play, ("accept", "refuse", "take_back"))
        return super().render_change_form(request, context, *args, **kwargs)

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """The offer, with what went with it as far as the person may see the account and such things now."""
        offer: Any = super().get_object(request, *args, **kwargs)
        if offer is not None:
            offer.context_seen = readable_context(request.user, offer)
        return offer


@admin.register(Credit)
class CreditAdmin(PartAdmin):
    """Which play won which line of the ledger."""

    list_display = ("play_link", "movement", "amount", "credited_at", "credited_by")
    list_display_links = ("movement",)
    follows = (*_PLAY, "movement__account", "credited_by")
    fields = ("play", "movement", "amount", "credited_at", "credited_by")
    amount = shown("Amount", lambda credit: money(credit.amount_minor), ordering="amount_minor")


see_also(Account, Touch, by("account"), "Contacts made")
see_also(Play, PlayStep, by("play"))
see_also(Play, Interval, by("play"), "Whose time it was")
see_also(Play, Pause, by("play"))
see_also(Play, Touch, by("play"), "Contacts made")
see_also(Play, Handoff, by("play"))
see_also(Play, Credit, by("play"))
see_also(Interval, Pause, by("interval"), "Why it was paused")
see_also(Movement, Credit, by("movement"), "The play that won it")
