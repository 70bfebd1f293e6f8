"""What is sold, and what accounts hold of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from csplaybooks.accounts.acts import (
    NewEntitlement,
    NewPlanLimit,
    Verdict,
    end_entitlements,
    set_entitlements,
    set_plan_limits,
)
from csplaybooks.accounts.acts.catalogue import FEATURES, PLANS, PRODUCTS
from csplaybooks.accounts.admin.record import story_of
from csplaybooks.accounts.admin.show import (
    SUPERSEDED,
    MomentField,
    MoneyAdmin,
    QuantityField,
    account_column,
    money,
    quantity,
)
from csplaybooks.accounts.admin.table import TableAdmin
from csplaybooks.accounts.models import Entitlement, Feature, Plan, PlanLimit, Product, TimelineEntry
from csplaybooks.admin_base import (
    ActAdmin,
    ActForm,
    BaseInline,
    ReadOnlyAdmin,
    added_in,
    by,
    confirmed,
    is_answered,
    moment,
    see_also,
    shown,
)


@admin.register(Product)
class ProductAdmin(MoneyAdmin, TableAdmin):
    """Products."""

    table = PRODUCTS
    list_display = ("name", "key", "is_base", "list_price")
    list_filter = ("is_base",)
    search_fields = ("name", "key")
    search_help_text = "A part of the name or of the key."
    fields = ("key", "name", "is_base", "list_price_minor")
    # Documents and integrations speak of it by this key.
    fixed_fields = ("key",)
    money_fields = {"list_price_minor": "list_price"}
    list_price = shown("List price a month", lambda row: money(row.list_price_minor), ordering="list_price_minor")


class PlanLimitForm(forms.ModelForm):
    """How much of a meter a plan includes from a moment on."""

    limit = QuantityField(required=False, help_text="Empty: no limit.")
    since = MomentField(required=False, label="Holds from", help_text="Empty: from now on.")

    class Meta:
        model = PlanLimit
        fields = ("meter_key",)


class PlanLimitInline(BaseInline):
    """What a plan includes now; other limits can be set."""

    model = PlanLimit
    form = PlanLimitForm
    addable = True
    fields = ("meter_key", "limit", "since")
    verbose_name = "limit"
    verbose_name_plural = "limits (another one of the same meter takes the place of the one before)"
    limit = shown("Limit", lambda row: quantity(row.limit_milli) or "no limit")
    since = shown("Holds from", lambda row: row.valid_from)

    def get_queryset(self, request: HttpRequest) -> Any:
        """What holds now, and what is known of later."""
        ahead = super().get_queryset(request).filter(superseded_by__isnull=True)
        return ahead.exclude(valid_to__lte=timezone.now())


@admin.register(Plan)
class PlanAdmin(MoneyAdmin, TableAdmin):
    """The tiers of products, with what each includes."""

    table = PLANS
    list_display = ("name", "product", "rank", "price", "seat_price", "next_plan")
    list_filter = ("product",)
    follows = ("product", "next_plan")
    search_fields = ("name", "key", "product__name")
    search_help_text = "A part of the name or key, or of the product's name."
    fields = ("product", "key", "name", "rank", "price_minor", "seat_price_minor", "next_plan")
    autocomplete_fields = ("product", "next_plan")
    fixed_fields = ("key",)
    inlines = (PlanLimitInline,)
    money_fields = {"price_minor": "price", "seat_price_minor": "seat_price"}
    price = shown("Price a month", lambda row: money(row.price_minor), ordering="price_minor")
    seat_price = shown("Price of a seat a month", lambda row: money(row.seat_price_minor), ordering="seat_price_minor")

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Make the plan with its limits."""
        plan = super().add_by_act(request, form, formsets, now)
        return self._set_limits(request, plan, formsets, now)

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Change the plan, and set the limits that were filled in."""
        plan = super().change_by_act(request, form, formsets, now)
        return self._set_limits(request, plan, formsets, now)

    def _set_limits(self, request: HttpRequest, plan: Plan, formsets: list[Any], now: datetime) -> Plan:
        for row in added_in(formsets, PlanLimit):
            set_plan_limits(
                items=[NewPlanLimit(plan_id=plan.pk, meter_key=row["meter_key"], limit_milli=row["limit"])],
                effective_at=row["since"] or now,
                now=now,
                actor=request.user,
            )
        plan.refresh_from_db()
        return plan


@admin.register(PlanLimit)
class PlanLimitAdmin(ReadOnlyAdmin):
    """How much of a meter plans included when; limits are set on the plan's page."""

    list_display = ("plan", "meter_key", "limit", "valid_from", "valid_to", "superseded")
    list_filter = ("plan", SUPERSEDED)
    follows = ("plan",)
    search_fields = ("plan__name", "meter_key")
    search_help_text = "A part of the plan's name or of the meter's key."
    fields = ("plan", "meter_key", "limit", "valid_from", "valid_to", "superseded")
    limit = shown("Limit", lambda row: quantity(row.limit_milli) or "no limit", ordering="limit_milli")
    superseded = shown("Superseded", lambda row: row.superseded_by_id is not None, boolean=True)


