"""What the mails to the team share: moments in a member's zone, links into the site, and the words of a play."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse

from csplaybooks.accounts.models import TeamMember
from csplaybooks.accounts.zones import is_zone
from csplaybooks.conf import company_time_zone, csplaybooks_settings
from csplaybooks.playbooks.models import Clock, NoticeSettings, Play
from csplaybooks.playbooks.quotes import words_of

#: What of a play no list needs, and is large.
LARGE = ("play__evidence", "play__amount_working", "play__playbook__draft")

#: At most so many rows are listed in one part of a mail; the others are counted.
MOST_LISTED = 100


def zone_of(member: TeamMember) -> ZoneInfo:
    """The zone in which a member reads times: their own, or else the company's."""
    return ZoneInfo(member.zone) if member.zone and is_zone(member.zone) else company_time_zone()


def moment_for(member: TeamMember, at: datetime) -> str:
    """A moment as a member reads it: `Mon 16 Nov 2026, 14:00 (Europe/Berlin)`."""
    return moment_in(zone_of(member), at)


def moment_in(zone: ZoneInfo, at: datetime) -> str:
    """A moment as it is read in a zone, which is named: `Mon 16 Nov 2026, 14:00 (Europe/Berlin)`."""
    return f"{at.astimezone(zone):%a %d %b %Y, %H:%M} ({zone.key})"


def link_to_page(row: models.Model) -> str:
    """The address of a row's page in the admin; empty where `SITE_URL` is, or where the site has no admin."""
    return _address(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", row.pk)


def _address(name: str, *args: Any) -> str:
    if not csplaybooks_settings.SITE_URL:
        return ""
    try:
        return csplaybooks_settings.SITE_URL.rstrip("/") + reverse(name, args=args)
    except NoReverseMatch:
        return ""


def why_it_fired(member: TeamMember, play: Play) -> tuple[str, ...]:
    """Why a play opened, a line for each thing found, as far as the member may read it."""
    # Who has no sign-in may read nothing that people wrote down about customers.
    viewer = member.user if member.user is not None else AnonymousUser()
    lines = words_of(viewer, play.evidence)
    return (*lines, f"Opened by hand: {play.reason}") if play.reason else lines


def next_due(plays: Iterable[int]) -> dict[int, tuple[str, datetime]]:
    """The promise of each play that is due first, and when; of those that tick. One query."""
    ticking = Clock.objects.ticking().filter(play__in=list(plays), due_at__isnull=False).order_by("-due_at", "pk")
    return {clock.play_id: (clock.get_target_display(), clock.due_at) for clock in ticking if clock.due_at}


@dataclass(frozen=True)
class Item:
    """One thing in a mail: its title and the lines below it."""

    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """One list of a digest."""

    title: str
    count: int
    lines: tuple[str, ...]

    @property
    def more(self) -> int:
        """How many are not listed."""
        return self.count - len(self.lines)


def render(template: str, **context: Any) -> str:
    """The text of a mail to a member."""
    page = _address(f"admin:{NoticeSettings._meta.app_label}_{NoticeSettings._meta.model_name}_changelist")
    return render_to_string(f"csplaybooks/mail/{template}.txt", {**context, "settings_url": page}).strip() + "\n"
