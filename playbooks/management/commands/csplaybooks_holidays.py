"""Import public holidays into a calendar."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from csplaybooks.playbooks.acts.holidays import import_holidays
from csplaybooks.playbooks.holiday_source import years_in
from csplaybooks.playbooks.models import Calendar


class Command(BaseCommand):
    """See the module; the wall clock is read here alone."""

    help = (
        "Close a calendar on the public holidays of a country. Imported again, they take the place of what was "
        "imported of the same country, region and years; days entered by hand stay, and count."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which calendar, and which holidays."""
        parser.add_argument("calendar", metavar="CALENDAR", help="The key of the calendar.")
        parser.add_argument("country", metavar="COUNTRY", help="ISO 3166-1 code of two letters, such as DE.")
        parser.add_argument("years", nargs="+", metavar="YEAR", help="Such as 2026, or 2026-2028.")
        parser.add_argument("--subdivision", default="", metavar="CODE", help="Of this part of it, such as BY.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import them, and say how many there are."""
        calendar = Calendar.objects.filter(key=options["calendar"]).first()
        if calendar is None:
            keys = ", ".join(Calendar.objects.order_by("key").values_list("key", flat=True))
            known = f"There are: {keys}." if keys else "There is none yet: run csplaybooks_setup."
            raise CommandError(f"There is no calendar {options['calendar']!r}. {known}")
        try:
            answer = import_holidays(
                calendar_id=calendar.pk,
                country=options["country"],
                subdivision=options["subdivision"],
                years=years_in(" ".join(options["years"])),
                now=timezone.now(),
                actor=None,
            )
        except ValidationError as refusal:
            raise CommandError(_said(refusal)) from refusal
        self.stdout.write(f"{calendar}: {answer}.")


def _said(refusal: ValidationError) -> str:
    """A refusal in one line, each message with its field."""
    by_field = getattr(refusal, "error_dict", None)
    if by_field is None:
        return " ".join(refusal.messages)
    return " ".join(f"{name}: {message}" for name, said in refusal.message_dict.items() for message in said)