@admin.register(Feature)
class FeatureAdmin(TableAdmin):
    """Features, and the least plan that opens each."""

    table = FEATURES
    list_display = ("name", "key", "product", "least_plan", "area")
    list_filter = ("product", "least_plan")
    follows = ("product", "least_plan")
    search_fields = ("name", "key", "area")
    search_help_text = "A part of the name, of the key or of the area."
    autocomplete_fields = ("product", "least_plan")
    fields = ("product", "key", "name", "least_plan", "area")
    fixed_fields = ("key",)


class EntitlementForm(ActForm):
    """What an account holds by a subscription line, told whole."""

    valid_from = MomentField(required=False, label="Holds from", help_text="Empty: from now on.")

    class Meta:
        model = Entitlement
        fields = ("account", "subscription", "product", "plan", "quantity", "mrr_minor", "term_months", "valid_from")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "mrr_minor" in self.fields:
            self.fields["mrr_minor"].label = "MRR"

    def validate_constraints(self) -> None:
        """Nothing: a line that is told again is no second one, it takes the place of what held. The act sees to it."""


class EndForm(forms.Form):
    """When lines end."""

    required_css_class = "required"
    at = MomentField(required=False, label="Ends at", help_text="Empty: now.")


@admin.register(Entitlement)
class EntitlementAdmin(MoneyAdmin, ActAdmin):
    """What accounts hold, by subscription, and held when. A row stays as it is: a line is told anew, or ended."""

    form = EntitlementForm
    list_display = ("account_link", "product", "plan", "mrr", "valid_from", "valid_to", "superseded")
    list_display_links = ("product",)
    list_filter = ("product", "plan", SUPERSEDED)
    follows = ("account", "product", "plan")
    search_fields = ("account__name", "subscription__exact")
    search_help_text = "A part of the account's name, or a whole subscription id."
    autocomplete_fields = ("account", "product", "plan")
    actions = ("end_lines",)
    account_link = account_column()
    money_fields = {"mrr_minor": "mrr"}
    mrr = shown("MRR", lambda row: money(row.mrr_minor), ordering="mrr_minor")
    superseded = shown("Superseded", lambda row: row.superseded_by_id is not None, boolean=True)

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """What is told of a line, or how long it held."""
        about = ["account", "subscription", "product", "plan", "quantity", "mrr_minor", "term_months", "valid_from"]
        return [(None, {"fields": about if obj is None else [*about, "valid_to", "superseded"]})]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never on the form; what changes is told anew, and lines are ended by an action."""
        return False

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Whether the person may end lines."""
        return request.user.has_perm("csplaybooks_accounts.change_entitlement")

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Say what the account holds by the line."""
        data = form.cleaned_data
        since = data["valid_from"] or now
        line = NewEntitlement(
            account_id=data["account"].pk,
            product_id=data["product"].pk,
            plan_id=data["plan"].pk if data["plan"] else None,
            **{name: data[name] for name in ("subscription", "quantity", "mrr_minor", "term_months")},
            valid_from=since,
        )
        [verdict] = set_entitlements(items=[line], now=now, actor=request.user)
        held = Entitlement.objects.holding_at(since)
        row = held.get(account=line.account_id, subscription=line.subscription)
        if verdict == Verdict.UNCHANGED:
            raise ValidationError(f"The account holds just this already (since {moment(row.valid_from)}).")
        return row

    @admin.action(description="End the selected entitlements", permissions=["end"])
    def end_lines(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """End the lines of rows, once the person has said yes and from when. Rows that do not hold then are told of."""
        form = EndForm(request.POST if is_answered(request) else None)
        warning = (
            "The accounts no longer hold this from that moment on. An end cannot be taken back: what goes on all the "
            "same is added again, from the end on."
        )
        if asked := confirmed(self, request, queryset, label="End entitlements", warning=warning, form=form):
            return asked
        now = timezone.now()
        at = form.cleaned_data["at"] or now
        # Of one line no two rows hold at a moment.
        held = queryset.filter(Entitlement.holding_q(at, None)).order_by("pk")
        lines = list(held.values_list("account_id", "subscription"))
        chosen = queryset.count()
        verdicts = end_entitlements(lines=lines, effective_at=at, now=now, actor=request.user)
        done = verdicts.count(Verdict.ENDED)
        said = f"{done} ended" + (f"; not held at that moment: {rest}." if (rest := chosen - done) else ".")
        self.message_user(request, said, messages.SUCCESS if done else messages.WARNING)
        return None


see_also(Product, Plan, by("product"))
see_also(Product, Feature, by("product"))
see_also(Product, Entitlement, by("product"), "Held by accounts")
see_also(Plan, Feature, by("least_plan"), "Features opened by it")
see_also(Plan, PlanLimit, by("plan"), "All its limits, over time")
see_also(Plan, Entitlement, by("plan"), "Held by accounts")
see_also(
    Entitlement,
    TimelineEntry,
    lambda row: {
        "account__id__exact": row.account_id,
        "subject_type": Product._meta.label_lower,
        "subject_id": row.product_id,
    },
    "What was done",
)
for _model in (Product, Plan, Feature):
    story_of(_model)
