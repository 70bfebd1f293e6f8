"""How other systems get in: hashed, scoped tokens, and the memory of acts already answered."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from csplaybooks.accounts.base import OperationsQuerySet
from csplaybooks.accounts.models.company import Account

TOKEN_START = "csp_"  # noqa: S105 - a public marker by which leaked tokens can be found, not a secret
PREFIX_LENGTH = 12


class ApiToken(models.Model):
    """A token of one integration: 256 random bits, kept as SHA-256, shown once when it is made.

    `scopes` are strings such as `signals:write` or `plays:read`; writing does not imply reading.
    """

    SCOPES = (
        "signals:write",
        "readings:write",
        "accounts:read",
        "plays:read",
        "plays:write",
        "readiness:read",
        "prompts:read",
        "triggers:read",
        "health:read",
    )
    #: What the endpoints of a scope ask of people: nobody hands out a scope without these permissions of their own.
    PERMISSIONS = {
        "signals:write": ("csplaybooks_signals.add_signal",),
        "readings:write": ("csplaybooks_signals.add_reading",),
        "accounts:read": ("csplaybooks_accounts.view_account",),
        "plays:read": ("csplaybooks_playbooks.view_play",),
        "plays:write": (
            "csplaybooks_playbooks.add_play",
            "csplaybooks_playbooks.assign_play",
            "csplaybooks_playbooks.change_play",
        ),
        "readiness:read": ("csplaybooks_signals.view_scoresnapshot",),
        "prompts:read": ("csplaybooks_playbooks.view_play",),
        "triggers:read": ("csplaybooks_playbooks.view_trigger",),
        "health:read": ("csplaybooks_accounts.view_everything",),
    }

    name = models.CharField(max_length=200)
    prefix = models.CharField(max_length=PREFIX_LENGTH, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(default=list)
    limited_to_accounts = models.BooleanField(default=False, help_text="See and write only the accounts chosen below.")
    accounts = models.ManyToManyField(Account, related_name="+", blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        related_name="+",
        null=True,
        blank=True,
        editable=False,
    )
    created_at = models.DateTimeField(editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: Any = OperationsQuerySet.as_manager()

    class Meta:
        verbose_name = "API token"
        ordering = ("name", "pk")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def has_scope(self, scope: str) -> bool:
        """Whether this token was given `scope`, such as `signals:write`."""
        return scope in self.scopes

    @staticmethod
    def new_secret() -> str:
        """A new token value: the marker, then 256 random bits."""
        return TOKEN_START + secrets.token_urlsafe(32)

    @staticmethod
    def digest_of(value: str) -> str:
        """The SHA-256 of a token value. No salt or stretching: 256 random bits cannot be guessed."""
        return hashlib.sha256(value.encode()).hexdigest()

    @staticmethod
    def prefix_of(value: str) -> str:
        """The part of a token value that finds its row."""
        return value[:PREFIX_LENGTH]


class IdempotencyKey(models.Model):
    """An act already answered: the same key with the same body gets the same answer again."""

    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, related_name="+", null=True, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", null=True, blank=True
    )
    key = models.CharField(max_length=200)
    body_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Null while the act still runs.")
    answer = models.JSONField(null=True, blank=True)

    objects: Any = OperationsQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at", "-pk")
        indexes = [
            # The pruning of old keys, which comes with the acts that use them.
            models.Index(fields=["created_at"], name="csp_idempotency_created"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["token", "key"],
                condition=Q(token__isnull=False),
                name="csp_idempotency_token_key",
                violation_error_message="This token has used this key already.",
            ),
            models.UniqueConstraint(
                fields=["user", "key"],
                condition=Q(user__isnull=False),
                name="csp_idempotency_user_key",
                violation_error_message="This user has used this key already.",
            ),
        ]

    def __str__(self) -> str:
        return self.key
