"""The people at accounts, the reviews held with them, and what came up."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone

from csplaybooks.accounts.acts import (
    NewFinding,
    Verdict,
    add_champion,
    add_findings,
    change_champion,
    log_qbr,
    mend_qbr,
    set_finding_status,
)
from csplaybooks.accounts.admin.record import story_of
from csplaybooks.accounts.admin.show import SUPERSEDED, MomentField, account_column
from csplaybooks.accounts.models import Account, Champion, ChampionChange, Finding, FindingState, Qbr, TeamMember
from csplaybooks.admin_base import (
    OPENED_VERSION,
    ActAdmin,
    ActForm,
    BaseInline,
    Export,
    ReadOnlyAdmin,
    VersionedForm,
    added_in,
    by,
    filled_filter,
    see_also,
    shown,
)
from csplaybooks.conf import company_time_zone


class ChampionForm(VersionedForm):
    """A person, and what became of them."""

    kind = forms.ChoiceField(
        required=False,
        label="What happened",
        choices=[("", "as the change of title or role says"), *ChampionChange.Kind.choices],
    )
    occurred_at = MomentField(required=False, label="When", help_text="Empty: now.")

    class Meta:
        model = Champion
        fields = ("account", "name", "email", "title", "role")


class ChampionChangeInline(BaseInline):
    """What happened to a person."""

    model = ChampionChange
    verbose_name_plural = "what happened"
    fields = ("occurred_at", "kind", "old_title", "new_title", "old_role", "new_role")


@admin.register(Champion)
class ChampionAdmin(Export, ActAdmin):
    """The people at accounts who matter."""

    form = ChampionForm
    list_display = ("name", "account_link", "title", "role", "left_on")
    account_link = account_column()
    actions = ("export_csv",)
    exports = (
        ("Name", lambda person: person.name),
        ("Account", lambda person: person.account.name),
        ("Title", lambda person: person.title),
        ("Role", lambda person: person.get_role_display()),
        ("E-mail", lambda person: person.email),
        ("Left on", lambda person: person.left_on),
    )
    list_filter = ("role", ("left_on", filled_filter("presence", filled="left", empty="still there")))
    follows = ("account",)
    search_fields = ("name", "account__name", "email")
    search_help_text = "A part of the person's name or e-mail address, or of the account's name."
    autocomplete_fields = ("account",)
    fixed_fields = ("account", "left_on")
    inlines = (ChampionChangeInline,)
    kind = shown("What happened", lambda champion: None)
    occurred_at = shown("When", lambda champion: None)

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """What happened is told of a person who is there."""
        about = ["account", "name", "email", "title", "role"]
        if obj is None:
            return [(None, {"fields": [*about, "occurred_at"]})]
        if not self.has_change_permission(request, obj):
            return [(None, {"fields": [*about, "left_on"]})]
        return [(None, {"fields": [*about, "left_on"]}), ("This change", {"fields": ["kind", "occurred_at"]})]

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Add the person."""
        data = form.cleaned_data
        return add_champion(
            account_id=data["account"].pk,
            **{name: data[name] for name in ("name", "email", "title", "role", "occurred_at")},
            now=now,
            actor=request.user,
        )

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Say what became of the person."""
        data = form.cleaned_data
        return change_champion(
            champion_id=form.instance.pk,
            **{name: data[name] for name in ("name", "email", "title", "role")},
            kind=data["kind"] or None,
            occurred_at=data["occurred_at"] or now,
            expected_version=data[OPENED_VERSION],
            now=now,
            actor=request.user,
        )


@admin.register(ChampionChange)
class ChampionChangeAdmin(ReadOnlyAdmin):
    """What happened to the people at accounts."""

    list_display = ("champion", "account_link", "kind", "new_title", "new_role", "occurred_at")
    account_link = account_column()
    list_filter = ("kind", "new_role")
    follows = ("champion__account", "account")
    search_fields = ("champion__name", "account__name")
    search_help_text = "A part of the person's or the account's name."
    date_hierarchy = "occurred_at"
    fields = ("champion", "account", "kind", "occurred_at", "old_title", "new_title", "old_role", "new_role")


def _new_findings(formsets: Iterable[Any]) -> list[NewFinding]:
    """What was filled in on the inline of a review."""
    return [
        NewFinding(kind=row["kind"], text=row["text"], product_id=row["product"].pk if row["product"] else None)
        for row in added_in(formsets, Finding)
    ]


class FindingInline(BaseInline):
    """What came up in a review; more can be added."""

    model = Finding
    addable = True
    extra = 3
    # The admin's own text box is too wide for a cell.
    formfield_overrides = {models.TextField: {"widget": forms.Textarea(attrs={"rows": 2, "cols": 40})}}
    fields = ("kind", "text", "product")
    follows = ("product",)
    autocomplete_fields = ("product",)
    show_change_link = True


class QbrForm(VersionedForm):
    """A review and its outcome."""

    class Meta:
        model = Qbr
        fields = ("account", "held_at", "led_by", "attendees", "summary", "next_on")

    def clean(self) -> dict[str, Any]:
        """Check what hangs together: who was there, and when the next one is."""
        data = super().clean()
        account_id = data["account"].pk if data.get("account") else self.instance.account_id
        if any(person.account_id != account_id for person in data.get("attendees") or ()):
            self.add_error("attendees", "Somebody chosen here belongs to another account.")
        held_at = data.get("held_at") or self.instance.held_at
        if data.get("next_on") and held_at and data["next_on"] <= held_at.astimezone(company_time_zone()).date():
            self.add_error("next_on", "The next review comes after this one.")
        return data


@admin.register(Qbr)
class QbrAdmin(ActAdmin):
    """Business reviews, logged with their findings in one form."""

    form = QbrForm
    list_display = ("held_at", "account_link", "led_by", "next_on", "came_up")
    account_link = account_column()
    came_up = shown("Findings", lambda qbr: qbr.findings_count, ordering="findings_count")
    list_filter = ("led_by",)
    date_hierarchy = "held_at"
    follows = ("account", "led_by")
    search_fields = ("account__name", "summary")
    search_help_text = "A part of the account's name or of the summary."
    autocomplete_fields = ("account", "attendees", "led_by")
    fields = ("account", "held_at", "led_by", "attendees", "summary", "next_on")
    fixed_fields = ("account", "held_at", "led_by")
    inlines = (FindingInline,)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Reviews, with how many findings came up in each."""
        found = Finding.objects.filter(qbr=OuterRef("pk")).order_by().values("qbr").annotate(number=Count("pk"))
        return super().get_queryset(request).annotate(findings_count=Coalesce(Subquery(found.values("number")), 0))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A review held just now by whoever logs it."""
        member = TeamMember.objects.visible_to(request.user).filter(user=request.user.pk).first()
        return {
            "held_at": timezone.now().replace(second=0, microsecond=0),
            "led_by": member and member.pk,
            **super().get_changeform_initial_data(request),
        }

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Log the review with everything that came up."""
        data = form.cleaned_data
        return log_qbr(
            account_id=data["account"].pk,
            held_at=data["held_at"],
            findings=_new_findings(formsets),
            led_by_id=data["led_by"].pk if data["led_by"] else None,
            attendee_ids=[person.pk for person in data["attendees"]],
            summary=data["summary"],
            next_on=data["next_on"],
            now=now,
            actor=request.user,
        )

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Mend the notes, and add what was left out: it came up at the review, too."""
        data = form.cleaned_data
        return mend_qbr(
            qbr_id=form.instance.pk,
            summary=data["summary"],
            next_on=data["next_on"],
            attendee_ids=[person.pk for person in data["attendees"]],
            findings=_new_findings(formsets),
            expected_version=data[OPENED_VERSION],
            now=now,
            actor=request.user,
        )


class FindingStatusFilter(admin.SimpleListFilter):
    """Findings by how they stand now."""

    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """All that a finding may be."""
        return [(value, str(label)) for value, label in FindingState.Status.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """The findings that stand so."""
        if self.value() is None:
            return None
        states = FindingState.objects.holding_at(timezone.now()).filter(finding=OuterRef("pk"))
        return queryset.filter(Exists(states.filter(status=self.value())))


class FindingStateInline(BaseInline):
    """How a finding stood when."""

    model = FindingState
    fields = ("status", "valid_from", "valid_to")

    def get_queryset(self, request: HttpRequest) -> Any:
        """What is held for true."""
        return super().get_queryset(request).filter(superseded_by__isnull=True)


def _status_action(status: str, label: str) -> Any:
    """The action that gives findings a status."""

    @admin.action(description=label, permissions=["settle"])
    def act(page: Any, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        now = timezone.now()
        try:
            verdicts = set_finding_status(
                finding_ids=queryset.values_list("pk", flat=True),
                status=status,
                effective_at=now,
                now=now,
                actor=request.user,
            )
        except ValidationError as refusal:
            page.message_user(request, " ".join(refusal.messages), messages.ERROR)
            return
        changed = sum(verdict != Verdict.UNCHANGED for verdict in verdicts.values())
        said = f"{changed} changed to {FindingState.Status(status).label.lower()}"
        stood = len(verdicts) - changed
        page.message_user(request, f"{said}, {stood} stood so already." if stood else f"{said}.", messages.SUCCESS)

    act.__name__ = f"set_{status}"
    return act


@admin.register(Finding)
class FindingAdmin(Export, ActAdmin):
    """What came up in reviews or was raised by hand. Only its status changes."""

    form = ActForm
    list_display = ("kind", "text", "account_link", "product", "status", "qbr_day")
    account_link = account_column()
    list_display_links = ("text",)
    list_filter = ("kind", FindingStatusFilter, "product")
    follows = ("account", "product", "qbr__account")
    search_fields = ("text", "account__name")
    search_help_text = "A part of the text or of the account's name."
    autocomplete_fields = ("account", "product")
    inlines = (FindingStateInline,)
    actions = (
        _status_action(FindingState.Status.SETTLED, "Settle the selected findings"),
        _status_action(FindingState.Status.DROPPED, "Drop the selected findings"),
        _status_action(FindingState.Status.OPEN, "Open the selected findings again"),
        "export_csv",
    )
    exports = (
        ("Account", lambda finding: finding.account.name),
        ("Kind", lambda finding: finding.get_kind_display()),
        ("Text", lambda finding: finding.text),
        ("Product", lambda finding: finding.product and finding.product.name),
        ("Status", lambda finding: finding.status_now and FindingState.Status(finding.status_now).label),
        ("Review held at", lambda finding: finding.qbr and finding.qbr.held_at),
    )
    status = shown("Status", lambda row: row.status_now and FindingState.Status(row.status_now).label)
    qbr_day = shown("Review", lambda row: row.qbr and row.qbr.held_at, ordering="qbr__held_at")

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """The fields of a finding."""
        extra = [] if obj is None else ["qbr", "status"]
        return [(None, {"fields": ["account", "kind", "text", "product", *extra]})]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Findings, with how they stand now."""
        states = FindingState.objects.holding_at(timezone.now()).filter(finding=OuterRef("pk"))
        return super().get_queryset(request).annotate(status_now=Subquery(states.values("status")[:1]))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never on the form; the status is set by actions."""
        return False

    def has_settle_permission(self, request: HttpRequest) -> bool:
        """Whether the person may set the status of findings."""
        return request.user.has_perm("csplaybooks_accounts.change_finding")

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Raise a finding by hand."""
        data = form.cleaned_data
        product = data["product"]
        finding = NewFinding(kind=data["kind"], text=data["text"], product_id=product.pk if product else None)
        [row] = add_findings(account_id=data["account"].pk, findings=[finding], at=now, now=now, actor=request.user)
        return row


@admin.register(FindingState)
class FindingStateAdmin(ReadOnlyAdmin):
    """How findings stood when."""

    list_display = ("finding", "account", "status", "valid_from", "valid_to", "superseded")
    list_filter = ("status", SUPERSEDED)
    follows = ("finding__account",)
    search_fields = ("finding__text", "finding__account__name")
    search_help_text = "A part of the finding's text or of the account's name."
    fields = ("finding", "account", "status", "valid_from", "valid_to", "superseded")
    account = shown("Account", lambda row: row.finding.account)
    superseded = shown("Superseded", lambda row: row.superseded_by_id is not None, boolean=True)


see_also(Account, Champion, by("account"))
see_also(Account, Qbr, by("account"))
see_also(Account, Finding, by("account"))
see_also(Champion, Qbr, by("attendees"), "Reviews attended")
see_also(TeamMember, Qbr, by("led_by"), "Reviews led")
for _model in (Champion, Qbr, Finding):
    story_of(_model)
