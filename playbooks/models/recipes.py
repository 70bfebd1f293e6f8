"""Playbooks, their published versions, and the identity of their triggers."""

from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from csplaybooks.accounts.base import CatalogueQuerySet, Versioned
from csplaybooks.accounts.models import Motion


class PlaybookQuerySet(CatalogueQuerySet):
    """Playbooks, by whether they run."""

    def running(self) -> Self:
        """Playbooks that are switched on and have been published."""
        return self.filter(is_active=True, published__isnull=False)


class Playbook(Versioned):
    """A motion's recipe. The draft is the YAML document people edit; what runs is the published version."""

    key = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=200, editable=False)
    motion = models.CharField(max_length=20, choices=Motion, editable=False)
    draft = models.TextField(help_text="The playbook document, in YAML.")
    published = models.OneToOneField(
        "PlaybookVersion", on_delete=models.PROTECT, related_name="+", null=True, blank=True, editable=False
    )
    is_active = models.BooleanField(default=True, help_text="Switched off: no new matches; open plays go on.")

    objects = PlaybookQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        permissions = [("publish_playbook", "Can publish playbooks, and switch them on and off")]

    def __str__(self) -> str:
        return self.name


class PlaybookVersion(models.Model):
    """A published document, immutable: plays and matches point at the version they came from."""

    playbook = models.ForeignKey(Playbook, on_delete=models.PROTECT, related_name="versions", db_index=False)
    number = models.PositiveIntegerField()
    source = models.TextField(help_text="The YAML text as it was published, byte for byte.")
    document = models.JSONField(help_text="The same document, read and checked.")
    published_at = models.DateTimeField()
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, related_name="+", null=True, blank=True
    )

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("playbook", "-number")
        constraints = [
            models.UniqueConstraint(
                fields=["playbook", "number"],
                name="csp_playbook_version_number",
                violation_error_message="This playbook has a version of this number already.",
            ),
            models.CheckConstraint(
                condition=Q(number__gte=1),
                name="csp_playbook_version_from_one",
                violation_error_message="Versions are counted from 1.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.playbook} v{self.number}"


class Trigger(models.Model):
    """The identity of a trigger over the versions of its playbook: its key. Matches are episodes of a trigger."""

    playbook = models.ForeignKey(Playbook, on_delete=models.PROTECT, related_name="triggers", db_index=False)
    key = models.SlugField(max_length=100)

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("playbook", "key")
        constraints = [
            models.UniqueConstraint(
                fields=["playbook", "key"],
                name="csp_trigger_key",
                violation_error_message="This playbook has a trigger of this key already.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.playbook.key}.{self.key}"
