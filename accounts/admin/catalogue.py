"""What is sold, and what accounts hold of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from csplaybooks.accounts.acts import NewPlanLimit, set_plan_limits
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
from csplaybooks.accounts.models import Entitlement, Feature, Plan, PlanLimit, Product
from csplaybooks.admin_base import BaseInline, ReadOnlyAdmin, added_in, by, see_also, shown


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
    list_display = ("name", "key", "product", "least_plan")
    list_filter = ("product", "least_plan")
    follows = ("product", "least_plan")
    search_fields = ("name", "key")
    search_help_text = "A part of the name or of the key."
    autocomplete_fields = ("product", "least_plan")
    fields = ("product", "key", "name", "least_plan")
    fixed_fields = ("key",)


@admin.register(Entitlement)
class EntitlementAdmin(ReadOnlyAdmin):
    """What accounts held when, by subscription."""

    list_display = ("account_link", "product", "plan", "mrr", "valid_from", "valid_to", "superseded")
    list_display_links = ("product",)
    list_filter = ("product", "plan", SUPERSEDED)
    follows = ("account", "product", "plan")
    search_fields = ("account__name", "subscription__exact")
    search_help_text = "A part of the account's name, or a whole subscription id."
    fields = (
        "account",
        "subscription",
        "product",
        "plan",
        "quantity",
        "mrr",
        "term_months",
        "valid_from",
        "valid_to",
        "superseded",
    )
    account_link = account_column()
    mrr = shown("MRR", lambda row: money(row.mrr_minor), ordering="mrr_minor")
    superseded = shown("Superseded", lambda row: row.superseded_by_id is not None, boolean=True)


see_also(Product, Plan, by("product"))
see_also(Product, Feature, by("product"))
see_also(Product, Entitlement, by("product"), "Held by accounts")
see_also(Plan, Feature, by("least_plan"), "Features opened by it")
see_also(Plan, PlanLimit, by("plan"), "All its limits, over time")
see_also(Plan, Entitlement, by("plan"), "Held by accounts")
for _model in (Product, Plan, Feature):
    story_of(_model)
