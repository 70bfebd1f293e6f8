"""How other systems get in. Tokens see accounts, so only those who see everything hand them out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from csplaybooks.accounts.acts import make_token, revoke_tokens
from csplaybooks.accounts.admin.record import story_of
from csplaybooks.accounts.admin.show import MomentField
from csplaybooks.accounts.models import ApiToken, IdempotencyKey
from csplaybooks.accounts.visibility import scope_of
from csplaybooks.admin_base import (
    ActAdmin,
    ActForm,
    CappedPaginator,
    ReadOnlyAdmin,
    by,
    confirmed,
    filled_filter,
    see_also,
    shown,
)


class ApiTokenForm(ActForm):
    """What a new token may do."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in ApiToken.SCOPES], widget=forms.CheckboxSelectMultiple
    )
    expires_at = MomentField(required=False, help_text="Empty: never.")

    class Meta:
        model = ApiToken
        fields = ("name", "scopes", "limited_to_accounts", "accounts", "expires_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Nobody hands out more than they may do themselves; the act says so, too.
        scopes: Any = self.fields["scopes"]
        scopes.choices = [
            (scope, label)
            for scope, label in scopes.choices
            if self.viewer is not None and self.viewer.has_perms(ApiToken.PERMISSIONS[scope])
        ]

    def clean(self) -> dict[str, Any]:
        """Accounts are chosen exactly where the token is limited to them."""
        data = super().clean() or self.cleaned_data
        if data.get("accounts") and not data.get("limited_to_accounts"):
            self.add_error("limited_to_accounts", "Tick this, or choose no accounts.")
        return data


@admin.register(ApiToken)
class ApiTokenAdmin(ActAdmin):
    """API tokens: made here, shown once, revoked by an action."""

    form = ApiTokenForm
    list_display = ("name", "prefix", "may", "limited_to_accounts", "expires_at", "revoked_at", "last_used_at")
    list_filter = (
        "limited_to_accounts",
        ("revoked_at", filled_filter("standing", filled="revoked", empty="not revoked")),
    )
    follows = ("created_by",)
    search_fields = ("name", "prefix")
    search_help_text = "A part of the name, or of the beginning of the token."
    autocomplete_fields = ("accounts",)
    actions = ("revoke",)
    may = shown("Scopes", lambda token: ", ".join(token.scopes))
    maker = shown("Made by", lambda token: token.created_by)

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """What a token is made of, or what became of it; never its digest."""
        if obj is None:
            return [(None, {"fields": ["name", "scopes", "limited_to_accounts", "accounts", "expires_at"]})]
        told = ["name", "prefix", "may", "limited_to_accounts", "accounts"]
        times = ["maker", "created_at", "expires_at", "revoked_at", "last_used_at"]
        return [(None, {"fields": [*told, *times]})]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """No list may be asked for a digest, letter by letter."""
        return not lookup.startswith("digest") and super().lookup_allowed(lookup, value, request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whether the person may hand out what sees accounts."""
        return super().has_add_permission(request) and scope_of(request.user).everything

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: a token stays as it was handed out."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whether the person may revoke tokens."""
        return request.user.has_perm("csplaybooks_accounts.change_apitoken")

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Make the token, and show its value this once."""
        data = form.cleaned_data
        token, value = make_token(
            name=data["name"],
            scopes=data["scopes"],
            expires_at=data["expires_at"],
            account_ids=[row.pk for row in data["accounts"]] if data["limited_to_accounts"] else None,
            now=now,
            actor=request.user,
        )
        said = f"The token is {value} - copy it now: it is kept nowhere and will not be shown again."
        messages.warning(request, said)
        return token

    @admin.action(description="Revoke the selected tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Revoke tokens from now on, once the person has said yes."""
        warning = "What uses these tokens gets in no more, from now on. A revoked token stays revoked."
        if asked := confirmed(self, request, queryset, label="Revoke tokens", warning=warning):
            return asked
        ids = list(queryset.values_list("pk", flat=True))
        answers = revoke_tokens(token_ids=ids, now=timezone.now(), actor=request.user)
        done = sum(answers.values())
        before = len(answers) - done
        said = f"{done} revoked" + (f", {before} had been before." if before else ".")
        self.message_user(request, said, messages.SUCCESS if done else messages.WARNING)
        return None


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    """Acts already answered."""

    list_display = ("key", "token", "user", "status", "created_at")
    follows = ("token", "user")
    search_fields = ("key__exact",)
    search_help_text = "A whole key."
    fields = ("key", "token", "user", "status", "created_at")
    paginator = CappedPaginator


see_also(ApiToken, IdempotencyKey, by("token"))
story_of(ApiToken)
