"""The vendor's own people: who can own a play."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from csplaybooks.accounts.base import CatalogueQuerySet, Versioned


class TeamMemberQuerySet(CatalogueQuerySet):
    """Team members; all of them are seen by all of them."""

    def active(self) -> Self:
        """Members who can be given work."""
        return self.filter(is_active=True)

    def below(self, members: Iterable[int]) -> frozenset[int]:
        """The ids of these members (ids) and of everybody whom they lead, however far down; one query.

        The table of team members is small (people, not customers): the tree is walked in memory.
        """
        led_by: dict[int | None, list[int]] = {}
        for pk, manager in self.order_by().values_list("pk", "manager"):
            led_by.setdefault(manager, []).append(pk)
        found = set(members)
        waiting = list(found)
        while waiting:
            fresh = [pk for pk in led_by.get(waiting.pop(), []) if pk not in found]
            found.update(fresh)
            waiting.extend(fresh)
        return frozenset(found)


class TeamMember(Versioned):
    """A person of the team, or a digital desk, that can own and hold plays; with or without a sign-in."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        related_name="+",
        null=True,
        blank=True,
        help_text="The sign-in of this member; members who left keep their row without one.",
    )
    name = models.CharField(max_length=200)
    email = models.EmailField(blank=True)
    is_customer_success_manager = models.BooleanField(default=False, verbose_name="customer success manager (CSM)")
    is_account_executive = models.BooleanField(default=False, verbose_name="account executive (AE)")
    is_manager = models.BooleanField(default=False, verbose_name="manager")
    is_digital_desk = models.BooleanField(
        default=False, help_text="Owns plays of automated routes at accounts without a CSM."
    )
    takes_pool_work = models.BooleanField(
        default=True, help_text="May be given plays of accounts that are not theirs, the least loaded first."
    )
    open_play_cap = models.PositiveIntegerField(
        default=40, help_text="The most open plays that count toward this member's load."
    )
    zone = models.CharField(
        max_length=60,
        blank=True,
        verbose_name="time zone",
        help_text="IANA time zone, such as Europe/Berlin, in which their working hours lie; empty: their calendar's.",
    )
    manager = models.ForeignKey("self", on_delete=models.SET_NULL, related_name="reports", null=True, blank=True)
    is_active = models.BooleanField(default=True)

    objects = TeamMemberQuerySet.as_manager()

    class Meta:
        ordering = ("name", "pk")
        constraints = [
            models.CheckConstraint(
                condition=Q(manager__isnull=True) | ~Q(manager=F("id")),
                name="csp_team_member_not_own_manager",
                violation_error_message="A team member cannot be their own manager.",
            ),
            models.CheckConstraint(
                condition=Q(is_customer_success_manager=True)
                | Q(is_account_executive=True)
                | Q(is_manager=True)
                | Q(is_digital_desk=True),
                name="csp_team_member_has_a_role",
                violation_error_message="A team member needs at least one role.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Absence(Versioned):
    """Days a member is away, and who stands in; calendar days in the company time zone, both included."""

    member = models.ForeignKey(TeamMember, on_delete=models.CASCADE, related_name="absences")
    first_day = models.DateField()
    last_day = models.DateField()
    stand_in = models.ForeignKey(TeamMember, on_delete=models.PROTECT, related_name="+", null=True, blank=True)

    objects: Any = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ("first_day", "pk")
        constraints = [
            models.CheckConstraint(
                condition=Q(last_day__gte=F("first_day")),
                name="csp_absence_ends_after_start",
                violation_error_message="An absence must end on or after its first day.",
            ),
            models.CheckConstraint(
                condition=Q(stand_in__isnull=True) | ~Q(stand_in=F("member")),
                name="csp_absence_not_own_stand_in",
                violation_error_message="Nobody can stand in for themselves.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.member} away {self.first_day} to {self.last_day}"
