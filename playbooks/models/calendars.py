"""Working time, kept as rows: weekly blocks, closed days, days with other hours."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from csplaybooks.accounts.base import CatalogueQuerySet, Versioned
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.business_time import Block


class Calendar(Versioned):
    """A working calendar in a time zone. One is the default."""

    key = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    zone = models.CharField(max_length=60, default="UTC", help_text="IANA time zone, such as Europe/Berlin.")
    is_default = models.BooleanField(default=False)

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=Q(is_default=True),
                name="csp_calendar_one_default",
                violation_error_message="Another calendar is the default already.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class CalendarUse(Versioned):
    """Whose hours a calendar is: a member's, those of everybody whom a manager leads, or those of a region's accounts.

    Asked in this order; where nothing is said, the default calendar counts.
    """

    calendar = models.ForeignKey(Calendar, on_delete=models.PROTECT, related_name="uses")
    member = models.OneToOneField(
        TeamMember,
        on_delete=models.CASCADE,
        related_name="+",
        null=True,
        blank=True,
        help_text="The working hours of this member.",
    )
    team = models.OneToOneField(
        TeamMember,
        on_delete=models.CASCADE,
        related_name="+",
        null=True,
        blank=True,
        help_text="The working hours of this manager, and of everybody below who has no nearer calendar.",
    )
    region = models.CharField(
        max_length=100, blank=True, help_text="For accounts of this region, where the owner of a play has no calendar."
    )

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("calendar", "pk")
        constraints = [
            models.CheckConstraint(
                condition=Q(member__isnull=False, team__isnull=True, region="")
                | Q(member__isnull=True, team__isnull=False, region="")
                | (Q(member__isnull=True, team__isnull=True) & ~Q(region="")),
                name="csp_calendar_use_of_one",
                violation_error_message="Name a member, a team or a region: one of them.",
            ),
            models.UniqueConstraint(
                fields=["region"],
                condition=~Q(region=""),
                name="csp_calendar_use_region",
                violation_error_message="This region has a calendar already.",
            ),
        ]

    def __str__(self) -> str:
        if self.team is not None:
            return f"{self.calendar}: team of {self.team}"
        return f"{self.calendar}: {self.member or self.region}"


class HolidayImport(models.Model):
    """The public holidays of a country, or of a part of it, in a year, as some source told them; its days are rows.

    Importing them again takes the place of the days that came from it, and of no others.
    """

    calendar = models.ForeignKey(Calendar, on_delete=models.CASCADE, related_name="imports", db_index=False)
    country = models.CharField(max_length=10, help_text="ISO 3166-1 code of two letters.")
    subdivision = models.CharField(
        max_length=20, blank=True, verbose_name="region", help_text="Code of a part of the country, such as BY."
    )
    year = models.PositiveSmallIntegerField()
    source = models.CharField(max_length=100)
    source_version = models.CharField(max_length=50)
    imported_at = models.DateTimeField()

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("calendar", "country", "subdivision", "year")
        constraints = [
            models.UniqueConstraint(
                fields=["calendar", "country", "subdivision", "year"],
                name="csp_holiday_import_unique",
                violation_error_message="These holidays were imported already: import them anew.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.country}{'-' if self.subdivision else ''}{self.subdivision} {self.year}"


def _block_constraints(prefix: str) -> list[models.BaseConstraint]:
    return [
        models.CheckConstraint(
            condition=Q(start_minute__gte=0, start_minute__lt=1440),
            name=f"csp_{prefix}_starts_on_its_day",
            violation_error_message="A block starts between 00:00 and 23:59 of its day.",
        ),
        models.CheckConstraint(
            condition=Q(end_minute__gt=F("start_minute")) & Q(end_minute__lte=F("start_minute") + 1440),
            name=f"csp_{prefix}_ends_after_start",
            violation_error_message="A block ends after it starts, at most 24 hours later.",
        ),
    ]


class CalendarBlock(models.Model):
    """A stretch of open time in every week; minutes since local midnight, past 1440 runs into the next day."""

    calendar = models.ForeignKey(Calendar, on_delete=models.CASCADE, related_name="blocks", db_index=False)
    weekday = models.PositiveSmallIntegerField(help_text="0 is Monday, 6 is Sunday.")
    start_minute = models.PositiveSmallIntegerField()
    end_minute = models.PositiveSmallIntegerField()

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("calendar", "weekday", "start_minute")
        constraints = [
            *_block_constraints("calendar_block"),
            models.CheckConstraint(
                condition=Q(weekday__lte=6),
                name="csp_calendar_block_weekday",
                violation_error_message="A weekday is 0 (Monday) to 6 (Sunday).",
            ),
            models.UniqueConstraint(
                fields=["calendar", "weekday", "start_minute"],
                name="csp_calendar_block_unique",
                violation_error_message="Another block of this weekday starts at this minute.",
            ),
        ]

    def __str__(self) -> str:
        day = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")[self.weekday]
        return f"{day} {Block(self.start_minute, self.end_minute)}"


class CalendarDay(models.Model):
    """A day with other hours than its weekday's; a closed day has no block (both minutes null).

    A day of several blocks has several rows. Public holidays are imported into rows, with where they came from: each
    import has its own, beside what a person entered for the same day. What a person entered counts; see
    `calendar_choice.calendar_value`.
    """

    calendar = models.ForeignKey(Calendar, on_delete=models.CASCADE, related_name="days", db_index=False)
    day = models.DateField()
    start_minute = models.PositiveSmallIntegerField(null=True, blank=True)
    end_minute = models.PositiveSmallIntegerField(null=True, blank=True)
    name = models.CharField(max_length=200, blank=True)
    source = models.CharField(max_length=200, blank=True, help_text="Where an imported day came from, with version.")
    imported = models.ForeignKey(
        HolidayImport, on_delete=models.CASCADE, related_name="days", null=True, blank=True, editable=False
    )

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("calendar", "day", "start_minute")
        constraints = [
            models.CheckConstraint(
                condition=Q(start_minute__isnull=True, end_minute__isnull=True)
                | (
                    Q(start_minute__isnull=False, end_minute__isnull=False, start_minute__lt=1440)
                    & Q(end_minute__gt=F("start_minute"))
                    & Q(end_minute__lte=F("start_minute") + 1440)
                ),
                name="csp_calendar_day_block",
                violation_error_message="A block ends after it starts, at most 24 hours later; a closed day has none.",
            ),
            models.UniqueConstraint(
                fields=["calendar", "day", "start_minute"],
                name="csp_calendar_day_unique",
                violation_error_message="This day has this block already.",
            ),
            models.UniqueConstraint(
                fields=["calendar", "day"],
                condition=Q(start_minute__isnull=True, imported__isnull=True),
                name="csp_calendar_day_closed_once",
                violation_error_message="This day is closed already.",
            ),
            models.UniqueConstraint(
                fields=["imported", "day"],
                condition=Q(imported__isnull=False),
                name="csp_calendar_day_imported_once",
                violation_error_message="This import has this day already.",
            ),
            models.CheckConstraint(
                condition=Q(imported__isnull=True) | Q(start_minute__isnull=True),
                name="csp_calendar_day_imported_is_closed",
                violation_error_message="An imported day is closed.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.calendar} {self.day}"
