"""The host's own command of this name."""

from __future__ import annotations

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """See the module."""

    def handle(self, *args, **options):
        """Say whose it is."""
        self.stdout.write("the host's own doctor")
