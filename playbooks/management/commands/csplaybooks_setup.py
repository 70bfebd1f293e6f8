"""Make what a site needs before it can work; run it after every `migrate`, as often as you like."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.document import DocumentError


class Command(BaseCommand):
    """See the module."""

    help = "Make the default calendar, the starter catalogue and library, and the schedules, where they are missing."

    def handle(self, *args: Any, **options: Any) -> None:
        """Set up, and say what was made."""
        try:
            made = set_up(now=timezone.now())
        except DocumentError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"made: {made.calendars} calendar, {made.kinds} kinds of signal and meter, "
            f"{made.playbooks} playbooks, {made.schedules} schedules"
        )
