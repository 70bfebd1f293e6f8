"""What is sold, and what accounts hold of it."""

from __future__ import annotations

from django.contrib import admin

from csplaybooks.accounts.admin.show import SUPERSEDED, MoneyAdmin, money, quantity
from csplaybooks.accounts.models import Entitlement, Feature, Plan, PlanLimit, Product
from csplaybooks.admin_base import ReadOnlyAdmin, VersionedAdmin, shown


@admin.register(Product)
class ProductAdmin(MoneyAdmin, VersionedAdmin):
    """Products."""

    list_display = ("name", "key", "is_base", "list_price")
    list_filter = ("is_base",)
    search_fields = ("name", "key")
    fields = ("key", "name", "is_base", "list_price_minor")
    # Documents and integrations speak of it by this key.
    fixed_fields = ("key",)
    money_fields = {"list_price_minor": "list_price"}
    deletable = True
    list_price = shown("List price a month", lambda row: money(row.list_price_minor), ordering="list_price_minor")


@admin.register(Plan)
class PlanAdmin(MoneyAdmin, VersionedAdmin):
    """The tiers of products."""

    list_display = ("name", "product", "rank", "price", "seat_price", "next_plan")
    list_filter = ("product",)
    follows = ("product", "next_plan")
    search_fields = ("name", "key")
    fields = ("product", "key", "name", "rank", "price_minor", "seat_price_minor", "next_plan")
    fixed_fields = ("key",)
    money_fields = {"price_minor": "price", "seat_price_minor": "seat_price"}
    deletable = True
    price = shown("Price a month", lambda row: money(row.price_minor), ordering="price_minor")
    seat_price = shown("Price of a seat a month", lambda row: money(row.seat_price_minor), ordering="seat_price_minor")


@admin.register(PlanLimit)
class PlanLimitAdmin(ReadOnlyAdmin):
    """How much of a meter plans included when."""

    list_display = ("plan", "meter_key", "limit", "valid_from", "valid_to", "superseded")
    list_filter = ("plan", SUPERSEDED)
    follows = ("plan",)
    search_fields = ("plan__name", "meter_key")
    fields = ("plan", "meter_key", "limit", "valid_from", "valid_to", "superseded")
    limit = shown("Limit", lambda row: quantity(row.limit_milli) or "no limit", ordering="limit_milli")
    superseded = shown("Superseded", lambda row: row.superseded_by_id is not None, boolean=True)


@admin.register(Feature)
class FeatureAdmin(VersionedAdmin):
    """Features, and the least plan that opens each."""

    list_display = ("name", "key", "product", "least_plan")
    list_filter = ("product", "least_plan")
    follows = ("product", "least_plan")
    search_fields = ("name", "key")
    fields = ("product", "key", "name", "least_plan")
    fixed_fields = ("key",)
    deletable = True


@admin.register(Entitlement)
class EntitlementAdmin(ReadOnlyAdmin):
    """What accounts held when, by subscription."""

    list_display = ("account", "product", "plan", "quantity", "mrr", "valid_from", "valid_to", "superseded")
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
    mrr = shown("MRR", lambda row: money(row.mrr_minor), ordering="mrr_minor")
    superseded = shown("Superseded", lambda row: row.superseded_by_id is not None, boolean=True)
